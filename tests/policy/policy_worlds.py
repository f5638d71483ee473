"""The policies that these tests judge: the example of the design, a way to write one line wrong, and random ones."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec
from hypothesis import strategies as st
from msgspec.structs import replace

from leasehold.model.budget import MICROS
from leasehold.model.effect import ApprovalMode, Effect
from leasehold.model.grant import ANY, Attributes, Constraint, Grant, Grants, OneOf, Prefix, Range
from leasehold.policy.document import ActionRule, Breaker, Delegation, Policy, Power, Rate, RolePowers, Route
from leasehold.policy.evaluate import implied
from leasehold.policy.load import Source, load_policy

EXAMPLE = """\
version = 1
authority = "acme-desk"
[people]
"user:ana" = ["oncall", "release"]
"user:ben" = ["support-lead", "dba"]
"user:eva" = ["dba", "operator"]
[roles]
operator = { can = ["revoke", "hold", "lift", "query"], tenants = ["acme"] }

[actions]
"deploy.prod.release:create" = { effect = "write", args = { service = "service", replicas = "replicas" } }
"deploy.prod.release:status" = { effect = "read",  args = { service = "service" } }
"ticket.update" = { effect = "write", args = { ticket = "ticket_id" } }
"ticket.close"  = { effect = "write", args = { ticket = "ticket_id" }, implies = ["ticket.update"], \
undo = "ticket.reopen within 24 h", key = ["ticket_id"] }
"ticket.bulk_close" = { effect = "write", args = { ticket = "ticket_ids[]" }, implies = ["ticket.close"] }
"db.query"      = { effect = "read", args = { table = "table", rows = "limit" } }
"db.migrate"    = { effect = "destructive", args = { version = "to" }, undo = "db.rollback" }
"db.rollback"   = { effect = "destructive", args = { version = "to" } }

[routes."ci/deploy"]
for = { agents = ["release-bot"], tenants = ["acme"], environments = ["staging"] }
allow."deploy.prod.release:status" = { service = ["payments-api"] }
allow."deploy.prod.release:create" = { service = ["payments-api"], replicas = { max = 3 } }
approvers = ["release"]

[routes."support/close"]
for = { agents = ["support-bot"], tenants = ["acme"], environments = ["prod"] }
allow."ticket.update" = { ticket = ["T-*"] }
allow."ticket.close"  = { ticket = ["T-*"] }
approve."ticket.update" = "none"
approve."ticket.close" = "call"
approvers = ["support-lead"]
budget = { calls = 25, tool_seconds = 60, usd = "1.00" }
run_ttl = "30m"
ends_on = ["ticket.close"]
delegation = { depth = 1, children = 2, actions = ["ticket.update"] }
breaker = { errors = { percent = 50, of = 20 } }

[routes."db/migrate"]
for = { agents = ["migrator"], tenants = ["acme"], environments = ["prod"] }
allow."db.migrate"  = { version = ["0042"] }
allow."db.rollback" = { version = ["0041"] }
approve."db.rollback" = "lease"
approvers = ["dba"]

[break_glass."support/close"]
openers = ["oncall"]
confirmers = ["support-lead"]
actions = ["ticket.close", "ticket.update"]
skips = ["approve"]
minutes = 10

[[tests]]
route = "support/close"
allows = ["ticket.update"]
needs_approval = ["ticket.close"]
refuses = ["db.query", "deploy.prod.release:create"]
"""


def load(text: str, path: str = "leasehold.toml") -> Policy:
    """The policy of one file."""
    return load_policy([Source(path, text)])


def changed(old: str, new: str, text: str = EXAMPLE) -> str:
    """The text with one place changed, which has to be there."""
    assert old in text, old
    return text.replace(old, new, 1)


def line_of(fragment: str, text: str) -> int:
    """The 1-based line on which a fragment stands."""
    return text[: text.index(fragment)].count("\n") + 1


ROUTE = "work"
NAMES = ("t.read", "t.write", "t.bulk", "u.drop")
ATTRIBUTES = ("a", "b")
VALUES = ("x", "x1", "y", "y/z", "1", 0, 1, 2, 3, True, False)
DENIALS = (*NAMES, "t.*", "u.*", "*", "v.*")
CONSTRAINTS: tuple[Constraint, ...] = (
    ANY,
    OneOf(("x",)),
    OneOf(("x", "y")),
    OneOf((1,)),
    OneOf((True,)),
    OneOf(("y",), (Prefix("x"),)),
    OneOf((), (Prefix("y/", deep=True),)),
    Range(max=2),
    Range(min=1, max=1),
    Range(max="2"),
)


EXTRAS: tuple[dict[str, Any], ...] = (
    {},
    {"cost": {"usd": 5}, "timeout_seconds": 20, "undo": "reopen it"},
    {"cost": {"usd": None}, "timeout_seconds": 40, "idempotent": True, "headline": "Close {arg_a}"},
    {"fresh_seconds": 20, "uses": ("t.read",), "redact": ("secret",)},
    {"fresh_seconds": 30, "uses": ("t.read", "u.drop"), "timeout_seconds": 20},
)
TERMS: tuple[dict[str, Any], ...] = tuple(
    {
        "answer_within_seconds": 60 * size,
        "ttl_seconds": 100 * size,
        "run_ttl_seconds": 1000 * size,
        "breaker": None if size == 1 else Breaker(errors=Rate(percent=50, of=size), denials=Rate(percent=size, of=9)),
        "budget": {"calls": size * MICROS, "tool_seconds": MICROS, "usd": 9 - size},
    }
    for size in (1, 2, 3)
)
AUDIENCES: tuple[dict[str, Any], ...] = (
    {"agents": ("*",), "tenants": ("acme",), "environments": ("dev", "prod")},
    {"agents": ("bot", "other"), "tenants": ("*",), "environments": ("prod",)},
    {"agents": ("bot",), "tenants": ("acme",), "environments": ("dev",)},
)


def some(values: tuple[str, ...]) -> st.SearchStrategy[tuple[str, ...]]:
    """Some of these names, sorted as the loader sorts them."""
    return st.sets(st.sampled_from(values)).map(lambda names: tuple(sorted(names))) if values else st.just(())


@st.composite
def action_rules(draw: st.DrawFn) -> dict[str, ActionRule]:
    """Classified actions whose implications are sound: no cycle, equal attribute names, no weaker effect."""
    rules: dict[str, ActionRule] = {}
    for name in draw(st.permutations(NAMES)):
        args = {attribute: f"arg_{attribute}" for attribute in draw(some(ATTRIBUTES))}
        below = tuple(other for other, rule in rules.items() if rule.args.keys() <= args.keys())
        implies = draw(some(below))
        weakest = max((rules[other].effect.rank for other in implies), default=0)
        effects = [effect for effect in Effect if effect.rank >= weakest]
        rules[name] = ActionRule(
            name=name,
            effect=draw(st.sampled_from(effects)),
            args=args,
            implies=implies,
            key=draw(some(tuple(args))),
            **draw(st.sampled_from(EXTRAS)),
        )
    return rules


def grants_of(rules: Mapping[str, ActionRule], names: tuple[str, ...]) -> st.SearchStrategy[dict[str, Grant]]:
    """Grants of these actions with the attributes that they declare."""
    return st.fixed_dictionaries(
        {
            name: st.fixed_dictionaries(dict.fromkeys(rules[name].args, st.sampled_from(CONSTRAINTS))).map(
                lambda constraints, name=name: Grant(name, constraints)
            )
            for name in names
        }
    )


@st.composite
def routes(draw: st.DrawFn, rules: Mapping[str, ActionRule]) -> Route:
    """A route that the loader would accept over these actions."""
    policy = Policy(version=1, authority="test", actions=dict(rules))
    chosen = draw(st.sets(st.sampled_from(NAMES), min_size=1))
    names = tuple(sorted(chosen.union(*(implied(policy, name) for name in chosen))))
    is_mild = all(rules[name].effect is not Effect.DESTRUCTIVE for name in names)
    approvers = st.sampled_from([("lead",), ("boss", "lead")] + ([("requester",)] if is_mild else []))
    who = draw(approvers)
    return Route(
        name=ROUTE,
        **draw(st.sampled_from(AUDIENCES)),
        allow=draw(grants_of(rules, names)),
        deny=draw(some(DENIALS)),
        approve=draw(st.dictionaries(st.sampled_from(names), st.sampled_from(ApprovalMode))),
        approvers=who,
        quorum=None if who == ("requester",) else draw(st.one_of(st.none(), st.integers(1, 3))),
        **draw(st.sampled_from(TERMS)),
        ends_on=names[: draw(st.integers(0, 2))],
        delegation=Delegation(depth=draw(st.integers(0, 2)), children=1, actions=names[: draw(st.integers(0, 2))]),
    )


@st.composite
def policies(draw: st.DrawFn) -> Policy:
    """A policy that the loader would accept, with the one route `work`."""
    rules = draw(action_rules())
    role = RolePowers(
        name="ops",
        can=tuple(sorted(draw(st.sets(st.sampled_from(Power))))),
        tenants=draw(st.sampled_from([("*",), ("acme",)])),
    )
    return Policy(
        version=1,
        authority="test",
        people=draw(st.dictionaries(st.sampled_from(["user:a", "user:b"]), some(("boss", "lead", "ops")))),
        roles=draw(st.sampled_from([{}, {"ops": role}])),
        actions=rules,
        routes={ROUTE: draw(routes(rules))},
    )


def any_grants() -> st.SearchStrategy[Grants]:
    """Grants of known and unknown actions with attributes that may not fit them at all."""
    constraints = st.dictionaries(st.sampled_from([*ATTRIBUTES, "c"]), st.sampled_from(CONSTRAINTS))
    names = st.sampled_from([*NAMES, "x.unknown"])
    return st.dictionaries(names, constraints).map(
        lambda table: {name: Grant(name, attributes) for name, attributes in table.items()}
    )


def any_attributes() -> st.SearchStrategy[Attributes]:
    """What a call may say, fitting or not."""
    values = st.lists(st.sampled_from(VALUES), max_size=2).map(tuple)
    return st.dictionaries(st.sampled_from([*ATTRIBUTES, "c"]), values)


@st.composite
def near_policies(draw: st.DrawFn) -> tuple[Policy, Policy]:
    """Two policies that differ in a few fields of one part, or in everything."""
    old, other = draw(policies()), draw(policies())
    kind = draw(st.sampled_from(["all", "same", "route", "action", "people", "defaults"]))
    if kind == "all":
        return old, other
    if kind == "route":
        return old, replace(old, routes={ROUTE: mixed(draw, old.routes[ROUTE], other.routes[ROUTE])})
    if kind == "action":
        name = draw(st.sampled_from(NAMES))
        rule = mixed(draw, old.actions[name], other.actions[name])
        return old, replace(old, actions={**old.actions, name: rule})
    if kind == "people":
        return old, replace(old, people=other.people, roles=other.roles)
    if kind == "defaults":
        timeout = draw(st.integers(1, 60))
        return old, replace(old, authority=other.authority, defaults=replace(old.defaults, timeout_seconds=timeout))
    return old, Policy.from_json(old.to_json())


Part = msgspec.Struct


def mixed(draw: st.DrawFn, old: Part, other: Part) -> Part:
    """The old part with one to three of its fields taken from the other."""
    fields = [field for field in old.__struct_fields__ if field != "name"]
    taken = draw(st.lists(st.sampled_from(fields), min_size=1, max_size=3, unique=True))
    return replace(old, **{field: getattr(other, field) for field in taken})
