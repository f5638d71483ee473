"""What a policy says about itself: rows of a route, laxer rules, what would become of a call, its own tests."""

from __future__ import annotations

import pytest
from policy_worlds import EXAMPLE, changed, load

from leasehold.errors import InvalidError
from leasehold.model.decision import Reason
from leasehold.model.effect import ApprovalMode, Effect
from leasehold.policy.cases import Mismatch, Outcome, run_tests
from leasehold.policy.explain import explain_call, explain_route, laxer_rules

POLICY = load(EXAMPLE)


@pytest.mark.requirement("P4", "P7")
def test_a_route_is_explained_action_by_action() -> None:
    close, update = explain_route(POLICY, "support/close")
    assert (close.action, close.effect, close.implies) == ("ticket.close", Effect.WRITE, ("ticket.update",))
    assert close.attributes == {"ticket": '["T-*"]'}
    assert (close.mode, close.exact_mode, close.quorum) == (ApprovalMode.CALL, ApprovalMode.CALL, 1)
    assert close.why == 'routes."support/close".approve."ticket.close"'
    assert close.approvers == ("support-lead",)
    assert close.is_laxer  # what it implies asks nobody, so less is asked than the effects would
    assert (update.mode, update.quorum, update.is_laxer) == (ApprovalMode.NONE, 0, True)
    create, status = explain_route(POLICY, "ci/deploy")
    assert (create.mode, create.exact_mode, create.is_laxer) == (ApprovalMode.CALL, ApprovalMode.LEASE, False)
    assert create.attributes == {"replicas": '{"max": 3}', "service": '["payments-api"]'}
    assert (status.mode, status.why) == (ApprovalMode.NONE, "default for read: deploy.prod.release:status")


@pytest.mark.requirement("P1", "P7")
def test_a_denied_action_is_explained_with_its_pattern() -> None:
    policy = load(changed("run_ttl =", 'deny = ["ticket.update"]\nrun_ttl ='))
    assert [row.denied_by for row in explain_route(policy, "support/close")] == ["ticket.update", "ticket.update"]


def test_a_route_that_is_not_there_is_answered_with_the_nearest() -> None:
    with pytest.raises(InvalidError, match=r'no route "support/closed"; did you mean "support/close"\?'):
        explain_route(POLICY, "support/closed")


@pytest.mark.requirement("P4", "P7", "P12")
def test_every_rule_that_is_laxer_than_the_defaults_is_listed() -> None:
    found = [(rule.rule, rule.action, rule.usual, rule.actual) for rule in laxer_rules(POLICY)]
    assert found == [
        ('routes."db/migrate".approve."db.rollback"', "db.rollback", "call", "lease"),
        ('routes."support/close".approve."ticket.update"', "ticket.update", "call", "none"),
    ]
    lax = changed('approvers = ["dba"]', 'approvers = ["dba"]\nquorum = 1')
    lax = changed('approvers = ["support-lead"]', 'approvers = ["requester"]', lax)
    found = [(rule.rule, rule.action, rule.usual, rule.actual) for rule in laxer_rules(load(lax))]
    assert ('routes."db/migrate".quorum', "db.migrate", "2 people", "1 people") in found
    assert ('routes."support/close".approvers', "", "somebody else", "requester") in found
    assert all(row.is_laxer for row in explain_route(load(lax), "support/close"))


def test_a_quorum_of_an_action_that_asks_nobody_is_not_laxer() -> None:
    text = changed('approve."db.rollback" = "lease"', 'approve."db.rollback" = "none"\nquorum = 1')
    found = {(rule.rule, rule.action) for rule in laxer_rules(load(text)) if rule.route == "db/migrate"}
    assert found == {
        ('routes."db/migrate".approve."db.rollback"', "db.rollback"),
        ('routes."db/migrate".quorum', "db.migrate"),
    }


@pytest.mark.requirement("P7")
def test_a_call_is_explained_without_a_lease() -> None:
    seen = explain_call(
        POLICY, "ci/deploy", "deploy.prod.release:create", {"service": ("payments-api",), "replicas": (2,)}
    )
    assert seen.decision.is_allowed
    assert seen.need is not None
    assert seen.exact_need is not None
    assert (seen.need.mode, seen.exact_need.mode) == (ApprovalMode.CALL, ApprovalMode.LEASE)
    refused = explain_call(POLICY, "support/close", "db.query", {"table": ("t",), "rows": (1,)})
    assert (refused.decision.reason, refused.need, refused.exact_need) == (Reason.NOT_GRANTED, None, None)
    nowhere = explain_call(POLICY, "nowhere", "db.query", {"bad name": ("t",)})
    assert (nowhere.decision.reason, nowhere.effect) == (Reason.POLICY_DENIES, Effect.READ)


@pytest.mark.requirement("P7")
def test_each_expectation_that_does_not_hold_is_a_mismatch_with_its_reason() -> None:
    wrong = changed('allows = ["ticket.update"]', 'allows = ["ticket.close", "db.query"]')
    wrong = changed('needs_approval = ["ticket.close"]', 'needs_approval = ["ticket.update"]', wrong)
    wrong = changed('refuses = ["db.query", ', 'refuses = ["ticket.update", ', wrong)
    policy = load(wrong)
    allows, needs, refuses = Outcome.ALLOWS, Outcome.NEEDS_APPROVAL, Outcome.REFUSES
    route, none = "support/close", 'routes."support/close".approve."ticket.update"'
    close = 'routes."support/close".approve."ticket.close"'

    def mismatch(action: str, expected: Outcome, actual: Outcome, why: str) -> Mismatch:
        return Mismatch(test=0, route=route, action=action, expected=expected, actual=actual, why=why)

    assert run_tests(policy) == [
        mismatch("db.query", allows, refuses, "route support/close does not allow db.query"),
        mismatch("ticket.close", allows, needs, close),
        mismatch("ticket.update", needs, allows, none),
        mismatch("ticket.update", refuses, allows, none),
    ]


@pytest.mark.requirement("P7")
def test_a_denied_action_counts_as_refused() -> None:
    text = changed("run_ttl =", 'deny = ["ticket.close"]\nrun_ttl =')
    (mismatch,) = run_tests(load(text))
    assert (mismatch.actual, mismatch.why) == (Outcome.REFUSES, "ticket.close is denied")
