"""Threads that run their own steps beside the lane's thread and the one that has the database rest."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import closing
from threading import Event
from typing import Any

import pytest
from sqlite_places import SqliteDatabase

from leasehold.decide.facts import Step, StepAnswer
from leasehold.errors import UnavailableError
from leasehold.store.lane import Backend, Lane
from leasehold.store.sqlite_connection import MEMORY
from leasehold.testing.clock import FrozenSystem
from leasehold.testing.store_steps import spend

MOMENT_SECONDS = 0.1


class SlowRest:
    """A backend whose checkpoint takes as long as a test says; counts what it ran."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend
        self.entered = Event()
        self.released = Event()
        self.inside: list[Future[Any]] = []
        self.lane: Lane | None = None
        self.runs = 0

    def run(self, steps: Sequence[Step[object]]) -> list[StepAnswer[object] | Exception]:
        self.runs += 1
        return self._backend.run(steps)

    def rest(self) -> None:
        if self.lane is not None:
            self.inside.append(self.lane.carry_out(spend()))
        self.entered.set()
        self.released.wait()
        self._backend.rest()


@pytest.fixture
def backend() -> Iterator[SlowRest]:
    with SqliteDatabase(MEMORY).backend(clock=FrozenSystem()) as bare:
        yield SlowRest(bare)


def test_who_ran_a_step_before_waits_while_the_database_rests_and_is_not_refused(backend: SlowRest) -> None:
    with closing(Lane(backend, lambda: None)) as lane, ThreadPoolExecutor(1) as caller, ThreadPoolExecutor(1) as other:
        assert caller.submit(lane.carry_out, spend()).result().result().value == 1
        resting = other.submit(lane.rest)
        backend.entered.wait()
        waiting = caller.submit(lane.carry_out, spend())
        wait([waiting], MOMENT_SECONDS)
        backend.released.set()
        assert waiting.result().result().value == 2
        resting.result()


def test_waiting_for_a_step_while_having_the_database_rest_is_refused_and_does_not_hang(backend: SlowRest) -> None:
    backend.released.set()
    with closing(Lane(backend, lambda: None)) as lane:
        backend.lane = lane
        lane.rest()
        assert "inside its own work" in str(backend.inside[0].exception(timeout=0))


def test_caller_whose_turn_comes_after_the_end_touches_nothing(
    backend: SlowRest, monkeypatch: pytest.MonkeyPatch
) -> None:
    work, found_rest, closed = Lane._work, Event(), Event()

    def late(lane: Lane, batch: list[Any]) -> None:
        found_rest.set()
        closed.wait()
        work(lane, batch)

    lane = Lane(backend, lambda: None)
    monkeypatch.setattr(Lane, "_work", late)
    with ThreadPoolExecutor(1) as caller:
        asked = caller.submit(lane.carry_out, spend())
        found_rest.wait()
        lane.close()
        closed.set()
        assert isinstance(asked.result().exception(), UnavailableError)
    assert backend.runs == 0
