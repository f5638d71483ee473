"""A database that was put back from a backup, or a clock that was set back, revives nothing (invariant I8)."""

from __future__ import annotations

import pytest

from leasehold.model.decision import Reason
from stage import BEN, ERASE, EVA, UPDATE, Stage, reason_of

pytestmark = [pytest.mark.invariant("I8"), pytest.mark.case(62)]


def test_a_lease_of_an_earlier_epoch_opens_no_door(stage: Stage) -> None:
    lease = stage.lease()
    stage.desk.raise_epoch(by="op", reason="restored")
    assert stage.refusal(lease, "ticket.update", key="a") is Reason.STALE_EPOCH
    assert stage.denials() == ["stale_epoch"]


def test_no_lease_is_drawn_from_a_request_of_an_earlier_epoch(stage: Stage) -> None:
    request = stage.authority.request(stage.start(), UPDATE, reason="customer asked")
    lease = stage.authority.wait(request, 5)
    stage.desk.raise_epoch(by="op", reason="restored")
    assert reason_of(lambda: stage.authority.wait(request, 5)) is Reason.STALE_EPOCH
    assert reason_of(lambda: stage.authority.renew(lease)) is Reason.STALE_EPOCH


def test_a_run_of_an_earlier_epoch_asks_retries_and_delegates_no_more(stage: Stage) -> None:
    run = stage.start()
    lease = stage.lease(run=run)
    stage.desk.raise_epoch(by="op", reason="restored")
    assert reason_of(lambda: stage.authority.request(run, UPDATE, reason="again")) is Reason.STALE_EPOCH
    assert reason_of(lambda: stage.authority.retry(run)) is Reason.STALE_EPOCH
    assert reason_of(lambda: stage.child(lease)) is Reason.STALE_EPOCH
    assert stage.use(stage.lease(), "ticket.update", key="a").charged


def test_a_request_of_an_earlier_epoch_cannot_be_approved_any_more(stage: Stage) -> None:
    lease = stage.lease(ERASE)
    request = stage.ask(lease, "ticket.erase", key="a")
    stage.people.approve(request, BEN)
    stage.desk.raise_epoch(by="op", reason="restored")
    assert reason_of(lambda: stage.people.approve(request, EVA)) is Reason.STALE_EPOCH


@pytest.mark.requirement("L7")
@pytest.mark.case(47, 52)
def test_confirming_a_clock_that_went_back_voids_what_was_issued_under_the_later_time(stage: Stage) -> None:
    lease = stage.lease()
    stage.system.jump(seconds=-3600)
    assert stage.refusal(lease, "ticket.update", key="a") is Reason.CLOCK
    assert reason_of(stage.start) is Reason.CLOCK
    epoch = stage.desk.confirm_clock(by="op")
    assert epoch == 2
    assert stage.refusal(lease, "ticket.update", key="a") is Reason.BAD_TOKEN  # issued in the future, for all we know
    assert reason_of(lambda: stage.authority.renew(lease)) is Reason.STALE_EPOCH
    assert stage.use(stage.lease(), "ticket.update", key="a").charged
    stage.pass_time(3600)
    assert stage.refusal(lease, "ticket.update", key="a") is Reason.STALE_EPOCH
    assert stage.denials() == ["clock", "stale_epoch"]


def test_an_epoch_is_raised_at_least_to_what_stands_outside(stage: Stage) -> None:
    assert stage.desk.raise_epoch(by="op", reason="restored", at_least=7) == 7
    assert stage.desk.raise_epoch(by="op", reason="restored", at_least=3) == 8
