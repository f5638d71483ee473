"""Waiting for people: a notification, from this process or another one, never a poll and never a parked thread."""

from __future__ import annotations

import threading
from concurrent.futures import Future, ThreadPoolExecutor, wait
from pathlib import Path

import pytest

from leasehold.assemble import open_authority
from leasehold.authority.waiting import Waiters
from leasehold.errors import UnavailableError
from leasehold.ledger.entry import EntryKind
from leasehold.model.decision import Reason
from leasehold.model.lease import HeldLease
from leasehold.model.request import Request
from leasehold.store.changes import CommitWatch
from leasehold.testing.clock import FrozenSystem
from stage import AUDIT, BEN, CLOSE, POLICY, Stage, reason_of

pytestmark = pytest.mark.requirement("P9", "F1")

LEASE = {"ticket.close": {"ticket": ["T-1"]}}


def _asked(stage: Stage) -> Request:
    return stage.authority.request(stage.start(), LEASE, reason="fixed")


def test_a_waiter_gets_its_lease_as_soon_as_somebody_approves(stage: Stage) -> None:
    request = _asked(stage)
    waiting = stage.authority.runs.submit_wait(request)
    assert not waiting.done()
    stage.people.approve(request, BEN)
    assert waiting.result(5).lease.approved_by == (BEN,)


def test_many_wait_and_each_hears_of_its_own(stage: Stage) -> None:
    requests = [_asked(stage) for _ in range(8)]
    waiting = [stage.authority.runs.submit_wait(request) for request in requests]
    for number, request in enumerate(requests):
        (stage.people.approve if number % 2 else stage.people.deny)(request, BEN)
    for number, future in enumerate(waiting):
        if number % 2:
            assert future.result(5).lease.request_id == requests[number].request_id
        else:
            assert reason_of(lambda future=future: future.result(5)) is Reason.APPROVAL_DENIED


def test_a_thread_that_waits_is_woken_by_another_thread(stage: Stage) -> None:
    request = _asked(stage)
    got: list[HeldLease] = []
    thread = threading.Thread(target=lambda: got.append(stage.authority.wait(request, 30)))
    thread.start()
    stage.people.approve(request, BEN)
    thread.join(30)
    assert got[0].lease.request_id == request.request_id


def test_waiting_on_a_call_request_gives_a_lease_of_the_lease_request_behind_it(stage: Stage) -> None:
    lease = stage.lease(AUDIT)
    request = stage.ask(lease, "ticket.audit")
    waiting = stage.authority.runs.submit_wait(request)
    stage.people.approve(request, BEN)
    drawn = waiting.result(5)
    assert drawn.lease.request_id == lease.lease.request_id
    assert stage.admit(drawn, "ticket.audit").approval == request


def test_who_waits_hears_when_the_lease_behind_a_call_is_gone(stage: Stage) -> None:
    lease = stage.lease(AUDIT | CLOSE)
    request = stage.ask(lease, "ticket.audit")
    waiting = stage.authority.runs.submit_wait(request)
    stage.people.approve(stage.ask(lease, "ticket.close", key="c"), BEN)
    stage.use(lease, "ticket.close", key="c")
    stage.people.approve(request, BEN)
    assert reason_of(lambda: waiting.result(5)) is Reason.COMPLETED


def test_who_gave_up_waiting_draws_nothing(stage: Stage) -> None:
    request = _asked(stage)
    for _ in range(3):
        with pytest.raises(TimeoutError):
            stage.authority.wait(request, 0.001)
    cancelled = stage.authority.runs.submit_wait(request)
    assert cancelled.cancel()
    waiting = stage.authority.runs.submit_wait(request)
    stage.people.approve(request, BEN)
    waiting.result(5)
    assert len(stage.entries(EntryKind.LEASE_ISSUED)) == 1


def test_who_gives_up_in_the_very_moment_of_the_answer_draws_nothing(stage: Stage) -> None:
    request = _asked(stage)
    stage.people.approve(request, BEN)
    waiting: list[Future[HeldLease]] = []
    is_waiting, gave_up = threading.Event(), threading.Event()

    def give_up() -> None:
        is_waiting.wait(10)
        waiting[0].cancel()
        gave_up.set()

    store = stage.meddle()
    store.reading = give_up
    waiting.append(stage.authority.runs.submit_wait(request))
    is_waiting.set()
    assert gave_up.wait(10)
    assert stage.authority.wait(request, 5).lease.request_id == request.request_id
    assert len(stage.entries(EntryKind.LEASE_ISSUED)) == 1


def test_who_waits_when_the_run_finishes_hears_that_nothing_will_come(stage: Stage) -> None:
    request = _asked(stage)
    waiting = stage.authority.runs.submit_wait(request)
    stage.authority.runs.end(stage.authority.run(request.run_id).run, "done")
    assert reason_of(lambda: waiting.result(5)) is Reason.NOT_PENDING


def test_who_still_waits_when_the_authority_closes_hears_that_it_is_closed() -> None:
    stage = Stage()
    request = _asked(stage)
    waiting = stage.authority.runs.submit_wait(request)
    stage.close()
    with pytest.raises(UnavailableError, match="closed"):
        waiting.result(5)
    with pytest.raises(UnavailableError, match="closed"):
        stage.authority.runs.submit_wait(request).result(5)


def test_an_answer_given_in_another_process_wakes_the_waiter(tmp_path: Path) -> None:
    """Two authorities over one file: what one commits, the other hears through the database alone."""
    file = tmp_path / "leasehold.toml"
    file.write_text(POLICY)
    system = FrozenSystem()
    with (
        open_authority(file, state=tmp_path / "state", system=system, sweep=False) as one,
        open_authority(file, state=tmp_path / "state", system=FrozenSystem(seed=2), sweep=False) as two,
    ):
        here, there = Stage(authority=one, system=system), Stage(authority=two, system=system)
        request = _asked(here)
        waiting = here.authority.runs.submit_wait(request)
        there.people.approve(request.request_id, BEN)
        assert waiting.result(30).lease.approved_by == (BEN,)


def test_looks_are_repeated_after_commits_until_they_are_done() -> None:
    changes = CommitWatch(None, pause_seconds=1)
    waiters = Waiters(changes, lambda: 0)
    looked, first = Future[None](), Future[None]()
    answers = iter([False, True])

    def look() -> bool:
        is_done = next(answers)
        (looked if is_done else first).set_result(None)
        return is_done

    waiters.add(look)
    first.result(10)
    changes.wake_all()
    looked.result(10)
    changes.wake_all()
    assert next(answers, "nobody asked again") == "nobody asked again"
    waiters.close()
    waiters.close()  # twice is harmless
    changes.close()


def test_nothing_waits_and_nothing_runs_where_nobody_asked() -> None:
    changes = CommitWatch(None, pause_seconds=1)
    running = threading.active_count()
    waiters = Waiters(changes, lambda: 0)
    assert threading.active_count() == running
    waiters.close()
    assert threading.active_count() == running


def test_sixty_four_threads_wait_without_a_poll(stage: Stage) -> None:
    request = _asked(stage)
    with ThreadPoolExecutor(64) as pool:
        waiting = [pool.submit(stage.authority.wait, request, 60) for _ in range(64)]
        stage.people.approve(request, BEN)
        assert wait(waiting, 60).not_done == set()
    assert len({future.result().lease.lease_id for future in waiting}) == 64
