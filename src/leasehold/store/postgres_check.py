"""Whether a PostgreSQL database may be used: a short look when it is opened, a long one when an operator asks, and a
look around it for what its server allows to others.

Called by `leasehold.store.postgres`. The short look reads the log's row and a logarithmic part of the ledger.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import NamedTuple

import psycopg
from psycopg import errors

from leasehold.decide.rows import ControlRow, Row
from leasehold.errors import StoreError, VerificationError
from leasehold.ledger.tree import Frontier, TreeBuilder, leaf_hash
from leasehold.store.columns import SHAPES, Shape, decoded
from leasehold.store.heads import check_end
from leasehold.store.postgres_connection import SCHEMA, Connection, PostgresPlace, at_one_moment, execute
from leasehold.store.postgres_reading import LedgerNodes, read_control
from leasehold.store.postgres_rows import select_each
from leasehold.store.told import COMPARED, Told

__all__ = ["Surroundings", "check_state", "look_around", "problems"]

_SLICE = 1000
_LOSSY = "SELECT name FROM pg_settings WHERE name IN ('fsync', 'full_page_writes') AND setting <> 'on' ORDER BY name"
_MEGABYTE = "CREATE TEMP TABLE room AS SELECT repeat('room', 250) FROM generate_series(1, 1024)"
_STRANGERS = (
    "SELECT rolname FROM pg_roles WHERE rolcanlogin AND NOT rolsuper AND NOT has_schema_privilege(oid, %s, 'USAGE')"
    " AND has_database_privilege(oid, current_database(), 'CONNECT') ORDER BY rolname"
)


class Surroundings(NamedTuple):
    """What weakens a database from outside it: its name, settings by which its server may lose what it has confirmed,
    accounts that may connect to it though they have no part in it, and whether there is no room for more."""

    database: str
    lossy: tuple[str, ...]
    strangers: tuple[str, ...]
    is_full: bool


def look_around(connection: Connection) -> Surroundings:
    """Find out what weakens a database from outside it."""
    lossy = tuple(name for (name,) in execute(connection, _LOSSY).fetchall())
    strangers = tuple(name for (name,) in execute(connection, _STRANGERS, (SCHEMA,)).fetchall())
    return Surroundings(connection.info.dbname, lossy, strangers, _is_full(connection))


def _is_full(connection: Connection) -> bool:
    """Whether the server's disk has no room for a megabyte, which is written and never committed. Only it knows."""
    if execute(connection, "SELECT has_database_privilege(current_database(), 'TEMP')").fetchone() != (True,):
        return False
    execute(connection, "BEGIN READ WRITE")
    try:
        execute(connection, _MEGABYTE)
    except errors.DiskFull:
        return True
    finally:
        if not connection.closed:
            execute(connection, "ROLLBACK")
    return False


def check_state(connection: Connection, place: PostgresPlace) -> ControlRow:
    """Return the log's row if the ledger ends where the row says, with the right edge that was recorded.

    To be asked inside a transaction that sees one moment, since others may be writing.

    Raises:
        StoreError: it does not.
    """
    control = read_control(connection, place)
    row = execute(connection, "SELECT max(idx) FROM ledger").fetchone()
    check_end(LedgerNodes(connection), place, control, row[0] if row else None)
    return control


def problems(connection: Connection, place: PostgresPlace) -> Iterator[str]:
    """Say everything that is wrong with a database; nothing if all is well. Reads all of it, at one moment."""
    with at_one_moment(connection):
        try:
            told = Told()
            found = tuple(_ledger_problems(connection, read_control(connection, place), told))
            yield from found
            compared = () if found else COMPARED
            for shape in sorted(SHAPES.values(), key=_turn):
                try:
                    for rows in _read_rows(connection, shape):
                        yield from told.differences(rows) if shape.row_type in compared else ()
                except ValueError as error:
                    yield f"table {shape.table}: a row is damaged: {error}"
                    compared = ()
            yield from told.missing() if compared else ()
        except (StoreError, VerificationError, psycopg.Error) as error:
            yield str(error)


def _turn(shape: Shape) -> int:
    """When a table is read: those that are compared with the ledger first, in their order."""
    return COMPARED.index(shape.row_type) if shape.row_type in COMPARED else len(COMPARED)


def _read_rows(connection: Connection, shape: Shape) -> Iterator[list[Row]]:
    """Every row of a table, some at a time: a million leases are more than one text may hold.

    Raises:
        ValueError: a row is damaged.
    """
    with connection.cursor() as cursor:
        rows = cursor.stream(select_each(shape).encode())
        while some := [text for (text,) in islice(rows, _SLICE)]:
            yield decoded(shape, f"[{','.join(some)}]")


def _ledger_problems(connection: Connection, control: ControlRow, told: Told) -> Iterator[str]:
    """The first index at which the ledger is not what its tree says, if there is one."""
    tree = TreeBuilder(Frontier())
    expected = 0
    sql = b"SELECT idx, body, hashes FROM ledger WHERE idx >= %s ORDER BY idx LIMIT %s"
    while True:
        with connection.cursor(binary=True) as cursor:
            lines = cursor.execute(sql, (expected, _SLICE)).fetchall()
        for index, body, hashes in lines:
            tree.append(leaf_hash(body))
            if index != expected or b"".join(node.digest for node in tree.completed) != hashes:
                yield f"ledger: entry {expected} is missing or was altered"
                return
            tree.completed.clear()
            told.take(body)
            expected += 1
        if not lines:
            break
    frontier = tree.frontier()
    if frontier.to_bytes() != control.frontier or frontier.size != control.size:
        yield f"ledger: it ends after {frontier.size} entries, {control.size} were recorded"
