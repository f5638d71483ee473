"""What a changed policy changes and lets through, in one line each. Called by `leasehold policy` and the console."""

from __future__ import annotations

from collections.abc import Iterable
from typing import assert_never

from leasehold.model.plain import escape
from leasehold.policy.diff import Change
from leasehold.policy.programs import ClientGain, Startable, TrustGain, TrustKind
from leasehold.policy.reach import Reach, ReachKind

__all__ = ["change_words", "client_gain_words", "is_in_reach", "reach_words", "startable_words"]


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
    words = f"{item.route} {item.action} ({item.effect}): {_gain(item)}, for {_audience(item)}; rule {item.rule}"
    if item.example:
        words += "; for example " + ", ".join(f"{name}={value}" for name, value in item.example.items())
    return escape(words)


def client_gain_words(gain: ClientGain) -> str:
    """What a client gained, and by which rule."""
    gained = _trust(gain) if isinstance(gain, TrustGain) else _startable(gain.runs)
    return escape(f"client {gain.client}: {gained}; rule {gain.rule}")


def startable_words(found: Startable) -> str:
    """Which runs may be started, on which route and for whom."""
    return escape(_startable(found))


def _startable(found: Startable) -> str:
    return f"may start {'child runs' if found.is_child else 'runs'} on {found.route}, for {_audience(found)}"


def _trust(gain: TrustGain) -> str:
    instead = f" (before: {gain.before})" if gain.before else ""
    match gain.kind:
        case TrustKind.DOOR:
            return f"stands at the door of {gain.after} for every tenant{instead}"
        case TrustKind.IDENTITY:
            return f"is whoever has a token of {gain.after}{instead}"
        case TrustKind.UNPROVEN:
            return f"is whoever comes from {gain.after} with consent, unless it ever had an API key{instead}"
        case TrustKind.REDIRECT:
            return f"has browsers sent back to {gain.after} with what a person consented to"
        case _:
            assert_never(gain.kind)


def _audience(found: Reach | Startable) -> str:
    lists = (("agents", found.agents), ("tenants", found.tenants), ("environments", found.environments))
    return "; ".join(f"{what} {', '.join(names)}" for what, names in lists)


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
