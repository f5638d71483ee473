"""What follows commits but must not delay them: keeping the head outside, bringing the index up to date.

Called by a store, which pokes it after each batch. One thread, asleep while nothing is committed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from threading import Condition, Thread

from leasehold.errors import LeaseholdError

__all__ = ["Background"]


class Background:
    """Runs its tasks once after pokes, `pause_seconds` after the first of them, so at most that often.

    Attributes:
        fault: why a task failed when the tasks ran last; None if none did. It is tried again after the next poke.
    """

    def __init__(self, tasks: Sequence[Callable[[], None]], *, pause_seconds: float) -> None:
        self.fault: LeaseholdError | None = None
        self._tasks = tasks
        self._pause_seconds = pause_seconds
        self._state = Condition()  # guards the two below
        self._is_due = False
        self._is_closed = False
        self._thread = Thread(target=self._main, name="leasehold-background", daemon=True)
        self._thread.start()

    def poke(self) -> None:
        """Have the tasks run soon. Returns at once."""
        if not self._is_due:
            with self._state:
                self._is_due = True
                self._state.notify_all()

    def close(self) -> None:
        """End the thread; a task that runs is waited for, one that is due no longer runs."""
        with self._state:
            self._is_closed = True
            self._state.notify_all()
        self._thread.join()

    def _main(self) -> None:
        while True:
            with self._state:
                self._state.wait_for(lambda: self._is_due or self._is_closed)
                self._state.wait_for(lambda: self._is_closed, timeout=self._pause_seconds)
                if self._is_closed:
                    return
                self._is_due = False
            self._run()

    def _run(self) -> None:
        fault = None
        for task in self._tasks:
            try:
                task()
            except LeaseholdError as error:
                fault = error
        self.fault = fault
