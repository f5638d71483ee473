"""What people are told while they are not looking: which events, over which kinds of channel, and a notice as a value.

Named by the policy's `[notices]`, made by `leasehold.notices` from ledger entries, sent by its channels.
"""

from __future__ import annotations

from enum import StrEnum

import msgspec

__all__ = ["ChannelKind", "ChatCard", "Fact", "Notice", "NoticeEvent"]


class ChannelKind(StrEnum):
    """How a notice travels."""

    WEBHOOK = "webhook"
    SLACK = "slack"
    EMAIL = "email"


class NoticeEvent(StrEnum):
    """What a channel can be told of. `alarm` is every alarm of the ledger that has no event of its own."""

    REQUEST_WAITING = "request.waiting"
    REQUEST_ANSWERED = "request.answered"
    REQUEST_DECIDED = "request.decided"
    REQUEST_CLOSED = "request.closed"
    STOP_SET = "stop.set"
    STOP_LIFTED = "stop.lifted"
    BREAKER = "breaker"
    BREAK_GLASS = "break_glass"
    POLICY_PROPOSED = "policy.proposed"
    POLICY_DECIDED = "policy.decided"
    POLICY_WIDENED = "policy.widened"
    BUDGET_LOW = "budget.low"
    NOTICE_FAILED = "notice.failed"
    ALARM = "alarm"


class Fact(msgspec.Struct, frozen=True):
    """One labelled line of a notice. Both parts are escaped: one line each, hidden characters as code points."""

    label: str
    text: str


class ChatCard(msgspec.Struct, frozen=True, kw_only=True):
    """A whole card that may be answered where it is posted. `text` is escaped; the rest is what its buttons name."""

    channel: str
    request: str
    digest: str
    text: str


class Notice(msgspec.Struct, frozen=True, kw_only=True):
    """One message to people, before any channel has put it into its own form. Every text is escaped.

    `event` is a `NoticeEvent` or `test`. `title` is in Leasehold's own words, `headline` the card's, which may name
    arguments; `quotes` are words of agents and stand last. `link` leads to the console, empty where none is configured;
    `command` does the same at a terminal. `is_over` says that nobody has to do anything any more. `card` is there only
    where people may answer on the spot; it takes the place of headline and facts. Times are Unix seconds.
    """

    notice_id: str
    event: str
    at: int
    tenant: str
    title: str
    headline: str = ""
    facts: tuple[Fact, ...] = ()
    quotes: tuple[Fact, ...] = ()
    link: str = ""
    command: str = ""
    environment: str = ""
    run: str = ""
    request: str = ""
    scope: str = ""
    state: str = ""
    is_over: bool = False
    card: ChatCard | None = None
