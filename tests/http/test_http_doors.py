"""What the standards' doors answer before any of their handlers is asked: the API's one shape, never a page."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator

import pytest
from oauth_house import OAuthHouse

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
    assert (reply.status == 401) == ("www-authenticate" in reply.headers)
    assert (reply.status == 405) == ("allow" in reply.headers)
    assert caplog.records == []


def test_page_that_is_sent_too_much_says_so_as_a_page(oauth: OAuthHouse) -> None:
    reply = Browser(oauth.port).post("/sign-in", LONG)
    assert (reply.status, reply.headers["content-type"]) == (413, "text/html; charset=utf-8")
    assert "Nothing was done" in reply.text


def test_consent_page_is_for_people_as_ever(oauth: OAuthHouse) -> None:
    reply = Browser(oauth.port).get("/oauth/authorize?response_type=code")
    assert (reply.status, reply.location.partition("?")[0]) == (303, "/sign-in")
