"""What is destructive is approved as that, whatever is asked for beside it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from leasehold.ledger.history import check_history
from leasehold.model.decision import Reason
from leasehold.model.request import Request
from stage import BEN, POLICY, Stage, changed, reason_of

pytestmark = [pytest.mark.requirement("P12"), pytest.mark.invariant("I4"), pytest.mark.case(81)]

FOR_LEASES = changed('approve."ticket.update" = "none"', 'approve."ticket.update" = "lease"\nquorum = 1', POLICY)
FOR_LEASES = changed('approve."ticket.tag"    = "none"', 'approve."ticket.erase" = "lease"', FOR_LEASES)
BY_PASSKEY = changed("[actions]", "[defaults]\ndestructive_by_passkey = true\n\n[actions]", FOR_LEASES)


@pytest.fixture
def stage() -> Iterator[Stage]:
    stage = Stage(BY_PASSKEY)
    yield stage
    assert check_history(stage.entries()) == []
    stage.close()


def asked(stage: Stage, *actions: str) -> Request:
    """One lease for several actions, each of which people have to agree to."""
    return stage.authority.request(stage.start(), {action: {"ticket": ["T-1"]} for action in actions}, reason="tidy")


@pytest.mark.parametrize("beside", [(), ("ticket.get",), ("ticket.update",), ("ticket.close",)])
def test_what_is_asked_for_beside_it_does_not_spare_what_is_destructive_its_passkey(
    stage: Stage, beside: tuple[str, ...]
) -> None:
    request = asked(stage, "ticket.erase", *beside)
    assert reason_of(lambda: stage.people.approve(request, BEN)) is Reason.PASSKEY_NEEDED


def test_a_write_alone_needs_none(stage: Stage) -> None:
    assert stage.people.approve(asked(stage, "ticket.update"), BEN).state == "approved"
