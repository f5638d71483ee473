"""Which actions of a route come before which. Called by decide, by the comparison of policies and by their checks."""

from __future__ import annotations

from leasehold.policy.document import Policy
from leasehold.policy.evaluate import implied

__all__ = ["is_milestone", "prerequisites"]


def prerequisites(policy: Policy, route: str, action: str) -> dict[str, str]:
    """The actions of which a run must have done a call before this one, each with the action whose rule says so.

    What an action implies brings its rules along: the same effect through another door comes in the same order.
    """
    found = policy.route(route)
    if found is None or not found.after:  # as nearly always
        return {}
    names = (action, *implied(policy, action))
    return {before: name for name in reversed(names) for before in found.after.get(name, ())}


def is_milestone(policy: Policy, route: str, action: str) -> bool:
    """Whether another action of the route comes after this one."""
    found = policy.route(route)
    if found is None or not found.after:  # as nearly always
        return False
    return any(action in names for names in found.after.values())
