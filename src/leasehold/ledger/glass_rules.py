"""Rules of the history checker about break-glass: two people, minutes, and nothing skipped that was not agreed (I4).

A rule yields, in words, what an entry breaks in view of everything before it; `leasehold.ledger.rules` applies them.
"""

from __future__ import annotations

from collections.abc import Iterator

from leasehold.ledger import detail
from leasehold.ledger.entry import Entry
from leasehold.ledger.replay import Past
from leasehold.model.glass import BREAK_GLASS, BREAK_GLASS_ALARM, MAX_MINUTES
from leasehold.model.instant import Instant

__all__ = ["is_opened_by_two", "is_reviewed_by_another", "stays_within_its_opening"]


def is_opened_by_two(entry: Entry, past: Past) -> Iterator[str]:  # noqa: ARG001 - every rule takes both
    """A break-glass is opened by one person and confirmed by another, for minutes, and it alarms."""
    if entry.decision == "deny":
        return
    second = detail.text(entry, "second")
    if not second or second == entry.person or entry.person != entry.requested_by:
        yield f"{entry.person} opened it and {second or 'nobody'} confirmed it, for {entry.requested_by}"
    length = detail.number(entry, "expires_at") - detail.number(entry, "opened_at")
    if not 0 < length <= 60 * MAX_MINUTES:
        yield f"it lasts {length} s"
    if detail.text(entry, "alarm") != BREAK_GLASS_ALARM:
        yield "it does not alarm"


def stays_within_its_opening(entry: Entry, past: Past) -> Iterator[str]:
    """A lease or call of a break-glass has its opening, and skips and does only what that names, in its time."""
    opened, skipped = past.glasses.get((entry.tenant, entry.lease)), detail.texts(entry, "skipped")
    if (entry.agent == BREAK_GLASS) != (opened is not None):
        yield f"{entry.lease} is of {entry.agent}, and " + (
            "nobody opened it" if opened is None else "it is for people"
        )
    if opened is None:
        if skipped:
            yield f"it skips {', '.join(skipped)}"
        return
    if Instant(entry.time_ms).reached(detail.number(opened, "expires_at")):
        yield f"{detail.text(opened, 'glass')} was over"
    for name in set(skipped) - set(detail.texts(opened, "skips")):
        yield f"it skips {name}, which was not agreed"
    if entry.action:
        if entry.action not in detail.texts(opened, "actions"):
            yield f"{detail.text(opened, 'glass')} was not opened for {entry.action}"
        if detail.text(entry, "alarm") != BREAK_GLASS_ALARM or not detail.text(entry, "signature"):
            yield "the use of a break-glass alarms and carries the word of its opener"


def is_reviewed_by_another(entry: Entry, past: Past) -> Iterator[str]:
    """Whoever opened it does not review it."""
    opened = past.glasses.get((entry.tenant, entry.lease))
    if opened is None:
        yield f"nobody opened {detail.text(entry, 'glass')}"
    elif opened.person == entry.person:
        yield f"{entry.person} reviewed what they opened"
