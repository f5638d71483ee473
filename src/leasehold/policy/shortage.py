"""Who is left: routes short of approvers, powers that only one person has. For `doctor` and when somebody leaves."""

from __future__ import annotations

from collections.abc import Collection, Iterator

import msgspec

from leasehold.model.effect import ApprovalMode
from leasehold.policy.document import REQUESTER, Policy, Power
from leasehold.policy.evaluate import group_roles
from leasehold.policy.explain import explain_route

__all__ = ["Shortage", "people_without_a_kind", "powers_only_of", "routes_short_of_approvers"]


class Shortage(msgspec.Struct, frozen=True, kw_only=True):
    """A route whose requests can only expire: how many approvers one of them needs, and who could give it."""

    route: str
    roles: tuple[str, ...]
    needed: int
    ready: tuple[str, ...]


def routes_short_of_approvers(policy: Policy, people: Collection[str]) -> Iterator[Shortage]:
    """The routes that need more approvers than these people come to, sorted by name."""
    for name, route in sorted(policy.routes.items()):
        if REQUESTER in route.approvers or not group_roles(policy).isdisjoint(route.approvers):
            continue  # whoever asks approves, or who can is known to a provider and not here
        rows = (row for row in explain_route(policy, name) if row.mode is not ApprovalMode.NONE)
        needed = max((row.quorum for row in rows), default=0)
        able = [person for person, roles in policy.people.items() if set(roles) & set(route.approvers)]
        ready = tuple(sorted(person for person in able if person in people))
        if len(ready) < needed:
            yield Shortage(route=name, roles=route.approvers, needed=needed, ready=ready)


def people_without_a_kind(policy: Policy) -> tuple[str, ...]:
    """The people who are named without what they are, sorted: who starts a run as `user:ben` is not this `ben`."""
    return tuple(sorted(person for person in policy.people if ":" not in person))


def powers_only_of(policy: Policy, person: str) -> tuple[Power, ...]:
    """What nobody else whom the policy names may do at the Desk, sorted."""

    def powers_of(name: str) -> set[Power]:
        return {
            power for role in policy.people.get(name, ()) if role in policy.roles for power in policy.roles[role].can
        }

    others = {power for name in policy.people if name != person for power in powers_of(name)}
    return tuple(sorted(powers_of(person) - others))
