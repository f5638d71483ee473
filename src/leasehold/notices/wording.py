"""What a notice says, in plain words, from what the ledger, the card and the rows hold. Pure. Called by the outbox.

One text for every channel: what waits, where, until when, who may answer, and a link. Agents' words stand last, quoted
and labelled. Everything is escaped, and nothing in it becomes a link that Leasehold did not write (threat cases 82 and
83). No argument is shown that the card does not show.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from typing import TypeAlias

import msgspec

from leasehold.decide.approvals import answers_of
from leasehold.decide.rows import AccountRow, RequestRow
from leasehold.ledger.entry import Entry, EntryKind
from leasehold.model.budget import format_amount
from leasehold.model.card import Card
from leasehold.model.instant import Instant
from leasehold.model.notice import ChatCard, Fact, Notice, NoticeEvent
from leasehold.model.plain import escape
from leasehold.model.proposal import PolicyVerdict
from leasehold.model.request import RequestState, Verdict
from leasehold.model.times import show_time

__all__ = ["Matter", "compose", "test_notice", "unlinked"]

_MOST_LISTED = 20
_HOST_DOT = re.compile(r"(?<=[\w-])\.(?=[A-Za-z]{2,})")


class Matter(msgspec.Struct, frozen=True, kw_only=True):
    """What a notice is made from: the event, its entry, and what is known of it now.

    `card` and `row` are of the request that it is about, `account` of the budget. A card may have been erased. `chat`
    is the card as it may be answered in the channel, if it may.
    """

    event: NoticeEvent
    notice_id: str
    subject: str
    entry: Entry
    card: Card | None = None
    row: RequestRow | None = None
    account: AccountRow | None = None
    chat: ChatCard | None = None


def compose(matter: Matter, *, console: str, now: Instant) -> Notice | None:
    """Return the notice; None where it is no longer true that anybody has to be told.

    A request that was answered meanwhile is not announced as waiting, however late the receiver comes back (threat case
    88): what stands there is what is so now.
    """
    if matter.row is not None:
        return _of_request(matter, matter.row, console, now)
    if matter.event in _ABOUT_REQUESTS:
        return None
    title, facts, quotes = _words_of(matter)
    entry = matter.entry
    run = entry.run or (matter.account.account if matter.account and matter.account.account.startswith("run_") else "")
    page = _page_of(matter, run)
    return Notice(
        notice_id=matter.notice_id,
        event=matter.event,
        at=entry.time_ms // 1000,
        tenant=entry.tenant,
        environment=entry.environment,
        title=title,
        facts=_shown([*facts, *_place(entry), ("Ledger entry", str(entry.index))]),
        quotes=_quoted(quotes),
        link=f"{console}/{page}" if console else "",
        command=f"leasehold run inspect {run}" if run else _COMMANDS.get(matter.event, "").format(policy=entry.policy),
        run=run,
        request=entry.request,
        scope=escape(entry.scope),
        is_over=matter.event in (NoticeEvent.STOP_LIFTED, NoticeEvent.POLICY_DECIDED),
    )


def test_notice(notice_id: str, channel: str, *, by: str, at: int, console: str) -> Notice:
    """What `leasehold notices test` sends."""
    return Notice(
        notice_id=notice_id,
        event="test",
        at=at,
        tenant="",
        title="A test of this channel: nothing happened, nothing has to be done",
        facts=_shown([("Channel", channel), ("Sent by", by), ("At", show_time(at))]),
        link=console,
    )


def unlinked(text: str) -> str:
    """Return text that no program for messages turns into a link: its schemes and dotted names are broken up."""
    return _HOST_DOT.sub("[.]", text.replace("://", ":[//]")).replace("@", "[@]")


_ABOUT_REQUESTS = frozenset(
    {
        NoticeEvent.REQUEST_WAITING,
        NoticeEvent.REQUEST_ANSWERED,
        NoticeEvent.REQUEST_DECIDED,
        NoticeEvent.REQUEST_CLOSED,
    }
)
_COMMANDS = {
    NoticeEvent.POLICY_PROPOSED: "leasehold policy confirm {policy}",
    NoticeEvent.STOP_SET: "leasehold stops",
    NoticeEvent.BREAKER: "leasehold stops",
}
_PAGES = {
    NoticeEvent.POLICY_PROPOSED: "policy/proposals/{policy}",
    NoticeEvent.POLICY_DECIDED: "policy/proposals/{policy}",
    NoticeEvent.POLICY_WIDENED: "policy",
}
_Pairs: TypeAlias = list[tuple[str, str]]


def _shown(pairs: Iterable[tuple[str, str]]) -> tuple[Fact, ...]:
    """Facts that have a text. Their values can hold what agents chose, so schemes do not become links."""
    return tuple(Fact(label, escape(text).replace("://", ":[//]")) for label, text in pairs if text)


def _quoted(pairs: Iterable[tuple[str, str]]) -> tuple[Fact, ...]:
    return tuple(Fact(escape(label), unlinked(escape(text))) for label, text in pairs if text)


# requests

_TITLES = {
    RequestState.PENDING: "A request waits for people",
    RequestState.APPROVED: "Approved",
    RequestState.USED: "Approved, and in use",
    RequestState.COMPLETED: "Approved, used, and over",
    RequestState.DENIED: "Denied",
    RequestState.EXPIRED: "Nobody answered in time",
    RequestState.WITHDRAWN: "Withdrawn",
    RequestState.SUPERSEDED: "Replaced by another request",
    RequestState.LAPSED: "Approved, and not used in time",
}


def _of_request(matter: Matter, row: RequestRow, console: str, now: Instant) -> Notice | None:
    state = RequestState(row.state)
    is_late = state is RequestState.PENDING and now.reached(row.answer_by)
    if matter.event is NoticeEvent.REQUEST_WAITING and (state is not RequestState.PENDING or is_late or row.revoked):
        return None
    title = "Revoked" if row.revoked else _TITLES[RequestState.EXPIRED if is_late else state]
    is_open = state is RequestState.PENDING and not is_late and not row.revoked
    card, chat = matter.card, matter.chat if is_open else None
    return Notice(
        notice_id=matter.notice_id,
        event=matter.event,
        at=matter.entry.time_ms // 1000,
        tenant=row.tenant,
        environment=card.environment if card else "",
        title=title,
        headline=escape(card.headline).replace("://", ":[//]") if card else "",
        facts=_shown(_request_facts(row, card, is_open=is_open)),
        quotes=_quoted(_request_quotes(row, card, is_open=is_open and chat is None)),
        link=f"{console}/requests/{row.request_id}" if console else "",
        command=f"leasehold request inspect {row.request_id}",
        run=row.run_id,
        request=row.request_id,
        state="revoked" if row.revoked else str(RequestState.EXPIRED if is_late else state),
        is_over=not is_open,
        card=chat,
    )


def _request_facts(row: RequestRow, card: Card | None, *, is_open: bool) -> Iterator[tuple[str, str]]:
    answers = answers_of(row)
    approved = tuple(dict.fromkeys(answer.person for answer in answers if answer.verdict is Verdict.APPROVE))
    if card is None:
        yield "Card", "it is not kept any more"
    else:
        yield "Where", f"{card.tenant} / {card.environment}"
        yield "Does", ", ".join(f"{line.action} ({line.effect})" for line in card.lines)
    if is_open:
        yield "Answer by", show_time(row.answer_by)
        if card is not None:
            yield "Who may answer", f"{', '.join(card.approvers)}; {len(approved)} of {card.quorum} approvals so far"
    yield "Approved by", ", ".join(approved)
    yield "Denied by", ", ".join(answer.person for answer in answers if answer.verdict is Verdict.DENY)
    if card is not None:
        yield "Agent", f"{card.agent}, for {card.requested_by} ({card.requester_proof})"
        yield "Route", card.route
    yield "Request", row.request_id


def _request_quotes(row: RequestRow, card: Card | None, *, is_open: bool) -> Iterator[tuple[str, str]]:
    for answer in answers_of(row):
        yield f"written by {answer.person}", answer.reason
    if card is not None and is_open:
        yield "written by the agent, not checked: purpose of the run", card.purpose
        yield "written by the agent, not checked: reason", card.reason


# everything else


def _page_of(matter: Matter, run: str) -> str:
    """Where in the console one can do something about it."""
    if matter.event is NoticeEvent.BREAK_GLASS and "glass" in matter.entry.detail:
        return f"break-glass/{matter.entry.detail['glass']}"
    return f"runs/{run}" if run else _PAGES.get(matter.event, "stops").format(policy=matter.entry.policy)


def _words_of(matter: Matter) -> tuple[str, _Pairs, _Pairs]:
    """Title, facts and quotes of what is not about a request."""
    entry, detail = matter.entry, matter.entry.detail
    match matter.event:
        case _ if entry.kind in _STOP_TITLES:
            return _stop_words(entry)
        case NoticeEvent.POLICY_WIDENED:
            title = "A policy was accepted that allows more than the one before"
            return title, [("Accepted by", entry.person), ("Policy", entry.policy), *_widened(entry)], []
        case NoticeEvent.POLICY_PROPOSED:
            title = "A policy that allows more than the one in force waits for a second person"
            return title, [("Proposed by", entry.person), ("Policy", entry.policy)], []
        case NoticeEvent.POLICY_DECIDED:
            return _decided_words(entry)
        case NoticeEvent.BREAK_GLASS:
            return _glass_words(entry)
        case NoticeEvent.BUDGET_LOW:
            return _budget_words(matter.account)
        case NoticeEvent.NOTICE_FAILED:
            channel = ("Channel", str(detail.get("channel", "")))
            told = [("Event", str(detail.get("event", ""))), ("Why", str(detail.get("fault", "")))]
            return "Notices do not arrive over a channel", [channel, *told], []
        case _:
            return _alarm_words(entry)


_STOP_TITLES = {
    EntryKind.REVOKED: "Revoked",
    EntryKind.HELD: "Held: nothing starts",
    EntryKind.LIFTED: "Hold lifted",
}


def _decided_words(entry: Entry) -> tuple[str, _Pairs, _Pairs]:
    """What became of a policy that waited for a second person."""
    policy = ("Policy", entry.policy)
    if entry.kind is EntryKind.POLICY_EXPIRED:
        return "Nobody answered a proposed policy in time", [("Proposed by", entry.person), policy], []
    verdict = PolicyVerdict(str(entry.detail.get("verdict", "")))
    title = "A proposed policy was " + ("confirmed" if verdict is PolicyVerdict.CONFIRM else "refused")
    return title, [("By", entry.person), policy], []


def _stop_words(entry: Entry) -> tuple[str, _Pairs, _Pairs]:
    in_flight = entry.detail.get("in_flight", ())
    is_lift = entry.kind is EntryKind.LIFTED
    facts = [
        ("Scope", entry.scope),
        ("By", entry.person),
        ("Rule", str(entry.detail.get("rule", ""))),
        ("Calls in flight", "" if is_lift or not isinstance(in_flight, tuple) else str(len(in_flight))),
    ]
    title = "A breaker tripped: nothing starts" if entry.detail.get("alarm") == "breaker" else _STOP_TITLES[entry.kind]
    return title, facts, [(f"written by {entry.person}", str(entry.detail.get("reason", "")))]


def _widened(entry: Entry) -> Iterator[tuple[str, str]]:
    listed = entry.detail.get("widened", ())
    lines = listed if isinstance(listed, tuple) else ()
    yield from (("Wider now", line) for line in lines[:_MOST_LISTED])
    if len(lines) > _MOST_LISTED:
        yield "Wider now", f"and {len(lines) - _MOST_LISTED} more: leasehold ledger query"


def _budget_words(account: AccountRow | None) -> tuple[str, _Pairs, _Pairs]:
    if account is None:
        return "A budget is nearly used up", [], []
    spent = account.settled + account.unknown
    share = f"{format_amount(spent)} of {format_amount(account.limit)} {account.unit}"
    return "A budget is nearly used up", [("Spent", share), ("Budget of", account.account)], []


def _alarm_words(entry: Entry) -> tuple[str, _Pairs, _Pairs]:
    overrun = entry.detail.get("overrun", ())
    facts = [
        ("What", str(entry.detail.get("alarm", ""))),
        ("Over its reservation", ", ".join(overrun) if isinstance(overrun, tuple) else ""),
        ("Scope", entry.scope),
        ("By", entry.person),
        ("Action", entry.action),
        ("Outcome", entry.outcome),
    ]
    return (
        f"Alarm: {entry.kind}",
        facts,
        [("written by " + (entry.person or "nobody named"), str(entry.detail.get("reason", "")))],
    )


_GLASS_TITLES = {
    "break_glass.proposed": "Break-glass was proposed, and waits five minutes for its second person",
    "break_glass.declined": "Break-glass was declined",
    "break_glass.lapsed": "Break-glass was not confirmed in time",
    "break_glass.opened": "Break-glass was opened",
    "break_glass.refused": "Break-glass was refused",
    "break_glass.closed": "Break-glass is closed, and waits for its review",
    "break_glass.reviewed": "Break-glass was reviewed",
    EntryKind.CALL_ADMITTED: "Break-glass was used",
    EntryKind.CALL_DENIED: "Break-glass was tried, and a call refused",
}
_GLASS_FACTS = {
    "second": "Second person",
    "actions": "Actions",
    "skips": "Skips",
    "skipped": "Skipped",
    "minutes": "Minutes",
    "message": "Refused because",
}
_GLASS_TIMES = {"answer_by": "Confirm by", "expires_at": "Ends", "review_by": "Review by"}


def _glass_words(entry: Entry) -> tuple[str, _Pairs, _Pairs]:
    """Break-glass is loud: who, with whom, for what, until when, and each use."""
    detail = entry.detail
    facts = [("By", entry.person or entry.requested_by), ("Action", entry.action)]
    for name, label in _GLASS_FACTS.items():
        value = detail.get(name, "")
        facts.append((label, ", ".join(value) if isinstance(value, tuple) else str(value)))
    for name, label in _GLASS_TIMES.items():
        moment = detail.get(name)
        if isinstance(moment, int):
            facts.append((label, show_time(moment)))
    words = [(f"written by {entry.person}", str(detail.get(name, ""))) for name in ("reason", "words")]
    return _GLASS_TITLES.get(entry.kind, f"Break-glass: {entry.kind}"), facts, words


def _place(entry: Entry) -> Sequence[tuple[str, str]]:
    return [
        ("Where", " / ".join(part for part in (entry.tenant, entry.environment) if part)),
        ("Agent", entry.agent),
        ("For", entry.requested_by),
        ("Route", entry.route),
        ("Run", entry.run),
    ]
