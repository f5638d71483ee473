"""An open database, whichever it is: its lane, its queries, who waits for commits, and what follows them.

Made by `leasehold.store.sqlite` and `leasehold.store.postgres`, which have checked the database.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Protocol, TypeVar

from leasehold.decide.facts import Step, StepAnswer
from leasehold.decide.rows import ControlRow
from leasehold.errors import LeaseholdError, StoreError, UnavailableError
from leasehold.ledger.tree import Frontier
from leasehold.model.instant import Instant
from leasehold.store.background import Background
from leasehold.store.heads import check_anchored
from leasehold.store.lane import Backend, Lane
from leasehold.store.listing import DatabaseQueries, Entries
from leasehold.store.protocol import Anchor, Changes, TreeHead

__all__ = ["Database", "Index", "OpenReader", "OpenStore", "Watch"]

A = TypeVar("A")


class Watch(Changes, Protocol):
    """Who waits for commits, as a store itself sees them."""

    def wake_all(self) -> None:
        """Wake everyone who waits."""
        ...

    def close(self) -> None:
        """Wake everyone a last time."""
        ...


class Index(Entries, Protocol):
    """The index of entries, as a store itself sees it."""

    def catch_up(self) -> None:
        """Index what was committed since."""
        ...

    def close(self) -> None:
        """Let its connection go."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Database:
    """What one database brings: what it is called, how it is written, read and watched, and its own clock, if any.

    `release` lets its connections go at the end.
    """

    place: object
    backend: Backend
    queries: DatabaseQueries
    index: Index
    changes: Watch
    clock: Callable[[], Instant | None]
    release: Callable[[], None]


class OpenStore:
    """An open database, as `leasehold.store.protocol.Store`."""

    def __init__(self, database: Database, anchor: Anchor | None, *, largest_batch: int, anchor_seconds: float) -> None:
        self._database = database
        self._anchor = anchor
        self._is_closed = False
        self._lane = Lane(database.backend, self._committed, largest_batch=largest_batch)
        tasks = [self._lane.rest, self.anchor_now, database.index.catch_up]
        self._background = Background(tasks, pause_seconds=anchor_seconds)

    @property
    def queries(self) -> DatabaseQueries:
        """The read side."""
        return self._database.queries

    @property
    def changes(self) -> Changes:
        """How to wait for a commit."""
        return self._database.changes

    @property
    def fault(self) -> LeaseholdError | None:
        """Why the head could not be kept outside, or the index not be brought up to date, when that was last tried."""
        return self._background.fault

    def clock(self) -> Instant | None:
        """The time by the database's own clock. See `Store.clock`."""
        return self._database.clock()

    def submit(self, step: Step[A]) -> Future[StepAnswer[A]]:
        """Hand a step to the lane. See `Store.submit`."""
        return self._lane.submit(step)

    def carry_out(self, step: Step[A]) -> Future[StepAnswer[A]]:
        """Run a step here or in the lane. See `Store.carry_out`."""
        return self._lane.carry_out(step)

    def anchor_now(self) -> None:
        """Keep the committed head outside. See `Store.anchor_now`.

        Only one that extends what stands there, which is read first: whatever stands there was committed before. A
        database that does not hold it was rolled back under this process or is a second copy in use, so that nothing
        is executed any more.
        """
        if self._anchor is None:
            return
        anchored = self._anchor.read()
        control = self.queries.control()
        if anchored is not None:
            self._insist_on(control, anchored)
        root = Frontier.from_bytes(control.frontier).root()
        self._anchor.replace_if_larger(TreeHead(epoch=control.epoch, size=control.size, root=root))

    def _insist_on(self, control: ControlRow, anchored: TreeHead) -> None:
        try:
            check_anchored(self.queries, self._database.place, control, anchored)
        except UnavailableError:
            raise
        except StoreError as error:
            self._lane.stop(error)
            raise

    def anchored(self) -> OpenStore:
        """This store, once the head that it opened with is kept outside; closed if that fails."""
        try:
            self.anchor_now()
        except BaseException:
            self.close()
            raise
        return self

    def close(self) -> None:
        """Answer, keep the head outside, let go. See `Store.close`."""
        if self._is_closed:
            return
        self._is_closed = True
        self._lane.close()
        self._background.close()
        self._database.changes.close()
        try:
            self.anchor_now()
        finally:
            self._database.index.close()
            self._database.release()

    def _committed(self) -> None:
        self._database.changes.wake_all()
        self._background.poke()


class OpenReader:
    """A database that is only read: by an auditor, or beside the processes that write it."""

    def __init__(
        self, queries: DatabaseQueries, clock: Callable[[], Instant | None], release: Callable[[], None]
    ) -> None:
        self._queries = queries
        self._clock = clock
        self._release = release

    @property
    def queries(self) -> DatabaseQueries:
        """The read side."""
        return self._queries

    def clock(self) -> Instant | None:
        """The time by the database's own clock. See `Reader.clock`."""
        return self._clock()

    def close(self) -> None:
        """Let it go."""
        self._release()
