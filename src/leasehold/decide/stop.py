"""Revoke, hold, lift: what an operator can do mid-run. Submitted by the Desk.

The answer to a revoke or hold lists the calls that were admitted and not settled; nothing else in the scope starts
after it (invariant I1). One row does it, however many children hang below.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, TypeAlias, assert_never

import msgspec
from msgspec.structs import replace

from leasehold.decide.breaker import reset_breaker, reset_needs
from leasehold.decide.facts import AllOpenCalls, Changes, Facts, Index, Need, OpenCalls, Ref, StepAnswer
from leasehold.decide.in_flight import calls_in_flight
from leasehold.decide.powers import refuse_power
from leasehold.decide.proven import as_proven
from leasehold.decide.rows import AUTHORITY_WIDE, LeaseRow, PersonRow, RequestRow, RunRow, StopRow
from leasehold.decide.voices import Voice, refuse_voice, voice_needs
from leasehold.ledger.entry import Entry, EntryKind
from leasehold.model.call import Admission
from leasehold.model.decision import Decision, Reason, allow, deny
from leasehold.model.grant import split_action
from leasehold.model.instant import Instant
from leasehold.model.scope import Scope, ScopeKind, StopKind
from leasehold.policy.document import Policy, Power
from leasehold.policy.evaluate import with_implied

__all__ = ["Lift", "Stop", "Stopped", "covers", "covers_run"]

_Stoppable: TypeAlias = StopRow | LeaseRow | RequestRow | RunRow
_NARROW: dict[ScopeKind, type[LeaseRow] | type[RequestRow] | type[RunRow]] = {
    ScopeKind.LEASE: LeaseRow,
    ScopeKind.REQUEST: RequestRow,
    ScopeKind.RUN: RunRow,
}
_KINDS = {StopKind.REVOKE: EntryKind.REVOKED, StopKind.HOLD: EntryKind.HELD}


class Stopped(msgspec.Struct, frozen=True):
    """What a stop answers: the calls in its scope that had been admitted and were not settled yet.

    `unreadable` are the ids of open calls whose stored admission is damaged: they may be in the scope or not.
    """

    scope: Scope
    in_flight: tuple[Admission, ...]
    unreadable: tuple[str, ...] = ()


class Stop(msgspec.Struct, frozen=True, kw_only=True):
    """Revoke or hold a scope in one tenant, or in every tenant with the empty tenant.

    `by` names who did it, as far as the authority knows. Stopping needs no clock and no role: it is the safe side. It
    needs the active policy, which says what an open call implies: judged by an older one the answer could leave it out.
    """

    policy_document: Policy
    tenant: str
    scope: Scope
    kind: StopKind
    by: str
    reason: str

    needs_clock: ClassVar[bool] = False

    @property
    def policy(self) -> str:
        return self.policy_document.hash

    def keys(self) -> Sequence[Need]:
        return [_target(self.tenant, self.scope, self.kind), self._open_calls()]

    def decide(self, facts: Facts, now: Instant) -> tuple[StepAnswer[Stopped], Changes]:
        row = self._row(facts, now)
        if row is None:
            return StepAnswer(deny(Reason.NOT_FOUND, f"{self.scope} is not in this ledger")), Changes()
        stopped = self.stopped(facts)
        entry = _stop_entry(_KINDS[self.kind], row, self.scope, self.by, self.reason, stopped)
        return StepAnswer(allow(), stopped), Changes(rows=(row,), entries=(entry,))

    def stopped(self, facts: Facts) -> Stopped:
        """What is in flight."""
        found = calls_in_flight(facts, self._open_calls(), lambda call: covers(self.policy_document, self.scope, call))
        return Stopped(self.scope, *found)

    def _open_calls(self) -> Index:
        return OpenCalls((self.tenant,)) if self.tenant else AllOpenCalls(())

    def _row(self, facts: Facts, now: Instant) -> _Stoppable | None:
        narrow = _NARROW.get(self.scope.kind)
        if narrow is not None:
            row = facts.get(narrow, self.tenant, self.scope.value)
            if row is None:
                return None
            return replace(row, revoked=1) if self.kind == StopKind.REVOKE else replace(row, held=1)
        return StopRow(
            tenant=self.tenant,
            scope=str(self.scope),
            kind=self.kind,
            is_active=1,
            recorded=facts.next_index,
            at=now.seconds,
            by=self.by,
            reason=self.reason,
        )


class Lift(msgspec.Struct, frozen=True, kw_only=True):
    """Lift a hold, a person's or a breaker's. A person with the power to lift must ask; a revoke is for ever."""

    policy_document: Policy
    tenant: str
    scope: Scope
    voice: Voice
    reason: str

    needs_clock: ClassVar[bool] = True

    @property
    def policy(self) -> str:
        return self.policy_document.hash

    def keys(self) -> Sequence[Need]:
        return [
            _target(self.tenant, self.scope, StopKind.HOLD),
            *voice_needs(self.voice),
            *reset_needs(self.tenant, self.scope),
        ]

    def decide(self, facts: Facts, now: Instant) -> tuple[StepAnswer[Scope], Changes]:
        target = _target(self.tenant, self.scope, StopKind.HOLD)
        row = facts.get(target.row_type, *target.key)
        if refusal := self._refuse_person(facts, now):
            return StepAnswer(refusal), Changes()
        if isinstance(row, StopRow) and row.is_active:
            lifted: _Stoppable = replace(row, is_active=0)
        elif isinstance(row, LeaseRow | RequestRow | RunRow) and row.held:
            lifted = replace(row, held=0)
        else:
            return StepAnswer(deny(Reason.NOT_FOUND, f"{self.scope} is not held")), Changes()
        entry = _stop_entry(EntryKind.LIFTED, lifted, self.scope, self.voice.person, self.reason, None)
        reset = reset_breaker(facts, self.tenant, self.scope)
        return StepAnswer(allow(), self.scope), Changes(rows=(lifted, *reset), entries=(entry,))

    def _refuse_person(self, facts: Facts, now: Instant) -> Decision | None:
        person = facts.get(PersonRow, AUTHORITY_WIDE, self.voice.person)
        return refuse_voice(facts, self.voice, now) or refuse_power(
            as_proven(self.policy_document, person, now), self.voice.person, Power.LIFT, self.tenant
        )


def covers(policy: Policy, scope: Scope, call: Admission) -> bool:
    """Whether a call stands under a scope; it does under the actions of the calls that it is made for, too."""
    actions = with_implied(policy, call.stands_under)
    match scope.kind:
        case ScopeKind.ALL:
            return True
        case ScopeKind.LEASE:
            return scope.value in call.lease_chain
        case ScopeKind.REQUEST:
            return scope.value in call.request_chain or scope.value == call.approval
        case ScopeKind.RUN:
            return scope.value in call.run_chain
        case ScopeKind.TENANT:
            return scope.value == call.tenant
        case ScopeKind.ENVIRONMENT:
            return scope.value == call.environment
        case ScopeKind.ROUTE:
            return scope.value == call.route
        case ScopeKind.AGENT:
            return scope.value in call.agents
        case ScopeKind.PERSON:
            return scope.value == call.requested_by
        case ScopeKind.TOOL:
            return scope.value in {split_action(action)[0] for action in actions}
        case ScopeKind.ACTION:
            return scope.value in actions
        case _:
            assert_never(scope.kind)


def covers_run(scope: Scope, row: RunRow) -> bool:
    """Whether a whole run stands under a scope; of a lease, request, tool or action scope only a part of one does."""
    match scope.kind:
        case ScopeKind.ALL:
            return True
        case ScopeKind.RUN:
            return scope.value == row.run_id
        case ScopeKind.TENANT:
            return scope.value == row.tenant
        case ScopeKind.ENVIRONMENT:
            return scope.value == row.environment
        case ScopeKind.ROUTE:
            return scope.value == row.route
        case ScopeKind.AGENT:
            return scope.value == row.agent
        case ScopeKind.PERSON:
            return scope.value == row.requested_by
        case ScopeKind.LEASE | ScopeKind.REQUEST | ScopeKind.TOOL | ScopeKind.ACTION:
            return False
        case _:
            assert_never(scope.kind)


def _target(tenant: str, scope: Scope, kind: StopKind) -> Ref:
    narrow = _NARROW.get(scope.kind)
    return Ref(StopRow, (tenant, str(scope), kind)) if narrow is None else Ref(narrow, (tenant, scope.value))


def _stop_entry(kind: EntryKind, row: _Stoppable, scope: Scope, by: str, reason: str, stopped: Stopped | None) -> Entry:
    """An entry about a stop; one of a lease or request also names its run, so that asking for the run finds it."""
    detail: dict[str, str | int | tuple[str, ...]] = {"reason": reason}
    if stopped is not None:
        detail["in_flight"] = (*(call.admission_id for call in stopped.in_flight), *stopped.unreadable)
    return Entry(
        kind=kind,
        tenant=row.tenant,
        scope=str(scope),
        person=by,
        run=row.run_id if isinstance(row, LeaseRow | RequestRow | RunRow) else "",
        request=scope.value if scope.kind is ScopeKind.REQUEST else "",
        lease=scope.value if scope.kind is ScopeKind.LEASE else "",
        detail=detail,
    )
