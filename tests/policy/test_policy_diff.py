"""What a changed policy changes, item by item, and which items widen."""

from __future__ import annotations

import pytest
from policy_worlds import EXAMPLE, changed, load

from leasehold.policy.diff import Change, diff

OLD = load(EXAMPLE)


def changes(old: str, new: str) -> list[tuple[str, str, str, str, str, bool]]:
    """The differences that one edit of the example makes."""
    return [
        (each.route, each.action, each.subject, each.before, each.after, each.widens)
        for each in diff(OLD, load(changed(old, new)))
    ]


def test_equal_policies_do_not_differ() -> None:
    assert diff(OLD, load("# only a comment\n" + EXAMPLE)) == []


BREAKER = "breaker = { errors = { percent = 50, of = 20 } }"
SUPPORT, DEPLOY, MIGRATE = "support/close", "ci/deploy", "db/migrate"
CREATE = "deploy.prod.release:create"
EDITS = {
    "a grant widened": (
        "{ max = 3 }",
        "{ max = 4 }",
        (DEPLOY, CREATE, "allow.replicas", '{"max": 3}', '{"max": 4}', True),
    ),
    "a grant narrowed": (
        "{ max = 3 }",
        "{ max = 2 }",
        (DEPLOY, CREATE, "allow.replicas", '{"max": 3}', '{"max": 2}', False),
    ),
    "approval lost": (
        'approve."ticket.close" = "call"',
        'approve."ticket.close" = "none"',
        (SUPPORT, "ticket.close", "approve", "call", "none", True),
    ),
    "approval by effect": (
        'approve."ticket.close" = "call"\n',
        "",
        (SUPPORT, "ticket.close", "approve", "call", "call by effect, lease for exact values", True),
    ),
    "approval spelled out": (
        'approvers = ["release"]',
        f'approve."{CREATE}" = "call"\napprovers = ["release"]',
        (DEPLOY, CREATE, "approve", "call by effect, lease for exact values", "call", False),
    ),
    "a deny": ("run_ttl =", 'deny = ["db.*"]\nrun_ttl =', (SUPPORT, "", "deny", "", "db.*", False)),
    "ttl": ("run_ttl =", 'ttl = "5m"\nrun_ttl =', (SUPPORT, "", "max_ttl", "900", "300", False)),
    "run ttl": ('run_ttl = "30m"', 'run_ttl = "1h"', (SUPPORT, "", "run_ttl", "1800", "3600", True)),
    "a budget raised": ("calls = 25", "calls = 26", (SUPPORT, "", "budget.calls", "25", "26", True)),
    "a budget lowered": ('usd = "1.00"', 'usd = "0.50"', (SUPPORT, "", "budget.usd", "1", "0.5", False)),
    "a budget gone": (', usd = "1.00"', "", (SUPPORT, "", "budget.usd", "1", "", False)),
    "a quorum": ('approvers = ["dba"]', 'approvers = ["dba"]\nquorum = 1', (MIGRATE, "", "quorum", "", "1", True)),
    "a quorum more": (
        'approvers = ["dba"]',
        'approvers = ["dba"]\nquorum = 3',
        (MIGRATE, "", "quorum", "", "3", False),
    ),
    "an approver": (
        'approvers = ["dba"]',
        'approvers = ["dba", "oncall"]',
        (MIGRATE, "", "approvers", "", "oncall", True),
    ),
    "an ending": ('ends_on = ["ticket.close"]\n', "", (SUPPORT, "", "ends_on", "ticket.close", "", True)),
    "a breaker taken out": (f"{BREAKER}\n", "", (SUPPORT, "", "breaker.errors", "50% of 20", "", True)),
    "a breaker with a rate more": (
        BREAKER,
        BREAKER.replace("} }", "}, denials = { percent = 80, of = 50 } }"),
        (SUPPORT, "", "breaker.denials", "", "80% of 50", False),
    ),
    "a breaker that bears more": (
        "percent = 50, of = 20",
        "percent = 55, of = 20",
        (SUPPORT, "", "breaker.errors", "50% of 20", "55% of 20", True),
    ),
    "a breaker that looks back less far": (
        "percent = 50, of = 20",
        "percent = 100, of = 10",
        (SUPPORT, "", "breaker.errors", "50% of 20", "100% of 10", True),
    ),
    "a breaker that looks back further": (
        "percent = 50, of = 20",
        "percent = 25, of = 40",
        (SUPPORT, "", "breaker.errors", "50% of 20", "25% of 40", False),
    ),
    "an opener more": (
        'openers = ["oncall"]',
        'openers = ["dba", "oncall"]',
        (SUPPORT, "", "break_glass.openers", "", "dba", True),
    ),
    "a confirmer more": (
        'confirmers = ["support-lead"]',
        'confirmers = ["dba", "support-lead"]',
        (SUPPORT, "", "break_glass.confirmers", "", "dba", True),
    ),
    "a rule more to skip": (
        'skips = ["approve"]',
        'skips = ["approve", "hours"]',
        (SUPPORT, "", "break_glass.skips", "", "hours", True),
    ),
    "fewer minutes": ("minutes = 10", "minutes = 5", (SUPPORT, "", "break_glass.minutes", "10", "5", False)),
    "more minutes": ("minutes = 10\n", "", (SUPPORT, "", "break_glass.minutes", "10", "15", True)),
    "depth": ("depth = 1", "depth = 2", (SUPPORT, "", "delegation.depth", "1", "2", True)),
    "children": ("children = 2", "children = 1", (SUPPORT, "", "delegation.children", "2", "1", False)),
    "an agent": ('["migrator"]', '["migrator", "bot"]', (MIGRATE, "", "for.agents", "", "bot", True)),
    "a person's role": (
        '"user:ana" = ["oncall", ',
        '"user:ana" = ["dba", "oncall", ',
        ("", "", "people.user:ana", "", "dba", True),
    ),
    "a person": (
        '"user:eva" = ["dba", "operator"]',
        '"user:eva" = ["dba", "operator"]\n"user:x" = []',
        ("", "", "people", "", "user:x", False),
    ),
    "a power": (', "lift"', "", ("", "", "roles.operator.can", "lift", "", False)),
    "an effect lowered": (
        '"db.rollback"   = { effect = "destructive"',
        '"db.rollback" = { effect = "write"',
        ("", "db.rollback", "effect", "destructive", "write", True),
    ),
    "an effect raised": (
        '"db.query"      = { effect = "read"',
        '"db.query" = { effect = "write"',
        ("", "db.query", "effect", "read", "write", False),
    ),
    "an argument": ('"limit"', '"max_rows"', ("", "db.query", "args.rows", "limit", "max_rows", True)),
    "an implication gone": (
        ', implies = ["ticket.close"]',
        "",
        ("", "ticket.bulk_close", "implies", "ticket.close", "", True),
    ),
    "a key": (', key = ["ticket_id"]', "", ("", "ticket.close", "key", "ticket", "", True)),
    "undo": (
        "24 h",
        "12 h",
        ("", "ticket.close", "undo", "ticket.reopen within 24 h", "ticket.reopen within 12 h", False),
    ),
    "a new action": (
        '"db.query" ',
        '"db.new" = { effect = "read" }\n"db.query" ',
        ("", "db.new", "actions", "", "db.new", False),
    ),
    "a cost": ("undo = ", 'cost = { usd = "all" }, undo = ', ("", "ticket.close", "cost.usd", "", "all", False)),
    "a timeout": ("undo = ", 'timeout = "1m", undo = ', ("", "ticket.close", "timeout", "", "60", True)),
    "idempotent": ("undo = ", "idempotent = true, undo = ", ("", "ticket.close", "idempotent", "False", "True", True)),
    "fresh": ("undo = ", 'fresh = "9s", undo = ', ("", "ticket.close", "fresh", "", "9", False)),
    "authority": ("acme-desk", "acme-office", ("", "", "authority", "acme-desk", "acme-office", False)),
}


@pytest.mark.requirement("P7")
@pytest.mark.parametrize("name", EDITS)
def test_an_edit_is_listed_with_both_sides_and_whether_it_widens(name: str) -> None:
    old, new, expected = EDITS[name]
    assert expected in changes(old, new)


@pytest.mark.requirement("P7")
def test_the_reverse_of_a_narrowing_is_a_widening() -> None:
    narrower = load(changed("run_ttl =", 'deny = ["db.*"]\nttl = "1m"\nrun_ttl ='))
    assert not any(change.widens for change in diff(OLD, narrower))
    assert all(change.widens for change in diff(narrower, OLD))
    assert Change(route=SUPPORT, subject="deny", before="db.*", after="", widens=True) in diff(narrower, OLD)


@pytest.mark.requirement("P7")
def test_a_whole_route_appears_with_each_of_its_actions() -> None:
    more = (
        '[routes.look]\nfor = { agents = ["a"], tenants = ["*"], environments = ["*"] }\n'
        'allow."db.query" = { table = ["t"], rows = { max = 5 } }\n'
    )
    found = diff(OLD, load(EXAMPLE + more))
    assert found == [
        Change(
            route="look",
            action="",
            subject="routes",
            before="",
            after="look",
            widens=True,
        ),
        Change(
            route="look",
            action="db.query",
            subject="allow",
            before="",
            after='{"rows": {"max": 5}, "table": ["t"]}',
            widens=True,
        ),
    ]
    assert not any(change.widens for change in diff(load(EXAMPLE + more), OLD))


def test_naming_one_agent_where_any_could_start_does_not_widen() -> None:
    anyone = load(changed('["migrator"]', '["*"]'))
    found = [(each.before, each.after, each.widens) for each in diff(anyone, OLD)]
    assert found == [("", "migrator", False), ("*", "", False)]


def test_a_role_appears_with_its_powers() -> None:
    more = changed("[roles]\n", '[roles]\nlooker = { can = ["query"], tenants = ["*"] }\n')
    found = [(each.subject, each.after, each.widens) for each in diff(OLD, load(more))]
    assert found == [
        ("roles", "looker", False),
        ("roles.looker.can", "query", True),
        ("roles.looker.tenants", "*", True),
    ]


def test_a_default_changes_under_its_own_name_and_in_every_route_that_uses_it() -> None:
    found = diff(OLD, load(EXAMPLE + '[defaults]\nanswer_within = "1h"\nbudget = { calls = 50 }\n'))
    assert {(each.route, each.subject, each.widens) for each in found} == {
        ("", "defaults.answer_within", True),
        ("", "defaults.budget.calls", False),
        *((route, "answer_within", True) for route in (SUPPORT, DEPLOY, MIGRATE)),
        *((route, "budget.calls", False) for route in (DEPLOY, MIGRATE)),
    }
