"""A store that somebody meddles with: answers get lost, before or after the commit, and others get in between."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from typing import TypeVar

import apsw

from leasehold.decide.facts import Step, StepAnswer
from leasehold.errors import StoreError
from leasehold.model.decision import Decision
from leasehold.model.instant import Instant
from leasehold.store.opened import OpenStore
from leasehold.store.protocol import Changes, Store
from leasehold.store.queries import Queries
from leasehold.store.sqlite_batch import SqliteBackend

A = TypeVar("A")


def raw(store: Store) -> apsw.Connection:
    """The connection of an open SQLite store, to do to its database what no step would."""
    assert isinstance(store, OpenStore)
    backend = store._database.backend
    assert isinstance(backend, SqliteBackend)
    return backend._connection


class MeddledStore:
    """A real store. `lose` says of which kind of step the answer is lost next, and whether it was committed first;
    `after` is called once after the next step of a kind was answered; `is_fickle` has it answer every step that another
    policy is active; `reading` is called once before something is read. Only the test's own thread submits."""

    def __init__(self, inner: Store) -> None:
        self.is_fickle = False
        self.reading: Callable[[], object] | None = None
        self._inner = inner
        self._lost: dict[type, bool] = {}
        self._after: dict[type, Callable[[], object]] = {}

    def lose(self, kind: type, *, persisted: bool) -> None:
        """Lose the next answer to a step of this kind."""
        self._lost[kind] = persisted

    def after(self, kind: type, act: Callable[[], object]) -> None:
        """Do something right after the next step of this kind, before its answer is seen."""
        self._after[kind] = act

    @property
    def queries(self) -> Queries:
        act, self.reading = self.reading, None
        if act is not None:
            act()
        return self._inner.queries

    @property
    def changes(self) -> Changes:
        return self._inner.changes

    def clock(self) -> Instant | None:
        return self._inner.clock()

    def submit(self, step: Step[A]) -> Future[StepAnswer[A]]:
        return self._meddle(step, self._inner.submit)

    def carry_out(self, step: Step[A]) -> Future[StepAnswer[A]]:
        return self._meddle(step, self._inner.carry_out)

    def _meddle(self, step: Step[A], hand_in: Callable[[Step[A]], Future[StepAnswer[A]]]) -> Future[StepAnswer[A]]:
        if self.is_fickle:
            fickle: Future[StepAnswer[A]] = Future()
            fickle.set_result(StepAnswer(Decision(), active_policy=self.queries.control().policy))
            return fickle
        persisted = self._lost.pop(type(step), None)
        if persisted is not None:
            if persisted:
                hand_in(step).result()
            failed: Future[StepAnswer[A]] = Future()
            failed.set_exception(StoreError("the disk is gone", maybe_persisted=persisted))
            return failed
        answer = hand_in(step)
        act = self._after.pop(type(step), None)
        if act is not None:
            answer.result()
            act()
        return answer

    def anchor_now(self) -> None:
        self._inner.anchor_now()

    def close(self) -> None:
        self._inner.close()
