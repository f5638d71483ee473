"""Waking those who wait for a commit: at once for this process's own, by a watcher for those of other processes.

Called by the lane after each batch, and by whoever waits for people to decide. The watcher is one thread, started for
the first waiter and asleep while there is none; it looks at the database's own change counter.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import partial
from threading import Condition, RLock, Thread

from leasehold.errors import StoreError

__all__ = ["CommitWatch"]

_LOG = logging.getLogger("leasehold.store")


class CommitWatch:
    """The waiters of one store, as `leasehold.store.protocol.Changes`.

    `version` reads a number that another process's commit changes; it is called from the watcher's thread alone. None
    where no other process can commit. `pause_seconds` lies between two looks.
    """

    def __init__(self, version: Callable[[], int] | None, *, pause_seconds: float) -> None:
        self._version = version
        self._pause_seconds = pause_seconds
        self._waking = RLock()  # one thread wakes at a time, so that who failed is not woken again by the other
        self._state = Condition()  # guards the rest
        self._waiters: dict[object, Callable[[], None]] = {}
        self._is_closed = False
        self._thread: Thread | None = None

    def register(self, wake: Callable[[], None]) -> Callable[[], None]:
        """Have `wake` called after commits. See `Changes.register`."""
        token = object()
        with self._state:
            self._waiters[token] = wake
            if self._version is not None and self._thread is None and not self._is_closed:
                self._thread = Thread(target=self._watch, args=(self._version,), name="leasehold-watch", daemon=True)
                self._thread.start()
            self._state.notify_all()

        return partial(self._forget, token)

    def wake_all(self) -> None:
        """Wake everyone who waits."""
        if not self._waiters:
            return
        with self._waking:
            with self._state:
                waiters = list(self._waiters.items())
            for token, wake in waiters:
                try:
                    wake()
                except Exception:  # noqa: BLE001 - a stranger's fault must not end the lane's thread
                    _LOG.exception("a waiter failed to wake up and is not woken again")
                    self._forget(token)

    def close(self) -> None:
        """Wake everyone a last time and end the watcher."""
        with self._state:
            self._is_closed = True
            thread = self._thread
            self._state.notify_all()
        if thread is not None:
            thread.join()
        self.wake_all()

    def _forget(self, token: object) -> None:
        with self._state:
            self._waiters.pop(token, None)

    def _watch(self, version: Callable[[], int]) -> None:
        seen = None
        while True:
            with self._state:
                if not self._is_closed:
                    self._state.wait(self._pause_seconds if self._waiters else None)
                if self._is_closed:
                    return
            try:
                now = version()
            except StoreError:
                now = None  # whoever wakes up will ask the database, and hear what is wrong
            if now != seen or now is None:
                self.wake_all()
            seen = now
