"""Cutting off a server that keeps a connection and says nothing more: stopped, swapped out, behind a dead gateway.

Called by the PostgreSQL lane and readers, and where a connection is made. The limits on statements and locks are the
server's to keep, and libpq itself waits for ever. Cut off, a connection is lost like any other, and what follows is
what follows on that.
"""

from __future__ import annotations

import os
import socket
from contextlib import suppress
from threading import Event, Lock, Thread
from time import monotonic
from typing import Any

import psycopg

__all__ = ["Patrol", "Watch"]

_SHARE = 8
"""Looks within one time limit, so that a connection is cut off an eighth of it late at most."""


class Patrol:
    """Watches connections while they are at work. Threads may share it; its own begins with the first watch."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._lock = Lock()  # guards the two below
        self._watched: dict[int, float] = {}  # sockets, as descriptors of our own, and when each is cut off
        self._thread: Thread | None = None
        self._end = Event()

    def watching(self, connection: psycopg.Connection[Any]) -> Watch:
        """Cut the connection off if the block is not left in time."""
        return Watch(self, connection)

    def close(self) -> None:
        """Watch no longer."""
        self._end.set()
        with self._lock:
            thread = self._thread
        if thread is not None:
            thread.join()

    def begin(self, descriptor: int) -> None:
        """Watch a socket from now on."""
        with self._lock:
            self._watched[descriptor] = monotonic() + self._seconds
            if self._thread is None and not self._end.is_set():
                self._thread = Thread(target=self._main, name="leasehold-patrol", daemon=True)
                self._thread.start()

    def leave(self, descriptor: int) -> None:
        """Watch a socket no longer, and close it."""
        with self._lock:
            del self._watched[descriptor]
            os.close(descriptor)

    def _main(self) -> None:
        while not self._end.wait(self._seconds / _SHARE):
            with self._lock:
                now = monotonic()
                for descriptor, until in self._watched.items():
                    if now >= until:
                        _cut(descriptor)


class Watch:
    """One block during which a connection is watched. Made by `Patrol.watching`."""

    __slots__ = ("_connection", "_descriptor", "_patrol")

    def __init__(self, patrol: Patrol, connection: psycopg.Connection[Any]) -> None:
        self._patrol = patrol
        self._connection = connection
        self._descriptor = -1

    def __enter__(self) -> None:
        # A descriptor of our own: libpq may close its own in the block, and the number be given to another file.
        if not self._connection.closed:
            self._descriptor = os.dup(self._connection.fileno())
            self._patrol.begin(self._descriptor)

    def __exit__(self, *_: object) -> None:
        if self._descriptor >= 0:
            self._patrol.leave(self._descriptor)


def _cut(descriptor: int) -> None:
    with socket.socket(fileno=os.dup(descriptor)) as end, suppress(OSError):  # it may be down already
        end.shutdown(socket.SHUT_RDWR)
