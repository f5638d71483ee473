"""Moving a whole SQLite database into PostgreSQL: every row, the ledger, the epoch. Called by `leasehold db`.

Nobody can write to the source meanwhile, and nothing stands in the target before all of it was read back and compared:
it is one transaction, the making of the tables included.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import islice, zip_longest
from pathlib import Path

import apsw
import msgspec

from leasehold.decide.rows import ControlRow
from leasehold.errors import StoreError
from leasehold.store.columns import SHAPES, quoted
from leasehold.store.postgres_check import check_state
from leasehold.store.postgres_connection import (
    SCHEMA,
    Connection,
    PostgresPlace,
    connect,
    execute,
    patient,
    transaction,
    translated,
)
from leasehold.store.postgres_migrations import LANE_LOCK, MIGRATION_LOCK, is_made, make_tables, take, upgrade
from leasehold.store.postgres_reading import read_control as read_postgres_control
from leasehold.store.postgres_rows import insert_into, json_rows, upsert, values_json
from leasehold.store.sqlite_connection import Place
from leasehold.store.sqlite_connection import connect as connect_sqlite
from leasehold.store.sqlite_connection import transaction as sqlite_transaction
from leasehold.store.sqlite_connection import translated as sqlite_translated
from leasehold.store.sqlite_reading import read_control

__all__ = ["LEDGER", "copy_to_postgres"]

_BUSY_SECONDS = 5.0
_SLICE = 200
LEDGER = ("idx", "body", "hashes")
"""The columns of the ledger's table."""


def copy_to_postgres(
    path: Path | str, place: PostgresPlace, take_over: Callable[[], None], *, aside: str = ""
) -> Mapping[str, int]:
    """Copy a SQLite database, and answer how many rows each table holds.

    `take_over` is called once the copy is committed and while nobody can write to the source: it makes the copy the
    database of the state, and moves the source away. `aside` is the name of the schema that what stands in the target
    goes to; without one, the target has to be empty.

    Raises:
        UnavailableError: another process is writing to the source, or the server cannot be reached.
        StoreError: the target holds something already, or does not hold afterwards what the source holds.
    """
    source = Place(path=str(path))
    target = connect(patient(place))
    try:
        reading = connect_sqlite(source, busy_seconds=_BUSY_SECONDS)
        try:
            with sqlite_translated(source), sqlite_transaction(reading):
                control = read_control(reading, source)
                with translated(place):
                    if not aside and is_made(target, place):
                        upgrade(target, place)
                    counts = _copy(reading, target, place, control, aside)
                take_over()
        finally:
            reading.close()
    finally:
        target.close()
    return counts


def _copy(
    source: apsw.Connection, target: Connection, place: PostgresPlace, control: ControlRow, aside: str
) -> dict[str, int]:
    counts = {}
    with transaction(target):
        take(target, place, MIGRATION_LOCK)
        take(target, place, LANE_LOCK)
        is_there = is_made(target, place)
        if is_there and aside:
            _insist_on_later(target, place, control)
            execute(target, f"ALTER SCHEMA {SCHEMA} RENAME TO {_free(target, aside)}")
        elif is_there:
            _insist_on_nothing(target, place, control)
        if aside or not is_there:
            make_tables(target, control)
        for shape in SHAPES.values():
            rows = (
                msgspec.convert(row, shape.row_type) for row in _rows(source, shape.table, shape.columns, shape.key)
            )
            while some := list(islice(rows, _SLICE)):
                execute(target, upsert(shape), (json_rows(some),))
        lines = _rows(source, "ledger", LEDGER, ("idx",))
        while found := list(islice(lines, _SLICE)):
            execute(target, insert_into("ledger", (int, bytes, bytes)), (values_json(found),))
        for table, columns, key in (
            *((s.table, s.columns, s.key) for s in SHAPES.values()),
            ("ledger", LEDGER, ("idx",)),
        ):
            counts[table] = _compare(source, target, place, (table, columns, key))
        check_state(target, place)
    return counts


def _insist_on_later(target: Connection, place: PostgresPlace, control: ControlRow) -> None:
    """Refuse to replace a database by one of an epoch that stands there already: another machine was faster."""
    row = execute(target, "SELECT max(epoch) FROM control WHERE issuer = %s", (control.issuer,)).fetchone()
    if row is not None and row[0] is not None and int(row[0]) >= control.epoch:
        raise StoreError(f"{place}: another restore was declared meanwhile; look at what it took, then say it again")


def _free(target: Connection, name: str) -> str:
    """The name of a schema that does not exist: this one, or with `_2`, `_3`, … behind it."""
    taken = {found for (found,) in execute(target, "SELECT nspname FROM pg_namespace").fetchall()}
    return next(
        tried for tried in (name, *(f"{name}_{number}" for number in range(2, len(taken) + 2))) if tried not in taken
    )


def _insist_on_nothing(target: Connection, place: PostgresPlace, control: ControlRow) -> None:
    tables = [shape.table for row_type, shape in SHAPES.items() if row_type is not ControlRow]
    is_used = any(
        execute(target, f"SELECT 1 FROM {table} LIMIT 1").fetchone()  # noqa: S608 - own names
        for table in (*tables, "ledger")
    )
    if is_used or read_postgres_control(target, place).issuer != control.issuer:
        raise StoreError(f"{place}: this database holds something already; name an empty one")


def _rows(
    source: apsw.Connection, table: str, columns: Sequence[str], key: Sequence[str]
) -> Iterator[tuple[object, ...]]:
    """The rows of a table in the order of its key, byte by byte, as both databases sort."""
    yield from source.execute(f"SELECT {quoted(columns)} FROM {table} ORDER BY {quoted(key)}")  # noqa: S608 - own names


def _compare(
    source: apsw.Connection,
    target: Connection,
    place: PostgresPlace,
    named: tuple[str, Sequence[str], Sequence[str]],
) -> int:
    """Read a table back and answer how many rows it has, which are those of the source."""
    table, columns, key = named
    sql = f"SELECT {quoted(columns)} FROM {table} ORDER BY {quoted(key)}"  # noqa: S608 - own names
    count = 0
    with target.cursor(binary=True) as cursor:
        for written, wanted in zip_longest(cursor.stream(sql.encode()), _rows(source, *named)):
            if written != wanted:
                raise StoreError(f"{place}: row {count} of {table} is not what was copied; nothing was kept")
            count += 1
    return count
