"""How an admitted call ended: reported by the guard that ran it, or concluded when nobody reported in time.

Both end it once. `not_started` gives everything back, because nothing can have happened; everything else keeps its
charge. What comes after `unknown` is evidence, never a refund (threat cases 68-71).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar

import msgspec
from msgspec.structs import replace

from leasehold.decide.accounts import account_needs, settle_accounts
from leasehold.decide.breaker import BreakerPlace, Counted, breaker_needs, count
from leasehold.decide.facts import Changes, Facts, Need, Ref, StepAnswer
from leasehold.decide.lifecycles import CALL_TABLE, REQUEST_TABLE, CallEvent, RequestEvent, advance
from leasehold.decide.order import end_milestone
from leasehold.decide.rows import CallRow, KeyRow, MilestoneRow, RequestRow, Row
from leasehold.ledger.entry import Entry, EntryKind
from leasehold.model.budget import CALLS, MICROS, TOOL_SECONDS
from leasehold.model.call import Admission, CallState, Outcome, OutcomeStatus, Settlement
from leasehold.model.decision import Decision, Reason, allow, deny
from leasehold.model.grant import split_action
from leasehold.model.instant import Instant
from leasehold.model.request import RequestState
from leasehold.policy.document import Breaker

__all__ = ["ConcludeUnknown", "Settle", "actual_cost"]

_EVENTS = {
    OutcomeStatus.DONE: CallEvent.DONE,
    OutcomeStatus.FAILED: CallEvent.FAIL,
    OutcomeStatus.NOT_STARTED: CallEvent.NOT_START,
}


class Settle(msgspec.Struct, frozen=True, kw_only=True):
    """Record a guard's outcome. Only the door that admitted may: `tool` and `environment` are those it proved to be.

    `breaker` is what the route declares by the policy of the moment; a settle is not built again for a newer one.
    """

    admission: Admission
    outcome: Outcome
    tool: str
    environment: str
    breaker: Breaker | None = None

    policy: ClassVar[None] = None
    needs_clock: ClassVar[bool] = False

    def keys(self) -> Sequence[Need]:
        return _needs(self.admission, self.outcome.cost, self.breaker)

    def decide(self, facts: Facts, now: Instant) -> tuple[StepAnswer[Settlement], Changes]:
        row = facts.get(CallRow, self.admission.tenant, self.admission.admission_id)
        refusal = self._refuse_door(row)
        if refusal is not None or row is None:
            return StepAnswer(refusal or deny(Reason.NOT_FOUND, "no such call")), Changes()
        state = CallState(row.state)
        if state is CallState.UNKNOWN:
            return self._late(row)
        if state is not CallState.ADMITTED:
            return self._again(state, self._settlement(state)), Changes()
        return self._settled(facts, row, state, now)

    def _refuse_door(self, row: CallRow | None) -> Decision | None:
        if row is None:
            return deny(Reason.NOT_FOUND, f"{self.admission.admission_id} was never admitted")
        if split_action(self.admission.action)[0] != self.tool:
            return deny(Reason.WRONG_TOOL, f"{self.tool} did not admit this call", check="same tool")
        if self.admission.environment != self.environment:
            return deny(Reason.WRONG_ENVIRONMENT, f"{self.environment} did not admit it", check="same environment")
        return None

    def _again(self, told: str, settlement: Settlement) -> StepAnswer[Settlement]:
        """What was told before answers the same; that a call went another way too is not taken."""
        if self.outcome.status == told:
            return StepAnswer(allow(), settlement)
        return StepAnswer(
            deny(Reason.ALREADY_SETTLED, f"this call is {told} already", check=f"{self.outcome.status} == {told}")
        )

    def _late(self, row: CallRow) -> tuple[StepAnswer[Settlement], Changes]:
        """The guard came back after the call was written off: its word is kept in full and once, its charge stays.

        Kept each time, a guard could fill the ledger with one call, and have receipts tell its last word as its first.
        """
        settlement = Settlement(state=CallState.UNKNOWN, charged=dict(self.admission.reserved), late=True)
        if row.late:
            return self._again(row.late, settlement), Changes()
        told = self._settlement(CallState(self.outcome.status))
        entry = _entry(
            EntryKind.CALL_LATE,
            self.admission,
            outcome=self.outcome.status,
            reported=self.outcome,
            cost=told.charged,
            overrun=told.overrun,
        )
        return StepAnswer(allow(), settlement), Changes(
            rows=(replace(row, late=self.outcome.status),), entries=(entry,)
        )

    def _settled(
        self, facts: Facts, row: CallRow, state: CallState, now: Instant
    ) -> tuple[StepAnswer[Settlement], Changes]:
        after = advance(CALL_TABLE, state, _EVENTS[self.outcome.status])
        settlement = self._settlement(after)
        actual, overrun = settlement.charged, settlement.overrun
        ends = after is CallState.DONE or (after is CallState.FAILED and not self.outcome.no_effect)
        requests = _close_requests(facts, self.admission, after, ends=ends, overrun=bool(overrun))
        rows = (
            replace(row, state=after),
            *settle_accounts(
                facts, self.admission.tenant, self.admission.accounts, self.admission.reserved, actual, after
            ),
            *_close_key(facts, self.admission, after),
            *end_milestone(facts, self.admission, after),
            *requests,
        )
        entry = _entry(
            EntryKind.CALL_SETTLED, self.admission, outcome=after, reported=self.outcome, cost=actual, overrun=overrun
        )
        counted = Changes()
        if after is not CallState.NOT_STARTED:
            counted = _count(facts, now, self.admission, self.breaker, after)
        return StepAnswer(allow(), settlement), Changes(
            rows=(*rows, *counted.rows), entries=(entry, *_completions(self.admission, requests), *counted.entries)
        )

    def _settlement(self, after: CallState) -> Settlement:
        """What the outcome comes to: nothing for what never started, else the actual cost and the units over it."""
        if after is CallState.NOT_STARTED:
            return Settlement(state=after, charged={})
        actual = actual_cost(self.admission, self.outcome)
        over = tuple(unit for unit, amount in sorted(actual.items()) if amount > self.admission.reserved.get(unit, 0))
        return Settlement(state=after, charged=actual, overrun=over)


class ConcludeUnknown(msgspec.Struct, frozen=True, kw_only=True):
    """Nobody settled a call by its `finish_by`: it may have happened, so its charge stays. Submitted by the sweep."""

    admission: Admission
    breaker: Breaker | None = None

    policy: ClassVar[None] = None
    needs_clock: ClassVar[bool] = True

    def keys(self) -> Sequence[Need]:
        return _needs(self.admission, {}, self.breaker)

    def decide(self, facts: Facts, now: Instant) -> tuple[StepAnswer[bool], Changes]:
        row = facts.get(CallRow, self.admission.tenant, self.admission.admission_id)
        if row is None or row.state != CallState.ADMITTED or not now.reached(row.finish_by):
            return StepAnswer(allow(), False), Changes()
        after = advance(CALL_TABLE, CallState(row.state), CallEvent.TIME_OUT)
        requests = _close_requests(facts, self.admission, after, ends=True, overrun=False)
        rows = (
            replace(row, state=after),
            *settle_accounts(facts, self.admission.tenant, self.admission.accounts, self.admission.reserved, {}, after),
            *_close_key(facts, self.admission, after),
            *end_milestone(facts, self.admission, after),
            *requests,
        )
        counted = _count(facts, now, self.admission, self.breaker, after)
        entries = (
            _entry(EntryKind.CALL_UNKNOWN, self.admission, outcome=after),
            *_completions(self.admission, requests),
            *counted.entries,
        )
        return StepAnswer(allow(), True), Changes(rows=(*rows, *counted.rows), entries=entries)


def actual_cost(admission: Admission, outcome: Outcome) -> dict[str, int]:
    """What is charged: one call, the time it took, the cost it reported; what it did not report, as it was reserved."""
    actual = {unit: outcome.cost.get(unit, amount) for unit, amount in admission.reserved.items()}
    actual |= outcome.cost
    actual[CALLS] = MICROS
    actual[TOOL_SECONDS] = outcome.duration_micros
    return actual


def _place(admission: Admission, breaker: Breaker | None) -> BreakerPlace:
    return BreakerPlace(tenant=admission.tenant, route=admission.route, breaker=breaker)


def _count(facts: Facts, now: Instant, admission: Admission, breaker: Breaker | None, after: CallState) -> Changes:
    """What the end of a call means for its route's breaker: failed and unknown speak against it."""
    place, is_bad = _place(admission, breaker), after is not CallState.DONE
    return count(facts, now, place, Counted.SETTLED, is_bad=is_bad, ended=admission.admission_id)


def _needs(admission: Admission, cost: Mapping[str, int], breaker: Breaker | None) -> list[Need]:
    tenant = admission.tenant
    units = {*admission.reserved, *cost, CALLS, TOOL_SECONDS}
    needs: list[Need] = [Ref(CallRow, (tenant, admission.admission_id))]
    needs += account_needs(tenant, admission.accounts, units)
    if admission.key is not None:
        needs.append(Ref(KeyRow, (tenant, admission.run_id, admission.action, admission.key)))
    if admission.is_milestone:
        needs.append(Ref(MilestoneRow, (tenant, admission.run_id, admission.action)))
    requests = {admission.request_id, *admission.ending}
    if admission.approval is not None:
        requests.add(admission.approval)
    needs += [Ref(RequestRow, (tenant, request_id)) for request_id in sorted(requests)]
    return [*needs, *breaker_needs(_place(admission, breaker), Counted.SETTLED)] if breaker is not None else needs


def _close_key(facts: Facts, admission: Admission, after: CallState) -> list[Row]:
    if admission.key is None:
        return []
    row = facts.get(KeyRow, admission.tenant, admission.run_id, admission.action, admission.key)
    if row is None or row.admission_id != admission.admission_id:
        return []
    return [replace(row, state=after)]


def _close_requests(
    facts: Facts, admission: Admission, after: CallState, *, ends: bool, overrun: bool
) -> list[RequestRow]:
    """What the end of a call means for requests: its approval, those it was ending, and the one it overran."""
    rows: dict[str, RequestRow] = {}
    if admission.approval is not None and after is CallState.NOT_STARTED:
        row = facts.get(RequestRow, admission.tenant, admission.approval)
        if row is not None and row.used_by == admission.admission_id:
            state = advance(REQUEST_TABLE, RequestState(row.state), RequestEvent.RETURN)
            rows[row.request_id] = replace(row, state=state, used_by="")
    for request_id in admission.ending:
        row = facts.get(RequestRow, admission.tenant, request_id)
        if row is not None and row.ending == admission.admission_id:
            rows[request_id] = _complete(row) if ends and row.state == RequestState.USED else replace(row, ending="")
    if overrun:
        row = rows.get(admission.request_id) or facts.get(RequestRow, admission.tenant, admission.request_id)
        if row is not None and row.state == RequestState.USED:
            rows[admission.request_id] = _complete(row)
    return list(rows.values())


def _completions(admission: Admission, requests: Sequence[RequestRow]) -> list[Entry]:
    """An entry for each request that ended with the call; its leases, draws and children are dead from here on."""
    return [
        Entry(
            kind=EntryKind.REQUEST_COMPLETED,
            tenant=admission.tenant,
            environment=admission.environment,
            run=row.run_id,
            attempt=row.attempt,
            request=row.request_id,
            requested_by=admission.requested_by,
            route=admission.route,
            admission=admission.admission_id,
            action=admission.action,
            outcome=row.state,
        )
        for row in requests
        if row.state == RequestState.COMPLETED
    ]


def _complete(row: RequestRow) -> RequestRow:
    return replace(row, state=advance(REQUEST_TABLE, RequestState(row.state), RequestEvent.COMPLETE), ending="")


def _entry(
    kind: EntryKind,
    admission: Admission,
    *,
    outcome: str,
    reported: Outcome | None = None,
    cost: Mapping[str, int] | None = None,
    overrun: tuple[str, ...] = (),
) -> Entry:
    return Entry(
        kind=kind,
        tenant=admission.tenant,
        environment=admission.environment,
        run=admission.run_id,
        parent_run=admission.parent_run or "",
        attempt=admission.attempt,
        request=admission.request_id,
        lease=admission.lease_id,
        parents=admission.lease_chain[:-1],
        capability=admission.capability,
        agent=admission.agent,
        requested_by=admission.requested_by,
        route=admission.route,
        admission=admission.admission_id,
        action=admission.action,
        effect=admission.effect,
        arguments_digest=admission.arguments_digest,
        key=admission.key or "",
        approval=admission.approval or "",
        outcome=outcome,
        duration_micros=reported.duration_micros if reported is not None else 0,
        cost=dict(cost or {}),
        trace=admission.trace_id,
        detail={**_report(reported), **({"alarm": "overrun", "overrun": overrun} if overrun else {})},
    )


def _report(outcome: Outcome | None) -> dict[str, str | tuple[str, ...]]:
    """What the guard's own word was, as far as it said anything."""
    if outcome is None:
        return {}
    said = {name: getattr(outcome, name) for name in ("touched", "files", "contacted", "result_digest", "error")}
    if outcome.no_effect:
        said["no_effect"] = "the tool says that nothing changed"
    return {name: value for name, value in said.items() if value}
