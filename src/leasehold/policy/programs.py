"""What clients may start, and what a changed policy adds for them. For `policy explain`, `diff` and who confirms one.

Exact: a client starts a run where its own rule and the route's `for` both name it, and gained what neither of the two
let through before. A child's agent need not stand in `for`, its parent's has to. What may be called in these runs is
for `reach` to say.
"""

from __future__ import annotations

from collections.abc import Iterator
from enum import StrEnum
from typing import TypeAlias

import msgspec
from msgspec.structs import replace

from leasehold.policy.audience import added_names, shared_names
from leasehold.policy.client_rule import ClientRule, WorkloadIdentity
from leasehold.policy.diff import diff_issuer
from leasehold.policy.document import Policy, Route
from leasehold.policy.identities import gained_tokens
from leasehold.policy.wording import route_rule, show_door, show_identity

__all__ = ["ClientGain", "RunsGain", "Startable", "TrustGain", "TrustKind", "client_gains", "startable", "startable_on"]

_KEYS = ("agents", "tenants", "environments")


class Startable(msgspec.Struct, frozen=True, kw_only=True):
    """Runs of a route that a client may start, or child runs: any of the agents in any of the tenants and
    environments."""

    route: str
    is_child: bool
    agents: tuple[str, ...]
    tenants: tuple[str, ...]
    environments: tuple[str, ...]


class RunsGain(msgspec.Struct, frozen=True, kw_only=True):
    """Runs that a client could not start before, and the rule responsible."""

    client: str
    runs: Startable
    rule: str


class TrustKind(StrEnum):
    """In what else a client is trusted: a door, whose tokens are its own, to be it unproven where people consented,
    where browsers go back to with that."""

    DOOR = "door"
    IDENTITY = "identity"
    UNPROVEN = "unproven"
    REDIRECT = "redirect"


class TrustGain(msgspec.Struct, frozen=True, kw_only=True):
    """What a client was not trusted in before, what it was instead (or empty), and the rule responsible."""

    client: str
    kind: TrustKind
    before: str
    after: str
    rule: str


ClientGain: TypeAlias = RunsGain | TrustGain


def startable(policy: Policy, rule: ClientRule) -> list[Startable]:
    """Return the runs that a client may start, route by route."""
    found = (each for _, route in sorted(policy.routes.items()) for each in _on_route(rule, route))
    return [each for each in found if each.agents and each.tenants and each.environments]


def startable_on(policy: Policy, route: str) -> list[tuple[str, Startable]]:
    """Return the clients that may start runs on a route, by name, each with which."""
    found = ((name, each) for name, rule in sorted(policy.clients.items()) for each in startable(policy, rule))
    return [(name, each) for name, each in found if each.route == route]


def client_gains(old: Policy, new: Policy) -> list[ClientGain]:
    """Return everything that clients gained, client by client; an empty list if they gained nothing."""
    gained: list[ClientGain] = []
    tokens = gained_tokens(old, new)
    for name, rule in sorted(new.clients.items()):
        gained += [*_runs(old, new, rule), *_door(old, rule)]
        gained += [*_identity(old, new, rule, tokens.get(name, frozenset())), *_redirects(old, rule)]
    return gained


def _on_route(rule: ClientRule, route: Route) -> Iterator[Startable]:
    runs = rule.runs
    if runs is None or not shared_names(runs.routes, (route.name,)):
        return
    span = Startable(
        route=route.name,
        is_child=False,
        agents=shared_names(runs.agents, route.agents),
        tenants=shared_names(runs.tenants, route.tenants),
        environments=shared_names(runs.environments, route.environments),
    )
    yield span
    if span.agents and route.delegation.depth and route.delegation.children:
        yield replace(span, is_child=True, agents=runs.agents)


# What was gained


def _key(rule: ClientRule) -> str:
    return f'clients."{rule.name}"'


def _runs(old: Policy, new: Policy, rule: ClientRule) -> Iterator[RunsGain]:
    before = old.clients.get(rule.name)
    known = {(each.route, each.is_child): each for each in startable(old, before)} if before is not None else {}
    for each in startable(new, rule):
        was = known.get((each.route, each.is_child))
        if was is None:
            yield RunsGain(client=rule.name, runs=each, rule=_what_stopped(old, rule, each))
            continue
        for key in _KEYS:
            if gained := added_names(getattr(was, key), getattr(each, key)):
                runs = replace(each, **{key: gained})
                yield RunsGain(client=rule.name, runs=runs, rule=_responsible(before, rule, each.route, key))


def _what_stopped(old: Policy, rule: ClientRule, what: Startable) -> str:
    """The rule by which no such run could be started before."""
    before, route = old.clients.get(rule.name), old.routes.get(what.route)
    if before is None:
        return _key(rule)
    if before.runs is None:
        return f"{_key(rule)}.runs"
    if not shared_names(before.runs.routes, (what.route,)):
        return f"{_key(rule)}.runs.routes"
    if route is None:
        return route_rule(what.route)
    for key in _KEYS:
        if not shared_names(getattr(before.runs, key), getattr(route, key)):
            return _responsible(before, rule, what.route, key)
    return f"{route_rule(what.route)}.delegation"


def _responsible(before: ClientRule | None, after: ClientRule, route: str, key: str) -> str:
    """Of the client's rule and the route the one that names more than it did: the client's, where both do."""
    lists = [getattr(rule.runs, key, ()) for rule in (before, after) if rule is not None]
    return f"{_key(after)}.runs.{key}" if added_names(*lists) else f"{route_rule(route)}.for.{key}"


def _door(old: Policy, rule: ClientRule) -> Iterator[TrustGain]:
    before = old.clients.get(rule.name)
    was = before.door if before is not None else None
    if rule.door is not None and rule.door != was:
        yield TrustGain(
            client=rule.name,
            kind=TrustKind.DOOR,
            before=show_door(was) if was is not None else "",
            after=show_door(rule.door),
            rule=f"{_key(rule)}.door",
        )


def _identity(old: Policy, new: Policy, rule: ClientRule, causes: frozenset[str]) -> Iterator[TrustGain]:
    """Other tokens are this client's: by its own rule, by another's, or because its issuer has other keys, or another
    audience. Or it needs none any more to redeem what people consented to."""
    before, identity = old.clients.get(rule.name), rule.identity
    was = before.identity if before is not None else None
    if identity is None:
        if was is not None and rule.redirects:
            yield _unproven(rule, was)
        return
    issuers = old.issuers.get(identity.issuer), new.issuers.get(identity.issuer)
    if causes:
        named = rule.name if rule.name in causes else min(causes)
        cause = f'clients."{named}".identity'
    elif any(change.widens for change in diff_issuer(identity.issuer, *issuers)):
        cause = f'issuers."{identity.issuer}"'
    else:
        return
    yield TrustGain(
        client=rule.name,
        kind=TrustKind.IDENTITY,
        before=show_identity(was) if was is not None and was != identity else "",
        after=show_identity(identity),
        rule=cause,
    )


def _unproven(rule: ClientRule, was: WorkloadIdentity) -> TrustGain:
    after = ", ".join(rule.redirects)
    return TrustGain(
        client=rule.name,
        kind=TrustKind.UNPROVEN,
        before=show_identity(was),
        after=after,
        rule=f"{_key(rule)}.identity",
    )


def _redirects(old: Policy, rule: ClientRule) -> Iterator[TrustGain]:
    before = old.clients.get(rule.name)
    for address in added_names(before.redirects if before is not None else (), rule.redirects):
        yield TrustGain(
            client=rule.name, kind=TrustKind.REDIRECT, before="", after=address, rule=f"{_key(rule)}.redirects"
        )
