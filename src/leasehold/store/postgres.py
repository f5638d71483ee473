"""The store of many machines: one PostgreSQL database, any number of processes. Opened by `leasehold.assemble`.

Opening is where a database proves itself: that it keeps what it confirms, whose it is, how old, that its ledger ends
where it says, and that it is not behind what its anchor remembers. If it fails, nothing is executed.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import msgspec

from leasehold.errors import StoreError
from leasehold.model.instant import Instant
from leasehold.store.batches import fresh_control
from leasehold.store.heads import check_outside, gone
from leasehold.store.lane import LARGEST_BATCH
from leasehold.store.listing import DatabaseQueries
from leasehold.store.observed import LaneWatcher, watched
from leasehold.store.opened import Database, OpenReader, OpenStore
from leasehold.store.postgres_batch import NOW, PostgresBackend
from leasehold.store.postgres_changes import NotificationWatch
from leasehold.store.postgres_check import Surroundings, check_state, look_around, problems
from leasehold.store.postgres_connection import (
    Connection,
    PostgresPlace,
    at_one_moment,
    connect,
    execute,
    insist_on_sessions,
    patient,
    primary,
    translated,
)
from leasehold.store.postgres_index import EntryIndex
from leasehold.store.postgres_migrations import check_version, create, is_made, upgrade
from leasehold.store.postgres_queries import PostgresTables
from leasehold.store.postgres_reading import LedgerNodes, Readers, asked
from leasehold.store.protocol import Anchor, Clock, TreeHead

__all__ = [
    "PostgresSettings",
    "check_postgres",
    "find_surroundings",
    "has_tables",
    "open_postgres",
    "read_postgres",
    "vacuum_cards",
]

_CLOCK = f"SELECT CAST({NOW} AS text)"
_DAY_MS = 86_400_000
_FORGET = f"DELETE FROM writers WHERE at_ms < {NOW} - %s"  # noqa: S608 - own names


class PostgresSettings(msgspec.Struct, frozen=True, kw_only=True):
    """What an operator may tune; the defaults suit a server in the same data centre.

    `readers` is how many connections may read at once, `largest_batch` how many steps the lane decides together,
    `anchor_seconds` how long after a commit the head is kept outside, `retry_seconds` how long after a lost connection
    the notifications of other processes are asked for again. `watcher` is told of the lane's batches, `heard` what the
    server's clock reads, whenever that was read.
    """

    readers: int = 8
    largest_batch: int = LARGEST_BATCH
    anchor_seconds: float = 1.0
    retry_seconds: float = 0.5
    watcher: LaneWatcher | None = None
    heard: Callable[[Instant], None] = lambda _: None


_DEFAULTS = PostgresSettings()


def open_postgres(
    place: PostgresPlace,
    *,
    writer: str,
    issuer: str,
    clock: Clock | None = None,
    anchor: Anchor | None = None,
    settings: PostgresSettings = _DEFAULTS,
) -> OpenStore:
    """Open a database, making our tables in it if there are none.

    Args:
        place: which database.
        writer: a name for this process that no other one has, now or later.
        issuer: who the authority is, written into a new database and compared with one that exists.
        clock: read by the lane once a batch; None, but in tests, for the database's own, which all processes share.
        anchor: what stands outside, compared before anything is executed; None only where nothing is to survive.
        settings: see `PostgresSettings`.

    Raises:
        UnavailableError: the server cannot be reached, or takes no writes.
        StoreError: the tables are missing while an anchor remembers them, another program's or authority's, newer than
            this program, damaged or rolled back, or the server may lose what it has confirmed.
    """
    anchored = anchor.read() if anchor is not None else None
    connection = connect(place)
    try:
        with translated(place):
            _prove(connection, place, issuer, anchored, is_anchored=anchor is not None)
            execute(connection, _FORGET, (_DAY_MS,))
            settings.heard(Instant(int(asked(connection, _CLOCK))))
    finally:
        connection.close()
    database = _database(place, PostgresBackend(place, writer, clock, anchor, settings.heard), clock, settings)
    store = OpenStore(database, anchor, largest_batch=settings.largest_batch, anchor_seconds=settings.anchor_seconds)
    return store.anchored()


def _database(
    place: PostgresPlace, inner: PostgresBackend, clock: Clock | None, settings: PostgresSettings
) -> Database:
    readers = Readers(primary(place), limit=settings.readers)
    index = EntryIndex(place, readers)

    def release() -> None:
        readers.close()
        inner.close()

    def server_clock() -> Instant:
        now = _clock(readers)
        settings.heard(now)
        return now

    tables = PostgresTables(readers)
    return Database(
        place=place,
        backend=watched(inner, settings.watcher),
        queries=DatabaseQueries(tables, tables, index),
        index=index,
        changes=NotificationWatch(primary(place), inner.writer, pause_seconds=settings.retry_seconds),
        clock=server_clock if clock is None else lambda: None,
        release=release,
    )


def _prove(
    connection: Connection, place: PostgresPlace, issuer: str, anchored: TreeHead | None, *, is_anchored: bool
) -> None:
    """Everything that must hold before the first step runs. `is_anchored` says that something is to stand outside."""
    insist_on_sessions(connection, place)
    if anchored is not None and not is_made(connection, place):
        raise gone(place, "empty", anchored)
    create(connection, place, fresh_control(issuer))
    upgrade(connection, place)
    with at_one_moment(connection):
        _check(connection, place, issuer, anchored, is_anchored=is_anchored)


def _check(
    connection: Connection, place: PostgresPlace, issuer: str, anchored: TreeHead | None, *, is_anchored: bool
) -> None:
    found = check_state(connection, place)
    if found.issuer != issuer:
        raise StoreError(
            f"{place}: this database is of the authority {found.issuer}, the keys here are of {issuer}; every process "
            "of an authority needs the same keys"
        )
    check_outside(LedgerNodes(connection), place, found, anchored, is_anchored=is_anchored)


def read_postgres(place: PostgresPlace, settings: PostgresSettings = _DEFAULTS) -> OpenReader:
    """Open a database for reading alone, but for its index of entries. Its clock is the server's.

    Raises:
        StoreError: there is none, it is another program's, or newer than this program.
    """
    connection = connect(place, read_only=True)
    try:
        with translated(place):
            _find(connection, place)
    finally:
        connection.close()
    readers = Readers(place, limit=settings.readers)
    index = EntryIndex(place, readers)

    def release() -> None:
        index.close()
        readers.close()

    tables = PostgresTables(readers)
    return OpenReader(DatabaseQueries(tables, tables, index), partial(_clock, readers), release)


def _clock(readers: Readers) -> Instant:
    return Instant(int(readers.read(lambda lent: asked(lent, _CLOCK))))


def has_tables(place: PostgresPlace) -> bool:
    """Whether somebody made our tables in a database.

    Raises:
        StoreError: it cannot be asked, or belongs to another program.
    """
    connection = connect(place, read_only=True)
    try:
        with translated(place):
            return is_made(connection, place)
    finally:
        connection.close()


def find_surroundings(place: PostgresPlace) -> Surroundings:
    """What weakens a database of ours from outside it.

    Raises:
        StoreError: it cannot be asked.
    """
    connection = connect(primary(place), read_only=True)
    try:
        with translated(place):
            return look_around(connection)
    finally:
        connection.close()


def vacuum_cards(place: PostgresPlace) -> None:
    """Have the server let go of what erased cards held, but for what an open transaction may still read."""
    connection = connect(patient(place))
    try:
        with translated(place):
            execute(connection, "VACUUM cards")
    finally:
        connection.close()


def check_postgres(place: PostgresPlace) -> tuple[str, ...]:
    """Read all of a database, its ledger included, and say what is wrong with it; empty if nothing is.

    Raises:
        StoreError: it cannot be opened at all.
    """
    connection = connect(patient(place), read_only=True)
    try:
        with translated(place):
            _find(connection, place)
            return tuple(problems(connection, place))
    finally:
        connection.close()


def _find(connection: Connection, place: PostgresPlace) -> None:
    insist_on_sessions(connection, place)
    if not is_made(connection, place):
        raise StoreError(f"{place}: there is no database of Leasehold here")
    check_version(connection, place)
