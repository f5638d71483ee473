"""What strangers send over a socket of the real server: requests that two readers take differently, slow ones, floods.

No test looks at a clock. Limits are short, and a test waits until the server has done what it should.
"""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from threading import Condition, Event

import pytest
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp

from leasehold.http.connections import Ending, Limits
from leasehold.http.forms import read_body
from leasehold.http.server import Wiring
from leasehold.http.site import Site
from served import Browser, behind_gates, wired

HURRIED = Limits(head_seconds=0.2, body_seconds=0.2, idle_seconds=0.2, unread_seconds=0.2)
PATIENT = Limits(connections=64)
ENOUGH = 32_000_000
"""More than the kernel keeps for a connection that nobody reads."""


@dataclass
class Stand:
    """A server with a few handlers, and what it was asked and why it ended connections."""

    port: int = 0
    asked: list[str] = field(default_factory=list)
    endings: list[Ending] = field(default_factory=list)
    heard: Condition = field(default_factory=Condition)
    begun: Event = field(default_factory=Event)
    released: Event = field(default_factory=Event)

    def build(self, site: Site) -> ASGIApp:
        async def hello(request: Request) -> Response:
            self._note(request)
            return PlainTextResponse("hello")

        async def echo(request: Request) -> Response:
            self._note(request)
            return PlainTextResponse(await read_body(request))

        async def unread(request: Request) -> Response:
            self._note(request)
            return PlainTextResponse("not for you", status_code=401)

        async def large(request: Request) -> Response:
            self._note(request)
            return PlainTextResponse(b"x" * ENOUGH)

        def held(request: Request) -> Response:
            self._note(request)
            self.begun.set()
            self.released.wait()
            return PlainTextResponse("at last")

        routes = [
            Route("/held", held),
            Route("/", hello),
            Route("/smuggled", hello, methods=["GET", "POST"]),
            Route("/echo", echo, methods=["POST"]),
            Route("/unread", unread, methods=["POST"]),
            Route("/large", large),
        ]
        return behind_gates(routes, site)

    def _note(self, request: Request) -> None:
        self.asked.append(f"{request.method} {request.url.path}")
        if "x-trailer" in request.headers or "evil" in request.headers.get("host", ""):
            self.asked.append("a header that nobody sent")

    def ended(self, why: Ending) -> None:
        """Called by the server."""
        with self.heard:
            self.endings.append(why)
            self.heard.notify_all()

    def await_endings(self, why: Ending, count: int = 1) -> None:
        """Return once the server has ended so many connections for that."""
        with self.heard:
            assert self.heard.wait_for(lambda: self.endings.count(why) >= count, timeout=60), self.endings

    def others_are_answered(self) -> bool:
        return Browser(self.port).get("/").text == "hello"

    def connect(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port), timeout=30)

    def say(self, *parts: bytes) -> bytes:
        """Send parts and answer all that comes back until the server closes."""
        with self.connect() as connection:
            for part in parts:
                connection.sendall(part.replace(b"HOST", b"127.0.0.1:%d" % self.port))
            return _all_of(connection)


def _all_of(connection: socket.socket) -> bytes:
    got = b""
    try:
        while more := connection.recv(65_536):
            got += more
    except ConnectionResetError:
        pass  # what came before it counts
    return got


@contextmanager
def stand(limits: Limits) -> Iterator[Stand]:
    place = Stand()
    with wired(place.build, Wiring(limits=limits, ended=place.ended)) as port:
        place.port = port
        yield place


@pytest.fixture(scope="module")
def patient() -> Iterator[Stand]:
    with stand(PATIENT) as place:
        yield place


@pytest.fixture
def hurried() -> Iterator[Stand]:
    with stand(HURRIED) as place:
        yield place


POST = b"POST /echo HTTP/1.1\r\nHost: HOST\r\nSec-Fetch-Site: none\r\n"
SMUGGLED = b"GET /smuggled HTTP/1.1\r\nHost: HOST\r\n\r\n"
CHUNKED = b"Transfer-Encoding: chunked\r\n"

TAKEN_DIFFERENTLY = {
    "length, then coding": POST + b"Content-Length: 5\r\n" + CHUNKED + b"\r\n0\r\n\r\n" + SMUGGLED,
    "coding, then length": POST + CHUNKED + b"Content-Length: 5\r\n\r\n0\r\n\r\n" + SMUGGLED,
    "two lengths": POST + b"Content-Length: 0\r\nContent-Length: 9\r\n\r\n" + SMUGGLED,
    "the same length twice": POST + b"Content-Length: 0\r\nContent-Length: 0\r\n\r\n" + SMUGGLED,
    "a list of lengths": POST + b"Content-Length: 0, 0\r\n\r\n" + SMUGGLED,
    "a length with a sign": POST + b"Content-Length: +0\r\n\r\n" + SMUGGLED,
    "a length in hexadecimal": POST + b"Content-Length: 0x0\r\n\r\n" + SMUGGLED,
    "a length less than nothing": POST + b"Content-Length: -1\r\n\r\n" + SMUGGLED,
    "a length beyond all numbers": POST + b"Content-Length: 18446744073709551616\r\n\r\n" + SMUGGLED,
    "an unknown coding": POST + b"Transfer-Encoding: xchunked\r\n\r\n" + SMUGGLED,
    "two codings": POST + b"Transfer-Encoding: identity, chunked\r\n\r\n0\r\n\r\n" + SMUGGLED,
    "two lines of codings": POST + CHUNKED + b"Transfer-Encoding: identity\r\n\r\n0\r\n\r\n" + SMUGGLED,
    "the coding behind a control character": POST + b"Transfer-Encoding:\x0bchunked\r\n\r\n0\r\n\r\n" + SMUGGLED,
    "a space before the colon": POST + b"Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n" + SMUGGLED,
    "a coding in HTTP/1.0": POST.replace(b"1.1", b"1.0") + CHUNKED + b"\r\n0\r\n\r\n" + SMUGGLED,
    "a folded line": POST + b"X-Folded: a\r\n Content-Length: 9\r\n\r\n" + SMUGGLED,
    "bare line feeds": POST.replace(b"\r\n", b"\n") + b"\n" + SMUGGLED,
    "a bare carriage return": POST + b"X: a\rContent-Length: 9\r\n\r\n" + SMUGGLED,
    "a NUL in a header": POST + b"X: a\x00b\r\n\r\n" + SMUGGLED,
    "a chunk that ends in a line feed": POST + CHUNKED + b"\r\n1;a=b\nx\r\n0\r\n\r\n" + SMUGGLED,
    "a chunk longer than it says": POST + CHUNKED + b"\r\n1\r\nxx\r\n0\r\n\r\n" + SMUGGLED,
    "a chunk with a signed length": POST + CHUNKED + b"\r\n+1\r\nx\r\n0\r\n\r\n" + SMUGGLED,
    "an absolute target of another name": b"GET http://evil.example/ HTTP/1.1\r\nHost: HOST\r\n\r\n" + SMUGGLED,
    "an absolute target of our name": b"GET http://HOST/ HTTP/1.1\r\nHost: HOST\r\n\r\n" + SMUGGLED,
    "a target with a fragment": b"GET /#/smuggled HTTP/1.1\r\nHost: HOST\r\n\r\n" + SMUGGLED,
    "a target without a slash": b"GET smuggled HTTP/1.1\r\nHost: HOST\r\n\r\n" + SMUGGLED,
    "a tunnel": b"CONNECT 127.0.0.1:22 HTTP/1.1\r\nHost: HOST\r\n\r\n" + SMUGGLED,
    "a request of HTTP/0.9": b"GET /smuggled\r\n\r\n" + SMUGGLED,
    "the preface of HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + SMUGGLED,
    "TLS where there is none": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + SMUGGLED,
}


@pytest.mark.case(118)
@pytest.mark.parametrize("name", TAKEN_DIFFERENTLY)
def test_request_that_two_readers_could_take_differently_is_refused_and_what_follows_is_not_read(
    patient: Stand, name: str
) -> None:
    patient.asked.clear()
    answer = patient.say(TAKEN_DIFFERENTLY[name])
    assert answer.startswith(b"HTTP/1.1 400 "), answer
    assert answer.count(b"HTTP/1.1 ") == 1
    assert _problem(answer) == (400, "invalid")
    assert "GET /smuggled" not in patient.asked
    assert patient.others_are_answered()


@pytest.mark.case(118)
@pytest.mark.parametrize("name", TAKEN_DIFFERENTLY)
def test_the_same_byte_by_byte_is_no_different(patient: Stand, name: str) -> None:
    patient.asked.clear()
    text = TAKEN_DIFFERENTLY[name].replace(b"HOST", b"127.0.0.1:%d" % patient.port)
    with patient.connect() as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        try:
            for byte in text:
                connection.sendall(bytes([byte]))
        except (BrokenPipeError, ConnectionResetError):
            pass  # refused before all was said
        answer = _all_of(connection)
    assert b"HTTP/1.1 5" not in answer
    assert b"HTTP/1.1 2" not in answer
    assert "GET /smuggled" not in patient.asked
    assert patient.others_are_answered()


@pytest.mark.case(118)
@pytest.mark.parametrize(
    "first",
    [
        b"GET / HTTP/1.1\r\nHost: HOST\r\n\r\n",
        POST + b"Content-Length: 2\r\n\r\nab",
        POST + CHUNKED + b"\r\n2;a=b\r\nab\r\n0\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: HOST\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: HOST\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
    ],
)
def test_one_request_at_a_time_what_comes_before_its_answer_is_never_carried_out(patient: Stand, first: bytes) -> None:
    patient.asked.clear()
    answer = patient.say(first + SMUGGLED * 3)
    assert answer.startswith(b"HTTP/1.1 200 ")
    assert answer.count(b"HTTP/1.1 ") == 1
    assert len(patient.asked) == 1


@pytest.mark.case(118)
def test_garbage_behind_a_request_does_not_take_its_answers_place(patient: Stand) -> None:
    answer = patient.say(b"GET / HTTP/1.1\r\nHost: HOST\r\n\r\n\x00garbage\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 200 ")
    assert answer.endswith(b"hello")
    assert answer.count(b"HTTP/1.1 ") == 1


@pytest.mark.case(118)
def test_requests_after_answers_share_a_connection(patient: Stand) -> None:
    with patient.connect() as connection:
        for _ in range(3):
            connection.sendall(b"GET / HTTP/1.1\r\nHost: 127.0.0.1:%d\r\n\r\n" % patient.port)
            assert connection.recv(65_536).startswith(b"HTTP/1.1 200 ")


@pytest.mark.case(118)
def test_trailers_never_become_headers(patient: Stand) -> None:
    patient.asked.clear()
    trailers = b"X-Trailer: 1\r\nHost: evil.example\r\n"
    answer = patient.say(POST + b"Connection: close\r\n" + CHUNKED + b"\r\n2\r\nab\r\n0\r\n" + trailers + b"\r\n")
    assert answer.startswith(b"HTTP/1.1 200 ")
    assert patient.asked == ["POST /echo"]


def _problem(answer: bytes) -> tuple[int, str]:
    """Status and code of an answer in the one shape, which nobody keeps."""
    head, _, body = answer.partition(b"\r\n\r\n")
    assert b"content-type: application/problem+json\r\n" in head + b"\r\n", answer
    assert b"cache-control: no-store" in head, answer
    problem = json.loads(body)
    assert set(problem) == {"type", "title", "status", "detail"}
    return problem["status"], problem["type"].removeprefix("urn:leasehold:problem:")


@pytest.mark.case(118)
@pytest.mark.parametrize("head", [b"GET /%b HTTP/1.1\r\n", b"GET / HTTP/1.1\r\nX: %b\r\n"], ids=["target", "header"])
def test_head_over_the_limit_is_refused_also_where_it_comes_in_one_piece(patient: Stand, head: bytes) -> None:
    patient.asked.clear()
    assert _problem(patient.say(head % (b"a" * 65_600) + b"Host: HOST\r\n\r\n")) == (431, "head_too_large")
    assert patient.asked == []
    small = patient.say(b"GET / HTTP/1.1\r\nX: %b\r\nHost: HOST\r\nConnection: close\r\n\r\n" % (b"a" * 60_000))
    assert small.startswith(b"HTTP/1.1 200 ")


@pytest.mark.case(118)
@pytest.mark.parametrize(
    ("parts", "status"),
    [
        ([b"GET /" + b"a" * 200_000], b"431"),
        ([b"GET / HTTP/1.1\r\n", *[b"X-%d: %s\r\n" % (number, b"a" * 1000) for number in range(200)]], b"431"),
        ([POST + CHUNKED + b"\r\n", *[b"1" + b";a" * 30_000] * 40], b"413"),
        ([POST + CHUNKED + b"\r\n0\r\n", *[b"X-%d: %s\r\n" % (number, b"a" * 1000) for number in range(3000)]], b"413"),
    ],
    ids=["target", "headers", "chunk extensions", "trailers"],
)
def test_what_has_no_end_is_cut_off(patient: Stand, parts: list[bytes], status: bytes) -> None:
    with patient.connect() as connection:
        try:
            for part in parts:
                connection.sendall(part.replace(b"HOST", b"127.0.0.1:%d" % patient.port))
        except (BrokenPipeError, ConnectionResetError):
            pass  # the refusal may come before all is sent, and be lost with it
        answer = _all_of(connection)
    assert answer.startswith((b"HTTP/1.1 " + status, b"HTTP/1.1 400")) or not answer
    assert {Ending.TOO_LARGE, Ending.MALFORMED} & set(patient.endings)
    assert patient.others_are_answered()


# slow ones

BEGINNINGS: dict[str, tuple[bytes, Ending]] = {
    "nothing": (b"", Ending.SLOW_HEAD),
    "empty lines": (b"\r\n\r\n", Ending.SLOW_HEAD),
    "half a head": (b"GET / HTTP/1.1\r\nHost: HOST\r\nX-", Ending.SLOW_HEAD),
    "half a body": (POST + b"Content-Length: 100\r\n\r\nab", Ending.SLOW_BODY),
    "half a chunk": (POST + CHUNKED + b"\r\nff\r\nab", Ending.SLOW_BODY),
    "a body for one who does not want it": (
        b"POST /unread HTTP/1.1\r\nHost: HOST\r\nSec-Fetch-Site: none\r\nContent-Length: 100\r\n\r\nab",
        Ending.SLOW_BODY,
    ),
    "nothing more": (b"GET / HTTP/1.1\r\nHost: HOST\r\n\r\n", Ending.IDLE),
    "half of the next": (b"GET / HTTP/1.1\r\nHost: HOST\r\n\r\n", Ending.SLOW_HEAD),
}


@pytest.mark.case(118)
@pytest.mark.parametrize("name", BEGINNINGS)
def test_client_that_begins_and_does_not_go_on_is_let_go(hurried: Stand, name: str) -> None:
    text, why = BEGINNINGS[name]
    with hurried.connect() as connection:
        connection.sendall(text.replace(b"HOST", b"127.0.0.1:%d" % hurried.port))
        if name == "half of the next":
            assert connection.recv(65_536).startswith(b"HTTP/1.1 200 ")
            connection.sendall(b"GET /")
        answer = _all_of(connection)
    assert b"HTTP/1.1 5" not in answer
    hurried.await_endings(why)
    assert hurried.others_are_answered()


@pytest.mark.case(118)
@pytest.mark.parametrize("text", [b"GET / HTTP/1.1\r\n", POST + b"Content-Length: 60000\r\n\r\n"])
def test_client_that_goes_on_one_byte_at_a_time_gains_nothing_by_it(hurried: Stand, text: bytes) -> None:
    with hurried.connect() as connection:
        connection.settimeout(0.05)
        connection.sendall(text.replace(b"HOST", b"127.0.0.1:%d" % hurried.port))
        is_open = True
        for _ in range(600):  # far more often than the server's patience lasts
            try:
                connection.sendall(b"a")
                is_open = connection.recv(65_536) != b""
            except TimeoutError:
                continue
            except OSError:
                is_open = False
            if not is_open:
                break
    assert not is_open
    assert hurried.others_are_answered()


@pytest.mark.case(118)
@pytest.mark.parametrize("more", [b"", b"\r\n", b"GET /smuggled HTTP/1.1\r\n", SMUGGLED])
def test_client_that_waits_for_a_slow_answer_gets_it_whatever_else_it_sends_meanwhile(
    hurried: Stand, more: bytes
) -> None:
    with hurried.connect() as waiting, hurried.connect():
        waiting.sendall(b"GET /held HTTP/1.1\r\nHost: 127.0.0.1:%d\r\n\r\n" % hurried.port)
        assert hurried.begun.wait(60)
        waiting.sendall(more)
        hurried.await_endings(Ending.SLOW_HEAD)  # of the other one: by then the patience for any head is over
        with hurried.connect():
            hurried.await_endings(Ending.SLOW_HEAD, 2)
        hurried.released.set()
        answer = _all_of(waiting)
    assert answer.startswith(b"HTTP/1.1 200 ")
    assert answer.endswith(b"at last")
    assert "GET /smuggled" not in hurried.asked


@pytest.mark.case(118)
def test_client_that_does_not_read_its_answer_is_let_go(hurried: Stand) -> None:
    with hurried.connect() as connection:
        connection.sendall(b"GET /large HTTP/1.1\r\nHost: 127.0.0.1:%d\r\n\r\n" % hurried.port)
        hurried.await_endings(Ending.SLOW_READER)
        assert len(_all_of(connection)) < ENOUGH
    assert hurried.others_are_answered()


# floods


@pytest.mark.case(118)
@pytest.mark.parametrize("text", [b"", b"GET / HTTP/1.1\r\nX-", POST + b"Content-Length: 100\r\n\r\na"])
def test_thousand_half_open_connections_keep_nobody_out(patient: Stand, text: bytes) -> None:
    patient.endings.clear()
    with ExitStack() as held:
        for _ in range(1000):
            connection = held.enter_context(patient.connect())
            connection.sendall(text.replace(b"HOST", b"127.0.0.1:%d" % patient.port))
        assert patient.others_are_answered()
        patient.await_endings(Ending.CROWDED, 1000 - PATIENT.connections)
        for _ in range(50):
            assert patient.others_are_answered()
    assert set(patient.endings) == {Ending.CROWDED}


@pytest.mark.case(118)
def test_request_that_is_being_answered_is_not_crowded_out(patient: Stand) -> None:
    with patient.connect() as reading, ExitStack() as held:
        reading.sendall(b"GET /large HTTP/1.1\r\nHost: 127.0.0.1:%d\r\n\r\n" % patient.port)
        got = reading.recv(1000)
        for _ in range(200):
            held.enter_context(patient.connect())
        assert patient.others_are_answered()
        while len(got) < ENOUGH:
            more = reading.recv(1_000_000)
            assert more
            got += more
    assert got.startswith(b"HTTP/1.1 200 ")
