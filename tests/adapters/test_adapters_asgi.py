"""An HTTP endpoint behind a guard, on a real server: what starts, what is refused and how, and when it is settled."""

from __future__ import annotations

import asyncio
import hashlib
import json
import socket
from concurrent.futures import Future
from typing import Any

import pytest
from desk_service import Answer, Caller, Desk, outcomes, running
from hypothesis import given
from hypothesis import strategies as st
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.routing import Mount, Route
from starlette.types import ASGIApp

from leasehold.adapters.answering import RequestError
from leasehold.adapters.asgi import Body, Leased, Terms, capability_of
from leasehold.adapters.reading import Asked, read_request
from leasehold.errors import InvalidError, UnavailableError
from leasehold.guard import Guard
from leasehold.ledger.entry import EntryKind
from leasehold.model import canonical
from leasehold.model.call import Admission, Call
from stage import BEN, UPDATE, Stage

UPDATE_T1 = "/tickets/T-1/update"


@pytest.mark.requirement("B5", "L9")
def test_request_with_a_lease_runs_the_handler_on_what_was_decided_and_is_settled(
    stage: Stage, desk: Desk, caller: Caller
) -> None:
    answer = caller.send("POST", UPDATE_T1, {"note": "fixed", "lines": [1, 2.5]}, key="k1")

    assert (answer.status, answer.json) == (200, {"ticket_id": "T-1", "note": "fixed", "lines": [1, 2.5]})
    ((arguments, body, headers),) = desk.did
    assert arguments == answer.json
    assert body == b'{"lines":[1,2.5],"note":"fixed"}'
    assert headers["content-length"] == str(len(body))
    assert outcomes(stage) == ["done"]


@pytest.mark.requirement("P18")
def test_the_handler_never_sees_the_lease(desk: Desk, caller: Caller) -> None:
    caller.send("POST", UPDATE_T1, {}, key="k1")

    ((_, _, headers),) = desk.did
    assert "authorization" not in headers
    assert caller.lease is not None
    assert caller.lease.token_for("ticket") not in str(desk.did)


def test_without_a_lease_the_answer_says_how_to_present_one(desk: Desk, port: int) -> None:
    answer = Caller(port).send("POST", UPDATE_T1, {"note": "fixed"}, key="k1")

    assert (answer.status, answer.json["type"]) == (401, "urn:leasehold:problem:lease_needed")
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.headers["cache-control"] == "no-store"
    assert answer.headers["www-authenticate"] == (
        'Bearer realm="ticket", resource_metadata="https://desk.example/.well-known/x"'
    )
    assert desk.did == []


@pytest.mark.parametrize(
    ("value", "status", "error"),
    [
        ("Bearer nothing.of.ours", 401, "invalid_token"),
        ("Basic YTpi", 401, "invalid_request"),
        ("Bearer", 401, "invalid_request"),
        ("Bearer  two.spaces.here", 401, "invalid_request"),
        ("Bearer a.b.c, Bearer d.e.f", 401, "invalid_request"),
    ],
)
def test_what_is_no_lease_is_refused_with_a_challenge(
    desk: Desk, port: int, value: str, status: int, error: str
) -> None:
    answer = Caller(port).send("POST", UPDATE_T1, {}, key="k1", headers=(("Authorization", value),))

    assert answer.status == status
    assert f'error="{error}"' in answer.headers["www-authenticate"]
    assert desk.did == []


@pytest.mark.parametrize("name", ["Authorization", "Idempotency-Key", "Content-Type", "traceparent"])
def test_header_that_is_there_twice_is_refused(desk: Desk, caller: Caller, name: str) -> None:
    """Spelled as CGI and WSGI would read it, it is the same header."""
    for again in (name, name.upper(), name.replace("-", "_")):
        twice = ((name, "Bearer a.b.c"), (again, "Bearer a.b.c"))
        answer = caller.send("POST", UPDATE_T1, {}, key="k1", headers=twice)

        assert (answer.status, answer.json["type"]) == (400, "urn:leasehold:problem:repeated_header")
    assert desk.did == []


@pytest.mark.case(101)
def test_nothing_of_a_token_stands_in_what_is_answered_logged_or_recorded(
    stage: Stage, desk: Desk, caller: Caller, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    """Whole and true, altered in each of its parts, too long, or of another kind."""
    assert caller.lease is not None
    token = caller.lease.token_for("ticket")
    head, body, signature = token.split(".")
    altered = (
        f"CANARY{head}.{body}.{signature}",
        f"{head}.CANARY{body}.{signature}",
        f"{token}CANARY",
        f"{token[:-6]}CANARY",
        "lhk_CANARY",
        "CANARY" * 3000,
    )
    told = [
        Caller(caller.port).send("POST", UPDATE_T1, {}, key="k1", headers=(("Authorization", f"Bearer {presented}"),))
        for presented in altered
    ]
    told.append(caller.send("POST", "/tickets/T-1/raising", {"note": "CANARY"}, key="k2"))

    assert [answer.status for answer in told] == [401] * 6 + [500]
    text = f"{told} {caplog.text} {capfd.readouterr()} {stage.entries()}"
    assert [part for part in ("CANARY", body[:40], signature[:40]) if part in text] == []


@pytest.mark.requirement("B5", "P1")
def test_call_outside_the_lease_is_403_with_the_reason_and_what_would_be_enough(desk: Desk, caller: Caller) -> None:
    answer = caller.send("POST", "/tickets/X-1/update", {}, key="k1")

    assert (answer.status, answer.json["reason"]) == (403, "out_of_range")
    assert answer.json["check"]
    assert 'error="insufficient_scope", scope="ticket.update"' in answer.headers["www-authenticate"]
    assert desk.did == []


def test_lease_that_is_over_is_401(stage: Stage, desk: Desk, caller: Caller) -> None:
    stage.pass_time(600)

    answer = caller.send("POST", UPDATE_T1, {}, key="k1")

    assert (answer.status, answer.json["reason"]) == (401, "expired")
    assert 'error="invalid_token"' in answer.headers["www-authenticate"]
    assert desk.did == []


def test_revoked_lease_is_401_from_the_moment_of_the_answer(stage: Stage, desk: Desk, caller: Caller) -> None:
    assert caller.lease is not None
    stage.revoke(f"lease:{caller.lease.lease.lease_id}", tenant="acme")

    answer = caller.send("POST", UPDATE_T1, {}, key="k1")

    assert (answer.status, answer.json["reason"]) == (401, "revoked")
    assert desk.did == []


@pytest.mark.requirement("P9", "P11")
def test_call_that_people_must_see_names_the_request_and_passes_once_they_agreed(
    stage: Stage, desk: Desk, port: int
) -> None:
    caller = Caller(port, stage.lease({"ticket.close": {"ticket": ["T-*"]}, "ticket.update": {"ticket": ["T-*"]}}))
    first = caller.send("POST", "/tickets/T-1/close", {"note": "fixed"}, key="k1")
    assert (first.status, first.json["reason"]) == (409, "approval_needed")
    stage.people.approve(first.json["request"], BEN)

    other = caller.send("POST", "/tickets/T-1/close", {"note": "other"}, key="k1")
    again = caller.send("POST", "/tickets/T-1/close", {"note": "fixed"}, key="k1")

    assert other.json["request"] != first.json["request"]
    assert again.status == 200
    assert [arguments for arguments, _, _ in desk.did] == [{"ticket_id": "T-1", "note": "fixed"}]


@pytest.mark.requirement("P14")
def test_write_without_a_key_is_refused_and_one_key_runs_once(desk: Desk, caller: Caller) -> None:
    assert caller.send("POST", UPDATE_T1, {}).json["reason"] == "key_needed"

    assert caller.send("POST", UPDATE_T1, {}, key="k1").status == 200
    again = caller.send("POST", UPDATE_T1, {}, key='"k1"')
    other = caller.send("POST", UPDATE_T1, {"note": "other"}, key="k1")

    assert (again.status, again.json["reason"]) == (409, "already_done")
    assert (other.status, other.json["reason"]) == (409, "conflict")
    assert len(desk.did) == 1


def test_key_that_cannot_be_one_is_400(desk: Desk, caller: Caller) -> None:
    assert caller.send("POST", UPDATE_T1, {}, key="k" * 300).json["type"] == "urn:leasehold:problem:invalid_key"
    assert desk.did == []


@pytest.mark.case(13, 14, 16, 17)
@pytest.mark.parametrize(
    ("body", "kind", "status", "code"),
    [
        (b'{"note":"a","note":"b"}', "application/json", 400, "not_json"),
        (b'{"n":NaN}', "application/json", 400, "not_json"),
        (b'{"n":12345678901234567890}', "application/json", 400, "not_json"),
        (b'{"n":"\\ud800"}', "application/json", 400, "not_json"),
        (b"\xff", "application/json", 400, "not_json"),
        (b"[" * 100_000, "application/json", 400, "not_json"),
        (b"[]", "application/json", 400, "not_json"),
        (b"ticket_id=T-2", "application/x-www-form-urlencoded", 415, "not_json"),
        (b"{}", "application/json; charset=utf-16", 415, "not_json"),
        (b"{}", "", 415, "not_json"),
        (b'{"ticket_id":"T-2"}', "application/json", 400, "argument_twice"),
    ],
)
def test_body_that_two_readers_could_take_differently_is_refused(
    stage: Stage, desk: Desk, caller: Caller, body: bytes, kind: str, status: int, code: str
) -> None:
    answer = caller.send("POST", UPDATE_T1, body, key="k1", headers=(("Content-Type", kind),) if kind else ())

    assert (answer.status, answer.json["type"]) == (status, f"urn:leasehold:problem:{code}")
    assert desk.did == []
    assert stage.entries(EntryKind.CALL_ADMITTED) == []


def test_encoded_body_is_refused(desk: Desk, caller: Caller) -> None:
    answer = caller.send("POST", UPDATE_T1, {}, key="k1", headers=(("Content-Encoding", "gzip"),))

    assert answer.status == 415
    assert desk.did == []


@pytest.mark.parametrize(
    ("query", "status"),
    [
        ("fields=all", 200),
        ("", 200),
        ("ticket_id=T-2", 400),
        ("fields=a&fields=b", 400),
        ("a", 400),
        ("fields=%ff", 400),
    ],
)
def test_query_holds_declared_parameters_once_and_they_are_arguments(
    desk: Desk, caller: Caller, query: str, status: int
) -> None:
    answer = caller.send("GET", f"/tickets/T-1?{query}")

    assert answer.status == status
    expected = [{"ticket_id": "T-1", **({"fields": "all"} if query else {})}] if status == 200 else []
    assert [arguments for arguments, _, _ in desk.did] == expected


def test_body_over_the_limit_is_413_whether_or_not_its_length_was_told(desk: Desk, caller: Caller) -> None:
    told = caller.send("POST", "/tickets/T-1/small", {"note": "x" * 30}, key="k1")
    lying = caller.send("POST", UPDATE_T1, {}, key="k1", headers=(("Content-Length", "9" * 18),))
    pieces = b"".join(b"a\r\n" + b'{"a":"aaaa' + b"\r\n" for _ in range(5)) + b"0\r\n\r\n"
    untold = caller.send(
        "POST",
        "/tickets/T-1/small",
        pieces,
        key="k1",
        headers=(("Transfer-Encoding", "chunked"), ("Content-Type", "application/json"), ("Content-Length", "")),
    )

    assert (told.status, lying.status) == (413, 413)
    assert untold.status in (400, 413)
    assert desk.did == []


def test_header_that_would_make_another_request_of_it_is_refused(desk: Desk, caller: Caller) -> None:
    for name in (
        "X-HTTP-Method-Override",
        "X_HTTP_METHOD_OVERRIDE",
        "X-Original-URL",
        "x-original_url",
        "X-Rewrite-Url",
    ):
        answer = caller.send("POST", UPDATE_T1, {}, key="k1", headers=((name, "DELETE"),))

        assert (answer.status, desk.did) == (400, [])


def test_bytes_are_decided_on_by_their_digest_and_reach_the_handler_as_they_are(desk: Desk, caller: Caller) -> None:
    answer = caller.send("POST", "/tickets/T-1/file", b"\xff\x00", key="k1")

    assert (answer.json["body_sha256"], answer.json["body_type"]) == (hashlib.sha256(b"\xff\x00").hexdigest(), "")
    assert [body for _, body, _ in desk.did] == [b"\xff\x00"]


def test_bytes_that_would_be_read_in_another_way_are_another_call(stage: Stage, desk: Desk, guard: Guard) -> None:
    """A form's boundary says which of its bytes are fields, and it stands in no byte of the body alone."""
    close = Middleware(Leased, guard, "close", terms=Terms(body=Body.BYTES))
    app = Starlette(routes=[Route("/tickets/{ticket_id}", desk.plain, methods=["POST"], middleware=[close])])
    with running(app) as port:
        caller = Caller(port, stage.lease({"ticket.close": {"ticket": ["T-*"]}, "ticket.update": {"ticket": ["T-*"]}}))

        def send(boundary: str) -> Answer:
            kind = (("Content-Type", f"multipart/form-data; boundary={boundary}"),)
            return caller.send("POST", "/tickets/T-1", b"--a\r\n\r\none\r\n--b--", key="k1", headers=kind)

        stage.people.approve(send("a").json["request"], BEN)
        assert send("b").status == 409
        assert send("a").status == 200
    assert [arguments["body_type"] for arguments, _, _ in desk.did] == ["multipart/form-data; boundary=a"]


def test_trace_of_the_request_stands_in_the_ledger(stage: Stage, caller: Caller) -> None:
    trace = "0af7651916cd43dd8448eb211c80319c"
    caller.send("POST", UPDATE_T1, {}, key="k1", headers=(("traceparent", f"00-{trace}-b7ad6b7169203331-01"),))
    caller.send("POST", UPDATE_T1, {}, key="k2", headers=(("traceparent", "ff-rubbish"),))

    assert [entry.trace for entry in stage.entries(EntryKind.CALL_ADMITTED)] == [trace, ""]


@pytest.mark.parametrize(("status", "outcome"), [(200, "done"), (302, "done"), (404, "failed"), (500, "failed")])
def test_call_is_done_below_status_400_and_else_failed(stage: Stage, caller: Caller, status: int, outcome: str) -> None:
    assert caller.send("POST", "/tickets/T-1/answering", {"status": status}, key="k1").status == status
    assert outcomes(stage) == [outcome]


def test_handler_that_raises_has_failed(stage: Stage, caller: Caller) -> None:
    assert caller.send("POST", "/tickets/T-1/raising", {}, key="k1").status == 500
    assert outcomes(stage) == ["failed"]
    (entry,) = stage.entries(EntryKind.CALL_SETTLED)
    assert entry.detail["error"] == "LookupError"


def test_stream_that_came_to_its_end_is_done(stage: Stage, caller: Caller) -> None:
    assert caller.send("POST", "/tickets/T-1/streaming", {}, key="k1").body == b"piece 0\npiece 1\npiece 2\n"
    assert outcomes(stage) == ["done"]


def test_whoever_has_the_whole_answer_knows_that_the_call_is_settled(stage: Stage, caller: Caller) -> None:
    for number in range(20):
        caller.send("POST", UPDATE_T1, {}, key=f"k{number}")
        assert len(outcomes(stage)) == number + 1


def test_background_task_has_no_capability_any_more(stage: Stage, desk: Desk, guard: Guard) -> None:
    from desk_service import desk_app

    with running(desk_app(desk, guard)) as port:
        assert Caller(port, stage.lease()).send("POST", "/tickets/T-1/later", {}, key="k1").status == 200
    assert desk.afterwards == ["ended"]


@pytest.mark.requirement("B5", "B8")
@pytest.mark.parametrize("how", ["cut", "cancelled", "never_ended"])
def test_answer_that_broke_off_leaves_the_call_unknown_with_its_charge(stage: Stage, guard: Guard, how: str) -> None:
    started: list[str] = []
    is_gone = asyncio.Event()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        started.append(capability_of(scope).action)
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"x", "more_body": True})
        if how == "cut":
            await receive()
            assert (await receive())["type"] == "http.disconnect"
            raise ConnectionResetError("the caller left")
        if how == "cancelled":
            raise asyncio.CancelledError
        is_gone.set()

    lease = stage.lease()
    with running(mounted(Leased(app, guard, "update"))) as port, connected(port) as connection:
        token = lease.token_for("ticket")
        connection.sendall(
            f"POST / HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\nIdempotency-Key: k\r\n"
            'Content-Type: application/json\r\nContent-Length: 19\r\n\r\n{"ticket_id":"T-1"}'.encode()
        )
        assert connection.recv(10)
        connection.close()

    assert started == ["ticket.update"]
    assert outcomes(stage) == []
    stage.pass_time(600)
    stage.sweep()
    assert [entry.outcome for entry in stage.entries(EntryKind.CALL_UNKNOWN)] == ["unknown"]
    assert stage.spent(lease.lease.request_id)[2] == 1_000_000


def test_authority_that_cannot_answer_is_503_and_nothing_runs(desk: Desk, stage: Stage) -> None:
    class Down:
        """A door whose authority is away."""

        def __getattr__(self, name: str) -> Any:
            return getattr(stage.door(), name)

        def door(self, tool: str, environment: str) -> Down:
            return self

        def submit_admit(self, token: str, call: Call) -> Future[Admission]:
            future: Future[Admission] = Future()
            future.set_exception(UnavailableError("database.example:5432 refused"))
            return future

    guard = Guard("ticket", Down(), environment="prod")
    from desk_service import desk_app

    with running(desk_app(desk, guard)) as port:
        answer = Caller(port, stage.lease()).send("POST", UPDATE_T1, {}, key="k1")

    assert (answer.status, answer.headers["retry-after"]) == (503, "1")
    assert "database" not in answer.body.decode()
    assert desk.did == []


def test_handler_that_nobody_guards_finds_no_capability() -> None:
    with pytest.raises(RuntimeError, match="not behind a guard"):
        capability_of({"type": "http", "path": "/tickets"})


def test_endpoint_is_one_action_of_its_tool_and_takes_what_a_call_may(guard: Guard) -> None:
    for verb in ("mail.send", "", "a b"):
        with pytest.raises(InvalidError):
            Leased(_nothing, guard, verb)
    for bad in ({"max_body_bytes": 10**9}, {"metadata": 'https://x/"'}):
        with pytest.raises(InvalidError):
            Terms(**bad)
    with pytest.raises(RuntimeError, match="websocket"):
        asyncio.run(Leased(_nothing, guard, "update")({"type": "websocket"}, _nothing, _nothing))


def mounted(app: ASGIApp) -> Starlette:
    return Starlette(routes=[Mount("/", app=app)])


def connected(port: int) -> socket.socket:
    return socket.create_connection(("127.0.0.1", port), timeout=20)


async def _nothing(*_: Any) -> Any:
    raise AssertionError("nothing may come here")


def read(body: bytes, *, parts: int = 1, **scope: Any) -> Asked:
    """Read one JSON request as a server would hand it over, in so many pieces."""
    size = max(1, len(body) // parts)
    pieces = [body[start : start + size] for start in range(0, len(body), size)] or [b""]
    messages = [
        {"type": "http.request", "body": piece, "more_body": number < len(pieces)}
        for number, piece in enumerate(pieces, 1)
    ]

    async def receive() -> dict[str, Any]:
        return messages.pop(0)

    headers = [(b"content-type", b"application/json")]
    return asyncio.run(
        read_request({"headers": headers, **scope}, receive, body=Body.JSON, query=("q",), max_body_bytes=10_000)
    )


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


@given(st.dictionaries(st.text(max_size=5), JSON_VALUES, max_size=4), st.integers(1, 5), st.booleans())
def test_what_the_handler_reads_is_what_was_decided_on(members: dict[str, Any], parts: int, ascii_only: bool) -> None:
    text = json.dumps(members, ensure_ascii=ascii_only).encode("utf-8", "surrogatepass")
    try:
        asked = read(text, parts=parts, path_params={"ticket_id": "T-1"})
    except RequestError:
        return

    assert {**json.loads(asked.body), "ticket_id": "T-1"} == asked.arguments
    assert asked.body == canonical.encode(json.loads(asked.body))


def test_caller_that_left_before_it_said_everything_is_not_answered(stage: Stage, guard: Guard) -> None:
    token = stage.lease(UPDATE).token_for("ticket")
    scope = {"type": "http", "headers": [(b"authorization", f"Bearer {token}".encode())]}

    async def receive() -> dict[str, Any]:
        return {"type": "http.disconnect"}

    asyncio.run(Leased(_nothing, guard, "update")(scope, receive, _nothing))

    assert stage.entries(EntryKind.CALL_ADMITTED) == []
