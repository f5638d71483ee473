"""A sub-call stands under the call on whose behalf it is made, and under all that that is made for."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from leasehold.ledger.history import check_history
from leasehold.model.call import Admission, ParentCall
from leasehold.model.decision import Reason
from stage import Stage, changed, reason_of

GRANTS = {"ticket.notify": {"ticket": ["T-*"]}, "mail.send": {"ticket": ["T-*"]}}
SEND = '"mail.send"      = { effect = "write", args = { ticket = "ticket_id" }'
DEEP = changed(SEND, f'{SEND}, uses = ["mail.list"]')


def made_for(call: Admission) -> ParentCall:
    return ParentCall(admission_id=call.admission_id, allow=dict(call.sub_grants))


@pytest.mark.invariant("I1")
@pytest.mark.case(53, 63)
@pytest.mark.parametrize("scope", ["tool:ticket", "action:ticket.notify"])
def test_no_sub_call_starts_for_a_call_whose_tool_or_action_was_stopped(stage: Stage, scope: str) -> None:
    lease = stage.lease(GRANTS)
    admitted = stage.admit(lease, "ticket.notify", key="a")
    parent = ParentCall(admission_id=admitted.admission_id, allow=dict(admitted.sub_grants))
    assert stage.hold(scope) == (admitted.admission_id,)
    assert stage.refusal(lease, "mail.send", key="m", parent=parent) is Reason.HELD
    stage.lift(scope)
    made_for_it = stage.admit(lease, "mail.send", key="m", parent=parent)
    assert set(stage.revoke(scope)) == {admitted.admission_id, made_for_it.admission_id}
    assert stage.refusal(lease, "mail.send", key="n", parent=parent) is Reason.REVOKED
    stage.admit(lease, "mail.send", key="o")


@pytest.mark.invariant("I1")
@pytest.mark.case(53, 63)
@pytest.mark.parametrize("scope", ["tool:ticket", "action:ticket.notify"])
def test_nor_for_a_call_that_is_made_for_such_a_one(scope: str) -> None:
    stage = Stage(DEEP)
    lease = stage.lease({**GRANTS, "mail.list": {"folder": ["in/**"]}})
    notify = stage.admit(lease, "ticket.notify", key="a")
    send = stage.admit(lease, "mail.send", key="m", parent=made_for(notify))
    door = stage.door("mail")
    door.submit_check(send.admission_id).result()
    in_flight = {notify.admission_id, send.admission_id}
    assert set(stage.hold(scope)) == in_flight
    assert stage.refusal(lease, "mail.list", folder="in/x", parent=made_for(send)) is Reason.HELD
    assert reason_of(lambda: door.submit_check(send.admission_id).result()) is Reason.HELD
    stage.lift(scope)
    stage.settle(stage.admit(lease, "mail.list", folder="in/x", parent=made_for(send)), tool="mail")
    assert set(stage.revoke(scope)) == in_flight
    assert stage.refusal(lease, "mail.list", folder="in/x", parent=made_for(send)) is Reason.REVOKED
    entries = stage.entries()
    assert check_history(entries) == []
    silent = {"in_flight": (notify.admission_id,)}
    told = [replace(entry, detail=silent) if entry.scope == scope else entry for entry in entries]
    assert [found.invariant for found in check_history(told)] == ["I1", "I1"]
    stage.close()
