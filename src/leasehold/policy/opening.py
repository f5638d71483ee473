"""What a changed route opens in time: minutes that were closed, moments that were frozen. Called by diff and reach.

Exact within one zone. Windows of different zones are not compared, because what their clocks show moves with laws that
are not written yet: there every change counts as opening.
"""

from __future__ import annotations

from collections.abc import Sequence

from leasehold.policy.document import Hours, Route
from leasehold.policy.timing import (
    MINUTES_OF_DAY,
    binding_freezes,
    binding_hours,
    covered_minutes,
    frozen_spans,
    show_hours,
    show_minutes,
    show_spans,
)

__all__ = ["opened", "thawed"]

_WEEK = frozenset(range(7 * MINUTES_OF_DAY))


def opened(before: Route, names_before: Sequence[str], after: Route, names_after: Sequence[str]) -> str:
    """When an action, named with all it implies, may be called that could not, in words; empty if never."""
    old, new = binding_hours(before, names_before), binding_hours(after, names_after)
    if set(old) <= set(new):
        return ""
    zones = {each.zone for windows in (*old, *new) for each in windows}
    if len(zones) > 1:
        return " and ".join(" or ".join(map(show_hours, windows)) for windows in new) or "at any time"
    gained = _open_minutes(new) - _open_minutes(old)
    return f"{show_minutes(gained)} {min(zones)}" if gained else ""


def _open_minutes(rules: Sequence[Sequence[Hours]]) -> frozenset[int]:
    """The minutes of the week in which each of the rules is met."""
    return _WEEK.intersection(*map(covered_minutes, rules))


def thawed(before: Route, names_before: Sequence[str], after: Route, names_after: Sequence[str]) -> str:
    """When an action may be called although it was frozen, in words; empty if never."""
    still = frozen_spans(binding_freezes(after, names_after))
    gained = []
    for start, end in frozen_spans(binding_freezes(before, names_before)):
        moment = start
        for low, high in still:
            if moment < min(low, end):
                gained.append((moment, min(low, end)))
            moment = max(moment, min(high, end))
        if moment < end:
            gained.append((moment, end))
    return show_spans(gained)
