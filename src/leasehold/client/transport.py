"""Many questions over few connections, each with a deadline, asked again where that is safe. Owned by one event loop.

A question that carries its own id may be asked again: the same answer comes back and nothing happens twice. What did
not come within the deadline is an `UnavailableError`, and whoever asked must not go on (fail closed).
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Protocol

import msgspec

from leasehold.client.connection import BrokenError, Connection, Reply, open_connection
from leasehold.client.place import Place
from leasehold.errors import UnavailableError
from leasehold.model.problem import PROBLEM_MEDIA_TYPE
from leasehold.model.text import visible

__all__ = ["MAX_WAITING", "Credential", "Question", "Transport"]

MAX_CONNECTIONS = 64
MAX_WAITING = 32
"""How many connections may stand open only to wait; who waits beyond that takes turns with them."""

_IDLE_SECONDS = 20.0
_FIRST_PAUSE_SECONDS = 0.05
_LONGEST_PAUSE_SECONDS = 2.0
_MOST_SAID = 200
_ASK_AGAIN = frozenset({429, 500, 502, 503, 504})


class Credential(Protocol):
    """What proves who asks."""

    def authorize(self, question: Question) -> str:
        """The value of `Authorization` for one try of one question."""
        ...


@dataclass(frozen=True, kw_only=True)
class Question:
    """One request, whole. `seconds` bound all tries together; `waits` says that the server may hold it back long.

    The seconds do not count while it waits for a turn among others that wait.
    """

    method: str
    target: str
    credential: Credential
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes = b""
    seconds: float
    max_answer: int
    waits: bool = False
    may_repeat: bool = True
    """Whether it is safe to ask again what may have been heard."""


class Transport:
    """Connections to one place, whoever asks. `jitter` answers a number from 0 to 1."""

    def __init__(self, place: Place, jitter: Callable[[], float]) -> None:
        self._place = place
        self._jitter = jitter
        self._idle: list[Connection] = []
        self._at_work = asyncio.Semaphore(MAX_CONNECTIONS)
        self._waiting = asyncio.Semaphore(MAX_WAITING)

    async def ask(self, question: Question) -> Reply:
        """Return what the authority answered, whatever its status, but for those that ask to come again.

        Raises:
            UnavailableError: nothing usable came within the deadline. `maybe_persisted` where it was sent.
        """
        was_sent = False
        last = "it did not answer in time"
        try:
            async with asyncio.timeout(question.seconds) as limit:
                pause = _FIRST_PAUSE_SECONDS
                while True:
                    try:
                        reply = await self._once(question, limit)
                        if reply.status not in _ASK_AGAIN or _is_final(reply):
                            return reply
                        was_sent, last = True, _what(reply)
                    except BrokenError as error:
                        was_sent, last = was_sent or error.was_sent, str(error)
                        if error.is_final:
                            break
                    except ssl.SSLError as error:
                        last = f"TLS: {error.reason or 'failed'}".lower().replace("_", " ")
                        break
                    except OSError as error:
                        last = error.strerror or "it cannot be reached"
                    if was_sent and not question.may_repeat:
                        break
                    await asyncio.sleep(pause * (0.5 + self._jitter() / 2))
                    pause = min(pause * 2, _LONGEST_PAUSE_SECONDS)
        except TimeoutError:
            was_sent = True
        raise UnavailableError(f"{self._place}: {last}; nothing may be started", maybe_persisted=was_sent) from None

    def close(self) -> None:
        """Let all idle connections go."""
        while self._idle:
            self._idle.pop().close()

    async def _once(self, question: Question, limit: asyncio.Timeout) -> Reply:
        async with self._turn(question, limit), self._connection() as connection:
            return await connection.exchange(self._written(question), max_body=question.max_answer)

    @contextlib.asynccontextmanager
    async def _turn(self, question: Question, limit: asyncio.Timeout) -> AsyncIterator[None]:
        """A place among those that are at work, within the deadline; or among those that wait, for however long.

        Each of the others that wait keeps its place for as long as it may: no question is late for theirs.
        """
        if not question.waits:
            async with self._at_work:
                yield
            return
        loop = asyncio.get_running_loop()
        left = (limit.when() or 0.0) - loop.time()
        limit.reschedule(None)
        async with self._waiting:
            limit.reschedule(loop.time() + left)
            yield

    @contextlib.asynccontextmanager
    async def _connection(self) -> AsyncIterator[Connection]:
        now = asyncio.get_running_loop().time()
        connection = None
        while self._idle and connection is None:
            candidate = self._idle.pop()
            if candidate.is_open and now - candidate.idle_since < _IDLE_SECONDS:
                connection = candidate
            else:
                candidate.close()
        connection = connection or await open_connection(self._place)
        try:
            yield connection
        except BaseException:
            connection.close()
            raise
        if connection.is_open:
            connection.idle_since = asyncio.get_running_loop().time()
            self._idle.append(connection)

    def _written(self, question: Question) -> bytes:
        lines = [
            f"{question.method} {question.target} HTTP/1.1",
            f"Host: {self._place.name}",
            f"Authorization: {question.credential.authorize(question)}",
            "Accept: application/json",
            *(f"{name}: {value}" for name, value in question.headers),
        ]
        if question.method != "GET":
            lines += ["Content-Type: application/json", f"Content-Length: {len(question.body)}"]
        return "\r\n".join([*lines, "", ""]).encode("ascii") + question.body


class _Said(msgspec.Struct):
    """Of a problem document what tells an operator where to look."""

    detail: str = ""


def _what(reply: Reply) -> str:
    """An answer that asks to come again, in words: the authority's own, or that they are not an authority's."""
    if _is_problem(reply):
        with contextlib.suppress(msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            said = msgspec.json.decode(reply.body, type=_Said).detail
            return f"it answers {reply.status}, {visible(said[:_MOST_SAID])!r}"
    return f"it answers {reply.status}, and what says so is no authority"


def _is_problem(reply: Reply) -> bool:
    return reply.headers.get("content-type", "").startswith(PROBLEM_MEDIA_TYPE)


def _is_final(reply: Reply) -> bool:
    """Whether asking again would not change it: the authority's own decision (its clock is wrong), or a fault of it.

    A 500 without a problem document is a server that was stopped in the middle, or a proxy that lost it.
    """
    return _is_problem(reply) and (b'"decision"' in reply.body or reply.status == 500)
