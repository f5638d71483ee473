"""One piece of logic, two ways to wait for its Futures: block, or await. Called by every rung of the guard.

What asks the authority is written once, as a generator that yields each Future and gets its result back (or raised).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Generator
from concurrent.futures import Future
from typing import Any, TypeAlias, TypeVar

__all__ = ["Waiting", "wait", "wait_async"]

T = TypeVar("T")

Waiting: TypeAlias = Generator[Future[Any], Any, T]
"""Steps that wait for Futures on their way to a `T`."""


def wait(steps: Waiting[T]) -> T:
    """Return what the steps come to, this thread blocked while they wait."""
    try:
        future = next(steps)
        while True:
            future = _advance(steps, future.result)
    except StopIteration as stop:
        result: T = stop.value
        return result


async def wait_async(steps: Waiting[T]) -> T:
    """Return what the steps come to, the event loop free while they wait."""
    try:
        future = next(steps)
        while True:
            try:
                answer = await asyncio.wrap_future(_mirror(future))
            except BaseException as error:  # noqa: BLE001 - handed to the steps, cancellation too; they raise it again
                future = steps.throw(error)
            else:
                future = steps.send(answer)
    except StopIteration as stop:
        result: T = stop.value
        return result


def _advance(steps: Waiting[T], answer_of: Callable[[], object]) -> Future[Any]:
    try:
        answer = answer_of()
    except BaseException as error:  # noqa: BLE001 - handed to the steps, KeyboardInterrupt too; they raise it again
        return steps.throw(error)
    return steps.send(answer)


def _mirror(future: Future[Any]) -> Future[Any]:
    """A Future that follows another: cancelling it, as a cancelled task does, leaves the authority's own alone."""
    mirror: Future[Any] = Future()

    def follow(done: Future[Any]) -> None:
        if not mirror.set_running_or_notify_cancel():
            return
        error = done.exception()
        if error is not None:
            mirror.set_exception(error)
        else:
            mirror.set_result(done.result())

    future.add_done_callback(follow)
    return mirror
