"""Waiting without polling: one thread looks, for all who wait, whenever something was committed.

Used by Runs, for people to decide, and by doors, for what happens beside a call or above it. The store wakes it on
commits of this process and of others on the same database.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from functools import partial

from leasehold.store.protocol import Changes

__all__ = ["Waiters"]


class Waiters:
    """Looks that are repeated after each commit until they say that they are done. Owns its lock and its thread.

    While there are none, commits wake nobody: a thread woken by each of them takes the processor from the next.
    """

    def __init__(self, changes: Changes, boot_milliseconds: Callable[[], int]) -> None:
        self._changes = changes
        self._boot_milliseconds = boot_milliseconds
        self._looks: dict[Callable[[], bool], int | None] = {}
        self._lock = threading.Lock()
        self._changed = threading.Event()
        self._closing = False
        self._thread: threading.Thread | None = None
        self._unregister: Callable[[], None] | None = None

    def add(self, look: Callable[[], bool], *, until_ms: int | None = None) -> Callable[[], None]:
        """Call `look` now, after each commit, and at `until_ms` of the boot-time clock, until it returns True.

        Returns what ends that before; a last call of `look` may be under way then. It must not raise.
        """
        with self._lock:
            is_closed = self._closing
            if not is_closed:
                self._looks[look] = until_ms
                if self._unregister is None:
                    self._unregister = self._changes.register(self._changed.set)
                if self._thread is None:
                    self._thread = threading.Thread(target=self._main, name="leasehold-waiters", daemon=True)
                    self._thread.start()
        if is_closed:
            look()
        self._changed.set()
        return partial(self._forget, look)

    def _forget(self, look: Callable[[], bool]) -> None:
        with self._lock:
            self._looks.pop(look, None)
            self._rest()

    def close(self) -> None:
        """Stop looking. Close the store first: each look is made a last time, and hears that nothing more will come."""
        with self._lock:
            self._closing = True
            thread, self._thread = self._thread, None
        self._changed.set()
        if thread is not None:
            thread.join()
        with self._lock:
            looks, self._looks = self._looks, {}
            self._rest()
        for look in looks:
            look()

    def _main(self) -> None:
        while True:
            self._changed.wait(self._pause())
            self._changed.clear()
            if self._closing:
                return
            with self._lock:
                looks = list(self._looks)
            done = [look for look in looks if look()]
            with self._lock:
                for look in done:
                    self._looks.pop(look, None)
                self._rest()

    def _rest(self) -> None:
        """Hear of commits no more once nobody waits. The lock is held."""
        if not self._looks and self._unregister is not None:
            self._unregister()
            self._unregister = None

    def _pause(self) -> float | None:
        """Seconds until the next look that has a time of its own; None if only commits count."""
        with self._lock:
            times = [until_ms for until_ms in self._looks.values() if until_ms is not None]
        return max(0, min(times) - self._boot_milliseconds()) / 1000 if times else None
