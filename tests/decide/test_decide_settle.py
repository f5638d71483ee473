"""How an admitted call ends, and what that does to its charge, its key, its approval and its request."""

from __future__ import annotations

import pytest

from leasehold.errors import InvalidError, NotFoundError
from leasehold.ledger.entry import EntryKind
from leasehold.model.call import CallState, Outcome, OutcomeStatus
from leasehold.model.decision import Reason
from leasehold.model.request import RequestState
from stage import AUDIT, BEN, CLOSE, EVA, UPDATE, Stage, changed, reason_of

DONE, FAILED, NOT_STARTED = OutcomeStatus
PAY = {"ticket.pay": {"ticket": ["T-*"]}}


@pytest.mark.requirement("P19", "B10")
def test_an_outcome_is_written_down_with_all_that_was_touched(stage: Stage) -> None:
    lease = stage.lease()
    admitted = stage.admit(lease, "ticket.update", key="a")
    stage.settle(
        admitted,
        duration_micros=250_000,
        touched=("ticket:T-1",),
        files=("notes.txt",),
        contacted=("zendesk",),
        result_digest="sha256:" + "0" * 64,
    )
    entry = stage.entries(EntryKind.CALL_SETTLED)[0]
    assert (entry.outcome, entry.key, entry.tenant, entry.action) == ("done", "a", "acme", "ticket.update")
    assert entry.duration_micros == 250_000
    assert entry.cost == {"calls": 1_000_000, "tool_seconds": 250_000}
    assert entry.detail["touched"] == ("ticket:T-1",)
    assert entry.detail["files"] == ("notes.txt",)
    assert entry.detail["contacted"] == ("zendesk",)
    assert str(entry.detail["result_digest"]) != "sha256:" + "0" * 64  # keyed, so that nobody can guess results
    assert entry.arguments_digest == stage.entries(EntryKind.CALL_ADMITTED)[0].arguments_digest


@pytest.mark.parametrize("status", list(OutcomeStatus))
def test_reporting_the_same_outcome_again_answers_the_same_and_charges_once(
    stage: Stage, status: OutcomeStatus
) -> None:
    lease = stage.lease(PAY)
    admitted = stage.admit(lease, "ticket.pay", key="a")
    outcome = {"duration_micros": 5, "cost": {"usd": 500_000}}
    first = stage.settle(admitted, status, **outcome)
    assert stage.settle(admitted, status, **outcome) == first
    assert first.overrun == (() if status is NOT_STARTED else ("usd",))
    assert len(stage.entries(EntryKind.CALL_SETTLED)) == 1
    other = FAILED if status is not FAILED else DONE
    assert reason_of(lambda: stage.settle(admitted, other)) is Reason.ALREADY_SETTLED


@pytest.mark.requirement("L9")
def test_only_the_door_that_admitted_may_settle(stage: Stage) -> None:
    lease = stage.lease()
    admitted = stage.admit(lease, "ticket.update", key="a")
    assert reason_of(lambda: stage.settle(admitted, tool="mail")) is Reason.WRONG_TOOL
    staging = stage.authority.door("ticket", "staging")
    assert reason_of(lambda: staging.settle(admitted.admission_id, Outcome(status=DONE))) is Reason.WRONG_ENVIRONMENT
    assert stage.spent(lease.lease.request_id) == (0, 1_000_000, 0)
    with pytest.raises(NotFoundError):
        stage.door().settle(stage.door().new_admission_id(), Outcome(status=DONE))
    with pytest.raises(InvalidError):
        stage.door().settle("adm_1", Outcome(status=DONE))


@pytest.mark.requirement("B8")
@pytest.mark.case(68, 71)
def test_a_call_that_never_started_gives_everything_back(stage: Stage) -> None:
    lease = stage.lease(CLOSE | PAY)
    request = stage.ask(lease, "ticket.close", key="a")
    stage.people.approve(request, BEN)
    admitted = stage.admit(lease, "ticket.close", key="a")
    assert admitted.approval == request
    stage.settle(admitted, NOT_STARTED)
    assert stage.authority.runs.request_state(stage.authority.find_request(request)) is RequestState.APPROVED
    assert stage.spent(lease.lease.request_id) == (0, 0, 0)
    assert stage.spent(lease.lease.run_id) == (0, 0, 0)
    assert stage.admit(lease, "ticket.close", key="a").approval == request


@pytest.mark.requirement("B8")
@pytest.mark.case(68, 69)
def test_what_was_reserved_and_not_reported_is_charged_as_reserved(stage: Stage) -> None:
    lease = stage.lease(PAY)
    assert stage.use(lease, "ticket.pay", key="a").charged == {"calls": 1_000_000, "tool_seconds": 0, "usd": 400_000}
    admitted = stage.admit(lease, "ticket.pay", key="b")
    settled = stage.settle(admitted, FAILED, cost={"usd": 100_000}, duration_micros=2_000_000)
    assert settled.charged == {"calls": 1_000_000, "tool_seconds": 2_000_000, "usd": 100_000}
    assert stage.spent(lease.lease.run_id, "usd") == (500_000, 0, 0)


@pytest.mark.requirement("B8")
@pytest.mark.invariant("I2")
@pytest.mark.case(69)
def test_an_overrun_is_debited_in_full_alarms_and_ends_the_request(stage: Stage) -> None:
    lease = stage.lease(PAY)
    other = stage.admit(lease, "ticket.pay", "T-2", key="b")
    settled = stage.settle(stage.admit(lease, "ticket.pay", key="a"), cost={"usd": 900_000})
    assert settled.overrun == ("usd",)
    assert stage.spent(lease.lease.request_id, "usd") == (900_000, 400_000, 0)
    entry = stage.entries(EntryKind.CALL_SETTLED)[0]
    assert (entry.detail["alarm"], entry.detail["overrun"]) == ("overrun", ("usd",))
    assert stage.refusal(lease, "ticket.pay", "T-3", key="c") is Reason.COMPLETED
    assert reason_of(lambda: stage.authority.renew(lease)) is Reason.COMPLETED
    assert stage.settle(other).overrun == ()


@pytest.mark.case(69)
def test_spending_what_was_never_declared_is_an_overrun(stage: Stage) -> None:
    lease = stage.lease()
    settled = stage.settle(stage.admit(lease, "ticket.update", key="a"), cost={"tokens": 5})
    assert settled.overrun == ("tokens",)
    assert stage.refusal(lease, "ticket.update", key="b") is Reason.COMPLETED


@pytest.mark.case(69)
def test_costs_and_durations_are_never_negative(stage: Stage) -> None:
    admitted = stage.admit(stage.lease(PAY), "ticket.pay", key="a")
    for bad in ({"cost": {"usd": -1}}, {"duration_micros": -1}):
        with pytest.raises(InvalidError, match="is 0 to"):
            stage.settle(admitted, **bad)


@pytest.mark.requirement("B8")
@pytest.mark.invariant("L2")
@pytest.mark.case(68, 71, 95)
def test_a_call_that_nobody_settles_is_unknown_keeps_its_charge_and_takes_late_evidence(stage: Stage) -> None:
    lease = stage.lease(PAY)
    admitted = stage.admit(lease, "ticket.pay", key="a")
    finish_by = stage.entries(EntryKind.CALL_ADMITTED)[0].detail["finish_by"]
    assert finish_by == admitted.finish_by == stage.system.now().seconds + 5 + 10 + 2
    stage.pass_time(16)
    assert stage.sweep() == 0
    stage.pass_time(1)
    assert stage.sweep() == 1
    assert stage.entries(EntryKind.CALL_UNKNOWN)[0].outcome == "unknown"
    assert stage.spent(lease.lease.request_id, "usd") == (0, 0, 400_000)
    late = stage.settle(admitted, NOT_STARTED)
    assert (late.state, late.late) == (CallState.UNKNOWN, True)
    assert stage.spent(lease.lease.request_id, "usd") == (0, 0, 400_000)
    assert stage.entries(EntryKind.CALL_LATE)[0].outcome == "not_started"


@pytest.mark.invariant("I8")
@pytest.mark.case(68, 73)
def test_a_guard_that_comes_back_late_is_heard_once(stage: Stage) -> None:
    lease = stage.lease(PAY)
    admitted = stage.admit(lease, "ticket.pay", key="a")
    stage.pass_time(17)
    stage.sweep()
    first = stage.settle(admitted, FAILED, cost={"usd": 900_000}, touched=("ledger of payments",))
    size = len(stage.entries())
    for _ in range(3):
        assert stage.settle(admitted, FAILED, touched=("nothing at all",)) == first
        assert reason_of(lambda: stage.settle(admitted, DONE)) is Reason.ALREADY_SETTLED
        assert reason_of(lambda: stage.settle(admitted, NOT_STARTED)) is Reason.ALREADY_SETTLED
    assert len(stage.entries()) == size
    assert stage.entries(EntryKind.CALL_LATE)[0].detail["touched"] == ("ledger of payments",)


def test_a_call_settled_in_time_is_not_written_off(stage: Stage) -> None:
    lease = stage.lease(PAY)
    stage.use(lease, "ticket.pay", key="a")
    stage.pass_time(60)
    stage.sweep()
    assert stage.entries(EntryKind.CALL_UNKNOWN) == []


# Ending events


def _closing(stage: Stage) -> tuple:
    lease = stage.lease(CLOSE | UPDATE)
    request = stage.ask(lease, "ticket.close", key="a")
    stage.people.approve(request, BEN)
    return lease, stage.admit(lease, "ticket.close", key="a")


@pytest.mark.requirement("B2")
def test_the_ending_action_blocks_its_request_and_its_success_completes_it(stage: Stage) -> None:
    lease, admitted = _closing(stage)
    assert stage.refusal(lease, "ticket.update", key="b") is Reason.ENDING
    assert reason_of(lambda: stage.authority.renew(lease)) is Reason.ENDING
    assert reason_of(lambda: stage.child(lease)) is Reason.ENDING
    stage.settle(admitted)
    assert stage.refusal(lease, "ticket.update", key="b") is Reason.COMPLETED
    assert reason_of(lambda: stage.authority.renew(lease)) is Reason.COMPLETED
    stage.pass_time(300)
    stage.sweep()
    assert stage.entries(EntryKind.LEASE_ENDED)[0].outcome == "completed"


@pytest.mark.requirement("B2")
@pytest.mark.parametrize(("status", "outcome"), [(NOT_STARTED, {}), (FAILED, {"no_effect": True})])
def test_an_ending_action_that_changed_nothing_reopens_its_request(
    stage: Stage, status: OutcomeStatus, outcome: dict[str, object]
) -> None:
    lease, admitted = _closing(stage)
    stage.settle(admitted, status, **outcome)
    stage.use(lease, "ticket.update", key="b")
    stage.authority.renew(lease)


@pytest.mark.requirement("B2")
def test_an_ending_action_that_failed_with_who_knows_what_effect_completes_its_request(stage: Stage) -> None:
    lease, admitted = _closing(stage)
    stage.settle(admitted, FAILED, error="boom")
    assert stage.refusal(lease, "ticket.update", key="b") is Reason.COMPLETED
    assert stage.entries(EntryKind.CALL_SETTLED)[0].detail["error"] == "boom"


@pytest.mark.requirement("B2")
def test_an_ending_action_of_unknown_outcome_completes_its_request(stage: Stage) -> None:
    lease, _ = _closing(stage)
    stage.pass_time(60)
    stage.sweep()
    assert stage.refusal(lease, "ticket.update", key="b") is Reason.COMPLETED


@pytest.mark.requirement("B2")
def test_other_requests_of_the_run_go_on_after_an_ending_event(stage: Stage) -> None:
    run = stage.start()
    other = stage.lease(run=run)
    lease = stage.lease(CLOSE, run=run)
    stage.people.approve(stage.ask(lease, "ticket.close", key="a"), BEN)
    stage.use(lease, "ticket.close", key="a")
    stage.use(other, "ticket.update", key="b")


@pytest.mark.requirement("B2", "P5")
def test_an_action_that_implies_the_ending_one_ends_the_request_too() -> None:
    text = changed('ends_on = ["ticket.close"]', 'ends_on = ["ticket.update"]')
    stage = Stage(text)
    lease = stage.lease({"ticket.bulk": {"ticket": ["T-*"]}, **UPDATE})
    admitted = stage.admit(lease, "ticket.bulk", key="a", ticket_ids=["T-1", "T-2"])
    assert stage.refusal(lease, "ticket.update", key="b") is Reason.ENDING
    stage.settle(admitted)
    assert stage.refusal(lease, "ticket.update", key="b") is Reason.COMPLETED
    stage.close()


@pytest.mark.requirement("B2", "B9")
def test_an_ending_action_inside_a_child_ends_the_requests_above_it(stage: Stage) -> None:
    parent = stage.lease(CLOSE | UPDATE)
    child = stage.lease(CLOSE | UPDATE, run=stage.child(parent))
    request = stage.ask(child, "ticket.close", key="a")
    stage.people.approve(request, EVA)
    admitted = stage.admit(child, "ticket.close", key="a")
    assert admitted.ending == (parent.lease.request_id, child.lease.request_id)
    assert stage.refusal(parent, "ticket.update", key="b") is Reason.ENDING
    assert stage.refusal(child, "ticket.update", key="b") is Reason.ENDING
    stage.settle(admitted)
    assert stage.refusal(parent, "ticket.update", key="b") is Reason.COMPLETED


# Approvals are used once


@pytest.mark.requirement("P11", "F1")
@pytest.mark.invariant("I4")
@pytest.mark.case(76)
def test_an_approval_serves_one_call(stage: Stage) -> None:
    lease = stage.lease(AUDIT)
    first = stage.ask(lease, "ticket.audit")
    assert stage.ask(lease, "ticket.audit") == first
    stage.people.approve(first, BEN)
    admitted = stage.admit(lease, "ticket.audit")
    assert (admitted.approval, admitted.approved_by) == (first, (BEN,))
    second = stage.ask(lease, "ticket.audit")
    assert second != first
    stage.people.approve(second, EVA)
    assert stage.admit(lease, "ticket.audit").approved_by == (EVA,)
