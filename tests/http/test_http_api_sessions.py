"""The console and the API share a port and nothing else: no session opens an endpoint, no key or signature a page."""

from __future__ import annotations

import pytest
from house import House

from api_house import Person
from leasehold.model.endpoints import ENDPOINTS, Endpoint
from stage import BEN, EVA

NEVER = "_01JZ8Q5X0M3V7K2N9B4C6D8E0F"


def path_of(endpoint: Endpoint) -> str:
    """The endpoint's path with ids of their kinds."""
    kinds = {"run_id": "run", "request_id": "req", "lease_id": "lease", "admission_id": "adm"}
    return endpoint.path.format(**{name: f"{kind}{NEVER}" for name, kind in kinds.items()})


def test_session_of_a_signed_in_person_opens_no_endpoint(house: House) -> None:
    browser = house.signed_in(EVA)
    assert browser.get("/").status == 200
    for endpoint in ENDPOINTS.values():
        if endpoint.method == "GET":
            reply = browser.get(path_of(endpoint))
        else:
            reply = browser.post(path_of(endpoint), b"{}", Content_Type="application/json", Idempotency_Key="k")
        assert reply.status == 401, endpoint.name
        assert reply.headers["content-type"] == "application/problem+json"
        assert reply.set_cookies == ()
    assert browser.get("/").status == 200
    assert house.stage.desk.standing() == ()


@pytest.mark.parametrize("credential", ["lhk_01JZ8Q5X0M3V7K2N9B4C6D8E0F_" + "a" * 43, "signed"])
def test_credential_of_the_api_opens_no_page(house: House, credential: str) -> None:
    house.person(BEN)
    if credential == "signed":
        credential = Person(house.port, house.stage, BEN).token("GET", "/")
    reply = house.browser().get("/", Authorization=f"Bearer {credential}")
    assert (reply.status, reply.location.partition("?")[0]) == (303, "/sign-in")
