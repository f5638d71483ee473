"""Cutting off a server that keeps a connection and says nothing more: stopped, swapped out, behind a dead gateway.

Called by the PostgreSQL lane and readers. The limits on statements and locks are the server's to keep, and libpq itself
waits for ever. Cut off, a connection is lost like any other, and what follows is what follows on that.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from threading import Condition, Thread
from time import monotonic

from leasehold.store.postgres_connection import Connection

__all__ = ["Patrol"]

_SHARE = 8
"""Looks within one time limit, so that a connection is cut off an eighth of it late at most."""


class Patrol:
    """Watches connections while they are at work. Threads may share it; its own begins with the first watch."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._state = Condition()  # guards the rest
        self._watched: dict[int, float] = {}  # sockets, as descriptors of our own, and when each is cut off
        self._thread: Thread | None = None
        self._is_closed = False

    @contextmanager
    def watching(self, connection: Connection) -> Iterator[None]:
        """Cut the connection off if the block is not left in time."""
        if connection.closed:
            yield
            return
        # A descriptor of our own: the connection's may be closed in the block and its number be given to another file.
        descriptor = os.dup(connection.fileno())
        with self._state:
            self._watched[descriptor] = monotonic() + self._seconds
            if self._thread is None and not self._is_closed:
                self._thread = Thread(target=self._main, name="leasehold-patrol", daemon=True)
                self._thread.start()
        try:
            yield
        finally:
            with self._state:
                del self._watched[descriptor]
                os.close(descriptor)

    def close(self) -> None:
        """Watch no longer."""
        with self._state:
            self._is_closed = True
            self._state.notify_all()
            thread = self._thread
        if thread is not None:
            thread.join()

    def _main(self) -> None:
        with self._state:
            while not self._is_closed:
                self._state.wait(self._seconds / _SHARE)
                now = monotonic()
                for descriptor, until in self._watched.items():
                    if now >= until:
                        _cut(descriptor)


def _cut(descriptor: int) -> None:
    with socket.socket(fileno=os.dup(descriptor)) as end, suppress(OSError):  # it may be down already
        end.shutdown(socket.SHUT_RDWR)
