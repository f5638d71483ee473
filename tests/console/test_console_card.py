"""A card and an inbox as values: what stands where, what is left out nowhere, what can be answered together."""

from __future__ import annotations

import msgspec
import pytest

from leasehold.authority.person_desk import Waiting
from leasehold.console.card import CardPage, card_page
from leasehold.console.inbox import inbox_page, refuse_batch
from leasehold.model.card import Change
from leasehold.model.request import Request
from leasehold.model.sheet import SectionName
from office import BEN, EVA, Office


def waiting(office: Office, request: Request, name: str = BEN) -> Waiting:
    return office.viewer(name).waiting(request.request_id)


def page_of(office: Office, seen: Waiting, *, is_whole: bool = True) -> CardPage:
    return card_page(seen, office.stage.system.now(), is_whole=is_whole)


def texts(page: CardPage) -> str:
    """Everything that the card says, labels included."""
    fields = [*(field for part in page.parts for field in part.fields), *page.words, *page.small]
    return "\n".join(f"{field.label}: {''.join(piece.text for piece in field.value.pieces)}" for field in fields)


def changed_card(seen: Waiting, **members: object) -> Waiting:
    return msgspec.structs.replace(seen, card=msgspec.structs.replace(seen.card, **members))


@pytest.mark.requirement("P10")
def test_changes_that_the_tool_foresees_stand_first(office: Office) -> None:
    seen = changed_card(
        waiting(office, office.asks()),
        preview="sha256:" + "0" * 64,
        changes=(Change("state", "open", "closed"),),
        unchanged_hidden=4,
        external=("mails the customer",),
    )
    page = page_of(office, seen)
    assert page.parts[0].name is SectionName.CHANGES
    for words in ("state: open -> closed", "+ 4 unchanged hidden", "Sets off: mails the customer"):
        assert words in texts(page)


def test_what_moved_since_an_approval_is_loud(office: Office) -> None:
    seen = changed_card(waiting(office, office.asks()), moved=(Change("state", "open", "merged"),))
    (moved, *_) = page_of(office, seen).parts
    assert moved.is_loud
    assert "merged" in texts(page_of(office, seen))


@pytest.mark.parametrize("name", ["digest", "approval", "Key", "Tool", "Receipt"])
def test_argument_is_shown_whatever_an_agent_calls_it(office: Office, name: str) -> None:
    page = page_of(office, waiting(office, office.asks(**{name: "rm -rf /"})))
    (asked,) = (part for part in page.parts if part.name is SectionName.ARGUMENTS)
    assert name in {field.label for field in asked.fields}


@pytest.mark.requirement("B6", "L10")
def test_badge_says_what_stays_forbidden_how_much_and_how_long(office: Office) -> None:
    run = office.stage.start()
    request = office.stage.authority.request(
        run, {"ticket.close": {"ticket": ["T-1"]}}, reason="asked", ttl_seconds=120
    )
    said = texts(page_of(office, waiting(office, request)))
    for words in (
        "ticket: T-1",
        "NOT ALLOWED: mail.purge",
        "Budget: calls 20",
        "Expires: each lease after 2 min",
        "Sub-agents: up to 2 sub-agents, 2 deep",
        "Receipt: signed, when the run ends",
        "reason: asked",
    ):
        assert words in said, said


def test_nothing_of_the_sheet_is_left_out_but_what_is_said_twice(office: Office) -> None:
    said = texts(page_of(office, waiting(office, office.asks(note="fixed"))))
    for label in (
        "note",
        "ticket_id",
        "Objects",
        "Where",
        "undo",
        "Agent",
        "For",
        "Route",
        "Approvers",
        "Policy",
        "digest",
    ):
        assert f"{label}: " in said, label


def test_card_that_was_erased_can_only_be_denied_unseen(office: Office) -> None:
    seen = msgspec.structs.replace(waiting(office, office.asks()), card=None)
    page = page_of(office, seen)
    assert page.headline is None
    assert page.parts == ()
    assert refuse_batch(seen) == "its card is not kept any more"
    (matter,) = inbox_page((seen,)).mine
    assert matter.headline == seen.request.request_id
    assert matter.effect == ""


def test_revoked_request_says_so(office: Office) -> None:
    request = office.asks()
    office.stage.revoke(f"request:{request.request_id}")
    assert page_of(office, waiting(office, request)).state == "revoked"


def test_request_that_takes_two_people_is_not_answered_together_with_others(office: Office) -> None:
    seen = changed_card(waiting(office, office.asks()), quorum=2)
    assert refuse_batch(seen) == "it needs 2 people: answer it on its own card"
    erase = office.asks("ticket.erase")
    assert not office.viewer(BEN).batchable(erase.request_id).is_allowed


def test_fingerprint_changes_with_every_answer_and_not_with_time(office: Office) -> None:
    request = office.asks("ticket.erase")
    before = page_of(office, waiting(office, request))
    office.stage.pass_time(5)
    assert page_of(office, waiting(office, request)).shown == before.shown
    office.stage.people.approve(request, EVA)
    assert page_of(office, waiting(office, request)).shown != before.shown


def test_most_urgent_stands_on_top(office: Office) -> None:
    first = office.asks(ticket_id="T-1")
    office.stage.pass_time(60)
    second = office.asks(ticket_id="T-2")
    found = inbox_page(tuple(reversed(office.viewer(BEN).inbox())))
    assert [matter.items[0].request_id for matter in found.mine] == [first.request_id, second.request_id]
    assert found.batch_size == 2
