"""Waiting for people without polling: one thread looks, for all who wait, whenever something was committed.

Used by Runs. The store wakes it on commits of this process and of others on the same database.
"""

from __future__ import annotations

import threading
from collections.abc import Callable

from leasehold.store.protocol import Changes

__all__ = ["Waiters"]


class Waiters:
    """Looks that are repeated after each commit until they say that they are done. Owns its lock and its thread."""

    def __init__(self, changes: Changes) -> None:
        self._changes = changes
        self._looks: list[Callable[[], bool]] = []
        self._lock = threading.Lock()
        self._changed = threading.Event()
        self._closing = False
        self._thread: threading.Thread | None = None
        self._unregister: Callable[[], None] | None = None

    def add(self, look: Callable[[], bool]) -> None:
        """Call `look` now and after each commit until it returns True. It must not raise."""
        with self._lock:
            self._looks.append(look)
            if self._thread is None and not self._closing:
                self._unregister = self._changes.register(self._changed.set)
                self._thread = threading.Thread(target=self._main, name="leasehold-waiters", daemon=True)
                self._thread.start()
        self._changed.set()

    def close(self) -> None:
        """Stop looking. Whoever still waits goes on waiting for their own time-out."""
        with self._lock:
            self._closing = True
            thread, self._thread = self._thread, None
        self._changed.set()
        if thread is not None:
            thread.join()
        if self._unregister is not None:
            self._unregister()

    def _main(self) -> None:
        while self._changed.wait():
            self._changed.clear()
            if self._closing:
                return
            with self._lock:
                looks = list(self._looks)
            done = [look for look in looks if look()]
            with self._lock:
                self._looks = [look for look in self._looks if look not in done]
