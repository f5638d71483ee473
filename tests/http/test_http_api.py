"""The API of programs: the whole journey of a run over HTTP, and everything else one kind of problem."""

from __future__ import annotations

import http.client
import json
import queue
import socket
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from msgspec.structs import replace
from starlette.applications import Starlette
from starlette.routing import Mount

from api_house import ApiHouse, Program, Told, api_house
from clients import CLIENT_POLICY, GUARD, HOST, OTHER, api_key, client_stage
from leasehold.decide.clients import ForRun
from leasehold.errors import Denied
from leasehold.http.api import create_api, make_callers
from leasehold.http.api_events import _Watch
from leasehold.http.events import Places
from leasehold.ledger.entry import EntryKind
from served import served
from stage import ANA, BEN, EVA, changed

START = {
    "agent": "bot",
    "route": "desk",
    "tenant": "acme",
    "environment": "prod",
    "requested_by": ANA,
    "purpose": "answer T-1",
}
UPDATE = {"ticket.update": {"ticket": ["T-*"]}}
CLOSE = {"ticket.close": {"ticket": ["T-1"]}}
NEVER = "_01JZ8Q5X0M3V7K2N9B4C6D8E0F"


@pytest.fixture(scope="module")
def shared() -> Iterator[ApiHouse]:
    with api_house() as house:
        yield house


@pytest.fixture
def house() -> Iterator[ApiHouse]:
    with api_house() as house:
        yield house


def started(host: Program, **rest: object) -> dict[str, Any]:
    told = host.post("/v1/runs", START | rest)
    assert told.status == 200, told.body
    return told.json["run"]  # type: ignore[no-any-return]


def asked(host: Program, run_id: str, allow: object = UPDATE, **rest: object) -> Told:
    return host.post(f"/v1/runs/{run_id}/requests", {"attempt": 1, "allow": allow, "reason": "customer asked"} | rest)


def drawn(host: Program, run_id: str, allow: object = UPDATE) -> dict[str, Any]:
    request_id = asked(host, run_id, allow).json["request"]["request_id"]
    told = host.post(f"/v1/requests/{request_id}/lease")
    assert told.status == 200, told.body
    return told.json  # type: ignore[no-any-return]


def call(house: ApiHouse, token: str, action: str = "ticket.update", **rest: object) -> dict[str, Any]:
    admission = house.stage.door().new_admission_id()
    given = {"action": action, "arguments": {"ticket_id": "T-1"}, "admission_id": admission, "key": admission}
    return {"token": token, "call": given | rest}


def test_a_run_from_start_to_receipt(house: ApiHouse) -> None:
    host, guard = house.program(HOST), house.program(GUARD)
    run = started(host)
    lease = drawn(host, run["run_id"])
    body = call(house, lease["tokens"]["ticket"])
    admitted = guard.post("/v1/admissions", body)
    assert admitted.status == 200, admitted.body
    admission = admitted.json["admission_id"]
    assert admitted.json["start_within_ms"] > 0
    assert guard.get(f"/v1/admissions/{admission}").json["state"] == "admitted"
    settled = guard.post(f"/v1/admissions/{admission}/settle", {"status": "done", "touched": ["T-1"]})
    assert settled.json["state"] == "done"
    assert guard.get(f"/v1/admissions/{admission}?wait=30").json["state"] == "done"
    renewed = host.post(f"/v1/leases/{lease['lease']['lease_id']}/renew").json
    assert renewed["lease"]["lease_id"] != lease["lease"]["lease_id"]
    finished = host.post(f"/v1/runs/{run['run_id']}/finish", {"attempt": 1})
    assert finished.json["payloadType"] == "application/vnd.in-toto+json"
    assert host.post(f"/v1/runs/{run['run_id']}/finish", {"attempt": 1}).status == 200
    assert host.get(f"/v1/runs/{run['run_id']}/receipt").json["payloadType"] == finished.json["payloadType"]
    assert host.get(f"/v1/runs/{run['run_id']}").json["state"] == "finished"
    admitted_entry = house.stage.entries(EntryKind.CALL_ADMITTED)[0]
    assert admitted_entry.detail["client"] == GUARD


def test_people_decide_while_the_host_waits(house: ApiHouse) -> None:
    host = house.program(HOST)
    run = started(host)
    request = asked(host, run["run_id"], CLOSE).json
    assert request["state"] == "pending"
    path = f"/v1/requests/{request['request']['request_id']}"
    assert host.get(f"{path}?wait=0").json["state"] == "pending"
    needed = host.post(f"{path}/lease")
    assert (needed.status, needed.code) == (403, "approval_needed")
    answers: list[Told] = []
    waiting = threading.Thread(target=lambda: answers.append(host.get(f"{path}?wait=30")))
    waiting.start()
    house.stage.people.approve(request["request"]["request_id"], BEN)
    waiting.join()
    assert answers[0].json["state"] == "approved"
    assert host.post(f"{path}/lease").json["lease"]["approved_by"] == [BEN]


def test_call_that_needs_people_names_the_request_to_wait_on(house: ApiHouse) -> None:
    host, guard = house.program(HOST), house.program(GUARD)
    lease = drawn(host, started(host)["run_id"], {"ticket.erase": {"ticket": ["T-1"]}})
    body = call(house, lease["tokens"]["ticket"], "ticket.erase")
    needed = guard.post("/v1/admissions", body)
    assert (needed.status, needed.code) == (403, "approval_needed")
    request = needed.json["request"]
    assert needed.json["decision"]["request_id"] == request
    house.stage.people.approve(request, BEN, EVA)
    again = call(house, lease["tokens"]["ticket"], "ticket.erase", key=body["call"]["key"])
    assert guard.post("/v1/admissions", again).status == 200


def test_escalation_and_withdrawal(house: ApiHouse) -> None:
    host = house.program(HOST)
    run = started(host)
    body = {"attempt": 1, "action": "ticket.close", "attributes": {"ticket": ["T-1"]}, "reason": "now", "seconds": 60}
    request = host.post(f"/v1/runs/{run['run_id']}/escalations", body).json
    assert (request["state"], request["request"]["ttl_seconds"]) == ("pending", 60)
    path = f"/v1/requests/{request['request']['request_id']}/withdraw"
    assert host.post(path).json["state"] == "withdrawn"
    assert host.post(path).json["state"] == "withdrawn"


def test_child_run_is_started_under_a_lease(house: ApiHouse) -> None:
    host = house.program(HOST)
    lease = drawn(host, started(host)["run_id"])["lease"]
    body = {"agent": "helper", "purpose": "look it up", "parent_lease": lease["lease_id"]}
    child = host.post("/v1/runs", body).json["run"]
    assert child["ancestors"][0]["run_id"] == lease["run_id"]
    assert house.program(OTHER).post("/v1/runs", body).status == 404


def test_next_attempt_fences_off_the_one_before(house: ApiHouse) -> None:
    host = house.program(HOST)
    run = started(host)["run_id"]
    assert host.post(f"/v1/runs/{run}/retry", {"attempt": 1}).json["attempt"] == 2
    stale = asked(host, run)
    assert (stale.status, stale.code) == (409, "stale_attempt")
    assert host.post(f"/v1/runs/{run}/finish", {"attempt": 1}).code == "stale_attempt"


def test_same_request_sent_again_is_answered_the_same(house: ApiHouse) -> None:
    host = house.program(HOST)
    first = host.post("/v1/runs", START, key="start-1")
    spelled = json.dumps(START, indent=3).encode()
    assert host.post("/v1/runs", spelled, key="start-1").json == first.json
    run = first.json["run"]["run_id"]
    body = {"attempt": 1, "allow": UPDATE, "reason": "x"}
    request = host.post(f"/v1/runs/{run}/requests", body, key="ask-1").json["request"]["request_id"]
    assert host.post(f"/v1/runs/{run}/requests", body, key="ask-1").json["request"]["request_id"] == request
    lease = host.post(f"/v1/requests/{request}/lease", key="draw-1").json
    assert host.post(f"/v1/requests/{request}/lease", key="draw-1").json == lease
    conflict = host.post("/v1/runs", START | {"purpose": "another"}, key="start-1")
    assert (conflict.status, conflict.code) == (409, "conflict")
    assert len(house.stage.entries(EntryKind.RUN_STARTED)) == 1


def test_admission_sent_again_is_the_same_and_charged_once(house: ApiHouse) -> None:
    host, guard = house.program(HOST), house.program(GUARD)
    body = call(house, drawn(host, started(host)["run_id"])["tokens"]["ticket"])
    first = guard.post("/v1/admissions", body).json
    assert guard.post("/v1/admissions", body).json["admission_id"] == first["admission_id"]
    assert len(house.stage.entries(EntryKind.CALL_ADMITTED)) == 1
    other = {**body, "call": {**body["call"], "arguments": {"ticket_id": "T-2"}}}
    assert guard.post("/v1/admissions", other).code == "conflict"


def test_revoke_reaches_a_guard_that_waits(house: ApiHouse) -> None:
    host, guard = house.program(HOST), house.program(GUARD)
    run = started(host)["run_id"]
    admission = guard.post("/v1/admissions", call(house, drawn(host, run)["tokens"]["ticket"])).json["admission_id"]
    answers: list[Told] = []
    waiting = threading.Thread(target=lambda: answers.append(guard.get(f"/v1/admissions/{admission}?wait=30")))
    waiting.start()
    house.stage.revoke(f"run:{run}")
    waiting.join()
    assert answers[0].json["end"]["reason"] == "revoked"
    assert answers[0].json["state"] == "admitted"


def test_waiting_ends_with_its_time(house: ApiHouse) -> None:
    host, guard = house.program(HOST), house.program(GUARD)
    run = started(host)["run_id"]
    request = asked(host, run, CLOSE).json["request"]["request_id"]
    admission = guard.post("/v1/admissions", call(house, drawn(host, run)["tokens"]["ticket"])).json["admission_id"]
    assert guard.get(f"/v1/admissions/{admission}?wait=1").json["state"] == "admitted"
    assert host.get(f"/v1/requests/{request}?wait=1").json["state"] == "pending"


@pytest.mark.parametrize("counted", ["waits", "held"])
def test_client_waits_for_so_much_and_no_more_and_so_do_all_together(house: ApiHouse, counted: str) -> None:
    setattr(house.streams, counted, Places(1))
    host = house.program(HOST)
    request = asked(host, started(host)["run_id"], CLOSE).json["request"]["request_id"]
    path = f"/v1/requests/{request}?wait=30"
    answers: queue.SimpleQueue[Told] = queue.SimpleQueue()
    waiting = [threading.Thread(target=lambda: answers.put(host.get(path))) for _ in range(2)]
    for each in waiting:
        each.start()
    assert answers.get(timeout=20).code == "too_many"
    house.stage.people.approve(request, BEN)
    assert answers.get(timeout=20).json["state"] == "approved"
    for each in waiting:
        each.join()
    assert host.get(path).status == 200


def test_who_went_away_waits_for_nothing_any_more(house: ApiHouse) -> None:
    house.streams.waits = Places(2)
    host, guard = house.program(HOST), house.program(GUARD)
    run = started(host)["run_id"]
    request = asked(host, run, CLOSE).json["request"]["request_id"]
    admission = guard.post("/v1/admissions", call(house, drawn(host, run)["tokens"]["ticket"])).json["admission_id"]
    for program, path in ((host, f"/v1/requests/{request}"), (guard, f"/v1/admissions/{admission}")):
        for _ in range(4):  # twice as many as may wait
            with socket.create_connection(("127.0.0.1", house.port)) as connection:
                connection.sendall(
                    f"GET {path}?wait=60 HTTP/1.1\r\nHost: 127.0.0.1:{house.port}\r\n"
                    f"Authorization: Bearer {program.credential}\r\n\r\n".encode()
                )
                until(lambda: house.streams.waits.taken == 1)
            until(lambda: house.streams.waits.taken == 0)


def until(is_so: Callable[[], bool]) -> None:
    """Return once it is so."""
    for _ in range(2000):
        if is_so():
            return
        threading.Event().wait(0.005)
    raise AssertionError("it never was so")


def test_who_waits_is_told_nothing_once_its_key_is_gone(house: ApiHouse) -> None:
    host, guard = house.program(HOST), house.program(GUARD)
    run = started(host)["run_id"]
    request = asked(host, run, CLOSE).json["request"]["request_id"]
    admission = guard.post("/v1/admissions", call(house, drawn(host, run)["tokens"]["ticket"])).json["admission_id"]
    told: queue.SimpleQueue[Told] = queue.SimpleQueue()
    asking = ((host, f"/v1/requests/{request}?wait=30"), (guard, f"/v1/admissions/{admission}?wait=30"))
    waiting = [threading.Thread(target=lambda ask=ask: told.put(ask[0].get(ask[1]))) for ask in asking]  # type: ignore[misc]  # bound
    for each in waiting:
        each.start()
    until(lambda: house.streams.waits.taken == 2)
    for program in (host, guard):
        house.stage.authority.clients.remove_key(program.credential.split("_")[1], by="op")
    house.stage.people.approve(request, BEN)
    house.stage.revoke(f"run:{run}")
    assert [told.get(timeout=20).code for _ in waiting] == ["unknown_client"] * 2
    for each in waiting:
        each.join()


def lines_of(house: ApiHouse, client: str) -> Iterator[str]:
    """The lines of an event stream as they come."""
    connection = http.client.HTTPConnection("127.0.0.1", house.port, timeout=20)
    connection.request("GET", "/v1/events", headers={"Authorization": f"Bearer {house.program(client).credential}"})
    response = connection.getresponse()
    assert response.getheader("content-type", "").startswith("text/event-stream")
    assert response.getheader("cache-control") == "no-store"
    try:
        while line := response.readline():
            if line.strip():
                yield line.decode().strip()
    finally:
        connection.close()


def next_event(lines: Iterator[str]) -> tuple[str, Any]:
    """The next event and its data."""
    for line in lines:
        if line.startswith("event: "):
            return line.removeprefix("event: "), json.loads(next(lines).removeprefix("data: "))
    raise AssertionError("the stream ended")


def test_stream_tells_of_stops_and_of_decided_requests(house: ApiHouse) -> None:
    host = house.program(HOST)
    request = asked(host, started(host)["run_id"], CLOSE).json["request"]["request_id"]
    lines = lines_of(house, HOST)
    assert next_event(lines) == ("stops", {})
    house.stage.people.approve(request, BEN)
    name, told = next_event(lines)
    assert (name, told["request_id"], told["state"]) == ("request", request, "approved")
    house.stage.hold("tool:ticket", tenant="acme")
    name, told = next_event(lines)
    assert (name, told["stops"][0]["scope"], told["stops"][0]["kind"]) == ("stops", "tool:ticket", "hold")
    assert "by" not in told["stops"][0] or told["stops"][0]["by"] == ""
    house.streams.close()
    assert next_event(lines) == ("over", {})
    assert house.program(HOST).get("/v1/events").code == "unavailable"


def test_stream_of_a_client_tells_nothing_of_tenants_and_clients_that_are_not_its_own(house: ApiHouse) -> None:
    other = house.program(OTHER)
    lines = lines_of(house, OTHER)
    assert next_event(lines) == ("stops", {})
    request = asked(house.program(HOST), started(house.program(HOST))["run_id"], CLOSE).json["request"]["request_id"]
    house.stage.people.approve(request, BEN)
    house.stage.hold("tool:ticket", tenant="globex")
    house.stage.hold("tool:mail", tenant="acme")
    name, told = next_event(lines)
    assert (name, [stop["scope"] for stop in told["stops"]]) == ("stops", ["tool:mail"])
    assert {stop.scope for stop in house.stage.desk.standing()} == {"tool:ticket", "tool:mail"}
    assert other.get(f"/v1/requests/{request}").status == 404


def test_stream_tells_nothing_of_a_tenant_that_the_client_does_not_work_in_any_more(house: ApiHouse) -> None:
    request = asked(house.program(HOST), started(house.program(HOST))["run_id"], CLOSE).json["request"]["request_id"]
    lines = lines_of(house, HOST)
    assert next_event(lines) == ("stops", {})
    works = 'runs = { agents = ["bot", "helper"], routes = ["desk"], tenants = '
    house.stage.accept(changed(f'{works}["acme", "globex"]', f'{works}["globex"]', CLIENT_POLICY))
    house.stage.people.approve(request, BEN)
    house.stage.hold("tool:mail", tenant="globex")
    name, told = next_event(lines)
    assert (name, [stop["scope"] for stop in told["stops"]]) == ("stops", ["tool:mail"])


def test_stream_ends_with_its_key(house: ApiHouse) -> None:
    lines = lines_of(house, GUARD)
    assert next_event(lines) == ("stops", {})
    (row,) = house.stage.authority.clients.keys()
    house.stage.authority.clients.remove_key(row.key_id, by="op")
    assert next_event(lines) == ("over", {})


def test_stream_ends_with_the_token_that_it_was_asked_with(house: ApiHouse) -> None:
    caller = replace(
        make_callers(house.stage.authority).of_key(house.program(HOST).credential),
        expires_at=house.stage.system.now().seconds + 60,
    )
    watch = _Watch(house.stage.authority, caller)
    assert watch.look()
    house.stage.pass_time(60)
    with pytest.raises(Denied):
        watch.look()


def test_client_has_so_many_streams_and_no_more(house: ApiHouse) -> None:
    held = [lines_of(house, GUARD) for _ in range(20)]
    for lines in held:
        next_event(lines)
    assert house.program(GUARD).get("/v1/events").code == "too_many"
    house.streams.held = Places(0)
    assert house.program(HOST).get("/v1/events").code == "too_many"
    assert house.streams.of_clients.taken == 20
    house.streams.close()


def test_client_that_opens_many_streams_at_once_has_no_more(house: ApiHouse) -> None:
    headers = {"Authorization": f"Bearer {house.program(GUARD).credential}"}
    held = [http.client.HTTPConnection("127.0.0.1", house.port, timeout=20) for _ in range(60)]
    for connection in held:
        connection.connect()
    for connection in held:
        connection.request("GET", "/v1/events", headers=headers)
    answers = [connection.getresponse() for connection in held]
    assert sorted(answer.status for answer in answers) == [200] * 20 + [429] * 40
    for answer, connection in zip(answers, held, strict=True):
        answer.close()
        connection.close()
    house.streams.close()


def test_trace_of_the_caller_is_the_calls_where_it_names_none(house: ApiHouse) -> None:
    host, guard = house.program(HOST), house.program(GUARD)
    body = call(house, drawn(host, started(host)["run_id"])["tokens"]["ticket"])
    assert guard.post("/v1/admissions", body).json["trace_id"] == ""


# what is refused


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "/v1", 404, "not_found"),
        ("GET", "/v1/", 404, "not_found"),
        ("GET", "/v1/nothing", 404, "not_found"),
        ("GET", "/v1/runs/", 404, "not_found"),
        ("GET", "/v1/runs//receipt", 404, "not_found"),
        ("GET", "/v1/runs/a/b", 404, "not_found"),
        ("GET", f"/v1/runs/run{NEVER}/", 404, "not_found"),
        ("GET", "/v1/runs/%2e%2e%2fdesk%2fstops", 404, "not_found"),
        ("GET", "/v1/runs/..", 400, "invalid"),
        ("GET", "/v1/runs/%00", 404, "not_found"),
        ("GET", "/v1/runs/%ff", 404, "not_found"),
        ("GET", f"/v1/runs/{'x' * 3000}", 404, "not_found"),
        ("GET", "/v1/runs", 405, "method_not_allowed"),
        ("DELETE", f"/v1/runs/run{NEVER}", 405, "method_not_allowed"),
        ("OPTIONS", "/v1/runs", 405, "method_not_allowed"),
        ("HEAD", f"/v1/runs/run{NEVER}", 405, "method_not_allowed"),
        ("POST", "/v1/openapi.json", 405, "method_not_allowed"),
        ("GET", f"/v1/runs/run{NEVER}", 404, "not_found"),
        ("GET", f"/v1/runs/run{NEVER}?x=1", 400, "invalid"),
        ("GET", f"/v1/runs/req{NEVER}", 400, "invalid"),
        ("GET", f"/v1/requests/req{NEVER}?wait=61", 400, "invalid"),
        ("GET", f"/v1/requests/req{NEVER}?wait=-1", 400, "invalid"),
        ("GET", f"/v1/requests/req{NEVER}?wait=1&wait=2", 400, "invalid"),
        ("GET", f"/v1/requests/req{NEVER}?wait=x", 400, "invalid"),
        ("GET", f"/v1/requests/req{NEVER}?wait", 400, "invalid"),
        ("GET", f"/v1/requests/req{NEVER}?wait=%ff", 400, "invalid"),
        ("GET", f"/v1/requests/req{NEVER}?wait=%00", 400, "invalid"),
        ("GET", f"/v1/requests/req{NEVER}?" + "a" * 5000, 400, "invalid"),
        ("GET", f"/v1/requests/req{NEVER}?wait=0", 404, "not_found"),
        ("POST", f"/v1/requests/req{NEVER}/lease", 404, "not_found"),
        ("POST", f"/v1/leases/lease{NEVER}/renew", 404, "not_found"),
    ],
)
def test_what_cannot_be_asked_is_one_kind_of_problem(
    shared: ApiHouse, method: str, path: str, status: int, code: str
) -> None:
    told = shared.program(HOST).send(method, path, Idempotency_Key="k")
    assert told.status == status
    if method != "HEAD":
        assert told.code == code
        assert told.json["request_id"] == told.headers["x-request-id"]
    assert told.headers["cache-control"] == "no-store"


RUN = f"/v1/runs/run{NEVER}/requests"


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (b"", "invalid"),
        (b"{", "invalid"),
        (b"[]", "invalid"),
        (b"null", "invalid"),
        (b'{"attempt":1,"attempt":2,"allow":{},"reason":"x"}', "invalid"),
        (b'{"attempt":1,"allow":{"a":1,"a":2},"reason":"x"}', "invalid"),
        (b'{"attempt":1,"allow":{},"reason":"x","more":1}', "invalid"),
        (b'{"attempt":"1","allow":{},"reason":"x"}', "invalid"),
        (b'{"attempt":true,"allow":{},"reason":"x"}', "invalid"),
        (b'{"attempt":1.0,"allow":{},"reason":"x"}', "invalid"),
        (b'{"attempt":NaN,"allow":{},"reason":"x"}', "invalid"),
        (b'{"attempt":1,"allow":{},"reason":"\\ud800"}', "invalid"),
        (b'{"attempt":1,"allow":{},"reason":"\\u0000"}', "invalid"),
        (b'{"attempt":1,"allow":{},"reason":"\xff"}', "invalid"),
        (b"\xef\xbb\xbf{}", "invalid"),
        (b"[" * 60_000, "invalid"),
        (b'{"attempt":9007199254740993,"allow":{},"reason":"x"}', "invalid"),
        (b'{"allow":{},"reason":"x"}', "invalid"),
        (b'{"attempt":1,"allow":{},"reason":"' + b"x" * 2001 + b'"}', "invalid"),
        (b" " * 65_537, "too_large"),
    ],
)
def test_body_that_two_readers_could_take_differently_is_refused(shared: ApiHouse, data: bytes, code: str) -> None:
    told = shared.program(HOST).send("POST", RUN, data, Idempotency_Key="k")
    assert told.code == code
    assert 400 <= told.status < 500


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Content_Type": "text/plain"}, 415),
        ({"Content_Type": "application/json; charset=latin-1"}, 415),
        ({"Content_Type": ""}, 415),
        ({"Content_Encoding": "gzip"}, 415),
        ({"Content_Type": 'application/json; charset="utf-8"'}, 404),
        ({"Content_Type": "Application/JSON;charset=UTF-8"}, 404),
        ({"Idempotency_Key": ""}, 400),
        ({"Idempotency_Key": "x" * 201}, 400),
        ({"Idempotency_Key": "a b"}, 400),
    ],
)
def test_headers_that_cannot_be_meant_are_refused(shared: ApiHouse, headers: dict[str, str], status: int) -> None:
    body = {"attempt": 1, "allow": UPDATE, "reason": "x"}
    given = {"Idempotency_Key": "k"} | headers
    assert shared.program(HOST).send("POST", RUN, body, **given).status == status


def test_key_twice_is_no_key(shared: ApiHouse) -> None:
    host = shared.program(HOST)
    twice = [
        ("Authorization", f"Bearer {host.credential}"),
        ("Content-Type", "application/json"),
        ("Idempotency-Key", "a"),
        ("Idempotency-Key", "b"),
    ]
    assert host.raw("POST", RUN, b'{"attempt":1,"allow":{},"reason":"x"}', twice).code == "invalid"


def test_body_where_none_is_taken_is_refused(shared: ApiHouse) -> None:
    assert shared.program(HOST).post(f"/v1/requests/req{NEVER}/lease", b"{}").code == "invalid"
    assert shared.program(HOST).send("GET", f"/v1/runs/run{NEVER}", b"{}").code == "invalid"


def test_body_longer_than_it_says_to_be_allowed_is_refused_before_it_is_read(shared: ApiHouse) -> None:
    host = shared.program(HOST)
    for length in ("65537", "1310721"):
        headers = [
            ("Authorization", f"Bearer {host.credential}"),
            ("Content-Type", "application/json"),
            ("Content-Length", length),
        ]
        assert host.raw("POST", RUN, b"", headers).code == "too_large"


def test_large_arguments_of_a_call_have_room(shared: ApiHouse) -> None:
    host, guard = shared.program(HOST), shared.program(GUARD)
    token = drawn(host, started(host)["run_id"])["tokens"]["ticket"]
    body = call(shared, token, arguments={"ticket_id": "T-1", "note": "x" * 900_000})
    assert guard.post("/v1/admissions", body).status == 200
    body = call(shared, token, arguments={"ticket_id": "T-1", "note": "x" * 1_100_000})
    assert guard.post("/v1/admissions", json.dumps(body).encode()).code == "invalid"


def test_body_that_does_not_say_how_long_it_is_is_read_no_further_than_it_may_go(shared: ApiHouse) -> None:
    host = shared.program(HOST)
    headers = [("Authorization", f"Bearer {host.credential}"), ("Content-Type", "application/json")]
    chunked = [*headers, ("Transfer-Encoding", "chunked")]
    data = b"10001\r\n" + b" " * 65_537 + b"\r\n"
    assert host.raw("POST", RUN, data, chunked).code == "too_large"


def test_caller_that_goes_away_in_the_middle_leaves_nothing_behind(shared: ApiHouse) -> None:
    host = shared.program(HOST)
    size = len(shared.stage.entries())
    with socket.create_connection(("127.0.0.1", shared.port)) as connection:
        head = (
            f"POST /v1/runs HTTP/1.1\r\nHost: 127.0.0.1:{shared.port}\r\nAuthorization: Bearer {host.credential}\r\n"
            "Content-Type: application/json\r\nContent-Length: 500\r\n\r\n{"
        )
        connection.sendall(head.encode())
    assert host.get(f"/v1/runs/run{NEVER}").status == 404
    assert len(shared.stage.entries()) == size


def test_callers_own_request_id_comes_back_if_it_is_plain(shared: ApiHouse) -> None:
    host = shared.program(HOST)
    told = host.get(f"/v1/runs/run{NEVER}", X_Request_Id="mine-1")
    assert told.headers["x-client-request-id"] == "mine-1"
    assert told.headers["x-request-id"] != "mine-1"
    assert "x-client-request-id" not in host.get(f"/v1/runs/run{NEVER}", X_Request_Id="a b").headers


def test_store_that_is_not_there_is_503_and_says_whether_it_may_stand(house: ApiHouse) -> None:
    host, store = house.program(HOST), house.stage.meddle()
    for persisted in (False, True):
        store.lose(ForRun, persisted=persisted)
        told = host.post("/v1/runs", START, key=f"start-{persisted}")
        assert (told.status, told.code) == (503, "unavailable")
        assert told.headers["retry-after"] == "1"
        assert told.json.get("maybe_persisted", False) is persisted
        assert host.post("/v1/runs", START, key=f"start-{persisted}").status == 200
    assert len(house.stage.entries(EntryKind.RUN_STARTED)) == 2


def test_fault_of_ours_says_nothing_but_its_number(house: ApiHouse, caplog: pytest.LogCaptureFixture) -> None:
    def fail() -> object:
        raise RuntimeError("a secret of the inside")

    host = house.program(HOST)
    house.stage.meddle().reading = fail
    told = host.get(f"/v1/runs/run{NEVER}")
    assert (told.status, told.code) == (500, "fault")
    assert "secret" not in told.body.decode()
    assert told.json["request_id"] in caplog.text


def test_api_stands_alone_for_a_socket_of_this_machine() -> None:
    stage = client_stage()
    with served(lambda _: Starlette(routes=[Mount("/", create_api(stage.authority))])) as port:
        host = Program(port, api_key(stage, HOST))
        assert host.post("/v1/runs", START).status == 200
        assert host.get("/sign-in").code == "not_found"
        assert host.get("/v1/openapi.json").headers["cache-control"] == "no-store"
    stage.close()
