"""Breakers: a hold of one route in one tenant that a rule of the policy sets. Called by admit, settle and lift.

A route that declares a breaker has one row a tenant, with how its newest calls went; the step that adds the one too
many also writes the hold, its entry and the alarm. From there on it is a hold like any other: a person lifts it, and
counting begins anew (decision 0013). A route without a breaker costs nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum

import msgspec
from msgspec.structs import replace

from leasehold.decide.facts import Changes, Facts, Need, OpenCalls, Ref
from leasehold.decide.in_flight import calls_in_flight
from leasehold.decide.rows import BreakerRow, StopRow
from leasehold.ledger.entry import Entry, EntryKind
from leasehold.model.decision import Decision, Reason
from leasehold.model.instant import Instant
from leasehold.model.scope import Scope, ScopeKind, StopKind
from leasehold.policy.document import Breaker, Rate

__all__ = [
    "BY_RULE",
    "BreakerPlace",
    "Counted",
    "breaker_needs",
    "count",
    "reset_breaker",
    "reset_needs",
    "speaks_against",
]

BY_RULE = "rule:"
"""What the name of a rule stands behind where a stop says who set it."""

_BAD, _GOOD = "1", "0"


class Counted(StrEnum):
    """What is counted, by the name of its window in the row."""

    SETTLED = "settled"
    ASKED = "asked"


_KEYS = {Counted.SETTLED: "errors", Counted.ASKED: "denials"}
_WORDS = {Counted.SETTLED: "settled calls failed or ended unknown", Counted.ASKED: "calls were denied"}
_SILENT = frozenset(
    {
        *(Reason.APPROVAL_NEEDED, Reason.PREVIEW_NEEDED, Reason.STATE_MOVED, Reason.TERMS_CHANGED, Reason.EDITED),
        *(Reason.HELD, Reason.REVOKED, Reason.CLOCK, Reason.OUTSIDE_HOURS, Reason.FROZEN),
        Reason.PREREQUISITE_OPEN,
    }
)


class BreakerPlace(msgspec.Struct, frozen=True, kw_only=True):
    """The pair that a breaker guards, and what the route declares; None where it declares nothing."""

    tenant: str
    route: str
    breaker: Breaker | None

    @property
    def scope(self) -> Scope:
        """What it holds, in its tenant alone."""
        return Scope(ScopeKind.ROUTE, self.route)

    def rate(self, counted: Counted) -> Rate | None:
        """How many bad ones are too many, if they are counted at all."""
        if self.breaker is None:
            return None
        return self.breaker.errors if counted is Counted.SETTLED else self.breaker.denials


def breaker_needs(place: BreakerPlace, counted: Counted) -> list[Need]:
    """The facts that counting asks for; none where nothing is counted."""
    if place.rate(counted) is None:
        return []
    return [
        Ref(BreakerRow, (place.tenant, place.route)),
        Ref(StopRow, (place.tenant, str(place.scope), StopKind.HOLD)),
        OpenCalls((place.tenant,)),
    ]


def speaks_against(refusal: Decision) -> bool:
    """Whether a refusal speaks against the route: not that people are asked, nor that nothing may pass now anyway."""
    return refusal.reason not in _SILENT


def count(
    facts: Facts, now: Instant, place: BreakerPlace, counted: Counted, *, is_bad: bool, ended: str = ""
) -> Changes:
    """Count one call, and hold the route if it is the one too many; its entry comes after those of the step itself.

    `ended` is the admission that this very step ends. While the route is held nothing is counted.
    """
    rate = place.rate(counted)
    if rate is None or _is_held(facts, place):
        return Changes()
    row = facts.get(BreakerRow, place.tenant, place.route)
    row = row or BreakerRow(tenant=place.tenant, route=place.route, settled="", asked="")
    window = (getattr(row, counted) + (_BAD if is_bad else _GOOD))[-rate.of :]
    row = replace(row, **{counted: window})
    bad = window.count(_BAD)
    if not is_bad or bad < rate.limit:
        return Changes(rows=(row,))
    rule = f"routes.{place.route}.breaker.{_KEYS[counted]}"
    hold = StopRow(
        tenant=place.tenant,
        scope=str(place.scope),
        kind=StopKind.HOLD,
        is_active=1,
        recorded=facts.next_index,
        at=now.seconds,
        by=f"{BY_RULE}{rule}",
        reason=f"{bad} of the last {rate.of} {_WORDS[counted]}",
    )
    return Changes(rows=(row, hold), entries=(_entry(facts, place, hold, rule, ended),))


def _is_held(facts: Facts, place: BreakerPlace) -> bool:
    hold = facts.get(StopRow, place.tenant, str(place.scope), StopKind.HOLD)
    return hold is not None and bool(hold.is_active)


def _entry(facts: Facts, place: BreakerPlace, hold: StopRow, rule: str, ended: str) -> Entry:
    """The alarm. It names every call of the route in flight, as the entry of any stop does."""
    in_flight, unreadable = calls_in_flight(facts, OpenCalls((place.tenant,)), lambda call: call.route == place.route)
    return Entry(
        kind=EntryKind.HELD,
        tenant=place.tenant,
        scope=hold.scope,
        route=place.route,
        detail={
            "alarm": "breaker",
            "rule": rule,
            "reason": hold.reason,
            "in_flight": (*(call.admission_id for call in in_flight if call.admission_id != ended), *unreadable),
        },
    )


def reset_needs(tenant: str, scope: Scope) -> list[Need]:
    """The row that lifting a hold of a route empties."""
    return [Ref(BreakerRow, (tenant, scope.value))] if scope.kind is ScopeKind.ROUTE else []


def reset_breaker(facts: Facts, tenant: str, scope: Scope) -> Sequence[BreakerRow]:
    """The row emptied, so that counting begins anew; nothing where there is none."""
    row = facts.get(BreakerRow, tenant, scope.value) if scope.kind is ScopeKind.ROUTE else None
    return [] if row is None else [replace(row, settled="", asked="")]
