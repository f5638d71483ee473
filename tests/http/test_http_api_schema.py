"""Whatever a program makes of the OpenAPI document, right or wrong: no fault of ours, and one shape of problem."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import quote

import msgspec
import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from schemathesis import GenerationMode

from api_house import ApiHouse, Person, api_house
from clients import GUARD, HOST
from leasehold.http.openapi import openapi_document
from leasehold.ledger.history import check_history
from leasehold.model.endpoints import ENDPOINTS, ApiScope, Endpoint, EndpointName
from leasehold.model.problem import PROBLEM_MEDIA_TYPE, Problem
from stage import EVA

SCHEMA = schemathesis.openapi.from_dict(msgspec.json.decode(openapi_document()))
ASKED = [each for each in ENDPOINTS.values() if not each.is_stream]
EXAMPLES = 25
CASES = [
    (each, mode)
    for each in ASKED
    for mode in GenerationMode
    if each.name is not EndpointName.STOPS or mode is GenerationMode.POSITIVE  # nothing about it can be wrong
]


class Knocker:
    """Sends what was generated, with the credential that the endpoint takes and, now and then, ids that there are."""

    def __init__(self, house: ApiHouse) -> None:
        self.house = house
        self.session = requests.Session()
        self.clients = {ApiScope.RUNS: house.program(HOST), ApiScope.DOOR: house.program(GUARD)}
        self.eva: Person = house.person(EVA)
        self.ids = self._make()

    def _make(self) -> Mapping[str, str]:
        host, guard, stage = self.clients[ApiScope.RUNS], self.clients[ApiScope.DOOR], self.house.stage
        start = {"agent": "bot", "route": "desk", "tenant": "acme", "environment": "prod", "purpose": "x"}
        run = host.post("/v1/runs", {**start, "requested_by": EVA}).json["run"]["run_id"]
        body = {"attempt": 1, "allow": {"ticket.update": {"ticket": ["T-*"]}}, "reason": "x"}
        request = host.post(f"/v1/runs/{run}/requests", body).json["request"]["request_id"]
        lease = host.post(f"/v1/requests/{request}/lease").json
        admission = stage.door().new_admission_id()
        call = {"action": "ticket.update", "arguments": {"ticket_id": "T-1"}, "admission_id": admission, "key": "k"}
        guard.post("/v1/admissions", {"token": lease["tokens"]["ticket"], "call": call})
        guard.post(f"/v1/admissions/{admission}/settle", {"status": "done"})  # or who asks to wait for its end waits
        lease_id = lease["lease"]["lease_id"]
        return {"run_id": run, "request_id": request, "lease_id": lease_id, "admission_id": admission}

    def send(self, endpoint: Endpoint, case: Any, *, real: bool) -> requests.Response:
        """Send one case; `real` puts ids that there are into its path."""
        if real:
            for name in case.path_parameters or {}:
                case.path_parameters[name] = self.ids[name]
        kwargs = case.as_transport_kwargs(base_url=f"http://127.0.0.1:{self.house.port}")
        kwargs["headers"] = {
            name: value for name, value in kwargs.get("headers", {}).items() if name.lower() != "authorization"
        }
        kwargs.pop("cookies", None)
        prepared = self.session.prepare_request(requests.Request(**_request_of(kwargs)))
        data = prepared.body or b""
        data = data.encode() if isinstance(data, str) else data
        token = self._credential(endpoint, prepared, data)
        prepared.headers["Authorization"] = f"Bearer {token}"
        return self.session.send(prepared, timeout=20)

    def _credential(self, endpoint: Endpoint, prepared: requests.PreparedRequest, data: bytes) -> str:
        if endpoint.scopes == (ApiScope.DESK,):
            return self.eva.token(endpoint.method, prepared.path_url, data)
        return self.clients[endpoint.scopes[0]].credential


def _request_of(kwargs: Mapping[str, Any]) -> dict[str, Any]:
    known = ("method", "url", "headers", "files", "data", "json", "params")
    return {name: kwargs[name] for name in known if kwargs.get(name) is not None}


@pytest.fixture(scope="module")
def knocker() -> Iterator[Knocker]:
    with api_house() as house:
        yield Knocker(house)
        assert check_history(house.stage.entries()) == []


def is_in_shape(response: requests.Response) -> bool:
    """Whether an answer is a success, or a problem of the one shape."""
    if response.status_code == 200:
        return bool(response.headers["content-type"] == "application/json")
    problem = msgspec.json.decode(response.content, type=Problem)
    return response.headers["content-type"] == PROBLEM_MEDIA_TYPE and problem.status == response.status_code


@pytest.mark.parametrize(("endpoint", "mode"), CASES, ids=lambda part: getattr(part, "name", part))
def test_nothing_that_can_be_sent_is_a_fault_of_ours(
    knocker: Knocker, endpoint: Endpoint, mode: GenerationMode
) -> None:
    operation = SCHEMA[endpoint.path][endpoint.method]

    @settings(
        max_examples=EXAMPLES,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
        database=None,
    )
    @given(case=operation.as_strategy(generation_mode=mode), real=st.booleans())
    def knock(case: Any, real: bool) -> None:
        try:
            response = knocker.send(endpoint, case, real=real)
        except (requests.exceptions.InvalidHeader, requests.exceptions.InvalidURL, UnicodeError):
            return  # no HTTP at all, so it never left this machine
        assert response.status_code < 500, (response.status_code, response.text)
        assert is_in_shape(response), (response.status_code, response.headers, response.text)

    knock()


def test_ids_in_paths_are_never_followed_anywhere(knocker: Knocker) -> None:
    host = knocker.clients[ApiScope.RUNS]
    for odd in ("..", "%2e%2e", "a%2fb", "%00", "%ff", "x" * 300, "run_" + "0" * 26, "a b", "ä"):
        told = host.get(f"/v1/runs/{quote(odd, safe='%')}")
        assert told.status in (400, 404)
        assert told.code in ("invalid", "not_found")
