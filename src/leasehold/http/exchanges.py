"""What became of a request, for whoever counts, logs or traces: said once, after the answer, without a word of it.

The outermost layer of each application. A route is named by its template, so that no id stands in a metric or a log.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, MutableMapping, Sequence
from time import perf_counter
from typing import Any, Protocol

import msgspec
from starlette.routing import BaseRoute, Mount, Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from leasehold.http.connections import Peer

__all__ = ["Exchange", "Observed", "Observer", "method_of", "route_of", "templates_of", "trace_id_of"]

_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
_TRACEPARENT = re.compile(rb"(?!ff)[0-9a-f]{2}-(?!0{32})([0-9a-f]{32})-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}(-.*)?")
_SERVER_ERROR = 500


class Exchange(msgspec.Struct, frozen=True, kw_only=True):
    """One request and its answer.

    Attributes:
        method: one of HTTP's own, else `other`.
        route: the template of the path, `/runs/{run_id}`; `unmatched` where there is none.
        status: of the answer; 0 where the client went before there was one.
        seconds: until the answer's last byte was handed over.
        request_id: the one that the answer names.
        trace_id: of the caller's trace, or empty.
        client: the program that proved who it is, or empty.
        address: where the request came from, or empty for a unix socket.
        user_id: the account at the other end of a unix socket.
    """

    method: str
    route: str
    status: int
    seconds: float
    request_id: str
    trace_id: str
    client: str
    address: str
    user_id: int | None


class Observer(Protocol):
    """Is told of exchanges, in the event loop: each method returns at once and never raises."""

    def began(self) -> None:
        """A request came."""
        ...

    def ended(self, exchange: Exchange) -> None:
        """It was answered, or its client went."""
        ...


class Observed:
    """Tells observers of each exchange with an application, which has the `templates` of its routes in its state."""

    def __init__(self, app: ASGIApp, observers: Sequence[Observer]) -> None:
        self._app = app
        self._observers = observers

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        state = scope.setdefault("state", {})
        if not state.get("trace_id"):
            state["trace_id"] = trace_id_of(scope)
        status = 0

        async def noting(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        began = perf_counter()
        for observer in self._observers:
            observer.began()
        try:
            await self._app(scope, receive, noting)
        except BaseException:
            status = status or _SERVER_ERROR
            raise
        finally:
            exchange = _exchange(scope, status, perf_counter() - began)
            for observer in self._observers:
                observer.ended(exchange)


def _exchange(scope: Scope, status: int, seconds: float) -> Exchange:
    state: Mapping[str, Any] = scope["state"]
    peer, address = state.get("peer"), scope.get("client")
    return Exchange(
        method=method_of(scope),
        route=route_of(scope),
        status=status,
        seconds=seconds,
        request_id=str(state.get("request_id", "")),
        trace_id=str(state["trace_id"]),
        client=str(state.get("client", "")),
        address=str(address[0]) if address else "",
        user_id=peer.user_id if isinstance(peer, Peer) else None,
    )


def method_of(scope: Scope) -> str:
    """The method of a request, if it is one of HTTP's own; else `other`."""
    return scope["method"] if scope["method"] in _METHODS else "other"


def route_of(scope: Scope) -> str:
    """The template of the route that took a request; `unmatched` where none did.

    An application that is not Starlette's says it itself, in `route` of the request's state.
    """
    said = scope.get("state", {}).get("route")
    if said:
        return str(said)
    templates: Mapping[object, str] = getattr(scope["app"].state, "templates", {}) if "app" in scope else {}
    return templates.get(scope.get("endpoint"), "") or "unmatched"


def trace_id_of(scope: Scope) -> str:
    """The trace that a caller says it is in (W3C Trace Context); empty if it says none, or says it wrong."""
    said = [value for name, value in scope["headers"] if name == b"traceparent"]
    if len(said) != 1:
        return ""
    found = _TRACEPARENT.fullmatch(said[0])
    is_whole = found is not None and (found[2] is None or not said[0].startswith(b"00"))
    return found[1].decode("ascii") if found is not None and is_whole else ""


def templates_of(routes: Iterable[BaseRoute], prefix: str = "") -> Mapping[object, str]:
    """The path template of each endpoint; of a mounted application that has no routes, where it is mounted."""
    templates: MutableMapping[object, str] = {}
    for route in routes:
        if isinstance(route, Route):
            templates.setdefault(route.endpoint, f"{prefix}{route.path}")
        elif isinstance(route, Mount):
            templates.setdefault(route.app, f"{prefix}{route.path}")
            for endpoint, template in templates_of(route.routes, f"{prefix}{route.path}").items():
                templates.setdefault(endpoint, template)
    return templates
