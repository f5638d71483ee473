"""The HTTP API: Runs for agent hosts, Door for guards, Desk for people, each with a credential of its own.

Plain ASGI under `/v1`, made from the table of endpoints. It reads no cookie and keeps no session, so a browser's
credentials open nothing here, and an API key opens no page. Every step is decided where the embedded faces have theirs
decided; this translates, and never judges.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property, partial

import msgspec
from starlette.requests import HTTPConnection
from starlette.types import ASGIApp, Receive, Scope, Send

from leasehold.authority import Authority
from leasehold.errors import Denied, LeaseholdError
from leasehold.http.api_calls import ApiCall, Handler, Waits
from leasehold.http.api_desk import desk_handlers
from leasehold.http.api_door import door_handlers
from leasehold.http.api_events import EventStreams
from leasehold.http.api_reading import (
    ApiProblemError,
    Disconnected,
    read_body,
    read_query,
    read_sending,
)
from leasehold.http.api_runs import run_handlers
from leasehold.http.callers import Caller, Callers, bearer
from leasehold.http.events import Streams
from leasehold.http.headers import StrictHeaders
from leasehold.http.issuers import Issuers
from leasehold.http.openapi import openapi_document
from leasehold.http.people import People
from leasehold.model.decision import Reason, deny
from leasehold.model.endpoints import ENDPOINTS, ApiScope, Endpoint, EndpointName
from leasehold.model.problem import PROBLEM_MEDIA_TYPE, Problem, problem_of

__all__ = ["API_PREFIX", "Api", "create_api", "problem_headers", "send_problem"]

API_PREFIX = "/v1"
OPENAPI_PATH = "/v1/openapi.json"
_MAX_PATH = 2048
_CHALLENGE = 'Bearer realm="leasehold"'
_LOG = logging.getLogger("leasehold.http")
_ENCODER = msgspec.json.Encoder()


@dataclass
class _Node:
    """One segment of the paths of the table. Built once, then only read."""

    named: dict[str, _Node] = field(default_factory=dict)
    any: _Node | None = None
    endpoints: dict[str, Endpoint] = field(default_factory=dict)

    def add(self, endpoint: Endpoint) -> None:
        """Put an endpoint in its place."""
        node = self
        for segment in endpoint.path.split("/")[1:]:
            if segment.startswith("{"):
                node.any = node.any or _Node()
                node = node.any
            else:
                node = node.named.setdefault(segment, _Node())
        node.endpoints[endpoint.method] = endpoint

    def find(self, path: str) -> tuple[Mapping[str, Endpoint], list[str]]:
        """The endpoints at a path by method, empty where there is none, and what stands in the place of its ids."""
        node: _Node | None = self
        ids: list[str] = []
        for segment in path.split("/")[1:]:
            if node is None:
                break
            found = node.named.get(segment)
            if found is None and segment:
                ids.append(segment)
                found = node.any
            node = found
        return (node.endpoints if node is not None else {}), ids


class Api:
    """The API of one authority, as an ASGI application. It checks no host name: who mounts it does."""

    def __init__(self, authority: Authority, callers: Callers, streams: Streams) -> None:
        self._authority = authority
        self._callers = callers
        self._people = People(authority)
        events = EventStreams(authority, streams)
        waits = Waits(streams)
        self._handlers: dict[EndpointName, Handler] = {
            **run_handlers(authority, callers, waits),
            **door_handlers(authority, waits),
            **desk_handlers(authority),
            EndpointName.EVENTS: events.answer,
        }
        self._root = _Node()
        for endpoint in ENDPOINTS.values():
            self._root.add(endpoint)

    @cached_property
    def _openapi(self) -> bytes:
        """Made when it is first asked for, which takes hundredths of a second; most servers never are."""
        return openapi_document()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request. Web sockets are refused: nothing of ours opens one."""
        if scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1008})
            return
        try:
            answer = await self._answer(scope, receive)
        except Disconnected:
            return
        except ApiProblemError as error:
            await send_problem(scope, send, error.problem, error.headers)
        except LeaseholdError as error:
            await send_problem(scope, send, problem_of(error))
        except Exception:  # noqa: BLE001 - whatever nobody foresaw is written down here and told as that
            _LOG.exception("request %s failed", scope.get("state", {}).get("request_id", ""))
            await send_problem(scope, send, Problem.of_code("fault", "something failed that should not"))
        else:
            await answer(scope, receive, send)

    async def _answer(self, scope: Scope, receive: Receive) -> ASGIApp:
        path: str = scope["path"]
        state = scope.setdefault("state", {})
        if path == OPENAPI_PATH and scope["method"] == "GET":
            state["route"] = OPENAPI_PATH
            return _Bytes(self._openapi)
        endpoints, ids = self._root.find(path) if len(path) <= _MAX_PATH else ({}, [])
        if not endpoints and path != OPENAPI_PATH:
            raise ApiProblemError("not_found", "there is no such endpoint; /v1/openapi.json lists them")
        endpoint = endpoints.get(scope["method"])
        if endpoint is None:
            allowed = ", ".join(endpoints) or "GET"
            raise ApiProblemError("method_not_allowed", f"this takes {allowed}", headers={"Allow": allowed})
        state["route"] = endpoint.path
        answer = await self._handlers[endpoint.name](await self._call(scope, receive, endpoint, ids))
        if isinstance(answer, msgspec.Struct):
            return _Bytes(_ENCODER.encode(answer))
        return _Bytes(answer) if isinstance(answer, bytes) else answer

    async def _call(self, scope: Scope, receive: Receive, endpoint: Endpoint, ids: list[str]) -> ApiCall:
        """Who asks, before anything that they sent is looked at; then what."""
        connection = HTTPConnection(scope)
        headers = connection.headers
        caller, signed = None, None
        if endpoint.scopes == (ApiScope.DESK,):
            signed = await self._people.authenticate(bearer(connection), scope)
        else:
            caller = await self._authenticated(connection, endpoint)
        query = read_query(scope, endpoint.query)
        body, data = await read_body(headers, receive, endpoint)
        return ApiCall(
            ids=tuple(ids),
            body=body,
            query=query,
            caller=caller,
            person=await self._people.desk(signed, data) if signed is not None else None,
            sending=read_sending(headers, endpoint, scope["path"], data),
            state=scope.setdefault("state", {}),
            left=partial(_left, receive),
        )

    async def _authenticated(self, connection: HTTPConnection, endpoint: Endpoint) -> Caller:
        caller = await self._callers.authenticate(connection)
        connection.scope.setdefault("state", {})["client"] = caller.client
        right = ApiScope.RUNS if caller.rule.runs is not None else ApiScope.DOOR
        if right not in endpoint.scopes:
            raise _wrong_scope(endpoint)
        return caller


async def _left(receive: Receive) -> None:
    """Return once the caller has gone away. Its request was read whole, so nothing else can come."""
    while (await receive())["type"] != "http.disconnect":
        pass


def _wrong_scope(endpoint: Endpoint) -> Denied:
    return Denied(
        deny(
            Reason.CLIENT_MAY_NOT,
            f"this takes the credential of {' or '.join(endpoint.scopes)}",
            check="each credential opens its own endpoints",
        )
    )


class _Bytes:
    """A whole JSON answer. Plain, because most answers are this one."""

    def __init__(self, body: bytes) -> None:
        self._body = body

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002 - ASGI's signature
        """Send it."""
        headers = [
            (b"content-type", b"application/json"),
            (b"content-length", str(len(self._body)).encode("ascii")),
            *_echoed(scope),
        ]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": self._body})


def problem_headers(scope: Scope, problem: Problem) -> dict[str, str]:
    """What stands beside a problem: how to say who one is (RFC 6750, section 3), or when to come again."""
    match problem.status:
        case 401:
            is_shown = any(name == b"authorization" for name, _ in scope["headers"])
            return {"WWW-Authenticate": f'{_CHALLENGE}, error="invalid_token"' if is_shown else _CHALLENGE}
        case 503:
            return {"Retry-After": "1"}
        case _:
            return {}


async def send_problem(scope: Scope, send: Send, problem: Problem, headers: Mapping[str, str] | None = None) -> None:
    """Answer a problem, in the one shape (RFC 9457)."""
    request_id = str(scope.get("state", {}).get("request_id", ""))
    body = _ENCODER.encode(msgspec.structs.replace(problem, request_id=request_id))
    own = problem_headers(scope, problem) | dict(headers or {})
    lines = [
        (b"content-type", PROBLEM_MEDIA_TYPE.encode("ascii")),
        (b"content-length", str(len(body)).encode("ascii")),
        *((name.lower().encode("ascii"), value.encode("ascii")) for name, value in own.items()),
        *_echoed(scope),
    ]
    await send({"type": "http.response.start", "status": problem.status, "headers": lines})
    await send({"type": "http.response.body", "body": body})


def _echoed(scope: Scope) -> list[tuple[bytes, bytes]]:
    """The caller's own id of the request, if it sent one that may stand in a header."""
    for name, value in scope["headers"]:
        if name == b"x-request-id" and 1 <= len(value) <= 64 and value.isascii() and _is_plain(value):
            return [(b"x-client-request-id", value)]
    return []


def _is_plain(value: bytes) -> bool:
    return all(chr(byte).isalnum() or byte in b"._-" for byte in value)


def create_api(authority: Authority, *, streams: Streams | None = None, callers: Callers | None = None) -> ASGIApp:
    """The API alone, with the headers that every answer has, for where no pages are: a unix socket."""
    api = Api(authority, callers or make_callers(authority), streams or Streams(authority))
    return StrictHeaders(api, authority.engine.system, is_https=False)


def make_callers(authority: Authority) -> Callers:
    """Who may call, by keys and by tokens of the issuers that the active policy trusts."""
    engine = authority.engine
    return Callers(authority, Issuers(lambda: engine.current_policy().issuers, engine.system))
