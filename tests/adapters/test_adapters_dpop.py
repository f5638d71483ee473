"""HTTP services that take tokens which are bound to a key: with a proof for this very request, once."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from desk_service import Caller, Desk, running
from joserfc.jwk import OKPKey
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.routing import Route

from leasehold.adapters.asgi import Leased, Terms
from leasehold.errors import InvalidError
from leasehold.guard import Guard
from proving import make_proof
from stage import Stage

ORIGIN = "https://tickets.example"
KEY = OKPKey.generate_key("Ed25519")
PATH = "/tickets/T-1"


@pytest.fixture
def port(desk: Desk, guard: Guard) -> Iterator[int]:
    guarded = Middleware(Leased, guard, "get", terms=Terms(origin=ORIGIN))
    app = Starlette(routes=[Route("/tickets/{ticket_id}", desk.plain, middleware=[guarded])])
    with running(app) as port:
        yield port


@pytest.fixture
def bound(stage: Stage) -> str:
    lease = stage.lease({"ticket.get": {"ticket": ["T-*"]}}).lease
    return stage.authority.engine.token(lease, "ticket", KEY.thumbprint())


def proof(stage: Stage, token: str, **claims: object) -> str:
    usual = {"htm": "GET", "htu": ORIGIN + PATH, "iat": stage.system.now().seconds}
    return make_proof(KEY, token=token, **(usual | claims))


@pytest.mark.case(11)
def test_a_bound_lease_opens_the_service_with_a_proof_for_this_request_once(
    stage: Stage, desk: Desk, port: int, bound: str
) -> None:
    given = proof(stage, bound)
    headers = (("Authorization", f"DPoP {bound}"), ("DPoP", given))
    assert Caller(port).send("GET", PATH, headers=headers).status == 200
    assert "dpop" not in desk.did[0][2]
    again = Caller(port).send("GET", PATH, headers=headers)
    assert (again.status, again.json["reason"]) == (401, "replayed")
    assert len(desk.did) == 1


@pytest.mark.case(11)
def test_a_bound_lease_without_its_proof_or_with_another_opens_nothing(
    stage: Stage, desk: Desk, port: int, bound: str
) -> None:
    given = proof(stage, bound)
    lease = stage.lease({"ticket.get": {"ticket": ["T-*"]}})
    plain = lease.token_for("ticket")
    for headers in (
        (("Authorization", f"Bearer {bound}"),),
        (("Authorization", f"DPoP {bound}"),),
        (("Authorization", f"Bearer {bound}"), ("DPoP", given)),
        (("Authorization", f"DPoP {plain}"), ("DPoP", proof(stage, plain))),
        (("Authorization", f"DPoP {bound}"), ("DPoP", proof(stage, plain))),
        (("Authorization", f"DPoP {bound}"), ("DPoP", proof(stage, bound, htm="POST"))),
        (("Authorization", f"DPoP {bound}"), ("DPoP", proof(stage, bound, htu=f"{ORIGIN}/tickets/T-2"))),
        (("Authorization", f"DPoP {bound}"), ("DPoP", proof(stage, bound, htu=f"http://127.0.0.1{PATH}"))),
        (("Authorization", f"DPoP {bound}"), ("DPoP", "x")),
    ):
        answer = Caller(port).send("GET", PATH, headers=headers)
        assert answer.status == 401, headers
        assert 'DPoP algs="Ed25519 EdDSA ES256"' in answer.headers["www-authenticate"]
    twice = (("Authorization", f"DPoP {bound}"), ("DPoP", given), ("DPoP", given))
    assert Caller(port).send("GET", PATH, headers=twice).status == 400
    assert desk.did == []
    assert Caller(port, lease).send("GET", PATH).status == 200


def test_a_service_that_does_not_say_its_address_takes_no_proofs(stage: Stage, guard: Guard, bound: str) -> None:
    desk = Desk()
    guarded = Middleware(Leased, guard, "get")
    app = Starlette(routes=[Route("/tickets/{ticket_id}", desk.plain, middleware=[guarded])])
    with running(app) as port:
        headers = (("Authorization", f"DPoP {bound}"), ("DPoP", proof(stage, bound)))
        answer = Caller(port).send("GET", PATH, headers=headers)
    assert (answer.status, "DPoP" in answer.headers["www-authenticate"], desk.did) == (401, False, [])


@pytest.mark.parametrize(
    "origin", ["tickets.example", "https://tickets.example/", "https://x@y", "ftp://x", "https://"]
)
def test_an_origin_is_a_scheme_and_a_host(origin: str) -> None:
    with pytest.raises(InvalidError, match="origin"):
        Terms(origin=origin)
    assert Terms(origin="http://[::1]:8080").origin
