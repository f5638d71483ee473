"""One connection of the server: it has to get on with its request, sends one at a time, and cannot crowd out others.

What uvicorn leaves open is closed here (threat case 118): it waits for ever for a head or a body that has begun, and
for a client that does not read; a head may be of any size; trailers become headers; what was pipelined is all held in
memory; and who has opened a thousand connections keeps everybody else out.
"""

from __future__ import annotations

import asyncio
import socket
import struct
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

import httptools
import msgspec
import uvicorn
from starlette.types import ASGIApp
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol
from uvicorn.server import ServerState

from leasehold.model.problem import PROBLEM_MEDIA_TYPE, Problem

__all__ = ["Connection", "Ending", "Limits", "Others", "Peer", "sweep"]

_PEER_FORMAT = "3i"


def _refusal(status: int, code: str, words: str) -> bytes:
    """A whole answer to what never became a request, and so has no number in the log."""
    problem = msgspec.json.encode(Problem.of_code(code, words))
    head = (
        f"content-type: {PROBLEM_MEDIA_TYPE}\r\ncontent-length: {len(problem)}\r\ncache-control: no-store\r\n"
        "x-content-type-options: nosniff\r\nconnection: close\r\n\r\n"
    )
    return bytes(STATUS_LINE[status]) + head.encode("ascii") + problem


_REFUSALS: Mapping[int, bytes] = {
    400: _refusal(400, "invalid", "this is no HTTP that every reader takes in the same way"),
    413: _refusal(413, "too_large", "this message is longer than any is here"),
    431: _refusal(431, "head_too_large", "a request line and its headers are longer than this server reads"),
}
_HTTP_1 = ("1.0", "1.1")


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What a connection may take. Seconds count from when the server began to wait for that one thing.

    `idle_seconds` is between two requests, `unread_seconds` how long an answer may lie unread. `connections` is for the
    whole server: over it, the connection that has kept the server waiting longest goes.
    """

    head_seconds: float = 10.0
    body_seconds: float = 30.0
    idle_seconds: float = 60.0
    unread_seconds: float = 30.0
    head_bytes: int = 65_536
    message_bytes: int = 2_097_152
    connections: int = 1024


class Ending(StrEnum):
    """Why the server ended a connection by itself."""

    SLOW_HEAD = "slow_head"
    SLOW_BODY = "slow_body"
    SLOW_READER = "slow_reader"
    IDLE = "idle"
    CROWDED = "crowded"
    MALFORMED = "malformed"
    TOO_LARGE = "too_large"


@dataclass(frozen=True, kw_only=True)
class Peer:
    """The account at the other end of a unix socket, as the kernel saw it when it connected."""

    process_id: int
    user_id: int
    group_id: int


@dataclass(frozen=True, kw_only=True)
class Others:
    """What answers in place of the server's application: on unix sockets, and on ports of their own."""

    local: ASGIApp | None = None
    by_port: Mapping[int, ASGIApp] = field(default_factory=dict)


class _RefusedError(Exception):
    """This request is not read any further. Raised inside the parser, which stops there."""


class Connection(HttpToolsProtocol):
    """One connection. Belongs to the server's event loop."""

    def __init__(
        self,
        *,
        config: uvicorn.Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
        limits: Limits,
        others: Others,
        ended: Callable[[Ending], None],
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self._limits = limits
        self._others = others
        self._ended = ended
        self._bytes = 0
        self._is_head_read = False
        self._is_head_too_large = False
        self._hears_nothing = False
        self._unread_since: float | None = None
        self.address = ""
        self.awaited = Ending.SLOW_HEAD
        """What it would be ended for, while the server waits for it."""
        self.waits_since: float | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as in uvicorn
        """Take it in; where the server is full, end the one that has kept it waiting longest."""
        super().connection_made(transport)
        self._wait_for(Ending.SLOW_HEAD)
        connected: socket.socket = transport.get_extra_info("socket")
        if connected.family == socket.AF_UNIX:
            self.app = self._others.local or self.app
            self.app_state = {**self.app_state, "peer": _peer(connected)}
        elif self.server is not None:
            self.app = self._others.by_port.get(self.server[1] or 0, self.app)
        self.address = self.client[0] if self.client is not None else "local"
        if len(self.connections) > self._limits.connections:
            crowd = [each for each in self.connections if isinstance(each, Connection)]
            _longest(crowd).end(Ending.CROWDED)

    def data_received(self, data: bytes) -> None:
        """Read on, unless nothing more is read here."""
        if self._hears_nothing:
            return
        is_next = self.waits_since is None or self.awaited is Ending.IDLE
        if is_next and not self._is_answering():  # who waits for an answer owes nothing, whatever it sends meanwhile
            self._bytes = 0
            self._wait_for(Ending.SLOW_HEAD)
        self._bytes += len(data)
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            self._hear_nothing_more()  # it was asked as HTTP/1.1 and is answered so; what follows is something else
        except httptools.HttpParserError:
            self._refuse(*((431, Ending.TOO_LARGE) if self._is_head_too_large else (400, Ending.MALFORMED)))
        else:
            self._check_size()

    def _check_size(self) -> None:
        if self.waits_since is None:
            return
        if self.awaited is Ending.SLOW_HEAD and self._bytes > self._limits.head_bytes:
            self._refuse(431, Ending.TOO_LARGE)
        elif self._bytes > self._limits.message_bytes:
            self._refuse(413, Ending.TOO_LARGE)

    def on_message_begin(self) -> None:
        """A request begins. One that comes before the last was answered is left unread, as RFC 9112 (9.3.2) allows."""
        if self._is_answering():
            raise _RefusedError
        super().on_message_begin()
        self._is_head_read = False

    def on_header(self, name: bytes, value: bytes) -> None:
        """A header. Trailers come here too, and are dropped: nothing may be added once the head was judged."""
        if not self._is_head_read:
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """The head is whole: judge what two readers could take differently, then begin to answer."""
        self._is_head_read = True
        if self._bytes > self._limits.head_bytes and self._head_bytes() > self._limits.head_bytes:
            self._is_head_too_large = True  # it came whole in one piece, before its size could be looked at
            raise _RefusedError
        codings = [value for name, value in self.headers if name == b"transfer-encoding"]
        is_path = self.url.startswith(b"/") and b"#" not in self.url  # what stands behind it no reader has to drop
        is_plain = is_path or (self.url == b"*" and self.parser.get_method() == b"OPTIONS")
        if not is_plain or self.parser.get_http_version() not in _HTTP_1:
            raise _RefusedError
        if codings and (codings != [b"chunked"] or self.parser.get_http_version() != "1.1"):
            raise _RefusedError
        self._wait_for(Ending.SLOW_BODY)
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        """The body is whole: from here on the client waits for the server."""
        super().on_message_complete()
        if self.cycle.response_complete:
            self._wait_for(Ending.IDLE)
        else:
            self.waits_since = None

    def on_response_complete(self) -> None:
        """The answer is on its way. uvicorn would time what comes next by itself, but only until its first byte."""
        super().on_response_complete()
        self._unset_keepalive_if_required()
        if self.waits_since is None:
            self._wait_for(Ending.IDLE)

    def end(self, why: Ending) -> None:
        """Let go of it at once."""
        self._ended(why)
        self._disconnect_cycle()
        self.transport.abort()

    def check(self, now: float) -> None:
        """End it if the client takes too long. Called about once a second."""
        if not self.transport.get_write_buffer_size():
            self._unread_since = None
        elif self._unread_since is None:
            self._unread_since = now
        elif now - self._unread_since > self._limits.unread_seconds:
            self.end(Ending.SLOW_READER)
            return
        if self._unread_since is None and self._is_overdue(now):
            self.end(self.awaited)

    @property
    def is_dispensable(self) -> bool:
        """Whether the client owes the next word, and has taken all that it was sent."""
        return self.waits_since is not None and not self.transport.get_write_buffer_size()

    def _is_overdue(self, now: float) -> bool:
        limits = self._limits
        patience = {
            Ending.SLOW_HEAD: limits.head_seconds,
            Ending.SLOW_BODY: limits.body_seconds,
            Ending.IDLE: limits.idle_seconds,
        }
        return self.waits_since is not None and now - self.waits_since > patience[self.awaited]

    def _wait_for(self, what: Ending) -> None:
        self.awaited = what
        self.waits_since = self.loop.time()

    def _head_bytes(self) -> int:
        """How long the head was, but for what stands between its parts."""
        return len(self.url) + sum(len(name) + len(value) for name, value in self.headers)

    def _is_answering(self) -> bool:
        return self.cycle is not None and not self.cycle.response_complete

    def _refuse(self, status: int, why: Ending) -> None:
        """Stop reading. An answer that is under way is given; a request that is not whole gets a refusal instead."""
        if self._is_answering() and not self.cycle.more_body:
            self._hear_nothing_more()
            return
        self._ended(why)
        self._hears_nothing = True
        if not self._is_answering() or not self.cycle.response_started:
            self.transport.write(_REFUSALS[status])
        self._disconnect_cycle()
        self.transport.close()

    def _hear_nothing_more(self) -> None:
        """Answer what was asked, then close: what else was sent is not a request that anybody judged."""
        self._hears_nothing = True
        if self._is_answering():
            self.cycle.keep_alive = False
        else:
            self.transport.close()

    def _disconnect_cycle(self) -> None:
        if self._is_answering():
            self.cycle.disconnected = True
            self.cycle.message_event.set()


def sweep(connections: Iterable[object], now: float) -> None:
    """End every connection whose client takes too long."""
    for connection in list(connections):
        if isinstance(connection, Connection):
            connection.check(now)


def _longest(crowd: list[Connection]) -> Connection:
    """Who has to go: of those that keep the server waiting, the one that has done so longest, of the address with most.

    Where all are being answered, the one that came last.
    """
    waiting = [each for each in crowd if each.is_dispensable]
    most = Counter(each.address for each in waiting).most_common(1)[0][0]
    return min((each for each in waiting if each.address == most), key=lambda each: each.waits_since or 0.0)


def _peer(connected: socket.socket) -> Peer | None:
    """Who connected; None where the system does not tell (only Linux does it this way)."""
    option = getattr(socket, "SO_PEERCRED", None)
    if option is None:
        return None
    told = connected.getsockopt(socket.SOL_SOCKET, option, struct.calcsize(_PEER_FORMAT))
    process_id, user_id, group_id = struct.unpack(_PEER_FORMAT, told)
    return Peer(process_id=process_id, user_id=user_id, group_id=group_id)
