"""A call that people have to decide on first: its request, its card, and what an approval of it is bound to.

Made by admit where no approval counts yet; the same digests are looked up when the call comes again.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property

import msgspec
from msgspec.structs import replace

from leasehold.decide.bond import Bond, EditedFrom, card_terms
from leasehold.decide.cards import CallShown, build_card
from leasehold.decide.chain import Chain
from leasehold.decide.edited import edits_of_call
from leasehold.decide.entries import describe_grants, edit_detail, request_entry
from leasehold.decide.facts import Changes, Ref
from leasehold.decide.request import request_rows
from leasehold.ledger.entry import Entry, EntryKind
from leasehold.model.canonical import Json, encode
from leasehold.model.card import Card, Change, card_bytes
from leasehold.model.decision import Decision, Reason, deny
from leasehold.model.effect import ApprovalMode, Effect
from leasehold.model.grant import Attributes, Grant, OneOf
from leasehold.model.ids import RequestId
from leasehold.model.instant import Instant
from leasehold.model.preview import PreviewMade, preview_bytes
from leasehold.model.request import Request, RequestKind, RequestState
from leasehold.policy.document import Policy, Route
from leasehold.policy.evaluate import ApprovalNeed
from leasehold.token.digest import Digester

__all__ = ["ProposedCall", "approval_needed", "call_digest", "exact_grant"]


class ProposedCall(msgspec.Struct, frozen=True, kw_only=True, dict=True):
    """One exact call under one chain of leases, and who has to agree to it.

    `arguments` is the value of the call's canonical bytes, `attributes` what the live policy derives from them;
    `request_id` is the id that the request gets. `earlier_card` is the newest card of this call that waits or was
    approved, as far as it was read beforehand: a new card says how things moved since then. `edited` is what people
    made the call of.
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
    tool_schema: str = ""
    preview: PreviewMade | None = None
    earlier_card: Card | None = None
    edited: EditedFrom | None = None

    @property
    def tenant(self) -> str:
        """The run's tenant."""
        return self.chain[-1].run.tenant

    @property
    def preview_action(self) -> str:
        """The read that says what the action would change, empty where none is declared."""
        return self.policy_document.action(self.action).preview

    @property
    def edits(self) -> Ref:
        """Where it stands who edited something into this call."""
        return edits_of_call(self.digester, self.chain[-1].run, self.action, self.arguments_digest)

    @cached_property
    def preview_digest(self) -> str:
        """The digest of all that the preview says, empty where there is none."""
        return self.digester.digest("preview", preview_bytes(self.preview.preview)) if self.preview else ""

    @cached_property
    def terms(self) -> str:
        """The digest of what the live policy says of the call on a card."""
        card = self._card(self._request(made_at=0, answer_by=0), ())
        return self.digester.digest("terms", card_terms(card, self.preview_action))

    def ask(self, route: Route, recorded: int, now: Instant, moved: tuple[Change, ...] = ()) -> Changes:
        """The rows and the entry of a new request for exactly this call; `recorded` is the index of the entry."""
        answer_by = min(now.seconds + route.answer_within_seconds, self.chain[-1].run.expires_at)
        request = self._request(made_at=now.seconds, answer_by=answer_by)
        card = self._card(request, moved)
        request = replace(request, card_digest=self.digester.digest("card", card_bytes(card)))
        rows = request_rows(
            request,
            card,
            state=RequestState.PENDING,
            recorded=recorded,
            use_by=self.chain[-1].run.expires_at,
            call_digest=self.call_digest,
            bond=Bond(
                preview=self.preview_digest, terms=self.terms, editors=self.edited.editors if self.edited else ()
            ),
        )
        return Changes(rows=rows, entries=(self._entry(request),))

    def _request(self, *, made_at: int, answer_by: int) -> Request:
        leaf = self.chain[-1]
        return Request(
            request_id=self.request_id,
            kind=RequestKind.CALL,
            tenant=leaf.run.tenant,
            run_id=leaf.run.run_id,
            attempt=leaf.lease.attempt,
            reason=leaf.lease.reason,
            made_at=made_at,
            answer_by=answer_by,
            policy=self.policy_document.hash,
            card_digest="",
            allow={self.action: exact_grant(self.action, self.attributes)},
            deny=leaf.lease.deny,
            key=self.key,
            lease_request=leaf.lease.request_id,
            lease_id=leaf.lease.lease_id,
            edited_from=self.edited.request_id if self.edited else None,
            editors=self.edited.editors if self.edited else (),
        )

    def _card(self, request: Request, moved: tuple[Change, ...]) -> Card:
        shown = CallShown(
            arguments=self.arguments,
            arguments_digest=self.arguments_digest,
            call_digest=self.call_digest,
            tool_schema=self.tool_schema,
            preview=self.preview.preview if self.preview else None,
            preview_digest=self.preview_digest,
            moved=moved,
        )
        edits = self.edited.changes if self.edited else ()
        return build_card(self.policy_document, self.chain[-1].run, request, self.need, call=shown, edits=edits)

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
                **edit_detail(request),
                **({"tool_schema": self.tool_schema} if self.tool_schema else {}),
                **({"preview": self.preview_digest, "previewed_by": self.preview.admission_id} if self.preview else {}),
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
    digester: Digester,
    chain: Chain,
    action: str,
    effect: Effect,
    arguments_digest: str,
    key: str | None,
    tool_schema: str = "",
) -> str:
    """Which call an approval is for: everything that matters, nothing cosmetic (DESIGN §1)."""
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
        "tool_schema": tool_schema,
    }
    return digester.digest("call", encode(bound))


def exact_grant(action: str, attributes: Attributes) -> Grant:
    """The grant that covers exactly one call."""
    return Grant(action, {name: OneOf(values=tuple(dict.fromkeys(values))) for name, values in attributes.items()})
