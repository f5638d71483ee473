"""A call with very many values is refused or accounted for; it never costs a run its receipt."""

from __future__ import annotations

import pytest

from leasehold.model.decision import Reason
from stage import BEN, Stage, changed

BY_CALL = changed('approve."ticket.bulk"   = "none"', 'approve."ticket.bulk"   = "call"')
BULK = {"ticket.bulk": {"ticket": ["T-*"]}}


@pytest.mark.invariant("L3")
@pytest.mark.case(17)
@pytest.mark.parametrize("text", [None, BY_CALL])
def test_a_call_with_more_values_than_a_grant_may_list_is_refused(text: str | None) -> None:
    stage = Stage(text) if text else Stage()
    run = stage.start()
    lease = stage.lease(BULK, run=run)
    names = [f"T-{number}" for number in range(257)]
    assert stage.refusal(lease, "ticket.bulk", key="a", ticket_ids=names) is Reason.BAD_ATTRIBUTE
    if text:
        stage.people.approve(stage.ask(lease, "ticket.bulk", key="b", ticket_ids=names[:256]), BEN)
    stage.settle(stage.admit(lease, "ticket.bulk", key="b", ticket_ids=names[:256]))
    assert stage.authority.finish(run)
    stage.close()


@pytest.mark.invariant("L3")
@pytest.mark.case(17, 73)
@pytest.mark.parametrize(("values", "size"), [(256, 2048), (8, 2048)])
def test_refused_calls_with_giant_values_leave_room_for_a_receipt(values: int, size: int) -> None:
    stage = Stage()
    run = stage.start()
    lease = stage.lease(BULK, run=run)
    names = [f"X-{number:03}".ljust(size, "x") for number in range(values)]
    for attempt in range(80):
        assert stage.refusal(lease, "ticket.bulk", key=str(attempt), ticket_ids=names) in _REFUSED
    assert stage.authority.finish(run)
    stage.close()


_REFUSED = (Reason.BAD_ATTRIBUTE, Reason.OUT_OF_RANGE)
