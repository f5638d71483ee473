"""One request of the API as handlers get it: read, authenticated, of its type. Made by `leasehold.http.api`."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Mapping
from concurrent.futures import Future
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Any, TypeAlias, TypeVar

import msgspec
from starlette.concurrency import run_in_threadpool
from starlette.types import ASGIApp

from leasehold.authority.person_desk import PersonDesk
from leasehold.decide.clients import Sending
from leasehold.http.api_reading import ApiProblemError, Disconnected
from leasehold.http.callers import Caller
from leasehold.http.events import MOST_STREAMS, MOST_WAITS, Places, Streams

__all__ = ["Answer", "ApiCall", "Handler", "Waits", "arrived", "in_thread", "take_stream"]

A = TypeVar("A")
S = TypeVar("S", bound=msgspec.Struct)

Answer: TypeAlias = msgspec.Struct | bytes | ASGIApp
"""A value to be written as JSON, JSON as it is, or what answers by itself."""


class ApiCall(msgspec.Struct, frozen=True, kw_only=True):
    """One request. `ids` are those of its path in order; it has a `caller` or a `person`. `left` returns once whoever
    asked has gone away."""

    ids: tuple[str, ...]
    body: msgspec.Struct | None
    query: msgspec.Struct | None
    caller: Caller | None
    person: PersonDesk | None
    sending: Sending | None
    state: Mapping[str, Any]
    left: Callable[[], Awaitable[None]]

    @property
    def client(self) -> Caller:
        """The client that calls."""
        assert self.caller is not None  # noqa: S101 - endpoints of clients are authenticated as such
        return self.caller

    @property
    def desk(self) -> PersonDesk:
        """The desk of the person who calls."""
        assert self.person is not None  # noqa: S101 - endpoints of people are authenticated as such
        return self.person

    def sent(self, shape: type[S]) -> S:
        """The body, which its endpoint says is of this type."""
        assert isinstance(self.body, shape)  # noqa: S101 - the table of endpoints and the handlers agree
        return self.body

    def asked(self, shape: type[S]) -> S:
        """The query, which its endpoint says is of this type."""
        assert isinstance(self.query, shape)  # noqa: S101 - as above
        return self.query


Handler: TypeAlias = Callable[[ApiCall], Awaitable[Answer]]


class Waits:
    """Holds answers back until something happens: so many of each client, so many of all together, and none for who
    has left."""

    def __init__(self, streams: Streams) -> None:
        self._streams = streams

    async def first_of(self, call: ApiCall, *awaited: asyncio.Future[Any], seconds: int) -> None:
        """Return once one of these is done, or so many seconds have passed; what is not done then is cancelled.

        Raises:
            ApiProblemError: this client waits for too much already, or all of them do.
            Disconnected: whoever asked has gone away.
        """
        left = asyncio.ensure_future(call.left())
        try:
            with self._places(call.client.client):
                await asyncio.wait((left, *awaited), timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
            if left.done():
                raise Disconnected
        finally:
            for each in (left, *awaited):
                each.cancel()

    @contextmanager
    def _places(self, client: str) -> Iterator[None]:
        streams = self._streams
        words = f"a client waits for at most {MOST_WAITS} things at a time"
        with ExitStack() as stack:
            stack.callback(_take(streams.waits, client, words))
            stack.callback(_take(streams.held, _ALL, _FULL))
            yield


_ALL = "all clients"
_FULL = "this server holds back as many answers as it may; ask without waiting, or later"


def take_stream(streams: Streams, client: str) -> Callable[[], None]:
    """Take a place for one more stream of a client; answers what gives it back.

    Raises:
        ApiProblemError: there is none left.
    """
    with ExitStack() as stack:
        stack.callback(_take(streams.of_clients, client, f"a client has at most {MOST_STREAMS} streams open"))
        stack.callback(_take(streams.held, _ALL, _FULL))
        return stack.pop_all().close


def _take(places: Places, who: str, words: str) -> Callable[[], None]:
    """Take a place; answers what gives it back.

    Raises:
        ApiProblemError: there is none left.
    """
    if not places.take(who):
        raise ApiProblemError("too_many", words)
    return partial(places.give_back, who)


def in_thread(handler: Callable[[ApiCall], Answer]) -> Handler:
    """A handler that reads the database, so that it runs in a thread."""

    async def run(call: ApiCall) -> Answer:
        return await run_in_threadpool(handler, call)

    return run


async def arrived(future: Future[A]) -> A:
    """The value of a Future, without holding a thread. Whoever goes away cancels it."""
    return await asyncio.wrap_future(future)
