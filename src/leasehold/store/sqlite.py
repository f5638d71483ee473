"""The embedded store: one SQLite file, any number of processes. Opened by `leasehold.assemble` and the CLI.

Opening is where a database proves itself: whose it is, how old, whole where every decision reads it, and not behind
what its anchor remembers. If it fails, nothing is executed.
"""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import apsw
import msgspec

from leasehold.decide.rows import ControlRow
from leasehold.errors import StoreError
from leasehold.store.batches import fresh_control
from leasehold.store.changes import CommitWatch
from leasehold.store.heads import check_outside, gone
from leasehold.store.lane import LARGEST_BATCH
from leasehold.store.listing import DatabaseQueries
from leasehold.store.migrations import check_header, check_version, create, upgrade
from leasehold.store.observed import LaneWatcher, watched
from leasehold.store.opened import Database, OpenReader, OpenStore
from leasehold.store.protocol import Anchor, Clock, TreeHead
from leasehold.store.sqlite_batch import SqliteBackend
from leasehold.store.sqlite_check import check_state
from leasehold.store.sqlite_connection import MEMORY, Place, connect, connect_plainly, create_file, translated
from leasehold.store.sqlite_index import EntryIndex
from leasehold.store.sqlite_queries import SqliteTables
from leasehold.store.sqlite_reading import LedgerNodes, Readers

__all__ = ["SqliteSettings", "open_read_only", "open_sqlite"]


class SqliteSettings(msgspec.Struct, frozen=True, kw_only=True):
    """What an operator may tune; the defaults suit one machine.

    `busy_seconds` is how long the lane waits for another process's lock, `largest_batch` how many steps it decides
    together, `anchor_seconds` how long after a commit the head is kept outside, `watch_seconds` how often other
    processes' commits are looked for while somebody waits. `vfs` is SQLite's file layer, empty for the system's own;
    tests inject faults there. `watcher` is told of the lane's batches.
    """

    busy_seconds: float = 5.0
    largest_batch: int = LARGEST_BATCH
    anchor_seconds: float = 1.0
    watch_seconds: float = 0.02
    vfs: str = ""
    watcher: LaneWatcher | None = None


_DEFAULTS = SqliteSettings()


def open_sqlite(
    path: Path | str, *, clock: Clock, issuer: str, anchor: Anchor | None = None, settings: SqliteSettings = _DEFAULTS
) -> OpenStore:
    """Open the database of a file, making it if there is none; `":memory:"` is a fresh one that closing forgets.

    Args:
        path: the file; its folder exists and belongs to this account.
        clock: read by the lane once a batch.
        issuer: who the authority is, written into a new database and ignored by one that exists.
        anchor: what stands outside, compared before anything is executed; None only where nothing is to survive.
        settings: see `SqliteSettings`.

    Raises:
        UnavailableError: another process holds the lock.
        StoreError: the database is missing while an anchor remembers it, another program's, newer than this program,
            damaged, rolled back, or in a place where SQLite cannot keep its promises.
    """
    place = Place(path=str(path), vfs=settings.vfs)
    anchored = anchor.read() if anchor is not None else None
    control = fresh_control(issuer)
    if place.is_file:
        _make_file(place, control, anchored, settings)
    connection = connect(place, busy_seconds=settings.busy_seconds)
    try:
        with translated(place):
            _prove(connection, place, control, anchored, is_anchored=anchor is not None)
    except BaseException:
        connection.close()
        raise
    database = _database(connection, place, clock, settings)
    store = OpenStore(database, anchor, largest_batch=settings.largest_batch, anchor_seconds=settings.anchor_seconds)
    return store.anchored()


def _database(connection: apsw.Connection, place: Place, clock: Clock, settings: SqliteSettings) -> Database:
    readers = _readers(place, settings)
    index = EntryIndex(_index_place(place), readers, busy_seconds=settings.busy_seconds)
    version = _DataVersion(place, settings.busy_seconds)

    def release() -> None:
        readers.close()
        version.close()
        with translated(place):
            connection.close()  # the last of them, since only a writer can tidy the log away

    tables = SqliteTables(readers)
    return Database(
        place=place,
        backend=watched(SqliteBackend(connection, place, clock), settings.watcher),
        queries=DatabaseQueries(tables, tables, index),
        index=index,
        changes=CommitWatch(version.read if place.is_file else None, pause_seconds=settings.watch_seconds),
        clock=lambda: None,
        release=release,
    )


class _DataVersion:
    """SQLite's counter of other connections' commits, over a connection that the watcher's thread makes and uses."""

    def __init__(self, place: Place, busy_seconds: float) -> None:
        self._place = place
        self._busy_seconds = busy_seconds
        self._connection: apsw.Connection | None = None  # the watcher's, until it has ended

    def read(self) -> int:
        with translated(self._place):
            if self._connection is None:
                self._connection = connect(self._place, busy_seconds=self._busy_seconds, read_only=True)
            return int(self._connection.pragma("data_version"))

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()


def open_read_only(path: Path | str, settings: SqliteSettings = _DEFAULTS) -> OpenReader:
    """Open a database for reading alone; nothing in its folder is written but SQLite's own lock file.

    Its index of entries is made anew in memory when it is first searched. A file has no clock of its own.

    Raises:
        StoreError: there is none, it is another program's, or newer than this program.
    """
    place = Place(path=str(path), vfs=settings.vfs)
    if not check_header(place):
        raise StoreError(f"{place}: there is no database here")
    connection = connect(place, busy_seconds=settings.busy_seconds, read_only=True)
    try:
        with translated(place):
            check_version(connection, place)
    finally:
        connection.close()
    readers = _readers(place, settings)
    index = EntryIndex(Place(path=MEMORY), readers, busy_seconds=settings.busy_seconds)

    def release() -> None:
        index.close()
        readers.close()

    tables = SqliteTables(readers)
    return OpenReader(DatabaseQueries(tables, tables, index), lambda: None, release)


def _readers(place: Place, settings: SqliteSettings) -> Readers:
    return Readers(place, lambda: connect(place, busy_seconds=settings.busy_seconds, read_only=True))


def _index_place(place: Place) -> Place:
    return Place(path=f"{place.path}-index") if place.is_file else Place(path=MEMORY)


def _make_file(place: Place, control: ControlRow, anchored: TreeHead | None, settings: SqliteSettings) -> None:
    """Make the database if there is none, before the file is switched to a write-ahead log."""
    if not check_header(place):
        if anchored is not None:
            raise gone(place, "missing", anchored)
        create_file(place)
    connection = connect_plainly(place, busy_seconds=settings.busy_seconds)
    try:
        with translated(place):
            create(connection, place, control)
    finally:
        connection.close()


def _prove(
    connection: apsw.Connection, place: Place, control: ControlRow, anchored: TreeHead | None, *, is_anchored: bool
) -> None:
    """Everything that must hold before the first step runs. `is_anchored` says that something is to stand outside."""
    create(connection, place, control)
    upgrade(connection, place)
    if place.is_file:
        _empty_log(connection)
    found = check_state(connection, place)
    check_outside(LedgerNodes(connection), place, found, anchored, is_anchored=is_anchored)


def _empty_log(connection: apsw.Connection) -> None:
    """Move all of the write-ahead log into the database, synced, unless another process is at work.

    After a sync that failed, the log can hold commits that are in memory and not on the disk. What is appended to it
    could be lost with them; so nothing is appended before they are safe.
    """
    with suppress(apsw.BusyError, apsw.LockedError):
        connection.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_TRUNCATE)
