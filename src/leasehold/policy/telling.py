"""What a changed policy changes and lets through, in one line each. Called by `leasehold policy` and the console."""

from __future__ import annotations

from collections.abc import Iterable
from typing import assert_never

from leasehold.model.plain import escape
from leasehold.policy.diff import Change
from leasehold.policy.reach import Reach, ReachKind

__all__ = ["change_words", "is_in_reach", "reach_words"]


def change_words(change: Change) -> str:
    """One difference in one line: where, before, after."""
    place = " ".join(part for part in (change.route, change.action, change.subject) if part)
    if not change.before:
        return escape(f"{place}: {change.after} is new")
    if not change.after:
        return escape(f"{place}: {change.before} is gone")
    return escape(f"{place}: {change.before} becomes {change.after}")


def is_in_reach(change: Change, reached: Iterable[Reach]) -> bool:
    """Whether what became reachable says all that a changed value, grant or approval says, and more: one of the two is
    enough then."""
    rule = f'routes."{change.route}".{change.subject}."{change.action}"'
    if change.route and change.action and any(item.rule == rule for item in reached):
        return True
    said = (change.route, change.action, change.subject, change.before, change.after)
    return any(
        said == (item.route, item.action, f"allow.{item.attribute}", item.before, item.after) for item in reached
    )


def reach_words(item: Reach) -> str:
    """Route, action and effect, for whom, what became possible, by which rule, and a call that shows it."""
    audience = "; ".join(
        f"{what} {', '.join(names)}"
        for what, names in (("agents", item.agents), ("tenants", item.tenants), ("environments", item.environments))
    )
    words = f"{item.route} {item.action} ({item.effect}): {_gain(item)}, for {audience}; rule {item.rule}"
    if item.example:
        words += "; for example " + ", ".join(f"{name}={value}" for name, value in item.example.items())
    return escape(words)


def _gain(item: Reach) -> str:
    change = f"{item.before or 'nothing'} -> {item.after or 'unchecked'}"
    match item.kind:
        case ReachKind.CALL:
            return (
                f"{item.attribute} {change}" if item.attribute else f"can be called with {item.after}{_instead(item)}"
            )
        case ReachKind.MODE | ReachKind.QUORUM | ReachKind.AFTER | ReachKind.HOURS | ReachKind.FREEZE:
            return change
        case ReachKind.APPROVERS:
            return f"other people suffice, {change}"
        case ReachKind.DELEGATED:
            return f"child runs may call it, {change}"
        case ReachKind.THROUGH_IMPLIES:
            return f"child runs reach it through {item.through}, {change}"
        case ReachKind.THROUGH_USES:
            return f"the tool of {item.through} may call it with {item.after}"
        case _:
            assert_never(item.kind)


def _instead(item: Reach) -> str:
    return f" (before: {item.before})" if item.before else ""
