"""Rules that hold for every policy, lease and call: evaluation is total, deny wins, stricter never asks for less."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace
from policy_worlds import (
    NAMES,
    ROUTE,
    VALUES,
    action_rules,
    any_attributes,
    any_grants,
    grants_of,
    near_policies,
    policies,
)

from leasehold.model.canonical import Json, decode, encode
from leasehold.model.decision import Decision, Reason
from leasehold.model.effect import ApprovalMode, Effect
from leasehold.model.grant import Attributes, Grants, grants_within
from leasehold.policy.cases import outcome_of, run_tests
from leasehold.policy.checks import find_problems
from leasehold.policy.diff import diff
from leasehold.policy.document import ActionRule, Policy, PolicyTest, Power
from leasehold.policy.evaluate import (
    ApprovalNeed,
    attributes_of,
    check_call,
    check_grants,
    check_start,
    finish_seconds,
    fresh_seconds,
    has_power,
    implied,
    is_entitled,
    key_of,
    need_for_call,
    need_for_grants,
    reservation,
)
from leasehold.policy.explain import explain_call, explain_route, laxer_rules

Deny = tuple[str, ...]
Links = list[tuple[Grants, Deny]]

DENIALS = st.lists(st.sampled_from([*NAMES, "t.*", "u.*", "*", "x.*"]), max_size=3).map(tuple)
LINKS = st.lists(st.tuples(any_grants(), DENIALS), max_size=3)
ACTIONS = st.sampled_from([*NAMES, "x.unknown", "", "no dot", "a.\u202eb", "*"])


@st.composite
def broken_policies(draw: st.DrawFn) -> Policy:
    """A policy that no loader would accept: implications in circles, grants that fit nothing, no approvers."""
    policy = draw(policies())
    rules = {
        name: replace(rule, implies=draw(DENIALS), key=draw(st.sampled_from([(), ("a", "zz")])))
        for name, rule in policy.actions.items()
    }
    route = replace(policy.routes[ROUTE], allow=draw(any_grants()), approvers=(), deny=draw(DENIALS))
    return replace(policy, actions=rules, routes={ROUTE: route})


@pytest.mark.requirement("P7")
@given(policies())
def test_the_loader_accepts_what_these_tests_call_a_policy(policy: Policy) -> None:
    assert find_problems(policy) == []


@pytest.mark.requirement("P1")
@given(st.one_of(policies(), broken_policies()), st.sampled_from([ROUTE, "", "x\0"]), ACTIONS, any_attributes(), LINKS)
def test_evaluation_is_total(policy: Policy, route: str, action: str, attributes: Attributes, links: Links) -> None:
    grants = [link for link, _ in links]
    decisions = [
        check_start(policy, route=route, agent=action, tenant=action, environment=action),
        check_call(policy, route, action, attributes, links),
        *(check_grants(policy, route, link, grants) for link in grants),
    ]
    assert all(isinstance(decision, Decision) and decision.describe() for decision in decisions)
    assert all(isinstance(need_for_grants(policy, route, link), ApprovalNeed) for link in grants)
    assert need_for_call(policy, route, action, grants).quorum >= 0
    assert set(reservation(policy, action)) >= {"calls"}
    assert finish_seconds(policy, action) > 0
    assert (fresh_seconds(policy, action) or 1) > 0
    assert action not in implied(policy, action)
    assert key_of(policy.action(action), attributes) != ""
    assert isinstance(is_entitled(policy, action, route, action), bool)
    assert isinstance(has_power(policy, action, Power.HOLD, action), bool)
    assert explain_call(policy, route, action, attributes).action == action
    assert isinstance(laxer_rules(policy), list)
    assert isinstance(outcome_of(policy, route, action)[1], str)


@pytest.mark.requirement("P1")
@pytest.mark.case(31)
@given(st.data(), policies(), st.sampled_from(NAMES), LINKS)
def test_deny_wins_wherever_and_in_whatever_order_it_stands(
    data: st.DataObject, policy: Policy, action: str, links: Links
) -> None:
    attributes = data.draw(fitting(policy, action))
    before = check_call(policy, ROUTE, action, attributes, links)
    names = (action, *implied(policy, action))
    pattern = data.draw(st.sampled_from([*names, *(f"{name.partition('.')[0]}.*" for name in names), "*"]))
    position = data.draw(st.integers(0, len(links)))
    if position == len(links):
        route = policy.routes[ROUTE]
        stricter = replace(policy, routes={ROUTE: replace(route, deny=(*route.deny, pattern))})
        after = check_call(stricter, ROUTE, action, attributes, links)
    else:
        denied = [*links]
        denied[position] = (links[position][0], data.draw(st.permutations([*links[position][1], pattern])).copy())
        after = check_call(policy, ROUTE, action, attributes, [(link, tuple(deny)) for link, deny in denied])
    assert after.reason is Reason.ACTION_DENIED
    assert before.is_allowed or before.reason is not Reason.OK


@pytest.mark.requirement("P1")
@given(policies(), ACTIONS, any_attributes(), LINKS, st.sampled_from([*NAMES, "t.*", "*", "x.*"]))
def test_one_more_deny_never_allows_more(
    policy: Policy, action: str, attributes: Attributes, links: Links, pattern: str
) -> None:
    after = check_call(policy, ROUTE, action, attributes, [(link, (*deny, pattern)) for link, deny in links])
    assert not after.is_allowed or check_call(policy, ROUTE, action, attributes, links).is_allowed


def fitting(policy: Policy, action: str) -> st.SearchStrategy[Attributes]:
    """Attributes that the action declares, with one or two values each."""
    values = st.lists(st.sampled_from(VALUES), min_size=1, max_size=2).map(tuple)
    return st.fixed_dictionaries(dict.fromkeys(policy.action(action).args, values))


@pytest.mark.requirement("L9", "B9")
@pytest.mark.invariant("I6")
@given(st.data(), policies())
def test_what_passes_is_covered_by_every_link_and_by_the_live_route(data: st.DataObject, policy: Policy) -> None:
    offered = policy.routes[ROUTE].allow
    action = data.draw(st.sampled_from(sorted(offered)))
    attributes = data.draw(fitting(policy, action))
    chain = [offered, *data.draw(st.lists(grants_of(policy.actions, tuple(offered)), max_size=2))]
    decision = check_call(policy, ROUTE, action, attributes, [(link, ()) for link in chain])
    is_covered = all(link[action].covers(attributes) for link in chain)
    mapped = {name: {key: attributes[key] for key in policy.action(name).args} for name in implied(policy, action)}
    is_offered = all(offered[name].covers(values) for name, values in mapped.items())
    assert decision.is_allowed == (is_covered and is_offered and not is_denied(policy, action))


def is_denied(policy: Policy, action: str) -> bool:
    """Another reading of deny patterns: by listing what each denies."""
    meant = {"*": set(NAMES), **{name: {name} for name in NAMES}}
    for tool in ("t", "u", "v"):
        meant[f"{tool}.*"] = {name for name in NAMES if name.split(".")[0] == tool}
    return any({action, *implied(policy, action)} & meant[pattern] for pattern in policy.routes[ROUTE].deny)


@pytest.mark.requirement("B9")
@pytest.mark.invariant("I6")
@given(st.data(), policies())
def test_a_lease_that_may_be_issued_allows_no_call_that_its_route_or_the_leases_above_refuse(
    data: st.DataObject, policy: Policy
) -> None:
    names = tuple(policy.routes[ROUTE].allow)
    parent, child = (data.draw(grants_of(policy.actions, names)) for _ in range(2))
    action = data.draw(st.sampled_from(names))
    attributes = data.draw(fitting(policy, action))
    if check_grants(policy, ROUTE, child, [parent]).is_allowed:
        assert grants_within(child, parent) is None
        alone = child[action].covers(attributes)
        whole = check_call(policy, ROUTE, action, attributes, [(parent, ()), (child, ())])
        assert whole.is_allowed == alone


@pytest.mark.requirement("P4", "P5", "B9")
@given(policies(), st.sampled_from(NAMES), st.lists(any_grants(), min_size=1, max_size=3), any_grants())
def test_one_more_link_or_implication_never_needs_fewer_people(
    policy: Policy, action: str, chain: list[Grants], more: Grants
) -> None:
    need = need_for_call(policy, ROUTE, action, chain)
    longer = need_for_call(policy, ROUTE, action, [more, *chain])
    assert longer.mode.rank >= need.mode.rank
    assert longer.quorum >= need.quorum
    rule = policy.actions[action]
    wider = replace(policy, actions={**policy.actions, action: replace(rule, implies=tuple(NAMES))})
    stricter = need_for_call(wider, ROUTE, action, chain)
    assert stricter.mode.rank >= need.mode.rank
    assert stricter.quorum >= need.quorum
    assert stricter.effect.rank >= need.effect.rank


@pytest.mark.requirement("P4")
@given(policies(), any_grants(), any_grants())
def test_asking_for_more_never_waits_for_fewer_people(policy: Policy, some: Grants, more: Grants) -> None:
    need = need_for_grants(policy, ROUTE, some)
    both = need_for_grants(policy, ROUTE, {**more, **some})
    assert need.mode is not ApprovalMode.LEASE or both.mode is ApprovalMode.LEASE
    assert need.mode is ApprovalMode.NONE or both.mode is not ApprovalMode.NONE
    assert both.quorum >= need.quorum
    assert both.effect.rank >= need.effect.rank


@pytest.mark.requirement("P2", "P4")
@given(policies(), st.sampled_from(NAMES), any_grants())
def test_a_stronger_effect_never_needs_fewer_people(policy: Policy, action: str, grants: Grants) -> None:
    need = need_for_call(policy, ROUTE, action, [grants])
    destructive = replace(policy.actions[action], effect=Effect.DESTRUCTIVE)
    stricter = need_for_call(replace(policy, actions={**policy.actions, action: destructive}), ROUTE, action, [grants])
    assert stricter.mode.rank >= need.mode.rank
    assert stricter.quorum >= need.quorum


@pytest.mark.case(23)
@given(policies(), st.lists(st.sampled_from(NAMES), unique=True).map(tuple))
def test_a_policy_survives_storage_with_an_equal_hash(policy: Policy, names: tuple[str, ...]) -> None:
    policy = replace(policy, tests=(PolicyTest(route=ROUTE, refuses=names),))
    again = Policy.from_json(decode(encode(policy.to_json())))
    assert again == policy
    assert again.hash == policy.hash
    assert again.to_json() == policy.to_json()
    assert replace(policy, tests=()).hash == policy.hash


@pytest.mark.requirement("P7")
@given(near_policies())
def test_two_policies_differ_exactly_when_their_hashes_do(pair: tuple[Policy, Policy]) -> None:
    old, new = pair
    changes = diff(old, new)
    assert (changes == []) == (old.hash == new.hash)
    assert [(change.before, change.after) for change in changes if change.before == change.after] == []
    back = {(change.route, change.action, change.subject, change.after, change.before) for change in diff(new, old)}
    assert {(each.route, each.action, each.subject, each.before, each.after) for each in changes} == back


@pytest.mark.requirement("P7")
@given(st.data(), near_policies())
def test_whatever_passes_anew_or_with_fewer_people_is_a_widening(
    data: st.DataObject, pair: tuple[Policy, Policy]
) -> None:
    old, new = pair
    offered = new.routes[ROUTE].allow
    action = data.draw(st.sampled_from(sorted(offered)))
    attributes = data.draw(fitting(new, action))
    chain = data.draw(st.one_of(st.just([offered]), st.lists(grants_of(new.actions, tuple(offered)), max_size=2)))
    links: Links = [(link, ()) for link in chain]
    was, is_now = (check_call(policy, ROUTE, action, attributes, links).is_allowed for policy in pair)
    need_was, need_now = (need_for_call(policy, ROUTE, action, chain) for policy in pair)
    person, other = data.draw(st.sampled_from([("user:a", "user:b"), ("user:b", "user:b"), ("user:c", "user:c")]))
    start = {"agent": "other", "tenant": "acme", "environment": "prod"}
    power = data.draw(st.sampled_from(Power))
    gained = [
        is_now and not was,
        is_now and need_now.mode.rank < need_was.mode.rank,
        is_now and need_now.quorum < need_was.quorum,
        is_entitled(new, person, ROUTE, other) and not is_entitled(old, person, ROUTE, other),
        has_power(new, person, power, "acme") and not has_power(old, person, power, "acme"),
        check_start(new, route=ROUTE, **start).is_allowed and not check_start(old, route=ROUTE, **start).is_allowed,
        finish_seconds(new, action) > finish_seconds(old, action),
        new.routes[ROUTE].ttl_seconds > old.routes[ROUTE].ttl_seconds,
    ]
    assert not any(gained) or any(change.widens for change in diff(old, new))


@pytest.mark.requirement("P7")
@given(policies())
def test_what_explain_shows_is_what_the_tests_of_a_policy_see(policy: Policy) -> None:
    for row in explain_route(policy, ROUTE):
        outcome, _ = outcome_of(policy, ROUTE, row.action)
        expected = "refuses" if row.denied_by else "allows" if row.mode is ApprovalMode.NONE else "needs_approval"
        assert outcome == expected
        test = PolicyTest(route=ROUTE, **{expected: (row.action,)})
        assert run_tests(replace(policy, tests=(test,))) == []


@given(action_rules(), st.dictionaries(st.sampled_from(["arg_a", "arg_b"]), st.sampled_from(["x", 1, True])))
def test_the_same_arguments_always_make_the_same_key(rules: dict[str, ActionRule], arguments: dict[str, Json]) -> None:
    for rule in rules.values():
        if {f"arg_{name}" for name in rule.args} <= arguments.keys():
            attributes = attributes_of(rule, arguments)
            shuffled = dict(random.Random(1).sample(sorted(attributes.items()), len(attributes)))
            assert key_of(rule, shuffled) == key_of(rule, attributes)
