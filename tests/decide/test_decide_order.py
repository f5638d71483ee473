"""Order within a run: what has to be done first, done counts once, and a failed or unknown call counts for nothing."""

from __future__ import annotations

import pytest

from leasehold.decide.rows import MilestoneRow
from leasehold.errors import Denied
from leasehold.model.call import OutcomeStatus
from leasehold.model.decision import Reason
from stage import GET, POLICY, UPDATE, Stage, changed

LOOK_FIRST = changed("run_ttl", 'after."ticket.update" = ["ticket.get"]\nrun_ttl')
BOTH = GET | UPDATE


def ordered() -> Stage:
    """A stage on which updates come after a look."""
    return Stage(LOOK_FIRST)


@pytest.fixture
def stage() -> Stage:
    return ordered()


def milestone(stage: Stage, run_id: str, action: str = "ticket.get") -> MilestoneRow | None:
    return stage.authority.engine.row(MilestoneRow, "acme", run_id, action)


@pytest.mark.requirement("F6")
def test_an_action_waits_for_a_done_call_of_what_comes_first(stage: Stage) -> None:
    lease = stage.lease(BOTH)
    with pytest.raises(Denied) as refused:
        stage.admit(lease, "ticket.update", key="a")
    decision = refused.value.decision
    assert (decision.reason, decision.rule) == (Reason.OUT_OF_ORDER, 'routes."desk".after."ticket.update"')
    assert decision.check == f"a call of ticket.get in {lease.lease.run_id} is done"
    stage.use(lease, "ticket.get", "T-2")
    stage.use(lease, "ticket.get")
    stage.use(lease, "ticket.update", key="a")
    assert stage.denials() == ["out_of_order"]


@pytest.mark.requirement("F6")
def test_a_call_in_flight_is_named_and_one_that_failed_or_got_lost_counts_for_nothing(stage: Stage) -> None:
    lease = stage.lease(BOTH)
    first = stage.admit(lease, "ticket.get")
    second = stage.admit(lease, "ticket.get")
    with pytest.raises(Denied) as refused:
        stage.admit(lease, "ticket.update", key="a")
    assert refused.value.decision.reason is Reason.PREREQUISITE_OPEN
    assert refused.value.decision.admission_id == second.admission_id
    stage.settle(second, OutcomeStatus.FAILED)
    with pytest.raises(Denied) as refused:
        stage.admit(lease, "ticket.update", key="a")
    assert refused.value.decision.admission_id == first.admission_id
    stage.pass_time(60)
    assert stage.refusal(lease, "ticket.update", key="a") is Reason.OUT_OF_ORDER
    stage.sweep()
    stage.settle(first, OutcomeStatus.DONE)  # late evidence
    assert stage.refusal(lease, "ticket.update", key="a") is Reason.OUT_OF_ORDER
    stage.settle(stage.admit(lease, "ticket.get"), OutcomeStatus.NOT_STARTED)
    assert stage.refusal(lease, "ticket.update", key="a") is Reason.OUT_OF_ORDER


@pytest.mark.requirement("F6")
def test_done_counts_for_the_whole_run_and_for_its_later_attempts_but_for_no_other_run(stage: Stage) -> None:
    run = stage.start()
    lease = stage.lease(BOTH, run=run)
    other = stage.admit(lease, "ticket.get")
    stage.use(lease, "ticket.get")
    stage.settle(other, OutcomeStatus.FAILED)
    retried = stage.authority.retry(run)
    stage.use(stage.lease(BOTH, run=retried), "ticket.update", key="a")
    assert stage.refusal(stage.lease(BOTH), "ticket.update", key="a") is Reason.OUT_OF_ORDER
    child = stage.child(stage.lease(BOTH, run=retried))
    assert stage.refusal(stage.lease(BOTH, run=child), "ticket.update", key="b") is Reason.OUT_OF_ORDER


@pytest.mark.requirement("F6", "P5")
def test_what_implies_an_action_comes_in_its_order_too(stage: Stage) -> None:
    lease = stage.lease(BOTH | {"ticket.bulk": {"ticket": ["T-*"]}})
    with pytest.raises(Denied) as refused:
        stage.admit(lease, "ticket.bulk", key="a", ticket_ids=["T-1"])
    assert refused.value.decision.reason is Reason.OUT_OF_ORDER
    assert refused.value.decision.rule == 'routes."desk".after."ticket.update"'


@pytest.mark.requirement("F6")
def test_a_rule_that_is_new_counts_from_when_it_is_active() -> None:
    stage = Stage(POLICY)
    lease = stage.lease(BOTH)
    stage.use(lease, "ticket.get")
    assert milestone(stage, lease.lease.run_id) is None
    stage.accept(LOOK_FIRST)
    assert stage.refusal(lease, "ticket.update", key="a") is Reason.OUT_OF_ORDER
    stage.use(lease, "ticket.get")
    stage.use(lease, "ticket.update", key="a")
    stage.accept(POLICY)
    stage.use(lease, "ticket.get")
    stage.close()


def test_a_call_that_was_admitted_under_a_rule_ends_well_without_it(stage: Stage) -> None:
    lease = stage.lease(BOTH)
    admitted = stage.admit(lease, "ticket.get")
    stage.accept(POLICY)
    stage.settle(admitted)
    stage.accept(LOOK_FIRST)
    stage.use(lease, "ticket.update", key="a")
    row = milestone(stage, lease.lease.run_id)
    assert row is not None
    assert (row.is_done, row.open) == (1, b"[]")


def test_only_the_newest_calls_in_flight_are_remembered(stage: Stage) -> None:
    lease = stage.lease(BOTH)
    admitted = [stage.admit(lease, "ticket.get") for _ in range(18)]
    row = milestone(stage, lease.lease.run_id)
    assert row is not None
    assert row.open.count(b"adm_") == 16
    stage.settle(admitted[0])
    stage.use(lease, "ticket.update", key="a")


@pytest.mark.requirement("F6")
def test_out_of_order_is_told_after_what_is_closed_and_before_what_the_caller_lacks() -> None:
    lunch = 'freeze = [{ from = 2026-05-06T12:01:00Z, until = 2026-05-06T12:02:00Z, reason = "lunch" }]\nrun_ttl'
    stage = Stage(changed("run_ttl", lunch, LOOK_FIRST))
    lease = stage.lease(BOTH)
    assert stage.refusal(lease, "ticket.update") is Reason.OUT_OF_ORDER
    stage.pass_time(60)
    assert stage.refusal(lease, "ticket.update") is Reason.FROZEN
    stage.pass_time(60)
    stage.use(lease, "ticket.get")
    assert stage.refusal(lease, "ticket.update") is Reason.KEY_NEEDED
    stage.close()
