"""One piece of logic, two ways to wait for its Futures: block, or await. Called by the guard and `aio`.

What asks the authority is written once, as a generator that yields each Future and gets its result back (or raised).
Where the tool's own code is asked, what it yields may be an awaitable instead.
"""

from __future__ import annotations

import asyncio
import contextlib
import inspect
from collections import deque
from collections.abc import Awaitable, Callable, Generator
from concurrent.futures import Future
from functools import partial
from threading import Lock
from typing import Any, TypeAlias, TypeVar

__all__ = ["LoopAnswers", "Waiting", "wait", "wait_async"]

T = TypeVar("T")

Waiting: TypeAlias = Generator[Future[Any] | Awaitable[Any], Any, T]
"""Steps that wait for Futures and awaitables on their way to a `T`."""


def wait(steps: Waiting[T]) -> T:
    """Return what the steps come to, this thread blocked while they wait. For an awaitable nothing can wait here."""
    try:
        future = next(steps)
        while True:
            future = _advance(steps, future.result if isinstance(future, Future) else partial(_refuse, future))
    except StopIteration as stop:
        result: T = stop.value
        return result


async def wait_async(steps: Waiting[T], answers: LoopAnswers) -> T:
    """Return what the steps come to, the event loop free while they wait."""
    try:
        future = next(steps)
        while True:
            try:
                answer = await (answers.awaited(future) if isinstance(future, Future) else future)
            except BaseException as error:  # noqa: BLE001 - handed to the steps, cancellation too; they raise it again
                future = steps.throw(error)
            else:
                future = steps.send(answer)
    except StopIteration as stop:
        result: T = stop.value
        return result


class LoopAnswers:
    """Brings answers from the authority's threads to the event loops that await them.

    A loop is woken once for all answers that arrive before it looks, so a whole batch of them costs one wake-up.
    Cancelling the task that waits leaves the authority's own Future alone. Threads and loops may share it.
    """

    def __init__(self) -> None:
        self._lock = Lock()  # guards the next
        self._inboxes: dict[asyncio.AbstractEventLoop, _Inbox] = {}

    def awaited(self, future: Future[T]) -> asyncio.Future[T]:
        """What the running loop awaits in place of a Future of the authority."""
        loop = asyncio.get_running_loop()
        inbox = self._inboxes.get(loop) or self._open(loop)
        waiter: asyncio.Future[T] = loop.create_future()
        future.add_done_callback(partial(inbox.put, waiter))
        return waiter

    def _open(self, loop: asyncio.AbstractEventLoop) -> _Inbox:
        with self._lock:
            self._inboxes = {other: inbox for other, inbox in self._inboxes.items() if not other.is_closed()}
            return self._inboxes.setdefault(loop, _Inbox(loop))


class _Inbox:
    """Answers on their way to one loop."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._arrived: deque[tuple[asyncio.Future[Any], Future[Any]]] = deque()
        self._is_due = False  # set by any thread after it put something in, cleared by the loop before it looks

    def put(self, waiter: asyncio.Future[Any], done: Future[Any]) -> None:
        """Take an answer, from any thread."""
        self._arrived.append((waiter, done))
        if not self._is_due:
            self._is_due = True
            with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits any more
                self._loop.call_soon_threadsafe(self._deliver)

    def _deliver(self) -> None:
        self._is_due = False
        while self._arrived:
            waiter, done = self._arrived.popleft()
            if waiter.done():
                continue  # cancelled meanwhile
            error = done.exception()
            if error is not None:
                waiter.set_exception(error)
            else:
                waiter.set_result(done.result())


def _refuse(awaitable: Awaitable[Any]) -> None:
    """Say that a function cannot wait for what its async preview promises, and let that go."""
    if inspect.iscoroutine(awaitable):
        awaitable.close()
    raise TypeError("an async preview can be awaited only for an async call; make the preview a plain function")


def _advance(steps: Waiting[T], answer_of: Callable[[], object]) -> Future[Any] | Awaitable[Any]:
    try:
        answer = answer_of()
    except BaseException as error:  # noqa: BLE001 - handed to the steps, KeyboardInterrupt too; they raise it again
        return steps.throw(error)
    return steps.send(answer)
