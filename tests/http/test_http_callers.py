"""Who calls the API: one credential in one header, of one client, or nobody; and nobody learns why."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping

import pytest
from argon2 import PasswordHasher
from starlette.requests import HTTPConnection
from starlette.types import ASGIApp

from api_house import Program
from clients import CLIENT_POLICY, GUARD, HOST, ISSUER, OTHER, api_key, client_stage
from leasehold.console.pages import console_pages
from leasehold.errors import Denied, InvalidError, TokenError, UnavailableError
from leasehold.http.app import create_app
from leasehold.http.callers import Caller, CallerProof, Callers
from leasehold.http.passwords import Passwords
from leasehold.http.site import Site
from leasehold.model.decision import Reason
from leasehold.token.codes import TokenCode
from served import served
from stage import Stage, changed


class Claims:
    issuer = ISSUER
    expires_at = 2**40

    def __init__(self, claims: Mapping[str, object]) -> None:
        self.claims = claims


class Tokens:
    """Takes the tokens that it is told of; the real verifier has tests of its own."""

    def __init__(self, **known: Mapping[str, object]) -> None:
        self._known = known

    async def verify(self, token: str) -> Claims:
        if token == "down":
            raise UnavailableError("the issuer cannot be asked")
        if token not in self._known:
            raise TokenError(TokenCode.SIGNATURE, "no")
        return Claims(self._known[token])


@pytest.fixture
def stage() -> Iterator[Stage]:
    stage = client_stage()
    yield stage
    stage.close()


def ask(callers: Callers, *authorization: str) -> Caller:
    headers = [(b"authorization", value.encode("latin-1")) for value in authorization]
    return asyncio.run(callers.authenticate(HTTPConnection({"type": "http", "headers": headers})))


def is_nobody(callers: Callers, *authorization: str) -> bool:
    with pytest.raises(Denied) as denied:
        ask(callers, *authorization)
    return denied.value.decision.reason is Reason.UNKNOWN_CLIENT


def test_client_is_known_by_its_key(stage: Stage) -> None:
    callers, key = Callers(stage.authority), api_key(stage, GUARD)
    for _ in range(2):  # read once, then kept
        caller = ask(callers, f"Bearer {key}")
        assert (caller.client, caller.proof, caller.rule.name) == (GUARD, CallerProof.API_KEY, GUARD)
        assert caller == callers.of_key(key)
    assert Callers(stage.authority).of_key(key) == caller
    assert ask(callers, f"bEARER {key}") == caller


def test_everything_else_is_nobody(stage: Stage) -> None:
    callers, key = Callers(stage.authority, Tokens()), api_key(stage, GUARD)
    unknown = "lhk_01JZ8Q5X0M3V7K2N9B4C6D8E0F_" + "a" * 43
    wrong = key[:-1] + ("A" if key[-1] != "A" else "B")
    for credential in (unknown, wrong, key + "x", key[:-1], "lhk_", "x" * 20_000, "tö", "", "a.b.c"):
        assert is_nobody(callers, f"Bearer {credential}")
    ask(callers, f"Bearer {key}")
    assert is_nobody(callers, f"Bearer {wrong}")
    assert is_nobody(callers)
    assert is_nobody(callers, f"Bearer {key}", f"Bearer {key}")
    assert is_nobody(callers, f"Basic {key}")
    assert is_nobody(callers, key)
    for text in ("", unknown):
        with pytest.raises(Denied):
            callers.of_key(text)


def test_key_of_a_client_that_the_policy_names_no_more_is_nobodys(stage: Stage) -> None:
    callers, key = Callers(stage.authority), api_key(stage, GUARD)
    stage.accept(changed('[clients."ticket-door"]', '[clients."renamed"]', CLIENT_POLICY))
    stage.start()  # the next step, of whomever, is when this process hears of it; steps and readings know at once
    assert is_nobody(callers, f"Bearer {key}")


def test_client_that_another_process_made_known_is_known(stage: Stage) -> None:
    stage.accept(changed('[clients."ticket-door"]', '[clients."renamed"]', CLIENT_POLICY))
    callers = Callers(stage.authority)
    beside = stage.beside()
    beside.accept(CLIENT_POLICY)
    assert ask(callers, f"Bearer {api_key(beside, GUARD)}").client == GUARD


def test_client_is_known_by_a_token_of_its_identity(stage: Stage) -> None:
    fits = {"sub": "repo:acme/app", "ref": "main"}
    callers = Callers(stage.authority, Tokens(fits=fits, other={"sub": "repo:acme/app", "ref": "next"}))
    caller = ask(callers, "Bearer fits")
    assert (caller.client, caller.proof) == (OTHER, CallerProof.WORKLOAD)
    assert caller.voice.identity == caller.rule.identity
    assert is_nobody(callers, "Bearer other")
    assert is_nobody(callers, "Bearer forged")
    assert is_nobody(Callers(stage.authority), "Bearer fits")


def test_token_that_two_clients_claim_is_nobodys(stage: Stage) -> None:
    again = '[clients."twin"]\ndoor = { tool = "x", environment = "prod" }\n'
    identity = 'identity = { issuer = "https://token.example", claims = { sub = "repo:acme/app" } }\n'
    stage.accept(CLIENT_POLICY + again + identity)
    stage.authority.engine.active_policy()
    callers = Callers(stage.authority, Tokens(fits={"sub": "repo:acme/app", "ref": "main"}))
    assert is_nobody(callers, "Bearer fits")


def test_issuer_that_cannot_be_asked_makes_nobody_a_stranger(stage: Stage) -> None:
    with pytest.raises(UnavailableError):
        ask(Callers(stage.authority, Tokens()), "Bearer down")


def test_host_has_no_door(stage: Stage) -> None:
    assert ask(Callers(stage.authority), f"Bearer {api_key(stage, HOST)}").rule.door is None


SIGN_IN = """
[sign_in.corp]
issuer = "https://token.example"
client_id = "leasehold"
person = "login"
"""


def test_subject_token_proves_who_asks_where_its_issuer_may_name_people(stage: Stage) -> None:
    tokens = Tokens(ana={"login": "ana"}, nameless={"sub": "x"}, odd={"login": "a b"})
    callers = Callers(stage.authority, tokens)

    def prove(token: str, callers: Callers = callers) -> str:
        return asyncio.run(callers.of_subject(token))

    with pytest.raises(InvalidError, match="proves nobody"):
        prove("ana")  # a trusted issuer, but not one that names people
    stage.accept(CLIENT_POLICY + SIGN_IN)
    stage.start()
    assert prove("ana") == "user:ana"
    for bad in ("nameless", "odd", "forged"):
        with pytest.raises(InvalidError):
            prove(bad)
    with pytest.raises(InvalidError, match="proves nobody"):
        prove("ana", Callers(stage.authority))


def test_run_says_proven_where_a_token_says_who_asked(stage: Stage) -> None:
    stage.accept(CLIENT_POLICY + SIGN_IN)
    stage.start()
    callers = Callers(stage.authority, Tokens(ana={"login": "ana"}))

    def make(site: Site) -> ASGIApp:
        cheap = Passwords(PasswordHasher(time_cost=1, memory_cost=8, parallelism=1))
        return create_app(stage.authority, console_pages(), site=site, passwords=cheap, callers=callers)

    body = {"agent": "bot", "route": "desk", "tenant": "acme", "environment": "prod", "purpose": "x"}
    with served(make) as port:
        host = Program(port, api_key(stage, HOST))
        run = host.post("/v1/runs", {**body, "subject_token": "ana"}).json["run"]
        assert (run["requested_by"], run["requester_proof"]) == ("user:ana", "proven")
        same = host.post("/v1/runs", {**body, "subject_token": "ana", "requested_by": "user:ana"}).json["run"]
        assert same["requester_proof"] == "proven"
        other = host.post("/v1/runs", {**body, "subject_token": "ana", "requested_by": "user:ben"})
        assert other.code == "invalid"
        assert host.post("/v1/runs", {**body, "subject_token": "forged"}).code == "invalid"
        child = {"agent": "helper", "purpose": "x", "subject_token": "ana", "parent_lease": "x"}
        assert host.post("/v1/runs", child).code == "invalid"
        asserted = host.post("/v1/runs", {**body, "requested_by": "user:ana"}).json["run"]
        assert asserted["requester_proof"] == "asserted"
