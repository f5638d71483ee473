"""Breakers: a route that fails or is refused too often stops by itself, in its tenant, until a person lifts it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from msgspec.structs import replace

from leasehold.decide.facts import Changes, OpenCalls, StepAnswer
from leasehold.decide.rows import BreakerRow, CallRow
from leasehold.decide.settle import Settle
from leasehold.ledger.entry import Entry, EntryKind
from leasehold.ledger.history import check_history
from leasehold.model.call import Outcome, OutcomeStatus
from leasehold.model.decision import Reason, allow
from leasehold.model.lease import HeldLease
from leasehold.testing.store_steps import ScriptedStep
from stage import ANA, AUDIT, BEN, EVA, POLICY, UPDATE, Stage, changed, reason_of

pytestmark = pytest.mark.requirement("P15", "L6")

ERRORS = changed(
    'ends_on = ["ticket.close"]', 'ends_on = ["ticket.close"]\nbreaker = { errors = { percent = 50, of = 6 } }'
)
DENIALS = changed(
    'ends_on = ["ticket.close"]', 'ends_on = ["ticket.close"]\nbreaker = { denials = { percent = 60, of = 5 } }'
)
PLACE = "route:desk"


def staged(text: str) -> Iterator[Stage]:
    stage = Stage(text)
    yield stage
    assert check_history(stage.entries()) == []
    stage.close()


@pytest.fixture
def failing() -> Iterator[Stage]:
    """A stage whose route stops when three of its last six calls went wrong."""
    yield from staged(ERRORS)


@pytest.fixture
def refusing() -> Iterator[Stage]:
    """A stage whose route stops when three of its last five calls were denied."""
    yield from staged(DENIALS)


def fail(stage: Stage, lease: HeldLease, key: str) -> None:
    stage.settle(stage.admit(lease, "ticket.update", key=key), OutcomeStatus.FAILED)


def alarms(stage: Stage) -> list[Entry]:
    return [entry for entry in stage.entries(EntryKind.HELD) if entry.detail.get("alarm") == "breaker"]


@pytest.mark.invariant("I1")
def test_the_call_that_is_one_failure_too_many_stops_its_route(failing: Stage) -> None:
    lease = failing.lease()
    open_call = failing.admit(lease, "ticket.update", key="open")
    for key in "ab":
        fail(failing, lease, key)
    failing.use(lease, "ticket.update", key="good")
    assert alarms(failing) == []
    fail(failing, lease, "c")
    (alarm,) = alarms(failing)
    assert (alarm.tenant, alarm.scope, alarm.route, alarm.person) == ("acme", PLACE, "desk", "")
    assert alarm.detail == {
        "alarm": "breaker",
        "rule": "routes.desk.breaker.errors",
        "reason": "3 of the last 6 settled calls failed or ended unknown",
        "in_flight": (open_call.admission_id,),
    }
    settled = failing.entries(EntryKind.CALL_SETTLED)[-1]
    assert (alarm.index, alarm.time_ms) == (settled.index + 1, settled.time_ms)  # one commit
    assert failing.refusal(lease, "ticket.update", key="d") is Reason.HELD
    assert reason_of(failing.start) is Reason.HELD
    failing.settle(open_call)


def test_only_the_pair_of_tenant_and_route_is_held(failing: Stage) -> None:
    lease, elsewhere = failing.lease(), failing.lease(run=failing.start(tenant="globex"))
    staging = failing.start(route="staging", environment="staging")
    for key in "abc":
        fail(failing, lease, key)
    failing.use(elsewhere, "ticket.update", key="a")
    failing.lease({"ticket.get": {"ticket": ["T-1"]}}, run=staging)
    (stop,) = failing.desk.standing()
    assert (stop.tenant, stop.scope, stop.by) == ("acme", PLACE, "rule:routes.desk.breaker.errors")


def test_tenants_are_counted_apart(failing: Stage) -> None:
    lease, elsewhere = failing.lease(), failing.lease(run=failing.start(tenant="globex"))
    for key in "ab":
        fail(failing, lease, key)
        fail(failing, elsewhere, key)
    assert alarms(failing) == []


def test_only_the_newest_calls_count(failing: Stage) -> None:
    lease = failing.lease()
    for key in "ab":
        fail(failing, lease, key)
    for key in "cdefg":
        failing.use(lease, "ticket.update", key=key)
    for key in "hi":
        fail(failing, lease, key)
    assert alarms(failing) == []
    fail(failing, lease, "j")
    assert len(alarms(failing)) == 1


@pytest.mark.case(68, 71)
def test_a_call_that_nobody_settled_counts_as_failed_and_one_that_never_started_not_at_all(failing: Stage) -> None:
    lease = failing.lease()
    for key in "abc":
        failing.settle(failing.admit(lease, "ticket.update", key=key), OutcomeStatus.NOT_STARTED)
    lost = failing.admit(lease, "ticket.update", key="d")
    fail(failing, lease, "e")
    fail(failing, lease, "f")
    failing.pass_time(60)
    failing.sweep()
    assert alarms(failing)[0].detail["in_flight"] == ()
    before = len(failing.entries())
    failing.settle(lost, OutcomeStatus.FAILED)  # evidence that comes late is not counted again
    assert len(failing.entries()) == before + 1


@pytest.mark.invariant("I8")
def test_a_person_with_the_power_lifts_it_and_counting_begins_anew(failing: Stage) -> None:
    lease = failing.lease()
    for key in "abc":
        fail(failing, lease, key)
    for person in (ANA, BEN):
        assert reason_of(lambda who=person: failing.lift(PLACE, tenant="acme", person=who)) is Reason.NOT_ENTITLED
    assert reason_of(lambda: failing.lift(PLACE)) is Reason.NOT_FOUND  # it is not held in every tenant
    failing.lift(PLACE, tenant="acme", person=EVA)
    for key in "de":
        fail(failing, lease, key)
    assert len(alarms(failing)) == 1
    fail(failing, lease, "f")
    assert len(alarms(failing)) == 2
    assert failing.entries(EntryKind.LIFTED)[0].person == EVA


def test_what_was_under_way_ends_without_a_second_alarm(failing: Stage) -> None:
    lease = failing.lease()
    under_way = [failing.admit(lease, "ticket.update", key=f"late {number}") for number in range(4)]
    for key in "abc":
        fail(failing, lease, key)
    for call in under_way:
        failing.settle(call, OutcomeStatus.FAILED)
    assert len(alarms(failing)) == 1


def test_a_persons_hold_stays_theirs(failing: Stage) -> None:
    lease = failing.lease()
    under_way = [failing.admit(lease, "ticket.update", key=f"late {number}") for number in range(4)]
    failing.hold(PLACE, tenant="acme")
    for call in under_way:
        failing.settle(call, OutcomeStatus.FAILED)
    (stop,) = failing.desk.standing()
    assert (stop.by, stop.reason, alarms(failing)) == ("op", "look", [])


def test_the_policy_of_the_moment_says_what_is_too_many(failing: Stage) -> None:
    lease = failing.lease()
    for key in "ab":
        fail(failing, lease, key)
    failing.accept(ERRORS.replace("percent = 50, of = 6", "percent = 50, of = 2"))
    failing.use(lease, "ticket.update", key="c")
    assert alarms(failing) == []  # a good call trips nothing
    fail(failing, lease, "d")
    assert alarms(failing)[0].detail["reason"] == "1 of the last 2 settled calls failed or ended unknown"
    failing.lift(PLACE, tenant="acme")
    failing.accept(POLICY)
    for key in "efgh":
        fail(failing, lease, key)
    assert len(alarms(failing)) == 1


@pytest.mark.case(73)
def test_a_loop_of_denied_calls_stops_its_route(refusing: Stage) -> None:
    lease = refusing.lease()
    for key in "abc":
        refusing.use(lease, "ticket.update", key=key)
    for _ in range(2):
        assert refusing.refusal(lease, "ticket.update", "X-1", key="d") is Reason.OUT_OF_RANGE
    for key in "ef":
        refusing.use(lease, "ticket.update", key=key)
    open_call = refusing.admit(lease, "ticket.update", key="open")
    for _ in range(2):
        refusing.refusal(lease, "ticket.update", "X-1", key="d")
    assert alarms(refusing) == []
    refusing.refusal(lease, "ticket.update", "X-1", key="d")
    (alarm,) = alarms(refusing)
    assert alarm.detail["rule"] == "routes.desk.breaker.denials"
    assert alarm.detail["reason"] == "3 of the last 5 calls were denied"
    assert alarm.detail["in_flight"] == (open_call.admission_id,)
    for _ in range(3):
        assert refusing.refusal(lease, "ticket.update", key="g") is Reason.HELD
    assert len(alarms(refusing)) == 1


def test_asking_people_or_an_answer_given_again_is_no_denial(refusing: Stage) -> None:
    lease = refusing.lease({**AUDIT, **UPDATE})
    for _ in range(6):
        refusing.ask(lease, "ticket.audit")
    first = refusing.admit(lease, "ticket.update", key="a")
    for _ in range(3):
        refusing.admit(lease, "ticket.update", key="a", admission_id=first.admission_id)
    row = refusing.authority.engine.row(BreakerRow, "acme", "desk")
    assert row == BreakerRow(tenant="acme", route="desk", settled="", asked="0")
    refusing.hold("agent:bot")
    for _ in range(6):
        assert refusing.refusal(lease, "ticket.update", key="b") is Reason.HELD
    assert alarms(refusing) == []


@pytest.mark.case(60)
def test_a_route_without_a_breaker_reads_and_writes_nothing_more(stage: Stage) -> None:
    lease = stage.lease()
    admission = stage.admit(lease, "ticket.update", key="a")
    outcome = Outcome(status=OutcomeStatus.FAILED)
    step = Settle(admission=admission, outcome=outcome, tool="ticket", environment="prod")
    needs = step.keys()
    assert not [need for need in needs if isinstance(need, OpenCalls)]
    stage.settle(admission, OutcomeStatus.FAILED)
    assert stage.authority.engine.row(BreakerRow, "acme", "desk") is None


@pytest.mark.case(90)
def test_another_process_sees_the_hold_and_the_count(failing: Stage) -> None:
    lease = failing.lease()
    for key in "ab":
        fail(failing, lease, key)
    beside = failing.beside()
    fail(beside, lease, "c")
    assert failing.refusal(lease, "ticket.update", key="d") is Reason.HELD


@pytest.mark.case(61)
def test_a_damaged_open_call_keeps_no_breaker_from_holding(failing: Stage) -> None:
    lease = failing.lease()
    engine = failing.authority.engine
    open_call = failing.admit(lease, "ticket.update", key="open")
    for key in "ab":
        fail(failing, lease, key)
    last = failing.admit(lease, "ticket.update", key="c")
    row = engine.row(CallRow, "acme", open_call.admission_id)
    assert row is not None
    damage = Changes(rows=(replace(row, body=b"?"),))
    engine.store.submit(ScriptedStep([], lambda _, __: (StepAnswer(allow()), damage))).result()
    failing.settle(last, OutcomeStatus.FAILED)
    assert alarms(failing)[0].detail["in_flight"] == (open_call.admission_id,)
