"""Is everything above a call alive? The chain of leases from the root run down, and the stops over it.

Admit, issue, request and start all ask here, so that no way in is checked less than another (invariants I1, I5, I6).
A child has no liveness of its own: it lives while every link does, which is why one row at the root ends them all.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property

import msgspec

from leasehold.decide.facts import ActiveStops, Facts, Need, Ref
from leasehold.decide.lifecycles import LeaseState, RunState
from leasehold.decide.rows import AUTHORITY_WIDE, LeaseRow, RequestRow, RunRow, StopRow
from leasehold.model.decision import Decision, Reason, deny
from leasehold.model.grant import Grants, split_action
from leasehold.model.ids import LeaseId, RequestId, RunId
from leasehold.model.instant import Instant
from leasehold.model.lease import Lease
from leasehold.model.request import RequestState
from leasehold.model.run import Run
from leasehold.model.scope import Scope, ScopeKind, StopKind

__all__ = [
    "Chain",
    "ChainLink",
    "refuse_chain",
    "refuse_new_run",
    "refuse_old_attempt",
    "refuse_run",
    "run_fields",
    "run_needs",
    "stop_needs",
]


class ChainLink(msgspec.Struct, frozen=True):
    """One lease and the run that holds it: immutable documents, read before the step. `capability` is its digest."""

    lease: Lease
    run: Run
    capability: str = ""


class Chain(tuple[ChainLink, ...]):
    """Root first; the last link is the lease in hand. Empty where there is none.

    What its documents say is worked out once for all calls under the lease: documents never change. Nothing that a row
    says is kept here.
    """

    @cached_property
    def needs(self) -> tuple[Need, ...]:
        """The facts that `refuse_chain` asks for."""
        tenant = self[-1].run.tenant
        needs = stop_needs(tenant)
        for link in self:
            needs.append(Ref(RunRow, (tenant, link.run.run_id)))
            needs.append(Ref(RequestRow, (tenant, link.lease.request_id)))
            needs.append(Ref(LeaseRow, (tenant, link.lease.lease_id)))
        return tuple(needs)

    @cached_property
    def accounts(self) -> tuple[str, ...]:
        """What its calls draw on: the root run's account and that of every request."""
        return (self.run_ids[0], *self.request_ids)

    @cached_property
    def lease_ids(self) -> tuple[LeaseId, ...]:
        """The id of each lease."""
        return tuple(link.lease.lease_id for link in self)

    @cached_property
    def run_ids(self) -> tuple[RunId, ...]:
        """The id of each run."""
        return tuple(link.run.run_id for link in self)

    @cached_property
    def request_ids(self) -> tuple[RequestId, ...]:
        """The id of each request."""
        return tuple(link.lease.request_id for link in self)

    @cached_property
    def agents(self) -> tuple[str, ...]:
        """The agent of each run."""
        return tuple(link.run.agent for link in self)

    @cached_property
    def policy_links(self) -> tuple[tuple[Grants, tuple[str, ...]], ...]:
        """What policy judges of each lease: its grants and its deny list."""
        return tuple((link.lease.allow, link.lease.deny) for link in self)

    @cached_property
    def expires_at(self) -> int:
        """When the first of its leases expires, in Unix seconds."""
        return min(link.lease.expires_at for link in self)

    @cached_property
    def ends_at(self) -> int:
        """When the first of its leases and runs is over, in Unix seconds."""
        return min(self.expires_at, *(link.run.expires_at for link in self))

    @cached_property
    def origin(self) -> dict[str, object]:
        """What every entry about a use of the lease says of where it comes from. To be copied, not changed."""
        lease = self[-1].lease
        of_lease = {"request": lease.request_id, "lease": lease.lease_id, "parents": tuple(lease.parents)}
        return run_fields(self[-1].run, lease.attempt) | of_lease


def run_fields(run: Run, attempt: int) -> dict[str, object]:
    """What every entry about a run says of it."""
    return {
        "tenant": run.tenant,
        "environment": run.environment,
        "run": run.run_id,
        "parent_run": run.parent_run or "",
        "attempt": attempt,
        "agent": run.agent,
        "requested_by": run.requested_by,
        "route": run.route,
    }


def stop_needs(tenant: str) -> list[Need]:
    """The stops that can lie over anything in a tenant."""
    return [ActiveStops((tenant,)), ActiveStops((AUTHORITY_WIDE,))]


def run_needs(run: Run) -> list[Need]:
    """The facts about a run and the runs and requests that it was delegated from."""
    needs: list[Need] = [Ref(RunRow, (run.tenant, run.run_id)), *stop_needs(run.tenant)]
    for ancestor in run.ancestors:
        needs.append(Ref(RunRow, (run.tenant, ancestor.run_id)))
        needs.append(Ref(RequestRow, (run.tenant, ancestor.request_id)))
    return needs


def refuse_run(facts: Facts, run: Run, attempt: int, now: Instant) -> Decision | None:
    """Why nothing may start in a run: it or an ancestor is over, stopped, or older than its newest attempt or epoch."""
    for ancestor in run.ancestors:
        row = facts.get(RunRow, run.tenant, ancestor.run_id)
        if refusal := _refuse_run_row(row, ancestor.run_id, ancestor.attempt, now):
            return refusal
        request = facts.get(RequestRow, run.tenant, ancestor.request_id)
        if refusal := refuse_request_row(request, ancestor.request_id):
            return refusal
    row = facts.get(RunRow, run.tenant, run.run_id)
    return (
        _refuse_run_row(row, run.run_id, attempt, now)
        or _refuse_run_stops(active_stops(facts, run.tenant), run, _recorded(facts, row))
        or _refuse_epoch(facts, run.run_id, run.epoch)
    )


def refuse_chain(
    facts: Facts, chain: Chain, actions: Sequence[str], now: Instant, ending_admission: str = ""
) -> Decision | None:
    """Why a lease is not alive for these actions, or None if every link of its chain is.

    `actions` are the action in hand and all it implies; `ending_admission` the parent call of a sub-call, which may go
    on working inside a request that it is itself ending.
    """
    stops = active_stops(facts, chain[-1].run.tenant)
    for link in chain:
        tenant, lease = link.run.tenant, link.lease
        run_row = facts.get(RunRow, tenant, link.run.run_id)
        request_row = facts.get(RequestRow, tenant, lease.request_id)
        refusal = (
            _refuse_lease_row(facts.get(LeaseRow, tenant, lease.lease_id), lease)
            or refuse_request_row(request_row, lease.request_id, ending_admission)
            or _refuse_run_row(run_row, link.run.run_id, lease.attempt, now)
            or _refuse_run_stops(stops, link.run, _recorded(facts, run_row))
            or _refuse_action_stops(stops, actions, _recorded(facts, request_row))
            or refuse_expired(lease, now)
            or _refuse_epoch(facts, lease.lease_id, lease.epoch)
        )
        if refusal:
            return refusal
    return None


def refuse_expired(lease: Lease, now: Instant) -> Decision | None:
    """A lease is dead at its expiry (invariant I5)."""
    if not lease.is_expired(now):
        return None
    return deny(
        Reason.EXPIRED,
        f"{lease.lease_id} is over",
        check=f"now {now.seconds} < expires_at {lease.expires_at}",
        enough="a renewed lease of the same request: authority.wait(request)",
    )


def _refuse_epoch(facts: Facts, name: str, epoch: int) -> Decision | None:
    """What is of another epoch is void: a restored database may hold what was ended after its copy was made."""
    if epoch == facts.control.epoch:
        return None
    return deny(
        Reason.STALE_EPOCH,
        f"{name} is from before the database was restored or its clock set back",
        check=f"epoch {epoch} == {facts.control.epoch}",
        enough="a new run",
    )


def _refuse_lease_row(row: LeaseRow | None, lease: Lease) -> Decision | None:
    if row is None:
        return deny(Reason.NOT_FOUND, f"{lease.lease_id} is not in this ledger")
    if row.revoked:
        return _revoked(Scope(ScopeKind.LEASE, lease.lease_id))
    if row.held:
        return _held(Scope(ScopeKind.LEASE, lease.lease_id))
    if row.state != LeaseState.ACTIVE:
        return deny(_LEASE_REASONS[LeaseState(row.state)], f"{lease.lease_id} is {row.state}")
    return None


_LEASE_REASONS = {
    LeaseState.EXPIRED: Reason.EXPIRED,
    LeaseState.EXHAUSTED: Reason.BUDGET,
    LeaseState.COMPLETED: Reason.COMPLETED,
    LeaseState.SUPERSEDED: Reason.STALE_ATTEMPT,
    LeaseState.REVOKED: Reason.REVOKED,
}


def refuse_request_row(row: RequestRow | None, request_id: str, ending_admission: str = "") -> Decision | None:
    """Why nothing may be done under a lease request: it is stopped, ended, ending, or was never used."""
    if row is None:
        return deny(Reason.NOT_FOUND, f"{request_id} is not in this ledger")
    if row.revoked:
        return _revoked(Scope(ScopeKind.REQUEST, request_id))
    if row.held:
        return _held(Scope(ScopeKind.REQUEST, request_id))
    if row.state == RequestState.COMPLETED:
        return deny(Reason.COMPLETED, f"{request_id} ended with the work it was for", enough="a new request")
    if row.state != RequestState.USED:
        return deny(Reason.NOT_FOUND, f"{request_id} is {row.state}; no lease of it is alive")
    if row.ending and row.ending != ending_admission:
        return deny(
            Reason.ENDING,
            f"{request_id} is ending: its last action is being carried out",
            check=f"{row.ending} is settled",
            enough="nothing: the lease ends with that call, unless it turns out not to have started",
        )
    return None


def _refuse_run_row(row: RunRow | None, run_id: str, attempt: int, now: Instant) -> Decision | None:
    if row is None:
        return deny(Reason.NOT_FOUND, f"{run_id} is not in this ledger")
    if row.revoked:
        return _revoked(Scope(ScopeKind.RUN, run_id))
    if row.held:
        return _held(Scope(ScopeKind.RUN, run_id))
    if row.state != RunState.OPEN:
        return deny(Reason.RUN_FINISHED, f"{run_id} is finished", enough="a new run")
    return refuse_old_attempt(row, attempt) or _refuse_run_over(row, now)


def refuse_old_attempt(row: RunRow, attempt: int) -> Decision | None:
    """Only the newest attempt of a run may do anything (requirement L4)."""
    if row.attempt == attempt:
        return None
    return deny(
        Reason.STALE_ATTEMPT,
        f"this belongs to attempt {attempt} of {row.run_id}, whose newest attempt is {row.attempt}",
        check=f"attempt {attempt} == {row.attempt}",
        enough=f"a lease of attempt {row.attempt}",
    )


def _refuse_run_over(row: RunRow, now: Instant) -> Decision | None:
    if not now.reached(row.expires_at):
        return None
    return deny(
        Reason.EXPIRED,
        f"{row.run_id} is over",
        check=f"now {now.seconds} < expires_at {row.expires_at}",
        enough="a new run",
    )


def _refuse_run_stops(stops: Sequence[StopRow], run: Run, recorded: int) -> Decision | None:
    """Stops of what a whole run stands under. A revoke kills only what was recorded before it."""
    if not stops:  # as nearly always: then nothing has to be named
        return None
    above = {
        str(Scope(ScopeKind.ALL)),
        f"{ScopeKind.TENANT}:{run.tenant}",
        f"{ScopeKind.ENVIRONMENT}:{run.environment}",
        f"{ScopeKind.ROUTE}:{run.route}",
        f"{ScopeKind.AGENT}:{run.agent}",
        f"{ScopeKind.PERSON}:{run.requested_by}",
    }
    return _refuse_stops(stops, above, recorded)


def _refuse_action_stops(stops: Sequence[StopRow], actions: Sequence[str], recorded: int) -> Decision | None:
    """Stops of the action, of all it implies, and of their tools: only that part of a lease is dead."""
    if not stops:
        return None
    above = set()
    for action in actions:
        above.add(f"{ScopeKind.ACTION}:{action}")
        above.add(f"{ScopeKind.TOOL}:{split_action(action)[0]}")
    return _refuse_stops(stops, above, recorded)


def _refuse_stops(stops: Sequence[StopRow], above: set[str], recorded: int) -> Decision | None:
    for stop in stops:
        if stop.scope not in above:
            continue
        if stop.kind == StopKind.HOLD:
            return _held(Scope.parse(stop.scope), stop.reason)
        if recorded < stop.recorded:
            return _revoked(Scope.parse(stop.scope), stop.reason)
    return None


def _recorded(facts: Facts, row: RunRow | RequestRow | None) -> int:
    """The ledger index a thing was recorded at; of one that is not there yet, the index it would get."""
    return facts.next_index if row is None else row.recorded


def refuse_new_run(facts: Facts, run: Run, *, since: int | None = None) -> Decision | None:
    """Why a run may not start: something it would stand under is held, or was revoked after ledger index `since`."""
    recorded = facts.next_index if since is None else since
    return _refuse_run_stops(active_stops(facts, run.tenant), run, recorded)


def active_stops(facts: Facts, tenant: str) -> tuple[StopRow, ...]:
    """The wide stops over a tenant: its own, then the authority-wide ones."""
    found = (*facts.find(ActiveStops((tenant,))), *facts.find(ActiveStops((AUTHORITY_WIDE,))))
    return tuple(row for row in found if isinstance(row, StopRow)) if found else ()


def _revoked(scope: Scope, why: str = "") -> Decision:
    return deny(
        Reason.REVOKED,
        f"{scope} was revoked" + (f": {why}" if why else ""),
        check=f"nothing above the call is revoked ({scope})",
        rule=f"revoke {scope}",
    )


def _held(scope: Scope, why: str = "") -> Decision:
    return deny(
        Reason.HELD,
        f"{scope} is held" + (f": {why}" if why else ""),
        check=f"nothing above the call is held ({scope})",
        rule=f"hold {scope}",
        enough="a person lifting the hold",
    )
