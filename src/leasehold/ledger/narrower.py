"""The narrowest grants that would have been enough: exactly what was used. For the receipt's advice.

What is suggested covers every call that may have run, and is never wider than what was granted: a long list of exact
values becomes a range, or the granted constraint, only where one lease already allowed that.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from leasehold.model.grant import Attributes, Constraint, Grant, Grants, OneOf, Range, Scalar

__all__ = ["MAX_EXACT", "narrowest_grants"]

MAX_EXACT = 64
"""How many exact values of one attribute are listed; more become a range, or what was granted."""


def narrowest_grants(uses: Iterable[tuple[str, Attributes]], granted: Sequence[Grants]) -> dict[str, Grant]:
    """Return one grant for each action used, by action.

    Args:
        uses: the action and attributes of each call that may have run.
        granted: what the leases allowed.
    """
    values: dict[str, dict[str, set[tuple[type, Scalar]]]] = {}
    for action, attributes in uses:
        of_action = values.setdefault(action, {})
        for name, several in attributes.items():
            of_action.setdefault(name, set()).update((type(value), value) for value in several)
    return {
        action: Grant(
            action,
            {name: _narrowest(used, _offered(granted, action, name)) for name, used in sorted(of_action.items())},
        )
        for action, of_action in sorted(values.items())
    }


def _narrowest(used: set[tuple[type, Scalar]], offered: Sequence[Constraint]) -> Constraint:
    listed = [value for _, value in sorted(used, key=lambda typed: (typed[0].__name__, typed[1]))]
    exact = OneOf(values=tuple(listed))
    if len(listed) <= MAX_EXACT:
        return exact
    integers = [value for value in listed if type(value) is int]
    if len(integers) == len(listed):
        span = Range(min=min(integers), max=max(integers))
        if any(span.within(wide) for wide in offered):
            return span
    return next((wide for wide in offered if exact.within(wide)), exact)


def _offered(granted: Sequence[Grants], action: str, name: str) -> list[Constraint]:
    """What the leases allowed for one attribute."""
    grants = [allow[action] for allow in granted if action in allow]
    return [grant.attributes[name] for grant in grants if name in grant.attributes]
