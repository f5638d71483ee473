"""What every request has to pass: our own name, our own pages, small bodies; and what every response carries."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from urllib.parse import urlencode

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp

from leasehold.errors import InvalidError
from leasehold.http.forms import FormTokens, about_card, check_token, read_form, read_lists
from leasehold.http.headers import STRICT_HEADERS
from leasehold.http.site import Site
from served import Browser, behind_gates, served

TOKENS = FormTokens(b"k" * 32)
FOREIGN = {"Sec_Fetch_Site": "cross-site", "Origin": "https://evil.example"}


def build(site: Site) -> ASGIApp:
    effects: list[str] = []

    async def home(request: Request) -> Response:
        headers = {"Content-Security-Policy": "default-src *", "Cache-Control": "public"}
        return PlainTextResponse(f"effects: {len(effects)}", headers=headers)

    async def change(request: Request) -> Response:
        request.state.tokens = TOKENS
        form = await read_form(request)
        check_token(request, form, "change", about_card("req_1", "sha256:1"))
        effects.append(form.get("name", ""))
        return PlainTextResponse("changed")

    async def lists(request: Request) -> Response:
        return PlainTextResponse(repr(await read_lists(request)))

    async def style(request: Request) -> Response:
        return PlainTextResponse("", headers={"Cache-Control": "no-cache"})

    async def fault(request: Request) -> Response:
        raise RuntimeError("the secret is hunter2")

    routes = [
        Route("/", home),
        Route("/change", change, methods=["POST", "PUT", "DELETE", "PATCH"]),
        Route("/lists", lists, methods=["POST"]),
        Route("/style", style),
        Route("/fault", fault),
    ]
    return behind_gates(routes, site)


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    with served(build) as port:
        yield port


@pytest.fixture
def browser(port: int) -> Browser:
    return Browser(port)


def good_form() -> dict[str, str]:
    return {"token": TOKENS.make("change", about_card("req_1", "sha256:1")), "name": "T-1"}


def effects(browser: Browser) -> int:
    return int(browser.get("/").text.removeprefix("effects: "))


# hosts


@pytest.mark.case(116)
@pytest.mark.parametrize(
    "host",
    ["evil.example", "127.0.0.1", "127.0.0.1:1", "localhost.evil.example:{port}", "127.0.0.1:{port}.", "[::1]:80"],
)
def test_other_name_than_ours_is_misdirected(browser: Browser, port: int, host: str) -> None:
    reply = browser.get("/", Host=host.format(port=port))
    assert reply.status == 421
    assert "leasehold serve" in reply.text
    assert "effects" not in reply.text


@pytest.mark.case(116)
@pytest.mark.parametrize("name", ["127.0.0.1", "localhost", "LOCALHOST", "[::1]"])
def test_each_loopback_name_with_the_port_is_ours(browser: Browser, port: int, name: str) -> None:
    assert browser.get("/", Host=f"{name}:{port}").status == 200


@pytest.mark.case(116)
@pytest.mark.parametrize("lines", [b"", b"Host: 127.0.0.1:%d\r\nHost: evil.example\r\n"])
def test_no_host_or_two_are_refused(port: int, lines: bytes) -> None:
    with socket.create_connection(("127.0.0.1", port)) as connection:
        named = lines % port if b"%d" in lines else lines
        connection.sendall(b"GET / HTTP/1.1\r\n" + named + b"Connection: close\r\n\r\n")
        assert connection.recv(4096).startswith(b"HTTP/1.1 400 ")


def test_public_site_is_https_and_nothing_but_a_host() -> None:
    site = Site.public("https://Lease.Acme.example")
    assert site.origin == "https://lease.acme.example"
    assert site.is_host("LEASE.acme.example:443")
    assert site.is_own_origin("https://lease.acme.example", "lease.acme.example:443")
    assert not site.is_own_origin("http://lease.acme.example", "lease.acme.example")
    assert not site.is_own_origin("https://lease.acme.example", "evil.example")
    assert Site.public("https://[2001:db8::1]:8443/").hosts == ("[2001:db8::1]:8443",)
    for wrong in ("http://a.example", "https://", "https://a.example/path", "https://u:p@a.example", "https://a:x"):
        with pytest.raises(InvalidError):
            Site.public(wrong)


# origins


@pytest.mark.case(114)
@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH"])
@pytest.mark.parametrize(
    "headers",
    [
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site", "Origin": "http://127.0.0.1:1"},
        {"Sec-Fetch-Site": "cross-site", "Origin": "http://127.0.0.1:{port}"},
        {"Sec-Fetch-Site": "same-origin, cross-site"},
        {"Origin": "https://evil.example"},
        {"Origin": "http://127.0.0.1"},
        {"Origin": "https://127.0.0.1:{port}"},
        {"Origin": "http://localhost:{port}"},
        {"Origin": "null"},
        {},
    ],
)
def test_change_from_anywhere_but_our_own_pages_is_refused(
    browser: Browser, port: int, method: str, headers: dict[str, str]
) -> None:
    before = effects(browser)
    sent = {name: value.format(port=port) for name, value in headers.items()}
    sent["Content-Type"] = "application/x-www-form-urlencoded"
    assert browser.send(method, "/change", urlencode(good_form()).encode(), sent).status == 403
    assert effects(browser) == before


@pytest.mark.parametrize(
    "headers", [{"Sec-Fetch-Site": "same-origin"}, {"Sec-Fetch-Site": "none"}, {"Origin": "http://127.0.0.1:{port}"}]
)
def test_change_from_our_own_page_is_made_once(browser: Browser, port: int, headers: dict[str, str]) -> None:
    before = effects(browser)
    sent = {"Sec-Fetch-Site": "", **{name: value.format(port=port) for name, value in headers.items()}}
    assert browser.post("/change", good_form(), **sent).text == "changed"
    assert effects(browser) == before + 1


def test_web_socket_is_refused(port: int) -> None:
    with socket.create_connection(("127.0.0.1", port)) as connection:
        connection.sendall(
            b"GET / HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n" % port
        )
        assert b" 101 " not in connection.recv(4096).split(b"\r\n")[0]


# headers


@pytest.mark.parametrize("path", ["/", "/nothing", "/fault", "/change", "/style"])
def test_every_response_has_the_strict_headers_whatever_its_handler_says(browser: Browser, path: str) -> None:
    reply = browser.get(path)
    assert {name: reply.headers[name.lower()] for name in STRICT_HEADERS} == dict(STRICT_HEADERS)
    assert reply.headers["cache-control"] == ("no-cache" if path == "/style" else "no-store")
    assert len(reply.headers["x-request-id"]) == 16
    assert "frame-ancestors 'none'" in reply.headers["content-security-policy"]
    assert "unsafe" not in reply.headers["content-security-policy"]


def test_refusals_before_any_handler_have_the_strict_headers_too(browser: Browser) -> None:
    for reply in (browser.get("/", Host="evil.example"), browser.post("/change", {}, **FOREIGN)):
        assert reply.headers["content-security-policy"] == STRICT_HEADERS["Content-Security-Policy"]


def test_fault_of_ours_shows_a_number_and_nothing_else(browser: Browser, caplog: pytest.LogCaptureFixture) -> None:
    reply = browser.get("/fault")
    assert any(reply.headers["x-request-id"] in record.getMessage() for record in caplog.records)
    assert reply.status == 500
    assert reply.headers["x-request-id"] in reply.text
    assert "hunter2" not in reply.text
    assert "Traceback" not in reply.text


# forms


@pytest.mark.case(114)
@pytest.mark.parametrize("content_type", ["text/plain", "multipart/form-data; boundary=x", "application/json", ""])
def test_anything_but_a_plain_form_is_refused(browser: Browser, content_type: str) -> None:
    before = effects(browser)
    assert browser.post("/change", good_form(), **{"Content-Type": content_type}).status == 415
    assert effects(browser) == before


@pytest.mark.case(114)
@pytest.mark.parametrize(
    "token",
    [
        "",
        "x",
        "é",
        FormTokens(b"o" * 32).make("change", about_card("req_1", "sha256:1")),
        TOKENS.make("change"),
        TOKENS.make("other", about_card("req_1", "sha256:1")),
        TOKENS.make("change", about_card("req_1", "sha256:2")),
        TOKENS.make("change", about_card("req_2", "sha256:1")),
    ],
)
def test_form_without_the_token_of_this_session_purpose_and_card_changes_nothing(browser: Browser, token: str) -> None:
    before = effects(browser)
    assert browser.post("/change", {**good_form(), "token": token}).status == 403
    assert browser.post("/change", {"name": "T-1"}).status == 403
    assert effects(browser) == before


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"a=1&a=2", 400),
        (b"a=%ff", 400),
        (b"a=\xc3\xa9", 400),
        (b"nothing", 400),
        (b"&".join(b"f%d=" % i for i in range(201)), 400),
        (b"a=" + b"x" * 65_535, 413),
    ],
)
def test_malformed_or_oversized_form_is_refused(browser: Browser, body: bytes, status: int) -> None:
    assert browser.post("/change", body).status == status


def test_body_that_lies_about_its_length_is_cut_off(port: int) -> None:
    head = (
        b"POST /change HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nSec-Fetch-Site: same-origin\r\nConnection: close\r\n"
        b"Content-Type: application/x-www-form-urlencoded\r\nTransfer-Encoding: chunked\r\n\r\n" % port
    )
    chunk = b"1000\r\n" + b"a" * 4096 + b"\r\n"
    with socket.create_connection(("127.0.0.1", port)) as connection:
        connection.sendall(head + chunk * 20 + b"0\r\n\r\n")
        assert connection.recv(4096).startswith(b"HTTP/1.1 413 ")


def test_fields_that_repeat_keep_their_order(browser: Browser) -> None:
    assert browser.post("/lists", b"a=2&b=x+y&a=1&a=").text == "{'a': ('2', '1', ''), 'b': ('x y',)}"
    assert browser.post("/lists", b"").text == "{}"


@settings(max_examples=60)
@given(body=st.binary(max_size=300), path=st.sampled_from(["/", "/change", "/lists", "/x"]), is_form=st.booleans())
def test_random_bodies_never_make_a_fault(port: int, body: bytes, path: str, is_form: bool) -> None:
    kind = {"Content-Type": "application/x-www-form-urlencoded" if is_form else "text/plain"}
    assert Browser(port).post(path, body, **kind).status < 500
