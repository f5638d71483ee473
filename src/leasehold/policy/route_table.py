"""One entry of `[routes]` to one `Route`, and `[defaults]` to what routes fall back on. Called by `load`."""

from __future__ import annotations

from leasehold.errors import InvalidError
from leasehold.model.budget import CHILDREN, amounts_from_json
from leasehold.model.effect import ApprovalMode
from leasehold.model.grant import (
    Constraint,
    Grant,
    check_action,
    check_attribute_name,
    check_deny_pattern,
    parse_constraint,
)
from leasehold.model.lease import DEFAULT_TTL_SECONDS, HARD_MAX_TTL_SECONDS
from leasehold.policy.document import EVERYONE, Breaker, Defaults, Delegation, Rate, Route
from leasehold.policy.reader import Table, show_path
from leasehold.policy.time_table import read_freezes, read_hours

__all__ = ["read_audience", "read_defaults", "read_route"]

_DEFAULTS = (
    "budget",
    "timeout",
    "answer_within",
    "ttl",
    "run_ttl",
    "max_ttl",
    "pending_per_run",
    "destructive_by_passkey",
    "destructive_sign_in_within",
)
_ROUTE = (
    "for",
    "allow",
    "deny",
    "approve",
    "approvers",
    "quorum",
    "answer_within",
    "ttl",
    "run_ttl",
    "budget",
    "ends_on",
    "delegation",
    "after",
    "hours",
    "freeze",
    "breaker",
)
_MAX_QUORUM = 20
_MAX_DEPTH = 8
_MAX_CHILDREN = 1000
_MAX_WINDOW = 200
_MAX_PENDING = 1000


def read_defaults(table: Table) -> Defaults:
    """Return `[defaults]` over the built-in ones: calls 100, tool_seconds 600, ttl 5 m of 15 m, run_ttl 30 m.

    Raises:
        ConfigError: at the key at fault.
    """
    table.close(_DEFAULTS)
    built_in = Defaults()
    max_ttl = table.seconds("max_ttl", HARD_MAX_TTL_SECONDS)
    if max_ttl > HARD_MAX_TTL_SECONDS:
        raise table.fault(
            f"{show_path((*table.keys, 'max_ttl'))} is {max_ttl} s, but no lease can be signed for longer than "
            f"{HARD_MAX_TTL_SECONDS} s; longer tasks renew theirs (run_ttl says for how long)",
            "max_ttl",
        )
    ttl = table.seconds("ttl", min(DEFAULT_TTL_SECONDS, max_ttl))
    _check_ttl(table, ttl, max_ttl)
    return Defaults(
        timeout_seconds=table.seconds("timeout", built_in.timeout_seconds),
        answer_within_seconds=table.seconds("answer_within", built_in.answer_within_seconds),
        ttl_seconds=ttl,
        max_ttl_seconds=max_ttl,
        run_ttl_seconds=table.seconds("run_ttl", built_in.run_ttl_seconds),
        budget=_budget(table, built_in.budget),
        destructive_by_passkey=table.flag("destructive_by_passkey"),
        destructive_sign_in_seconds=table.declared_seconds("destructive_sign_in_within"),
        pending_per_run=(
            table.whole("pending_per_run", 1, _MAX_PENDING)
            if "pending_per_run" in table.value
            else built_in.pending_per_run
        ),
    )


def read_route(name: str, table: Table, defaults: Defaults) -> Route:
    """Return the route that a table declares. A `ttl` of its own is also the longest that may be asked for.

    Raises:
        ConfigError: at the key at fault.
    """
    table.checked_name((), name)
    table.close(_ROUTE)
    table.need("for", "allow")
    audience = table.table("for")
    audience.close(("agents", "tenants", "environments"))
    ttl = table.seconds("ttl", defaults.ttl_seconds)
    _check_ttl(table, ttl, defaults.max_ttl_seconds)
    approve = table.table("approve")
    return Route(
        name=name,
        agents=read_audience(audience, "agents"),
        tenants=read_audience(audience, "tenants"),
        environments=read_audience(audience, "environments"),
        allow=_allow(table.table("allow")),
        deny=table.names("deny", check_deny_pattern),
        approve={action: approve.choice(action, ApprovalMode) for action in approve.value},
        approvers=table.names("approvers"),
        quorum=table.whole("quorum", 1, _MAX_QUORUM) if "quorum" in table.value else None,
        answer_within_seconds=table.seconds("answer_within", defaults.answer_within_seconds),
        ttl_seconds=ttl,
        max_ttl_seconds=ttl if "ttl" in table.value else defaults.max_ttl_seconds,
        run_ttl_seconds=table.seconds("run_ttl", defaults.run_ttl_seconds),
        budget=_budget(table, defaults.budget),
        ends_on=table.names("ends_on", check_action),
        delegation=_delegation(table),
        after=_after(table.table("after")),
        hours=read_hours(table),
        freeze=read_freezes(table),
        breaker=_breaker(table),
    )


def read_audience(table: Table, key: str) -> tuple[str, ...]:
    """Return a list of names, or `("*",)` for any.

    Raises:
        ConfigError: it is missing, empty or no such list.
    """
    table.need(key)
    if table.value[key] == [EVERYONE]:
        return (EVERYONE,)
    names = table.names(key)
    if not names:
        raise table.fault(f'{show_path((*table.keys, key))} is empty, so it is for nobody; write names or ["*"]', key)
    return names


def _check_ttl(table: Table, ttl: int, max_ttl: int) -> None:
    if ttl > max_ttl:
        raise table.fault(
            f"{show_path((*table.keys, 'ttl'))} is {ttl} s, but a lease lives at most {max_ttl} s; longer tasks renew "
            "theirs (run_ttl says for how long)",
            "ttl",
        )


def _budget(table: Table, fallback: dict[str, int]) -> dict[str, int]:
    where = show_path((*table.keys, "budget"))
    try:
        amounts = amounts_from_json(table.value.get("budget", {}), where)
    except InvalidError as error:
        raise table.fault(str(error), "budget") from None
    if CHILDREN in amounts:
        raise table.fault(f"{where}: delegation.children limits children", "budget", CHILDREN)
    return {**fallback, **amounts}


def _allow(table: Table) -> dict[str, Grant]:
    if not table.value:
        raise table.fault(f"{show_path(table.keys)} is empty: a route that allows nothing is no route")
    for action in table.value:
        table.checked((action,), check_action, action)
    return {action: Grant(action, _constraints(attributes)) for action, attributes in table.entries().items()}


def _constraints(table: Table) -> dict[str, Constraint]:
    constraints = {}
    for name, value in table.value.items():
        table.checked((name,), check_attribute_name, name)
        try:
            constraints[name] = parse_constraint(value, show_path((*table.keys, name)))
        except InvalidError as error:
            raise table.fault(str(error), name) from None
    return constraints


def _after(table: Table) -> dict[str, tuple[str, ...]]:
    for action in table.value:
        table.checked((action,), check_action, action)
        if not table.names(action, check_action):
            raise table.fault(
                f"{show_path((*table.keys, action))} is empty; leave it out, or name what comes first", action
            )
    return {action: table.names(action, check_action) for action in table.value}


def _delegation(route: Table) -> Delegation:
    if "delegation" not in route.value:
        return Delegation()
    table = route.table("delegation")
    keys = ("depth", "children", "actions")
    table.close(keys)
    table.need(*keys)
    return Delegation(
        depth=table.whole("depth", 0, _MAX_DEPTH),
        children=table.whole("children", 0, _MAX_CHILDREN),
        actions=table.names("actions", check_action),
    )


def _breaker(route: Table) -> Breaker | None:
    if "breaker" not in route.value:
        return None
    table = route.table("breaker")
    table.close(("errors", "denials"))
    if not table.value:
        raise table.fault(f'{show_path(table.keys)} is empty; it needs "errors", "denials" or both')
    return Breaker(errors=_rate(table, "errors"), denials=_rate(table, "denials"))


def _rate(breaker: Table, key: str) -> Rate | None:
    if key not in breaker.value:
        return None
    table = breaker.table(key)
    table.close(("percent", "of"))
    table.need("percent", "of")
    return Rate(percent=table.whole("percent", 1, 100), of=table.whole("of", 1, _MAX_WINDOW))
