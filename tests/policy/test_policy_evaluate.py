"""What a policy answers: who may start, what a lease may carry, what a call may do, who has to agree, what it costs."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec
import pytest
from policy_worlds import EXAMPLE, changed, load

from leasehold.errors import InvalidError
from leasehold.model.budget import MICROS
from leasehold.model.canonical import Json
from leasehold.model.decision import Decision, Reason
from leasehold.model.effect import ApprovalMode, Effect
from leasehold.model.grant import Attributes, Grant, Grants, grants_from_json, parse_constraint
from leasehold.policy.document import ActionRule, Policy, Power
from leasehold.policy.evaluate import (
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
from leasehold.policy.wording import compare_values

POLICY = load(EXAMPLE)
CREATE = "deploy.prod.release:create"


def grants(**actions: Mapping[str, object]) -> Grants:
    """Grants by the last words of their actions, which are long."""
    names = {"create": CREATE, "status": "deploy.prod.release:status"}
    return grants_from_json({names.get(key, key.replace("__", ".")): value for key, value in actions.items()})


DEPLOY = grants(create={"service": ["payments-api"], "replicas": {"max": 3}})
CLOSE_ANY = grants(ticket__close={"ticket": ["T-*"]})
CLOSE_ONE = grants(ticket__close={"ticket": ["T-1"]})


def start(**other: str) -> Decision:
    run = {"route": "support/close", "agent": "support-bot", "tenant": "acme", "environment": "prod", **other}
    return check_start(POLICY, **run)


@pytest.mark.requirement("P1", "P3", "P6")
@pytest.mark.case(28)
@pytest.mark.parametrize(
    ("other", "reason"),
    [
        ({"route": "support"}, Reason.UNKNOWN_ROUTE),
        ({"route": "Support/close"}, Reason.UNKNOWN_ROUTE),
        ({"agent": "release-bot"}, Reason.POLICY_DENIES),
        ({"agent": "support-bot\n"}, Reason.POLICY_DENIES),
        ({"tenant": "Acme"}, Reason.POLICY_DENIES),
        ({"environment": "*"}, Reason.POLICY_DENIES),
    ],
)
def test_a_run_starts_only_where_its_route_says(other: dict[str, str], reason: Reason) -> None:
    assert start().is_allowed
    assert start(**other).reason is reason


def test_a_route_for_everyone_names_nobody() -> None:
    policy = load(changed('agents = ["support-bot"]', 'agents = ["*"]'))
    assert check_start(policy, route="support/close", agent="anybody", tenant="acme", environment="prod").is_allowed


@pytest.mark.requirement("P1", "P2", "P5", "L9")
@pytest.mark.parametrize(
    ("asked", "reason", "check"),
    [
        ({"ticket.close": {"ticket": ["T-1"]}}, Reason.OK, ""),
        ({"ticket.close": {"ticket": ["T-*"]}, "ticket.update": {"ticket": ["T-2"]}}, Reason.OK, ""),
        ({}, Reason.NOT_GRANTED, "at least one action is named"),
        ({"ticket.reopen": {}}, Reason.UNKNOWN_ACTION, "ticket.reopen is in [actions]"),
        ({"db.query": {"table": ["t"], "rows": [1]}}, Reason.POLICY_DENIES, "db.query is in allow"),
        ({"ticket.close": {}}, Reason.BAD_ATTRIBUTE, "ticket is missing"),
        (
            {"ticket.close": {"ticket": ["T-1"], "note": ["x"]}},
            Reason.BAD_ATTRIBUTE,
            "note is not declared by the action",
        ),
        ({"ticket.close": {"ticket": ["**"]}}, Reason.OUT_OF_RANGE, 'ticket ["**"] is not within ["T-*"]'),
        ({"ticket.bulk_close": {"ticket": ["T-1"]}}, Reason.POLICY_DENIES, "ticket.bulk_close is in allow"),
    ],
)
def test_a_lease_may_carry_only_what_its_route_offers(
    asked: dict[str, dict[str, object]], reason: Reason, check: str
) -> None:
    decision = check_grants(POLICY, "support/close", grants_from_json(asked), [])
    assert (decision.reason, decision.check) == (reason, check)


def test_a_lease_of_an_unknown_route_is_refused() -> None:
    assert check_grants(POLICY, "support", CLOSE_ONE, []).reason is Reason.UNKNOWN_ROUTE


def test_a_grant_under_the_name_of_another_action_is_refused() -> None:
    forged = {"ticket.update": Grant("ticket.close", CLOSE_ONE["ticket.close"].attributes)}
    assert check_grants(POLICY, "support/close", forged, []).reason is Reason.BAD_ATTRIBUTE


@pytest.mark.requirement("B9")
@pytest.mark.invariant("I6")
def test_a_child_may_carry_only_what_every_lease_above_it_carries() -> None:
    above = grants(ticket__close={"ticket": ["T-1", "T-2"]})
    assert check_grants(POLICY, "support/close", CLOSE_ONE, [CLOSE_ANY, above]).is_allowed
    wider = check_grants(POLICY, "support/close", CLOSE_ANY, [CLOSE_ANY, above])
    assert wider.reason is Reason.WIDER_THAN_PARENT
    assert wider.enough == 'ticket in ["T-1", "T-2"]'
    missing = check_grants(POLICY, "support/close", CLOSE_ONE, [CLOSE_ANY, {}])
    assert missing.reason is Reason.WIDER_THAN_PARENT


@pytest.mark.requirement("P5")
def test_a_lease_for_an_action_must_stay_within_what_the_route_offers_of_all_it_implies() -> None:
    narrow = changed('allow."ticket.update" = { ticket = ["T-*"] }', 'allow."ticket.update" = { ticket = ["T-1"] }')
    policy = load(narrow)
    assert check_grants(policy, "support/close", CLOSE_ONE, []).is_allowed
    decision = check_grants(policy, "support/close", CLOSE_ANY, [])
    assert decision.reason is Reason.OUT_OF_RANGE
    assert decision.rule == 'routes."support/close".allow."ticket.update"'
    denied = load(changed("run_ttl =", 'deny = ["ticket.update"]\nrun_ttl ='))
    decision = check_grants(denied, "support/close", CLOSE_ONE, [])
    assert decision.reason is Reason.ACTION_DENIED
    assert decision.message == "ticket.update is denied, which ticket.close implies"


def call(
    action: str, attributes: Attributes, *links: Grants, policy: Policy = POLICY, route: str = "ci/deploy"
) -> Decision:
    return check_call(policy, route, action, attributes, [(link, ()) for link in links])


@pytest.mark.requirement("L9", "P1")
def test_a_call_inside_its_lease_and_route_passes() -> None:
    decision = call(CREATE, {"service": ("payments-api",), "replicas": (3,)}, DEPLOY)
    assert decision.is_allowed
    assert decision.rule == f'routes."ci/deploy".allow."{CREATE}"'


@pytest.mark.requirement("L9", "P1")
@pytest.mark.case(15)
@pytest.mark.parametrize(
    ("attributes", "reason", "check"),
    [
        ({"service": ("payments-api",), "replicas": (9,)}, Reason.OUT_OF_RANGE, 'replicas = 9 is not in {"max": 3}'),
        ({"service": ("payments-api",), "replicas": (1, 9)}, Reason.OUT_OF_RANGE, 'replicas = 9 is not in {"max": 3}'),
        (
            {"service": ("payments-api",), "replicas": ("3",)},
            Reason.OUT_OF_RANGE,
            'replicas = "3" is not in {"max": 3}: it is text, and that is a number',
        ),
        ({"service": (7,), "replicas": (1,)}, Reason.OUT_OF_RANGE, 'service = 7 is not in ["payments-api"]'),
        (
            {"service": ("payments-api",), "replicas": (True,)},
            Reason.OUT_OF_RANGE,
            'replicas = true is not in {"max": 3}',
        ),
        ({"service": ("payments-api",), "replicas": ()}, Reason.OUT_OF_RANGE, "replicas is missing"),
        ({"service": ("payments-api",)}, Reason.BAD_ATTRIBUTE, "replicas is missing"),
        ({"service": ("x",), "replicas": (1,), "y": (1,)}, Reason.BAD_ATTRIBUTE, "y is not declared by the action"),
    ],
)
def test_a_call_outside_its_lease_is_refused_with_the_comparison(
    attributes: Attributes, reason: Reason, check: str
) -> None:
    decision = call(CREATE, attributes, DEPLOY)
    assert (decision.reason, decision.check) == (reason, check)


@pytest.mark.requirement("L9")
def test_a_refusal_says_what_would_be_enough_only_about_the_run_own_route() -> None:
    outside = call(CREATE, {"service": ("payments-api",), "replicas": (9,)}, DEPLOY)
    assert outside.enough == 'replicas in {"max": 3}'
    lacking = call("deploy.prod.release:status", {"service": ("payments-api",)}, DEPLOY)
    assert lacking.reason is Reason.NOT_GRANTED
    assert lacking.enough == 'a lease with deploy.prod.release:status {"service": ["payments-api"]}'
    elsewhere = call("db.migrate", {"version": ("0042",)}, DEPLOY)
    assert (elsewhere.reason, elsewhere.enough) == (Reason.NOT_GRANTED, "")
    unknown = call("db.drop", {}, DEPLOY)
    assert (unknown.reason, unknown.enough) == (Reason.UNKNOWN_ACTION, "")


@pytest.mark.requirement("B9")
@pytest.mark.invariant("I6")
def test_every_link_of_a_chain_has_to_cover_the_call() -> None:
    attributes = {"ticket": ("T-1",)}
    two = grants(ticket__close={"ticket": ["T-2"]})
    close = "ticket.close"
    assert call(close, attributes, CLOSE_ANY, CLOSE_ONE, route="support/close").is_allowed
    for links in ((two, CLOSE_ONE), (CLOSE_ANY, two)):
        assert call(close, attributes, *links, route="support/close").reason is Reason.OUT_OF_RANGE
    assert call(close, attributes, {}, CLOSE_ONE, route="support/close").reason is Reason.NOT_GRANTED
    assert call(close, attributes, route="support/close").reason is Reason.NOT_GRANTED


@pytest.mark.requirement("B9")
def test_a_child_is_told_only_what_the_lease_above_it_could_give() -> None:
    attributes = {"ticket": ("T-1",)}
    update = grants(ticket__update={"ticket": ["T-1"]})
    told = call("ticket.update", attributes, update, {}, route="support/close")
    assert told.enough == 'a lease with ticket.update {"ticket": ["T-1"]}'
    kept = call("ticket.close", attributes, CLOSE_ONE, {}, route="support/close")
    assert (kept.reason, kept.enough) == (Reason.NOT_GRANTED, ""), "the route does not let it be delegated"
    silent = call("ticket.close", attributes, {}, {}, route="support/close")
    assert (silent.reason, silent.enough) == (Reason.NOT_GRANTED, "")
    above = call(
        "ticket.close", attributes, grants(ticket__close={"ticket": ["T-2"]}), CLOSE_ONE, route="support/close"
    )
    assert (above.reason, above.enough) == (Reason.OUT_OF_RANGE, "")


@pytest.mark.requirement("P1")
@pytest.mark.case(31)
@pytest.mark.parametrize("pattern", ["ticket.close", "ticket.update", "ticket.*", "*"])
def test_deny_wins_in_every_link_and_for_what_is_implied(pattern: str) -> None:
    attributes = {"ticket": ("T-1",)}
    for position in range(2):
        links = [(CLOSE_ANY, (pattern,) if position == index else ()) for index in range(2)]
        decision = check_call(POLICY, "support/close", "ticket.close", attributes, links)
        assert decision.reason is Reason.ACTION_DENIED
        assert decision.rule == "lease.deny"
    policy = load(changed("run_ttl =", f'deny = ["{pattern}"]\nrun_ttl ='))
    decision = call("ticket.close", attributes, CLOSE_ANY, policy=policy, route="support/close")
    assert decision.rule == 'routes."support/close".deny'


@pytest.mark.requirement("P5", "C2")
@pytest.mark.invariant("I6")
def test_a_live_policy_that_narrowed_wins_over_the_lease() -> None:
    attributes = {"ticket": ("T-7",)}
    assert call("ticket.close", attributes, CLOSE_ANY, route="support/close").is_allowed
    narrower = load(
        changed('allow."ticket.close"  = { ticket = ["T-*"] }', 'allow."ticket.close" = { ticket = ["T-1"] }')
    )
    decision = call("ticket.close", attributes, CLOSE_ANY, policy=narrower, route="support/close")
    assert (decision.reason, decision.check) == (Reason.POLICY_DENIES, 'ticket = "T-7" is not in ["T-1"]')
    implied_narrower = load(
        changed('allow."ticket.update" = { ticket = ["T-*"] }', 'allow."ticket.update" = { ticket = ["T-1"] }')
    )
    decision = call("ticket.close", attributes, CLOSE_ANY, policy=implied_narrower, route="support/close")
    assert decision.reason is Reason.POLICY_DENIES
    assert "for ticket.update, which it implies" in decision.message
    gone = msgspec.structs.replace(POLICY, routes={})
    assert (
        call("ticket.close", attributes, CLOSE_ANY, policy=gone, route="support/close").reason is Reason.POLICY_DENIES
    )
    decision = call("ticket.close", attributes, CLOSE_ANY, route="ci/deploy")
    assert (decision.reason, decision.enough) == (Reason.POLICY_DENIES, "")


@pytest.mark.requirement("L9")
def test_a_refused_call_that_the_route_does_not_know_is_told_nothing() -> None:
    decision = call("ticket.close", {"ticket": ("X",)}, CLOSE_ANY, route="ci/deploy")
    assert (decision.reason, decision.enough) == (Reason.OUT_OF_RANGE, "")


def test_an_evaluated_text_is_bounded_and_shows_hidden_characters() -> None:
    many = grants(ticket__close={"ticket": [f"T-{number}" for number in range(200)]})
    decision = call("ticket.close", {"ticket": ("X" * 2000,)}, many, route="support/close")
    assert len(decision.check) < 600
    assert decision.check.endswith("…")
    assert "<U+202E>" in call("a\u202eb", {}, many, route="support/close").message


def needs(action: str, attributes: dict[str, object], route: str, policy: Policy = POLICY) -> tuple[object, ...]:
    need = need_for_call(policy, route, action, [grants_from_json({action: attributes})])
    return need.mode, need.quorum, need.approvers


@pytest.mark.requirement("P2", "P4", "P12")
def test_who_has_to_agree_follows_from_the_effect_and_from_how_exact_the_lease_is() -> None:
    exact = {"service": ["payments-api"], "replicas": [2]}
    wide = {"service": ["payments-api"], "replicas": {"max": 3}}
    none, lease, each = ApprovalMode.NONE, ApprovalMode.LEASE, ApprovalMode.CALL
    assert needs("deploy.prod.release:status", {"service": ["payments-api"]}, "ci/deploy") == (none, 0, ())
    assert needs(CREATE, exact, "ci/deploy") == (lease, 1, ("release",))
    assert needs(CREATE, wide, "ci/deploy") == (each, 1, ("release",))
    assert needs("db.migrate", {"version": ["0042"]}, "db/migrate") == (each, 2, ("dba",))
    assert needs("db.rollback", {"version": ["0041"]}, "db/migrate") == (lease, 2, ("dba",))


@pytest.mark.requirement("P4", "P12")
def test_a_laxer_rule_or_quorum_has_to_be_spelled_out() -> None:
    version = {"version": ["0042"]}
    one = load(changed('approvers = ["dba"]', 'approvers = ["dba"]\nquorum = 1'))
    assert needs("db.migrate", version, "db/migrate", one)[1] == 1
    three = load(changed('approvers = ["release"]', 'approvers = ["release"]\nquorum = 3'))
    assert needs(CREATE, {"service": ["payments-api"], "replicas": [2]}, "ci/deploy", three)[1] == 3
    assert needs("ticket.update", {"ticket": ["T-*"]}, "support/close") == (ApprovalMode.NONE, 0, ())


@pytest.mark.requirement("P5")
def test_no_approval_can_be_dodged_through_an_action_that_implies_another() -> None:
    bulk = changed(
        'approve."ticket.update" = "none"',
        'allow."ticket.bulk_close" = { ticket = ["T-*"] }\n'
        'approve."ticket.bulk_close" = "none"\napprove."ticket.update" = "none"',
    )
    policy = load(bulk)
    assert implied(policy, "ticket.bulk_close") == ("ticket.close", "ticket.update")
    need = need_for_call(policy, "support/close", "ticket.bulk_close", [policy.routes["support/close"].allow])
    assert need.mode is ApprovalMode.CALL
    assert need.rule == 'routes."support/close".approve."ticket.close"'


@pytest.mark.requirement("B9", "P4")
def test_a_call_needs_what_the_least_exact_lease_of_its_chain_needs() -> None:
    exact = grants(create={"service": ["payments-api"], "replicas": [2]})
    for links in ([exact, DEPLOY], [DEPLOY, exact], [DEPLOY], [exact, {}], []):
        assert need_for_call(POLICY, "ci/deploy", CREATE, links).mode is ApprovalMode.CALL
    assert need_for_call(POLICY, "ci/deploy", CREATE, [exact, exact]).mode is ApprovalMode.LEASE


@pytest.mark.requirement("P4", "F2")
def test_one_grant_in_lease_mode_makes_the_whole_request_wait() -> None:
    update = grants(ticket__update={"ticket": ["T-1"]})
    assert need_for_grants(POLICY, "support/close", {}).mode is ApprovalMode.NONE
    assert need_for_grants(POLICY, "support/close", update).mode is ApprovalMode.NONE
    assert need_for_grants(POLICY, "support/close", {**update, **CLOSE_ONE}).mode is ApprovalMode.CALL
    both = grants(db__migrate={"version": ["0042"]}, db__rollback={"version": ["0041"]})
    need = need_for_grants(POLICY, "db/migrate", both)
    assert (need.mode, need.quorum, need.effect) == (ApprovalMode.LEASE, 2, Effect.DESTRUCTIVE)


@pytest.mark.requirement("P1", "P2")
def test_an_action_or_route_that_nobody_knows_needs_two_people_for_each_call() -> None:
    for route, action in (("nowhere", "db.query"), ("ci/deploy", "db.drop"), ("nowhere", "db.drop")):
        need = need_for_call(POLICY, route, action, [{action: Grant("db.drop")}])
        assert need.mode is ApprovalMode.CALL
    assert need_for_call(POLICY, "nowhere", "db.drop", []).quorum == 2
    assert need_for_call(POLICY, "nowhere", "db.drop", []).approvers == ()


ARGUMENTS: dict[str, Json] = {
    "name": "x",
    "count": 3,
    "flag": True,
    "list": ["a", "b"],
    "deep": {"er": {"est": "z"}},
    "rows": [{"id": 1}, {"id": 2}],
    "grid": [{"ids": [1, 2]}, {"ids": [3]}],
    "null": None,
    "empty": [],
    "text": "",
    "float": 1.5,
    "mixed": [{"id": 1}, {}],
    "holes": [None],
    "gaps": [{"ids": [1]}, {"ids": []}],
}


@pytest.mark.requirement("L9", "P6")
@pytest.mark.parametrize(
    ("path", "values"),
    [
        ("name", ("x",)),
        ("count", (3,)),
        ("flag", (True,)),
        ("list[]", ("a", "b")),
        ("deep.er.est", ("z",)),
        ("rows[].id", (1, 2)),
        ("grid[].ids[]", (1, 2, 3)),
    ],
)
def test_attributes_are_read_from_the_arguments_that_the_action_names(path: str, values: tuple[object, ...]) -> None:
    found = attributes_of(ActionRule(name="a.b", effect=Effect.READ, args={"it": path}), ARGUMENTS)
    assert found == {"it": values}
    assert [type(value) for value in found["it"]] == [type(value) for value in values]


@pytest.mark.requirement("L9", "P1")
@pytest.mark.case(15, 19, 25)
@pytest.mark.parametrize(
    "path",
    [
        "missing", "null", "empty[]", "text", "float", "list", "deep", "deep.er", "name[]", "deep[]", "name.x",
        "rows.id", "mixed[].id", "holes[]", "rows[]", "list[].x", "missing[].x", "deep.er.missing", "gaps[].ids[]",
    ],
)  # fmt: skip
def test_a_missing_null_empty_or_mistyped_argument_never_passes(path: str) -> None:
    with pytest.raises(InvalidError):
        attributes_of(ActionRule(name="a.b", effect=Effect.READ, args={"it": path}), ARGUMENTS)


def test_a_number_where_the_grant_has_text_is_told_that_it_is_one() -> None:
    told = compare_values("it", {"it": (7,)}, {"it": parse_constraint(["7", "8"])})
    assert told == 'it = 7 is not in ["7", "8"]: it is a number, and that is text'


def test_a_list_that_is_read_as_one_value_is_told_how_lists_are_read() -> None:
    with pytest.raises(
        InvalidError, match=r'argument list is a list; read each of its items: args = { it = "list\[\]" }'
    ):
        attributes_of(ActionRule(name="a.b", effect=Effect.READ, args={"it": "list"}), ARGUMENTS)


@pytest.mark.requirement("P14")
def test_an_action_makes_its_own_key_from_its_attributes() -> None:
    rule = POLICY.action("ticket.close")
    assert key_of(rule, {"ticket": ("T-1",)}) == '{"ticket":["T-1"]}'
    assert key_of(POLICY.action("ticket.update"), {"ticket": ("T-1",)}) is None
    number, text, flag = (key_of(rule, {"ticket": (value,)}) for value in (1, "1", True))
    assert len({number, text, flag}) == 3
    assert key_of(rule, {}) == '{"ticket":[]}'


@pytest.mark.requirement("P14")
def test_a_key_of_many_values_stays_short_and_distinct() -> None:
    rule = POLICY.action("ticket.close")
    keys = [key_of(rule, {"ticket": tuple(f"T-{number}" for number in range(size))}) for size in (100, 101)]
    assert keys[0] != keys[1]
    assert all(key is not None and len(key) == 71 for key in keys)


@pytest.mark.requirement("B8")
def test_a_call_reserves_what_its_action_declares_and_nothing_else() -> None:
    text = changed("undo = ", 'cost = { usd = "0.05", tokens = "all" }, timeout = "10s", undo = ')
    policy = load(text.replace('usd = "1.00" }', 'usd = "1.00", tokens = 5 }'))
    expected = {"calls": MICROS, "tool_seconds": 10 * MICROS, "usd": 50_000, "tokens": None}
    assert reservation(policy, "ticket.close") == expected
    assert reservation(policy, "ticket.update") == {"calls": MICROS}
    assert reservation(policy, "no.such") == {"calls": MICROS}
    assert (finish_seconds(policy, "ticket.close"), finish_seconds(policy, "ticket.update")) == (10, 30)


@pytest.mark.requirement("C2")
def test_the_freshest_lease_that_an_action_or_what_it_implies_demands_counts() -> None:
    text = changed('"ticket.update" = { effect = "write"', '"ticket.update" = { fresh = "20s", effect = "write"')
    text = changed('"ticket.bulk_close" = { effect', '"ticket.bulk_close" = { fresh = "60s", effect', text)
    policy = load(text)
    assert fresh_seconds(policy, "ticket.bulk_close") == 20
    assert fresh_seconds(policy, "ticket.close") == 20
    assert fresh_seconds(policy, "db.query") is None


@pytest.mark.requirement("F3", "P12")
def test_only_holders_of_a_role_that_the_route_names_are_entitled() -> None:
    assert is_entitled(POLICY, "user:ben", "support/close", "user:ana")
    assert not is_entitled(POLICY, "user:eva", "support/close", "user:ana")
    assert not is_entitled(POLICY, "user:nobody", "support/close", "user:ana")
    assert not is_entitled(POLICY, "user:ben", "nowhere", "user:ana")
    own = load(changed('approvers = ["support-lead"]', 'approvers = ["requester"]'))
    assert is_entitled(own, "user:ana", "support/close", "user:ana")
    assert not is_entitled(own, "user:ben", "support/close", "user:ana")


@pytest.mark.requirement("P8", "P15")
def test_powers_belong_to_roles_and_tenants_and_never_to_agents() -> None:
    assert has_power(POLICY, "user:eva", Power.HOLD, "acme")
    assert not has_power(POLICY, "user:eva", Power.HOLD, "other")
    assert not has_power(POLICY, "user:eva", Power.HOLD, "*")
    assert not has_power(POLICY, "user:ana", Power.HOLD, "acme")
    assert not has_power(POLICY, "support-bot", Power.HOLD, "acme")
    everywhere = load(changed('tenants = ["acme"] }\n\n', 'tenants = ["*"] }\n\n'))
    assert has_power(everywhere, "user:eva", Power.LIFT, "other")
    assert has_power(everywhere, "user:eva", Power.LIFT, "*")


@pytest.mark.requirement("L9", "P1")
def test_a_lease_from_before_an_action_got_another_attribute_covers_nothing_of_it() -> None:
    before = grants(create={"service": ["payments-api"]})
    attributes = {"service": ("payments-api",), "replicas": (1,)}
    decision = call(CREATE, attributes, before)
    assert (decision.reason, decision.check) == (Reason.OUT_OF_RANGE, "replicas is not in the grant")
    child = check_grants(POLICY, "ci/deploy", DEPLOY, [before])
    assert (child.reason, child.check) == (Reason.WIDER_THAN_PARENT, "replicas is not in the grant")
    wider_parent = grants(create={"service": ["payments-api"], "replicas": {"max": 3}, "zone": ["**"]})
    child = check_grants(POLICY, "ci/deploy", DEPLOY, [wider_parent])
    assert (child.reason, child.check) == (Reason.WIDER_THAN_PARENT, "zone is missing")


@pytest.mark.requirement("P4")
def test_an_action_without_attributes_is_exact_only_in_leases_that_name_it() -> None:
    text = changed('"db.query"      =', '"note.ping" = { effect = "write" }\n"db.query" =')
    policy = load(changed('approvers = ["release"]', 'allow."note.ping" = {}\napprovers = ["release"]', text))
    ping = grants(note__ping={})
    assert need_for_call(policy, "ci/deploy", "note.ping", [ping]).mode is ApprovalMode.LEASE
    assert need_for_call(policy, "ci/deploy", "note.ping", [DEPLOY, ping]).mode is ApprovalMode.CALL
