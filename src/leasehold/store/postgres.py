"""The store of many machines: one PostgreSQL database, any number of processes. Opened by `leasehold.assemble`.

Opening is where a database proves itself: that it keeps what it confirms, whose it is, how old, that its ledger ends
where it says, and that it is not behind what its anchor remembers. If it fails, nothing is executed.
"""

from __future__ import annotations

from concurrent.futures import Future
from typing import TypeVar

import msgspec

from leasehold.decide.facts import Step, StepAnswer
from leasehold.errors import LeaseholdError, StoreError
from leasehold.ledger.tree import Frontier
from leasehold.model.instant import Instant
from leasehold.store.background import Background
from leasehold.store.batches import fresh_control
from leasehold.store.heads import check_anchored
from leasehold.store.lane import LARGEST_BATCH, Lane
from leasehold.store.postgres_batch import NOW, PostgresBackend
from leasehold.store.postgres_changes import NotificationWatch
from leasehold.store.postgres_check import check_state, problems
from leasehold.store.postgres_connection import Connection, PostgresPlace, at_one_moment, connect, execute, translated
from leasehold.store.postgres_index import EntryIndex
from leasehold.store.postgres_migrations import check_version, create, is_made, upgrade
from leasehold.store.postgres_queries import PostgresQueries
from leasehold.store.postgres_reading import LedgerNodes, Readers, asked
from leasehold.store.protocol import Anchor, Clock, TreeHead

__all__ = [
    "PostgresReader",
    "PostgresSettings",
    "PostgresStore",
    "check_postgres",
    "has_tables",
    "open_postgres",
    "read_postgres",
]

A = TypeVar("A")

_DAY_MS = 86_400_000
_FORGET = f"DELETE FROM writers WHERE at_ms < {NOW} - %s"  # noqa: S608 - own names


class PostgresSettings(msgspec.Struct, frozen=True, kw_only=True):
    """What an operator may tune; the defaults suit a server in the same data centre.

    `readers` is how many connections may read at once, `largest_batch` how many steps the lane decides together,
    `anchor_seconds` how long after a commit the head is kept outside, `retry_seconds` how long after a lost connection
    the notifications of other processes are asked for again.
    """

    readers: int = 8
    largest_batch: int = LARGEST_BATCH
    anchor_seconds: float = 1.0
    retry_seconds: float = 0.5


_DEFAULTS = PostgresSettings()


class PostgresStore:
    """An open database, as `leasehold.store.protocol.Store`. Made by `open_postgres`, which has checked it."""

    def __init__(
        self,
        place: PostgresPlace,
        writer: str,
        clock: Clock | None,
        anchor: Anchor | None,
        settings: PostgresSettings,
    ) -> None:
        self._anchor = anchor
        self._is_closed = False
        self._readers = Readers(place, limit=settings.readers)
        self._index = EntryIndex(place, self._readers)
        self._queries = PostgresQueries(self._readers, self._index)
        self._changes = NotificationWatch(place, writer, pause_seconds=settings.retry_seconds)
        tasks = [self.anchor_now, self._index.catch_up]
        self._background = Background(tasks, pause_seconds=settings.anchor_seconds)
        self._backend = PostgresBackend(place, writer, clock)
        self._lane = Lane(self._backend, self._committed, largest_batch=settings.largest_batch)

    @property
    def queries(self) -> PostgresQueries:
        """The read side."""
        return self._queries

    @property
    def changes(self) -> NotificationWatch:
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
            self._backend.close()

    def _committed(self) -> None:
        self._changes.wake_all()
        self._background.poke()


def open_postgres(
    place: PostgresPlace,
    *,
    writer: str,
    issuer: str,
    clock: Clock | None = None,
    anchor: Anchor | None = None,
    settings: PostgresSettings = _DEFAULTS,
) -> PostgresStore:
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
    finally:
        connection.close()
    store = PostgresStore(place, writer, clock, anchor, settings)
    try:
        store.anchor_now()
    except BaseException:
        store.close()
        raise
    return store


def _prove(
    connection: Connection, place: PostgresPlace, issuer: str, anchored: TreeHead | None, *, is_anchored: bool
) -> None:
    """Everything that must hold before the first step runs. `is_anchored` says that something is to stand outside."""
    if anchored is not None and not is_made(connection, place):
        raise StoreError(
            f"{place}: the database is empty, but {anchored.size} ledger entries were recorded outside. "
            "Put it back, or declare a restore with: leasehold db restore"
        )
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
    if anchored is not None:
        check_anchored(LedgerNodes(connection), place, found, anchored)
    elif is_anchored and found.size:
        raise StoreError(
            f"{place}: the database has {found.size} ledger entries, but what was recorded outside is missing. "
            "Put it back, or declare a restore with: leasehold db restore"
        )


class PostgresReader:
    """A database that is only read, but for its entry index. Made by `read_postgres`."""

    def __init__(self, place: PostgresPlace, settings: PostgresSettings) -> None:
        self._readers = Readers(place, limit=settings.readers)
        self._index = EntryIndex(place, self._readers)
        self._queries = PostgresQueries(self._readers, self._index)

    @property
    def queries(self) -> PostgresQueries:
        """The read side."""
        return self._queries

    def clock(self) -> Instant:
        """The server's time, by which every decision goes."""
        return Instant(int(self._readers.read(lambda connection: asked(connection, f"SELECT CAST({NOW} AS text)"))))

    def close(self) -> None:
        """Let the connections go."""
        self._index.close()
        self._readers.close()


def read_postgres(place: PostgresPlace, settings: PostgresSettings = _DEFAULTS) -> PostgresReader:
    """Open a database for reading alone.

    Raises:
        StoreError: there is none, it is another program's, or newer than this program.
    """
    connection = connect(place, read_only=True)
    try:
        with translated(place):
            _find(connection, place)
    finally:
        connection.close()
    return PostgresReader(place, settings)


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


def check_postgres(place: PostgresPlace) -> tuple[str, ...]:
    """Read all of a database, its ledger included, and say what is wrong with it; empty if nothing is.

    Raises:
        StoreError: it cannot be opened at all.
    """
    connection = connect(place, read_only=True)
    try:
        with translated(place):
            _find(connection, place)
            return tuple(problems(connection, place))
    finally:
        connection.close()


def _find(connection: Connection, place: PostgresPlace) -> None:
    if not is_made(connection, place):
        raise StoreError(f"{place}: there is no database of Leasehold here")
    check_version(connection, place)
