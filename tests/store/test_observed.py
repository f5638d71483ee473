"""A store, its lane and its anchor with somebody who watches: what they do is the same, and every bit of it is told."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import CancelledError, Future
from contextlib import closing
from pathlib import Path

import pytest

from leasehold.decide.facts import Changes, Facts, Step, StepAnswer
from leasehold.decide.probe import Probe
from leasehold.errors import ConfigError, StoreError, UnavailableError
from leasehold.model.decision import Reason
from leasehold.model.instant import Instant
from leasehold.store.observed import Answered, ObservedAnchor, ObservedStore, Together
from leasehold.store.protocol import TreeHead
from leasehold.store.sqlite import SqliteSettings, open_sqlite
from leasehold.testing.clock import FrozenSystem
from leasehold.testing.store_steps import ScriptedStep, lane_held, spend
from meddling import MeddledStore

HEAD = TreeHead(epoch=1, size=7, root=b"r" * 32)


class Told:
    """Who watches, and all that was told."""

    def __init__(self) -> None:
        self.handed_in = 0
        self.answers: list[tuple[Step[object], StepAnswer[object] | Exception]] = []
        self.batches: list[int] = []
        self.heads: list[TreeHead | None] = []

    def submitted(self, step: Step[object]) -> Answered:
        self.handed_in += 1

        def answered(answer: StepAnswer[object] | Exception, seconds: float) -> None:
            assert seconds >= 0
            self.answers.append((step, answer))

        return answered

    def batch(self, steps: int, seconds: float) -> None:
        assert seconds > 0
        self.batches.append(steps)

    def anchored(self, head: TreeHead | None) -> None:
        self.heads.append(head)


def faulty(_: Facts, __: Instant) -> tuple[StepAnswer[object], Changes]:
    raise ValueError("a bug")


class Shelf:
    """An anchor that may be full, or unreadable."""

    def __init__(self) -> None:
        self.head: TreeHead | None = None
        self.is_full = False
        self.is_unreadable = False

    def read(self) -> TreeHead | None:
        if self.is_unreadable:
            raise ConfigError("damaged")
        return self.head

    def replace_if_larger(self, head: TreeHead) -> None:
        if self.is_full:
            raise ConfigError("no space")
        self.head = head


@pytest.fixture
def told() -> Told:
    return Told()


@pytest.fixture
def store(told: Told) -> Iterator[ObservedStore]:
    inner = open_sqlite(":memory:", clock=FrozenSystem(), issuer="issuer", settings=SqliteSettings(watcher=told))
    with closing(ObservedStore(inner, told)) as store:
        yield store


def test_each_step_is_told_of_with_its_answer_and_each_batch_with_its_size(told: Told, store: ObservedStore) -> None:
    first = store.submit(spend()).result()
    second = store.carry_out(spend()).result()
    assert (first.value, second.value) == (1, 2)
    assert told.handed_in == 2
    assert [answer for _, answer in told.answers] == [first, second]
    assert told.batches == [1, 1]
    assert store.queries.control().size == 2
    assert store.clock() is None


def test_steps_that_arrive_together_are_one_batch(told: Told, store: ObservedStore) -> None:
    with lane_held(store):
        waiting = [store.submit(spend()) for _ in range(5)]
    assert [each.result().value for each in waiting] == [1, 2, 3, 4, 5]
    assert told.batches == [1, 5]


def test_step_that_fails_and_store_that_is_closed_are_told_of(told: Told, store: ObservedStore) -> None:
    failed = store.submit(ScriptedStep([], faulty)).exception()
    store.close()
    with pytest.raises(UnavailableError):
        store.submit(spend()).result()
    assert isinstance(failed, ValueError)
    assert told.answers[0][1] is failed
    assert isinstance(told.answers[1][1], UnavailableError)
    assert told.handed_in == 2


def test_step_that_is_withdrawn_or_whose_thread_is_struck_is_told_of_as_such(told: Told) -> None:
    pending: Future[StepAnswer[int]] = Future()

    class Struck(MeddledStore):
        def submit(self, step: Step[object]) -> Future[StepAnswer[object]]:
            return pending

        def carry_out(self, step: Step[object]) -> Future[StepAnswer[object]]:
            raise KeyboardInterrupt

    with closing(open_sqlite(":memory:", clock=FrozenSystem(), issuer="issuer")) as inner:
        store = ObservedStore(Struck(inner), told)
        assert store.submit(spend()).cancel()
        with pytest.raises(KeyboardInterrupt):
            store.carry_out(spend())
    assert [type(answer) for _, answer in told.answers] == [CancelledError, CancelledError]


def test_batch_that_the_database_refuses_is_told_of_too(told: Told, tmp_path: Path) -> None:
    path, system = tmp_path / "leasehold.db", FrozenSystem()
    settings = SqliteSettings(watcher=told, busy_seconds=0.05)
    with (
        closing(open_sqlite(path, clock=system, issuer="issuer", settings=settings)) as store,
        closing(open_sqlite(path, clock=system, issuer="issuer")) as other,
        lane_held(other),
    ):
        assert isinstance(store.submit(spend()).exception(), UnavailableError)
    assert told.batches == [1]


def test_heads_that_are_kept_outside_are_told_of_and_those_that_are_not(told: Told) -> None:
    shelf = Shelf()
    anchor = ObservedAnchor(shelf, told)
    anchor.replace_if_larger(HEAD)
    shelf.is_full = True
    with pytest.raises(ConfigError):
        anchor.replace_if_larger(HEAD)
    assert told.heads == [HEAD, None]
    assert anchor.read() == HEAD
    shelf.is_unreadable = True
    with pytest.raises(ConfigError):
        anchor.read()
    assert told.heads == [HEAD, None, None]


def test_watched_store_keeps_its_head_outside_as_any_other(told: Told, tmp_path: Path) -> None:
    shelf = Shelf()
    inner = open_sqlite(tmp_path / "a.db", clock=FrozenSystem(), issuer="issuer", anchor=ObservedAnchor(shelf, told))
    store = ObservedStore(inner, told)
    store.submit(spend()).result()
    store.anchor_now()
    store.close()
    assert shelf.head is not None
    assert shelf.head.size == 1
    assert [head.size for head in told.heads if head is not None][-1] == 1


def test_probe_shows_that_the_lane_takes_steps_and_writes_nothing(store: ObservedStore) -> None:
    system = FrozenSystem()
    answer = store.submit(Probe()).result()
    assert answer.decision.is_allowed
    assert answer.value == system.now()
    assert store.queries.control().last_time_ms == 0


def test_probe_is_refused_while_the_clock_is_behind(tmp_path: Path) -> None:
    clock = FrozenSystem()
    with closing(open_sqlite(":memory:", clock=clock, issuer="issuer")) as store:
        store.submit(spend()).result()
        clock.jump(seconds=-60)
        assert store.submit(Probe()).result().decision.reason is Reason.CLOCK


def test_error_of_the_store_is_an_error_of_whoever_asked(told: Told, store: ObservedStore) -> None:
    inner = MeddledStore(store)
    watched = ObservedStore(inner, told)
    inner.lose(Probe, persisted=False)
    assert isinstance(watched.submit(Probe()).exception(), StoreError)
    assert isinstance(told.answers[-1][1], StoreError)


def test_several_who_watch_are_all_told(told: Told) -> None:
    other = Told()
    both = Together(told, other)
    settings = SqliteSettings(watcher=both)
    with closing(open_sqlite(":memory:", clock=FrozenSystem(), issuer="issuer", settings=settings)) as inner:
        ObservedStore(inner, both).submit(spend()).result()
    both.anchored(HEAD)
    for each in (told, other):
        assert (each.handed_in, len(each.answers), each.batches, each.heads) == (1, 1, [1], [HEAD])
