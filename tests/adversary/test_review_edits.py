"""Who edits a call has made it: there is no way around that for them to be the one who says yes to it."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from leasehold.decide.answer import CALL_USE_SECONDS
from leasehold.errors import ApprovalNeeded
from leasehold.ledger.history import check_history
from leasehold.model.decision import Reason
from leasehold.model.request import Request
from previewed import PREVIEWED, Desk
from stage import AUDIT, BEN, ERASE, EVA, Stage, reason_of

pytestmark = [pytest.mark.requirement("P12"), pytest.mark.invariant("I4"), pytest.mark.case(80)]


def _expired(stage: Stage, edited: Request) -> None:
    """Nobody answers in time."""
    stage.system.advance(seconds=600)


def _withdrawn(stage: Stage, edited: Request) -> None:
    """The agent's host takes back what people made of its call."""
    stage.authority.runs.withdraw(edited)


def _revoked(stage: Stage, edited: Request) -> None:
    """Who edited also has the power to revoke, and clears their own name with it."""
    stage.revoke(f"request:{edited.request_id}")


def _approved_too_early(stage: Stage, edited: Request) -> None:
    """Somebody else said yes, and the agent came back for it when that was over."""
    stage.people.approve(edited, EVA)
    stage.system.advance(seconds=CALL_USE_SECONDS)


def _approver_left(stage: Stage, edited: Request) -> None:
    """Somebody else said yes, and their word counts no more."""
    stage.people.approve(edited, EVA)
    stage.desk.remove_person(EVA, by="test")


@pytest.mark.parametrize("ended", [_expired, _withdrawn, _revoked, _approved_too_early, _approver_left])
def test_who_edited_a_call_may_not_approve_it_when_it_is_asked_about_again(
    stage: Stage, ended: Callable[[Stage, Request], None]
) -> None:
    lease = stage.lease(AUDIT, ttl_seconds=900)
    original = stage.authority.find_request(stage.ask(lease, "ticket.audit", "T-1"))
    edited = stage.desk.edit(original, stage.people.signatory(BEN), arguments={"ticket_id": "T-2"})
    ended(stage, edited)
    lease = stage.authority.renew(lease)
    again = stage.ask(lease, "ticket.audit", "T-2")
    assert again != edited.request_id
    assert reason_of(lambda: stage.people.approve(again, BEN)) is Reason.OWN_REQUEST
    shown = stage.desk.card(stage.authority.find_request(again))
    assert (shown.edited_from, shown.editors) == (edited.request_id, (BEN,))


def test_all_who_edited_something_into_the_same_call_have_made_it(stage: Stage) -> None:
    lease = stage.lease(AUDIT)
    for person, ticket in ((BEN, "T-1"), (EVA, "T-3")):
        asked = stage.authority.find_request(stage.ask(lease, "ticket.audit", ticket))
        edited = stage.desk.edit(asked, stage.people.signatory(person), arguments={"ticket_id": "T-2"})
        stage.authority.runs.withdraw(edited)
    again = stage.authority.find_request(stage.ask(lease, "ticket.audit", "T-2"))
    assert again.editors == (BEN, EVA)


@pytest.fixture
def previewed() -> Iterator[Stage]:
    stage = Stage(PREVIEWED)
    yield stage
    assert check_history(stage.entries()) == []
    stage.close()


def test_an_edited_call_that_nobody_saw_in_time_keeps_its_editor_once_it_is_shown(previewed: Stage) -> None:
    stage, desk, lease = previewed, Desk(previewed), previewed.lease(ERASE)
    original = stage.authority.find_request(desk.ask(lease).request)
    edited = stage.desk.edit(original, stage.people.signatory(BEN), arguments={"ticket_id": "T-2"})
    stage.system.advance(seconds=600)
    lease = stage.authority.renew(lease)
    with pytest.raises(ApprovalNeeded) as needed:
        desk.erase(lease.once("a"), "T-2")
    assert needed.value.request != edited.request_id
    assert reason_of(lambda: stage.people.approve(needed.value.request, BEN)) is Reason.OWN_REQUEST
