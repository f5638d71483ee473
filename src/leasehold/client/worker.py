"""The thread behind a client: one event loop that all its questions run on, whoever asks. Used by `leasehold.client`.

It is started by the first question, and once more in a process that was forked since then. Questions that arrive
together wake the loop once. It is a daemon: a program that ends does not wait for what it asked, but for its reports.
It ends with the client, also where that was not closed and nobody has it any more.
"""

from __future__ import annotations

import asyncio
import atexit
import contextlib
import os
import threading
import weakref
from collections import deque
from collections.abc import Callable, Coroutine
from concurrent.futures import Future
from typing import Any, TypeVar

from leasehold.errors import UnavailableError

__all__ = ["Worker"]

T = TypeVar("T")

LAST_REPORTS_SECONDS = 2.0
"""How long closing waits for reports that are on their way, and a program that ends without it, for each client.

What does not arrive stands as unknown, still charged.
"""

_Asked = tuple["Future[Any]", Callable[[], Coroutine[Any, Any, Any]], bool]


class _Answer(Future[T]):
    """A Future that must not be waited for on the loop's own thread: every question of the client would stand still."""

    def __init__(self, worker: Worker) -> None:
        super().__init__()
        self._worker = worker

    def result(self, timeout: float | None = None) -> T:
        self._check()
        return super().result(timeout)

    def exception(self, timeout: float | None = None) -> BaseException | None:
        self._check()
        return super().exception(timeout)

    def _check(self) -> None:
        if not self.done() and self._worker.is_here:
            raise RuntimeError(
                "this was called from a callback of the client, on the thread that would bring the answer; "
                "ask from another thread, or take the Future of a submit_ verb"
            )


class Worker:
    """Runs coroutines and answers Futures. `_lock` guards the start; all fill `_arrived`, the loop empties it."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._lock = threading.Lock()
        self._process = 0
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._finishing: list[Callable[[], None]] = []  # the loop's, as long as it runs
        self._at_exit: Callable[[], None] | None = None
        self._arrived: deque[_Asked] = deque()
        self._is_due = False
        self._is_closed = False
        self._is_ending = False  # the loop's: what comes now would never be begun
        self._tasks: set[asyncio.Task[None]] = set()
        self._reports: set[asyncio.Task[None]] = set()

    @property
    def is_forked(self) -> bool:
        """Whether this process is a child of the one that the thread runs in."""
        return self._process not in (0, os.getpid())

    @property
    def is_here(self) -> bool:
        """Whether the caller is on the loop's own thread."""
        return self._thread is threading.current_thread()

    def submit(self, make: Callable[[], Coroutine[Any, Any, T]], *, is_report: bool = False) -> Future[T]:
        """Run what `make` makes on the loop. Cancelling the Future before it is done cancels the coroutine.

        A report tells what happened, and nobody may be waiting for its answer: closing lets it arrive.
        """
        future: Future[T] = _Answer(self)
        if self._is_closed:
            _refuse(future)
            return future
        loop = self._loop if self._loop is not None and not self.is_forked else self._start()
        asked = (future, make, is_report)
        self._arrived.append(asked)
        if not self._is_due:
            self._is_due = True
            with contextlib.suppress(RuntimeError):  # the loop was closed by now
                loop.call_soon_threadsafe(self._begin)
        self._take_back_if_closed(asked)
        return future

    def _take_back_if_closed(self, asked: _Asked) -> None:
        """Of a client that was closed since it was looked at. Whoever takes the question out has to answer it."""
        if self._is_closed:
            with contextlib.suppress(ValueError):
                self._arrived.remove(asked)
                _refuse(asked[0])

    def finish_with(self, finish: Callable[[], None]) -> None:
        """Have the thread call this at its end. Called on the loop; what must not hold the client, or it never ends."""
        self._finishing.append(finish)

    def close(self) -> None:
        """Let reports arrive, end what else is under way, and end the thread."""
        with self._lock:
            was_closed, self._is_closed = self._is_closed, True
            loop, thread = self._loop, self._thread
        if self._at_exit is not None:
            atexit.unregister(self._at_exit)
        if was_closed or loop is None or thread is None or self.is_forked or thread is threading.current_thread():
            return
        loop.call_soon_threadsafe(loop.create_task, self._end())
        thread.join()

    def _start(self) -> asyncio.AbstractEventLoop:
        with self._lock:
            if self._loop is not None and not self.is_forked:
                return self._loop
            self._is_due = False
            self._arrived.clear()
            self._tasks.clear()
            self._reports.clear()
            loop, self._finishing = asyncio.new_event_loop(), []
            arguments = (loop, self._finishing)
            self._thread = threading.Thread(target=self._run, args=arguments, name=self._name, daemon=True)
            self._thread.start()
            # Last of all that it runs in this process: another thread would take the parent's loop for its own.
            self._loop = loop
            self._process = os.getpid()
            if self._at_exit is not None:  # the one of the process that this one was forked from
                atexit.unregister(self._at_exit)
            self._at_exit = _at_exit(weakref.ref(self))
            weakref.finalize(self, _abandon, loop, self._process, self._at_exit).atexit = False
            return loop

    @staticmethod
    def _run(loop: asyncio.AbstractEventLoop, finishing: list[Callable[[], None]]) -> None:
        asyncio.set_event_loop(loop)
        try:
            loop.run_forever()
            for finish in finishing:
                finish()
            loop.run_until_complete(asyncio.sleep(0))  # connections that were let go say so in the loop's next round
        finally:
            loop.close()

    def _begin(self) -> None:
        self._is_due = False
        while self._arrived:
            future, make, is_report = self._arrived.popleft()
            if self._is_ending:
                _refuse(future)
                continue
            task = asyncio.get_running_loop().create_task(_answered(future, make))
            for tasks in (self._tasks, self._reports) if is_report else (self._tasks,):
                tasks.add(task)
                task.add_done_callback(tasks.discard)
            future.add_done_callback(lambda done, task=task: self._cancelled(done, task))  # type: ignore[misc]  # bound

    def _cancelled(self, future: Future[Any], task: asyncio.Task[None]) -> None:
        if future.cancelled() and self._loop is not None:
            with contextlib.suppress(RuntimeError):  # the loop is closed: nothing runs there any more
                self._loop.call_soon_threadsafe(task.cancel)

    @staticmethod
    async def _cancel(tasks: set[asyncio.Task[None]]) -> None:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _let_arrive(self) -> None:
        """At the end of a program that did not close its client. Other threads are over by now, or never will be.

        Everything else that is under way is left as it is: nobody who waits for it is woken to meet an error.
        """
        loop, arrived = self._loop, threading.Event()
        if loop is None or self.is_forked:
            return

        async def wait() -> None:
            await self._last_reports()
            arrived.set()

        with contextlib.suppress(KeyboardInterrupt):  # who wants to wait no longer need not
            loop.call_soon_threadsafe(lambda: loop.create_task(wait()))
            arrived.wait(LAST_REPORTS_SECONDS)

    async def _last_reports(self) -> None:
        self._begin()
        if self._reports:
            await asyncio.wait(set(self._reports), timeout=LAST_REPORTS_SECONDS)

    async def _end(self) -> None:
        self._begin()
        self._is_ending = True
        await self._cancel(self._tasks - self._reports)
        await self._last_reports()
        await self._cancel(set(self._reports))
        asyncio.get_running_loop().stop()


def _refuse(future: Future[Any]) -> None:
    _give(future, error=UnavailableError("this client is closed; nothing was asked"))


def _at_exit(worker: weakref.ref[Worker]) -> Callable[[], None]:
    """Have reports arrive at the end of the program, if there is a client by then. Returns what to unregister."""

    def let_arrive() -> None:
        there = worker()
        if there is not None:
            there._let_arrive()

    atexit.register(let_arrive)
    return let_arrive


def _abandon(loop: asyncio.AbstractEventLoop, process: int, at_exit: Callable[[], None]) -> None:
    """End the thread of a client that nobody has. What is under way holds its client, so nothing is."""
    atexit.unregister(at_exit)
    if process == os.getpid():
        with contextlib.suppress(RuntimeError):  # it was closed, and its loop is
            loop.call_soon_threadsafe(loop.stop)


async def _answered(future: Future[T], make: Callable[[], Coroutine[Any, Any, T]]) -> None:
    try:
        answer = await make()
    except asyncio.CancelledError:
        _give(future, error=UnavailableError("this client was closed before the answer came", maybe_persisted=True))
    except Exception as error:  # noqa: BLE001 - whatever goes wrong belongs to the one who asked
        _give(future, error=error)
    else:
        _give(future, answer=answer)


def _give(future: Future[Any], *, answer: object = None, error: Exception | None = None) -> None:
    if not future.set_running_or_notify_cancel():
        return
    if error is not None:
        future.set_exception(error)
    else:
        future.set_result(answer)
