"""What a store is, and what it takes from outside. Implemented by `opened`; called by authority, guard and assemble.

The promise of `Store.submit`: a future that holds an answer stands for a change that is on disk; one that holds an
error says in `StoreError.maybe_persisted` whether the change may be there all the same.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from typing import Protocol, TypeVar

import msgspec

from leasehold.decide.facts import Step, StepAnswer
from leasehold.model.instant import Instant
from leasehold.store.queries import Queries

__all__ = ["Anchor", "Changes", "Clock", "Reader", "Store", "TreeHead"]

A = TypeVar("A")


class Clock(Protocol):
    """Where the lane reads the time, once a batch, after it holds the lock."""

    def now(self) -> Instant:
        """The wall clock."""
        ...


class TreeHead(msgspec.Struct, frozen=True, kw_only=True):
    """How far a database has come: its epoch, the ledger's size and the 32-byte root over that many entries."""

    epoch: int
    size: int
    root: bytes

    def is_ahead_of(self, other: TreeHead) -> bool:
        """Whether this one is of a later epoch, or of a larger ledger in the same."""
        return (self.epoch, self.size) > (other.epoch, other.size)


class Anchor(Protocol):
    """The last word that stands outside the database, so that a database that was rolled back is found out.

    Made by the assembler, which knows where it is kept and with which keys it is signed; a store knows neither.
    """

    def read(self) -> TreeHead | None:
        """The head that was kept last, its signature verified; None only if there never was one.

        Raises:
            LeaseholdError: it is there and cannot be trusted.
        """
        ...

    def replace_if_larger(self, head: TreeHead) -> None:
        """Sign and keep this head durably, unless one that is as large or larger is kept already.

        Raises:
            LeaseholdError: it could not be kept.
        """
        ...


class Changes(Protocol):
    """Who wants to know that something was committed, by this process or another one on the same database."""

    def register(self, wake: Callable[[], None]) -> Callable[[], None]:
        """Have `wake` called after commits, from a thread of the store, and return what ends that.

        `wake` must return at once and not raise: set an event, schedule a callback. Register first and look at the
        state then: a commit in between wakes. It may be called without a change.
        """
        ...


class Reader(Protocol):
    """A database that is only read."""

    @property
    def queries(self) -> Queries:
        """The read side."""
        ...

    def clock(self) -> Instant | None:
        """The time that the database's own clock shows, or None where it goes by its users'."""
        ...

    def close(self) -> None:
        """Let it go."""
        ...


class Store(Protocol):
    """One log's database."""

    @property
    def queries(self) -> Queries:
        """The read side; it sees what is committed."""
        ...

    @property
    def changes(self) -> Changes:
        """How to wait for a commit without polling."""
        ...

    def clock(self) -> Instant | None:
        """The time that the database's own clock shows, or None where it goes by its users'.

        Raises:
            StoreError: it cannot be asked.
        """
        ...

    def submit(self, step: Step[A]) -> Future[StepAnswer[A]]:
        """Decide the step in the lane and commit what it wants written, together with its neighbours.

        The future holds the answer once it is durable. It fails with what the step itself raised, with
        `UnavailableError` (nothing was persisted, the store goes on), or with `StoreError` (see `maybe_persisted`;
        after an I/O error the store takes nothing more until it is opened again). Cancelling works until the lane
        takes it.
        """
        ...

    def carry_out(self, step: Step[A]) -> Future[StepAnswer[A]]:
        """As `submit`, for a caller that is about to wait and has no event loop to keep free.

        If nothing else is at work this thread runs the step, and the future is done when it is returned; that spares
        two switches of threads. An exception that strikes the thread meanwhile, such as KeyboardInterrupt, leaves here;
        then the step is either committed whole or not at all.
        """
        ...

    def anchor_now(self) -> None:
        """Keep the committed head outside the database before returning, as a finished run wants.

        Raises:
            LeaseholdError: it could not be kept.
        """
        ...

    def close(self) -> None:
        """Answer what was submitted, keep the head outside, and let the files go. Closing twice is harmless."""
        ...
