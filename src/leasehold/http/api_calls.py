"""One request of the API as handlers get it: read, authenticated, of its type. Made by `leasehold.http.api`."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Mapping
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeAlias, TypeVar

import msgspec
from starlette.concurrency import run_in_threadpool
from starlette.types import ASGIApp

from leasehold.authority.person_desk import PersonDesk
from leasehold.decide.clients import Sending
from leasehold.http.api_reading import ApiProblemError
from leasehold.http.callers import Caller

__all__ = ["MOST_WAITS", "Answer", "ApiCall", "Handler", "Waits", "arrived", "in_thread"]

A = TypeVar("A")
S = TypeVar("S", bound=msgspec.Struct)

Answer: TypeAlias = msgspec.Struct | bytes | ASGIApp
"""A value to be written as JSON, JSON as it is, or what answers by itself."""


@dataclass(frozen=True, kw_only=True)
class ApiCall:
    """One request. `ids` are those of its path in order; it has a `caller` or a `person`."""

    ids: tuple[str, ...]
    body: msgspec.Struct | None
    query: msgspec.Struct | None
    caller: Caller | None
    person: PersonDesk | None
    sending: Sending | None
    state: Mapping[str, Any]

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


MOST_WAITS = 256
"""Of one client at a time; each is looked at again after every commit."""


class Waits:
    """How many requests of each client wait for something to happen. Belongs to one event loop."""

    def __init__(self) -> None:
        self._waiting: Counter[str] = Counter()

    @contextmanager
    def one(self, client: str) -> Iterator[None]:
        """Count one more while it waits.

        Raises:
            ApiProblemError: this client waits for too much already.
        """
        if self._waiting[client] >= MOST_WAITS:
            raise ApiProblemError("too_many", f"a client waits for at most {MOST_WAITS} things at a time")
        self._waiting[client] += 1
        try:
            yield
        finally:
            self._waiting -= Counter([client])


def in_thread(handler: Callable[[ApiCall], Answer]) -> Handler:
    """A handler that reads the database, so that it runs in a thread."""

    async def run(call: ApiCall) -> Answer:
        return await run_in_threadpool(handler, call)

    return run


async def arrived(future: Future[A]) -> A:
    """The value of a Future, without holding a thread. Whoever goes away cancels it."""
    return await asyncio.wrap_future(future)
