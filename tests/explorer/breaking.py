"""What the outside of a small world knows of a breaker: it counts by itself, and says when the route has to be held."""

from __future__ import annotations

from explorer.invariants import demand
from explorer.scenario import Scenario
from explorer.world import Ack, World
from leasehold.decide.admit import Admit
from leasehold.decide.facts import Step, StepAnswer
from leasehold.decide.rows import CallRow, StopRow
from leasehold.decide.settle import ConcludeUnknown, Settle
from leasehold.decide.stop import Lift
from leasehold.ledger.entry import EntryKind
from leasehold.model.call import Admission, CallState, OutcomeStatus
from leasehold.model.scope import Scope

PLACE = "route:work"


def count_for_breaker(
    scenario: Scenario, before: World, after: World, step: Step[object], answer: StepAnswer[object]
) -> World:
    """Count what a step came to. The one too many is a stop that nobody asked for, but that counts like any other."""
    if scenario.breaker is None:
        return after
    ghosts = after.ghosts
    if isinstance(step, Lift) and answer.decision.is_allowed:
        return after.with_ghosts(went=(), is_tripped=False)
    counted, limit, of = scenario.breaker
    is_bad = None if ghosts.is_tripped else _speaks_against(counted, before, step, answer)
    if is_bad is None:
        return after
    went = (*ghosts.went, is_bad)[-of:]
    if not is_bad or sum(went) < limit:
        return after.with_ghosts(went=went)
    alarms = [each for each in after.ledger if each.kind is EntryKind.HELD and each.scope == PLACE]
    listed = alarms[-1].detail["in_flight"] if alarms else ()
    ack = Ack(
        scope=Scope.parse(PLACE),
        kind="hold",
        tenant="acme",
        listed=frozenset(listed if isinstance(listed, tuple) else ()),
        existing=frozenset(),
        policy=before.control.policy,
    )
    return after.with_ghosts(went=went, is_tripped=True, acks=ghosts.acks | {ack})


def _speaks_against(counted: str, before: World, step: Step[object], answer: StepAnswer[object]) -> bool | None:
    """Whether a step speaks against its route; None where it says nothing."""
    match step:
        case Settle() if counted == "errors" and _was_open(before, step.admission):
            status = step.outcome.status
            return None if status is OutcomeStatus.NOT_STARTED else status is not OutcomeStatus.DONE
        case ConcludeUnknown() if counted == "errors" and answer.value:
            return True
        case Admit() if counted == "denials" and before.row(CallRow, "acme", step.call.admission_id) is None:
            is_silent = answer.decision.reason in ("approval_needed", "held", "revoked", "clock")
            return None if is_silent else not isinstance(answer.value, Admission)
    return None


def _was_open(world: World, admission: Admission) -> bool:
    row = world.row(CallRow, admission.tenant, admission.admission_id)
    return isinstance(row, CallRow) and row.state == CallState.ADMITTED


def check_breaker(scenario: Scenario, world: World) -> None:
    """The route is held exactly while it has to be (I1)."""
    if scenario.breaker is None:
        return
    hold = world.row(StopRow, "acme", PLACE, "hold")
    is_held = isinstance(hold, StopRow) and bool(hold.is_active)
    demand(is_held == world.ghosts.is_tripped, "I1", f"held: {is_held}, and it went {world.ghosts.went}")
