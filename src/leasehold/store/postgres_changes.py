"""Waking those who wait when another process committed: PostgreSQL tells whoever listens.

Called by the PostgreSQL store. The listener is one thread with a connection of its own, started for the first waiter;
when the connection is lost it is made again, and everybody looks once.
"""

from __future__ import annotations

import os
import selectors
from collections.abc import Callable
from threading import Lock, Thread

import psycopg

from leasehold.errors import StoreError
from leasehold.store.changes import CommitWatch
from leasehold.store.postgres_batch import CHANNEL
from leasehold.store.postgres_connection import Connection, PostgresPlace, connect, execute, translated

__all__ = ["NotificationWatch"]


class NotificationWatch:
    """The waiters of one store, as `leasehold.store.protocol.Changes`.

    What `writer` itself commits wakes through `wake_all`. `pause_seconds` lies between two tries to reach the server.
    """

    def __init__(self, place: PostgresPlace, writer: str, *, pause_seconds: float) -> None:
        self._place = place
        self._writer = writer
        self._pause_seconds = pause_seconds
        self._waiters = CommitWatch(None, pause_seconds=pause_seconds)
        self._lock = Lock()  # guards the two below
        self._thread: Thread | None = None
        self._is_closed = False
        self._end, self._ending = os.pipe()  # closing is told to the listener while it waits for the server

    def register(self, wake: Callable[[], None]) -> Callable[[], None]:
        """Have `wake` called after commits. See `Changes.register`."""
        forget = self._waiters.register(wake)
        with self._lock:
            if self._thread is None and not self._is_closed:
                self._thread = Thread(target=self._listen, name="leasehold-listen", daemon=True)
                self._thread.start()
        return forget

    def wake_all(self) -> None:
        """Wake everyone who waits."""
        self._waiters.wake_all()

    def close(self) -> None:
        """Wake everyone a last time and end the listener."""
        with self._lock:
            if self._is_closed:
                return
            self._is_closed = True
            thread = self._thread
        os.write(self._ending, b".")
        if thread is not None:
            thread.join()
        os.close(self._end)
        os.close(self._ending)
        self._waiters.close()

    def _listen(self) -> None:
        while not self._is_closed:
            try:
                connection = connect(self._place, read_only=True)
                try:
                    with translated(self._place):
                        self._hear(connection)
                finally:
                    connection.close()
            except StoreError:
                self._waiters.wake_all()  # whoever wakes up will ask the database, and hear what is wrong
                self._pause()

    def _pause(self) -> None:
        with selectors.DefaultSelector() as selector:
            selector.register(self._end, selectors.EVENT_READ)
            selector.select(self._pause_seconds)

    def _hear(self, connection: Connection) -> None:
        """Wake whenever another process has committed, until the store is closed or the connection is lost."""
        execute(connection, f"LISTEN {CHANNEL}")
        self._waiters.wake_all()  # something may have been committed before we listened
        with selectors.DefaultSelector() as selector:
            selector.register(connection, selectors.EVENT_READ)
            selector.register(self._end, selectors.EVENT_READ)
            while not self._is_closed:
                selector.select()
                if any(told.payload != self._writer for told in _told(connection)):
                    self._waiters.wake_all()


def _told(connection: Connection) -> list[psycopg.Notify]:
    """What has arrived, without waiting for more."""
    return list(connection.notifies(timeout=0))
