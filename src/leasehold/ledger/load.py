"""How much is asked of the people who approve, and how they answer: counted from ledger entries. Pure.

Called by `leasehold request load` and `doctor` through `leasehold.authority.load`. Who is asked too often stops looking
(requirement F2, threat case 87): a rule that is nearly always approved within moments protects nothing.
"""

from __future__ import annotations

from collections.abc import Iterable
from statistics import median

import msgspec

from leasehold.ledger import detail
from leasehold.ledger.entry import Entry, EntryKind
from leasehold.model.request import RequestState, Verdict

__all__ = ["MIN_DECIDED", "Load", "Tally", "approver_load"]

MIN_DECIDED = 20
"""From how many answers on a habit can be told from chance."""
_HABIT_PERCENT = 95
_GLANCE_MS = 3000
_HOUR_MS = 3_600_000


class Tally(msgspec.Struct, frozen=True, kw_only=True):
    """Requests of one rule, or answers of one person.

    `subject` is the route with what was asked for, or the person. `asked` counts the requests that waited for people;
    `open` those of them that nobody has decided on and that have not ended otherwise. `median_ms` runs from the request
    to the answer; None where there was no answer.
    """

    subject: str
    asked: int
    approved: int
    denied: int
    open: int = 0
    median_ms: int | None = None

    @property
    def decided(self) -> int:
        """How many were answered."""
        return self.approved + self.denied

    @property
    def approved_percent(self) -> int | None:
        """The share of the answers that was a yes, rounded down; None where there was no answer."""
        return self.approved * 100 // self.decided if self.decided else None

    @property
    def is_rubber_stamp(self) -> bool:
        """Whether it is approved more than 95 % of the time in a median under 3 s, over at least 20 answers."""
        return (
            self.decided >= MIN_DECIDED
            and self.approved * 100 > self.decided * _HABIT_PERCENT
            and self.median_ms is not None
            and self.median_ms < _GLANCE_MS
        )


class Load(msgspec.Struct, frozen=True, kw_only=True):
    """What people were asked over a window, in Unix milliseconds: in all, by rule and by person.

    Rules and people are sorted, the busiest first.
    """

    since_ms: int
    until_ms: int
    total: Tally
    rules: tuple[Tally, ...]
    approvers: tuple[Tally, ...]

    @property
    def per_hour(self) -> float:
        """Requests an hour that waited for people."""
        return self.total.asked * _HOUR_MS / max(1, self.until_ms - self.since_ms)


def approver_load(entries: Iterable[Entry], *, since_ms: int, until_ms: int) -> Load:
    """Count the requests that were made in the window and waited for people. Of each it takes whatever came of it.

    Args:
        entries: ledger entries in order; those of other kinds or made outside the window are passed over.
        since_ms: included.
        until_ms: included as well, because it usually is now.
    """
    asked: dict[tuple[str, str], _Asked] = {}
    answers: dict[str, list[_Answer]] = {}
    for entry in entries:
        place = (entry.tenant, entry.request)
        if entry.kind is EntryKind.REQUEST_MADE:
            if entry.outcome == RequestState.PENDING and since_ms <= entry.time_ms <= until_ms:
                asked[place] = _Asked(_rule_of(entry), entry.time_ms)
        elif (request := asked.get(place)) is not None and entry.kind in _MOVES and entry.decision != "deny":
            if entry.kind is EntryKind.REQUEST_ANSWERED:
                verdict = detail.text(entry, "verdict")
                answers.setdefault(entry.person, []).append(_Answer(verdict, entry.time_ms - request.made_ms))
            if entry.outcome != RequestState.PENDING:
                request.end(entry)
    by_rule: dict[str, list[_Asked]] = {}
    for request in asked.values():
        by_rule.setdefault(request.rule, []).append(request)
    return Load(
        since_ms=since_ms,
        until_ms=until_ms,
        total=_tally("all", list(asked.values())),
        rules=_sorted(_tally(rule, requests) for rule, requests in by_rule.items()),
        approvers=_sorted(_tally_answers(person, given) for person, given in answers.items()),
    )


_MOVES = frozenset(
    {EntryKind.REQUEST_ANSWERED, EntryKind.REQUEST_EXPIRED, EntryKind.REQUEST_SUPERSEDED, EntryKind.REQUEST_WITHDRAWN}
)


class _Answer(msgspec.Struct, frozen=True):
    verdict: str
    after_ms: int


class _Asked(msgspec.Struct):
    """One request under way. Owned by one call of `approver_load`."""

    rule: str
    made_ms: int
    state: str = RequestState.PENDING
    decided_ms: int | None = None

    def end(self, entry: Entry) -> None:
        self.state = entry.outcome
        if entry.kind is EntryKind.REQUEST_ANSWERED:
            self.decided_ms = entry.time_ms - self.made_ms


def _rule_of(entry: Entry) -> str:
    """The route, and what of it was asked for: one call's action, or all that the lease names."""
    names = entry.action or ", ".join(sorted(detail.grants(entry, "allow")))
    return f"{entry.route}: {names} ({detail.text(entry, 'kind')})"


def _tally(subject: str, requests: list[_Asked]) -> Tally:
    waits = [request.decided_ms for request in requests if request.decided_ms is not None]
    states = [request.state for request in requests]
    return Tally(
        subject=subject,
        asked=len(requests),
        approved=states.count(RequestState.APPROVED),
        denied=states.count(RequestState.DENIED),
        open=states.count(RequestState.PENDING),
        median_ms=_median(waits),
    )


def _tally_answers(person: str, answers: list[_Answer]) -> Tally:
    verdicts = [answer.verdict for answer in answers]
    return Tally(
        subject=person,
        asked=len(answers),
        approved=verdicts.count(Verdict.APPROVE),
        denied=verdicts.count(Verdict.DENY),
        median_ms=_median([answer.after_ms for answer in answers]),
    )


def _median(values: list[int]) -> int | None:
    return round(median(values)) if values else None


def _sorted(tallies: Iterable[Tally]) -> tuple[Tally, ...]:
    return tuple(sorted(tallies, key=lambda tally: (-tally.asked, tally.subject)))
