"""Draw a lease from an approved request: the one small path by which leases come to be (requirement L5).

Renewal is the same step again: a new, short lease after a new policy check, within what was approved (L15).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import msgspec

from leasehold.decide.approvals import approver_needs, approvers_of, edited, is_approved, words_of_denial
from leasehold.decide.chain import Chain, refuse_chain, refuse_run, run_needs
from leasehold.decide.documents import encode_document
from leasehold.decide.entries import counted_entry, describe_grants, request_entry
from leasehold.decide.facts import Changes, Facts, Need, Ref, StepAnswer
from leasehold.decide.glass_use import refuse_agent
from leasehold.decide.lease_document import APPROVED_BY_POLICY, Drawing, compose_lease, refuse_large
from leasehold.decide.lifecycles import REQUEST_TABLE, LeaseState, RequestEvent, advance
from leasehold.decide.pending import list_denial
from leasehold.decide.request import lease_need, refuse_undelegated
from leasehold.decide.rows import DocumentRow, LeaseRow, RequestRow, Row, RunRow
from leasehold.ledger.entry import Entry, EntryKind
from leasehold.model.decision import Decision, Reason, allow, deny
from leasehold.model.effect import ApprovalMode
from leasehold.model.ids import LeaseId
from leasehold.model.instant import Instant
from leasehold.model.lease import Lease
from leasehold.model.request import Request, RequestState
from leasehold.model.run import Run
from leasehold.policy.document import Policy, Route
from leasehold.policy.evaluate import ApprovalNeed, check_grants
from leasehold.policy.timing import refuse_time
from leasehold.token.digest import sha256_digest

__all__ = ["DrawLease", "capability_digest", "lease_rows", "refuse_draw"]


class DrawLease(msgspec.Struct, frozen=True, kw_only=True):
    """Draw one lease of a request. `parent` is the chain of the newest lease of the request above, for a child run."""

    policy_document: Policy
    run: Run
    request: Request
    lease_id: LeaseId
    parent: Chain = Chain()

    needs_clock: ClassVar[bool] = True

    @property
    def policy(self) -> str:
        return self.policy_document.hash

    def keys(self) -> Sequence[Need]:
        own = [*run_needs(self.run), Ref(RequestRow, (self.run.tenant, self.request.request_id))]
        own += approver_needs(self.policy_document, self.run.route, self.run.requested_by)
        return [*own, *self.parent.needs] if self.parent else own

    def decide(self, facts: Facts, now: Instant) -> tuple[StepAnswer[Lease], Changes]:
        row = facts.get(RequestRow, self.run.tenant, self.request.request_id)
        need = lease_need(self.policy_document, self.run.route, self.request.allow)
        refusal = self._refuse(facts, row, need, now)
        if refusal is not None or row is None:
            unknown = deny(Reason.NOT_FOUND, f"{self.request.request_id} is not in this ledger")
            return self._denied(facts, row, refusal or unknown)
        lease = self._lease(facts, row, need, now)
        if refusal := refuse_large(lease, facts.control.issuer):
            return self._denied(facts, row, refusal)
        state = advance(REQUEST_TABLE, RequestState(row.state), RequestEvent.USE)
        rows = (msgspec.structs.replace(row, state=state), *lease_rows(lease, facts.next_index))
        return StepAnswer(allow(), lease), Changes(rows=rows, entries=(self._entry(lease, need),))

    def _denied(self, facts: Facts, row: RequestRow | None, refusal: Decision) -> tuple[StepAnswer[Lease], Changes]:
        """The refusal, written down; of who only looks whether people have answered there is nothing to write."""
        if row is not None and row.state == RequestState.PENDING and refusal.reason is Reason.APPROVAL_NEEDED:
            return StepAnswer(refusal), Changes()
        run = facts.get(RunRow, self.run.tenant, self.run.run_id)
        denied = request_entry(EntryKind.LEASE_DENIED, self.request, self.run, decision=refusal, policy=self.policy)
        return StepAnswer(refusal), list_denial(run, denied, counted_entry(self.run, self.request.attempt))

    def _refuse(self, facts: Facts, row: RequestRow | None, need: ApprovalNeed, now: Instant) -> Decision | None:
        refusal = refuse_run(facts, self.run, self.request.attempt, now) or refuse_draw(row, self.request)
        refusal = refusal or refuse_agent(self.run, None)
        if refusal is None and self.parent:
            refusal = refuse_chain(facts, self.parent, tuple(self.request.allow), now)
        if refusal is not None:
            return refusal
        above = tuple(link.lease.allow for link in self.parent)
        verdict = check_grants(self.policy_document, self.run.route, self.request.allow, above)
        route = self.policy_document.route(self.run.route)
        if not verdict.is_allowed or route is None:
            return verdict
        if refusal := refuse_undelegated(route, self.run, self.request.allow):
            return refusal
        if refusal := self._refuse_closed(route, now):
            return refusal
        return None if row is None else self._refuse_unapproved(facts, row, need)

    def _refuse_closed(self, route: Route, now: Instant) -> Decision | None:
        """No lease is drawn while every action of it is closed: it would run out unused."""
        closed = [
            refuse_time(self.policy_document, route, action, now.seconds) for action in sorted(self.request.allow)
        ]
        return closed[0] if all(closed) else None

    def _refuse_unapproved(self, facts: Facts, row: RequestRow, need: ApprovalNeed) -> Decision | None:
        if need.mode is ApprovalMode.NONE:
            return None
        run = self.run
        if is_approved(facts, self.policy_document, row, need, route=run.route, requested_by=run.requested_by):
            return None
        return deny(
            Reason.APPROVAL_NEEDED,
            f"{row.request_id} does not have the approvals that the active policy demands",
            rule=need.rule,
            check=f"{need.quorum} approvals of {', '.join(need.approvers)}",
            enough="a new request, approved under the active policy",
        )

    def _lease(self, facts: Facts, row: RequestRow, need: ApprovalNeed, now: Instant) -> Lease:
        ends = [now.seconds + self.request.ttl_seconds, self.run.expires_at]
        ends += [link.lease.expires_at for link in self.parent]
        depths = [link.lease.delegation_depth - 1 for link in self.parent[-1:]]
        approvers = approvers_of(
            facts,
            self.policy_document,
            row,
            route=self.run.route,
            requested_by=self.run.requested_by,
            effect=need.effect,
        )
        drawing = Drawing(
            lease_id=self.lease_id,
            approved_by=approvers or (APPROVED_BY_POLICY,),
            parents=tuple(link.lease.lease_id for link in self.parent),
            delegation_depth=min([self.request.delegation_depth, *depths]),
            issued_at=now.seconds,
            expires_at=min(ends),
            policy=self.policy,
            epoch=facts.control.epoch,
        )
        return compose_lease(self.run, self.request, drawing)

    def _entry(self, lease: Lease, need: ApprovalNeed) -> Entry:
        return request_entry(
            EntryKind.LEASE_ISSUED,
            self.request,
            self.run,
            lease=lease.lease_id,
            parents=tuple(lease.parents),
            capability=capability_digest(lease),
            approvals=lease.approved_by,
            policy=self.policy,
            detail={
                "allow": describe_grants(lease.allow),
                "deny": lease.deny,
                "approval": need.mode,
                "quorum": need.quorum,
                "expires_at": lease.expires_at,
                "ttl_seconds": lease.expires_at - lease.issued_at,
                "reason": lease.reason,
            },
        )


def refuse_draw(row: RequestRow | None, request: Request) -> Decision | None:
    """Why no lease can be drawn from a request now."""
    if row is None:
        return deny(Reason.NOT_FOUND, f"{request.request_id} is not in this ledger")
    if row.revoked or row.held:
        return deny(Reason.REVOKED if row.revoked else Reason.HELD, f"{request.request_id} is stopped")
    if row.ending:
        return deny(Reason.ENDING, f"{request.request_id} is ending", check=f"{row.ending} is settled")
    state = RequestState(row.state)
    if state in (RequestState.APPROVED, RequestState.USED):
        return None
    if state is RequestState.SUPERSEDED:
        return edited(row)
    reason, words = _DRAW_REASONS[state]
    if state is RequestState.LAPSED and row.used_by:
        words = f"counts no more, because what was approved has changed; people are asked again: {row.used_by}"
    refusal = deny(reason, f"{request.request_id} {words}", check="state is approved or used")
    return msgspec.structs.replace(refusal, words=words_of_denial(row) if state is RequestState.DENIED else "")


_DRAW_REASONS = {
    RequestState.PENDING: (Reason.APPROVAL_NEEDED, "still waits for people"),
    RequestState.DENIED: (Reason.APPROVAL_DENIED, "was denied"),
    RequestState.EXPIRED: (Reason.APPROVAL_EXPIRED, "was not answered in time"),
    RequestState.WITHDRAWN: (Reason.NOT_PENDING, "was withdrawn"),
    RequestState.LAPSED: (Reason.APPROVAL_EXPIRED, "was approved but not used in time"),
    RequestState.COMPLETED: (Reason.COMPLETED, "ended with the work it was for"),
}


def capability_digest(lease: Lease) -> str:
    """The digest by which uses of one capability are found: what was held, whoever drew it and whenever."""
    body = msgspec.json.encode(
        [lease.request_id, lease.tenant, lease.environment, describe_grants(lease.allow), lease.deny], order="sorted"
    )
    return sha256_digest(body)


def lease_rows(lease: Lease, recorded: int) -> tuple[Row, ...]:
    """The rows of a new lease: its document and its state."""
    return (
        DocumentRow(tenant=lease.tenant, id=lease.lease_id, body=encode_document(lease)),
        LeaseRow(
            tenant=lease.tenant,
            lease_id=lease.lease_id,
            run_id=lease.run_id,
            request_id=lease.request_id,
            state=LeaseState.ACTIVE,
            issued_at=lease.issued_at,
            expires_at=lease.expires_at,
            recorded=recorded,
            revoked=0,
            held=0,
        ),
    )
