"""What a route comes to, as data: each action with who has to agree and why. Called by the CLI, cards and `doctor`."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from leasehold.errors import InvalidError
from leasehold.model.decision import Decision
from leasehold.model.effect import ApprovalMode, Effect
from leasehold.model.grant import Attributes, Grant, Grants, OneOf, matches_action
from leasehold.policy.client_rule import ClientRule, RunsRight
from leasehold.policy.document import EVERYONE, REQUESTER, Policy, Route
from leasehold.policy.evaluate import (
    ApprovalNeed,
    check_call,
    default_mode,
    default_quorum,
    implied,
    need_for_call,
    own_mode,
)
from leasehold.policy.order import prerequisites
from leasehold.policy.reader import suggest
from leasehold.policy.timing import show_timing
from leasehold.policy.wording import route_rule, show_constraint

__all__ = ["CallExplanation", "LaxRule", "RouteRow", "explain_call", "explain_route", "laxer_rules"]


class RouteRow(msgspec.Struct, frozen=True, kw_only=True):
    """One action of a route.

    `attributes` holds each constraint as JSON text. `mode` is what a lease as wide as the route needs, `exact_mode`
    what one with only exact values needs; `why` the rule behind `mode`. `denied_by` is the deny pattern that takes the
    action out again, or empty. `timing` are the order and time rules that bind it, in words.
    """

    action: str
    effect: Effect
    attributes: dict[str, str]
    implies: tuple[str, ...]
    mode: ApprovalMode
    exact_mode: ApprovalMode
    why: str
    approvers: tuple[str, ...]
    quorum: int
    is_laxer: bool
    denied_by: str
    timing: tuple[str, ...] = ()


class LaxRule(msgspec.Struct, frozen=True, kw_only=True):
    """A rule that is laxer than what holds when nothing is said: where it stands, what is usual, what it says."""

    rule: str
    route: str
    action: str
    usual: str
    actual: str


class CallExplanation(msgspec.Struct, frozen=True, kw_only=True):
    """What would become of one call under a lease as wide as its route.

    `need` is who would have to agree then, `exact_need` under a lease for exactly this call; None if it is refused.
    """

    action: str
    effect: Effect
    implies: tuple[str, ...]
    decision: Decision
    need: ApprovalNeed | None
    exact_need: ApprovalNeed | None


def explain_route(policy: Policy, route: str) -> list[RouteRow]:
    """Return a row for each action that the route names, sorted.

    Raises:
        InvalidError: there is no such route; the message names the nearest.
    """
    found = policy.route(route)
    if found is None:
        raise InvalidError(f'there is no route "{route}"{suggest(route, policy.routes)}')
    lax = {rule.action for rule in _laxer_in_route(policy, found)}
    return [
        _row(policy, found, action, is_laxer=not lax.isdisjoint(("", action, *implied(policy, action))))
        for action in sorted(found.allow)
    ]


def laxer_rules(policy: Policy) -> list[LaxRule]:
    """Return every rule that asks fewer people or fewer times than the defaults of the language."""
    rules = []
    for _, route in sorted(policy.routes.items()):
        rules += _laxer_in_route(policy, route)
    for _, client in sorted(policy.clients.items()):
        rules += _laxer_for_client(client)
    return rules


def explain_call(policy: Policy, route: str, action: str, attributes: Attributes) -> CallExplanation:
    """Return what would become of a call, without asking whether anybody holds a lease for it."""
    found = policy.route(route)
    offered: Grants = found.allow if found else {}
    decision = check_call(policy, route, action, attributes, [(offered, ())])
    need = exact_need = None
    if decision.is_allowed:
        exact: Grants = {action: Grant(action, {name: OneOf(tuple(values)) for name, values in attributes.items()})}
        need = need_for_call(policy, route, action, [offered])
        exact_need = need_for_call(policy, route, action, [exact])
    return CallExplanation(
        action=action,
        effect=policy.action(action).effect,
        implies=implied(policy, action),
        decision=decision,
        need=need,
        exact_need=exact_need,
    )


def _row(policy: Policy, route: Route, action: str, *, is_laxer: bool) -> RouteRow:
    need = need_for_call(policy, route.name, action, [route.allow])
    names = (action, *implied(policy, action))
    denials = (pattern for name in names for pattern in route.deny if matches_action(pattern, name))
    return RouteRow(
        action=action,
        effect=policy.action(action).effect,
        attributes={name: show_constraint(entry) for name, entry in sorted(route.allow[action].attributes.items())},
        implies=names[1:],
        mode=need.mode,
        exact_mode=need_for_call(policy, route.name, action, [_exact_grants(policy, action)]).mode,
        why=need.rule,
        approvers=need.approvers,
        quorum=need.quorum,
        is_laxer=is_laxer,
        denied_by=next(denials, ""),
        timing=(*_order(policy, route, action), *show_timing(route, names)),
    )


def _order(policy: Policy, route: Route, action: str) -> Iterator[str]:
    if names := sorted(prerequisites(policy, route.name, action)):
        yield f"after a done call of {' and of '.join(names)}"


def _exact_grants(policy: Policy, action: str) -> Grants:
    """A lease that names one value for every attribute of the action."""
    return {action: Grant(action, {name: OneOf(("value",)) for name in policy.action(action).args})}


def _laxer_for_client(client: ClientRule) -> Iterator[LaxRule]:
    """A client that may start anything of a kind can start also what is written down only tomorrow."""
    for key in RunsRight.__struct_fields__ if client.runs is not None else ():
        if getattr(client.runs, key) == (EVERYONE,):
            rule = f'clients."{client.name}".runs.{key}'
            yield LaxRule(rule=rule, route="", action="", usual="names", actual=EVERYONE)


def _laxer_in_route(policy: Policy, route: Route) -> list[LaxRule]:
    rules = [rule for action in sorted(route.allow) for rule in _laxer_for_action(policy, route, action)]
    if REQUESTER in route.approvers:
        rule = f"{route_rule(route.name)}.approvers"
        rules.append(LaxRule(rule=rule, route=route.name, action="", usual="somebody else", actual=REQUESTER))
    return rules


def _laxer_for_action(policy: Policy, route: Route, action: str) -> Iterator[LaxRule]:
    """Compare what the route spells out with what the action's effect asks for."""
    rule = policy.action(action)
    modes = [
        (default_mode(rule.effect, is_exact=exact), *own_mode(route, rule, is_exact=exact)) for exact in (False, True)
    ]
    for usual, actual, name in modes:
        if actual.rank < usual.rank:
            yield LaxRule(rule=name, route=route.name, action=action, usual=usual, actual=actual)
            break
    usual_quorum = default_quorum(rule.effect)
    if modes[0][1] is not ApprovalMode.NONE and route.quorum is not None and route.quorum < usual_quorum:
        yield LaxRule(
            rule=f"{route_rule(route.name)}.quorum",
            route=route.name,
            action=action,
            usual=f"{usual_quorum} people",
            actual=f"{route.quorum} people",
        )
