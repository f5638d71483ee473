"""Roles that a provider's groups give: what was proven of a person at a sign-in, judged by the live policy.

Asked wherever the policy's own `[people]` are asked: at the answer and again at the use (invariant I4). Groups stand in
the person's row with the time until which they count, never in a cookie: who leaves a group loses its roles at the next
sign-in or when the proof is too old, whichever comes first; who is let go loses them at once, with the row.

Such roles do not open break-glass and have no say over policies: whoever keeps the groups must not thereby write rules.
"""

from __future__ import annotations

from msgspec.structs import replace

from leasehold.decide.lifecycles import PersonState
from leasehold.decide.rows import PersonRow
from leasehold.decide.voices import is_of_provider, sign_ins_of
from leasehold.model.instant import Instant
from leasehold.policy.document import Policy

__all__ = ["as_proven", "proven_roles"]


def proven_roles(policy: Policy, row: PersonRow | None, now: Instant) -> tuple[str, ...]:
    """The roles of a person by groups that were proven lately enough, sorted."""
    known = sign_ins_of(row) if row is not None and row.state == PersonState.ACTIVE else ()
    roles: set[str] = set()
    for one in known:
        rule = policy.sign_in.get(one.provider)
        if rule is not None and is_of_provider(policy, one) and not now.reached(one.groups_until):
            roles.update(role for group in one.groups for role in rule.roles.get(group, ()))
    return tuple(sorted(roles))


def as_proven(policy: Policy, row: PersonRow | None, now: Instant) -> Policy:
    """The policy in which this one person also holds the roles that were proven of them. For asking, never to keep."""
    roles = proven_roles(policy, row, now)
    if row is None or not roles:
        return policy
    held = policy.people.get(row.person, ())
    return replace(policy, people={**policy.people, row.person: tuple(sorted({*held, *roles}))})
