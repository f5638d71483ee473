"""What every store must do for those who wait: for a step that they hand in, for a commit. Used like `store_suite`."""

# ruff: noqa: S101 - a suite of tests
from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from threading import Event, get_ident

import pytest

from leasehold.decide.facts import Changes, Facts, StepAnswer
from leasehold.errors import UnavailableError
from leasehold.model.decision import allow
from leasehold.model.instant import Instant
from leasehold.store.protocol import Store
from leasehold.testing.clock import FrozenSystem
from leasehold.testing.store_steps import Database, ScriptedStep, lane_held, spend
from leasehold.testing.store_suite import PATIENCE_SECONDS, settled

# callers that wait


def test_caller_that_waits_runs_its_step_itself_when_nothing_is_at_work(store: Store) -> None:
    workers: list[int] = []

    def script(_: Facts, __: Instant) -> tuple[StepAnswer[object], Changes]:
        workers.append(get_ident())
        return StepAnswer(allow()), Changes()

    first = store.carry_out(ScriptedStep([], script))
    assert first.done()
    store.submit(ScriptedStep([], script)).result()
    assert store.carry_out(ScriptedStep([], script)).done()
    assert [worker == get_ident() for worker in workers] == [True, False, True]


def test_caller_that_waits_stands_behind_what_came_before(store: Store) -> None:
    with lane_held(store):
        earlier = [store.submit(spend()) for _ in range(3)]
        waiting = store.carry_out(spend())
        assert not waiting.done()
    assert [future.result().value for future in (*earlier, waiting)] == [1, 2, 3, 4]


def test_waiting_for_a_step_inside_another_one_is_refused(store: Store) -> None:
    def script(_: Facts, __: Instant) -> tuple[StepAnswer[object], Changes]:
        return StepAnswer(allow(), store.carry_out(spend()).exception()), Changes()

    for run_step in (store.carry_out, store.submit):
        refusal = run_step(ScriptedStep([], script)).result().value
        assert isinstance(refusal, UnavailableError)
        assert "inside its own work" in str(refusal)
    assert store.carry_out(spend()).result().value == 1


def test_interrupt_of_a_caller_that_runs_its_step_leaves_the_store_whole(store: Store) -> None:
    def interrupted(_: Facts, __: Instant) -> tuple[StepAnswer[object], Changes]:
        raise KeyboardInterrupt

    store.carry_out(spend()).result()
    for number in range(2, 5):
        with pytest.raises(KeyboardInterrupt):
            store.carry_out(ScriptedStep([], interrupted))
        assert store.carry_out(spend()).result().value == number
    assert store.queries.control().size == 4


def test_closing_waits_for_a_caller_that_runs_its_step(database: Database, clock: FrozenSystem) -> None:
    store = database.open(clock=clock)
    entered, released = Event(), Event()

    def hold(_: Facts, __: Instant) -> tuple[StepAnswer[object], Changes]:
        entered.set()
        released.wait()
        return StepAnswer(allow(), "done"), Changes()

    with ThreadPoolExecutor(2) as pool:
        held = pool.submit(store.carry_out, ScriptedStep([], hold))
        entered.wait()
        closing_it = pool.submit(store.close)
        released.set()
        assert held.result().result().value == "done"
        closing_it.result()
    assert isinstance(store.carry_out(spend()).exception(), UnavailableError)


# waiting


def test_own_commit_wakes_who_waits_until_they_stop(store: Store) -> None:
    woken = Event()
    stop_waiting = store.changes.register(woken.set)
    store.submit(spend()).result()
    assert woken.wait(PATIENCE_SECONDS)
    stop_waiting()
    stop_waiting()


def test_commit_of_another_store_wakes_who_waits(database: Database, clock: FrozenSystem) -> None:
    if not database.survives:
        pytest.skip("nobody else can open this database")
    with closing(database.open(clock=clock)) as waiting, closing(database.open(clock=clock)) as other:
        seen = Event()

        def look() -> None:
            if settled(waiting) == 1:
                seen.set()

        waiting.changes.register(look)
        other.submit(spend()).result()
        assert seen.wait(PATIENCE_SECONDS)


def test_waiter_that_raises_is_woken_once_and_stops_nobody(store: Store, caplog: pytest.LogCaptureFixture) -> None:
    calls: list[str] = []

    def fail() -> None:
        calls.append("failed")
        raise RuntimeError("nobody is here")

    store.changes.register(fail)
    store.changes.register(lambda: calls.append("woken"))
    for number in range(3):
        assert store.submit(spend()).result().value == number + 1
    store.close()
    assert calls.count("failed") == 1
    assert calls.count("woken") >= 3
    assert "is not woken again" in caplog.text


def test_closing_wakes_who_waits(database: Database, clock: FrozenSystem) -> None:
    store = database.open(clock=clock)
    woken = Event()
    store.changes.register(woken.set)
    store.close()
    assert woken.is_set()
