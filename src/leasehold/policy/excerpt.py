"""As much of a policy as concerns some of its routes and tenants. Called by the desk of one who may see no more."""

from __future__ import annotations

from collections.abc import Collection

from msgspec.structs import replace

from leasehold.policy.client_rule import ClientRule
from leasehold.policy.document import EVERYONE, NoticeRule, Policy, RolePowers, Route
from leasehold.policy.evaluate import implied

__all__ = ["excerpt"]


def excerpt(policy: Policy, routes: Collection[str], tenants: Collection[str]) -> Policy:
    """The policy with these routes alone, and of all the rest what stands on them or reaches into these tenants.

    It is for looking at: it has a hash of its own, and nothing may be decided by it (invariant I10).
    """
    kept = {name: route for name, route in policy.routes.items() if name in routes}
    roles = {name: _within(role, tenants) for name, role in policy.roles.items() if _reaches(role, tenants)}
    named = {*roles, *(role for route in kept.values() for role in route.approvers)}
    for name in kept.keys() & policy.break_glass.keys():
        named |= {*policy.break_glass[name].openers, *policy.break_glass[name].confirmers}
    held_by = {person: tuple(role for role in held if role in named) for person, held in policy.people.items()}
    people = {person: held for person, held in held_by.items() if held}
    actions = {name for route in kept.values() for name in _actions(policy, route)}
    return replace(
        policy,
        routes=kept,
        roles=roles,
        people=people,
        actions={name: rule for name, rule in policy.actions.items() if name in actions},
        notices={
            name: _reviewed_by(rule, people) for name, rule in policy.notices.items() if any(map(rule.is_for, tenants))
        },
        clients={name: rule for name, rule in policy.clients.items() if _concerns(rule, kept, tenants)},
        break_glass={name: rule for name, rule in policy.break_glass.items() if name in kept},
        issuers={},
        sign_in={},
        tests=tuple(test for test in policy.tests if test.route in kept),
    )


def _reviewed_by(rule: NoticeRule, people: Collection[str]) -> NoticeRule:
    """A channel without those reviewers who concern nobody here."""
    return replace(rule, reviewers={speaker: name for speaker, name in rule.reviewers.items() if name in people})


def _reaches(role: RolePowers, tenants: Collection[str]) -> bool:
    return bool(tenants) and (role.tenants == (EVERYONE,) or not set(role.tenants).isdisjoint(tenants))


def _concerns(rule: ClientRule, routes: Collection[str], tenants: Collection[str]) -> bool:
    """Whether a client works on these routes and in these tenants and nowhere else, or stands at a door."""
    if rule.runs is None:
        return bool(tenants)
    return set(rule.runs.routes) <= set(routes) and set(rule.runs.tenants) <= set(tenants)


def _within(role: RolePowers, tenants: Collection[str]) -> RolePowers:
    """A role without the names of other tenants in which it counts too."""
    return replace(role, tenants=tuple(name for name in role.tenants if name == EVERYONE or name in tenants))


def _actions(policy: Policy, route: Route) -> set[str]:
    """The actions that a route names, with all that they imply, use and are previewed by."""
    names = {*route.allow, *route.approve, *route.after, *(name for names in route.after.values() for name in names)}
    names |= {other for name in names for other in implied(policy, name)}
    rules = [policy.action(name) for name in names]
    return names | {other for rule in rules for other in (*rule.uses, rule.preview) if other}
