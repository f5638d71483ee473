"""What the active policy says of one action on one route, looked up once for a whole decision. Made by admit."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from leasehold.model.budget import MICROS, TOOL_SECONDS
from leasehold.policy.document import ActionRule, Breaker, Policy, Route
from leasehold.policy.evaluate import finish_seconds, fresh_seconds, implied, reservation
from leasehold.policy.order import is_milestone

__all__ = ["CallTerms", "call_terms"]


class CallTerms(msgspec.Struct, frozen=True, kw_only=True):
    """The rules that bind a call whatever its arguments are. `route` is None where the policy has no such route.

    `implied` are all actions that the action implies; `reserves` is what a call takes, in millionths by unit, None for
    all that is left; `finish_seconds` how long it may stay unsettled; `fresh_seconds` how old its lease may be, None
    if any live one will do; `is_milestone` whether another action of the route comes after it.
    """

    rule: ActionRule
    route: Route | None
    implied: tuple[str, ...]
    reserves: Mapping[str, int | None]
    finish_seconds: int
    fresh_seconds: int | None
    is_milestone: bool

    @property
    def actions(self) -> tuple[str, ...]:
        """The action and all that it implies."""
        return (self.rule.name, *self.implied)

    @property
    def budget(self) -> Mapping[str, int]:
        """What the policy gives a run of the route now."""
        return self.route.budget if self.route is not None else {}

    @property
    def breaker(self) -> Breaker | None:
        """What counts the denials of the route, if it declares that."""
        return self.route.breaker if self.route is not None else None


def call_terms(policy: Policy, route: str, action: str) -> CallTerms:
    """What a policy says of an action on a route. An action that declares no time reserves what it may take at most."""
    seconds = finish_seconds(policy, action)
    return CallTerms(
        rule=policy.action(action),
        route=policy.route(route),
        implied=implied(policy, action),
        reserves={TOOL_SECONDS: seconds * MICROS, **reservation(policy, action)},
        finish_seconds=seconds,
        fresh_seconds=fresh_seconds(policy, action),
        is_milestone=is_milestone(policy, route, action),
    )
