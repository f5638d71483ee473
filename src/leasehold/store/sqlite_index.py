"""The index over the ledger's entries, projected behind the lane: which entries are of this person, lease, attribute.

Called by the queries and, after commits, by the background thread. It is a SQLite file of its own beside the database,
made from the ledger alone: writing it never takes the lane's lock, and it is rebuilt if it is missing, damaged, or not
of this ledger. Nothing is decided from it.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from contextlib import suppress
from importlib.resources import files
from threading import Lock
from typing import TypeVar, cast

import apsw
import msgspec

from leasehold.decide.rows import ControlRow
from leasehold.errors import StoreError
from leasehold.store.projection import project
from leasehold.store.queries import LedgerLine, LedgerQuery
from leasehold.store.sqlite_connection import Place, connect, create_file, transaction, translated
from leasehold.store.sqlite_reading import Readers, read_control, read_lines
from leasehold.store.sqlite_rows import insert
from leasehold.store.sqlite_search import TELLING, search_statement

__all__ = ["EntryIndex"]

T = TypeVar("T")

_VERSION = 2
_SLICE = 1000
_indexes = msgspec.json.Decoder(list[int])
_DAMAGED = (apsw.CorruptError, apsw.NotADBError, apsw.SQLError)


class EntryIndex:
    """The index of one ledger, which is read through `readers`. Threads may share it."""

    def __init__(self, place: Place, readers: Readers, *, busy_seconds: float) -> None:
        self._place = place
        self._readers = readers
        self._busy_seconds = busy_seconds
        self._lock = Lock()  # guards the connection and all that is done through it
        self._connection: apsw.Connection | None = None

    def catch_up(self) -> None:
        """Index what was committed since, a thousand entries to a transaction.

        Raises:
            StoreError: the index cannot be written.
        """
        self._use(lambda _: None)

    def search(self, query: LedgerQuery) -> list[int]:
        """The indexes of the entries that meet a query, newest first, after catching up.

        Raises:
            StoreError: the index cannot be read or written.
        """
        if query.tenants is not None and not query.tenants:
            return []
        return self._use(lambda connection: _found(connection, query))

    def telling(self, tenant: str, run_id: str, begin: int, end: int) -> list[int]:
        """The indexes of the entries from `begin` up to `end` that can tell of a run, in the order of the ledger.

        Raises:
            StoreError: the index cannot be read or written.
        """
        bound = {"tenant": tenant, "run": run_id, "begin": begin, "end": end}
        return self._use(lambda connection: _indexes.decode(connection.execute(TELLING, bound).get))

    def close(self) -> None:
        """Close the index."""
        with self._lock:
            if self._connection is not None:
                self._connection.close()
                self._connection = None

    def _use(self, use: Callable[[apsw.Connection], T]) -> T:
        """Do something with the index once it has caught up; one that turns out to be damaged is made again."""
        with self._readers.borrow() as ledger:
            control = read_control(ledger, self._readers.place)
        with self._lock:
            try:
                with translated(self._place):
                    return use(self._project(control))
            except StoreError as error:
                if not isinstance(error.__cause__, _DAMAGED):
                    raise
                self._discard()
            with translated(self._place):
                return use(self._project(control))

    def _project(self, control: ControlRow) -> apsw.Connection:
        connection = self._open()
        while _projected_size(connection, control.issuer) != control.size:
            with transaction(connection):
                done = self._trusted_size(connection, control)
                with self._readers.borrow() as ledger:
                    lines = read_lines(ledger, done, min(done + _SLICE, control.size))
                if not lines:
                    break
                _write(connection, control.issuer, lines)
        return connection

    def _open(self) -> apsw.Connection:
        if self._connection is None:
            create_file(self._place)
            connection = connect(self._place, busy_seconds=self._busy_seconds)
            self._connection = connection
            connection.pragma("synchronous", "normal")  # after a power cut it may be older, which it notices
            with transaction(connection):
                version = connection.pragma("user_version")
                if version != _VERSION:
                    schema = files("leasehold.store").joinpath("sqlite_index_schema.sql")
                    connection.execute(
                        schema.read_text(encoding="utf-8")
                    )  # fails on other tables: then it is discarded
                    connection.pragma("user_version", _VERSION)
        return self._connection

    def _discard(self) -> None:
        """Drop an index that cannot be read; whoever else has it open goes on with the file that has lost its name."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None
        for suffix in ("", "-wal", "-shm"):
            with suppress(FileNotFoundError):
                os.unlink(self._place.path + suffix)

    def _trusted_size(self, connection: apsw.Connection, control: ControlRow) -> int:
        """How far the index has come; one that is of another ledger or ahead of this one starts again."""
        row = connection.execute("SELECT issuer, size, last_leaf FROM projected").fetchone()
        if row is None:
            return 0
        issuer, size, last_leaf = row
        with self._readers.borrow() as ledger:
            last = read_lines(ledger, size - 1, size)
        if issuer == control.issuer and size <= control.size and last and last[0].leaf == last_leaf:
            return int(size)
        for table in ("projected", "entries", "attributes"):
            connection.execute(f"DELETE FROM {table}")  # noqa: S608 - own names
        return 0


def _projected_size(connection: apsw.Connection, issuer: str) -> int:
    found = connection.execute("SELECT size FROM projected WHERE issuer = ?", (issuer,)).get
    return 0 if found is None else int(found)


def _found(connection: apsw.Connection, query: LedgerQuery) -> list[int]:
    sql, bound = search_statement(query, _time_of(connection, query.before))
    return [cast(int, index) for (index,) in connection.execute(sql, tuple(bound)).fetchall()]


def _write(connection: apsw.Connection, issuer: str, lines: Sequence[LedgerLine]) -> None:
    entries, attributes = project(lines)
    insert(connection, "entries", entries)
    insert(connection, "attributes", attributes)
    last = lines[-1]
    connection.execute("REPLACE INTO projected VALUES (1, ?, ?, ?)", (issuer, last.index + 1, last.leaf))


def _time_of(connection: apsw.Connection, index: int | None) -> tuple[int, int] | None:
    """Where an entry stands in the order of answers: its recorded time and its index."""
    if index is None:
        return None
    found = connection.execute("SELECT time_ms FROM entries WHERE idx = ?", (index,)).get
    return (0, index) if found is None else (int(found), index)
