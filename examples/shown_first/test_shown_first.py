"""The example of docs/approvals.md, run from the question to the closed ticket; and with a ticket that moved."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from shown_first import Tickets

import leasehold
from leasehold import ApprovalNeeded, Edited, HeldLease, Reason
from leasehold.testing.fixtures import Approvers

BEN = "user:ben"


@pytest.fixture
def authority() -> Iterator[leasehold.Authority]:
    with leasehold.open(Path(__file__).with_name("leasehold.toml"), state=":memory:", sweep=False) as authority:
        yield authority


def lease_of(authority: leasehold.Authority) -> HeldLease:
    run = authority.start(
        agent="support-bot",
        route="support/close",
        tenant="acme",
        environment="prod",
        requested_by="user:ana",
        purpose="answer T-1",
    )
    return authority.wait(authority.request(run, {"ticket.close": {"ticket": ["T-*"]}}, reason="it is fixed"), 5)


def ask(tickets: Tickets, lease: HeldLease, ticket: str = "T-1") -> ApprovalNeeded:
    with pytest.raises(ApprovalNeeded) as needed:
        tickets.close(lease.once("close"), ticket)
    return needed.value


def test_people_see_the_change_and_the_same_call_then_closes_the_ticket(authority: leasehold.Authority) -> None:
    tickets, lease = Tickets(authority), lease_of(authority)
    needed = ask(tickets, lease)
    (change,) = authority.desk.card(authority.find_request(needed.request)).changes
    assert (change.name, change.before, change.after) == ("status", "open", "closed")
    Approvers(authority).approve(needed.request, BEN)
    assert tickets.close(lease.once("close"), "T-1") == "T-1"


def test_a_ticket_that_moved_is_asked_about_again(authority: leasehold.Authority) -> None:
    tickets, lease = Tickets(authority), lease_of(authority)
    Approvers(authority).approve(ask(tickets, lease).request, BEN)
    tickets.status["T-1"] = "escalated"
    again = ask(tickets, lease)
    assert again.decision.reason is Reason.STATE_MOVED
    assert tickets.status["T-1"] == "escalated"


def test_an_edit_reaches_the_loop_that_made_the_call(authority: leasehold.Authority) -> None:
    tickets, lease = Tickets(authority), lease_of(authority)
    asked = authority.find_request(ask(tickets, lease).request)
    authority.desk.edit(asked, Approvers(authority).signatory(BEN), arguments={"ticket_id": "T-2"})
    with pytest.raises(Edited) as edited:
        tickets.close(lease.once("close"), "T-1")
    assert edited.value.arguments == {"ticket_id": "T-2"}
