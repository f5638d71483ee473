"""The order of admit, 0 to 8: an earlier check wins; and every reason, each with its own attack on the lease."""

from __future__ import annotations

import pytest

from leasehold.errors import Denied
from leasehold.ledger.entry import EntryKind
from leasehold.model.call import Outcome, OutcomeStatus, ParentCall
from leasehold.model.decision import Reason
from leasehold.model.grant import grants_from_json
from leasehold.model.lease import HeldLease
from stage import AUDIT, BEN, CLOSE, ERASE, GET, POLICY, UPDATE, Stage, changed, reason_of

DONE = Outcome(status=OutcomeStatus.DONE)
NOTIFY = {"ticket.notify": {"ticket": ["T-*"]}, "mail.send": {"ticket": ["T-*"]}, "mail.list": {"folder": ["in/**"]}}

# The order: the faults pile up, and the earliest check is the one that is told


@pytest.mark.requirement("L9", "L11")
def test_of_several_faults_the_earliest_check_is_told(stage: Stage) -> None:
    """Each step below mends one fault of the same call and meets the next check in the order."""
    run = stage.start()
    lease = stage.lease({**ERASE, **UPDATE, "ticket.pay": {"ticket": ["T-*"]}}, run=run, budget={"usd": "0.30"})
    stage.settle(stage.admit(lease, "ticket.update", key="done"))
    stage.hold(f"run:{run.run_id}")
    stage.accept(
        changed('allow."ticket.pay"    = { ticket = ["T-*"] }', 'allow."ticket.pay"    = { ticket = ["T-2"] }')
    )

    def told(ticket: str, key: str | None, action: str = "ticket.pay") -> Reason:
        return stage.refusal(lease, action, ticket, key=key)

    assert told("T-1", "done", "ticket.update") is Reason.ALREADY_DONE  # 0
    stage.system.jump(seconds=-10)
    assert told("X-1", None) is Reason.CLOCK  # 1
    stage.system.jump(seconds=10)
    assert told("X-1", None) is Reason.HELD  # 2
    stage.lift(f"run:{run.run_id}")
    assert told("X-1", None) is Reason.OUT_OF_RANGE  # 3
    assert told("T-1", None) is Reason.POLICY_DENIES  # 4
    assert told("T-2", None) is Reason.KEY_NEEDED  # 5
    stage.accept(changed('approve."ticket.pay"    = "none"', 'approve."ticket.pay"    = "call"'))
    assert told("T-2", "a") is Reason.APPROVAL_NEEDED  # 6
    stage.people.approve(stage.desk.pending()[0], BEN)
    assert told("T-2", "a") is Reason.BUDGET  # 7
    listed = ["already_done", "clock", "held", "out_of_range", "policy_denies", "key_needed", "budget"]
    assert stage.denials() == listed
    request = stage.entries(EntryKind.REQUEST_MADE)[-1]
    assert (request.action, request.outcome) == ("ticket.pay", "pending")


def test_a_budget_that_does_not_fit_changes_nothing_not_even_the_approval(stage: Stage) -> None:
    lease = stage.lease(AUDIT, budget={"calls": 1})
    request = stage.ask(lease, "ticket.audit")
    other = stage.lease(AUDIT, run=stage.authority.run(lease.lease.run_id))
    stage.people.approve(request, BEN)
    used = stage.ask(lease, "ticket.audit", "T-2")
    stage.people.approve(used, BEN)
    stage.use(lease, "ticket.audit", "T-2")
    assert stage.refusal(lease, "ticket.audit") is Reason.BUDGET
    assert stage.desk.request_row(stage.authority.find_request(request)).state == "approved"
    assert stage.spent(lease.lease.request_id) == (1_000_000, 0, 0)
    assert other.lease.request_id != lease.lease.request_id


# What an admission says


@pytest.mark.requirement("P19", "C8")
@pytest.mark.invariant("I3")
@pytest.mark.case(95)
def test_an_admission_stands_in_the_ledger_before_it_is_answered(stage: Stage) -> None:
    lease = stage.lease()
    admitted = stage.admit(lease, "ticket.update", key="a", ticket_id="T-1", note="hello")
    entry = stage.entries(EntryKind.CALL_ADMITTED)[0]
    assert (entry.admission, entry.action, entry.effect) == (admitted.admission_id, "ticket.update", "write")
    assert entry.attributes == {"ticket": ("T-1",)}
    assert entry.arguments_digest == admitted.arguments_digest
    assert (entry.tenant, entry.environment, entry.run) == ("acme", "prod", lease.lease.run_id)
    assert (entry.request, entry.lease) == (lease.lease.request_id, lease.lease.lease_id)
    assert (entry.key, entry.agent, entry.requested_by, entry.decision) == ("a", "bot", "user:ana", "allow")
    assert entry.policy == stage.authority.engine.active_policy().hash
    assert entry.capability == stage.entries(EntryKind.LEASE_ISSUED)[0].capability
    assert "hello" not in repr(stage.entries())


@pytest.mark.invariant("I5")
@pytest.mark.case(51)
def test_a_call_starts_within_five_seconds_and_never_past_the_earliest_expiry(stage: Stage) -> None:
    parent = stage.lease(ttl_seconds=60)
    child = stage.lease(run=stage.child(parent))
    assert stage.admit(child, "ticket.update", key="a").start_within_ms == 5000
    stage.system.advance(seconds=57, milliseconds=1)
    admitted = stage.admit(child, "ticket.update", key="b")
    assert admitted.start_within_ms == 2999
    assert admitted.finish_by == child.lease.expires_at + 30 + 2
    stage.system.advance(milliseconds=2998)
    assert stage.admit(child, "ticket.update", key="c").start_within_ms == 1
    stage.system.advance(milliseconds=1)
    assert stage.refusal(child, "ticket.update", key="d") is Reason.EXPIRED


@pytest.mark.requirement("L3")
@pytest.mark.case(50, 60)
def test_a_lease_is_dead_at_its_expiry_without_any_clean_up(stage: Stage) -> None:
    lease = stage.lease()
    stage.pass_time(299)
    stage.use(lease, "ticket.update", key="a")
    stage.pass_time(1)
    for _ in range(2):
        assert stage.refusal(lease, "ticket.update", key="b") is Reason.EXPIRED
        stage.sweep()
    assert stage.entries(EntryKind.LEASE_ENDED)[0].outcome == "expired"


@pytest.mark.requirement("L7")
@pytest.mark.case(47)
def test_a_clock_within_two_seconds_counts_as_the_recorded_time(stage: Stage) -> None:
    lease = stage.lease()
    stage.pass_time(299)
    stage.use(lease, "ticket.update", key="a")
    stage.system.jump(seconds=-2)
    stage.use(lease, "ticket.update", key="b")
    assert stage.entries()[-1].time_ms == stage.entries()[-3].time_ms
    stage.system.jump(seconds=-1)
    assert stage.refusal(lease, "ticket.update", key="c") is Reason.CLOCK
    assert stage.refusal(lease, "ticket.update", key="b") is Reason.ALREADY_DONE


@pytest.mark.requirement("L7")
@pytest.mark.case(47)
def test_a_clock_that_jumps_back_revives_no_lease(stage: Stage) -> None:
    lease = stage.lease(ttl_seconds=60)
    stage.pass_time(60)
    other = stage.lease()
    stage.use(other, "ticket.update", key="a")
    stage.system.jump(seconds=-1)
    assert stage.refusal(lease, "ticket.update", key="b") is Reason.EXPIRED
    stage.system.jump(seconds=-30)
    assert stage.refusal(lease, "ticket.update", key="b") is Reason.CLOCK


# What is granted


@pytest.mark.requirement("P1", "L9")
def test_one_grant_of_every_link_has_to_cover_the_whole_call(stage: Stage) -> None:
    lease = stage.lease({"ticket.bulk": {"ticket": ["T-1", "T-2"]}})
    assert stage.refusal(lease, "ticket.bulk", key="a", ticket_ids=["T-1", "T-3"]) is Reason.OUT_OF_RANGE
    admitted = stage.admit(lease, "ticket.bulk", key="a", ticket_ids=["T-2", "T-1", "T-2"])
    assert admitted.grant.covers({"ticket": ("T-1", "T-2")})
    assert stage.refusal(lease, "ticket.update", key="b") is Reason.NOT_GRANTED
    assert stage.refusal(lease, "ticket.close", key="b") is Reason.NOT_GRANTED


@pytest.mark.requirement("P1")
def test_an_action_that_nobody_classified_is_refused_whatever_it_is_called_with(stage: Stage) -> None:
    lease = stage.lease()
    assert stage.refusal(lease, "ticket.nuke", key="a") is Reason.UNKNOWN_ACTION
    entry = stage.entries(EntryKind.CALL_DENIED)[0]
    assert (entry.effect, entry.reason) == ("destructive", "unknown_action")


@pytest.mark.requirement("P5")
def test_an_implied_action_must_be_allowed_and_not_denied_although_no_lease_names_it(stage: Stage) -> None:
    lease = stage.lease({"ticket.bulk": {"ticket": ["T-*"]}})
    stage.admit(lease, "ticket.bulk", key="a", ticket_ids=["T-1"])
    stage.accept(changed('deny = ["mail.purge"]', 'deny = ["ticket.update"]'))
    assert stage.refusal(lease, "ticket.bulk", key="b", ticket_ids=["T-1"]) is Reason.ACTION_DENIED
    narrowed = changed('allow."ticket.update" = { ticket = ["T-*"] }', 'allow."ticket.update" = { ticket = ["T-9"] }')
    stage.accept(narrowed)
    assert stage.refusal(lease, "ticket.bulk", key="b", ticket_ids=["T-1"]) is Reason.POLICY_DENIES


@pytest.mark.requirement("P3")
def test_a_route_that_is_gone_denies_what_it_offered(stage: Stage) -> None:
    lease = stage.lease(GET, run=stage.start(route="staging", environment="staging"))
    stage.accept(POLICY[: POLICY.index('[routes."staging"]')])
    assert stage.refusal(lease, "ticket.get") is Reason.POLICY_DENIES


@pytest.mark.requirement("P4")
def test_people_are_not_asked_on_behalf_of_a_route_that_is_gone(stage: Stage) -> None:
    lease = stage.lease(AUDIT)
    without = POLICY.replace('[routes."desk"]', '[routes."desk2"]')
    stage.accept(without)
    assert stage.refusal(lease, "ticket.audit") is Reason.POLICY_DENIES
    assert stage.desk.pending() == ()


# Budgets


@pytest.mark.requirement("P13", "B8")
@pytest.mark.invariant("I2")
def test_a_call_that_costs_all_reserves_what_is_left_everywhere(stage: Stage) -> None:
    run = stage.start()
    both = {"ticket.model": {"ticket": ["T-*"]}, "ticket.pay": {"ticket": ["T-*"]}}
    small = stage.lease(both, run=run, budget={"usd": "0.50"})
    large = stage.lease(both, run=run)
    stage.use(large, "ticket.pay", key="a")
    first = stage.admit(small, "ticket.model")
    assert first.reserved["usd"] == 500_000
    second = stage.admit(large, "ticket.model")
    assert second.reserved["usd"] == 100_000
    assert stage.refusal(large, "ticket.model") is Reason.BUDGET
    stage.settle(first, cost={"usd": 10_000})
    assert stage.admit(large, "ticket.model").reserved["usd"] == 490_000
    stage.settle(second, OutcomeStatus.NOT_STARTED)
    assert stage.refusal(small, "ticket.pay", key="b") is Reason.BUDGET


@pytest.mark.requirement("P13", "B8")
def test_every_unit_is_bounded_by_request_and_run(stage: Stage) -> None:
    run = stage.start()
    pay = {"ticket.pay": {"ticket": ["T-*"]}}
    lease = stage.lease(pay, run=run, budget={"tool_seconds": 25})
    stage.admit(lease, "ticket.pay", key="a")
    stage.admit(lease, "ticket.pay", key="b")
    assert stage.refusal(lease, "ticket.pay", key="c") is Reason.BUDGET  # 10 s are declared, 5 s are left
    other = stage.lease(pay, run=run)
    assert stage.refusal(other, "ticket.pay", key="d") is Reason.BUDGET  # 0.20 of the run's usd are left
    assert stage.spent(run.run_id, "usd") == (0, 800_000, 0)


@pytest.mark.requirement("P13")
@pytest.mark.invariant("I6")
def test_a_budget_that_the_live_policy_lowered_binds_runs_that_are_under_way(stage: Stage) -> None:
    pay = {"ticket.pay": {"ticket": ["T-*"]}}
    lease = stage.lease(pay)
    stage.use(lease, "ticket.pay", key="a")
    stage.accept(changed('usd = "1.00"', 'usd = "0.50"'))
    assert stage.refusal(lease, "ticket.pay", key="b") is Reason.BUDGET
    stage.accept(changed('usd = "1.00"', 'usd = "5.00"'))
    stage.use(lease, "ticket.pay", key="b")
    assert stage.refusal(lease, "ticket.pay", key="c") is Reason.BUDGET  # more than it began with it never gets


@pytest.mark.requirement("P13")
def test_a_unit_that_the_live_policy_began_to_charge_and_nobody_budgeted_is_refused(stage: Stage) -> None:
    tag = {"ticket.tag": {"ticket": ["T-*"]}}
    lease = stage.lease(tag)
    costs = changed('"ticket_id" }, idempotent', '"ticket_id" }, cost = { tokens = 1 }, idempotent')
    stage.accept(changed('usd = "1.00" }', 'usd = "1.00", tokens = 5 }', costs))
    assert stage.refusal(lease, "ticket.tag", key="a") is Reason.BUDGET
    stage.use(stage.lease(tag), "ticket.tag", key="a")


@pytest.mark.requirement("B8")
@pytest.mark.case(73)
def test_denials_are_listed_up_to_a_budget_and_counted_beyond_it(stage: Stage) -> None:
    run = stage.start()
    lease = stage.lease(AUDIT | UPDATE, run=run)
    for _ in range(200):
        assert stage.refusal(lease, "ticket.update", "X-1", key="a") is Reason.OUT_OF_RANGE
    assert len(stage.denials()) == 200
    for _ in range(3):
        assert stage.refusal(lease, "ticket.update", "X-1", key="a") is Reason.OUT_OF_RANGE
    assert len(stage.denials()) == 200
    counted = stage.entries(EntryKind.DENIALS_COUNTED)
    assert [entry.detail["listed"] for entry in counted] == [200]
    assert stage.refusal(lease, "ticket.audit") is Reason.POLICY_DENIES  # people are not asked any more
    stage.use(lease, "ticket.update", key="a")
    stage.authority.runs.end(run.run, "done")
    assert stage.entries(EntryKind.RUN_FINISHED)[0].detail["denials"] == 204


@pytest.mark.case(87)
def test_a_run_that_asks_and_asks_is_stopped_from_asking(stage: Stage) -> None:
    stage.accept(POLICY + "[defaults]\npending_per_run = 1000\n")
    lease = stage.lease(AUDIT)
    for number in range(200):
        stage.ask(lease, "ticket.audit", f"T-{number}")
    assert stage.refusal(lease, "ticket.audit", "T-200") is Reason.POLICY_DENIES
    assert len(stage.desk.pending()) == 200


# Sub-calls


def _notifying(stage: Stage) -> tuple[HeldLease, ParentCall]:
    lease = stage.lease(NOTIFY)
    parent = stage.admit(lease, "ticket.notify", key="a")
    return lease, ParentCall(admission_id=parent.admission_id, allow=parent.sub_grants)


@pytest.mark.requirement("C5")
def test_an_admission_hands_on_what_its_action_uses_narrowed_to_the_call(stage: Stage) -> None:
    lease = stage.lease(NOTIFY)
    admitted = stage.admit(lease, "ticket.notify", "T-7", key="a")
    assert admitted.uses == ("mail.list", "mail.send")
    assert admitted.sub_grants == grants_from_json(
        {"mail.send": {"ticket": ["T-7"]}, "mail.list": {"folder": ["in/**"]}}
    )
    assert list(admitted.tokens) == ["mail"]
    none = stage.admit(stage.lease({"ticket.notify": {"ticket": ["T-*"]}}), "ticket.notify", key="a")
    assert (none.sub_grants, none.tokens) == ({}, {})
    odd = stage.lease({**NOTIFY, "mail.send": {"ticket": ["T-1"]}})
    assert list(stage.admit(odd, "ticket.notify", "T-7", key="a").sub_grants) == ["mail.list"]


@pytest.mark.requirement("C5", "B8")
def test_a_sub_call_is_admitted_charged_and_names_its_parent(stage: Stage) -> None:
    lease, parent = _notifying(stage)
    admitted = stage.admit(lease, "mail.send", key="m", parent=parent)
    assert admitted.parent_admission == parent.admission_id
    assert stage.spent(lease.lease.request_id) == (0, 2_000_000, 0)
    assert stage.entries(EntryKind.CALL_ADMITTED)[1].detail["parent_call"] == parent.admission_id
    assert stage.refusal(lease, "mail.send", "T-2", key="n", parent=parent) is Reason.OUT_OF_RANGE
    stage.settle(admitted, tool="mail")


@pytest.mark.requirement("C5")
def test_a_sub_call_dies_with_its_parent_call(stage: Stage) -> None:
    lease, parent = _notifying(stage)
    stage.door().settle(parent.admission_id, DONE)
    assert stage.refusal(lease, "mail.send", key="m", parent=parent) is Reason.PARENT_CALL_OVER
    lease, parent = _notifying(stage)
    stage.pass_time(37)
    assert stage.refusal(lease, "mail.send", key="m", parent=parent) is Reason.PARENT_CALL_OVER


@pytest.mark.requirement("C5")
def test_a_sub_call_does_only_what_its_parent_declared_under_the_same_lease(stage: Stage) -> None:
    lease, parent = _notifying(stage)
    unknown = ParentCall(admission_id=stage.door().new_admission_id(), allow=parent.allow)
    assert stage.refusal(lease, "mail.send", key="m", parent=unknown) is Reason.PARENT_CALL_OVER
    assert stage.refusal(lease, "ticket.notify", key="m", parent=parent) is Reason.NOT_GRANTED
    assert stage.refusal(stage.authority.renew(lease), "mail.send", key="m", parent=parent) is Reason.NOT_GRANTED
    empty = ParentCall(admission_id=parent.admission_id, allow={})
    assert stage.refusal(lease, "mail.send", key="m", parent=empty) is Reason.NOT_GRANTED
    whole = ParentCall(admission_id=parent.admission_id, allow=lease.lease.allow)  # as a guard that does not narrow
    assert stage.refusal(lease, "ticket.notify", key="m", parent=whole) is Reason.NOT_GRANTED


@pytest.mark.requirement("C5", "P4")
def test_a_sub_call_is_exact_only_if_its_narrowed_grant_is(stage: Stage) -> None:
    stage.accept(changed('approve."mail.send"     = "none"\n', ""))
    lease, parent = _notifying(stage)
    assert stage.refusal(lease, "mail.send", key="m", parent=parent) is Reason.APPROVAL_NEEDED


@pytest.mark.requirement("C5", "B2")
def test_a_sub_call_may_go_on_inside_the_request_that_its_parent_is_ending() -> None:
    text = changed('ends_on = ["ticket.close"]', 'ends_on = ["ticket.notify"]')
    stage = Stage(text)
    lease, parent = _notifying(stage)
    assert stage.refusal(lease, "mail.send", key="m") is Reason.ENDING
    stage.settle(stage.admit(lease, "mail.send", key="m", parent=parent), tool="mail")
    stage.door().settle(parent.admission_id, DONE)
    assert stage.refusal(lease, "mail.send", key="n", parent=parent) is Reason.COMPLETED
    stage.close()


@pytest.mark.requirement("C5", "B2")
def test_a_sub_call_that_would_end_what_its_parent_is_ending_leaves_the_ending_to_the_parent() -> None:
    stage = Stage(changed('ends_on = ["ticket.close"]', 'ends_on = ["ticket.notify", "mail.send"]'))
    lease, parent = _notifying(stage)
    sub = stage.admit(lease, "mail.send", key="m", parent=parent)
    stage.settle(sub, OutcomeStatus.DONE, tool="mail")
    assert stage.refusal(lease, "ticket.notify", key="n") is Reason.ENDING
    stage.door().settle(parent.admission_id, Outcome(status=OutcomeStatus.NOT_STARTED))
    stage.admit(lease, "ticket.notify", key="n")
    stage.close()


# The reasons


@pytest.mark.requirement("L11")
def test_a_denial_says_what_was_checked_and_what_would_be_enough_inside_the_runs_own_envelope(stage: Stage) -> None:
    lease = stage.lease({"ticket.update": {"ticket": ["T-1"]}})
    with pytest.raises(Denied) as denied:
        stage.admit(lease, "ticket.update", "T-2", key="a")
    decision = denied.value.decision
    assert decision.reason is Reason.OUT_OF_RANGE
    assert decision.rule == 'lease.allow."ticket.update"'
    assert "T-2" in decision.check
    assert "T-1" in decision.enough
    entry = stage.entries(EntryKind.CALL_DENIED)[0]
    assert (entry.detail["rule"], entry.detail["check"]) == (decision.rule, decision.check)
    with pytest.raises(Denied) as denied:
        stage.admit(lease, "ticket.bulk", key="a", ticket_ids=["T-1"])
    assert "T-*" in denied.value.decision.enough
    with pytest.raises(Denied) as denied:
        stage.admit(lease, "ticket.nuke", key="a")
    assert denied.value.decision.enough == ""


def test_a_closed_route_is_told_to_those_who_start_and_those_who_ask(stage: Stage) -> None:
    assert reason_of(lambda: stage.start(route="nope")) is Reason.UNKNOWN_ROUTE
    assert stage.refusal(stage.lease(CLOSE), "ticket.close", "Y-1", key="a") is Reason.OUT_OF_RANGE
