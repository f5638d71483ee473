"""Cancelling a running async function when its lease, or anything above it, has ended. Entered by `guard.functions`.

As `asyncio.timeout` does it: the task is cancelled once, and on the way out our own cancellation becomes `Denied`,
while one from outside passes as it is.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from types import TracebackType
from typing import Protocol, runtime_checkable

from leasehold.errors import Denied
from leasehold.model.decision import Decision, Reason, deny
from leasehold.model.ids import AdmissionId

__all__ = ["CancelWhenEnded", "LiveWatch"]


@runtime_checkable
class LiveWatch(Protocol):
    """What a door may offer besides: to say at once when a call under way has ended from above."""

    def watch(self, admission_id: AdmissionId, ended: Callable[[Decision], None]) -> Callable[[], None]:
        """Have `ended` called once, from any thread, when the call, its lease or anything above it has ended.

        A hold is no end: it stops what would start. Returns what stops watching; a call of `ended` may still be under
        way then.
        """
        ...


class CancelWhenEnded:
    """Around the work of one call, in its task. Owned by that task; only `_ended` comes from another thread."""

    def __init__(self, door: LiveWatch, admission_id: AdmissionId, action: str) -> None:
        self._door = door
        self._admission_id = admission_id
        self._action = action
        self._why: Decision | None = None
        self._is_inside = False

    async def __aenter__(self) -> None:
        task = asyncio.current_task()
        if task is None:
            raise RuntimeError(f"{self._action} is to be cancelled when its lease ends, so it has to run in a task")
        self._task = task
        self._loop = asyncio.get_running_loop()
        self._earlier = task.cancelling()
        self._is_inside = True
        self._stop = self._door.watch(self._admission_id, self._ended)

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._stop()
        self._is_inside = False
        if self._why is None:
            return
        is_ours = self._task.uncancel() <= self._earlier
        if is_ours and isinstance(error, asyncio.CancelledError):
            raise Denied(_denial(self._action, self._why)) from error

    def _ended(self, why: Decision) -> None:
        with contextlib.suppress(RuntimeError):  # the loop is closed: nothing of it runs any more
            self._loop.call_soon_threadsafe(self._cancel, why)

    def _cancel(self, why: Decision) -> None:
        if self._is_inside and self._why is None:
            self._why = why
            self._task.cancel(f"{self._action}: {why.message}")


def _denial(action: str, why: Decision) -> Decision:
    return deny(
        Reason.ENDED,
        f"{action} was cancelled while it ran: {why.message}",
        rule=why.rule,
        check=why.check or "nothing above the call has ended",
    )
