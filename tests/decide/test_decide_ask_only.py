"""Asking about a call without making it: whoever only asks never holds an admission."""

from __future__ import annotations

import pytest

from leasehold.decide.ask_only import AskOnly
from leasehold.ledger.entry import EntryKind
from leasehold.model.decision import Reason
from leasehold.model.request import Verdict
from stage import AUDIT, BEN, GET, Stage, reason_of


@pytest.mark.invariant("I4")
def test_a_call_that_needs_nobody_or_was_approved_is_not_admitted_by_asking(stage: Stage) -> None:
    lease = stage.lease(GET | AUDIT)
    chain = stage.authority.engine.chain("acme", lease.lease.lease_id)
    door, before = stage.door(), len(stage.entries())
    assert reason_of(lambda: door.ask_only(chain, stage.call("ticket.get"))) is Reason.NOT_PENDING
    assert len(stage.entries()) == before
    request_id = door.ask_only(chain, stage.call("ticket.audit"))
    assert door.ask_only(chain, stage.call("ticket.audit")) == request_id
    request = stage.authority.find_request(request_id)
    stage.desk.answer(request, Verdict.APPROVE, stage.people.signatory(BEN))
    assert reason_of(lambda: door.ask_only(chain, stage.call("ticket.audit"))) is Reason.NOT_PENDING
    assert stage.entries(EntryKind.CALL_ADMITTED) == []
    assert stage.admit(lease, "ticket.audit").approval == request_id


def test_what_the_policy_refuses_is_refused_to_who_only_asks(stage: Stage) -> None:
    lease = stage.lease(AUDIT)
    chain = stage.authority.engine.chain("acme", lease.lease.lease_id)
    assert reason_of(lambda: stage.door().ask_only(chain, stage.call("ticket.get"))) is Reason.NOT_GRANTED
    for door, reason in (
        (stage.door("mail"), Reason.WRONG_TOOL),
        (stage.door("ticket", "x"), Reason.WRONG_ENVIRONMENT),
    ):
        assert reason_of(lambda door=door: door.ask_only(chain, stage.call("ticket.audit"))) is reason
        assert door.rehearse(chain, stage.call("ticket.audit")).decision.reason is reason


@pytest.mark.invariant("I1")
def test_a_rehearsal_says_what_admit_says_before_and_after_a_revoke(stage: Stage) -> None:
    lease = stage.lease(GET)
    chain = stage.authority.engine.chain("acme", lease.lease.lease_id)
    rehearsed = stage.door().rehearse(chain, stage.call("ticket.get"))
    assert rehearsed.decision.is_allowed
    assert stage.authority.engine.store.queries.open_calls(["acme"]) == ()
    stage.revoke(f"lease:{lease.lease.lease_id}")
    assert stage.door().rehearse(chain, stage.call("ticket.get")).decision.reason is Reason.REVOKED
    assert stage.refusal(lease, "ticket.get") is Reason.REVOKED


def test_without_the_guard_asking_would_admit(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(AskOnly, "decide", lambda step, facts, now: step.admit.decide(facts, now))
    with pytest.raises(AssertionError, match="not refused"):
        test_a_call_that_needs_nobody_or_was_approved_is_not_admitted_by_asking(stage)
