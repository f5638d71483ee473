"""An escalation is never longer than what was asked for."""

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
