"""What an entry is worth: by its kind, or because it alarms; and the plain words that come of it."""

from __future__ import annotations

import pytest

from leasehold.decide.rows import AccountRow
from leasehold.ledger.entry import Entry, EntryKind, encode_entry
from leasehold.model.instant import Instant
from leasehold.model.notice import NoticeEvent
from leasehold.notices.events import Event, glance, low_budget_events, notice_events
from leasehold.notices.wording import Matter, compose, unlinked

NOW = Instant(1_778_068_800_000)


def entry(kind: str, **fields: object) -> Entry:
    """An entry of a kind that this version may not know: later ones add theirs."""
    known = EntryKind(kind) if kind in list(EntryKind) else kind
    return Entry(kind=known, index=7, time_ms=int(NOW), tenant="acme", **fields)  # type: ignore[arg-type]


def told(made: Entry) -> list[Event]:
    return list(notice_events(made))


@pytest.mark.requirement("P15")
@pytest.mark.parametrize(
    ("kind", "detail", "event"),
    [
        ("stop.held", {"alarm": "breaker"}, NoticeEvent.BREAKER),
        ("breaker.tripped", {}, NoticeEvent.BREAKER),
        ("break_glass.opened", {}, NoticeEvent.BREAK_GLASS),
        ("break_glass.review_due", {}, NoticeEvent.BREAK_GLASS),
        ("call.admitted", {"alarm": "break_glass", "skipped": ("approval",)}, NoticeEvent.BREAK_GLASS),
        ("call.denied", {"alarm": "break_glass", "message": "no"}, NoticeEvent.BREAK_GLASS),
        ("something.new", {"alarm": "look at this"}, NoticeEvent.ALARM),
        ("call.settled", {"overrun": ("usd",)}, NoticeEvent.ALARM),
        ("policy.proposed", {"proposal": "x"}, NoticeEvent.POLICY_PROPOSED),
        ("policy.answered", {"verdict": "refuse"}, NoticeEvent.POLICY_DECIDED),
        ("policy.expired", {"proposal": "x"}, NoticeEvent.POLICY_DECIDED),
        ("policy.accepted", {"alarm": "widened"}, NoticeEvent.POLICY_WIDENED),
        ("notice.failed", {"channel": "hook", "event": "stop.set"}, NoticeEvent.NOTICE_FAILED),
    ],
)
def test_alarms_are_told_whatever_kind_of_entry_carries_them(
    kind: str, detail: dict[str, object], event: NoticeEvent
) -> None:
    made = entry(kind, scope="route:support", detail=detail)
    assert glance(encode_entry(made)).may_be_told
    assert [found.event for found in told(made)] == [event]
    notice = compose(
        Matter(event=event, notice_id="ntc_1", subject="x", entry=made), console="https://c.example", now=NOW
    )
    assert notice is not None
    assert notice.title
    assert notice.link.startswith("https://c.example/")


def test_a_proposed_policy_leads_to_the_page_where_it_is_confirmed() -> None:
    made = entry("policy.proposed", policy="sha256:ab", detail={"proposal": "x"})
    (event,) = told(made)
    notice = compose(
        Matter(event=event.event, notice_id="n", subject="x", entry=made), console="https://c.example", now=NOW
    )
    assert notice is not None
    assert notice.link == "https://c.example/policy/proposals/sha256:ab"
    assert notice.command == "leasehold policy confirm sha256:ab"


@pytest.mark.parametrize(
    ("kind", "verdict", "title"),
    [
        ("policy.answered", "confirm", "A proposed policy was confirmed"),
        ("policy.answered", "refuse", "A proposed policy was refused"),
        ("policy.expired", "", "Nobody answered a proposed policy in time"),
    ],
)
def test_what_became_of_a_proposed_policy_is_told_once_it_counts(kind: str, verdict: str, title: str) -> None:
    made = entry(kind, policy="sha256:ab", detail={"verdict": verdict} if verdict else {})
    (event,) = told(made)
    notice = compose(Matter(event=event.event, notice_id="n", subject=event.subject, entry=made), console="", now=NOW)
    assert notice is not None
    assert (notice.title, notice.is_over) == (title, True)
    assert told(entry(kind, policy="sha256:ab", decision="deny")) == []


@pytest.mark.requirement("P15")
def test_a_break_glass_says_who_with_whom_for_what_and_until_when() -> None:
    detail = {
        "alarm": "break_glass",
        "glass": "glass_1",
        "second": "user:ben",
        "actions": ("db.drop", "ticket.close"),
        "minutes": 10,
        "reason": "the database is on fire",
        "expires_at": int(NOW) // 1000 + 600,
    }
    made = entry("break_glass.opened", person="user:ana", detail=detail)
    (event,) = told(made)
    assert event.subject == "break_glass glass_1"
    matter = Matter(event=event.event, notice_id="n", subject=event.subject, entry=made)
    notice = compose(matter, console="https://c.example", now=NOW)
    assert notice is not None
    assert notice.title == "Break-glass was opened"
    assert notice.link == "https://c.example/break-glass/glass_1"
    assert {(fact.label, fact.text) for fact in notice.facts} >= {
        ("By", "user:ana"),
        ("Second person", "user:ben"),
        ("Actions", "db.drop, ticket.close"),
        ("Minutes", "10"),
        ("Ends", "2026-05-06 12:10:00 UTC"),
    }
    assert notice.quotes[0].text == "the database is on fire"


@pytest.mark.parametrize(
    ("kind", "fields"),
    [
        ("epoch.raised", {}),
        ("call.settled", {}),
        ("policy.accepted", {}),
        ("request.made", {"outcome": "approved"}),
        ("request.answered", {"outcome": "pending", "decision": "deny"}),
        ("request.completed", {"outcome": "completed"}),
        ("notice.failed", {"detail": {"event": "notice.failed"}}),
        ("run.finished", {}),
    ],
)
def test_everything_else_is_worth_no_notice(kind: str, fields: dict[str, object]) -> None:
    assert told(entry(kind, **fields)) == []


def test_a_glance_passes_over_what_is_most_of_a_ledger() -> None:
    for kind in ("call.admitted", "call.denied", "call.settled", "lease.issued", "run.started"):
        assert not glance(encode_entry(entry(kind, detail={"reason": '"kind":"stop.held"'}))).may_be_told


@pytest.mark.parametrize("outcome", ["expired", "withdrawn", "lapsed", "superseded"])
def test_the_end_of_a_request_is_one_event_whichever_entry_says_so(outcome: str) -> None:
    first, second = (entry(kind, request="req_1", outcome=outcome) for kind in ("request.expired", "request.edited"))
    assert {event.identity for event in told(first)} == {event.identity for event in told(second)}


def account(unit: str = "usd", limit: int = 100, settled: int = 0, unknown: int = 0, reserved: int = 0) -> AccountRow:
    return AccountRow(
        tenant="acme", account="run_1", unit=unit, limit=limit, settled=settled, reserved=reserved, unknown=unknown
    )


@pytest.mark.parametrize(
    ("row", "is_low"),
    [
        (account(settled=79), False),
        (account(settled=80), True),
        (account(settled=40, unknown=40), True),
        (account(settled=40, reserved=60), False),
        (account(limit=0, settled=10), False),
        (account(unit="children", settled=100), False),
    ],
)
def test_a_budget_is_low_at_80_percent_of_what_was_or_may_have_been_spent(row: AccountRow, *, is_low: bool) -> None:
    assert bool(low_budget_events(7, [row])) is is_low


def test_a_budget_whose_account_is_gone_is_still_named() -> None:
    matter = Matter(event=NoticeEvent.BUDGET_LOW, notice_id="n", subject="budget a usd", entry=entry("call.settled"))
    notice = compose(matter, console="", now=NOW)
    assert notice is not None
    assert (notice.title, notice.link) == ("A budget is nearly used up", "")


def test_a_request_that_is_not_there_any_more_is_no_notice() -> None:
    matter = Matter(
        event=NoticeEvent.REQUEST_WAITING, notice_id="n", subject="request r", entry=entry("request.made", request="r")
    )
    assert compose(matter, console="", now=NOW) is None


@pytest.mark.case(83)
@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("https://evil.example/x", "https:[//]evil[.]example/x"),
        ("www.evil.com", "www[.]evil[.]com"),
        ("mail a@b.com", "mail a[@]b[.]com"),
        ("version 1.2 of T-1.", "version 1.2 of T-1."),
        ("javascript:alert(1)", "javascript:alert(1)"),
    ],
)
def test_text_that_programs_would_make_a_link_of_is_broken_up(text: str, shown: str) -> None:
    assert unlinked(text) == shown
