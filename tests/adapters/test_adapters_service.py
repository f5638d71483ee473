"""A whole service behind one guard: what is declared is an action, what is not declared is not there."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Iterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from desk_service import Caller, outcomes, running
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from leasehold.adapters.asgi import capability_of
from leasehold.adapters.service import Endpoint, LeasedService, Public
from leasehold.errors import InvalidError
from leasehold.guard import Guard
from stage import Stage

ENDPOINTS = [
    Endpoint("GET", "/tickets/{ticket_id}", "get"),
    Endpoint("POST", "/tickets/{ticket_id}/update", "update"),
    Public("GET", "/healthz"),
    Public("GET", "/"),
]


class Unguarded:
    """An application that knows nothing of leases, with more routes than its author remembers."""

    def __init__(self) -> None:
        self.reached: list[tuple[str, dict[str, Any]]] = []
        self.has_started = False

    def app(self) -> Starlette:
        @asynccontextmanager
        async def lifespan(_: Starlette) -> Any:
            self.has_started = True
            yield

        routes = [
            Route("/", self._open),
            Route("/healthz", self._open),
            Route("/tickets/export", self._handle),
            Route("/tickets/{ticket_id}", self._handle, methods=["GET", "DELETE"]),
            Route("/tickets/{ticket_id}/update", self._handle, methods=["POST"]),
            Route("/tickets/{ticket_id}/update/", self._handle, methods=["POST"]),
            Route("/files/{path:path}", self._handle),
        ]
        return Starlette(routes=routes, lifespan=lifespan)

    async def _open(self, _: Request) -> Response:
        return JSONResponse({"ok": True})

    async def _handle(self, request: Request) -> Response:
        self.reached.append((request.url.path, dict(capability_of(request.scope).arguments)))
        return JSONResponse(request.path_params)


@pytest.fixture
def inside() -> Unguarded:
    return Unguarded()


@pytest.fixture
def caller(stage: Stage, inside: Unguarded) -> Iterator[Caller]:
    guard = Guard("ticket", stage.authority, environment="prod")
    with running(LeasedService(inside.app(), guard, ENDPOINTS)) as port:
        yield Caller(port, stage.lease({"ticket.get": {"ticket": ["T-*"]}, "ticket.update": {"ticket": ["T-*"]}}))


@pytest.mark.requirement("B5")
def test_declared_endpoint_is_admitted_as_its_action(stage: Stage, inside: Unguarded, caller: Caller) -> None:
    answer = caller.send("POST", "/tickets/T-1/update", {"note": "fixed"}, key="k1")

    assert (answer.status, answer.json) == (200, {"ticket_id": "T-1"})
    assert inside.reached == [("/tickets/T-1/update", {"ticket_id": "T-1", "note": "fixed"})]
    assert outcomes(stage) == ["done"]
    assert inside.has_started


def test_public_endpoint_needs_no_lease(caller: Caller) -> None:
    assert Caller(caller.port).send("GET", "/healthz").json == {"ok": True}
    assert Caller(caller.port).send("GET", "/").status == 200


def test_header_that_would_make_another_request_is_refused_where_no_lease_is_needed_too(
    inside: Unguarded, caller: Caller
) -> None:
    for name in ("X-Original-URL", "x_rewrite_url", "X-HTTP-Method-Override", "X_HTTP_METHOD_OVERRIDE"):
        answer = Caller(caller.port).send("GET", "/healthz", headers=((name, "/tickets/T-1/update"),))

        assert (answer.status, answer.json["type"]) == (400, "urn:leasehold:problem:override")
    assert inside.reached == []


@pytest.mark.requirement("P1")
@pytest.mark.case(24, 25)
@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("DELETE", "/tickets/T-1"),
        ("HEAD", "/tickets/T-1"),
        ("get", "/tickets/T-1"),
        ("POST", "/tickets/T-1/update/"),
        ("POST", "//tickets/T-1/update"),
        ("POST", "/tickets//update"),
        ("POST", "/tickets/../tickets/T-1/update"),
        ("POST", "/tickets/./T-1/update"),
        ("GET", "/tickets/T-1%2Fupdate"),
        ("GET", "/tickets/T-1%5cupdate"),
        ("GET", "/tickets/%2e%2e"),
        ("GET", "/files/etc/passwd"),
        ("GET", "/healthz/"),
        ("GET", "/HEALTHZ"),
    ],
)
def test_what_no_endpoint_declares_is_not_there(inside: Unguarded, caller: Caller, method: str, path: str) -> None:
    answer = caller.send(method, path, key="k1")

    assert answer.status in (400, 404)
    assert inside.reached == []


def test_route_that_its_author_forgot_is_judged_as_the_endpoint_that_its_path_reads_as(
    inside: Unguarded, caller: Caller
) -> None:
    answer = caller.send("GET", "/tickets/export")

    assert (answer.status, answer.json["reason"]) == (403, "out_of_range")
    assert inside.reached == []


def test_web_sockets_are_refused(caller: Caller) -> None:
    with socket.create_connection(("127.0.0.1", caller.port), timeout=20) as connection:
        connection.sendall(
            b"GET /healthz HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
        )
        assert b" 101 " not in connection.recv(200)


def test_web_socket_is_closed_before_it_opens(stage: Stage) -> None:
    guard = Guard("ticket", stage.authority, environment="prod")
    sent: list[Any] = []

    async def receive() -> dict[str, str]:
        return {"type": "websocket.connect"}

    async def send(message: Any) -> None:
        sent.append(message)

    asyncio.run(LeasedService(Unguarded().app(), guard, ENDPOINTS)({"type": "websocket"}, receive, send))

    assert sent == [{"type": "websocket.close", "code": 1008}]


@pytest.mark.parametrize(
    "endpoints",
    [
        [Endpoint("GET", "/a/{x}", "get"), Endpoint("GET", "/a/b", "audit")],
        [Endpoint("GET", "/a/{x}", "get"), Endpoint("GET", "/{y}/b", "audit")],
        [Endpoint("GET", "/a", "get"), Public("GET", "/a")],
    ],
)
def test_two_endpoints_that_one_request_could_mean_are_refused(stage: Stage, endpoints: list[Public]) -> None:
    guard = Guard("ticket", stage.authority, environment="prod")
    with pytest.raises(InvalidError, match="same request"):
        LeasedService(Unguarded().app(), guard, endpoints)


@pytest.mark.parametrize(
    ("method", "path"),
    [("get", "/a"), ("GET", "a"), ("GET", "/a//b"), ("GET", "/a/"), ("GET", "/{x}/{x}"), ("GET", "/a%2f"), ("GET", "")],
)
def test_endpoint_that_cannot_be_one_is_refused(method: str, path: str) -> None:
    with pytest.raises(InvalidError):
        Endpoint(method, path, "get")


def test_service_under_a_root_path_reads_what_follows_it(stage: Stage, inside: Unguarded) -> None:
    guard = Guard("ticket", stage.authority, environment="prod")
    service = LeasedService(inside.app(), guard, ENDPOINTS)

    async def under(scope: Any, receive: Any, send: Any) -> None:
        await service({**scope, "root_path": "/desk"} if scope["type"] == "http" else scope, receive, send)

    with running(under) as port:
        lease = stage.lease()
        assert Caller(port, lease).send("POST", "/desk/tickets/T-1/update", {}, key="k1").status == 200
        assert Caller(port, lease).send("POST", "/desktickets/T-1/update", {}, key="k2").status == 404
