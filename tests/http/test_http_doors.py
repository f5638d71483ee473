"""What the standards' doors answer before any of their handlers is asked: the API's one shape, never a page."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Iterator, Mapping
from typing import Any

import pytest
from oauth_house import OAuthHouse

from leasehold.http.site import Site
from served import Browser, Reply, served

FORM = {"Content-Type": "application/x-www-form-urlencoded"}
CHUNKED = {"Transfer-Encoding": "chunked", "Content-Length": ""}
LONG = b"a" * 70_000
ONE_CHUNK = b"%x\r\n%b\r\n0\r\n\r\n" % (len(LONG), LONG)


@pytest.fixture(scope="module")
def oauth() -> Iterator[OAuthHouse]:
    house = OAuthHouse()
    with served(house.build) as port:
        house.port = port
        yield house
    house.stage.close()


def code_of(reply: Reply) -> str:
    """The code of a problem, its number being that of the answer."""
    assert reply.headers["content-type"] == "application/problem+json", reply.text
    assert reply.headers["cache-control"] == "no-store"
    problem = json.loads(reply.text)
    assert (problem["status"], problem["request_id"]) == (reply.status, reply.headers["x-request-id"])
    return str(problem["type"]).removeprefix("urn:leasehold:problem:")


@pytest.mark.case(118)
@pytest.mark.parametrize(
    ("method", "path", "body", "headers", "code"),
    [
        ("GET", "/oauth/nothing", b"", {}, "not_found"),
        ("POST", "/oauth/token/", b"grant_type=x", FORM, "not_found"),
        ("GET", "/.well-known/nothing", b"", {}, "not_found"),
        ("POST", "/.well-known/jwks.json", b"", {}, "method_not_allowed"),
        ("GET", "/access/v1/evaluation", b"", {}, "method_not_allowed"),
        ("DELETE", "/access/v1/requests", b"", {}, "method_not_allowed"),
        ("POST", "/access/v1/search/subject", b"{}", {}, "not_found"),
        ("POST", "/oauth/token", LONG, FORM, "too_large"),
        ("POST", "/oauth/introspect", ONE_CHUNK, FORM | CHUNKED, "too_large"),
        ("POST", "/oauth/token", ONE_CHUNK, FORM | CHUNKED, "too_large"),
        ("POST", "/access/v1/evaluation", LONG, {}, "too_large"),
        ("POST", "/access/v1/evaluation", b"", {"Host": "evil.example"}, "misdirected"),
        ("POST", "/access/v1/evaluation", b"{}", {}, "unauthenticated"),
        ("POST", "/access/v1/evaluation", b"{}", {"door": "ticket-door"}, "invalid"),
        ("POST", "/access/v1/evaluation", ONE_CHUNK, CHUNKED | {"door": "ticket-door", "json": ""}, "too_large"),
        ("POST", "/access/v1/evaluation", b"{}", {"door": "ticket-door", "json": ""}, "invalid"),
        ("GET", "/access/v1/requests/req_1", b"", {"door": "ticket-door"}, "not_found"),
    ],
)
def test_what_no_handler_answers_is_a_problem_and_no_page(
    oauth: OAuthHouse,
    caplog: pytest.LogCaptureFixture,
    method: str,
    path: str,
    body: bytes,
    headers: dict[str, str],
    code: str,
) -> None:
    sent = dict(headers)
    if door := sent.pop("door", ""):
        sent["Authorization"] = f"Bearer {oauth.secret(door)}"
    if sent.pop("json", None) is not None:
        sent["Content-Type"] = "application/json"
    with caplog.at_level(logging.ERROR):
        reply = Browser(oauth.port).send(method, path, body, sent)
    assert code_of(reply) == code
    assert reply.headers.get("www-authenticate") == ('Bearer realm="leasehold"' if reply.status == 401 else None)
    assert (reply.status == 405) == ("allow" in reply.headers)
    assert caplog.records == []


@pytest.mark.case(118)
@pytest.mark.parametrize("path", ["/oauth/token", "/access/v1/evaluation", "/sign-in", "/v1/admissions"])
def test_sender_who_leaves_in_the_middle_of_a_body_is_no_fault_of_ours(
    oauth: OAuthHouse, caplog: pytest.LogCaptureFixture, path: str
) -> None:
    kind = "application/json" if path.endswith(("evaluation", "admissions")) else FORM["Content-Type"]
    headers = {
        "host": f"127.0.0.1:{oauth.port}",
        "authorization": f"Bearer {oauth.secret('ticket-door')}",
        "content-type": kind,
        "content-length": "1000",
        "sec-fetch-site": "same-origin",
    }
    scope = {
        "type": "http",
        "method": "POST",
        "scheme": "http",
        "path": path,
        "raw_path": path.encode(),
        "root_path": "",
        "query_string": b"",
        "headers": [(name.encode(), value.encode()) for name, value in headers.items()],
        "client": ("127.0.0.1", 1),
        "server": ("127.0.0.1", oauth.port),
    }
    coming = [{"type": "http.request", "body": b"{", "more_body": True}]
    statuses: list[int] = []

    async def receive() -> dict[str, object]:
        return coming.pop() if coming else {"type": "http.disconnect"}

    async def send(message: Mapping[str, Any]) -> None:
        statuses.extend([message["status"]] if message["type"] == "http.response.start" else [])

    with caplog.at_level(logging.ERROR):
        asyncio.run(oauth.build(Site.loopback(oauth.port))(scope, receive, send))
    assert statuses in ([], [400])
    assert caplog.records == []


@pytest.mark.parametrize(("method", "path"), [("POST", "/access/v1/evaluation"), ("POST", "/v1/runs")])
def test_credential_that_is_no_good_is_told_apart_from_none(oauth: OAuthHouse, method: str, path: str) -> None:
    for shown, error in (({}, ""), ({"Authorization": "Bearer lhk_x"}, ', error="invalid_token"')):
        reply = Browser(oauth.port).send(method, path, b"{}", shown | {"Content-Type": "application/json"})
        assert (reply.status, reply.headers["www-authenticate"]) == (401, f'Bearer realm="leasehold"{error}')


def test_what_nobody_foresaw_is_told_as_that_and_logged(
    oauth: OAuthHouse, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(_: str) -> str:
        raise RuntimeError("xyzzy")

    monkeypatch.setattr(oauth.stage.authority.engine, "locate", broken)
    lease = {"type": "lease", "id": "lease_01JZ8Q5X0M3V7K2N9B4C6D8E0F"}
    question = {"subject": lease, "action": {"name": "get"}, "resource": {"type": "ticket", "id": "T-1"}}
    headers = {"Authorization": f"Bearer {oauth.secret('ticket-door')}", "Content-Type": "application/json"}
    reply = Browser(oauth.port).send("POST", "/access/v1/evaluation", json.dumps(question).encode(), headers)
    assert (code_of(reply), "xyzzy" in reply.text, "xyzzy" in caplog.text) == ("fault", False, True)


def test_page_that_is_sent_too_much_says_so_as_a_page(oauth: OAuthHouse) -> None:
    reply = Browser(oauth.port).post("/sign-in", LONG)
    assert (reply.status, reply.headers["content-type"]) == (413, "text/html; charset=utf-8")
    assert "Nothing was done" in reply.text


def test_consent_page_is_for_people_as_ever(oauth: OAuthHouse) -> None:
    reply = Browser(oauth.port).get("/oauth/authorize?response_type=code")
    assert (reply.status, reply.location.partition("?")[0]) == (303, "/sign-in")
