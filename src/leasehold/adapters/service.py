"""A whole HTTP service behind one guard: every endpoint is declared, and what is not declared is not there.

For applications whose routes cannot be wrapped one by one. Called by whoever serves the application:
`uvicorn.run(LeasedService(app, guard, [Endpoint("POST", "/tickets/{ticket_id}/close", "close"), …]))`.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from leasehold.adapters.answering import Answer, RequestError
from leasehold.adapters.asgi import Leased, Terms
from leasehold.adapters.messages import App, Receive, Scope, Send
from leasehold.adapters.reading import check_overrides
from leasehold.errors import InvalidError
from leasehold.guard import Guard

__all__ = ["Endpoint", "LeasedService", "Public"]

_LITERAL = re.compile(r"[A-Za-z0-9._~!$&'()*+,;=:@-]+")
_PARAMETER = re.compile(r"\{([A-Za-z_][A-Za-z0-9_]*)\}")
_METHOD = re.compile(r"[A-Z]+")


@dataclass(frozen=True)
class Public:
    """An endpoint that needs no lease, such as a health check."""

    method: str
    path: str

    def __post_init__(self) -> None:
        if not _METHOD.fullmatch(self.method):
            raise InvalidError(f"a method is written in capitals: {self.method!r}")
        names = [part[1] for part in map(_PARAMETER.fullmatch, self.segments) if part]
        is_read = all(_PARAMETER.fullmatch(part) or _LITERAL.fullmatch(part) for part in self.segments)
        if not self.path.startswith("/") or (not is_read and self.path != "/") or len(names) != len(set(names)):
            raise InvalidError(f"a path looks like /tickets/{{ticket_id}}/close, each name once: {self.path!r}")

    @property
    def segments(self) -> tuple[str, ...]:
        """The parts between the slashes."""
        return tuple(self.path[1:].split("/"))

    def parameters(self, method: str, segments: Sequence[str]) -> Mapping[str, str] | None:
        """The values of the path's parameters, None where the endpoint is another one."""
        if method != self.method or len(segments) != len(self.segments):
            return None
        found: dict[str, str] = {}
        for mine, theirs in zip(self.segments, segments, strict=True):
            name = _PARAMETER.fullmatch(mine)
            if name is None and mine != theirs:
                return None
            if name is not None:
                found[name[1]] = theirs
        return found

    def overlaps(self, other: Public) -> bool:
        """Whether one request could be meant for both."""
        if self.method != other.method or len(self.segments) != len(other.segments):
            return False
        pairs = zip(self.segments, other.segments, strict=True)
        return all(mine == theirs or "{" in mine or "{" in theirs for mine, theirs in pairs)


@dataclass(frozen=True)
class Endpoint(Public):
    """One endpoint and the action that it is. A parameter of the path is one segment and one argument."""

    verb: str
    terms: Terms = field(default=Terms(), kw_only=True)


class LeasedService:
    """Admits each request as the action of its endpoint; refuses what no endpoint matches, and all web sockets.

    The application inside finds its route by itself, from the same path. For that to be the route that was declared,
    paths that two readers could take differently are refused, and so are two endpoints that one request could mean.
    """

    def __init__(self, app: App, guard: Guard, endpoints: Sequence[Public]) -> None:
        for one, other in itertools.combinations(endpoints, 2):
            if one.overlaps(other):
                raise InvalidError(f"{one.method} {one.path} and {other.path} can be the same request; rename one")
        self._app = app
        self._endpoints = [(endpoint, _inside(app, guard, endpoint)) for endpoint in endpoints]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one connection."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
        elif scope["type"] == "websocket":
            await receive()
            await send({"type": "websocket.close", "code": 1008})
        else:
            await self._handle(scope, receive, send)

    async def _handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            check_overrides(scope["headers"])  # also where no lease is needed: the application may believe them
        except RequestError as error:
            await Answer(status=error.status, code=error.code, detail=str(error)).send(send)
            return
        segments = _segments(scope)
        for endpoint, app in self._endpoints if segments is not None else ():
            parameters = endpoint.parameters(scope["method"], segments or ())
            if parameters is not None:
                await app({**scope, "path_params": parameters}, receive, send)
                return
        await Answer(
            status=404, code="not_declared", detail="this service has declared no such endpoint; nothing was done"
        ).send(send)


def _inside(app: App, guard: Guard, endpoint: Public) -> App:
    if not isinstance(endpoint, Endpoint):
        return app
    return Leased(app, guard, endpoint.verb, terms=endpoint.terms)


def _segments(scope: Scope) -> tuple[str, ...] | None:
    """The parts of a path that every router takes alike; None of one with empty, dot or encoded-slash segments."""
    raw = scope.get("raw_path") or b""
    if b"%2f" in raw.lower() or b"%5c" in raw.lower() or "\\" in scope["path"]:
        return None
    path: str = scope["path"].removeprefix(scope.get("root_path", "").rstrip("/"))
    segments = tuple(path[1:].split("/"))
    if not path.startswith("/") or (any(part in ("", ".", "..") for part in segments) and path != "/"):
        return None
    return segments
