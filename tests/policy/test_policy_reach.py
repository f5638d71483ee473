"""What became reachable, against brute force: every call of a small universe, judged by both policies."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator
from typing import NamedTuple

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace
from policy_worlds import CONSTRAINTS, EXAMPLE, NAMES, ROUTE, VALUES, changed, load, near_policies

from leasehold.model.effect import ApprovalMode, Effect
from leasehold.model.grant import ANY, Constraint, Grant, MaxLength, OneOf, Prefix, Range, Scalar, parse_constraint
from leasehold.policy.checks import find_problems
from leasehold.policy.diff import diff
from leasehold.policy.document import ActionRule, Policy, Route
from leasehold.policy.evaluate import (
    ApprovalNeed,
    attributes_of,
    check_call,
    check_start,
    implied,
    is_entitled,
    need_for_call,
)
from leasehold.policy.reach import Reach, ReachKind, reach
from leasehold.policy.witness import find_beyond, find_inside

OLD = load(EXAMPLE)
ARGUMENTS = ("arg_a", "arg_b")
AUDIENCE = tuple(itertools.product(("bot", "other", "third"), ("acme", "globex"), ("dev", "prod")))
SOME = ("x", "x1", "y", "y/z", "1", 1, 3, True)
EXACT = (frozenset[str](), frozenset({"a"}), frozenset({"b"}), frozenset({"a", "b"}))
PEOPLE = ("user:a", "user:b", "user:c")

Given = tuple[tuple[str, Scalar], ...]


class Call(NamedTuple):
    """Calls of the universe that neither policy tells apart: who, what, so deep below the run that was started."""

    action: str
    agent: str
    tenant: str
    environment: str
    depth: int


UNIVERSE: tuple[Given, ...] = tuple(
    tuple((name, value) for name, value in zip(ARGUMENTS, values, strict=True) if value is not None)
    for values in itertools.product((None, *SOME), repeat=len(ARGUMENTS))
)


class Judge:
    """What one policy says of every call, by the functions that `decide` asks."""

    def __init__(self, policy: Policy) -> None:
        self.policy = policy
        self.values = {
            action: {number for number, given in enumerate(UNIVERSE) if self._passes(action, given)} for action in NAMES
        }  # by number, because 1 and True are equal
        self.audience = {cell for cell in AUDIENCE if self._is_for(*cell)}

    def _passes(self, action: str, given: Given) -> bool:
        rule = self.policy.action(action)
        if ROUTE not in self.policy.routes or not set(rule.args.values()) <= dict(given).keys():
            return False
        attributes = attributes_of(rule, dict(given))
        widest = {action: Grant(action, dict.fromkeys(attributes, ANY))}
        return check_call(self.policy, ROUTE, action, attributes, [(widest, ())]).is_allowed

    def _is_for(self, agent: str, tenant: str, environment: str) -> bool:
        return check_start(self.policy, route=ROUTE, agent=agent, tenant=tenant, environment=environment).is_allowed

    def depth(self, action: str) -> int:
        """How deep a child may call the action."""
        delegation = self.policy.routes[ROUTE].delegation
        return delegation.depth if action in delegation.actions and delegation.children else 0

    def is_for(self, call: Call) -> bool:
        """Whether such a run may start and, below it, call the action at all."""
        return call[1:4] in self.audience and call.depth <= self.depth(call.action)

    def need(self, action: str, exact: frozenset[str]) -> ApprovalNeed:
        """Who has to agree under a lease that is exact in these attributes."""
        shape = {name: OneOf(("value",)) if name in exact else ANY for name in ("a", "b", "c")}
        return need_for_call(self.policy, ROUTE, action, [{action: Grant(action, shape)}])

    def voices(self) -> set[str]:
        """Whose word counts: of the people here, and of anybody who is given one of the roles."""
        route = self.policy.routes[ROUTE]
        return {person for person in PEOPLE if is_entitled(self.policy, person, ROUTE, "user:x")} | set(route.approvers)


def calls() -> Iterator[Call]:
    """Every call of the universe, its values aside."""
    for action, cell, depth in itertools.product(NAMES, AUDIENCE, (0, 1, 2)):
        yield Call(action, *cell, depth)


def gained_and_kept(before: Judge, after: Judge) -> tuple[list[Call], list[Call]]:
    """The calls that pass anew with some values, and those that with some pass as they did."""
    gained, kept = [], []
    for call in calls():
        new = after.values[call.action] if after.is_for(call) else set()
        old = before.values[call.action] if new and before.is_for(call) else set()
        if new - old:
            gained.append(call)
        if new & old:
            kept.append(call)
    return gained, kept


def leases(judge: Judge, action: str) -> Iterator[frozenset[str]]:
    """Which attributes a lease of the action may give exactly; where the route offers nothing else it has to."""
    offered = judge.policy.routes[ROUTE].allow[action].attributes
    forced = {name for name, constraint in offered.items() if constraint.is_exact}
    return (exact | forced for exact in EXACT)


def is_easier(before: Judge, after: Judge, action: str) -> set[ReachKind]:
    """In which ways fewer or other people suffice, under one lease or another."""
    found: set[ReachKind] = set()
    for exact in leases(after, action):
        old, new = before.need(action, exact), after.need(action, exact)
        if new.mode.rank < old.mode.rank:
            found.add(ReachKind.MODE)
        if ApprovalMode.NONE not in (old.mode, new.mode):
            if new.quorum < old.quorum:
                found.add(ReachKind.QUORUM)
            if after.voices() - before.voices():
                found.add(ReachKind.APPROVERS)
    return found


def is_about(item: Reach, call: Call) -> bool:
    """Whether an item is about this action and audience."""
    return item.action == call.action and all(
        name in names or names == ("*",)
        for name, names in (
            (call.agent, item.agents),
            (call.tenant, item.tenants),
            (call.environment, item.environments),
        )
    )


@st.composite
def pairs(draw: st.DrawFn) -> tuple[Policy, Policy]:
    """Two policies that have something to do with each other, in either order."""
    old, new = draw(near_policies())
    return draw(st.sampled_from([(old, new), (new, old), (replace(old, routes={}), new)]))


@pytest.mark.requirement("P7")
@settings(max_examples=60)
@given(pairs())
def test_each_call_that_gained_something_is_listed_and_each_item_has_such_a_call(pair: tuple[Policy, Policy]) -> None:
    before, after = (Judge(policy) for policy in pair)
    items = reach(*pair)
    gained, kept = gained_and_kept(before, after)
    easier = {action: is_easier(before, after, action) for action in {call.action for call in kept}}
    reachable = (ReachKind.CALL, ReachKind.DELEGATED)
    for call in gained:
        assert any(is_about(item, call) for item in items if item.kind in reachable), call
    for call in kept:
        listed = {item.kind for item in items if is_about(item, call)}
        assert easier[call.action] <= listed, call
    for item in items:
        if item.kind in reachable:
            assert any(is_about(item, call) for call in gained) or is_outside(item), item
        elif item.kind in (ReachKind.MODE, ReachKind.QUORUM, ReachKind.APPROVERS):
            about = [call for call in kept if is_about(item, call)]
            assert any(item.kind in easier[call.action] for call in about) or is_outside(item), item


def is_outside(item: Reach) -> bool:
    """Whether the witness has a value that the universe lacks, as "x1" has where a prefix was given."""
    return any(value not in SOME for value in item.example.values())


@pytest.mark.requirement("P7")
@given(pairs())
def test_the_example_of_an_item_is_a_call_that_shows_it(pair: tuple[Policy, Policy]) -> None:
    old, new = pair
    for item in reach(old, new):
        attributes = {name: (value,) for name, value in item.example.items()}
        widest = {item.action: Grant(item.action, dict.fromkeys(attributes, ANY))}
        assert check_call(new, ROUTE, item.action, attributes, [(widest, ())]).is_allowed, item
        is_same_reading = new.action(item.action).args == old.action(item.action).args
        if item.kind is ReachKind.CALL and item.attribute and item.after and is_same_reading:
            assert not check_call(old, ROUTE, item.action, attributes, [(widest, ())]).is_allowed, item


@pytest.mark.requirement("P7")
@given(pairs())
def test_what_became_reachable_is_always_a_widening_too(pair: tuple[Policy, Policy]) -> None:
    old, new = pair
    assume(not find_problems(old) and not find_problems(new))  # a grant that says nothing of an attribute never loads
    assert not reach(old, new) or any(change.widens for change in diff(old, new))
    assert reach(new, new) == []


@pytest.mark.requirement("P5", "P7")
@given(pairs())
def test_what_is_reached_through_other_actions_is_listed_and_nothing_else(pair: tuple[Policy, Policy]) -> None:
    before, after = (Judge(policy) for policy in pair)
    items = reach(*pair)
    if any(is_outside(item) for item in items):
        return
    for action, other in itertools.product(NAMES, NAMES):
        was, is_now = (
            judge.values[action] and judge.values[other] and other in judge.policy.action(action).uses
            for judge in (before, after)
        )
        listed = [item for item in items if item.kind is ReachKind.THROUGH_USES]
        is_listed = any((item.through, item.action) == (action, other) for item in listed)
        if before.audience & after.audience:
            assert is_listed == bool(is_now and not was)


@pytest.mark.requirement("P5", "P7")
@given(pairs())
def test_an_effect_that_children_gain_only_through_another_action_is_listed(pair: tuple[Policy, Policy]) -> None:
    before, after = (Judge(policy) for policy in pair)
    listed = {item.action for item in reach(*pair) if item.kind is ReachKind.THROUGH_IMPLIES}
    if not before.audience & after.audience or any(is_outside(item) for item in reach(*pair)):
        return

    def depth(judge: Judge, action: str) -> int:
        return judge.depth(action) if judge.values[action] else 0

    def through(judge: Judge, action: str) -> int:
        return max((depth(judge, name) for name in NAMES if action in implied(judge.policy, name)), default=0)

    for action in NAMES:
        if after.values[action]:
            direct = max(depth(before, action), depth(after, action), through(before, action))
            assert (action in listed) == (through(after, action) > direct)


@pytest.mark.requirement("P7")
@given(pairs())
def test_each_value_that_passes_anew_is_in_an_item(pair: tuple[Policy, Policy]) -> None:
    before, after = (Judge(policy) for policy in pair)
    if not before.audience & after.audience:
        return
    for action in NAMES:
        items = [item for item in reach(*pair) if item.action == action and item.kind is ReachKind.CALL]
        for number in after.values[action] - before.values[action]:
            assert any(has_values(item, dict(UNIVERSE[number])) for item in items), UNIVERSE[number]


def has_values(item: Reach, given: dict[str, Scalar]) -> bool:
    """Whether an item is about a call with these values: those that it says were outside before."""
    if not item.attribute or (value := given.get(f"arg_{item.attribute}")) is None:
        return True
    before = [parse_constraint(json.loads(part)) for part in item.before.split(" and ")]
    return not all(constraint.covers(value) for constraint in before)


# Single edits of the example


def items(old: str, new: str) -> list[tuple[str, str, str, str, str, str, str]]:
    """What one edit of the example makes reachable."""
    return [
        (each.kind, each.route, each.action, each.attribute, each.before, each.after, each.rule)
        for each in reach(OLD, load(changed(old, new)))
    ]


CREATE, DEPLOY, SUPPORT, MIGRATE = "deploy.prod.release:create", "ci/deploy", "support/close", "db/migrate"


def test_a_wider_value_is_listed_with_before_after_and_rule() -> None:
    assert items("{ max = 3 }", "{ max = 4 }") == [
        ("call", DEPLOY, CREATE, "replicas", '{"max": 3}', '{"max": 4}', f'routes."{DEPLOY}".allow."{CREATE}"')
    ]
    assert items("{ max = 3 }", "{ max = 2 }") == []


def test_a_new_agent_gains_every_action_of_the_route() -> None:
    found = reach(OLD, load(changed('["migrator"]', '["migrator", "bot"]')))
    assert [(each.action, each.effect, each.agents, each.before) for each in found] == [
        ("db.migrate", Effect.DESTRUCTIVE, ("bot",), "agents migrator"),
        ("db.rollback", Effect.DESTRUCTIVE, ("bot",), "agents migrator"),
    ]
    assert {each.rule for each in found} == {f'routes."{MIGRATE}".for.agents'}
    assert reach(OLD, load(changed('["migrator"]', '["bot"]')))[0].agents == ("bot",)


def test_an_approval_that_is_lost_is_listed_with_who_had_to_agree() -> None:
    assert items('approve."ticket.close" = "call"', 'approve."ticket.close" = "none"') == [
        (
            "mode",
            SUPPORT,
            "ticket.close",
            "",
            "approval call by 1 of support-lead",
            "approval none",
            f'routes."{SUPPORT}".approve."ticket.close"',
        )
    ]


def test_a_lower_quorum_other_approvers_and_other_people_are_listed() -> None:
    lower = items('approvers = ["dba"]', 'approvers = ["dba"]\nquorum = 1')
    assert [each[0] for each in lower] == ["quorum", "quorum"]
    assert lower[0][4:] == ("approval call by 2 of dba", "approval call by 1 of dba", f'routes."{MIGRATE}".quorum')
    others = items('approvers = ["dba"]', 'approvers = ["oncall"]')
    assert others[0][4:] == ("dba (user:ben, user:eva)", "oncall (user:ana)", f'routes."{MIGRATE}".approvers')
    person = items('"user:ana" = ["oncall", ', '"user:ana" = ["dba", "oncall", ')
    assert {each[6] for each in person} == {'people."user:ana"'}
    milder = items('"db.migrate"    = { effect = "destructive"', '"db.migrate"    = { effect = "write"')
    assert [each[0] for each in milder] == ["mode", "quorum"]
    assert milder[1][6] == 'actions."db.migrate".effect'


def test_a_lost_implication_names_itself_where_it_kept_people_or_values_in() -> None:
    loose = changed('allow."ticket.close"  = { ticket = ["T-*"] }', 'allow."ticket.close"  = { ticket = ["**"] }')
    strict = load(loose)
    free = load(changed('implies = ["ticket.update"], ', "", loose))
    found = [each for each in reach(strict, free) if each.action == "ticket.close"]
    assert [(each.kind, each.before, each.after, each.rule) for each in found] == [
        ("call", '["**"] and ["T-*"]', '["**"]', 'actions."ticket.close".implies')
    ]
    closes = 'effect = "write", args = { ticket = "ticket_id" }, implies'
    destroys = changed(closes, closes.replace("write", "destructive"))
    destroys = destroys.replace('"ticket.update" = { effect = "write"', '"ticket.update" = { effect = "destructive"')
    destroys = destroys.replace(
        '"ticket.bulk_close" = { effect = "write"', '"ticket.bulk_close" = { effect = "destructive"'
    )
    milder = destroys.replace('"ticket.close"  = { effect = "destructive"', '"ticket.close"  = { effect = "write"')
    milder = milder.replace('implies = ["ticket.update"], ', "").replace(', implies = ["ticket.close"]', "")
    assert [each.rule for each in reach(load(destroys), load(milder)) if each.kind is ReachKind.QUORUM] == [
        'actions."ticket.close".effect'
    ]


def test_the_rule_that_stood_in_the_way_is_named() -> None:
    denied = load(changed("run_ttl =", 'deny = ["ticket.close"]\nrun_ttl ='))
    assert [each.rule for each in reach(denied, OLD)] == [f'routes."{SUPPORT}".deny']
    more = load(
        changed('approvers = ["dba"]', 'allow."db.query" = { table = ["a"], rows = { max = 1 } }\napprovers = ["dba"]')
    )
    assert [(each.action, each.after, each.rule) for each in reach(OLD, more)] == [
        ("db.query", 'rows {"max": 1}, table ["a"]', f'routes."{MIGRATE}".allow."db.query"')
    ]
    unknown = replace(OLD, actions={name: rule for name, rule in OLD.actions.items() if name != "db.migrate"})
    assert [each.rule for each in reach(unknown, OLD)] == ['actions."db.migrate"']
    unread = load(changed('service = "service", replicas = "replicas" }', 'service = "service", replicas = "count" }'))
    assert [(each.attribute, each.after, each.rule) for each in reach(OLD, unread)] == [
        ("replicas", "", f'actions."{CREATE}".args')
    ]


@pytest.mark.requirement("P5")
def test_a_child_that_gains_an_effect_only_through_another_action_is_listed() -> None:
    through = reach(OLD, load(changed('actions = ["ticket.update"] }', 'actions = ["ticket.close"] }')))
    assert [(each.kind, each.action, each.through, each.after) for each in through] == [
        (ReachKind.DELEGATED, "ticket.close", "", "depth 1")
    ]
    nobody = load(changed('actions = ["ticket.update"] }', "actions = [] }"))
    closes = load(changed('actions = ["ticket.update"] }', 'actions = ["ticket.close"] }'))
    assert [(each.kind, each.action, each.through) for each in reach(nobody, closes)] == [
        (ReachKind.DELEGATED, "ticket.close", ""),
        (ReachKind.THROUGH_IMPLIES, "ticket.update", "ticket.close"),
    ]
    deeper = reach(OLD, load(changed("depth = 1", "depth = 2")))
    assert [(each.before, each.after) for each in deeper] == [("depth 1", "depth 2")]
    both = load(
        changed(
            'depth = 1, children = 2, actions = ["ticket.update"]',
            'depth = 2, children = 2, actions = ["ticket.close"]',
        )
    )
    assert [(each.kind, each.before, each.after) for each in reach(OLD, both)] == [
        (ReachKind.DELEGATED, "", "depth 2"),
        (ReachKind.THROUGH_IMPLIES, "depth 1", "depth 2"),
    ]


@pytest.mark.requirement("P5")
def test_what_a_tool_may_call_on_behalf_of_a_call_is_listed() -> None:
    uses = load(changed('undo = "db.rollback" }', 'undo = "db.rollback", uses = ["db.rollback"] }'))
    assert [(each.kind, each.action, each.through, each.rule) for each in reach(OLD, uses)] == [
        (ReachKind.THROUGH_USES, "db.rollback", "db.migrate", 'actions."db.migrate".uses')
    ]
    fresh = replace(uses, routes={name: route for name, route in uses.routes.items() if name != MIGRATE})
    assert [each.kind for each in reach(fresh, uses)] == [
        ReachKind.CALL,
        ReachKind.CALL,
        ReachKind.THROUGH_USES,
    ]
    assert {each.rule for each in reach(fresh, uses)} >= {f'routes."{MIGRATE}"'}


@pytest.mark.requirement("P7")
def test_of_values_that_none_had_before_nobody_is_told_that_fewer_people_suffice() -> None:
    """No call passes under both, so there is nothing that became easier: all of it is new."""
    other = changed('allow."db.rollback" = { version = ["0041"] }', 'allow."db.rollback" = { version = ["0040"] }')
    free = load(changed('approve."db.rollback" = "lease"', 'approve."db.rollback" = "none"', other))
    assert [(each.kind, each.action, each.before, each.after) for each in reach(OLD, free)] == [
        (ReachKind.CALL, "db.rollback", '["0041"]', '["0040"]')
    ]


def test_a_route_that_cannot_be_called_reaches_nothing() -> None:
    empty = Grant("t.x", {"a": OneOf(("x",))})
    other = Grant("t.y", {"a": OneOf(("y",))})
    rules = {
        "t.x": ActionRule(name="t.x", effect=Effect.READ, args={"a": "a"}, implies=("t.y",)),
        "t.y": ActionRule(name="t.y", effect=Effect.READ, args={"a": "a"}),
        "t.z": ActionRule(name="t.z", effect=Effect.READ, args={}, implies=("t.y",)),
    }
    route = Route(
        name=ROUTE,
        agents=("bot",),
        tenants=("acme",),
        environments=("prod",),
        allow={"t.x": empty, "t.y": other, "t.z": Grant("t.z")},
    )
    policy = Policy(version=1, authority="a", actions=rules, routes={ROUTE: route})
    assert [each.action for each in reach(replace(policy, routes={}), policy)] == ["t.y"]
    widened = replace(route, allow={**route.allow, "t.x": Grant("t.x", {"a": OneOf(("x", "y"))})})
    after = replace(policy, routes={ROUTE: widened})
    assert [each.rule for each in reach(policy, after)] == ['routes."work".allow."t.x"']
    strangers = replace(route, agents=("other",))
    assert [each.agents for each in reach(policy, replace(policy, routes={ROUTE: strangers}))] == [("other",)]
    bare = replace(route, allow={"t.x": Grant("t.x")})
    assert reach(policy, replace(policy, routes={ROUTE: bare})) == []


# The witness


WITNESSED: tuple[Constraint, ...] = (
    *CONSTRAINTS,
    MaxLength(1),
    MaxLength(4),
    Range(min="1", max="1.5"),
    Range(min=1, max=3),
    OneOf(("1", "1.0", "2")),
    OneOf((1, 2, 3)),
    OneOf((), (Prefix("1"),)),
    OneOf((), (Prefix("y"),)),
    OneOf((), (Prefix("y/z"),)),
)
PLENTY: tuple[Scalar, ...] = (
    *VALUES,
    *range(-3, 8),
    *("1.0", "1.00", "1.2", "1.5", "1.50", "2", "10", "3", "0", "-1", "100", "1000"),
    *("a", "ab", "abcd", "abcde", "x2", "xx", "x/y", "y/", "y/a", "y/z/a", "y/za", "yy", "ya/b", "a/b", "abc/defg"),
)


@settings(max_examples=400)
@given(
    st.lists(st.sampled_from(WITNESSED), min_size=1, max_size=3),
    st.lists(st.sampled_from(WITNESSED), min_size=1, max_size=2),
)
def test_a_witness_is_found_exactly_where_there_is_one(inside: list[Constraint], border: list[Constraint]) -> None:
    def is_in(value: Scalar, constraints: list[Constraint]) -> bool:
        return all(each.covers(value) for each in constraints)

    legal = [value for value in PLENTY if value != "y/"]
    found, beyond = find_inside(inside), find_beyond(inside, border)
    if any(is_in(value, inside) for value in legal):
        assert found is not None
    if found is not None:
        assert is_in(found, inside)
    if any(is_in(value, inside) and not is_in(value, border) for value in legal):
        assert beyond is not None
    if beyond is not None:
        assert is_in(beyond, inside)
        assert not is_in(beyond, border)


def test_a_witness_is_a_value_that_a_call_may_give() -> None:
    assert find_inside([OneOf((), (Prefix("a/", deep=True),)), MaxLength(2)]) is None
    assert find_inside([Range(min=2**53 - 1)]) == 2**53 - 1
    assert find_beyond([ANY], [OneOf((True, False)), Range(max=1)]) is not None
    assert find_inside([OneOf((), (Prefix("xyzabcdefghijklmnopqrstuvw0123456789"),))]) == (
        "xyzabcdefghijklmnopqrstuvw0123456789"
    )
