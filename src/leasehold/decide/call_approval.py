"""Have people agreed to exactly this call: to what it would do now, and to what the policy says of it now? For admit.

An approval is for what its card said (decision 0009). What moved or changed since then takes it back: the call is
refused and people are asked again, with the difference in front of them (threat cases 74, 78, 79).
"""

from __future__ import annotations

import msgspec
from msgspec.structs import replace

from leasehold.decide.approvals import approvers_of, edited, is_approved, words_of_denial
from leasehold.decide.bond import EditedFrom, bond_of
from leasehold.decide.call_request import ProposedCall, approval_needed
from leasehold.decide.edited import edited_into
from leasehold.decide.entries import run_entry
from leasehold.decide.facts import Changes, Facts, RequestsOfCall
from leasehold.decide.lifecycles import REQUEST_TABLE, RequestEvent, advance
from leasehold.decide.previews import PreviewWanted, how_it_moved, preview_needed, refuse_preview
from leasehold.decide.request import lease_need
from leasehold.decide.rows import RequestRow
from leasehold.ledger.entry import Entry, EntryKind
from leasehold.model.call import Admission
from leasehold.model.card import Card, Change
from leasehold.model.decision import Decision, Reason, deny
from leasehold.model.effect import ApprovalMode
from leasehold.model.ids import RequestId
from leasehold.model.instant import Instant
from leasehold.model.request import RequestState
from leasehold.policy.document import Route
from leasehold.policy.evaluate import ApprovalNeed

__all__ = ["Approval", "Asking", "find_approval"]


class Approval(msgspec.Struct, frozen=True):
    """The approval that a call uses: none, the lease's, or a call request of its own; and what the policy demanded."""

    need: ApprovalNeed
    approved_by: tuple[str, ...]
    request: RequestRow | None = None

    @property
    def request_id(self) -> RequestId | None:
        """The call request that it uses, if it is one."""
        return RequestId(self.request.request_id) if self.request is not None else None

    def use(self, admission: Admission) -> list[RequestRow]:
        """The call request as used by an admission, once and no more (invariant I4)."""
        if self.request is None:
            return []
        state = advance(REQUEST_TABLE, RequestState(self.request.state), RequestEvent.USE)
        return [replace(self.request, state=state, used_by=admission.admission_id)]


class Asking(msgspec.Struct, frozen=True, kw_only=True):
    """People have to be asked. `over` is what the new request takes the place of: an approval that counts no more, or
    an edited request that nobody has seen a preview of; `reason` says why, `moved` how the state moved since then.
    `edited_from` is there where people made this call of another.
    """

    reason: Reason = Reason.APPROVAL_NEEDED
    over: RequestRow | None = None
    moved: tuple[Change, ...] = ()
    edited_from: EditedFrom | None = None

    def refusal(self, request_id: str) -> Decision:
        """The answer to the call, with the new request to wait on."""
        if self.reason is Reason.APPROVAL_NEEDED:
            return approval_needed(request_id)
        refusal = deny(
            self.reason,
            f"{_CHANGED[self.reason]}: people are asked again, {request_id}",
            check="all is as it was when it was approved",
            enough=f"wait on {request_id}, then make the same call again",
        )
        return replace(refusal, request_id=request_id)

    def ask(self, call: ProposedCall, route: Route, recorded: int, now: Instant) -> Changes:
        """The new request, with what stood in its place out of the way; `recorded` is the index of the first entry."""
        rows, entries = self._put_away(call)
        made = replace(call, edited=self.edited_from).ask(route, recorded + len(entries), now, self.moved)
        return Changes(rows=(*rows, *made.rows), entries=(*entries, *made.entries))

    def _put_away(self, call: ProposedCall) -> tuple[tuple[RequestRow, ...], tuple[Entry, ...]]:
        """An approval that counts no more lapses; a request that nobody saw yet is superseded."""
        row = self.over
        if row is None:
            return (), ()
        event, kind = _PUT_AWAY[RequestState(row.state)]
        state = advance(REQUEST_TABLE, RequestState(row.state), event)
        entry = run_entry(
            kind,
            call.chain[-1].run,
            attempt=row.attempt,
            request=row.request_id,
            action=call.action,
            policy=call.policy_document.hash,
            outcome=state,
            detail={"why": self.reason, "successor": call.request_id},
        )
        return (replace(row, state=state, used_by=call.request_id),), (entry,)


_PUT_AWAY = {
    RequestState.APPROVED: (RequestEvent.LAPSE, EntryKind.REQUEST_LAPSED),
    RequestState.PENDING: (RequestEvent.SUPERSEDE, EntryKind.REQUEST_SUPERSEDED),
}

_CHANGED = {
    Reason.STATE_MOVED: "what the call works on has moved since it was approved",
    Reason.TERMS_CHANGED: "the policy says something else of this call than what was approved",
}


def find_approval(call: ProposedCall, facts: Facts, now: Instant) -> Approval | Decision | Asking:
    """The approval that counts, a refusal, or that people have to be asked."""
    leaf = call.chain[-1]
    if call.need.mode is ApprovalMode.NONE or (
        call.need.mode is ApprovalMode.LEASE and _lease_is_approved(call, facts)
    ):
        return Approval(call.need, leaf.lease.approved_by)
    rows = _requests(call, facts)
    same = {row.request_id for row in rows}
    for row in reversed(rows):
        if row.attempt != leaf.lease.attempt or row.revoked or row.held:
            continue
        if row.state == RequestState.DENIED:
            return _approval_denied(row)
        if row.state == RequestState.SUPERSEDED and row.used_by not in same:
            return edited(row)
        if row.state == RequestState.PENDING and not now.reached(row.answer_by):
            is_seen = bond_of(row).preview or not call.preview_action
            if is_seen:
                return approval_needed(row.request_id)
            return _refuse_unseen(call, facts, now) or _asking_over(call, row, Reason.APPROVAL_NEEDED)
        if row.state == RequestState.APPROVED and not now.reached(row.use_by) and _counts(call, facts, row, call.need):
            return _refuse_unseen(call, facts, now) or _what_changed(call, row) or _approved(call, facts, row)
    return _refuse_unseen(call, facts, now) or Asking(edited_from=edited_into(call.edits, facts))


def _requests(call: ProposedCall, facts: Facts) -> list[RequestRow]:
    """The requests for exactly this call, oldest first."""
    rows = facts.find(RequestsOfCall((call.tenant, call.call_digest)))
    return sorted((row for row in rows if isinstance(row, RequestRow)), key=lambda row: row.recorded)


def _lease_is_approved(call: ProposedCall, facts: Facts) -> bool:
    """Whether people approved the lease in hand, judged by the live policy."""
    leaf = call.chain[-1]
    row = facts.get(RequestRow, call.tenant, leaf.lease.request_id)
    need = lease_need(call.policy_document, leaf.run.route, leaf.lease.allow)
    return row is not None and need.mode is ApprovalMode.LEASE and _counts(call, facts, row, need)


def _counts(call: ProposedCall, facts: Facts, row: RequestRow, need: ApprovalNeed) -> bool:
    run = call.chain[-1].run
    return is_approved(facts, call.policy_document, row, need, route=run.route, requested_by=run.requested_by)


def _approved(call: ProposedCall, facts: Facts, row: RequestRow) -> Approval:
    run, effect = call.chain[-1].run, call.need.effect
    approvers = approvers_of(
        facts, call.policy_document, row, route=run.route, requested_by=run.requested_by, effect=effect
    )
    return Approval(call.need, approvers, row)


def _refuse_unseen(call: ProposedCall, facts: Facts, now: Instant) -> Decision | None:
    """Where the action declares a preview, nobody is asked and nothing starts without a fresh one."""
    if not call.preview_action:
        return None
    if call.preview is None:
        return preview_needed(call.action, call.preview_action)
    wanted = PreviewWanted(call.preview_action, call.chain[-1].lease.lease_id, call.arguments_digest)
    return refuse_preview(facts, call.tenant, call.preview, wanted, now)


def _what_changed(call: ProposedCall, row: RequestRow) -> Asking | None:
    """What is not any more as the approved card said it."""
    bond = bond_of(row)
    if bond.terms != call.terms:
        return _asking_over(call, row, Reason.TERMS_CHANGED)
    if call.preview is None or bond.preview == call.preview_digest:
        return None
    moved = how_it_moved(_card_of(call, row), bond.preview, call.preview.preview, call.preview_digest)
    return _asking_over(call, row, Reason.STATE_MOVED, moved)


def _asking_over(call: ProposedCall, row: RequestRow, reason: Reason, moved: tuple[Change, ...] = ()) -> Asking:
    """Ask in the place of an earlier request. Who edited that one has edited this one too."""
    card, editors = _card_of(call, row), bond_of(row).editors
    source = RequestId(card.edited_from if card is not None and card.edited_from else row.request_id)
    edits = card.edits if card is not None else ()
    edited_from = EditedFrom(request_id=source, editors=editors, changes=edits) if editors else None
    return Asking(reason=reason, over=row, moved=moved, edited_from=edited_from)


def _card_of(call: ProposedCall, row: RequestRow) -> Card | None:
    """The card of an earlier request, if it is the one that was read beforehand."""
    card = call.earlier_card
    return card if card is not None and card.request_id == row.request_id else None


def _approval_denied(row: RequestRow) -> Decision:
    refusal = deny(
        Reason.APPROVAL_DENIED,
        f"{row.request_id} was denied for this attempt",
        check="an approved request for this call",
    )
    return replace(refusal, words=words_of_denial(row))
