"""Somebody leaves: all of theirs ends in one step, their word counts no more, nothing starts for them any more."""

from __future__ import annotations

import pytest

from leasehold.decide.offboard import Offboard, Offboarded
from leasehold.decide.rows import PersonRow, StopRow
from leasehold.ledger.entry import EntryKind
from leasehold.ledger.history import check_history
from leasehold.model.decision import Reason
from leasehold.model.request import RequestState
from leasehold.model.scope import Scope
from leasehold.testing.fixtures import key_of_person
from leasehold.token.keys import SigningKey
from stage import ANA, AUDIT, BEN, EVA, Stage, reason_of

pytestmark = pytest.mark.requirement("B4", "L6", "P15")


HASH = "$argon2id$v=19$m=8,t=1,p=1$c2FsdHNhbHQ$aGFzaA"


def let_go(stage: Stage, person: str = ANA) -> Offboarded:
    return stage.desk.offboard(person, by="op", reason="left")


@pytest.mark.invariant("I1", "I8")
@pytest.mark.case(53)
def test_whoever_leaves_leaves_in_every_tenant_with_runs_requests_and_leases(stage: Stage) -> None:
    here, there = stage.lease(), stage.lease(run=stage.start(tenant="globex"))
    waiting = stage.authority.request(stage.start(), {"ticket.close": {"ticket": ["T-1"]}}, reason="fixed")
    his = stage.lease(run=stage.start(by=BEN))
    open_calls = {stage.admit(here, "ticket.update", key="a").admission_id}
    open_calls |= {stage.admit(there, "ticket.update", key="a").admission_id}
    done = let_go(stage)
    assert {call.admission_id for call in done.stopped.in_flight} == open_calls
    for lease in (here, there):
        assert stage.refusal(lease, "ticket.update", key="b") is Reason.REVOKED
        assert reason_of(lambda held=lease: stage.authority.renew(held)) is Reason.RUN_FINISHED
    assert stage.authority.runs.request_state(waiting) is RequestState.WITHDRAWN
    assert {entry.requested_by for entry in stage.entries(EntryKind.RUN_FINISHED)} == {ANA}
    stage.use(his, "ticket.update", key="a")
    assert check_history(stage.entries()) == []


def test_one_entry_ties_it_together(stage: Stage) -> None:
    stage.people.signatory(BEN)
    call = stage.admit(stage.lease(run=stage.start(by=BEN)), "ticket.update", key="a")
    done = let_go(stage, BEN)
    entry = stage.entries()[done.entry]
    assert (entry.kind, entry.person) == (EntryKind.PERSON_OFFBOARDED, BEN)
    revoked, removed = stage.entries(EntryKind.REVOKED)[0], stage.entries(EntryKind.PERSON_REMOVED)[0]
    assert entry.detail == {
        "by": "op",
        "reason": "left",
        "revoked_at": revoked.index,
        "access": "removed",
        "in_flight": (call.admission_id,),
        "roles": tuple(stage.authority.engine.active_policy().people[BEN]),
    }
    assert (revoked.scope, removed.person, removed.index) == (f"person:{BEN}", BEN, entry.index - 1)


@pytest.mark.invariant("I4")
def test_what_they_approved_and_nobody_used_needs_another_person(stage: Stage) -> None:
    lease = stage.lease(AUDIT)
    request = stage.ask(lease, "ticket.audit")
    stage.people.approve(request, BEN)
    approved = stage.authority.request(stage.start(), {"ticket.close": {"ticket": ["T-1"]}}, reason="fixed")
    stage.people.approve(approved.request_id, BEN)
    let_go(stage, BEN)
    assert stage.ask(lease, "ticket.audit") != request
    assert reason_of(lambda: stage.authority.wait(approved, 5)) is Reason.APPROVAL_NEEDED


@pytest.mark.invariant("I1")
def test_nothing_starts_for_them_until_they_are_added_again(stage: Stage) -> None:
    stage.people.signatory(ANA)
    let_go(stage)
    assert reason_of(stage.start) is Reason.REVOKED
    assert stage.entries(EntryKind.START_DENIED)[0].detail["rule"] == f"offboard {ANA}"
    assert reason_of(lambda: stage.desk.add_person(ANA, key_of_person(ANA).public(), by="op")) is Reason.CONFLICT
    stage.desk.add_person(ANA, SigningKey.generate(b"n" * 32).public(), by="op")
    stage.use(stage.lease(), "ticket.update", key="a")
    assert check_history(stage.entries()) == []


def test_who_never_had_a_key_is_gone_all_the_same(stage: Stage) -> None:
    assert not let_go(stage).had_access
    assert reason_of(stage.start) is Reason.REVOKED
    assert [(row.person, row.state, row.public_key) for row in stage.desk.people()] == [(ANA, "left", b"")]
    assert reason_of(lambda: stage.desk.remove_person(ANA, by="op")) is Reason.NOT_FOUND


@pytest.mark.requirement("F3")
def test_sign_ins_and_sessions_end_with_them(stage: Stage) -> None:
    sign_ins = stage.authority.sign_ins
    used = sign_ins.set_password(EVA, HASH, by="op")
    session = sign_ins.begin(EVA, used, address="")[1]
    desk = stage.authority.person_desk(session)
    desk.hold(Scope.parse("agent:bot"), reason="look")
    assert let_go(stage, EVA).had_access
    assert reason_of(lambda: desk.lift(Scope.parse("agent:bot"), reason="fine")) is Reason.NOT_SIGNED_IN
    assert reason_of(lambda: sign_ins.begin(EVA, used, address="")) is not None
    assert sign_ins.of(EVA) == ()
    assert [row.sign_ins for row in stage.desk.people()] == [b"[]"]


@pytest.mark.invariant("I8")
@pytest.mark.case(90)
def test_it_can_be_done_again_and_says_what_was_done_before(stage: Stage) -> None:
    lease = stage.lease()
    call = stage.admit(lease, "ticket.update", key="a")
    engine = stage.authority.engine
    # a process that died between the one step and the closing of the runs
    first = engine.ask(lambda policy: Offboard(policy_document=policy, person=ANA, by="op", reason="left"))
    assert stage.authority.engine.run_row("acme", lease.lease.run_id).state == "open"
    count = len(stage.entries())
    again = let_go(stage)
    assert (again.entry, again.is_repeat, again.stopped) == (first.entry, True, first.stopped)
    assert [call.admission_id for call in again.stopped.in_flight] == [call.admission_id]
    assert [entry.kind for entry in stage.entries()[count:]] == [EntryKind.LEASE_ENDED, EntryKind.RUN_FINISHED]
    count = len(stage.entries())
    assert let_go(stage).is_repeat
    assert len(stage.entries()) == count


@pytest.mark.case(52)
def test_a_wrong_clock_keeps_nobody_from_letting_somebody_go(stage: Stage) -> None:
    stage.lease()
    stage.system.jump(seconds=-60)
    assert not let_go(stage).is_repeat


def test_all_of_it_is_one_commit(stage: Stage) -> None:
    stage.people.signatory(EVA)
    engine = stage.authority.engine
    before = engine.store.queries.control().size
    engine.ask(lambda policy: Offboard(policy_document=policy, person=EVA, by="op", reason="left"))
    lines = stage.entries()[before:]
    assert len({entry.time_ms for entry in lines}) == 1
    kinds = [EntryKind.REVOKED, EntryKind.PERSON_REMOVED, EntryKind.PERSON_OFFBOARDED]
    assert [entry.kind for entry in lines] == kinds
    stop = engine.row(StopRow, "", f"person:{EVA}", "revoke")
    person = engine.row(PersonRow, "", EVA)
    assert stop is not None
    assert person is not None
    assert (stop.recorded, person.recorded, person.state) == (before, before + 2, "left")
