"""The embedded store: one SQLite file, any number of processes. Opened by `leasehold.assemble` and the CLI.

Opening is where a database proves itself: whose it is, how old, whole where every decision reads it, and not behind
what its anchor remembers. If it fails, nothing is executed.
"""

from __future__ import annotations

from concurrent.futures import Future
from contextlib import suppress
from pathlib import Path
from typing import TypeVar

import apsw
import msgspec

from leasehold.decide.facts import Step, StepAnswer
from leasehold.decide.rows import ControlRow
from leasehold.errors import LeaseholdError, StoreError
from leasehold.ledger.tree import Frontier
from leasehold.store.background import Background
from leasehold.store.batches import fresh_control
from leasehold.store.changes import CommitWatch
from leasehold.store.heads import check_anchored
from leasehold.store.lane import LARGEST_BATCH, Lane
from leasehold.store.migrations import check_header, check_version, create, upgrade
from leasehold.store.protocol import Anchor, Clock, TreeHead
from leasehold.store.sqlite_batch import SqliteBackend
from leasehold.store.sqlite_check import check_state
from leasehold.store.sqlite_connection import MEMORY, Place, connect, connect_plainly, create_file, translated
from leasehold.store.sqlite_index import EntryIndex
from leasehold.store.sqlite_queries import SqliteQueries
from leasehold.store.sqlite_reading import LedgerNodes, Readers

__all__ = ["SqliteReader", "SqliteSettings", "SqliteStore", "open_read_only", "open_sqlite"]
A = TypeVar("A")


class SqliteSettings(msgspec.Struct, frozen=True, kw_only=True):
    """What an operator may tune; the defaults suit one machine.

    `busy_seconds` is how long the lane waits for another process's lock, `largest_batch` how many steps it decides
    together, `anchor_seconds` how long after a commit the head is kept outside, `watch_seconds` how often other
    processes' commits are looked for while somebody waits. `vfs` is SQLite's file layer, empty for the system's own;
    tests inject faults there.
    """

    busy_seconds: float = 5.0
    largest_batch: int = LARGEST_BATCH
    anchor_seconds: float = 1.0
    watch_seconds: float = 0.02
    vfs: str = ""


_DEFAULTS = SqliteSettings()


class SqliteStore:
    """An open database, as `leasehold.store.protocol.Store`. Made by `open_sqlite`, which has checked it."""

    def __init__(
        self, connection: apsw.Connection, place: Place, clock: Clock, anchor: Anchor | None, settings: SqliteSettings
    ) -> None:
        self._connection = connection
        self._place = place
        self._anchor = anchor
        self._busy_seconds = settings.busy_seconds
        self._watched: apsw.Connection | None = None  # the watcher's, until it has ended
        self._is_closed = False
        self._readers = _readers(place, settings)
        self._index = EntryIndex(_index_place(place), self._readers, busy_seconds=settings.busy_seconds)
        self._queries = SqliteQueries(self._readers, self._index)
        version = self._data_version if place.is_file else None
        self._changes = CommitWatch(version, pause_seconds=settings.watch_seconds)
        backend = SqliteBackend(connection, place, clock)
        self._lane = Lane(backend, self._committed, largest_batch=settings.largest_batch)
        tasks = [self._lane.rest, self.anchor_now, self._index.catch_up]
        self._background = Background(tasks, pause_seconds=settings.anchor_seconds)

    @property
    def queries(self) -> SqliteQueries:
        """The read side."""
        return self._queries

    @property
    def changes(self) -> CommitWatch:
        """How to wait for a commit."""
        return self._changes

    @property
    def fault(self) -> LeaseholdError | None:
        """Why the head could not be kept outside, or the index not be brought up to date, when that was last tried."""
        return self._background.fault

    def submit(self, step: Step[A]) -> Future[StepAnswer[A]]:
        """Hand a step to the lane. See `Store.submit`."""
        return self._lane.submit(step)

    def carry_out(self, step: Step[A]) -> Future[StepAnswer[A]]:
        """Run a step here or in the lane. See `Store.carry_out`."""
        return self._lane.carry_out(step)

    def anchor_now(self) -> None:
        """Keep the committed head outside. See `Store.anchor_now`."""
        if self._anchor is not None:
            control = self._queries.control()
            root = Frontier.from_bytes(control.frontier).root()
            self._anchor.replace_if_larger(TreeHead(epoch=control.epoch, size=control.size, root=root))

    def close(self) -> None:
        """Answer, keep the head outside, let go. See `Store.close`."""
        if self._is_closed:
            return
        self._is_closed = True
        self._lane.close()
        self._background.close()
        self._changes.close()
        try:
            self.anchor_now()
        finally:
            self._index.close()
            self._readers.close()
            if self._watched is not None:
                self._watched.close()
            with translated(self._place):
                self._connection.close()  # the last of them, since only a writer can tidy the log away

    def _committed(self) -> None:
        self._changes.wake_all()
        self._background.poke()

    def _data_version(self) -> int:
        with translated(self._place):
            if self._watched is None:
                self._watched = connect(self._place, busy_seconds=self._busy_seconds, read_only=True)
            return int(self._watched.pragma("data_version"))


def open_sqlite(
    path: Path | str, *, clock: Clock, issuer: str, anchor: Anchor | None = None, settings: SqliteSettings = _DEFAULTS
) -> SqliteStore:
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
    store = SqliteStore(connection, place, clock, anchor, settings)
    try:
        store.anchor_now()
    except BaseException:
        store.close()
        raise
    return store


class SqliteReader:
    """A database that is only read: by an auditor, or beside the process that writes it. Made by `open_read_only`."""

    def __init__(self, place: Place, settings: SqliteSettings) -> None:
        self._readers = _readers(place, settings)
        self._index = EntryIndex(Place(path=MEMORY), self._readers, busy_seconds=settings.busy_seconds)
        self._queries = SqliteQueries(self._readers, self._index)

    @property
    def queries(self) -> SqliteQueries:
        """The read side. Its index of entries is made anew in memory when it is first searched."""
        return self._queries

    def clock(self) -> None:
        """None: a file has no clock of its own."""

    def close(self) -> None:
        """Let the files go."""
        self._index.close()
        self._readers.close()


def open_read_only(path: Path | str, settings: SqliteSettings = _DEFAULTS) -> SqliteReader:
    """Open a database for reading alone; nothing in its folder is written but SQLite's own lock file.

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
    return SqliteReader(place, settings)


def _readers(place: Place, settings: SqliteSettings) -> Readers:
    return Readers(place, lambda: connect(place, busy_seconds=settings.busy_seconds, read_only=True))


def _index_place(place: Place) -> Place:
    return Place(path=f"{place.path}-index") if place.is_file else Place(path=MEMORY)


def _make_file(place: Place, control: ControlRow, anchored: TreeHead | None, settings: SqliteSettings) -> None:
    """Make the database if there is none, before the file is switched to a write-ahead log."""
    if not check_header(place):
        if anchored is not None:
            raise StoreError(
                f"{place}: the database is missing, but {anchored.size} ledger entries were recorded outside. "
                "Put it back, or declare a restore with: leasehold db restore"
            )
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
    if anchored is not None:
        check_anchored(LedgerNodes(connection), place, found, anchored)
    elif is_anchored and found.size:
        raise StoreError(
            f"{place}: the database has {found.size} ledger entries, but what was recorded outside is missing. "
            "Put it back, or declare a restore with: leasehold db restore"
        )


def _empty_log(connection: apsw.Connection) -> None:
    """Move all of the write-ahead log into the database, synced, unless another process is at work.

    After a sync that failed, the log can hold commits that are in memory and not on the disk. What is appended to it
    could be lost with them; so nothing is appended before they are safe.
    """
    with suppress(apsw.BusyError, apsw.LockedError):
        connection.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_TRUNCATE)
