"""A backup of a PostgreSQL database: all of it, as it is at one moment, as a SQLite file. Called by `leasehold db`.

The file is what a state without a server has: `db check` of it needs none, `db copy` and `db restore` read it back.
Whoever writes goes on meanwhile, and a server that follows another one can be asked as well.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import islice
from pathlib import Path

import apsw
import msgspec

from leasehold.errors import StoreError
from leasehold.store.columns import SHAPES, Shape, quoted
from leasehold.store.migrations import create
from leasehold.store.postgres_connection import Connection, PostgresPlace, at_one_moment, connect, patient, translated
from leasehold.store.postgres_copy import LEDGER
from leasehold.store.postgres_migrations import check_version, is_made
from leasehold.store.postgres_reading import read_control
from leasehold.store.sqlite_check import problems
from leasehold.store.sqlite_connection import Place, connect_plainly, transaction
from leasehold.store.sqlite_connection import translated as sqlite_translated
from leasehold.store.sqlite_copies import new_file
from leasehold.store.sqlite_rows import insert, upsert

__all__ = ["back_up_postgres"]

_BUSY_SECONDS = 5.0
_SLICE = 200


def back_up_postgres(place: PostgresPlace, target: Path) -> Mapping[str, int]:
    """Copy a database into a new file of mode 0600, read all of it back, and answer how many rows each table has.

    Raises:
        UnavailableError: the server cannot be reached.
        StoreError: there is no database of ours, it is damaged, or `target` exists; then there is no new file.
    """
    with new_file(target) as unfinished:
        file = Place(path=str(unfinished))
        reading = connect(patient(place), read_only=True)
        try:
            writing = connect_plainly(file, busy_seconds=_BUSY_SECONDS)
            try:
                with translated(place), sqlite_translated(file):
                    return _copy(reading, writing, place, file)
            finally:
                writing.close()
        finally:
            reading.close()


def _copy(reading: Connection, writing: apsw.Connection, place: PostgresPlace, file: Place) -> dict[str, int]:
    if not is_made(reading, place):
        raise StoreError(f"{place}: there is no database of Leasehold here")
    check_version(reading, place)
    with at_one_moment(reading):
        control = read_control(reading, place)
        create(writing, file, control)
        with transaction(writing):
            counts = {shape.table: _copy_rows(reading, writing, shape) for shape in SHAPES.values()}
            counts["ledger"] = _copy_ledger(reading, writing)
    if found := next(problems(writing, file), None):
        raise StoreError(f"{place}: the database is damaged, no backup was made: {found}; run: leasehold db check")
    return counts


def _copy_rows(reading: Connection, writing: apsw.Connection, shape: Shape) -> int:
    rows = _rows(reading, f"SELECT {quoted(shape.columns)} FROM {shape.table}")  # noqa: S608 - own names
    count = 0
    while some := [msgspec.convert(row, shape.row_type) for row in islice(rows, _SLICE)]:
        upsert(writing, shape, some)  # the log's own row stands there already
        count += len(some)
    return count


def _copy_ledger(reading: Connection, writing: apsw.Connection) -> int:
    rows = _rows(reading, f"SELECT {quoted(LEDGER)} FROM ledger ORDER BY idx")  # noqa: S608 - own names
    count = 0
    while some := list(islice(rows, _SLICE)):
        insert(writing, "ledger", some)
        count += len(some)
    return count


def _rows(reading: Connection, sql: str) -> Iterator[tuple[object, ...]]:
    with reading.cursor(binary=True) as cursor:
        yield from cursor.stream(sql.encode())
