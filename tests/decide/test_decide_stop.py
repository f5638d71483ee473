"""Revoke, hold and lift of every scope: what dies, what was in flight, what lives on (invariant I1)."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from leasehold.authority.desk import Signatory
from leasehold.decide.facts import Facts, OpenCalls, Ref
from leasehold.decide.rows import CallRow, StopRow
from leasehold.decide.stop import Stop
from leasehold.errors import InvalidError, NotFoundError
from leasehold.ledger.entry import EntryKind
from leasehold.model.call import CallState
from leasehold.model.decision import Reason
from leasehold.model.instant import Instant
from leasehold.model.lease import HeldLease
from leasehold.model.scope import Scope, ScopeKind, StopKind
from leasehold.testing.fixtures import key_of_person
from leasehold.token.keys import SigningKey
from stage import AUDIT, BEN, EVA, GET, KIM, UPDATE, Stage, changed, reason_of

pytestmark = [pytest.mark.invariant("I1"), pytest.mark.requirement("L6", "P15")]

SCOPES: dict[str, Callable[[HeldLease], str]] = {
    "lease": lambda held: f"lease:{held.lease.lease_id}",
    "request": lambda held: f"request:{held.lease.request_id}",
    "run": lambda held: f"run:{held.lease.run_id}",
    "person": lambda held: f"person:{held.lease.requested_by}",
    "agent": lambda held: f"agent:{held.lease.agent}",
    "tool": lambda held: "tool:ticket",
    "action": lambda held: "action:ticket.update",
    "tenant": lambda held: f"tenant:{held.lease.tenant}",
    "environment": lambda held: f"environment:{held.lease.environment}",
    "route": lambda held: f"route:{held.lease.route}",
    "all": lambda held: "all",
}
WIDE = ["person", "agent", "tool", "action", "tenant", "environment", "route", "all"]


def test_the_scopes_tested_here_are_all_there_are() -> None:
    assert sorted(SCOPES) == sorted(ScopeKind)


@pytest.mark.case(53, 63)
@pytest.mark.parametrize("kind", SCOPES)
def test_a_revoke_ends_what_stands_in_its_scope_and_names_what_is_in_flight(stage: Stage, kind: str) -> None:
    lease = stage.lease()
    open_call = stage.admit(lease, "ticket.update", key="a")
    settled = stage.admit(lease, "ticket.update", key="b")
    stage.settle(settled)
    scope = SCOPES[kind](lease)
    assert stage.revoke(scope) == (open_call.admission_id,)
    assert stage.refusal(lease, "ticket.update", key="c") is Reason.REVOKED
    entry = next(entry for entry in stage.entries(EntryKind.REVOKED) if entry.scope == scope)
    assert (entry.person, entry.detail["reason"]) == ("op", "leak")
    assert entry.detail["in_flight"] == (open_call.admission_id,)
    assert stage.settle(open_call).charged["calls"] == 1_000_000  # what is in flight may say how it went
    assert stage.denials() == ["revoked"]


@pytest.mark.case(63)
@pytest.mark.parametrize("kind", SCOPES)
def test_a_hold_lets_nothing_start_until_a_person_lifts_it(stage: Stage, kind: str) -> None:
    lease = stage.lease()
    open_call = stage.admit(lease, "ticket.update", key="a")
    scope = SCOPES[kind](lease)
    assert stage.hold(scope) == (open_call.admission_id,)
    for _ in range(2):
        assert stage.refusal(lease, "ticket.update", key="c") is Reason.HELD
    stage.lift(scope)
    stage.use(lease, "ticket.update", key="c")
    assert scope in [entry.scope for entry in stage.entries(EntryKind.LIFTED)]
    assert reason_of(lambda: stage.lift(scope)) is Reason.NOT_FOUND


@pytest.mark.case(63)
@pytest.mark.parametrize("kind", WIDE)
def test_a_wide_revoke_leaves_what_begins_after_it_alone(stage: Stage, kind: str) -> None:
    lease = stage.lease()
    scope = SCOPES[kind](lease)
    stage.revoke(scope)
    newer = stage.lease()
    stage.use(newer, "ticket.update", key="a")
    stage.revoke(scope)
    assert stage.refusal(newer, "ticket.update", key="b") is Reason.REVOKED
    stage.use(stage.lease(), "ticket.update", key="b")


@pytest.mark.parametrize("kind", WIDE)
def test_a_hold_refuses_what_begins_after_it_too(stage: Stage, kind: str) -> None:
    lease = stage.lease()
    stage.hold(SCOPES[kind](lease))
    if kind in ("tool", "action"):
        assert stage.refusal(stage.lease(), "ticket.update", key="a") is Reason.HELD
    else:
        assert reason_of(stage.start) is Reason.HELD
        assert reason_of(lambda: stage.authority.renew(lease)) is Reason.HELD
        assert stage.entries(EntryKind.START_DENIED)[0].reason == "held"


@pytest.mark.parametrize("kind", ["lease", "request", "run"])
def test_a_narrow_stop_reaches_exactly_one_thing(stage: Stage, kind: str) -> None:
    run = stage.start()
    lease, same_run, other = stage.lease(run=run), stage.lease(run=run), stage.lease()
    stage.revoke(SCOPES[kind](lease))
    stage.use(other, "ticket.update", key="a")
    if kind != "run":
        stage.use(same_run, "ticket.update", key="b")
    assert reason_of(lambda: stage.authority.renew(lease)) in (Reason.REVOKED, Reason.RUN_FINISHED)


@pytest.mark.requirement("L13", "P15")
def test_a_stopped_tool_or_action_leaves_the_rest_of_a_lease_alive(stage: Stage) -> None:
    lease = stage.lease({**UPDATE, **GET, "mail.send": {"ticket": ["T-*"]}})
    stage.revoke("tool:mail")
    stage.revoke("action:ticket.update")
    stage.use(lease, "ticket.get")
    assert stage.refusal(lease, "ticket.update", key="a") is Reason.REVOKED
    assert stage.refusal(lease, "mail.send", key="a") is Reason.REVOKED
    assert stage.desk.lease_status(lease.lease.lease_id).status == "active"
    assert stage.entries(EntryKind.RUN_FINISHED) == []


@pytest.mark.requirement("P5")
def test_stopping_an_action_stops_what_implies_it(stage: Stage) -> None:
    lease = stage.lease({"ticket.bulk": {"ticket": ["T-*"]}})
    open_call = stage.admit(lease, "ticket.bulk", key="a", ticket_ids=["T-1"])
    assert stage.hold("action:ticket.update") == (open_call.admission_id,)
    assert stage.refusal(lease, "ticket.bulk", key="b", ticket_ids=["T-1"]) is Reason.HELD


@pytest.mark.requirement("B9")
@pytest.mark.case(45, 56)
@pytest.mark.parametrize("kind", ["lease", "request", "run", "agent"])
def test_stopping_a_parent_stops_its_children(stage: Stage, kind: str) -> None:
    parent = stage.lease()
    child = stage.lease(run=stage.child(parent))
    grandchild = stage.lease(run=stage.child(child))
    deep = stage.admit(grandchild, "ticket.update", key="a")
    assert stage.hold(SCOPES[kind](parent)) == (deep.admission_id,)
    assert stage.refusal(child, "ticket.update", key="a") is Reason.HELD
    assert stage.refusal(grandchild, "ticket.update", key="b") is Reason.HELD
    stage.lift(SCOPES[kind](parent))
    stage.use(child, "ticket.update", key="a")
    assert stage.revoke(SCOPES[kind](parent)) == (deep.admission_id,)
    assert stage.refusal(child, "ticket.update", key="b") is Reason.REVOKED
    assert stage.refusal(grandchild, "ticket.update", key="b") in (Reason.REVOKED, Reason.COMPLETED)


@pytest.mark.case(45)
def test_stopping_a_child_leaves_its_parent_alive(stage: Stage) -> None:
    parent = stage.lease()
    child = stage.lease(run=stage.child(parent))
    stage.revoke(f"agent:{child.lease.agent}")
    assert stage.refusal(child, "ticket.update", key="a") is Reason.REVOKED
    stage.use(parent, "ticket.update", key="a")


@pytest.mark.requirement("B4")
def test_revoking_a_person_ends_every_run_that_was_started_for_them(stage: Stage) -> None:
    hers, his = stage.lease(), stage.lease(run=stage.start(by=BEN))
    stage.revoke("person:user:ana")
    assert stage.refusal(hers, "ticket.update", key="a") is Reason.REVOKED
    stage.use(his, "ticket.update", key="a")
    ended = stage.entries(EntryKind.RUN_FINISHED)
    assert [(entry.run, entry.outcome) for entry in ended] == [(hers.lease.run_id, "revoked")]


@pytest.mark.invariant("I10")
@pytest.mark.case(57)
def test_a_wide_stop_in_one_tenant_does_not_touch_another(stage: Stage) -> None:
    acme, globex = stage.lease(), stage.lease(run=stage.start(tenant="globex"))
    call = stage.admit(globex, "ticket.update", key="a")
    assert stage.hold("tool:ticket", tenant="acme") == ()
    assert stage.refusal(acme, "ticket.update", key="a") is Reason.HELD
    stage.use(globex, "ticket.update", key="b")
    assert stage.hold("tool:ticket", tenant="globex") == (call.admission_id,)
    stage.lift("tool:ticket", tenant="acme")
    stage.use(acme, "ticket.update", key="a")
    assert stage.refusal(globex, "ticket.update", key="c") is Reason.HELD


@pytest.mark.invariant("I10")
@pytest.mark.case(57)
def test_a_lease_request_or_run_is_not_stopped_in_the_name_of_another_tenant(stage: Stage) -> None:
    lease = stage.lease()
    stage.lease(run=stage.start(tenant="globex"))
    for kind in ("lease", "request", "run"):
        for stop in (stage.revoke, stage.hold, stage.lift):
            with pytest.raises(NotFoundError):
                stop(SCOPES[kind](lease), tenant="globex")
    stage.use(lease, "ticket.update", key="a")
    stage.revoke(SCOPES["lease"](lease), tenant="acme")


@pytest.mark.case(57)
def test_what_does_not_exist_cannot_be_stopped(stage: Stage) -> None:
    lease = stage.lease()
    for kind in ("lease", "request", "run"):
        with pytest.raises(NotFoundError):
            stage.revoke(SCOPES[kind](lease)[:-2] + "00")
    for text in ("lease:", "lease:x", "planet:earth", "all:x", "action:ticket"):
        with pytest.raises(InvalidError):
            Scope.parse(text)
    assert reason_of(lambda: stage.lift("all")) is Reason.NOT_FOUND


@pytest.mark.requirement("P15", "F3")
@pytest.mark.case(63)
def test_only_a_person_with_the_power_and_the_key_lifts_a_hold(stage: Stage) -> None:
    stage.hold("all")
    stage.people.signatory(EVA)
    assert reason_of(lambda: stage.lift("all", person=KIM)) is Reason.NOT_ENTITLED
    stranger = Signatory(person="user:nobody", key=key_of_person("user:nobody"))
    thief = Signatory(person=EVA, key=SigningKey.generate(b"t" * 32))
    for someone in (stranger, thief):
        refused = reason_of(lambda who=someone: stage.desk.lift(Scope.parse("all"), who, reason="x"))
        assert refused is Reason.BAD_SIGNATURE
    stage.desk.remove_person(EVA, by="op")
    gone = Signatory(person=EVA, key=key_of_person(EVA))
    assert reason_of(lambda: stage.desk.lift(Scope.parse("all"), gone, reason="x")) is Reason.BAD_SIGNATURE
    assert reason_of(stage.start) is Reason.HELD


@pytest.mark.requirement("P15")
@pytest.mark.invariant("I10")
def test_a_power_in_one_tenant_does_not_lift_what_stands_above_tenants() -> None:
    text = changed('can = ["query"], tenants = ["acme"]', 'can = ["lift"], tenants = ["acme"]')
    stage = Stage(text)
    stage.lease()
    stage.hold("tool:ticket")
    stage.hold("tenant:acme")
    assert reason_of(lambda: stage.lift("tool:ticket", person=KIM)) is Reason.NOT_ENTITLED
    stage.lift("tenant:acme", person=KIM)
    stage.close()


@pytest.mark.requirement("L7")
@pytest.mark.case(47)
def test_revoke_and_hold_work_while_the_clock_is_wrong_and_lift_does_not(stage: Stage) -> None:
    lease = stage.lease()
    admitted = stage.admit(lease, "ticket.update", key="a")
    stage.system.jump(seconds=-60)
    stage.hold("all")
    assert reason_of(lambda: stage.lift("all")) is Reason.CLOCK
    stage.revoke("all")
    stage.settle(admitted)
    stage.system.jump(seconds=60)
    assert stage.refusal(lease, "ticket.update", key="b") is Reason.REVOKED


# Runs that a revoke ends


@pytest.mark.parametrize("kind", [kind for kind in SCOPES if kind not in ("lease", "request", "tool", "action")])
def test_a_revoked_run_is_finished_and_says_why(stage: Stage, kind: str) -> None:
    lease = stage.lease()
    child = stage.child(lease)
    stage.revoke(SCOPES[kind](lease))
    assert {entry.run: entry.outcome for entry in stage.entries(EntryKind.RUN_FINISHED)} == {
        lease.lease.run_id: "revoked",
        child.run_id: "revoked",
    }
    assert stage.entries(EntryKind.LEASE_ENDED)[0].outcome == "revoked"


@pytest.mark.case(63)
def test_a_run_that_starts_just_after_a_wide_revoke_is_not_finished_with_the_others(stage: Stage) -> None:
    stage.lease()
    newer = []
    stage.meddle().after(Stop, lambda: newer.append(stage.lease()))
    stage.revoke("environment:prod")
    stage.use(newer[0], "ticket.update", key="a")
    assert len(stage.entries(EntryKind.RUN_FINISHED)) == 1


# Housekeeping


@pytest.mark.case(56)
def test_a_wide_revoke_is_read_no_more_once_nothing_old_enough_is_open(stage: Stage) -> None:
    def active() -> list[str]:
        return [row.scope for row in stage.authority.engine.store.queries.stops(["", "acme"]) if row.is_active]

    lease = stage.lease()
    stage.revoke("tool:ticket")
    stage.hold("tool:mail")
    stage.sweep()
    assert active() == ["tool:mail", "tool:ticket"]
    newer = stage.lease()
    stage.authority.runs.end(stage.authority.run(lease.lease.run_id).run, "done")
    stage.sweep()
    assert active() == ["tool:mail"]
    stage.use(newer, "ticket.update", key="a")
    assert stage.refusal(lease, "ticket.update", key="b") is Reason.COMPLETED
    stage.revoke("tool:ticket")
    assert stage.refusal(newer, "ticket.update", key="b") is Reason.REVOKED


def test_a_tenants_own_wide_revoke_is_retired_by_the_runs_of_that_tenant(stage: Stage) -> None:
    stage.lease(run=stage.start(tenant="globex"))
    stage.lease()
    stage.revoke("tenant:acme")
    stage.sweep()
    rows = stage.authority.engine.store.queries.stops(["acme", "globex", ""])
    assert [row.scope for row in rows if row.is_active] == []


@pytest.mark.requirement("L13")
def test_the_desk_shows_a_lease_as_every_door_would_judge_it(stage: Stage) -> None:
    lease = stage.lease()
    status = stage.desk.lease_status(lease.lease.lease_id)
    assert (status.status, status.seconds_left, status.decision.is_allowed) == ("active", 300, True)
    assert {row.unit: row.limit for row in status.accounts}["calls"] == 20_000_000
    stage.hold("route:desk")
    assert stage.desk.lease_status(lease.lease.lease_id).status == "held"
    stage.lift("route:desk")
    stage.pass_time(301)
    status = stage.desk.lease_status(lease.lease.lease_id)
    assert (status.status, status.seconds_left) == ("expired", 0)
    stage.system.jump(seconds=-200)
    assert stage.desk.lease_status(lease.lease.lease_id).status == "active"  # nothing was recorded since
    stage.system.jump(seconds=200)
    stage.lease()
    stage.system.jump(seconds=-200)
    assert stage.desk.lease_status(lease.lease.lease_id).status == "expired"
    with pytest.raises(NotFoundError):
        stage.desk.lease_status(lease.lease.lease_id[:-2] + "00")


def test_a_stop_is_judged_by_the_policy_that_is_active_now(stage: Stage) -> None:
    """Another process accepted a policy in which more actions imply the stopped one."""
    lease = stage.lease({"ticket.tag": {"ticket": ["T-*"]}})
    elsewhere = stage.beside()
    implied = changed(
        '"ticket_id" }, idempotent = true', '"ticket_id" }, implies = ["ticket.update"], idempotent = true'
    )
    stage.accept(implied)
    admitted = stage.admit(lease, "ticket.tag", key="a")
    assert elsewhere.hold("action:ticket.update") == (admitted.admission_id,)


def test_an_approved_request_that_is_revoked_is_used_no_more(stage: Stage) -> None:
    lease = stage.lease(AUDIT)
    request = stage.ask(lease, "ticket.audit")
    stage.people.approve(request, BEN)
    stage.revoke(f"request:{request}")
    second = stage.ask(lease, "ticket.audit")
    assert second != request
    stage.people.approve(second, BEN)
    admitted = stage.admit(lease, "ticket.audit")
    assert stage.revoke(f"request:{second}") == (admitted.admission_id,)


@pytest.mark.case(61)
def test_a_damaged_call_keeps_nobody_from_stopping(stage: Stage) -> None:
    damaged = CallRow(
        tenant="acme", admission_id="adm_x", run_id="run_x", state=CallState.ADMITTED, finish_by=10, late="", body=b"{"
    )
    facts = Facts(stage.authority.engine.store.queries.control())
    facts.load(Ref(StopRow, ("acme", "tool:ticket", "hold")), None)
    facts.load_index(OpenCalls(("acme",)), [damaged])
    policy = stage.authority.engine.active_policy()
    scope = Scope.parse("tool:ticket")
    step = Stop(policy_document=policy, tenant="acme", scope=scope, kind=StopKind.HOLD, by="op", reason="leak")
    answer, changes = step.decide(facts, Instant(0))
    assert answer.value is not None
    assert (answer.value.in_flight, answer.value.unreadable) == ((), ("adm_x",))
    assert changes.entries[0].detail["in_flight"] == ("adm_x",)
