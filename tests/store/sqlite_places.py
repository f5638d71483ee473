"""SQLite databases as the tests of stores open them: with pauses so short that a test can wait for the background."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from leasehold.store.batches import fresh_control
from leasehold.store.lane import Backend
from leasehold.store.migrations import create
from leasehold.store.opened import OpenStore
from leasehold.store.protocol import Anchor, Clock
from leasehold.store.sqlite import SqliteSettings, open_sqlite
from leasehold.store.sqlite_batch import SqliteBackend
from leasehold.store.sqlite_connection import MEMORY, Place, connect, create_file

QUICK = SqliteSettings(anchor_seconds=0.001, watch_seconds=0.001)


class SqliteDatabase:
    """A SQLite database for the suites: a file, or memory."""

    def __init__(self, path: str) -> None:
        self.path = path

    @property
    def survives(self) -> bool:
        return self.path != MEMORY

    def open(self, *, clock: Clock, anchor: Anchor | None = None) -> OpenStore:
        return open_sqlite(self.path, clock=clock, issuer="issuer", anchor=anchor, settings=QUICK)

    @contextmanager
    def backend(self, *, clock: Clock) -> Iterator[Backend]:
        place = Place(path=self.path)
        create_file(place)
        connection = connect(place, busy_seconds=1)
        create(connection, place, fresh_control("issuer"))
        try:
            yield SqliteBackend(connection, place, clock)
        finally:
            connection.close()
