"""One HTTP/1.1 connection: a request at a time, an answer that is bounded, and nothing that was not asked for.

Owned by the client's event loop. The parser is httptools' (decision 0023); what is added here is what a client of an
authority must not do: follow, guess, or read on.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from dataclasses import dataclass, field

import httptools

from leasehold.client.place import Place

__all__ = ["MAX_HEAD_BYTES", "BrokenError", "Connection", "Reply", "open_connection"]

MAX_HEAD_BYTES = 65_536
_MAX_INTERIM = 8
_ADDRESS_SECONDS = 1.0
"""How long one of several addresses may keep us. Not in a race (RFC 8305): that of Python 3.11 loses connections whose
question is given up meanwhile."""


class BrokenError(Exception):
    """The connection ended, or what came over it is no answer. `was_sent` says that the request may have been read.

    `is_final` says that asking again would bring the same.
    """

    def __init__(self, message: str, *, was_sent: bool = True, is_final: bool = False) -> None:
        self.was_sent = was_sent
        self.is_final = is_final
        super().__init__(message)


@dataclass
class Reply:
    """What was answered. Headers by lower-case name; of one that came twice the last."""

    status: int = 0
    headers: dict[str, str] = field(default_factory=dict)
    body: bytearray = field(default_factory=bytearray)


async def open_connection(place: Place) -> Connection:
    """Connect, to the first address of the name that answers. An `OSError` is nobody there, or not who it should be."""
    loop = asyncio.get_running_loop()
    if place.socket_path:
        return (await loop.create_unix_connection(Connection, place.socket_path))[1]
    *others, last = await _addresses(place)
    for address in others:
        try:
            async with asyncio.timeout(_ADDRESS_SECONDS):
                return await _open_at(address, place)
        except ssl.SSLError:
            raise
        except OSError:
            continue  # the machine is gone; the name has others
    return await _open_at(last, place)


async def _open_at(address: str, place: Place) -> Connection:
    loop, name = asyncio.get_running_loop(), place.host if place.trust is not None else None
    return (await loop.create_connection(Connection, address, place.port, ssl=place.trust, server_hostname=name))[1]


async def _addresses(place: Place) -> list[str]:
    """Where the name is, in the order of the system's resolver; what is no name is an address of this machine."""
    if place.trust is None:
        return [place.host]
    try:
        found = await asyncio.get_running_loop().getaddrinfo(place.host, place.port, type=socket.SOCK_STREAM)
    except RuntimeError:  # the program ends and gets no thread to resolve in any more; nothing else waits for this one
        found = socket.getaddrinfo(place.host, place.port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(address[0]) for *_, address in found))


class Connection(asyncio.Protocol):
    """Made by `open_connection`; `idle_since` is by the loop's clock."""

    def __init__(self) -> None:
        self.idle_since = 0.0
        self._transport: asyncio.Transport | None = None
        self._parser = httptools.HttpResponseParser(self)
        self._waiter: asyncio.Future[Reply] | None = None
        self._reply = Reply()
        self._max_body = 0
        self._bytes = 0
        self._header_bytes = 0
        self._interim = 0
        self._is_head_read = False
        self._is_answered = False
        self._may_stay = False

    @property
    def is_open(self) -> bool:
        """Whether another request may be sent over it."""
        return self._transport is not None and not self._transport.is_closing()

    async def exchange(self, request: bytes, *, max_body: int) -> Reply:
        """Send a request and return its answer.

        Raises:
            BrokenError: no whole answer came, or one that is too large.
        """
        if self._transport is None or self._transport.is_closing():
            raise BrokenError("the connection was closed", was_sent=False)
        self._reply, self._max_body = Reply(), max_body
        self._bytes = self._header_bytes = self._interim = 0
        self._is_head_read = self._is_answered = self._may_stay = False
        self._waiter = asyncio.get_running_loop().create_future()
        self._transport.write(request)
        try:
            return await self._waiter
        finally:
            self._waiter = None
            if not self._may_stay:
                self.close()

    def close(self) -> None:
        """Let it go at once, whatever is under way."""
        if self._transport is not None:
            self._transport.abort()
            self._transport = None

    # what the event loop calls

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Remember where to write."""
        self._transport = transport  # type: ignore[assignment]  # asyncio gives protocols of streams their transport

    def data_received(self, data: bytes) -> None:
        """Read on; what comes unasked ends the connection, so that it cannot become the answer to the next question."""
        if self._waiter is None or self._waiter.done():
            self._may_stay = False
            self.close()
            return
        allowed = MAX_HEAD_BYTES + (2 * self._max_body if self._is_head_read else 0)  # chunks have heads of their own
        if self._bytes > allowed:
            self._fail(BrokenError("the answer is too large", is_final=True))
            return
        self._bytes += len(data)
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade):
            self._fail(BrokenError("the server does not answer in HTTP/1.1", is_final=True))

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio's signature; why is in no message
        """Tell who waits."""
        self._transport = None
        self._fail(BrokenError("the connection ended before the answer did"))

    # what the parser calls

    def on_message_begin(self) -> None:
        """Whatever follows an answer, were it a single byte, would be taken for part of the next."""
        if self._is_answered:
            self._may_stay = False

    def on_header(self, name: bytes, value: bytes) -> None:
        """Keep a header. Trailers come here too: they count, and are dropped."""
        if self._is_answered:
            self._may_stay = False  # more than was asked for
            return
        self._header_bytes += len(name) + len(value)
        if self._header_bytes > MAX_HEAD_BYTES:
            self._fail(BrokenError("the answer's head is too large", is_final=True))
        elif not self._is_head_read:
            self._reply.headers[name.decode("latin-1").lower()] = value.decode("latin-1")

    def on_headers_complete(self) -> None:
        """Refuse an answer that says that it is too large, before it comes."""
        if self._is_answered:
            self._may_stay = False
            return
        self._reply.status = self._parser.get_status_code()
        self._is_head_read = True
        length = self._reply.headers.get("content-length", "0")
        if not length.isascii() or not length.isdigit() or len(length) > 18 or int(length) > self._max_body:
            self._fail(BrokenError("the answer is too large", is_final=True))

    def on_body(self, body: bytes) -> None:
        """Take a piece of the body, up to the limit."""
        if self._is_answered:
            self._may_stay = False
        elif len(self._reply.body) + len(body) > self._max_body:
            self._fail(BrokenError("the answer is too large", is_final=True))
        else:
            self._reply.body += body

    def on_message_complete(self) -> None:
        """Hand the answer over; an interim one (1xx) is none."""
        if self._is_answered:
            self._may_stay = False
            return
        if 100 <= self._reply.status < 200:
            self._interim += 1
            if self._reply.status == 101 or self._interim > _MAX_INTERIM:
                self._fail(BrokenError("the server does not answer what was asked", is_final=True))
            self._reply, self._is_head_read = Reply(), False
            return
        if self._waiter is not None and not self._waiter.done():
            self._is_answered = True
            self._may_stay = bool(self._parser.should_keep_alive())
            self._waiter.set_result(self._reply)

    def _fail(self, error: BrokenError) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_exception(error)
            self._may_stay = False
        self.close()
