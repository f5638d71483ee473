"""What is asked for below nothing is refused; it never comes to all that there is."""

from __future__ import annotations

import pytest

from leasehold.errors import InvalidError
from stage import Stage


@pytest.mark.requirement("C1")
@pytest.mark.case(50)
@pytest.mark.parametrize("seconds", [0, -1])
def test_an_escalation_of_no_seconds_is_refused_and_not_given_the_routes_ttl(stage: Stage, seconds: int) -> None:
    run = stage.start()
    with pytest.raises(InvalidError):
        stage.authority.escalate(run, "ticket.get", {"ticket": ["T-1"]}, reason="once", seconds=seconds)
    lease = stage.authority.escalate(run, "ticket.get", {"ticket": ["T-1"]}, reason="once", seconds=1)
    assert lease.lease.expires_at - lease.lease.issued_at == 1


@pytest.mark.case(39)
def test_a_depth_below_none_is_refused_and_not_taken_for_all_that_the_route_allows(stage: Stage) -> None:
    run = stage.start()
    with pytest.raises(InvalidError, match="delegation_depth -2 is none"):
        stage.authority.request(run, {"ticket.get": {"ticket": ["T-1"]}}, reason="once", delegation_depth=-2)
