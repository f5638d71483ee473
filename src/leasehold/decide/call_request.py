"""A call that people have to decide on first: its request, its card, and what an approval of it is bound to.

Made by admit where no approval counts yet; the same digests are looked up when the call comes again.
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec
from msgspec.structs import replace

from leasehold.decide.cards import CallShown, build_card
from leasehold.decide.chain import Chain
from leasehold.decide.entries import describe_grants, request_entry
from leasehold.decide.facts import Changes
from leasehold.decide.request import request_rows
from leasehold.ledger.entry import Entry, EntryKind
from leasehold.model.canonical import Json, encode
from leasehold.model.card import Card, card_bytes
from leasehold.model.decision import Decision, Reason, deny
from leasehold.model.effect import ApprovalMode, Effect
from leasehold.model.grant import Attributes, Grant, OneOf
from leasehold.model.ids import RequestId
from leasehold.model.instant import Instant
from leasehold.model.request import Request, RequestKind, RequestState
from leasehold.policy.document import Policy, Route
from leasehold.policy.evaluate import ApprovalNeed
from leasehold.token.digest import Digester

__all__ = ["ProposedCall", "approval_needed", "call_digest", "exact_grant"]


class ProposedCall(msgspec.Struct, frozen=True, kw_only=True):
    """One exact call under one chain of leases, and who has to agree to it.

    `arguments` is the value of the call's canonical bytes, `attributes` what the live policy derives from them;
    `request_id` is the id that the request gets.
    """

    policy_document: Policy
    digester: Digester
    chain: Chain
    action: str
    attributes: Attributes
    arguments: Mapping[str, Json]
    key: str | None
    need: ApprovalNeed
    request_id: RequestId
    arguments_digest: str
    call_digest: str

    def ask(self, route: Route, recorded: int, now: Instant) -> Changes:
        """The rows and the entry of a new request for exactly this call; `recorded` is the index of the entry."""
        request, card = self._request(route, now)
        rows = request_rows(
            request,
            card,
            state=RequestState.PENDING,
            recorded=recorded,
            use_by=self.chain[-1].run.expires_at,
            call_digest=self.call_digest,
        )
        return Changes(rows=rows, entries=(self._entry(request),))

    def _request(self, route: Route, now: Instant) -> tuple[Request, Card]:
        leaf = self.chain[-1]
        request = Request(
            request_id=self.request_id,
            kind=RequestKind.CALL,
            tenant=leaf.run.tenant,
            run_id=leaf.run.run_id,
            attempt=leaf.lease.attempt,
            reason=leaf.lease.reason,
            made_at=now.seconds,
            answer_by=min(now.seconds + route.answer_within_seconds, leaf.run.expires_at),
            policy=self.policy_document.hash,
            card_digest="",
            allow={self.action: exact_grant(self.action, self.attributes)},
            deny=leaf.lease.deny,
            key=self.key,
            lease_request=leaf.lease.request_id,
            lease_id=leaf.lease.lease_id,
        )
        card = build_card(
            self.policy_document,
            leaf.run,
            request,
            self.need,
            call=CallShown(
                arguments=self.arguments, arguments_digest=self.arguments_digest, call_digest=self.call_digest
            ),
        )
        return replace(request, card_digest=self.digester.digest("card", card_bytes(card))), card

    def _entry(self, request: Request) -> Entry:
        leaf = self.chain[-1]
        return request_entry(
            EntryKind.REQUEST_MADE,
            request,
            leaf.run,
            policy=self.policy_document.hash,
            outcome=RequestState.PENDING,
            lease=leaf.lease.lease_id,
            action=self.action,
            effect=self.policy_document.action(self.action).effect,
            attributes=dict(self.attributes),
            arguments_digest=self.arguments_digest,
            key=self.key or "",
            detail={
                "kind": request.kind,
                "card": request.card_digest,
                "call": self.call_digest,
                "lease_request": leaf.lease.request_id,
                "reason": request.reason,
                "allow": describe_grants(request.allow),
                "approval": ApprovalMode.CALL,
            },
        )


def approval_needed(request_id: str) -> Decision:
    """The refusal of a call that waits for people, with the request to wait on."""
    refusal = deny(
        Reason.APPROVAL_NEEDED,
        f"people have to approve this exact call first: {request_id}",
        check="an approved request for this call",
        enough=f"wait on {request_id}, then make the same call again",
    )
    return replace(refusal, request_id=request_id)


def call_digest(
    digester: Digester, chain: Chain, action: str, effect: Effect, arguments_digest: str, key: str | None
) -> str:
    """What an approval of one call is bound to: everything that matters, nothing cosmetic (DESIGN §1)."""
    leaf = chain[-1]
    bound: dict[str, object] = {
        "tenant": leaf.run.tenant,
        "run": leaf.run.run_id,
        "attempt": leaf.lease.attempt,
        "lease_request": leaf.lease.request_id,
        "action": action,
        "effect": str(effect),
        "key": key,
        "arguments": arguments_digest,
    }
    return digester.digest("call", encode(bound))


def exact_grant(action: str, attributes: Attributes) -> Grant:
    """The grant that covers exactly one call."""
    return Grant(action, {name: OneOf(values=tuple(dict.fromkeys(values))) for name, values in attributes.items()})
