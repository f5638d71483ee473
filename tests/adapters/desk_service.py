"""A ticket service for the tests of HTTP adapters: handlers that write down what they were given, and a caller."""

from __future__ import annotations

import http.client
import json
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from starlette.applications import Starlette
from starlette.background import BackgroundTask
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route
from starlette.types import ASGIApp

from leasehold.adapters.asgi import Body, Leased, Terms, capability_of
from leasehold.errors import Denied
from leasehold.guard import Guard
from leasehold.ledger.entry import EntryKind
from leasehold.model.lease import HeldLease
from served import served
from stage import Stage


@dataclass
class Desk:
    """Carries tickets out. `did` holds, of each call, the arguments decided on, the body read and the headers seen."""

    did: list[tuple[dict[str, Any], bytes, Mapping[str, str]]] = field(default_factory=list)
    afterwards: list[str] = field(default_factory=list)

    async def _note(self, request: Request) -> dict[str, Any]:
        arguments = dict(capability_of(request.scope).arguments)
        self.did.append((arguments, await request.body(), dict(request.headers)))
        return arguments

    async def plain(self, request: Request) -> Response:
        return JSONResponse(await self._note(request))

    async def answering(self, request: Request) -> Response:
        arguments = await self._note(request)
        return JSONResponse({}, status_code=int(arguments["status"]))

    async def raising(self, request: Request) -> Response:
        await self._note(request)
        raise LookupError("no such ticket")

    async def streaming(self, request: Request) -> Response:
        await self._note(request)

        async def pieces() -> AsyncIterator[bytes]:
            for number in range(3):
                yield f"piece {number}\n".encode()

        return StreamingResponse(pieces())

    async def later(self, request: Request) -> Response:
        await self._note(request)
        capability = capability_of(request.scope)

        def task() -> None:
            try:
                capability.touched("ticket/T-1")
            except Denied as denied:
                self.afterwards.append(denied.decision.reason)

        return JSONResponse({}, background=BackgroundTask(task))


def desk_app(desk: Desk, guard: Guard) -> Starlette:
    """Each handler behind a route, guarded as an action of `ticket`."""

    def route(path: str, handler: object, verb: str, method: str = "POST", **terms: Any) -> Route:
        guarded = Middleware(Leased, guard, verb, terms=Terms(**terms))
        return Route(path, handler, methods=[method], middleware=[guarded])  # type: ignore[arg-type]

    return Starlette(
        routes=[
            route("/tickets/{ticket_id}", desk.plain, "get", "GET", query=("fields",)),
            route("/tickets/{ticket_id}/update", desk.plain, "update", metadata="https://desk.example/.well-known/x"),
            route("/tickets/{ticket_id}/small", desk.plain, "update", max_body_bytes=20),
            route("/tickets/{ticket_id}/file", desk.plain, "update", body=Body.BYTES),
            route("/tickets/{ticket_id}/close", desk.plain, "close"),
            route("/tickets/{ticket_id}/answering", desk.answering, "update"),
            route("/tickets/{ticket_id}/raising", desk.raising, "update"),
            route("/tickets/{ticket_id}/streaming", desk.streaming, "update"),
            route("/tickets/{ticket_id}/later", desk.later, "update"),
        ]
    )


@dataclass(frozen=True)
class Answer:
    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@dataclass(frozen=True)
class Caller:
    """Sends requests with a lease, or with none."""

    port: int
    lease: HeldLease | None = None

    def send(
        self,
        method: str,
        path: str,
        body: object = None,
        *,
        key: str | None = None,
        headers: tuple[tuple[str, str], ...] = (),
    ) -> Answer:
        """Send a request; a body that is no bytes goes as JSON. `headers` are added as they are."""
        content = body if isinstance(body, bytes) else b"" if body is None else json.dumps(body).encode()
        sent = [("Content-Type", "application/json")] if body is not None and not isinstance(body, bytes) else []
        sent += [("Authorization", f"Bearer {self.lease.token_for('ticket')}")] if self.lease is not None else []
        sent += [("Idempotency-Key", key)] if key is not None else []
        sent += [("Content-Length", str(len(content)))] if not _names(headers, "Content-Length") else []
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        try:
            connection.putrequest(method, path, skip_accept_encoding=True)
            for name, value in (*sent, *headers):
                connection.putheader(name, value)
            connection.endheaders(content or None)
            answer = connection.getresponse()
            return Answer(answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read())
        finally:
            connection.close()


def _names(headers: tuple[tuple[str, str], ...], name: str) -> bool:
    return any(one.lower() == name.lower() for one, _ in headers)


@contextmanager
def running(app: ASGIApp) -> Iterator[int]:
    """Serve the application by a real uvicorn; answers its port."""
    with served(lambda _: app) as port:
        yield port


def outcomes(stage: Stage) -> list[str]:
    """How each settled call went, oldest first."""
    return [entry.outcome for entry in stage.entries(EntryKind.CALL_SETTLED)]
