"""Step 0 of admit: the same key never executes twice (invariant I7, requirement P14)."""

from __future__ import annotations

import pytest

from leasehold.ledger.entry import EntryKind
from leasehold.model.call import OutcomeStatus
from leasehold.model.decision import Reason
from stage import CLOSE, UPDATE, Stage

pytestmark = [pytest.mark.requirement("P14"), pytest.mark.invariant("I7"), pytest.mark.case(72)]

DONE, FAILED, NOT_STARTED = OutcomeStatus


def test_a_key_names_one_change_with_one_set_of_arguments(stage: Stage) -> None:
    lease = stage.lease()
    stage.use(lease, "ticket.update", key="a")
    assert stage.refusal(lease, "ticket.update", "T-2", key="a") is Reason.CONFLICT
    stage.use(lease, "ticket.update", "T-2", key="b")


def test_a_write_without_a_key_is_refused_and_a_read_needs_none(stage: Stage) -> None:
    lease = stage.lease({**UPDATE, "ticket.get": {"ticket": ["T-*"]}})
    assert stage.refusal(lease, "ticket.update") is Reason.KEY_NEEDED
    for _ in range(2):
        stage.use(lease, "ticket.get", key="same")


def test_a_call_under_way_is_not_started_a_second_time(stage: Stage) -> None:
    lease = stage.lease()
    admitted = stage.admit(lease, "ticket.update", key="a")
    assert stage.refusal(lease, "ticket.update", key="a") is Reason.IN_FLIGHT
    assert stage.refusal(lease, "ticket.update", "T-2", key="a") is Reason.CONFLICT
    stage.settle(admitted)
    assert stage.refusal(lease, "ticket.update", key="a") is Reason.ALREADY_DONE


@pytest.mark.parametrize("status", [DONE, FAILED])
def test_what_was_carried_out_is_answered_as_done_even_after_the_lease_ended(
    stage: Stage, status: OutcomeStatus
) -> None:
    run = stage.start()
    lease = stage.lease(run=run)
    stage.settle(stage.admit(lease, "ticket.update", key="a"), status)
    stage.pass_time(300)
    assert stage.refusal(lease, "ticket.update", key="a") is Reason.ALREADY_DONE
    stage.authority.runs.end(run.run, "done")
    assert stage.refusal(lease, "ticket.update", key="a") is Reason.ALREADY_DONE
    assert stage.refusal(lease, "ticket.update", key="b") is Reason.COMPLETED


@pytest.mark.case(68)
def test_a_call_that_nobody_settled_is_not_tried_again(stage: Stage) -> None:
    lease = stage.lease()
    stage.admit(lease, "ticket.update", key="a")
    stage.pass_time(60)
    stage.sweep()
    assert stage.refusal(lease, "ticket.update", key="a") is Reason.OUTCOME_UNKNOWN
    assert stage.spent(lease.lease.request_id) == (0, 0, 1_000_000)


def test_a_call_that_never_started_frees_its_key_for_anything(stage: Stage) -> None:
    lease = stage.lease()
    stage.settle(stage.admit(lease, "ticket.update", key="a"), NOT_STARTED)
    stage.settle(stage.admit(lease, "ticket.update", key="a"), NOT_STARTED)
    stage.use(lease, "ticket.update", "T-2", key="a")
    assert stage.refusal(lease, "ticket.update", "T-1", key="a") is Reason.CONFLICT
    assert stage.spent(lease.lease.request_id) == (1_000_000, 0, 0)


def test_an_idempotent_action_runs_again_after_failure_or_doubt_and_never_after_success(stage: Stage) -> None:
    lease = stage.lease({"ticket.tag": {"ticket": ["T-*"]}})
    lost = stage.admit(lease, "ticket.tag", key="a")
    assert stage.refusal(lease, "ticket.tag", key="a") is Reason.IN_FLIGHT
    stage.pass_time(60)
    stage.sweep()
    stage.settle(stage.admit(lease, "ticket.tag", key="a"), FAILED)
    again = stage.admit(lease, "ticket.tag", key="a")
    late = stage.settle(lost)
    assert late.late
    assert stage.refusal(lease, "ticket.tag", key="a") is Reason.IN_FLIGHT  # late evidence is about the other try
    stage.settle(again)
    assert stage.refusal(lease, "ticket.tag", key="a") is Reason.ALREADY_DONE
    assert stage.refusal(lease, "ticket.tag", "T-2", key="a") is Reason.CONFLICT


def test_the_actions_own_rule_makes_the_key_and_a_given_one_is_ignored(stage: Stage) -> None:
    lease = stage.lease({"ticket.merge": {"ticket": ["T-*"]}})
    admitted = stage.admit(lease, "ticket.merge", key="mine")
    assert admitted.key == '{"ticket":["T-1"]}'
    stage.settle(admitted)
    assert stage.refusal(lease, "ticket.merge", key="other") is Reason.ALREADY_DONE
    stage.use(lease, "ticket.merge", "T-2", key="mine")


def test_keys_of_different_actions_and_runs_are_different_keys(stage: Stage) -> None:
    lease = stage.lease({**UPDATE, "ticket.tag": {"ticket": ["T-*"]}})
    stage.use(lease, "ticket.update", key="a")
    stage.use(lease, "ticket.tag", key="a")
    stage.use(stage.lease(), "ticket.update", key="a")
    assert [entry.key for entry in stage.entries(EntryKind.CALL_ADMITTED)] == ["a", "a", "a"]


def test_a_resent_admission_id_answers_the_same_admission_and_charges_once(stage: Stage) -> None:
    lease = stage.lease()
    admitted = stage.admit(lease, "ticket.update", key="a")
    assert stage.admit(lease, "ticket.update", key="a", admission_id=admitted.admission_id) == admitted
    assert stage.spent(lease.lease.request_id) == (0, 1_000_000, 0)
    stage.settle(admitted)
    assert stage.spent(lease.lease.request_id) == (1_000_000, 0, 0)


def test_a_resent_admission_is_answered_although_the_lease_has_ended_meanwhile(stage: Stage) -> None:
    lease = stage.lease()
    admitted = stage.admit(lease, "ticket.update", key="a")
    stage.revoke(f"lease:{lease.lease.lease_id}")
    assert stage.admit(lease, "ticket.update", key="a", admission_id=admitted.admission_id) == admitted


@pytest.mark.requirement("P11")
def test_a_key_used_up_is_told_before_people_are_asked_again(stage: Stage) -> None:
    lease = stage.lease(CLOSE)
    request = stage.ask(lease, "ticket.close", key="a")
    stage.people.approve(request, "user:ben")
    stage.settle(stage.admit(lease, "ticket.close", key="a"), FAILED, no_effect=True)
    assert stage.refusal(lease, "ticket.close", key="a") is Reason.ALREADY_DONE
