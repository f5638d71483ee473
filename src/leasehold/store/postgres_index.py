"""The index over the ledger's entries on PostgreSQL, projected behind the lane: tables of the same database.

Called by the queries and, after commits, by the background thread. It is made from the ledger alone and written under a
lock of its own, never the lane's; one that is not of this ledger is made again. Nothing is decided from it.
"""

from __future__ import annotations

from collections.abc import Sequence
from threading import Lock
from typing import TypeVar

from leasehold.decide.rows import ControlRow
from leasehold.store.columns import SHAPES
from leasehold.store.postgres_connection import Connection, PostgresPlace, connect, execute, transaction, translated
from leasehold.store.postgres_migrations import INDEX_LOCK, take
from leasehold.store.postgres_reading import Readers, read_control, read_lines
from leasehold.store.postgres_rows import insert_into, values_json
from leasehold.store.postgres_search import TELLING, indexed_text, search_statement
from leasehold.store.projection import project
from leasehold.store.queries import LedgerLine, LedgerQuery

__all__ = ["EntryIndex"]

T = TypeVar("T")

_SLICE = 1000
_FEW = 100
_TABLES = (*(shape.table for shape in SHAPES.values()), "ledger", "entries", "attributes")
_ENTRIES = insert_into("entries", (int, int, *(str,) * 12))
_ATTRIBUTES = insert_into("attributes", (str, str, int, int))
_PROJECTED = (
    "INSERT INTO projected VALUES (1, %s, %s, %s)"
    " ON CONFLICT (one) DO UPDATE SET issuer = excluded.issuer, size = excluded.size, last_leaf = excluded.last_leaf"
)


class EntryIndex:
    """The index of one ledger. Threads may share it."""

    def __init__(self, place: PostgresPlace, readers: Readers) -> None:
        self._place = place
        self._readers = readers
        self._lock = Lock()  # guards the two below
        self._counted = 0  # the ledger's size when the server last looked at its tables
        self._connection: Connection | None = None

    def catch_up(self) -> None:
        """Index what was committed since, a thousand entries to a transaction.

        Raises:
            StoreError: the index cannot be written.
        """
        control, done = self._readers.read(self._state)
        if done != (control.issuer, control.size):
            with self._lock, translated(self._place):
                self._project(control)
                self._count_rows(control.size)

    def search(self, query: LedgerQuery) -> list[int]:
        """The indexes of the entries that meet a query, newest first, after catching up.

        Raises:
            StoreError: the index cannot be read or written.
        """
        if query.tenants is not None and not query.tenants:
            return []
        self.catch_up()
        return self._readers.read(lambda connection: _found(connection, query))

    def telling(self, tenant: str, run_id: str, begin: int, end: int) -> list[int]:
        """The indexes of the entries from `begin` up to `end` that can tell of a run, in the order of the ledger.

        Raises:
            StoreError: the index cannot be read or written.
        """
        self.catch_up()
        bound = {"tenant": tenant, "run": run_id, "begin": begin, "end": end}
        return self._readers.read(
            lambda connection: _indexes(connection.execute(TELLING.encode(), bound, prepare=True).fetchall())
        )

    def close(self) -> None:
        """Let the connection go."""
        with self._lock:
            if self._connection is not None:
                self._connection.close()
                self._connection = None

    def _state(self, connection: Connection) -> tuple[ControlRow, tuple[str, int]]:
        """The log's row, and of which ledger and how long the index is."""
        row = execute(connection, "SELECT issuer, size FROM projected", is_prepared=True).fetchone()
        return read_control(connection, self._place), (row[0], row[1]) if row else ("", 0)

    def _project(self, control: ControlRow) -> None:
        connection = self._open()
        while True:
            with transaction(connection):
                take(connection, self._place, INDEX_LOCK)
                done = _trusted_size(connection, control)
                lines = read_lines(connection, done, min(done + _SLICE, control.size))
                if not lines:
                    return
                _write(connection, control.issuer, lines)

    def _count_rows(self, size: int) -> None:
        """Let the server look at its tables again once they have grown to twice: all plans are made anew then.

        Without that it takes them for empty, as they were when the plans were made, and walks whole tenants.
        """
        if size > 2 * self._counted + _FEW:
            execute(self._open(), f"ANALYZE {', '.join(_TABLES)}")
            self._counted = size

    def _open(self) -> Connection:
        if self._connection is None or self._connection.closed:
            self._connection = connect(self._place)
            execute(self._connection, "SET synchronous_commit = off")  # after a crash it may be older, which it notices
        return self._connection


def _trusted_size(connection: Connection, control: ControlRow) -> int:
    """How far the index has come; one that is of another ledger or was ahead of this one starts again."""
    row = execute(connection, "SELECT issuer, size, last_leaf FROM projected").fetchone()
    if row is None:
        return 0
    issuer, size, last_leaf = row
    last = read_lines(connection, size - 1, size)
    if issuer == control.issuer and last and last[0].leaf == bytes(last_leaf):
        return int(size)
    execute(connection, "TRUNCATE projected, entries, attributes")
    return 0


def _found(connection: Connection, query: LedgerQuery) -> list[int]:
    sql, bound = search_statement(query, _time_of(connection, query.before))
    return _indexes(execute(connection, sql, bound, is_prepared=True).fetchall())


def _indexes(rows: Sequence[tuple[object, ...]]) -> list[int]:
    return [int(str(index)) for (index,) in rows]


def _write(connection: Connection, issuer: str, lines: Sequence[LedgerLine]) -> None:
    entries, attributes = project(lines)
    kept = [tuple(indexed_text(value) if isinstance(value, str) else value for value in row) for row in entries]
    values = [(indexed_text(name), indexed_text(value), *rest) for name, value, *rest in attributes]
    execute(connection, _ENTRIES, (values_json(kept),), is_prepared=True)
    execute(connection, _ATTRIBUTES, (values_json(list(dict.fromkeys(values))),), is_prepared=True)
    last = lines[-1]
    execute(connection, _PROJECTED, (issuer, last.index + 1, last.leaf), is_prepared=True)


def _time_of(connection: Connection, index: int | None) -> tuple[int, int] | None:
    """Where an entry stands in the order of answers: its recorded time and its index."""
    if index is None:
        return None
    row = execute(connection, "SELECT time_ms FROM entries WHERE idx = %s", (index,), is_prepared=True).fetchone()
    return (0, index) if row is None else (int(row[0]), index)
