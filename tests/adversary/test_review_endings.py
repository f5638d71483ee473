"""The work that ends a lease ends it through whichever door it is done."""

from __future__ import annotations

import pytest

from leasehold.model.decision import Reason
from stage import Stage, changed

ON_UPDATE = changed('ends_on = ["ticket.close"]', 'ends_on = ["ticket.update"]')


@pytest.mark.requirement("B2", "P5")
def test_a_lease_of_an_action_that_implies_the_ending_one_ends_with_it() -> None:
    stage = Stage(ON_UPDATE)
    lease = stage.lease({"ticket.bulk": {"ticket": ["T-*"]}})
    assert lease.lease.ends_on == ("ticket.update",)
    bulk = {"ticket_ids": ["T-1", "T-2"]}
    stage.settle(stage.admit(lease, "ticket.bulk", key="a", **bulk))
    assert stage.refusal(lease, "ticket.bulk", key="b", **bulk) is Reason.COMPLETED
    stage.close()
