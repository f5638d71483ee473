"""What a thief, a confused guard or a clever agent may try at the door."""

from __future__ import annotations

import pytest

from leasehold.ledger.entry import EntryKind
from leasehold.model.decision import Reason
from leasehold.model.lease import HeldLease
from stage import CLOSE, UPDATE, Stage, reason_of


@pytest.fixture
def lease(stage: Stage) -> HeldLease:
    return stage.lease({**UPDATE, "ticket.tag": {"ticket": ["T-*"]}, "mail.send": {"ticket": ["T-*"]}})


@pytest.mark.invariant("I7")
@pytest.mark.case(72)
def test_an_admission_id_answers_only_the_very_call_it_was_made_for(stage: Stage, lease: HeldLease) -> None:
    admitted = stage.admit(lease, "ticket.update", key="a")
    again = {"admission_id": admitted.admission_id}
    assert stage.refusal(lease, "ticket.update", "T-2", key="a", **again) is Reason.CONFLICT
    assert stage.refusal(lease, "ticket.tag", key="a", **again) is Reason.CONFLICT
    assert stage.refusal(lease, "ticket.update", key="b", **again) is Reason.CONFLICT
    assert stage.refusal(stage.authority.renew(lease), "ticket.update", key="a", **again) is Reason.CONFLICT
    assert stage.refusal(stage.lease(), "ticket.update", key="a", **again) is Reason.CONFLICT
    assert stage.denials() == ["conflict"] * 5
    assert stage.admit(lease, "ticket.update", key="a", **again) == admitted


@pytest.mark.requirement("L9")
@pytest.mark.case(10)
def test_an_admission_is_not_answered_at_another_tools_door(stage: Stage, lease: HeldLease) -> None:
    admitted = stage.admit(lease, "ticket.update", key="a")
    call = stage.call("ticket.update", key="a", admission_id=admitted.admission_id)
    refused = reason_of(lambda: stage.door("mail").admit(lease.token_for("mail"), call))
    assert refused is Reason.WRONG_TOOL
    assert stage.entries(EntryKind.CALL_DENIED)[-1].reason == "wrong_tool"


@pytest.mark.requirement("L11")
def test_a_settled_admission_that_is_asked_for_again_is_refused_and_written_down(stage: Stage) -> None:
    lease = stage.lease(CLOSE | UPDATE)
    admitted = stage.admit(lease, "ticket.update", key="a")
    stage.settle(admitted)
    again = {"admission_id": admitted.admission_id}
    assert stage.refusal(lease, "ticket.update", key="a", **again) is Reason.ALREADY_SETTLED
    assert stage.denials() == ["already_settled"]
