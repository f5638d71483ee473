"""Every question that a policy answers, as pure functions of it. Called by decide in each step, by explain and diff.

Deny by default, deny wins, and no function here raises over what an agent may send: what cannot be decided is refused.
A name that the policy does not know, a missing attribute, an empty chain of leases are refusals, never passes.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from typing import TypeVar

import msgspec

from leasehold.errors import InvalidError
from leasehold.model.budget import CALLS, MICROS, TOOL_SECONDS
from leasehold.model.call import MAX_KEY
from leasehold.model.canonical import Json, encode
from leasehold.model.decision import Decision, Reason, allow, deny
from leasehold.model.effect import ApprovalMode, Effect
from leasehold.model.grant import (
    Attributes,
    Constraint,
    Grant,
    Grants,
    check_attributes,
    matches_action,
)
from leasehold.policy.document import EVERYONE, REQUESTER, ActionRule, Policy, Power, Route
from leasehold.policy.paths import read_path
from leasehold.policy.wording import (
    allow_rule,
    compare_constraints,
    compare_values,
    route_rule,
    show_attributes,
    show_name,
    show_within,
)

__all__ = [
    "ApprovalNeed",
    "attributes_of",
    "check_call",
    "check_grants",
    "check_start",
    "default_mode",
    "default_quorum",
    "finish_seconds",
    "fresh_seconds",
    "group_roles",
    "has_power",
    "implied",
    "is_entitled",
    "key_of",
    "need_for_call",
    "need_for_grants",
    "own_mode",
    "reservation",
    "with_implied",
]

_DESTRUCTIVE_QUORUM = 2

Value = TypeVar("Value")


class ApprovalNeed(msgspec.Struct, frozen=True, kw_only=True):
    """Who has to agree: when, how many people of which roles, because of which rule.

    `effect` is the strongest of all that was looked at. With mode `none` the quorum is 0 and nobody is named.
    """

    mode: ApprovalMode
    quorum: int
    approvers: tuple[str, ...]
    effect: Effect
    rule: str


def check_start(policy: Policy, *, route: str, agent: str, tenant: str, environment: str) -> Decision:
    """Whether such a run may start: the route exists and is for this agent, tenant and environment."""
    found = policy.route(route)
    if found is None:
        return _unknown_route(route)
    for key, name, names in (
        ("agents", agent, found.agents),
        ("tenants", tenant, found.tenants),
        ("environments", environment, found.environments),
    ):
        if name not in names and names != (EVERYONE,):
            return deny(
                Reason.POLICY_DENIES,
                f"route {route} is not for {key[:-1]} {show_name(name)}",
                rule=f"{route_rule(route)}.for.{key}",
                check=f"{show_name(name)} is not in for.{key}",
            )
    return allow(route_rule(route))


def check_grants(policy: Policy, route: str, grants: Grants, above: Sequence[Grants]) -> Decision:
    """Whether a lease may carry these grants: within the route, and within what each lease above it carries."""
    found = policy.route(route)
    if found is None:
        return _unknown_route(route)
    if not grants:
        return deny(Reason.NOT_GRANTED, "nothing was asked for", check="at least one action is named")
    for action, grant in sorted(grants.items()):
        refusal = (
            _refuse_shape(policy, action, grant)
            or _refuse_denied(policy, found, action, ())
            or _refuse_wider_than_route(policy, found, action, grant)
            or _refuse_wider_than_ancestors(action, grant, above)
        )
        if refusal:
            return refusal
    return allow(f"{route_rule(route)}.allow")


def check_call(
    policy: Policy, route: str, action: str, attributes: Attributes, links: Sequence[tuple[Grants, tuple[str, ...]]]
) -> Decision:
    """Whether one call is covered by every lease of its chain and by the live route, with all that it implies.

    `links` are the grants and deny lists of the chain, root first, the lease in hand last.
    """
    found = policy.route(route)
    if found is None:
        return deny(
            Reason.POLICY_DENIES,
            f"the active policy has no route {show_name(route)}",
            check=f"route {show_name(route)} exists",
        )
    return (
        _refuse_attributes(policy, action, attributes.keys())
        or _refuse_denied(policy, found, action, [patterns for _, patterns in links])
        or _refuse_ungranted(found, action, attributes, [grants for grants, _ in links])
        or _refuse_beyond_route(policy, found, action, attributes)
        or allow(allow_rule(found.name, action))
    )


def need_for_grants(policy: Policy, route: str, grants: Grants) -> ApprovalNeed:
    """Who has to agree before a lease with these grants is issued.

    Mode `lease` means that the request waits: one such grant is enough. Mode `call` means that the lease itself needs
    nobody, but some of its calls will. Quorum and effect are the strictest of all its actions and what they imply.
    """
    found = policy.route(route)
    needs = [_need(policy, found, action, [grant]) for action, grant in sorted(grants.items())]
    return _strictest(needs, _WAITING_RANK)


def need_for_call(policy: Policy, route: str, action: str, grants: Sequence[Grants]) -> ApprovalNeed:
    """Who has to agree to one call under these leases, one of `grants` for each link: the strictest rule of the action
    and of all that it implies, with a lease exact only if every link is.
    """
    return _need(policy, policy.route(route), action, [link.get(action) for link in grants])


def attributes_of(rule: ActionRule, arguments: Mapping[str, Json]) -> Attributes:
    """Return what the call's arguments say for each attribute that the action declares.

    Raises:
        InvalidError: an argument is missing, null, empty or of another type than an attribute may have.
    """
    values = {attribute: read_path(path, arguments) for attribute, path in rule.args.items()}
    try:
        return check_attributes(values)
    except InvalidError:
        for attribute, found in values.items():
            path = rule.args[attribute]
            if isinstance(found[0], list) and not path.endswith("[]"):
                raise InvalidError(
                    f'argument {path} is a list; read each of its items: args = {{ {attribute} = "{path}[]" }}'
                ) from None
        raise


def key_of(rule: ActionRule, attributes: Attributes) -> str | None:
    """The idempotency key that the action's own rule makes: canonical JSON text, or its digest where that is too long.

    None if the action has no such rule.
    """
    if not rule.key:
        return None
    text = encode({attribute: attributes.get(attribute, ()) for attribute in rule.key})
    return text.decode() if len(text) <= MAX_KEY else f"sha256:{hashlib.sha256(text).hexdigest()}"


def reservation(policy: Policy, action: str) -> dict[str, int | None]:
    """What one call reserves, in millionths by unit, None for all that is left; nothing that is not declared."""
    rule = policy.action(action)
    seconds: dict[str, int | None] = {}
    if rule.timeout_seconds is not None:
        seconds[TOOL_SECONDS] = rule.timeout_seconds * MICROS
    return {**rule.cost, **seconds, CALLS: MICROS}


def finish_seconds(policy: Policy, action: str) -> int:
    """How long a started call may stay unsettled before its outcome counts as unknown."""
    declared = policy.action(action).timeout_seconds
    return policy.defaults.timeout_seconds if declared is None else declared


def fresh_seconds(policy: Policy, action: str) -> int | None:
    """How old the lease may be at most for this action and all that it implies; None if any live lease will do."""
    rules = [policy.action(name) for name in (action, *implied(policy, action))]
    return min([rule.fresh_seconds for rule in rules if rule.fresh_seconds is not None], default=None)


def implied(policy: Policy, action: str) -> tuple[str, ...]:
    """Everything that the action implies, directly or not, sorted, itself left out."""
    return policy.implications.get(action, ())


def with_implied(policy: Policy, actions: Iterable[str]) -> tuple[str, ...]:
    """Each action, followed by all that it implies."""
    return tuple(name for action in actions for name in (action, *implied(policy, action)))


def is_entitled(policy: Policy, person: str, route: str, requested_by: str) -> bool:
    """Whether the person may answer requests of the route; that nobody answers their own is decided elsewhere."""
    found = policy.route(route)
    if found is None:
        return False
    if found.approvers == (REQUESTER,):
        return person == requested_by
    return not set(policy.people.get(person, ())).isdisjoint(found.approvers)


def has_power(policy: Policy, person: str, power: Power, tenant: str) -> bool:
    """Whether a role of the person may do this in the tenant; `"*"` asks for all tenants at once."""
    held = (policy.roles.get(role) for role in policy.people.get(person, ()))
    return any(
        role is not None and power in role.can and (tenant in role.tenants or role.tenants == (EVERYONE,))
        for role in held
    )


def group_roles(policy: Policy) -> frozenset[str]:
    """The roles that groups of a provider can mean: who holds them is not in the policy."""
    return frozenset(role for rule in policy.sign_in.values() for roles in rule.roles.values() for role in roles)


# Refusals of grants.


def _refuse_shape(policy: Policy, action: str, grant: Grant) -> Decision | None:
    if grant.action != action:
        return deny(Reason.BAD_ATTRIBUTE, f"the grant under {show_name(action)} is one for {grant.action}")
    return _refuse_attributes(policy, action, grant.attributes.keys())


def _refuse_attributes(policy: Policy, action: str, names: Iterable[str]) -> Decision | None:
    """An unknown action, or attributes that are not exactly those it declares."""
    if not policy.is_classified(action):
        return deny(
            Reason.UNKNOWN_ACTION,
            f"nobody classified {show_name(action)}",
            check=f"{show_name(action)} is in [actions]",
        )
    declared = policy.action(action).args.keys()
    for name in sorted(declared ^ set(names)):
        what = "is missing" if name in declared else "is not declared by the action"
        return deny(
            Reason.BAD_ATTRIBUTE,
            f"the attributes of {action} do not fit",
            rule=f'actions."{action}".args',
            check=f"{show_name(name)} {what}",
        )
    return None


def _refuse_denied(policy: Policy, route: Route, action: str, lists: Sequence[tuple[str, ...]]) -> Decision | None:
    """Deny wins: over the action and over each that it implies, in the route and in every lease of the chain."""
    for name in (action, *implied(policy, action)):
        for patterns, where in (
            (route.deny, f"{route_rule(route.name)}.deny"),
            *((each, "lease.deny") for each in lists),
        ):
            for pattern in patterns:
                if matches_action(pattern, name):
                    by = "" if name == action else f", which {action} implies"
                    return deny(
                        Reason.ACTION_DENIED, f"{name} is denied{by}", rule=where, check=f'{name} matches "{pattern}"'
                    )
    return None


def _refuse_wider_than_route(policy: Policy, route: Route, action: str, grant: Grant) -> Decision | None:
    """The grant, and what it comes to for each implied action, must be within what the route offers."""
    for name in (action, *implied(policy, action)):
        offered = route.allow.get(name)
        if offered is None:
            return _not_offered(route, name, action)
        constraints = grant.attributes if name == action else _mapped(policy, name, grant.attributes)
        if attribute := _wider(constraints, offered.attributes):
            return deny(
                Reason.OUT_OF_RANGE,
                f"{action} is asked for more than route {route.name} offers",
                rule=allow_rule(route.name, name),
                check=compare_constraints(attribute, constraints, offered.attributes),
                enough=show_within(attribute, offered.attributes),
            )
    return None


def _refuse_wider_than_ancestors(action: str, grant: Grant, above: Sequence[Grants]) -> Decision | None:
    for link in above:
        wider = link.get(action)
        if wider is None:
            return deny(
                Reason.WIDER_THAN_PARENT,
                f"a lease above does not grant {action}",
                check=f"{action} is in every lease above",
            )
        if attribute := _wider(grant.attributes, wider.attributes):
            return deny(
                Reason.WIDER_THAN_PARENT,
                f"{action} is asked for more than a lease above grants",
                check=compare_constraints(attribute, grant.attributes, wider.attributes),
                enough=show_within(attribute, wider.attributes),
            )
    return None


def _wider(asked: Mapping[str, Constraint], offered: Mapping[str, Constraint]) -> str | None:
    """The first attribute by name that stands on one side only or is not within the offer."""
    for name in sorted(asked.keys() | offered.keys()):
        if name not in asked or name not in offered or not asked[name].within(offered[name]):
            return name
    return None


# Refusals of calls.


def _refuse_ungranted(route: Route, action: str, attributes: Attributes, chain: Sequence[Grants]) -> Decision | None:
    """The lease in hand first, because what it lacks is what its holder can do something about."""
    if not chain:
        return deny(Reason.NOT_GRANTED, f"no lease grants {action}", check="there is a lease")
    for position in range(len(chain) - 1, -1, -1):
        grant = chain[position].get(action)
        is_in_hand = position == len(chain) - 1
        if grant is None:
            source = chain[position - 1] if position else route.allow
            could_ask = is_in_hand and (position == 0 or action in route.delegation.actions)
            return _not_granted(action, source if could_ask else {})
        if not grant.covers(attributes):
            attribute = grant.failing(attributes) or ""
            return deny(
                Reason.OUT_OF_RANGE,
                f"this call of {action} is outside what the lease grants",
                rule=f'lease.allow."{action}"',
                check=compare_values(attribute, attributes, grant.attributes),
                enough=show_within(attribute, grant.attributes) if is_in_hand and action in route.allow else "",
            )
    return None


def _not_granted(action: str, offered: Grants) -> Decision:
    """Not in a lease. What would be enough is told only out of what its holder is offered and could ask for."""
    could_ask = offered.get(action)
    return deny(
        Reason.NOT_GRANTED,
        f"the lease does not grant {action}",
        rule="lease.allow",
        check=f"{action} is in lease.allow",
        enough=f"a lease with {action} {show_attributes(could_ask)}" if could_ask else "",
    )


def _refuse_beyond_route(policy: Policy, route: Route, action: str, attributes: Attributes) -> Decision | None:
    """What the live policy no longer offers, of the action or of what it implies."""
    for name in (action, *implied(policy, action)):
        offered = route.allow.get(name)
        if offered is None:
            return _not_offered(route, name, action)
        values = attributes if name == action else _mapped(policy, name, attributes)
        if attribute := offered.failing(values):
            by = "" if name == action else f" for {name}, which it implies"
            return deny(
                Reason.POLICY_DENIES,
                f"this call of {action} is outside what the active policy allows{by}",
                rule=allow_rule(route.name, name),
                check=compare_values(attribute, values, offered.attributes),
                enough=show_within(attribute, offered.attributes),
            )
    return None


# Who has to agree.


def _need(policy: Policy, route: Route | None, action: str, chain: Sequence[Grant | None]) -> ApprovalNeed:
    """The strictest rule of the action and of all that it implies."""
    needs = []
    for name in (action, *implied(policy, action)):
        rule = policy.action(name)
        mode, why = own_mode(route, rule, is_exact=_is_exact(rule, chain))
        needs.append(_need_of(route, rule.effect, mode, why))
    return _strictest(needs, _MODE_RANK)


def own_mode(route: Route | None, rule: ActionRule, *, is_exact: bool) -> tuple[ApprovalMode, str]:
    """When a person has to agree to an action on its own account, without what it implies, and the rule that says so.

    `is_exact` says whether every lease of the chain gives all its attributes by exact values.
    """
    if route is None:
        return ApprovalMode.CALL, "no such route"
    spelled_out = route.approve.get(rule.name)
    if spelled_out is not None:
        return spelled_out, f'{route_rule(route.name)}.approve."{rule.name}"'
    return default_mode(rule.effect, is_exact=is_exact), f"default for {rule.effect}: {rule.name}"


def default_mode(effect: Effect, *, is_exact: bool) -> ApprovalMode:
    """What holds where a route spells nothing out; `is_exact` says whether every attribute is given by exact values."""
    if effect is Effect.READ:
        return ApprovalMode.NONE
    if effect is Effect.WRITE and is_exact:
        return ApprovalMode.LEASE
    return ApprovalMode.CALL


def default_quorum(effect: Effect) -> int:
    """How many people have to agree where a route spells nothing out."""
    return _DESTRUCTIVE_QUORUM if effect is Effect.DESTRUCTIVE else 1


def _need_of(route: Route | None, effect: Effect, mode: ApprovalMode, rule: str) -> ApprovalNeed:
    if mode is ApprovalMode.NONE:
        return ApprovalNeed(mode=mode, quorum=0, approvers=(), effect=effect, rule=rule)
    spelled_out = route.quorum if route else None
    quorum = default_quorum(effect) if spelled_out is None else spelled_out
    return ApprovalNeed(mode=mode, quorum=quorum, approvers=route.approvers if route else (), effect=effect, rule=rule)


def _is_exact(rule: ActionRule, chain: Sequence[Grant | None]) -> bool:
    """Whether every lease of the chain names exact values for all attributes of this action (which may be implied)."""
    if not chain:
        return False
    for grant in chain:
        for attribute in rule.args:
            constraint = grant.attributes.get(attribute) if grant else None
            if constraint is None or not constraint.is_exact:
                return False
    return None not in chain


_MODE_RANK = {mode: mode.rank for mode in ApprovalMode}
# For a request the question is whether it waits, and only a grant in lease mode makes it.
_WAITING_RANK = {ApprovalMode.NONE: 0, ApprovalMode.CALL: 1, ApprovalMode.LEASE: 2}


def _strictest(needs: Sequence[ApprovalNeed], rank: Mapping[ApprovalMode, int]) -> ApprovalNeed:
    if not needs:
        return ApprovalNeed(mode=ApprovalMode.NONE, quorum=0, approvers=(), effect=Effect.READ, rule="")
    first = max(needs, key=lambda need: rank[need.mode])
    return ApprovalNeed(
        mode=first.mode,
        quorum=max(need.quorum for need in needs),
        approvers=first.approvers,
        effect=max((need.effect for need in needs), key=lambda effect: effect.rank),
        rule=first.rule,
    )


def _mapped(policy: Policy, action: str, attributes: Mapping[str, Value]) -> dict[str, Value]:
    """What the attributes of a call or grant come to for an action that it implies: those of equal name."""
    return {name: attributes[name] for name in policy.action(action).args if name in attributes}


def _unknown_route(route: str) -> Decision:
    return deny(Reason.UNKNOWN_ROUTE, f"there is no route {show_name(route)}", check=f"route {show_name(route)} exists")


def _not_offered(route: Route, name: str, action: str) -> Decision:
    by = "" if name == action else f", which {action} implies"
    return deny(
        Reason.POLICY_DENIES,
        f"route {route.name} does not allow {name}{by}",
        rule=f"{route_rule(route.name)}.allow",
        check=f"{name} is in allow",
    )
