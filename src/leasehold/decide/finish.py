"""The ends of things: a run finishes, a lease is written down as over, a request is not answered or not used in time.

Expiry needs none of this to take effect: it is read off the clock at every use (requirement L3). These steps write the
ends into the ledger; the sweep submits them, each checks again that the end has come.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import msgspec
from msgspec.structs import replace

from leasehold.decide.chain import refuse_old_attempt
from leasehold.decide.entries import request_entry, run_entry
from leasehold.decide.facts import Changes, Facts, Need, Ref, StepAnswer
from leasehold.decide.lifecycles import (
    LEASE_TABLE,
    REQUEST_TABLE,
    RUN_TABLE,
    LeaseEvent,
    LeaseState,
    RequestEvent,
    RunEvent,
    RunState,
    advance,
)
from leasehold.decide.rows import AccountRow, LeaseRow, RequestRow, Row, RunRow, StopRow
from leasehold.ledger.entry import Entry, EntryKind
from leasehold.model.decision import Reason, allow, deny
from leasehold.model.ids import LeaseId, RequestId
from leasehold.model.instant import Instant
from leasehold.model.lease import Lease
from leasehold.model.request import Request, RequestKind, RequestState
from leasehold.model.run import Run
from leasehold.model.scope import StopKind

__all__ = ["EXPIRED", "CloseRequest", "EndLease", "FinishRun", "RetireStop"]

EXPIRED = "expired"
"""Why a run ends that nobody ended."""


class FinishRun(msgspec.Struct, frozen=True, kw_only=True):
    """Finish a run: everything under it is dead from here on. `leases` and `requests` are those still open.

    `why` is what ended it: `done` in the agent host's words, or what the sweep found (`expired`, `revoked`, `parent`).
    A run that is said to have expired before it has is left alone, whatever clock the sweep went by.
    `attempt` is that of the host that asks, which a newer one fences off; None for operators and the sweep.
    """

    run: Run
    why: str
    attempt: int | None = None
    leases: tuple[LeaseId, ...] = ()
    requests: tuple[RequestId, ...] = ()

    policy: ClassVar[None] = None

    @property
    def needs_clock(self) -> bool:
        return self.why == EXPIRED

    def keys(self) -> Sequence[Need]:
        tenant = self.run.tenant
        return [
            Ref(RunRow, (tenant, self.run.run_id)),
            *(Ref(LeaseRow, (tenant, lease)) for lease in self.leases),
            *(Ref(RequestRow, (tenant, request)) for request in self.requests),
        ]

    def decide(self, facts: Facts, now: Instant) -> tuple[StepAnswer[RunRow], Changes]:
        row = facts.get(RunRow, self.run.tenant, self.run.run_id)
        if row is None:
            return StepAnswer(deny(Reason.NOT_FOUND, f"{self.run.run_id} is not in this ledger")), Changes()
        if row.state == RunState.FINISHED or (self.why == EXPIRED and not now.reached(row.expires_at)):
            return StepAnswer(allow(), row), Changes()
        if self.attempt is not None and (refusal := refuse_old_attempt(row, self.attempt)):
            return StepAnswer(refusal), Changes()
        finished = replace(row, state=advance(RUN_TABLE, RunState(row.state), RunEvent.FINISH))
        rows, entries = self._close_leases(facts, row)
        for request_id in self.requests:
            request = facts.get(RequestRow, self.run.tenant, request_id)
            if request is not None and request.state in _CLOSES:
                rows.append(replace(request, state=advance(REQUEST_TABLE, *_CLOSES[RequestState(request.state)])))
        last = run_entry(
            EntryKind.RUN_FINISHED,
            self.run,
            attempt=row.attempt,
            outcome=self.why,
            detail={"denials": row.denials},
        )
        return StepAnswer(allow(), finished), Changes(rows=(finished, *rows), entries=(*entries, last))

    def _close_leases(self, facts: Facts, run_row: RunRow) -> tuple[list[Row], list[Entry]]:
        rows: list[Row] = []
        entries: list[Entry] = []
        event = LeaseEvent.REVOKE if self.why == "revoked" else LeaseEvent.COMPLETE
        for lease_id in self.leases:
            lease = facts.get(LeaseRow, self.run.tenant, lease_id)
            if lease is None or lease.state != LeaseState.ACTIVE:
                continue
            state = advance(LEASE_TABLE, LeaseState(lease.state), event)
            rows.append(replace(lease, state=state))
            entries.append(
                run_entry(
                    EntryKind.LEASE_ENDED,
                    self.run,
                    attempt=run_row.attempt,
                    lease=lease_id,
                    request=lease.request_id,
                    outcome=state,
                    detail={"why": f"run {self.why}"},
                )
            )
        return rows, entries


_CLOSES = {
    RequestState.PENDING: (RequestState.PENDING, RequestEvent.WITHDRAW),
    RequestState.APPROVED: (RequestState.APPROVED, RequestEvent.LAPSE),
}


class EndLease(msgspec.Struct, frozen=True, kw_only=True):
    """Write down that a lease is over, with the reason that the facts give."""

    lease: Lease
    run: Run

    policy: ClassVar[None] = None
    needs_clock: ClassVar[bool] = True

    def keys(self) -> Sequence[Need]:
        tenant = self.lease.tenant
        return [
            Ref(LeaseRow, (tenant, self.lease.lease_id)),
            Ref(RequestRow, (tenant, self.lease.request_id)),
            Ref(RunRow, (tenant, self.lease.run_id)),
            *(Ref(AccountRow, (tenant, self.lease.request_id, unit)) for unit in sorted(self.lease.budget)),
        ]

    def decide(self, facts: Facts, now: Instant) -> tuple[StepAnswer[LeaseState], Changes]:
        row = facts.get(LeaseRow, self.lease.tenant, self.lease.lease_id)
        event = self._event(facts, now)
        if row is None or row.state != LeaseState.ACTIVE or event is None:
            return StepAnswer(allow(), LeaseState(row.state) if row is not None else None), Changes()
        state = advance(LEASE_TABLE, LeaseState(row.state), event)
        entry = run_entry(
            EntryKind.LEASE_ENDED,
            self.run,
            attempt=self.lease.attempt,
            lease=self.lease.lease_id,
            request=self.lease.request_id,
            parents=tuple(self.lease.parents),
            outcome=state,
            detail={"expires_at": self.lease.expires_at},
        )
        return StepAnswer(allow(), state), Changes(rows=(replace(row, state=state),), entries=(entry,))

    def _event(self, facts: Facts, now: Instant) -> LeaseEvent | None:
        """Why it is over, the strongest reason first; None while it is alive by its own facts."""
        tenant = self.lease.tenant
        row = facts.get(LeaseRow, tenant, self.lease.lease_id)
        request = facts.get(RequestRow, tenant, self.lease.request_id)
        run = facts.get(RunRow, tenant, self.lease.run_id)
        if any(fact is not None and fact.revoked for fact in (row, request, run)):
            return LeaseEvent.REVOKE
        if request is not None and request.state == RequestState.COMPLETED:
            return LeaseEvent.COMPLETE
        if run is not None and run.attempt != self.lease.attempt:
            return LeaseEvent.SUPERSEDE
        if self._is_exhausted(facts):
            return LeaseEvent.EXHAUST
        return LeaseEvent.EXPIRE if self.lease.is_expired(now) else None

    def _is_exhausted(self, facts: Facts) -> bool:
        """Whether *settled* spend reached a budget of the request; reservations may still be given back."""
        accounts = [
            facts.get(AccountRow, self.lease.tenant, self.lease.request_id, unit) for unit in sorted(self.lease.budget)
        ]
        return any(account is not None and account.settled >= account.limit > 0 for account in accounts)


class CloseRequest(msgspec.Struct, frozen=True, kw_only=True):
    """Write down that a pending request was not answered in time, or an approved call not used in time."""

    run: Run
    request: Request

    policy: ClassVar[None] = None
    needs_clock: ClassVar[bool] = True

    def keys(self) -> Sequence[Need]:
        return [Ref(RequestRow, (self.run.tenant, self.request.request_id))]

    def decide(self, facts: Facts, now: Instant) -> tuple[StepAnswer[RequestState], Changes]:
        row = facts.get(RequestRow, self.run.tenant, self.request.request_id)
        if row is None:
            return StepAnswer(deny(Reason.NOT_FOUND, f"{self.request.request_id} is not in this ledger")), Changes()
        state = RequestState(row.state)
        if state is RequestState.PENDING and now.reached(row.answer_by):
            event, kind = RequestEvent.TIME_OUT, EntryKind.REQUEST_EXPIRED
        elif state is RequestState.APPROVED and row.kind == RequestKind.CALL and now.reached(row.use_by):
            event, kind = RequestEvent.LAPSE, EntryKind.REQUEST_LAPSED
        else:
            return StepAnswer(allow(), state), Changes()
        after = advance(REQUEST_TABLE, state, event)
        entry = request_entry(kind, self.request, self.run, outcome=after)
        return StepAnswer(allow(), after), Changes(rows=(replace(row, state=after),), entries=(entry,))


class RetireStop(msgspec.Struct, frozen=True, kw_only=True):
    """Take a wide revoke out of the list that admissions read, once nothing recorded before it is open any more.

    `oldest_open` is the smallest index at which a run that is still open was started. Runs only get younger, so what
    was true when it was read is true here.
    """

    tenant: str
    scope: str
    oldest_open: int

    policy: ClassVar[None] = None
    needs_clock: ClassVar[bool] = True

    def keys(self) -> Sequence[Need]:
        return [Ref(StopRow, (self.tenant, self.scope, StopKind.REVOKE))]

    def decide(self, facts: Facts, now: Instant) -> tuple[StepAnswer[bool], Changes]:
        row = facts.get(StopRow, self.tenant, self.scope, StopKind.REVOKE)
        if row is None or not row.is_active or row.recorded > self.oldest_open:
            return StepAnswer(allow(), False), Changes()
        return StepAnswer(allow(), True), Changes(rows=(replace(row, is_active=0),))
