"""What can happen next in a world, and what the outside makes of it.

A `Move` is one thing that happens: a question to the authority with its real step, or something that happens at a guard
alone. `play` decides one or two questions in one batch and records what really happened as ghost facts.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from functools import partial

from msgspec.structs import replace

from explorer.breaking import check_breaker, count_for_breaker
from explorer.invariants import (
    check_admitted,
    check_answer,
    check_batch,
    check_edited,
    check_evidence,
    check_heard,
    check_lease,
    check_money,
    check_opening,
    check_policy,
    check_questions,
    check_start,
    demand,
)
from explorer.programs import check_called, inner
from explorer.scenario import BEGIN_MS, THE_END_MS, Event, Scenario
from explorer.steps import admission_of, admit, chain_of
from explorer.world import Ack, Decided, Execution, Phase, World, submit
from leasehold.decide.admit import Admit
from leasehold.decide.answer import AnswerRequest
from leasehold.decide.chat import Heard
from leasehold.decide.clients import ForRun, RemoveClientKey
from leasehold.decide.edit import EditCall
from leasehold.decide.facts import Step, StepAnswer
from leasehold.decide.finish import FinishRun, RetireStop
from leasehold.decide.glass import CloseGlass, OpenGlass
from leasehold.decide.govern import ConfirmClock, RaiseEpoch, RemovePerson
from leasehold.decide.issue import DrawLease
from leasehold.decide.offboard import Offboard, Offboarded
from leasehold.decide.proposals import ProposePolicy
from leasehold.decide.retry import Retry
from leasehold.decide.rows import CallRow, RequestRow, RunRow, SessionRow
from leasehold.decide.settle import ConcludeUnknown, Settle
from leasehold.decide.sign_ins import EndSession, RemoveSignIn
from leasehold.decide.start import Start
from leasehold.decide.stop import Lift, Stop, Stopped
from leasehold.ledger.entry import EntryKind
from leasehold.model.call import Admission, CallState, Outcome, OutcomeStatus, Settlement
from leasehold.model.canonical import encode
from leasehold.model.decision import Reason, allow
from leasehold.model.instant import Instant
from leasehold.model.lease import Lease
from leasehold.model.request import Verdict
from leasehold.model.scope import StopKind


@dataclasses.dataclass(frozen=True)
class Move:
    """A question to the authority. `index` is the scripted call that it is about, `event` the event that it is."""

    name: str
    step: Step[object]
    index: int | None = None
    event: Event | None = None


def questions(scenario: Scenario, world: World) -> list[Move]:
    """Every question that somebody may ask now."""
    policy = scenario.policy_of(world)
    moves: list[Move] = []
    for index, script in enumerate(scenario.scripts):
        slot = world.slots[index]
        if slot.phase in (Phase.IDLE, Phase.LOST) and (step := admit(world, policy, index, script)) is not None:
            moves.append(Move(f"admit {script.name}", step, index))
        if slot.admission is None:
            continue
        if slot.phase is Phase.HELD:
            moves.append(_settle(world, scenario, index, "not_started"))
        if slot.phase is Phase.TOLD:
            moves.append(_settle(world, scenario, index, slot.outcome))
        if slot.phase is Phase.RUNNING or (slot.phase is Phase.GONE and scenario.late and _has_run(world, index)):
            moves += [_settle(world, scenario, index, outcome) for outcome in script.outcomes]
    if is_the_end(world):  # whatever is left is settled and written off in one order, since all orders come to the same
        return [*(move for move in moves if isinstance(move.step, Settle)), *_sweep(scenario, world)][:1]
    for event in scenario.events:
        may_happen = event.name not in world.used and set(event.after) <= world.used
        if may_happen and (built := event.build(world, policy)) is not None:
            moves.append(Move(event.name, built, event=event))
    moves += _sweep(scenario, world)
    return moves


def is_the_end(world: World) -> bool:
    """Whether everything is over."""
    return world.clock_ms >= BEGIN_MS + THE_END_MS


def _has_run(world: World, index: int) -> bool:
    admission = world.slots[index].admission
    started = {each.admission_id for each in world.ghosts.executions}
    return not world.slots[index].outcome and admission is not None and admission.admission_id in started


def _settle(world: World, scenario: Scenario, index: int, outcome: str) -> Move:
    script, admission = scenario.scripts[index], world.slots[index].admission
    assert admission is not None
    is_spent = outcome != CallState.NOT_STARTED
    reported = Outcome(
        status=OutcomeStatus("failed" if outcome == "no_effect" else outcome),
        no_effect=outcome == "no_effect",
        cost=dict(script.cost) if is_spent else {},
    )
    breaker = scenario.policy_of(world).breaker("work")
    step = Settle(admission=admission, outcome=reported, tool="desk", environment="prod", breaker=breaker)
    return Move(f"settle {script.name} {outcome}", step, index)


def _sweep(scenario: Scenario, world: World) -> Iterator[Move]:
    breaker = scenario.policy_of(world).breaker("work")
    now = Instant(world.database_ms)
    for row in world.rows.values():
        if isinstance(row, CallRow) and row.state == CallState.ADMITTED and now.reached(row.finish_by):
            step = ConcludeUnknown(admission=admission_of(row.body), breaker=breaker)
            yield Move(f"sweep {row.admission_id[-2:]}", step)


def happenings(scenario: Scenario, world: World) -> Iterator[tuple[str, Callable[[], World]]]:
    """Everything that may happen now without asking the authority, by name."""
    for index, script in enumerate(scenario.scripts):
        slot = world.slots[index]
        if slot.phase is Phase.HELD and world.clock_ms < slot.start_by_ms:
            yield f"start {script.name}", partial(_start, scenario, world, index)
        if is_the_end(world):
            continue
        if scenario.crashes and slot.phase in (Phase.HELD, Phase.LOST, Phase.RUNNING, Phase.TOLD):
            yield f"crash {script.name}", partial(world.with_slot, index, phase=Phase.GONE)
        if slot.phase in (Phase.GONE, Phase.OVER) and slot.tries < script.tries:
            fresh = {"phase": Phase.IDLE, "tries": slot.tries + 1, "admission": None, "outcome": ""}
            yield f"again {script.name}", partial(world.with_slot, index, **fresh)
    for tick in (*scenario.ticks_ms, THE_END_MS):
        if BEGIN_MS + tick > world.clock_ms:
            yield f"clock {tick / 1000:g} s", partial(replace, world, clock_ms=BEGIN_MS + tick)
            break
    if scenario.skew_ms and "clock back" not in world.used:
        yield "clock back", partial(replace, world, used=world.used | {"clock back"}, skew_ms=scenario.skew_ms)
    if scenario.moves and not world.ghosts.moved:
        yield "the state moves", partial(world.with_ghosts, moved=1)
    if scenario.backups and "backup" not in world.used:
        kept = {"used": world.used | {"backup"}, "backup": (world.rows, world.control, world.ledger)}
        yield "backup", partial(replace, world, **kept)
    if world.backup is not None and "restore" not in world.used and not _may_start(world):
        yield "restore", partial(_restore, scenario, world)


def _may_start(world: World) -> bool:
    """Whether a guard still has time to start: a database is put back only after that, or it could not know of it."""
    return any(slot.phase is Phase.HELD and world.clock_ms < slot.start_by_ms for slot in world.slots)


def _restore(scenario: Scenario, world: World) -> World:
    """Put the copy in the database's place and begin a new epoch, before anybody can ask anything."""
    assert world.backup is not None
    rows, control, ledger = world.backup
    rolled_back = replace(world, rows=rows, control=control, ledger=ledger, used=world.used | {"restore"})
    after, _ = play(scenario, rolled_back, [Move("restore", RaiseEpoch(by="operator", reason="restored"))])
    return after


def _start(scenario: Scenario, world: World, index: int) -> World:
    check_start(scenario, world, index)
    script, admission = scenario.scripts[index], world.slots[index].admission
    assert admission is not None
    chain = chain_of(world, script.lease, script.tenant)
    execution = Execution(
        admission_id=admission.admission_id,
        script=index,
        run=chain[-1].run.run_id,
        accounts=(chain[0].run.run_id, *(link.lease.request_id for link in chain)),
        reserved=tuple(sorted(admission.reserved.items())),
        approval=admission.approval or "",
    )
    executions = tuple(sorted((*world.ghosts.executions, execution), key=lambda each: each.admission_id))
    looks = world.ghosts.looks
    if index in {each.shows for each in scenario.scripts}:
        looks = looks | {(admission.admission_id, world.ghosts.moved)}
    return world.with_slot(index, phase=Phase.RUNNING).with_ghosts(executions=executions, looks=looks)


def play(scenario: Scenario, world: World, moves: Sequence[Move], *, is_lost: bool = False) -> tuple[World, list[str]]:
    """Decide the moves in one batch; with `is_lost` nobody hears the answers. Returns the world and a label for each.

    Raises:
        BrokenInvariantError: an invariant does not hold.
    """
    decided = submit(world, [move.step for move in moves])
    check_batch(world, decided, [_tenant_of(move.step) for move in moves])
    after = _with_intents(decided)
    labels = []
    for position, (move, answer) in enumerate(zip(moves, decided.answers, strict=True)):
        if answer.active_policy:
            labels.append(f"{move.name}: other policy")
            continue
        labels.append(f"{move.name}: {answer.decision.reason}")
        earlier = submit(world, [each.step for each in moves[:position]]).world if position else world
        as_decided = replace(earlier, ghosts=after.ghosts)
        after = _observe(scenario, as_decided, after, move, answer)
        if scenario.by_two:
            check_policy(scenario, as_decided, submit(as_decided, [move.step]).world, move.step)
        after = count_for_breaker(scenario, as_decided, after, move.step, answer)
        after = _hear(after, move, answer, is_lost=is_lost)
    check_money(after)
    check_breaker(scenario, after)
    check_questions(scenario, after)
    return after, labels


def _tenant_of(step: Step[object]) -> str:
    match step:
        case Heard():
            return _tenant_of(step.step)
        case ForRun():
            return _tenant_of(inner(step, StepAnswer(allow()))[0])
        case EditCall():
            return step.editor.run.tenant
        case OpenGlass():
            return step.opening.tenant
        case CloseGlass():
            return step.finish.run.tenant
        case Admit() | Stop() | Lift() | RetireStop():
            return step.tenant
        case Settle() | ConcludeUnknown():
            return step.admission.tenant
    run = getattr(step, "run", None)
    return run.tenant if run is not None else ""


def _with_intents(decided: Decided) -> World:
    intents = {
        (entry.admission, entry.action, entry.arguments_digest)
        for entry in decided.entries
        if entry.kind is EntryKind.CALL_ADMITTED
    }
    return decided.world.with_ghosts(intents=decided.world.ghosts.intents | intents)


def _hear(world: World, move: Move, answer: StepAnswer[object], *, is_lost: bool) -> World:
    """What the one who asked does with the answer."""
    if move.event is not None:
        return replace(world, used=world.used | {move.event.name})
    if move.index is None:
        return world
    slot = world.slots[move.index]
    if isinstance(move.step, Settle):
        phase = Phase.TOLD if is_lost else Phase.OVER
        return world.with_slot(move.index, phase=phase, outcome=move.name.rpartition(" ")[2])
    if not isinstance(answer.value, Admission):
        return world.with_slot(move.index, phase=Phase.OVER) if slot.phase is Phase.LOST else world
    phase = Phase.LOST if is_lost else Phase.HELD
    return world.with_slot(move.index, phase=phase, asked_ms=world.clock_ms, admission=answer.value)


def _observe(scenario: Scenario, before: World, after: World, move: Move, answer: StepAnswer[object]) -> World:
    """Record what an answer says as ghost facts, and check what it promises."""
    ghosts, step, is_allowed = after.ghosts, move.step, answer.decision.is_allowed
    is_foreign = move.event is not None and move.event.is_foreign
    demand(not (is_foreign and is_allowed), "I10", f"{move.name} came from another tenant and was allowed")
    match step:
        case Admit():
            return _observe_admit(scenario, before, after, move, answer)
        case Heard():
            return _observe_heard(scenario, before, after, move, answer)
        case AnswerRequest() if is_allowed:
            check_answer(scenario, before, step)
            request, person = step.request.request_id, step.answer.person
            word, voucher = (request, person, str(step.answer.verdict)), (request, person, step.answer.vouched_by)
            is_yes = step.answer.verdict is Verdict.APPROVE
            vouched = ghosts.vouched | {voucher} if is_yes else ghosts.vouched
            return after.with_ghosts(words=ghosts.words | {word}, vouched=vouched)
        case ForRun():
            called = check_called(scenario, before, after, step, answer)
            asked, said = inner(step, answer)
            return _observe(scenario, before, called, dataclasses.replace(move, step=asked), said)
        case RemoveClientKey() if is_allowed:
            return after.with_ghosts(gone=ghosts.gone | {step.key_id})
        case EditCall() if is_allowed:
            return _observe_edited(scenario, before, after, step)
        case RemoveSignIn() if is_allowed:
            return after.with_ghosts(gone=ghosts.gone | {step.sign_in, *_sessions_of(before, step.sign_in)})
        case EndSession() if is_allowed:
            is_known = before.row(SessionRow, "", step.session) is not None
            return after.with_ghosts(gone=ghosts.gone | {step.session}) if is_known else after
        case ProposePolicy() if is_allowed:
            proposal = (step.policy_document.hash, before.control.policy, step.word.statement.person)
            return after.with_ghosts(proposed=ghosts.proposed | {proposal})
        case DrawLease() if isinstance(answer.value, Lease):
            check_lease(scenario, before, chain_of(after, answer.value.lease_id, answer.value.tenant))
        case Settle() if isinstance(answer.value, Settlement):
            return _observe_settled(scenario, after, move, answer.value)
        case ConcludeUnknown() if answer.value:
            return after.with_ghosts(over=ghosts.over | _ended_by(after, step.admission))
        case Stop() if isinstance(answer.value, Stopped):
            return _observe_stopped(before, after, step, answer.value)
        case Lift() if is_allowed:
            kept = {ack for ack in ghosts.acks if (ack.scope, ack.kind) != (step.scope, "hold")}
            return after.with_ghosts(acks=frozenset(kept))
        case OpenGlass() if is_allowed:
            check_opening(before, step)
        case CloseGlass() if is_allowed:
            return after.with_ghosts(over=ghosts.over | {step.finish.run.run_id})
        case FinishRun() if is_allowed:
            return after.with_ghosts(over=ghosts.over | {step.run.run_id})
        case Retry() if is_allowed:
            return after.with_ghosts(over=ghosts.over | {f"{step.run.run_id}#{step.from_attempt}"})
        case RaiseEpoch() | ConfirmClock():
            runs = {row.run_id for row in after.rows.values() if isinstance(row, RunRow)}
            return after.with_ghosts(over=ghosts.over | runs)
        case Start() if is_allowed and not step.parent:
            left = step.run.requested_by in ghosts.left
            demand(not left, "I1", f"{step.run.run_id} starts for {step.run.requested_by}, who was let go")
        case Offboard() if isinstance(answer.value, Offboarded):
            stopped = answer.value.stopped
            revoke = Stop(
                policy_document=step.policy_document,
                tenant="",
                scope=stopped.scope,
                kind=StopKind.REVOKE,
                by=step.by,
                reason=step.reason,
            )
            after = _observe_stopped(before, after, revoke, stopped)
            gone = frozenset({step.person})
            return after.with_ghosts(removed=ghosts.removed | gone, left=ghosts.left | gone)
        case RemovePerson() if is_allowed:
            return after.with_ghosts(removed=ghosts.removed | {step.person})
    return after


def _observe_heard(scenario: Scenario, before: World, after: World, move: Move, answer: StepAnswer[object]) -> World:
    """What a chat delivers is its answer, unless it was heard before or too late."""
    step = move.step
    assert isinstance(step, Heard)
    if answer.decision.reason is Reason.REPLAYED:
        return after
    check_heard(before, step)
    after = after.with_ghosts(heard=after.ghosts.heard | {step.proof.delivery})
    return _observe(scenario, before, after, dataclasses.replace(move, step=step.step), answer)


def _observe_edited(scenario: Scenario, before: World, after: World, step: EditCall) -> World:
    check_edited(scenario, before, step)
    call, original, ghosts = step.call, step.editor.request, after.ghosts
    person = step.editor.voice.person
    identity = (call.action, encode(dict(call.arguments)), call.key)
    index = next(i for i, script in enumerate(scenario.scripts) if script.identity == identity)
    leaf = call.chain[-1].lease
    shown = (index, leaf.run_id, leaf.attempt, leaf.request_id, *identity)
    return after.with_ghosts(
        shown=ghosts.shown | {(call.request_id, shown)},
        editors=ghosts.editors | {(identity, person), (call.request_id, person)},
        over=ghosts.over | {original.request_id},
    )


def _sessions_of(world: World, sign_in: str) -> set[str]:
    return {row.session for row in world.rows.values() if isinstance(row, SessionRow) and row.sign_in == sign_in}


def _observe_admit(scenario: Scenario, before: World, after: World, move: Move, answer: StepAnswer[object]) -> World:
    ghosts, index = after.ghosts, move.index
    assert index is not None
    script = scenario.scripts[index]
    if isinstance(answer.value, Admission):
        if before.slots[index].phase is Phase.LOST:
            return after
        check_admitted(scenario, before, index, answer.value)
        ending = {(script.ends, answer.value.admission_id)} if script.ends else set()
        return after.with_ghosts(endings=ghosts.endings | ending)
    asked = answer.decision.request_id
    if asked and asked not in dict(ghosts.shown):
        chain = chain_of(before, script.lease, script.tenant)
        leaf = chain[-1].lease
        shown = (index, leaf.run_id, leaf.attempt, leaf.request_id, *script.identity)
        assert isinstance(move.step, Admit)
        preview = move.step.call.preview
        seen = ghosts.seen | ({(asked, int(preview.preview.state))} if preview is not None else set())
        editors = ghosts.editors | {(asked, person) for about, person in ghosts.editors if about == script.identity}
        return after.with_ghosts(shown=ghosts.shown | {(asked, shown)}, seen=seen, editors=editors)
    return after


def _observe_settled(scenario: Scenario, after: World, move: Move, settlement: Settlement) -> World:
    index, ghosts = move.index, after.ghosts
    assert index is not None
    admission = after.slots[index].admission
    assert admission is not None
    outcome = move.name.rpartition(" ")[2]
    actual = dict(scenario.scripts[index].cost) | {"calls": 1_000_000}
    executions = tuple(
        replace(each, actual=tuple(sorted(actual.items())), outcome=str(settlement.state))
        if each.admission_id == admission.admission_id and not settlement.late and not each.outcome
        else each
        for each in ghosts.executions
    )
    if settlement.late and outcome != CallState.NOT_STARTED:
        check_evidence(after, admission.admission_id, actual)
    over = _ended_by(after, admission) if outcome in ("done", "failed") else set()
    overruns = {
        (account, unit)
        for each in executions
        if each.admission_id == admission.admission_id
        for account in each.accounts
        for unit in settlement.overrun
    }
    if settlement.overrun:
        over |= {admission.request_id}
    return after.with_ghosts(executions=executions, over=ghosts.over | over, overruns=ghosts.overruns | overruns)


def _ended_by(world: World, admission: Admission) -> set[str]:
    return {request for request, who in world.ghosts.endings if who == admission.admission_id}


def _observe_stopped(before: World, after: World, step: Stop, stopped: Stopped) -> World:
    for call in stopped.in_flight:
        demand(step.tenant in ("", call.tenant), "I10", f"a stop of {step.tenant} lists a call of {call.tenant}")
    names = {row.run_id for row in before.rows.values() if isinstance(row, RunRow)}
    names |= {row.request_id for row in before.rows.values() if isinstance(row, RequestRow)}
    ack = Ack(
        scope=step.scope,
        kind=step.kind,
        tenant=step.tenant,
        listed=frozenset(call.admission_id for call in stopped.in_flight),
        existing=frozenset(names),
        policy=before.control.policy,
    )
    return after.with_ghosts(acks=after.ghosts.acks | {ack})
