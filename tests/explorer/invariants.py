"""What must hold, said a second time and without looking at how `decide` does it: over ghost facts and plain rows.

Each check raises `BrokenInvariantError` with the invariant's name. The search turns that into the shortest trace.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from explorer.scenario import ANA, BEGIN_MS, BEN, Scenario, Script, key_of_person
from explorer.steps import DIGESTER, chain_of
from explorer.world import Ack, Decided, Execution, World
from leasehold.decide.answer import AnswerRequest
from leasehold.decide.chain import Chain
from leasehold.decide.chat import Heard
from leasehold.decide.edit import EditCall
from leasehold.decide.facts import Key, key_of
from leasehold.decide.glass import OpenGlass
from leasehold.decide.proposals import AnswerProposal
from leasehold.decide.rows import AccountRow, CallRow, ControlRow, LeaseRow, RequestRow, Row, RunRow
from leasehold.decide.voices import SessionVoice
from leasehold.ledger.entry import EntryKind
from leasehold.ledger.history import check_history
from leasehold.model.budget import CALLS, MICROS
from leasehold.model.call import Admission, CallState
from leasehold.model.effect import Effect
from leasehold.model.grant import grants_within, split_action
from leasehold.model.proof import ChatProof, PasskeyProof
from leasehold.model.scope import ScopeKind


class BrokenInvariantError(AssertionError):
    """An invariant does not hold after `move`."""

    move = ""

    def __init__(self, invariant: str, message: str) -> None:
        self.invariant = invariant
        self.message = message
        super().__init__(f"{invariant}: {message}")


def demand(holds: bool, invariant: str, message: str) -> None:
    """Raise `BrokenInvariantError` unless something holds."""
    if not holds:
        raise BrokenInvariantError(invariant, message)


# After every batch


_FINAL = {
    RunRow: {"finished"},
    LeaseRow: {"expired", "exhausted", "completed", "superseded", "revoked"},
    RequestRow: {"denied", "expired", "withdrawn", "superseded", "lapsed", "completed"},
    CallRow: {"done", "failed", "not_started", "unknown"},
}


def check_batch(before: World, decided: Decided, tenants: Iterable[str]) -> None:
    """Ends are ends (I8), the ledger only grows (I9), and nobody writes into another tenant (I10)."""
    indexes = [entry.index for entry in decided.entries]
    size = before.control.size
    demand(indexes == list(range(size, size + len(indexes))), "I9", f"entries {indexes} do not follow {size}")
    demand(decided.world.control.epoch >= before.control.epoch, "I8", "the epoch went back")
    allowed = {*tenants, ""}
    seen: dict[tuple[type[Row], Key], Row] = {}
    for row in decided.written:
        if isinstance(row, ControlRow):
            continue
        demand(row.tenant in allowed, "I10", f"a step of {sorted(allowed)} wrote {type(row).__name__} of {row.tenant}")
        name = (type(row), key_of(row))
        earlier = seen.get(name) or before.rows.get(name)
        seen[name] = row
        if earlier is not None:
            _check_final(earlier, row)


def _check_final(earlier: Row, later: Row) -> None:
    finals = _FINAL.get(type(earlier))
    if finals is None:
        return
    was, now = getattr(earlier, "state", ""), getattr(later, "state", "")
    demand(was not in finals or was == now, "I8", f"{key_of(earlier)} was {was} and is {now}")
    demand(getattr(later, "revoked", 0) >= getattr(earlier, "revoked", 0), "I8", f"{key_of(earlier)} is revived")


def check_money(world: World) -> None:
    """What was really spent stands in the accounts, and never exceeds a budget but by reported overruns (I2)."""
    for row in world.rows.values():
        if not isinstance(row, AccountRow):
            continue
        stands = row.settled + row.reserved + row.unknown
        spent = sum(_spent(each, row.unit) for each in _remembered(world) if row.account in each.accounts)
        name = f"{row.unit} of {row.account}"
        demand(min(row.settled, row.reserved, row.unknown) >= 0, "I2", f"{name} has a negative part")
        demand(spent <= stands, "I2", f"{spent} {name} was really spent, {stands} stands in the account")
        is_reported = (row.account, row.unit) in world.ghosts.overruns
        demand(stands <= row.limit or is_reported, "I2", f"{stands} {name} of {row.limit}, and nobody reported it")


def _remembered(world: World) -> list[Execution]:
    """What really started, but for what a restored database has forgotten."""
    is_restored = "restore" in world.used
    known = {row.admission_id for row in world.rows.values() if isinstance(row, CallRow)} if is_restored else set()
    return [each for each in world.ghosts.executions if not is_restored or each.admission_id in known]


def _spent(execution: Execution, unit: str) -> int:
    """What a started call really spent: as reported, else as reserved."""
    if execution.actual is not None:
        return dict(execution.actual).get(unit, 0)
    return MICROS if unit == CALLS else dict(execution.reserved).get(unit, 0)


def check_evidence(world: World, admission_id: str, actual: Mapping[str, int]) -> None:
    """What a guard reported too late to be charged stands in the ledger in full (I2)."""
    told = [each for each in world.ledger if each.kind is EntryKind.CALL_LATE and each.admission == admission_id]
    is_told = any(all(entry.cost.get(unit) == amount for unit, amount in actual.items()) for entry in told)
    demand(is_told, "I2", f"{admission_id} really cost {dict(actual)}, and the ledger does not say so")


def check_end(world: World) -> None:
    """Where nothing more can happen, every admission has ended and nothing is reserved (L2).

    The auditor's own checker, which sees the entries alone, has to find the way there possible.
    """
    for found in check_history(world.ledger):
        raise BrokenInvariantError(found.invariant, f"the ledger says so: {found}")
    for row in world.rows.values():
        demand(not (isinstance(row, CallRow) and row.state == CallState.ADMITTED), "L2", f"{row} never ends")
        demand(not (isinstance(row, AccountRow) and row.reserved), "L2", f"{row} stays reserved")


# When a lease is drawn


def check_lease(scenario: Scenario, before: World, chain: Chain) -> None:
    """A lease that was just drawn has its approvals (I4) and is within all above it (I6)."""
    lease, run = chain[-1].lease, chain[-1].run
    if scenario.lease_quorum:
        _check_people(scenario, before, lease.request_id, scenario.lease_quorum)
    demand(not _is_closed(scenario, before), "I6", f"{lease.lease_id} was drawn while its route is closed")
    demand(len(chain) == len(run.ancestors) + 1, "I6", f"a lease with {len(chain) - 1} above, for {run.ancestors}")
    for link in chain[:-1]:
        wider = grants_within(lease.allow, link.lease.allow)
        demand(wider is None, "I6", f"{lease.lease_id} has {wider} wider than {link.lease.lease_id}")
        demand(lease.expires_at <= link.lease.expires_at, "I6", f"{lease.lease_id} outlives {link.lease.lease_id}")
        demand(lease.delegation_depth < link.lease.delegation_depth, "I6", f"{lease.lease_id} delegates deeper")
    _check_alive(before, chain[:-1])


def _check_people(scenario: Scenario, world: World, request: str, quorum: int) -> None:
    """Enough people approved, all entitled now, none the requester or an editor, by what still vouches for them."""
    given = {person for name, person, verdict in world.ghosts.words if name == request and verdict == "approve"}
    spoke = {
        person for name, person, by in world.ghosts.vouched if name == request and _vouches(scenario, world, person, by)
    }
    counted = given & spoke & _entitled(scenario, world) - _editors_of(world, request)
    demand(len(counted) >= quorum, "I4", f"{request} needs {quorum} approvals; {sorted(counted)} count now")


def _vouches(scenario: Scenario, world: World, person: str, by: str) -> bool:
    """Whether a key, a sign-in or a user of a chat is this person's now. Of keys `_entitled` says it."""
    if "/" in by:
        return scenario.policy_of(world).notices["desk"].reviewers.get(by) == person
    return by not in world.ghosts.gone


def _editors_of(world: World, request: str) -> set[str]:
    """Who had edited their way to the call that a request is for when it was made."""
    return {person for about, person in world.ghosts.editors if about == request}


def check_answer(scenario: Scenario, before: World, step: AnswerRequest) -> None:
    """Only the word of somebody who is entitled now, and no requester, is taken, as proven as it has to be (I4)."""
    request, answer = step.request, step.answer
    named = f"the word of {answer.person}"
    demand(answer.person in _entitled(scenario, before), "I4", f"{named} was taken")
    demand(answer.person not in _editors_of(before, request.request_id), "I4", f"{named} on what they edited was taken")
    demand(_vouches(scenario, before, answer.person, answer.vouched_by), "I4", f"{named} was said by somebody else")
    if isinstance(step.voice, SessionVoice):
        demand(step.voice.session not in before.ghosts.gone, "I4", f"{named} was taken in a session that is over")
    policy = scenario.policy_of(before)
    is_destructive = any(policy.action(action).effect is Effect.DESTRUCTIVE for action in request.allow)
    demand(not (is_destructive and isinstance(answer.proof, ChatProof)), "I4", f"{named} in a chat was taken")
    is_proven = isinstance(answer.proof, PasskeyProof) or not (
        is_destructive and policy.defaults.destructive_by_passkey
    )
    demand(is_proven, "I4", f"{named} was taken without a passkey")


def check_heard(before: World, step: Heard[object]) -> None:
    """What a chat delivers is decided once (I4), within five minutes (I5)."""
    demand(step.proof.delivery not in before.ghosts.heard, "I4", f"{step.proof.delivery} was heard twice")
    demand(abs(before.database_ms // 1000 - step.proof.signed_at) <= 300, "I5", "a chat was heard too late")


def check_edited(scenario: Scenario, before: World, step: EditCall) -> None:
    """An edit is made by somebody entitled (I4), and what it makes is within its chain (I6)."""
    editor = step.editor.voice.person
    demand(editor in _entitled(scenario, before), "I4", f"{editor} edited a request")
    for link in step.call.chain:
        grant = link.lease.allow.get(step.call.action)
        within = grant is not None and grant.covers(step.call.attributes)
        demand(within, "I6", f"{editor} edited a call to where {link.lease.lease_id} does not reach")


def check_policy(scenario: Scenario, before: World, after: World, step: object) -> None:
    """A policy that takes two people becomes active by a second one's word on a proposal that is not stale (I4)."""
    was, now = scenario.position_of(before), scenario.position_of(after)
    if was == now or now not in scenario.by_two:
        return
    active, wanted = scenario.policies[was], scenario.policies[now]
    found = [person for policy, base, person in before.ghosts.proposed if (policy, base) == (wanted.hash, active.hash)]
    second = step.word.statement.person if isinstance(step, AnswerProposal) else ""
    governors = {person for person, roles in active.people.items() if "governor" in roles} - before.ghosts.removed
    demand(bool(found), "I4", "a policy became active that nobody proposed in the place of this one")
    demand({*found, second} <= governors, "I4", f"{found} and {second!r} made a policy active")
    demand(second not in found, "I4", f"{second!r} alone made a policy active")


def check_questions(scenario: Scenario, world: World) -> None:
    """No run asks oftener than it may, or has more open (I2): people's attention is a budget like any other."""
    if scenario.questions_left is not None:
        asked = [each for each in world.ledger if each.kind is EntryKind.REQUEST_MADE and each.outcome == "pending"]
        demand(len(asked) <= scenario.questions_left, "I2", f"people were asked {len(asked)} times")
    if not scenario.most_pending:
        return
    waiting = [
        row.run_id
        for row in world.rows.values()
        if isinstance(row, RequestRow) and row.state == "pending" and world.database_ms < row.answer_by * 1000
    ]
    for run in set(waiting):
        demand(waiting.count(run) <= scenario.most_pending, "I2", f"{run} has {waiting.count(run)} questions open")


def _entitled(scenario: Scenario, world: World) -> set[str]:
    """Who may approve under the active policy: the requester never, nor whose key was removed."""
    leads = {person for person, roles in scenario.policy_of(world).people.items() if "lead" in roles}
    return leads - {ANA} - world.ghosts.removed


# When a call is admitted


def check_admitted(scenario: Scenario, before: World, index: int, admission: Admission) -> None:
    """An admission is within its whole chain (I6), in time (I5), approved (I4), and under nothing that is over."""
    script = scenario.scripts[index]
    chain = chain_of(before, script.lease, script.tenant)
    refused = scenario.position_of(before) in script.refused_by
    demand(not refused, "I6", f"{script.name} was admitted although the active policy refuses it")
    demand(not _is_closed(scenario, before), "I6", f"{script.name} was admitted while its route is closed")
    _check_order(before, script)
    attributes = {"ticket": (script.ticket,)}
    for link in chain:
        grant = link.lease.allow.get(script.action)
        demand(grant is not None and grant.covers(attributes), "I6", f"{link.lease.lease_id} does not grant it")
    demand(before.clock_ms < _end_ms(before, chain), "I5", f"{script.name} was admitted after the earliest expiry")
    _check_alive(before, chain, _open_parent(before, script))
    _check_live_budget(scenario, before, chain, admission)
    if script.by_person:
        demand(not before.ghosts.removed & {ANA, BEN}, "I4", f"{script.name} is past an approval that nobody gives now")
    if script.quorum:
        demand(admission.approval is not None, "I4", f"{script.name} was admitted without an approval")
        shown = dict(before.ghosts.shown).get(admission.approval or "")
        wanted = (chain[-1].run.run_id, chain[-1].lease.attempt, chain[-1].lease.request_id, *script.identity)
        demand(shown is not None and shown[1:] == wanted, "I4", f"{admission.approval} was about another call")
        _check_people(scenario, before, admission.approval or "", script.quorum)
        demand(admission.approval not in before.ghosts.over, "I8", f"{admission.approval} was edited, and is used")
    if script.shows is not None:
        _check_shown(scenario, before, index, admission)


def _check_live_budget(scenario: Scenario, before: World, chain: Chain, admission: Admission) -> None:
    """What a call may cost is within what the active policy gives a run now, spent before or not (I2)."""
    budget = scenario.policy_of(before).routes["work"].budget
    for unit, amount in admission.reserved.items():
        for account in (chain[0].run.run_id, *(link.lease.request_id for link in chain)):
            row = before.row(AccountRow, chain[-1].run.tenant, account, unit)
            stands = row.settled + row.reserved + row.unknown if isinstance(row, AccountRow) else 0
            most = budget.get(unit, 0)
            demand(stands + amount <= most, "I2", f"{stands} + {amount} {unit} of {account}, and now {most} are given")


def _check_shown(scenario: Scenario, world: World, index: int, admission: Admission) -> None:
    """A previewed call starts from what people were asked about (I4), seen by its own read (I4), lately (I5)."""
    script = scenario.scripts[index]
    look = script.shows if script.shows is not None else index
    read = world.slots[look].admission
    demand(read is not None, "I4", f"{script.name} was admitted without a preview")
    assert read is not None
    demand(scenario.scripts[look].ticket == script.ticket, "I4", f"{script.name} was shown another ticket")
    now = dict(world.ghosts.looks).get(read.admission_id)
    asked = dict(world.ghosts.seen).get(admission.approval or "")
    demand(now == asked, "I4", f"{script.name} was approved for state {asked}, and its guard saw {now}")
    demand(world.database_ms < read.finish_by * 1000, "I5", f"{script.name} goes by a preview of long ago")


def _is_closed(scenario: Scenario, world: World) -> bool:
    """Whether the only route is frozen."""
    closes, opens = (BEGIN_MS + moment for moment in scenario.closed_ms)
    return closes <= world.clock_ms < opens


def _check_order(world: World, script: Script) -> None:
    """What has to come first was done, by the ghost of the guard that did it and by what the authority was told."""
    if script.follows is None:
        return
    done = [
        each
        for each in world.ghosts.executions
        if each.script == script.follows and each.outcome == CallState.DONE and not _is_open(world, each.admission_id)
    ]
    states = {row.state for each in done if isinstance(row := world.row(CallRow, "acme", each.admission_id), CallRow)}
    demand(CallState.DONE in states, "I6", f"{script.name} was admitted before what has to come first was done")


def _open_parent(world: World, script: Script) -> str:
    if script.parent is None:
        return ""
    slot = world.slots[script.parent]
    row = None if slot.admission is None else world.row(CallRow, script.tenant, slot.admission.admission_id)
    is_open = isinstance(row, CallRow) and row.state == CallState.ADMITTED
    demand(is_open, "I6", f"{script.name} was admitted after the call on whose behalf it is made")
    return row.admission_id if isinstance(row, CallRow) else ""


def _check_alive(world: World, chain: Chain, parent: str = "") -> None:
    """Nothing in the chain was answered to be over, or is written down as over."""
    for position, link in enumerate(chain):
        invariant = "I6" if position < len(chain) - 1 else "I8"
        names = {link.run.run_id, link.lease.request_id, f"{link.run.run_id}#{link.lease.attempt}"}
        over = names & world.ghosts.over
        demand(not over, invariant, f"{sorted(over)} is over, and {chain[-1].lease.lease_id} still works")
        lease = world.row(LeaseRow, link.run.tenant, link.lease.lease_id)
        demand(isinstance(lease, LeaseRow) and lease.state == "active", invariant, f"{link.lease.lease_id} is over")
        ending = {who for request, who in _endings(world) if request == link.lease.request_id}
        demand(ending <= {parent}, invariant, f"{link.lease.request_id} is ending by {sorted(ending)}")


def _endings(world: World) -> set[tuple[str, str]]:
    """Which request is being ended by which admission that is open, by what the ledger was told of them."""
    return {pair for pair in world.ghosts.endings if _is_open(world, pair[1])}


def _is_open(world: World, admission_id: str) -> bool:
    return any(
        isinstance(row, CallRow) and row.admission_id == admission_id and row.state == CallState.ADMITTED
        for row in world.rows.values()
    )


def _end_ms(world: World, chain: Chain) -> int:
    """The earliest expiry of leases and runs in true milliseconds; later epochs were timed by the clock that jumped."""
    end = min(end for link in chain for end in (link.lease.expires_at, link.run.expires_at)) * 1000
    return end - world.skew_ms if chain[-1].lease.epoch > 1 else end


def check_opening(before: World, step: OpenGlass) -> None:
    """Two people with keys of their own open break-glass (I4), for a minute (I5), here (I10), under no hold (I1)."""
    opening, keys = step.opening, {step.opener_key, step.second_key}
    own = {key_of_person(person).to_bytes() for person in (ANA, BEN)}
    demand(keys == own, "I4", "one person alone broke glass")
    demand(not before.ghosts.removed & {ANA, BEN}, "I4", "somebody whose key was removed broke glass")
    demand(opening.minutes == 1, "I5", f"it lasts {opening.minutes} minutes")
    demand((opening.tenant, opening.environment) == ("acme", "prod"), "I10", f"it is for {opening.environment}")
    holds = {str(ack.scope) for ack in before.ghosts.acks if ack.kind == "hold"}
    demand(not holds, "I1", f"it opens under the hold of {sorted(holds)}")


# When a call starts


def check_start(scenario: Scenario, world: World, index: int) -> None:
    """A call that starts was not stopped (I1), was intended (I3), is in time (I5), and happens once (I4, I7)."""
    script, admission = scenario.scripts[index], world.slots[index].admission
    assert admission is not None
    intent = (admission.admission_id, script.action, DIGESTER.digest("arguments", script.arguments))
    demand(intent in world.ghosts.intents, "I3", f"{script.name} starts without an intent in the ledger")
    chain = chain_of(world, script.lease, script.tenant)
    for ack in world.ghosts.acks:
        if admission.admission_id not in ack.listed and _stands_under(scenario, chain, script, admission, ack):
            raise BrokenInvariantError(
                "I1", f"{script.name} starts after the {ack.kind} of {ack.scope} was answered without it"
            )
    demand(world.clock_ms < _end_ms(world, chain), "I5", f"{script.name} starts after the earliest expiry of its chain")
    for other in world.ghosts.executions:
        if script.quorum and other.approval and other.approval == admission.approval:
            raise BrokenInvariantError(
                "I4", f"{admission.approval} is used by {other.admission_id} and {admission.admission_id}"
            )
        _check_once(scenario, world, index, other)


def _check_once(scenario: Scenario, world: World, index: int, other: Execution) -> None:
    script, theirs = scenario.scripts[index], scenario.scripts[other.script]
    run = chain_of(world, script.lease, script.tenant)[-1].run.run_id
    if script.key is None or (script.key, script.action, run) != (theirs.key, theirs.action, other.run):
        return
    row = world.row(CallRow, script.tenant, other.admission_id)
    is_written_off = isinstance(row, CallRow) and row.state == CallState.UNKNOWN
    may_repeat = script.is_idempotent and (other.outcome == CallState.FAILED or is_written_off)
    demand(may_repeat, "I7", f"the key {script.key} executes as {other.admission_id} and again")


def _stands_under(scenario: Scenario, chain: Chain, script: Script, admission: Admission, ack: Ack) -> bool:
    """Whether a stop covers this call: of a hold whatever stands there, of a revoke what existed at the time."""
    if ack.tenant not in ("", script.tenant):
        return False
    value, is_hold = ack.scope.value, ack.kind == "hold"
    policy = next(each for each in scenario.policies if each.hash == ack.policy)
    actions = {script.action, *policy.implications.get(script.action, ())}
    runs = any(is_hold or link.run.run_id in ack.existing for link in chain)
    requests = any(is_hold or link.lease.request_id in ack.existing for link in chain)
    match ack.scope.kind:
        case ScopeKind.LEASE:
            return value in {link.lease.lease_id for link in chain}
        case ScopeKind.REQUEST:
            return value in {admission.approval, *(link.lease.request_id for link in chain)}
        case ScopeKind.RUN:
            return value in {link.run.run_id for link in chain}
        case ScopeKind.AGENT:
            return any(link.run.agent == value and (is_hold or link.run.run_id in ack.existing) for link in chain)
        case ScopeKind.ACTION:
            return value in actions and requests
        case ScopeKind.TOOL:
            return value in {split_action(action)[0] for action in actions} and requests
        case ScopeKind.PERSON | ScopeKind.TENANT | ScopeKind.ENVIRONMENT | ScopeKind.ROUTE | ScopeKind.ALL:
            return value in {ANA, script.tenant, "prod", "work", ""} and runs
