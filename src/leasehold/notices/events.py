"""From a ledger entry to what people are told of it. Pure. Called by `leasehold.authority.outbox`.

Every event worth a notice is an entry already, so nothing that decides knows of notices. Kinds that are not in the
table but carry an alarm go out as `alarm`: what is added to the ledger is loud without a change here.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import msgspec

from leasehold.decide.rows import AccountRow, RequestRow
from leasehold.ledger.entry import Entry, EntryKind
from leasehold.model.budget import CHILDREN
from leasehold.model.notice import NoticeEvent
from leasehold.model.request import RequestState

__all__ = ["FOLLOWS", "LOW_PERCENT", "Event", "Glance", "glance", "low_budget_events", "notice_events"]

LOW_PERCENT = 80
"""At which share of a budget people are told."""


class Event(msgspec.Struct, frozen=True, kw_only=True):
    """Something to tell. `subject` is what it is about, so that a later event can rewrite what was posted of it;
    `identity` tells it from every other event of this authority: the same identity is never told twice."""

    event: NoticeEvent
    tenant: str
    subject: str
    identity: str
    entry: int


FOLLOWS: dict[NoticeEvent, frozenset[NoticeEvent]] = {
    NoticeEvent.REQUEST_ANSWERED: frozenset({NoticeEvent.REQUEST_WAITING}),
    NoticeEvent.REQUEST_DECIDED: frozenset({NoticeEvent.REQUEST_WAITING}),
    NoticeEvent.REQUEST_CLOSED: frozenset({NoticeEvent.REQUEST_WAITING}),
    NoticeEvent.POLICY_DECIDED: frozenset({NoticeEvent.POLICY_PROPOSED}),
    NoticeEvent.STOP_LIFTED: frozenset({NoticeEvent.STOP_SET, NoticeEvent.BREAKER}),
}
"""Events that change what an earlier one said: whoever was told that one sees its copy rewritten."""


class Glance(msgspec.Struct, frozen=True):
    """As much of an entry as tells whether it matters here: most of a ledger is calls, and decoding costs ten times."""

    kind: str
    tenant: str = ""
    request: str = ""
    admission: str = ""
    detail: _GlanceDetail | None = None

    @property
    def ends_a_call(self) -> bool:
        """Whether it can have moved a budget."""
        return self.kind in _SETTLED

    @property
    def may_be_told(self) -> bool:
        """Whether it can be worth a notice by itself."""
        is_loud = self.detail is not None and bool(self.detail.alarm or self.detail.overrun)
        return is_loud or self.kind == EntryKind.RUN_FINISHED or self.kind.startswith(_TOLD_PREFIXES)


class _GlanceDetail(msgspec.Struct, frozen=True):
    alarm: str = ""
    overrun: tuple[str, ...] = ()


_GLANCE = msgspec.json.Decoder(Glance)
_SETTLED = frozenset({EntryKind.CALL_SETTLED, EntryKind.CALL_UNKNOWN})
_TOLD_PREFIXES = ("request.", "stop.", "breaker.", "break_glass.", "policy.", "notice.")


def glance(body: bytes) -> Glance:
    """Look at an entry's canonical bytes."""
    return _GLANCE.decode(body)


def notice_events(entry: Entry, requests: Sequence[RequestRow] = ()) -> tuple[Event, ...]:
    """What an entry tells. `requests` are those of the run that a `run.finished` names: it withdraws what waits."""
    if entry.kind is EntryKind.RUN_FINISHED:
        withdrawn = (row for row in requests if row.state == RequestState.WITHDRAWN)
        return tuple(_closed(entry, row.request_id) for row in withdrawn)
    if entry.kind in _BY_KIND:
        return (_event(entry, _BY_KIND[entry.kind], f"{_STOP_SUBJECTS[entry.kind]} {entry.scope}"),)
    if entry.kind.startswith("request."):
        return _of_request(entry)
    if entry.kind is EntryKind.POLICY_PROPOSED:
        return (_event(entry, NoticeEvent.POLICY_PROPOSED, f"policy {entry.policy}"),)
    if entry.kind in (EntryKind.POLICY_ANSWERED, EntryKind.POLICY_EXPIRED):
        is_counted = entry.decision != "deny"
        return (_event(entry, NoticeEvent.POLICY_DECIDED, f"policy {entry.policy}"),) if is_counted else ()
    if entry.kind.startswith("break_glass.") or entry.detail.get("alarm") == NoticeEvent.BREAK_GLASS:
        return (_event(entry, NoticeEvent.BREAK_GLASS, f"break_glass {entry.detail.get('glass', entry.run)}"),)
    if entry.kind.startswith("breaker."):
        return (_event(entry, NoticeEvent.BREAKER, f"breaker {entry.scope or entry.route}"),)
    return _of_alarm(entry)


_BY_KIND = {
    EntryKind.REVOKED: NoticeEvent.STOP_SET,
    EntryKind.HELD: NoticeEvent.STOP_SET,
    EntryKind.LIFTED: NoticeEvent.STOP_LIFTED,
}
_STOP_SUBJECTS = {EntryKind.REVOKED: "revoke", EntryKind.HELD: "hold", EntryKind.LIFTED: "hold"}
_CLOSED = frozenset({RequestState.EXPIRED, RequestState.WITHDRAWN, RequestState.SUPERSEDED, RequestState.LAPSED})


def _of_request(entry: Entry) -> tuple[Event, ...]:
    subject = f"request {entry.request}"
    if entry.decision == "deny":
        return ()
    if entry.outcome in _CLOSED:
        return (_closed(entry, entry.request),)
    if entry.kind is EntryKind.REQUEST_MADE and entry.outcome == RequestState.PENDING:
        return (_event(entry, NoticeEvent.REQUEST_WAITING, subject),)
    if entry.kind is EntryKind.REQUEST_ANSWERED:
        is_pending = entry.outcome == RequestState.PENDING
        return (_event(entry, NoticeEvent.REQUEST_ANSWERED if is_pending else NoticeEvent.REQUEST_DECIDED, subject),)
    return ()


def _closed(entry: Entry, request_id: str) -> Event:
    """A request ends once, so its end has one identity, whichever entry says so."""
    return Event(
        event=NoticeEvent.REQUEST_CLOSED,
        tenant=entry.tenant,
        subject=f"request {request_id}",
        identity=f"closed {entry.tenant} {request_id}",
        entry=entry.index,
    )


def _of_alarm(entry: Entry) -> tuple[Event, ...]:
    alarm = entry.detail.get("alarm", "")
    if entry.kind is EntryKind.NOTICE_FAILED:
        if entry.detail.get("event") == NoticeEvent.NOTICE_FAILED:
            return ()  # else two broken channels would tell of each other for ever
        channel, day = entry.detail.get("channel", ""), entry.time_ms // 86_400_000
        event = _event(entry, NoticeEvent.NOTICE_FAILED, f"channel {channel}")
        return (msgspec.structs.replace(event, identity=f"failed {entry.tenant} {channel} {day}"),)
    if entry.kind is EntryKind.POLICY_ACCEPTED and alarm:
        return (_event(entry, NoticeEvent.POLICY_WIDENED, f"policy {entry.policy}"),)
    if alarm or entry.detail.get("overrun"):
        return (_event(entry, NoticeEvent.ALARM, f"entry {entry.index}"),)
    return ()


def _event(entry: Entry, event: NoticeEvent, subject: str) -> Event:
    if event is NoticeEvent.STOP_SET and entry.detail.get("alarm") == "breaker":
        event = NoticeEvent.BREAKER
    identity = f"entry {entry.index} {entry.time_ms}"
    return Event(event=event, tenant=entry.tenant, subject=subject, identity=identity, entry=entry.index)


def _is_low(row: AccountRow) -> bool:
    """Whether so much of a budget is spent, or may have been, that people are told. Both only grow."""
    spent = row.settled + row.unknown
    return row.unit != CHILDREN and row.limit > 0 and spent * 100 >= row.limit * LOW_PERCENT


def low_budget_events(index: int, accounts: Iterable[AccountRow]) -> tuple[Event, ...]:
    """What the end of a call, at a ledger index, tells of the accounts that it drew on: each once for each unit."""
    return tuple(
        Event(
            event=NoticeEvent.BUDGET_LOW,
            tenant=row.tenant,
            subject=f"budget {row.account} {row.unit}",
            identity=f"low {row.tenant} {row.account} {row.unit}",
            entry=index,
        )
        for row in accounts
        if _is_low(row)
    )
