"""What a changed policy lets through that the old one did not, or lets through with fewer people. For `policy diff`.

Exact: each item has a call that shows it, and a call that gained anything has an item. Calls are compared by their
arguments, because an attribute may be read from another argument than before. `diff` lists every changed key and what
of it could widen; here stands what that comes to, called also by whoever asks a second person to agree to it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from enum import StrEnum

import msgspec
from msgspec.structs import replace

from leasehold.model.effect import ApprovalMode, Effect
from leasehold.model.grant import ANY, Constraint, Grant, Grants, OneOf, Scalar, matches_action
from leasehold.policy.audience import added_names, shared_names
from leasehold.policy.document import Policy, Route
from leasehold.policy.evaluate import ApprovalNeed, implied, need_for_call
from leasehold.policy.opening import opened, thawed
from leasehold.policy.order import prerequisites
from leasehold.policy.witness import find_beyond, find_inside
from leasehold.policy.wording import allow_rule, route_rule, show_constraint

__all__ = ["Reach", "ReachKind", "reach"]


class ReachKind(StrEnum):
    """What was gained."""

    CALL = "call"
    MODE = "mode"
    QUORUM = "quorum"
    APPROVERS = "approvers"
    AFTER = "after"
    HOURS = "hours"
    FREEZE = "freeze"
    DELEGATED = "delegated"
    THROUGH_IMPLIES = "through_implies"
    THROUGH_USES = "through_uses"


class Reach(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that became possible: for whom, which action, how, and the rule that is responsible.

    `agents`, `tenants` and `environments` are the audience that gained it; of a delegated action the agents are those
    of the run it is delegated from. `attribute` is empty where all values are meant. `through` names the action whose
    calls come to this one (`implies`), or whose tool may call it (`uses`). `example` has a value for each attribute.
    """

    kind: ReachKind
    route: str
    agents: tuple[str, ...]
    tenants: tuple[str, ...]
    environments: tuple[str, ...]
    action: str
    effect: Effect
    attribute: str = ""
    before: str
    after: str
    rule: str
    through: str = ""
    example: dict[str, Scalar] = {}


class _Border(msgspec.Struct, frozen=True):
    """What one argument of an action may be, because the route allows that much of `owner`, the action or an implied
    one."""

    owner: str
    constraint: Constraint


_Offer = dict[str, tuple[_Border, ...]]
"""By argument path, everything that its value has to be inside of."""


class _Side(msgspec.Struct, frozen=True):
    """One policy's version of a route."""

    policy: Policy
    route: Route
    offers: dict[str, _Offer]

    def names(self, action: str) -> tuple[str, ...]:
        """The action and all that it implies."""
        return (action, *implied(self.policy, action))

    def depth(self, action: str) -> int:
        """How deep below the run that was started a call of the action may be made."""
        delegation = self.route.delegation
        may = action in self.offers and action in delegation.actions and delegation.children > 0
        return delegation.depth if may else 0

    def depth_through(self, action: str) -> tuple[int, str]:
        """The same through an action that implies it, and which one; nothing and no name if there is none."""
        ways = [(self.depth(name), name) for name in sorted(self.offers) if action in implied(self.policy, name)]
        return max(ways, default=(0, ""), key=lambda way: way[0])

    def uses(self, action: str, other: str) -> bool:
        """Whether the tool of an action may call the other one."""
        return {action, other} <= self.offers.keys() and other in self.policy.action(action).uses


def reach(old: Policy, new: Policy) -> list[Reach]:
    """Return everything that became possible, sorted by route, action and kind; an empty list if nothing did."""
    items: list[Reach] = []
    for name, route in new.routes.items():
        before = old.routes.get(name)
        items += _of_route(_side(old, before) if before is not None else None, _side(new, route))
    return sorted(items, key=lambda item: (item.route, item.action, item.kind, item.through, item.attribute, item.rule))


def _side(policy: Policy, route: Route) -> _Side:
    offers = {action: _offer(policy, route, action) for action in route.allow}
    return _Side(policy, route, {action: offer for action, offer in offers.items() if offer is not None})


def _offer(policy: Policy, route: Route, action: str) -> _Offer | None:
    """What the arguments of a call may be, or None if no call of the action can ever pass."""
    args = policy.action(action).args
    names = (action, *implied(policy, action))
    if not policy.is_classified(action) or any(matches_action(p, name) for p in route.deny for name in names):
        return None
    borders: dict[str, list[_Border]] = {path: [] for path in args.values()}
    for name in names:
        grant = route.allow.get(name)
        if grant is None or grant.attributes.keys() != policy.action(name).args.keys():
            return None
        for attribute, constraint in grant.attributes.items():
            if attribute not in args:
                return None
            borders[args[attribute]].append(_Border(name, constraint))
    if any(find_inside([each.constraint for each in border]) is None for border in borders.values()):
        return None
    return {path: tuple(border) for path, border in borders.items()}


def _of_route(before: _Side | None, after: _Side) -> Iterator[Reach]:
    if before is None:
        for action in after.offers:
            yield _whole(after, action, rule=route_rule(after.route.name))
        yield from _uses(None, after)
        return
    yield from _new_audience(before, after)
    common = _common(before.route, after.route)
    if common is None:
        return
    for action in after.offers:
        for item in _of_action(before, after, action):
            yield _for(item, common)
    for item in (*_delegated(before, after), *_uses(before, after)):
        yield _for(item, common)


# For whom


def _new_audience(before: _Side, after: _Side) -> Iterator[Reach]:
    for key in ("agents", "tenants", "environments"):
        old, new = getattr(before.route, key), getattr(after.route, key)
        gained = added_names(old, new)
        for action in after.offers if gained else ():
            item = _whole(after, action, rule=f"{route_rule(after.route.name)}.for.{key}")
            yield replace(item, before=f"{key} {', '.join(old)}", **{key: gained})


def _common(before: Route, after: Route) -> Route | None:
    """A route with the audience that both have, if there is one."""
    keys = ("agents", "tenants", "environments")
    shared = {key: shared_names(getattr(before, key), getattr(after, key)) for key in keys}
    return replace(after, **shared) if all(shared.values()) else None


def _for(item: Reach, audience: Route) -> Reach:
    return replace(item, agents=audience.agents, tenants=audience.tenants, environments=audience.environments)


# What can be called


def _item(side: _Side, kind: ReachKind, action: str, *, before: str, after: str, rule: str) -> Reach:
    route = side.route
    return Reach(
        kind=kind,
        route=route.name,
        agents=route.agents,
        tenants=route.tenants,
        environments=route.environments,
        action=action,
        effect=side.policy.action(action).effect,
        before=before,
        after=after,
        rule=rule,
        example=_example(side, action),
    )


def _whole(side: _Side, action: str, *, rule: str) -> Reach:
    return _item(side, ReachKind.CALL, action, before="", after=_show_offer(side, action), rule=rule)


def _of_action(before: _Side, after: _Side, action: str) -> Iterator[Reach]:
    if action not in before.offers:
        yield _whole(after, action, rule=_what_stopped(before, action))
        return
    yield from _new_values(before, after, action)
    old, new = before.offers[action], after.offers[action]
    shared = [_constraints(old.get(path, ())) + _constraints(new.get(path, ())) for path in old.keys() | new.keys()]
    if all(find_inside(constraints) is not None for constraints in shared):
        yield from _fewer_people(before, after, action)
        yield from _more_time(before, after, action)


def _what_stopped(before: _Side, action: str) -> str:
    """The rule of the old policy by which no call of the action could pass."""
    names = before.names(action)
    if not before.policy.is_classified(action):
        return f'actions."{action}"'
    if any(matches_action(pattern, name) for pattern in before.route.deny for name in names):
        return f"{route_rule(before.route.name)}.deny"
    missing = next((name for name in names if name not in before.route.allow), action)
    return allow_rule(before.route.name, missing)


def _new_values(before: _Side, after: _Side, action: str) -> Iterator[Reach]:
    """An item for each argument that may be something it could not be; the others are as the new policy has them."""
    for path, border in before.offers[action].items():
        inside = after.offers[action].get(path)
        shown = _show_borders(border)
        if inside is None:
            item = _item(after, ReachKind.CALL, action, before=shown, after="", rule=f'actions."{action}".args')
            yield replace(item, attribute=_attribute(before, action, path))
            continue
        value = find_beyond(_constraints(inside), _constraints(border))
        if value is None:
            continue
        owner = next(each.owner for each in border if not each.constraint.covers(value))
        is_kept = owner in after.names(action)
        rule = allow_rule(after.route.name, owner) if is_kept else f'actions."{action}".implies'
        item = _item(after, ReachKind.CALL, action, before=shown, after=_show_borders(inside), rule=rule)
        attribute = _attribute(after, action, path)
        yield replace(item, attribute=attribute, example={**item.example, attribute: value})


def _constraints(borders: Sequence[_Border]) -> list[Constraint]:
    return [each.constraint for each in borders]


def _attribute(side: _Side, action: str, path: str) -> str:
    return next(name for name, source in sorted(side.policy.action(action).args.items()) if source == path)


def _example(side: _Side, action: str) -> dict[str, Scalar]:
    found = {path: find_inside(_constraints(border)) for path, border in side.offers[action].items()}
    args = side.policy.action(action).args
    return {name: value for name, path in sorted(args.items()) if (value := found[path]) is not None}


def _show_borders(borders: Sequence[_Border]) -> str:
    return " and ".join(dict.fromkeys(show_constraint(each.constraint) for each in borders))


def _show_offer(side: _Side, action: str) -> str:
    offer = side.offers[action]
    parts = (f"{name} {_show_borders(offer[path])}" for name, path in sorted(side.policy.action(action).args.items()))
    return ", ".join(parts) or "any arguments"


# Who has to agree


def _fewer_people(before: _Side, after: _Side, action: str) -> Iterator[Reach]:
    """The most lenient lease that a caller can choose decides: exact where that makes the new policy ask less."""
    lease = _lenient_lease(before, after, action)
    old = need_for_call(before.policy, before.route.name, action, [lease])
    new = need_for_call(after.policy, after.route.name, action, [lease])
    shown = {"before": _show_need(old), "after": _show_need(new)}
    if new.mode.rank < old.mode.rank:
        yield _item(after, ReachKind.MODE, action, rule=new.rule, **shown)
    if ApprovalMode.NONE in (old.mode, new.mode):
        return
    if new.quorum < old.quorum:
        yield _item(after, ReachKind.QUORUM, action, rule=_quorum_rule(before, after, action), **shown)
    new_roles = set(after.route.approvers) - set(before.route.approvers)
    new_people = _people(after) - _people(before)
    if new_roles or new_people:
        rule = f"{route_rule(after.route.name)}.approvers" if new_roles else f'people."{min(new_people)}"'
        shown = {"before": _show_people(before), "after": _show_people(after)}
        yield _item(after, ReachKind.APPROVERS, action, rule=rule, **shown)


def _lenient_lease(before: _Side, after: _Side, action: str) -> Grants:
    """A lease that is exact where the new policy asks for that, or where its route offers nothing but exact values."""
    exact = {name for name, constraint in after.route.allow[action].attributes.items() if constraint.is_exact}
    for name in after.names(action):
        rule = after.policy.action(name)
        if rule.effect is Effect.WRITE and name not in after.route.approve:
            exact |= rule.args.keys()
    attributes = before.policy.action(action).args.keys() | after.policy.action(action).args.keys()
    exactly = OneOf(("value",))
    return {action: Grant(action, {name: exactly if name in exact else ANY for name in attributes})}


def _quorum_rule(before: _Side, after: _Side, action: str) -> str:
    if before.route.quorum != after.route.quorum:
        return f"{route_rule(after.route.name)}.quorum"
    changed = before.policy.action(action).effect is not after.policy.action(action).effect
    return f'actions."{action}".{"effect" if changed else "implies"}'


def _people(side: _Side) -> set[str]:
    roles = set(side.route.approvers)
    return {person for person, held in side.policy.people.items() if not roles.isdisjoint(held)}


def _show_need(need: ApprovalNeed) -> str:
    if need.mode is ApprovalMode.NONE:
        return "approval none"
    return f"approval {need.mode} by {need.quorum} of {', '.join(need.approvers)}"


def _show_people(side: _Side) -> str:
    people = ", ".join(sorted(_people(side)))
    return ", ".join(side.route.approvers) + (f" ({people})" if people else "")


# When


def _more_time(before: _Side, after: _Side, action: str) -> Iterator[Reach]:
    old = prerequisites(before.policy, before.route.name, action)
    new = prerequisites(after.policy, after.route.name, action)
    for name in sorted(old.keys() - new.keys()):
        rule = f'{route_rule(after.route.name)}.after."{old[name]}"'
        yield _item(after, ReachKind.AFTER, action, before=f"only after {name}", after=f"without {name}", rule=rule)
    names = before.names(action), after.names(action)
    for kind, gained in (
        (ReachKind.HOURS, opened(before.route, names[0], after.route, names[1])),
        (ReachKind.FREEZE, thawed(before.route, names[0], after.route, names[1])),
    ):
        if gained:
            rule = f"{route_rule(after.route.name)}.{kind}"
            yield _item(after, kind, action, before="closed", after=f"open {gained}", rule=rule)


# In other hands: child runs, and tools on behalf of a call


def _delegated(before: _Side, after: _Side) -> Iterator[Reach]:
    rule = f"{route_rule(after.route.name)}.delegation"
    for action in after.offers:
        old, new = before.depth(action), after.depth(action)
        shown = {"before": f"depth {old}" if old else "", "after": f"depth {new}"}
        if new > old and action in before.offers:
            yield _item(after, ReachKind.DELEGATED, action, rule=rule, **shown)
        further, through = after.depth_through(action)
        if further > max(new, old, before.depth_through(action)[0]):
            shown = {"before": f"depth {max(old, new)}" if old or new else "", "after": f"depth {further}"}
            item = _item(after, ReachKind.THROUGH_IMPLIES, action, rule=f'actions."{through}".implies', **shown)
            yield replace(item, through=through)


def _uses(before: _Side | None, after: _Side) -> Iterator[Reach]:
    for action in after.offers:
        for other in after.policy.action(action).uses:
            if after.uses(action, other) and not (before is not None and before.uses(action, other)):
                shown = {"before": "", "after": _show_offer(after, other)}
                item = _item(after, ReachKind.THROUGH_USES, other, rule=f'actions."{action}".uses', **shown)
                yield replace(item, through=action)
