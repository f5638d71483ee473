"""The disk fails in the worst moment: what was asked for is not persisted, or it is and nobody hears of it.

Either way asking again under the same id must neither execute nor charge twice, and nothing starts unanswered.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest

from leasehold.decide.admit import Admit
from leasehold.decide.answer import AnswerRequest
from leasehold.decide.finish import FinishRun
from leasehold.decide.issue import DrawLease
from leasehold.decide.request import AskLease
from leasehold.decide.retry import Retry
from leasehold.decide.settle import Settle
from leasehold.decide.start import Start
from leasehold.decide.stop import Stop
from leasehold.errors import StoreError
from leasehold.ledger.entry import EntryKind
from leasehold.model.call import CallState, OutcomeStatus
from leasehold.model.decision import Reason
from stage import AUDIT, BEN, UPDATE, Stage, changed

pytestmark = [pytest.mark.case(68, 90), pytest.mark.invariant("I3", "I7")]

either_way = pytest.mark.parametrize("persisted", [False, True])


def _loses(stage: Stage, kind: type, persisted: bool, act: Callable[[], object]) -> None:
    """The answer to the next step of a kind is lost; the caller hears whether the change may stand."""
    stage.meddle().lose(kind, persisted=persisted)
    with pytest.raises(StoreError, match="disk") as error:
        act()
    assert error.value.maybe_persisted is persisted


@either_way
@pytest.mark.requirement("P14", "B8")
@pytest.mark.case(54, 72, 94)
def test_an_admission_that_was_lost_is_answered_to_the_same_id_and_charged_once(stage: Stage, persisted: bool) -> None:
    lease = stage.lease()
    name = {"admission_id": stage.door().new_admission_id()}
    _loses(stage, Admit, persisted, lambda: stage.admit(lease, "ticket.update", key="a", **name))
    assert len(stage.entries(EntryKind.CALL_ADMITTED)) == int(persisted)
    if persisted:
        assert stage.refusal(lease, "ticket.update", key="a") is Reason.IN_FLIGHT  # another try starts nothing
    admitted = stage.admit(lease, "ticket.update", key="a", **name)
    stage.settle(admitted)
    assert stage.spent(lease.lease.request_id) == (1_000_000, 0, 0)
    assert stage.refusal(lease, "ticket.update", key="a") is Reason.ALREADY_DONE
    assert len(stage.entries(EntryKind.CALL_ADMITTED)) == 1


@either_way
@pytest.mark.requirement("P11")
def test_an_admission_that_was_lost_uses_its_approval_once(stage: Stage, persisted: bool) -> None:
    lease = stage.lease(AUDIT)
    request = stage.ask(lease, "ticket.audit")
    stage.people.approve(request, BEN)
    name = {"admission_id": stage.door().new_admission_id()}
    _loses(stage, Admit, persisted, lambda: stage.admit(lease, "ticket.audit", **name))
    assert stage.admit(lease, "ticket.audit", **name).approval == request
    assert stage.ask(lease, "ticket.audit") != request


@either_way
@pytest.mark.invariant("L2")
@pytest.mark.case(71)
def test_an_admission_that_nobody_ever_heard_of_ends_as_unknown(stage: Stage, persisted: bool) -> None:
    lease = stage.lease()
    _loses(stage, Admit, persisted, lambda: stage.admit(lease, "ticket.update", key="a"))
    stage.pass_time(60)
    assert stage.sweep() == int(persisted)
    assert stage.spent(lease.lease.request_id) == (0, 0, 1_000_000 * persisted)


@either_way
@pytest.mark.parametrize("status", list(OutcomeStatus))
def test_an_outcome_that_was_lost_is_recorded_once(stage: Stage, persisted: bool, status: OutcomeStatus) -> None:
    lease = stage.lease()
    admitted = stage.admit(lease, "ticket.update", key="a")
    _loses(stage, Settle, persisted, lambda: stage.settle(admitted, status))
    assert stage.settle(admitted, status).state == CallState(status)
    charged = 0 if status is OutcomeStatus.NOT_STARTED else 1_000_000
    assert stage.spent(lease.lease.request_id) == (charged, 0, 0)
    assert len(stage.entries(EntryKind.CALL_SETTLED)) == 1


@either_way
def test_an_answer_that_was_lost_counts_once(stage: Stage, persisted: bool) -> None:
    stage.accept(changed('approvers = ["lead"]', 'approvers = ["lead"]\nquorum = 2'))
    lease = stage.lease(AUDIT)
    request = stage.ask(lease, "ticket.audit")
    _loses(stage, AnswerRequest, persisted, lambda: stage.people.approve(request, BEN))
    assert stage.people.approve(request, BEN).approvals_missing == 1
    assert len(stage.entries(EntryKind.REQUEST_ANSWERED)) == 1


@either_way
@pytest.mark.requirement("L6")
@pytest.mark.invariant("I1")
@pytest.mark.case(53)
def test_a_revoke_that_was_lost_is_made_again_and_names_what_is_in_flight(stage: Stage, persisted: bool) -> None:
    lease = stage.lease()
    admitted = stage.admit(lease, "ticket.update", key="a")
    _loses(stage, Stop, persisted, lambda: stage.revoke("tool:ticket"))
    if persisted:
        assert stage.refusal(lease, "ticket.update", key="b") is Reason.REVOKED
    assert stage.revoke("tool:ticket") == (admitted.admission_id,)
    assert stage.refusal(lease, "ticket.update", key="b") is Reason.REVOKED


@either_way
def test_a_start_a_request_a_draw_and_a_retry_that_were_lost_grant_nothing_twice(stage: Stage, persisted: bool) -> None:
    _loses(stage, Start, persisted, stage.start)
    run = stage.start()
    _loses(stage, AskLease, persisted, lambda: stage.authority.request(run, UPDATE, reason="x"))
    request = stage.authority.request(run, UPDATE, reason="x")
    _loses(stage, DrawLease, persisted, lambda: stage.authority.wait(request, 5))
    lease = stage.authority.wait(request, 5)
    stage.use(lease, "ticket.update", key="a")
    assert stage.spent(run.run_id) == (1_000_000, 0, 0)
    _loses(stage, Retry, persisted, lambda: stage.authority.retry(run))
    assert stage.authority.run(run.run_id).attempt == 1 + persisted


@either_way
@pytest.mark.requirement("B2")
def test_a_finish_that_was_lost_is_made_again(stage: Stage, persisted: bool) -> None:
    run = stage.start()
    lease = stage.lease(run=run)
    _loses(stage, FinishRun, persisted, lambda: stage.authority.finish(run))
    stage.authority.finish(run)
    assert stage.refusal(lease, "ticket.update", key="a") is Reason.COMPLETED
    assert len(stage.entries(EntryKind.RUN_FINISHED)) == 1
