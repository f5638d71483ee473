"""The schema of a PostgreSQL database and its versions: hand-written SQL, applied in order, refused when unknown.

Called when a store is opened and by `leasehold db migrate`. All of it happens in one transaction under a lock, so that
any number of processes may start at once.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from importlib.resources import files

from leasehold.decide.rows import ControlRow
from leasehold.errors import StoreError
from leasehold.store.columns import SHAPES
from leasehold.store.postgres_connection import (
    SCHEMA,
    WHICH_SESSION,
    Connection,
    PostgresPlace,
    execute,
    insist_on_session,
    transaction,
)
from leasehold.store.postgres_rows import json_rows, upsert

__all__ = [
    "APPLICATION",
    "INDEX_LOCK",
    "LANE_LOCK",
    "MIGRATION_LOCK",
    "SCHEMAS",
    "check_version",
    "create",
    "is_made",
    "lock",
    "make_tables",
    "take",
    "upgrade",
]

APPLICATION = "leasehold"

SCHEMAS = ("postgres_schema_1.sql",)
"""What leads from each version to the next, the first from nothing to version 1. Never edited once released."""

LANE_LOCK, MIGRATION_LOCK, INDEX_LOCK = 1, 2, 3
_LOCKS = 0x4C656173
"""`Leas` in ASCII: the class of our advisory locks, which all programs of a database share."""


def lock(name: int) -> str:
    """Take one of our locks until the transaction ends, and answer in which session.

    What is read must be read by a later statement.
    """
    return f"SELECT {WHICH_SESSION}, pg_advisory_xact_lock({_LOCKS}, {name})"


def take(connection: Connection, place: PostgresPlace, name: int) -> None:
    """Take one of our locks until the transaction ends.

    Raises:
        UnavailableError: it is not taken in the session that the connection was set up in.
    """
    row = execute(connection, lock(name)).fetchone()
    insist_on_session(connection, place, row[0] if row else None)


def is_made(connection: Connection, place: PostgresPlace) -> bool:
    """Whether our tables stand in the database.

    Raises:
        StoreError: the schema holds tables of somebody else.
    """
    found = {name for (name,) in execute(connection, _TABLES, (SCHEMA,)).fetchall()}
    if not found:
        return False
    if "schema_version" in found:
        row = execute(connection, "SELECT application FROM schema_version").fetchone()
        if row == (APPLICATION,):
            return True
    raise StoreError(f"{place}: the schema {SCHEMA} of this database belongs to another program; name another database")


_TABLES = (
    "SELECT relname FROM pg_class JOIN pg_namespace AS n ON n.oid = relnamespace WHERE nspname = %s AND relkind = 'r'"
)


def create(connection: Connection, place: PostgresPlace, control: ControlRow) -> None:
    """Make the schema, every table and the log's row, unless they are there.

    Raises:
        StoreError: there are tables, but not ours.
    """
    if is_made(connection, place):
        return
    with _migrating(connection, place):
        if not is_made(connection, place):  # another process may have been faster
            make_tables(connection, control)


def make_tables(connection: Connection, control: ControlRow) -> None:
    """Make the schema, every table and the log's row, inside a transaction that holds the lock of migrations."""
    if execute(connection, "SELECT 1 FROM pg_namespace WHERE nspname = %s", (SCHEMA,)).fetchone() is None:
        execute(connection, f"CREATE SCHEMA {SCHEMA}")
    _apply(connection, 0)
    execute(connection, "INSERT INTO schema_version VALUES (1, %s, %s)", (APPLICATION, len(SCHEMAS)))
    execute(connection, upsert(SHAPES[ControlRow]), (json_rows((control,)),))


def check_version(connection: Connection, place: PostgresPlace) -> int:
    """The schema version of a database.

    Raises:
        StoreError: it is newer than this program.
    """
    row = execute(connection, "SELECT version FROM schema_version").fetchone()
    version = int(row[0]) if row else 0
    if version > len(SCHEMAS):
        raise StoreError(
            f"{place}: the database has schema version {version}, this program knows up to {len(SCHEMAS)}; "
            "install the newer leasehold that made it"
        )
    return version


def upgrade(connection: Connection, place: PostgresPlace) -> None:
    """Bring an older schema to this version, in one transaction.

    Raises:
        StoreError: the database is of a newer version.
    """
    if check_version(connection, place) < len(SCHEMAS):
        with _migrating(connection, place):
            take(connection, place, LANE_LOCK)
            _apply(connection, check_version(connection, place))
            execute(connection, "UPDATE schema_version SET version = %s", (len(SCHEMAS),))


@contextmanager
def _migrating(connection: Connection, place: PostgresPlace) -> Iterator[None]:
    """A transaction that holds the lock of migrations. Whoever comes second waits for as long as the first one takes.

    The time that the server lets a session idle in a transaction stays: a machine that dies meanwhile lets go.
    """
    with transaction(connection):
        for limit in ("lock_timeout", "statement_timeout"):
            execute(connection, f"SET LOCAL {limit} = 0")
        take(connection, place, MIGRATION_LOCK)
        yield


def _apply(connection: Connection, version: int) -> None:
    for name in SCHEMAS[version:]:
        execute(connection, files("leasehold.store").joinpath(name).read_text(encoding="utf-8"))
