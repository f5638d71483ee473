"""A store, its lane and its anchor, watched: each does what the one inside does, and says how it went.

`leasehold.assemble` wraps with these where somebody wants to count, as `leasehold serve` does. Whoever watches sees
steps and answers as they are, and must keep what it tells others free of ids.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import CancelledError, Future
from time import perf_counter
from typing import Protocol, TypeAlias, TypeVar, cast

from leasehold.decide.facts import Step, StepAnswer
from leasehold.errors import LeaseholdError
from leasehold.model.instant import Instant
from leasehold.store.lane import Backend
from leasehold.store.protocol import Anchor, Changes, Store, TreeHead
from leasehold.store.queries import Queries

__all__ = [
    "Answered",
    "LaneWatcher",
    "ObservedAnchor",
    "ObservedBackend",
    "ObservedStore",
    "Together",
    "Watcher",
    "watched",
]

A = TypeVar("A")

Answered: TypeAlias = Callable[[StepAnswer[object] | Exception, float], None]
"""Is told of a step's answer, or of why there is none, and how many seconds after it was handed in that was."""


class LaneWatcher(Protocol):
    """Who is told of the lane's batches."""

    def batch(self, steps: int, seconds: float) -> None:
        """So many steps were decided and committed together, or failed together, and it took so long."""
        ...


class Watcher(LaneWatcher, Protocol):
    """Who is told of everything. Each method is called from a thread of the store, returns at once and never raises."""

    def submitted(self, step: Step[object]) -> Answered:
        """A step is handed in, by the thread that calls. Returns whom to tell of its answer, from whatever thread."""
        ...

    def anchored(self, head: TreeHead | None) -> None:
        """This head of the ledger is kept outside the database now; None says that keeping it failed."""
        ...


class ObservedBackend:
    """A database as the lane uses it, its batches counted and timed."""

    def __init__(self, inner: Backend, watcher: LaneWatcher) -> None:
        self._inner = inner
        self._watcher = watcher

    def run(self, steps: Sequence[Step[object]]) -> list[StepAnswer[object] | Exception]:
        """See `Backend.run`."""
        began = perf_counter()
        try:
            return self._inner.run(steps)
        finally:
            self._watcher.batch(len(steps), perf_counter() - began)

    def rest(self) -> None:
        """See `Backend.rest`."""
        self._inner.rest()


def watched(backend: Backend, watcher: LaneWatcher | None) -> Backend:
    """The database as the lane is to use it."""
    return backend if watcher is None else ObservedBackend(backend, watcher)


class ObservedAnchor:
    """What stands outside the database, with word of each head that is kept there."""

    def __init__(self, inner: Anchor, watcher: Watcher) -> None:
        self._inner = inner
        self._watcher = watcher

    def read(self) -> TreeHead | None:
        """See `Anchor.read`. What cannot be read is not replaced either, so no head is kept from then on."""
        try:
            return self._inner.read()
        except LeaseholdError:
            self._watcher.anchored(None)
            raise

    def replace_if_larger(self, head: TreeHead) -> None:
        """See `Anchor.replace_if_larger`."""
        try:
            self._inner.replace_if_larger(head)
        except LeaseholdError:
            self._watcher.anchored(None)
            raise
        self._watcher.anchored(head)


class ObservedStore:
    """A store whose steps are counted and timed from when they are handed in to when they are answered."""

    def __init__(self, inner: Store, watcher: Watcher) -> None:
        self._inner = inner
        self._watcher = watcher

    @property
    def queries(self) -> Queries:
        """See `Store.queries`."""
        return self._inner.queries

    @property
    def changes(self) -> Changes:
        """See `Store.changes`."""
        return self._inner.changes

    def clock(self) -> Instant | None:
        """See `Store.clock`."""
        return self._inner.clock()

    def submit(self, step: Step[A]) -> Future[StepAnswer[A]]:
        """See `Store.submit`."""
        answered, began = self._watcher.submitted(step), perf_counter()
        return _told(self._inner.submit(step), answered, began)

    def carry_out(self, step: Step[A]) -> Future[StepAnswer[A]]:
        """See `Store.carry_out`."""
        answered, began = self._watcher.submitted(step), perf_counter()
        try:
            future = self._inner.carry_out(step)
        except BaseException:
            answered(CancelledError(), perf_counter() - began)
            raise
        return _told(future, answered, began)

    def anchor_now(self) -> None:
        """See `Store.anchor_now`."""
        self._inner.anchor_now()

    def close(self) -> None:
        """See `Store.close`."""
        self._inner.close()


class Together:
    """Several who watch, as one."""

    def __init__(self, *watchers: Watcher) -> None:
        self._watchers = watchers

    def submitted(self, step: Step[object]) -> Answered:
        """See `Watcher.submitted`."""
        told = [watcher.submitted(step) for watcher in self._watchers]

        def answered(answer: StepAnswer[object] | Exception, seconds: float) -> None:
            for tell in told:
                tell(answer, seconds)

        return answered

    def batch(self, steps: int, seconds: float) -> None:
        """See `LaneWatcher.batch`."""
        for watcher in self._watchers:
            watcher.batch(steps, seconds)

    def anchored(self, head: TreeHead | None) -> None:
        """See `Watcher.anchored`."""
        for watcher in self._watchers:
            watcher.anchored(head)


def _told(future: Future[StepAnswer[A]], answered: Answered, began: float) -> Future[StepAnswer[A]]:
    future.add_done_callback(lambda done: answered(_answer(done), perf_counter() - began))
    return future


def _answer(done: Future[StepAnswer[A]]) -> StepAnswer[object] | Exception:
    if done.cancelled():
        return CancelledError()
    error = done.exception()
    return cast("StepAnswer[object] | Exception", error if error is not None else done.result())
