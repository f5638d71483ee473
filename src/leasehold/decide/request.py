"""Ask for a lease. Policy answers at once where no person is needed; else the request waits with its card.

Containment is proven here, against the route and every lease above; admit proves it again on every call (invariant I6).
Call requests are made by admit itself, with the rows that this module builds.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import ClassVar

import msgspec

from leasehold.decide.accounts import open_accounts
from leasehold.decide.approvals import encode_answers
from leasehold.decide.bond import NO_BOND, Bond, EditedFrom, bond_of, encode_bond
from leasehold.decide.cards import build_card
from leasehold.decide.chain import refuse_run, run_needs
from leasehold.decide.documents import encode_document
from leasehold.decide.edited import edit_row, edited_into, edits_of_lease
from leasehold.decide.entries import counted_entry, describe_grants, edit_detail, request_entry
from leasehold.decide.facts import Changes, Facts, Need, Ref, StepAnswer
from leasehold.decide.glass_use import refuse_agent
from leasehold.decide.lease_document import compose_lease, largest_drawing, refuse_large
from leasehold.decide.pending import (
    DENIALS_LISTED,
    list_denial,
    pending_need,
    pending_of,
    refuse_many_pending,
    too_many_denials,
)
from leasehold.decide.previews import with_previews
from leasehold.decide.rows import CardRow, DocumentRow, RequestRow, Row, RunRow
from leasehold.ledger.entry import EntryKind
from leasehold.model.budget import amounts_to_lines
from leasehold.model.canonical import encode
from leasehold.model.card import Card, Change, card_bytes
from leasehold.model.decision import Decision, Reason, allow, deny
from leasehold.model.effect import ApprovalMode
from leasehold.model.grant import Grants, grants_to_json
from leasehold.model.ids import RequestId
from leasehold.model.instant import Instant
from leasehold.model.request import Request, RequestState
from leasehold.model.run import Run
from leasehold.policy.document import Policy, Route
from leasehold.policy.evaluate import ApprovalNeed, check_grants, implied, need_for_grants
from leasehold.token.digest import Digester

__all__ = ["AskLease", "Asked", "lease_need", "refuse_undelegated", "request_rows"]


class Asked(msgspec.Struct, frozen=True):
    """What became of a request for a lease: its document, and where it stands.

    Where the same was asked before and still waits, the id is that request's; its own document says the rest.
    """

    request: Request
    state: RequestState


class AskLease(msgspec.Struct, frozen=True, kw_only=True):
    """Ask for a lease. `request` is complete but for its times, budget defaults, card digest and policy.

    `above` holds the grants of the leases that the run was delegated from, root first; `facts` what the ledger says
    that the run did so far, for the card; `edits` what people changed of the request that this one is edited from.
    """

    policy_document: Policy
    digester: Digester
    run: Run
    request: Request
    above: tuple[Grants, ...] = ()
    facts: tuple[str, ...] = ()
    edits: tuple[Change, ...] = ()

    needs_clock: ClassVar[bool] = True

    @property
    def policy(self) -> str:
        return self.policy_document.hash

    def keys(self) -> Sequence[Need]:
        return [*run_needs(self.run), pending_need(self.run)]

    def decide(self, facts: Facts, now: Instant) -> tuple[StepAnswer[Asked], Changes]:
        route = self.policy_document.route(self.run.route)
        refusal = refuse_run(facts, self.run, self.request.attempt, now) or self._refuse(route)
        if refusal is not None or route is None:
            return self._denied(
                facts, refusal or deny(Reason.UNKNOWN_ROUTE, f"{self.run.route} is not in the active policy")
            )
        granted = with_previews(self.policy_document, route, self.run, self.request.allow, self.above)
        need = lease_need(self.policy_document, self.run.route, granted)
        edits = edits_of_lease(self.digester, self.run, granted)
        asked = self._with_editors(edits, need, facts)
        request, card = self._complete(route, msgspec.structs.replace(asked, allow=granted), need, now)
        drawing = largest_drawing(self.policy_document, self.run, request, need, facts.control.epoch)
        if refusal := refuse_large(compose_lease(self.run, request, drawing), facts.control.issuer):
            return self._denied(facts, refusal)
        state = RequestState.APPROVED if need.mode is ApprovalMode.NONE else RequestState.PENDING
        if state is RequestState.PENDING and self.request.edited_from is None:
            if (same := self._asked_before(facts, now)) is not None:
                return StepAnswer(allow(), Asked(same, state)), Changes()
            if refusal := self._refuse_question(facts, now):
                return self._denied(facts, refusal)
        made = self._made(request, card, need, state, facts.next_index)
        counted = self._counted(facts, edits) if state is RequestState.PENDING else ()
        return StepAnswer(allow(), Asked(request, state)), msgspec.structs.replace(made, rows=(*made.rows, *counted))

    def _with_editors(self, edits: Ref, need: ApprovalNeed, facts: Facts) -> Request:
        """The request with all who ever edited something of this run into it, where people have to agree."""
        known = edited_into(edits, facts) if need.mode is not ApprovalMode.NONE else None
        if known is None:
            return self.request
        return msgspec.structs.replace(
            self.request,
            edited_from=self.request.edited_from or known.request_id,
            editors=tuple(dict.fromkeys((*self.request.editors, *known.editors))),
        )

    @property
    def _asked(self) -> str:
        """The digest of what is asked for and why."""
        return self.digester.digest("asked", _content(self.request))

    def _asked_before(self, facts: Facts, now: Instant) -> Request | None:
        """The same question, if it waits for people already: its id counts."""
        for row in pending_of(facts, self.run, now):
            if bond_of(row).asked == self._asked and not (row.revoked or row.held):
                return msgspec.structs.replace(self.request, request_id=RequestId(row.request_id))
        return None

    def _refuse_question(self, facts: Facts, now: Instant) -> Decision | None:
        """Why people are not asked this: too much of the run waits, or it has asked them too often (threat case 87)."""
        row = facts.get(RunRow, self.run.tenant, self.run.run_id)
        if row is None or row.denials >= DENIALS_LISTED:
            return too_many_denials(self.run.run_id)
        return refuse_many_pending(facts, self.policy_document, self.run, now)

    def _counted(self, facts: Facts, edits: Ref) -> tuple[Row, ...]:
        """The run with one question more; what people edited is no question of its own, and it is kept who did."""
        row = facts.get(RunRow, self.run.tenant, self.run.run_id)
        if self.request.edited_from is not None:
            made = EditedFrom(request_id=self.request.request_id, editors=self.request.editors)
            return (edit_row(edits, facts, made),)
        return (msgspec.structs.replace(row, denials=row.denials + 1),) if row is not None else ()

    def _made(self, request: Request, card: Card, need: ApprovalNeed, state: RequestState, recorded: int) -> Changes:
        rows = request_rows(
            request,
            card,
            state=state,
            recorded=recorded,
            use_by=self.run.expires_at,
            bond=Bond(asked=self._asked, editors=request.editors),
        )
        entry = request_entry(
            EntryKind.REQUEST_MADE,
            request,
            self.run,
            policy=self.policy,
            outcome=state,
            detail={
                "kind": request.kind,
                "card": request.card_digest,
                "reason": request.reason,
                "allow": describe_grants(request.allow),
                "budget": amounts_to_lines(request.budget),
                "approval": need.mode,
                "rule": need.rule,
                **edit_detail(request),
            },
        )
        accounts = open_accounts(self.run.tenant, request.request_id, request.budget)
        return Changes(rows=(*rows, *accounts), entries=(entry,))

    def _denied(self, facts: Facts, refusal: Decision) -> tuple[StepAnswer[Asked], Changes]:
        row = facts.get(RunRow, self.run.tenant, self.run.run_id)
        denied = request_entry(EntryKind.REQUEST_DENIED, self.request, self.run, decision=refusal)
        return StepAnswer(refusal), list_denial(row, denied, counted_entry(self.run, self.request.attempt))

    def _refuse(self, route: Route | None) -> Decision | None:
        if route is None:
            return None
        if refusal := refuse_agent(self.run, None):
            return refusal
        if self.request.ttl_seconds > route.max_ttl_seconds:
            return deny(
                Reason.TTL_TOO_LONG,
                f"a lease of {self.request.ttl_seconds} s was asked for",
                rule=f"routes.{route.name}.ttl",
                check=f"ttl {self.request.ttl_seconds} <= {route.max_ttl_seconds}",
                enough=f"{route.max_ttl_seconds} s, renewed while the run lasts",
            )
        if refusal := refuse_undelegated(route, self.run, self.request.allow):
            return refusal
        verdict = check_grants(self.policy_document, route.name, self.request.allow, self.above)
        return None if verdict.is_allowed else verdict

    def _complete(self, route: Route, asked: Request, need: ApprovalNeed, now: Instant) -> tuple[Request, Card]:
        depth = max(0, route.delegation.depth - len(self.run.ancestors))
        budget = {unit: min(limit, asked.budget.get(unit, limit)) for unit, limit in route.budget.items()}
        request = msgspec.structs.replace(
            asked,
            made_at=now.seconds,
            answer_by=min(now.seconds + route.answer_within_seconds, self.run.expires_at),
            policy=self.policy,
            deny=route.deny,
            budget=budget,
            ttl_seconds=asked.ttl_seconds or route.ttl_seconds,
            ends_on=tuple(action for action in route.ends_on if action in self._reach()),
            delegation_depth=min(asked.delegation_depth, depth) if asked.delegation_depth >= 0 else depth,
        )
        card = build_card(self.policy_document, self.run, request, need, edits=self.edits, facts=self.facts)
        digest = self.digester.digest("card", card_bytes(card))
        return msgspec.structs.replace(request, card_digest=digest), card

    def _reach(self) -> set[str]:
        """Everything that the lease could be used to do: what is asked for and all that it implies."""
        asked = self.request.allow
        return {*asked, *(name for action in asked for name in implied(self.policy_document, action))}


def _content(request: Request) -> bytes:
    """What a request asks for and why, in canonical bytes: two with equal content are one question."""
    said = (
        request.attempt,
        grants_to_json(request.allow),
        request.budget,
        request.ttl_seconds,
        request.delegation_depth,
        request.reason,
        request.tried,
    )
    return encode(msgspec.to_builtins(said))


def refuse_undelegated(route: Route, run: Run, actions: Iterable[str]) -> Decision | None:
    """Why a child run may not have these actions. Asked anew at each draw and call: the policy may have narrowed."""
    if not run.ancestors:
        return None
    if len(run.ancestors) > route.delegation.depth:
        return deny(
            Reason.NO_DELEGATION,
            f"{route.name} lets nobody delegate so deep",
            rule=f"routes.{route.name}.delegation.depth",
            check=f"{len(run.ancestors)} <= {route.delegation.depth}",
        )
    for action in actions:
        if action not in route.delegation.actions:
            return deny(
                Reason.NO_DELEGATION,
                f"{action} is not among the actions that {route.name} lets be delegated",
                rule=f"routes.{route.name}.delegation.actions",
                check=f"{action} in {list(route.delegation.actions)}",
            )
    return None


def lease_need(policy: Policy, route: str, grants: Grants) -> ApprovalNeed:
    """Who has to agree before a lease of these grants is drawn.

    One action that needs approval for the lease makes the whole request wait; actions that need it for each call ask
    then, not now. The effect is the strongest of those that wait, for that says how the answer has to be proven.
    """
    needs = [need_for_grants(policy, route, {action: grant}) for action, grant in sorted(grants.items())]
    waiting = [need for need in needs if need.mode is ApprovalMode.LEASE]
    if not waiting:
        return need_for_grants(policy, route, {})
    strictest = max(waiting, key=lambda need: (need.quorum, need.effect.rank))
    effect = max((need.effect for need in waiting), key=lambda effect: effect.rank)
    return msgspec.structs.replace(strictest, effect=effect)


def request_rows(
    request: Request,
    card: Card,
    *,
    state: RequestState,
    recorded: int,
    use_by: int,
    call_digest: str = "",
    bond: Bond = NO_BOND,
) -> tuple[Row, ...]:
    """The rows of a new request: its document, its card as shown, its state."""
    return (
        DocumentRow(tenant=request.tenant, id=request.request_id, body=encode_document(request)),
        CardRow(tenant=request.tenant, digest=request.card_digest, body=card_bytes(card)),
        RequestRow(
            tenant=request.tenant,
            request_id=request.request_id,
            run_id=request.run_id,
            kind=request.kind,
            state=state,
            attempt=request.attempt,
            answer_by=request.answer_by,
            use_by=use_by,
            recorded=recorded,
            call_digest=call_digest,
            card_digest=request.card_digest,
            answers=encode_answers(()),
            used_by="",
            ending="",
            bond=encode_bond(bond),
            revoked=0,
            held=0,
        ),
    )
