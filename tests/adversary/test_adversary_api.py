"""Attacks on the HTTP API: credentials in the wrong place, twice, or for something else; each opens nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from api_house import ApiHouse, Program, Told, api_house
from clients import CLIENT_POLICY, GUARD, HOST, MAIL, OTHER, api_key
from leasehold.ledger.history import check_history
from leasehold.model.canonical import encode
from leasehold.model.endpoints import ENDPOINTS, ApiScope, Endpoint, EndpointName
from leasehold.testing.fixtures import key_of_person
from leasehold.token import base64url
from leasehold.token.person_call import body_digest
from served import Browser
from stage import ANA, EVA, changed

START = {
    "agent": "bot",
    "route": "desk",
    "tenant": "acme",
    "environment": "prod",
    "requested_by": ANA,
    "purpose": "answer T-1",
}
HOLD = {"scope": "tool:ticket", "reason": "look"}


@pytest.fixture
def house() -> Iterator[ApiHouse]:
    with api_house() as house:
        yield house
        assert check_history(house.stage.entries()) == []


def is_nobody(told: Told) -> bool:
    return told.status == 401 and told.headers["www-authenticate"].startswith("Bearer") and told.code != ""


def run_of(host: Program) -> dict[str, Any]:
    return host.post("/v1/runs", START).json["run"]  # type: ignore[no-any-return]


def lease_of(host: Program, run_id: str) -> dict[str, Any]:
    body = {"attempt": 1, "allow": {"ticket.update": {"ticket": ["T-*"]}}, "reason": "x"}
    request = host.post(f"/v1/runs/{run_id}/requests", body).json["request"]["request_id"]
    return host.post(f"/v1/requests/{request}/lease").json  # type: ignore[no-any-return]


def admission_of(house: ApiHouse, token: str) -> dict[str, Any]:
    admission = house.stage.door().new_admission_id()
    call = {"action": "ticket.update", "arguments": {"ticket_id": "T-1"}, "admission_id": admission, "key": "k"}
    return {"token": token, "call": call}


@pytest.mark.invariant("I10")
def test_key_of_one_client_opens_nothing_of_anothers_run(house: ApiHouse) -> None:
    mine, theirs = house.program(HOST), house.program(OTHER)
    run = run_of(mine)["run_id"]
    lease = lease_of(mine, run)["lease"]
    size = len(house.stage.entries())
    tries: list[Callable[[], Told]] = [
        lambda: theirs.get(f"/v1/runs/{run}"),
        lambda: theirs.get(f"/v1/runs/{run}/receipt"),
        lambda: theirs.post(f"/v1/runs/{run}/retry", {"attempt": 1}),
        lambda: theirs.post(f"/v1/runs/{run}/finish", {"attempt": 1}),
        lambda: theirs.post(f"/v1/runs/{run}/requests", {"attempt": 1, "allow": {}, "reason": "x"}),
        lambda: theirs.get(f"/v1/requests/{lease['request_id']}?wait=1"),
        lambda: theirs.post(f"/v1/requests/{lease['request_id']}/lease"),
        lambda: theirs.post(f"/v1/requests/{lease['request_id']}/withdraw"),
        lambda: theirs.post(f"/v1/leases/{lease['lease_id']}/renew"),
        lambda: theirs.post("/v1/runs", {"agent": "helper", "purpose": "x", "parent_lease": lease["lease_id"]}),
    ]
    never = "_01JZ8Q5X0M3V7K2N9B4C6D8E0F"
    lost = theirs.get(f"/v1/runs/run{never}").json
    for attempt in tries:
        told = attempt()
        assert told.status == 404
        assert told.json["detail"] == lost["detail"]  # no word more than of what never was
    assert len(house.stage.entries()) == size


def test_lease_token_is_no_credential_of_the_api(house: ApiHouse) -> None:
    host = house.program(HOST)
    run = run_of(host)["run_id"]
    token = lease_of(host, run)["tokens"]["ticket"]
    thief = house.nobody(token)
    assert is_nobody(thief.get(f"/v1/runs/{run}"))
    assert is_nobody(thief.post("/v1/admissions", admission_of(house, token)))
    assert is_nobody(thief.get("/v1/desk/stops"))
    assert is_nobody(house.nobody().post("/v1/admissions", admission_of(house, token)))


def test_door_of_another_tool_neither_admits_nor_settles_nor_looks(house: ApiHouse) -> None:
    host, guard, mail = house.program(HOST), house.program(GUARD), house.program(MAIL)
    token = lease_of(host, run_of(host)["run_id"])["tokens"]["ticket"]
    assert mail.post("/v1/admissions", admission_of(house, token)).code == "wrong_tool"
    admission = guard.post("/v1/admissions", admission_of(house, token)).json["admission_id"]
    for other in (mail, house.program("second-ticket-door")):
        assert other.post(f"/v1/admissions/{admission}/settle", {"status": "done"}).status == 404
        assert other.get(f"/v1/admissions/{admission}").status == 404
    assert guard.post(f"/v1/admissions/{admission}/settle", {"status": "done"}).json["state"] == "done"


def test_each_credential_opens_its_own_endpoints(house: ApiHouse) -> None:
    host, guard = house.program(HOST), house.program(GUARD)
    assert guard.post("/v1/runs", START).code == "client_may_not"
    assert host.post("/v1/admissions", admission_of(house, "x")).code == "client_may_not"
    for program in (host, guard):
        assert is_nobody(program.get("/v1/desk/stops"))


@pytest.mark.parametrize("how", ["removed", "expired", "narrowed"])
def test_credential_that_counts_no_more_opens_no_endpoint_at_all(house: ApiHouse, how: str) -> None:
    """Every endpoint of clients is asked for what its key had open a moment ago, the reading ones too."""
    host, guard, body = house.program(HOST), house.program(GUARD), Bodies(house)
    _take_away(house, [host, guard], how)
    asked = [endpoint for endpoint in ENDPOINTS.values() if ApiScope.DESK not in endpoint.scopes]
    if how == "narrowed":  # who has a right still may have a stream of what concerns it, and look at its own call
        asked = [each for each in asked if each.name not in (EndpointName.EVENTS, EndpointName.ADMISSION)]
    for endpoint in asked:
        program = host if ApiScope.RUNS in endpoint.scopes else guard
        told = program.post(*body.of(endpoint)) if endpoint.method == "POST" else program.get(body.of(endpoint)[0])
        told_of = ("client_may_not", "not_found", "wrong_tool") if how == "narrowed" else ("unknown_client",)
        assert told.code in told_of, (endpoint.name, told.body)
    assert len(asked) > 10


class Bodies:
    """What a run, a request, a lease and a call that are open would be asked with, endpoint by endpoint."""

    def __init__(self, house: ApiHouse) -> None:
        host, guard = house.program(HOST), house.program(GUARD)
        run = run_of(host)["run_id"]
        lease = lease_of(host, run)
        admission = admission_of(house, lease["tokens"]["ticket"])
        asked = {"allow": {"ticket.close": {"ticket": ["T-1"]}}, "attempt": 1, "reason": "x"}
        pending = host.post(f"/v1/runs/{run}/requests", asked).json["request"]["request_id"]
        guard.post("/v1/admissions", admission)
        self._ids = {
            "run_id": run,
            "lease_id": lease["lease"]["lease_id"],
            "admission_id": admission["call"]["admission_id"],
            "request_id": pending,
        }
        self._bodies: dict[EndpointName, object] = {
            EndpointName.START: START,
            EndpointName.RETRY: {"attempt": 1},
            EndpointName.FINISH: {"attempt": 1},
            EndpointName.REQUEST: asked,
            EndpointName.ESCALATE: {
                "attempt": 1,
                "action": "ticket.close",
                "attributes": {"ticket": ["T-1"]},
                "reason": "x",
            },
            EndpointName.ADMIT: admission,
            EndpointName.SETTLE: {"status": "done"},
        }

    def of(self, endpoint: Endpoint) -> tuple[str, object]:
        """The path with the ids in it, and the body."""
        return endpoint.path.format(**self._ids), self._bodies.get(endpoint.name)


def _take_away(house: ApiHouse, programs: list[Program], how: str) -> None:
    if how == "narrowed":
        text = changed('agents = ["bot", "helper"]', 'agents = ["helper"]', CLIENT_POLICY)
        door = '[clients."ticket-door"]\ndoor = {{ tool = "{}", environment = "prod" }}'
        house.stage.accept(changed(door.format("ticket"), door.format("mail"), text))
    elif how == "expired":
        house.stage.pass_time(3601)
    else:
        for program in programs:
            house.stage.authority.clients.remove_key(program.credential.split("_")[1], by="op")


# people


def test_signed_call_of_a_person_counts_once(house: ApiHouse) -> None:
    eva = house.person(EVA)
    body = encode(HOLD)
    token = eva.token("POST", "/v1/desk/hold", body)
    assert house.nobody(token).send("POST", "/v1/desk/hold", body).status == 200
    again = house.nobody(token).send("POST", "/v1/desk/hold", body)
    assert (again.status, again.code) == (401, "replayed")


def test_signed_call_is_for_one_request_of_one_authority(house: ApiHouse) -> None:
    eva, body = house.person(EVA), encode(HOLD)

    def hold(token: str, data: bytes = body, path: str = "/v1/desk/hold") -> Told:
        return house.nobody(token).send("POST", path, data)

    now = house.stage.system.now().seconds
    assert is_nobody(hold(eva.token("GET", "/v1/desk/hold", body)))
    assert is_nobody(hold(eva.token("POST", "/v1/desk/revoke", body)))
    assert is_nobody(hold(eva.token("POST", "/v1/desk/hold", body), body.replace(b"ticket", b"mail")))
    assert is_nobody(hold(eva.token("POST", "/v1/desk/hold")))
    assert is_nobody(hold(eva.token("POST", "/v1/desk/hold", body, authority="urn:leasehold:other")))
    assert is_nobody(hold(eva.token("POST", "/v1/desk/hold", body, issued_at=now - 61, expires_at=now - 1)))
    assert is_nobody(hold(eva.token("POST", "/v1/desk/hold", body, issued_at=now + 61, expires_at=now + 70)))
    assert is_nobody(hold(eva.token("POST", "/v1/desk/hold", body, issued_at=now - 10, expires_at=now)))
    assert is_nobody(hold(eva.token("POST", "/v1/desk/hold", body, person="user:nobody")))
    assert is_nobody(house.nobody(eva.token("GET", "/v1/desk/entries")).get("/v1/desk/entries?tenant=acme"))
    assert house.stage.desk.standing() == ()


def test_signed_call_of_anothers_key_or_of_another_form_is_nobodys(house: ApiHouse) -> None:
    eva = house.person(EVA)
    good = eva.token("GET", "/v1/desk/stops")
    header, claims, signature = good.split(".")
    eva.key = key_of_person("user:mallory")
    forged = eva.token("GET", "/v1/desk/stops")
    nothing = base64url.encode(b'{"alg":"none","typ":"leasehold-person+jwt"}')
    lease = base64url.encode(b'{"alg":"Ed25519","kid":"x","typ":"at+jwt"}')
    more = base64url.encode(base64url.decode(claims)[:-1] + b',"more":1}')
    for token in (
        forged,
        f"{header}.{claims}.",
        f"{header}.{claims}",
        f"{nothing}.{claims}.",
        f"{lease}.{claims}.{signature}",
        f"{header}.{more}.{signature}",
        f"{header}.{claims}.{signature}=",
        f"{header}.{base64url.encode(b'[]')}.{signature}",
        f"{base64url.encode(b'[]')}.{claims}.{signature}",
        "x" * 9000,
        "..",
    ):
        assert is_nobody(house.nobody(token).get("/v1/desk/stops"))
    assert house.nobody(good).get("/v1/desk/stops").status == 200


def test_person_who_was_removed_signs_for_nobody(house: ApiHouse) -> None:
    eva = house.person(EVA)
    house.stage.desk.remove_person(EVA, by="op")
    assert is_nobody(eva.get("/v1/desk/stops"))


# browsers


def test_session_of_the_console_opens_nothing_of_the_api_and_a_key_no_page(house: ApiHouse) -> None:
    stage = house.stage
    browser = Browser(house.port)
    browser.cookies = {"leasehold": "x", "__Host-leasehold": "x", "session": "x"}
    for path in ("/v1/desk/stops", "/v1/events", "/v1/runs/run_01JZ8Q5X0M3V7K2N9B4C6D8E0F"):
        reply = browser.get(path)
        assert reply.status == 401
        assert reply.set_cookies == ()
    page = Browser(house.port).get("/account", Authorization=f"Bearer {api_key(stage, HOST)}")
    assert page.status in (303, 401)
    assert house.program(HOST).get("/").status in (303, 401)


def test_name_of_another_server_is_refused_before_the_credential_is_looked_at(house: ApiHouse) -> None:
    host = house.program(HOST)
    browser = Browser(house.port, host="evil.example")
    reply = browser.get("/v1/openapi.json")
    assert reply.status == 421
    assert reply.headers["content-type"] == "application/problem+json"
    assert browser.get("/v1/runs/x", Authorization=f"Bearer {host.credential}").status == 421


def test_what_a_person_signed_says_the_digest_of_the_very_bytes(house: ApiHouse) -> None:
    eva = house.person(EVA)
    spelled = b'{"reason": "look", "scope": "tool:ticket"}'
    token = eva.token("POST", "/v1/desk/hold", spelled, body=body_digest(encode(HOLD)))
    assert is_nobody(house.nobody(token).send("POST", "/v1/desk/hold", spelled))


@pytest.mark.case(25, 118)
@pytest.mark.parametrize(
    "path", ["/v1%2Fdesk/stops", "/%761/desk/stops", "/v1/desk/st%6fps", "/oauth%2ftoken", "/.well-known%2Fjwks.json"]
)
def test_path_of_programs_has_one_spelling_whoever_looks_at_it_on_the_way(house: ApiHouse, path: str) -> None:
    told = house.person(EVA).get(path)
    assert (told.status, told.code) == (404, "not_found")


@pytest.mark.case(73)
def test_tool_that_reports_without_end_is_refused_and_its_call_can_still_be_settled(house: ApiHouse) -> None:
    host, guard = house.program(HOST), house.program(GUARD)
    token = lease_of(host, run_of(host)["run_id"])["tokens"]["ticket"]
    admission = guard.post("/v1/admissions", admission_of(house, token)).json["admission_id"]
    size = len(house.stage.entries())
    for said in ({"touched": ["x" * 2000] * 30}, {"cost": {f"u{number}": 0 for number in range(4000)}}):
        told = guard.post(f"/v1/admissions/{admission}/settle", {"status": "done", **said})
        assert (told.status, told.code) == (400, "invalid")
    assert len(house.stage.entries()) == size
    assert guard.post(f"/v1/admissions/{admission}/settle", {"status": "done"}).json["state"] == "done"
