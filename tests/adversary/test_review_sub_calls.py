"""A sub-call stands under the call on whose behalf it is made."""

from __future__ import annotations

import pytest

from leasehold.model.call import ParentCall
from leasehold.model.decision import Reason
from stage import Stage

GRANTS = {"ticket.notify": {"ticket": ["T-*"]}, "mail.send": {"ticket": ["T-*"]}}


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
    stage.admit(lease, "mail.send", key="m", parent=parent)
    assert len(stage.revoke(scope)) == 1
    assert stage.refusal(lease, "mail.send", key="n", parent=parent) is Reason.REVOKED
    stage.admit(lease, "mail.send", key="o")
