"""What travels between an authority and its callers over HTTP: the bodies they send and the answers they get.

`leasehold.http` validates with these types and `leasehold.client` speaks them; docs/openapi.json is made from them. The
model's own values travel as they are. What callers write themselves, grants and amounts, has the shape of a policy
file. Bodies are strict: an unknown member, a member named twice or a value of another type is refused.
"""

from __future__ import annotations

from typing import Annotated, Any

import msgspec

from leasehold.errors import InvalidError
from leasehold.model.call import Admission, Call, CallState, HolderProof, ParentCall
from leasehold.model.canonical import decode, encode
from leasehold.model.card import Card, Footer
from leasehold.model.decision import Decision
from leasehold.model.grant import grants_from_json, grants_to_json
from leasehold.model.ids import AdmissionId
from leasehold.model.lease import Lease
from leasehold.model.preview import PreviewMade
from leasehold.model.request import Request, RequestState, Verdict
from leasehold.model.run import Run

__all__ = [
    "ALL_DEPTH",
    "MAX_PAGE",
    "MAX_WAIT_SECONDS",
    "AdmissionAnswer",
    "AdmitBody",
    "AnswerBody",
    "AnsweredAnswer",
    "CallBody",
    "CardAnswer",
    "EntriesAnswer",
    "EntriesQuery",
    "EscalateBody",
    "EventLine",
    "FinishBody",
    "InboxAnswer",
    "InboxItem",
    "LeaseAnswer",
    "PageQuery",
    "ParentBody",
    "RequestAnswer",
    "RequestBody",
    "RetryBody",
    "RunAnswer",
    "SignatureAnswer",
    "SignedAnswer",
    "StandingStop",
    "StartBody",
    "StopBody",
    "StoppedAnswer",
    "StopsAnswer",
    "WaitQuery",
]

MAX_WAIT_SECONDS = 60
MAX_PAGE = 200
ALL_DEPTH = -1
"""Ask for as much delegation as the route allows."""

GrantsBody = dict[str, dict[str, Any]]
"""Actions, each with what its attributes may be, as a policy file writes them: `{"ticket.close": {"ticket": ["T-1"]}}`.
`leasehold.model.grant.grants_from_json` reads it."""
AmountsBody = dict[str, int | str]
"""Amounts by unit, as a policy file writes them: `{"calls": 3, "usd": "0.50"}`."""

Wait = Annotated[int, msgspec.Meta(ge=0, le=MAX_WAIT_SECONDS, description="seconds to wait for a change")]
Limit = Annotated[int, msgspec.Meta(ge=1, le=MAX_PAGE, description="how many at most")]
Attempt = Annotated[int, msgspec.Meta(ge=1, description="the attempt that the caller holds; a newer one fences it off")]
Name = Annotated[str, msgspec.Meta(max_length=200)]
Text = Annotated[str, msgspec.Meta(max_length=2000)]
Opaque = Annotated[str, msgspec.Meta(max_length=16_384)]


class Body(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What every body and query is: closed."""


# Runs


class StartBody(Body, frozen=True, kw_only=True):
    """Start a run, or with `parent_lease` a child run under a lease of a run of the caller's.

    A child has its parent's route, tenant, environment and requester; they are left out. `subject_token`, of a trusted
    issuer at which people sign in, proves who asks; without it `requested_by` is what the caller says, and *asserted*.
    """

    agent: Name
    purpose: Text
    route: Name = ""
    tenant: Name = ""
    environment: Name = ""
    requested_by: Name = ""
    subject_token: Opaque = ""
    parent_lease: Name = ""


class RunAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """A run, its newest attempt, and whether it is `open` or `finished`."""

    run: Run
    attempt: int
    state: str


class RetryBody(Body, frozen=True, kw_only=True):
    """Begin the next attempt after this one."""

    attempt: Attempt


class FinishBody(Body, frozen=True, kw_only=True):
    """Finish a run, as the host of this attempt. The answer is the receipt, byte for byte."""

    attempt: Attempt


class RequestBody(Body, frozen=True, kw_only=True):
    """Ask for a lease. `budget` and `ttl_seconds` (0) default to the route's; `tried` is what was tried before."""

    attempt: Attempt
    allow: GrantsBody
    reason: Text
    budget: AmountsBody = {}
    ttl_seconds: int = 0
    delegation_depth: int = ALL_DEPTH
    tried: tuple[Text, ...] = ()


class EscalateBody(Body, frozen=True, kw_only=True):
    """Ask for a lease of one operation that is dead after some seconds."""

    attempt: Attempt
    action: Name
    attributes: dict[str, Any]
    reason: Text
    seconds: int = 60
    tried: tuple[Text, ...] = ()


class RequestAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """A request as it was asked and where it stands. What has no answer in time is `expired`."""

    request: Request
    state: RequestState


# Door


class ProofBody(Body, frozen=True, kw_only=True):
    """The proof of possession (RFC 9449) that came with a bound token, and the request that it came with."""

    jwt: Opaque
    method: Name
    url: Annotated[str, msgspec.Meta(max_length=2048)]


class ParentBody(Body, frozen=True, kw_only=True):
    """The open call on whose behalf a sub-call is made, and what it was narrowed to."""

    admission_id: AdmissionId
    allow: GrantsBody


class CallBody(Body, frozen=True, kw_only=True):
    """One proposed use, as `leasehold.model.call.Call` describes it; the arguments are a JSON object.

    The authority makes their canonical bytes (RFC 8785), which is what people approve and what the ledger digests.
    """

    action: Name
    arguments: dict[str, Any]
    admission_id: AdmissionId
    key: Name | None = None
    call_id: Name = ""
    trace_id: Name = ""
    parent: ParentBody | None = None
    tool_authority: bool = False
    tool_schema: Name = ""
    preview: PreviewMade | None = None

    @classmethod
    def of_call(cls, call: Call) -> CallBody:
        """A call as it travels.

        Raises:
            InvalidError: its arguments are no JSON object.
        """
        arguments = decode(call.arguments)
        if not isinstance(arguments, dict):
            raise InvalidError("arguments are the canonical JSON (RFC 8785) of one object")
        parent = call.parent
        return cls(
            action=call.action,
            arguments=arguments,
            admission_id=call.admission_id,
            key=call.key,
            call_id=call.call_id,
            trace_id=call.trace_id,
            parent=ParentBody(admission_id=parent.admission_id, allow=grants_to_json(parent.allow)) if parent else None,
            tool_authority=call.tool_authority,
            tool_schema=call.tool_schema,
            preview=call.preview,
        )

    def to_call(self) -> Call:
        """The call that travelled.

        Raises:
            InvalidError: a member cannot be what it claims to be.
        """
        parent = self.parent
        return Call(
            action=self.action,
            arguments=encode(self.arguments),
            admission_id=self.admission_id,
            key=self.key,
            call_id=self.call_id,
            trace_id=self.trace_id,
            parent=ParentCall(admission_id=parent.admission_id, allow=grants_from_json(parent.allow))
            if parent
            else None,
            tool_authority=self.tool_authority,
            tool_schema=self.tool_schema,
            preview=self.preview,
        )


class AdmitBody(Body, frozen=True, kw_only=True):
    """Ask for leave to start one call. Sending it again under the same admission id answers the same admission.

    The answer is a `leasehold.model.call.Admission`. Tool and environment are those of the guard's own credential.
    """

    token: Opaque
    call: CallBody
    proof: ProofBody | None = None

    @classmethod
    def of_call(cls, token: str, call: Call) -> AdmitBody:
        """A call as it travels, with its token and the proof that came with that.

        Raises:
            InvalidError: its arguments are no JSON object.
        """
        proof = call.holder_proof
        body = ProofBody(jwt=proof.jwt, method=proof.method, url=proof.url) if proof is not None else None
        return cls(token=token, call=CallBody.of_call(call), proof=body)

    def to_call(self) -> Call:
        """The call that travelled.

        Raises:
            InvalidError: a member cannot be what it claims to be.
        """
        call, proof = self.call.to_call(), self.proof
        if proof is None:
            return call
        holder = HolderProof(jwt=proof.jwt, method=proof.method, url=proof.url)
        return msgspec.structs.replace(call, holder_proof=holder)


class AdmissionAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """Where an admitted call stands.

    `refusal` says why it would not be let go on now, holds included; `end` what of it or above it is over for good. Who
    waits gets an answer when the call is open no more or there is an `end`.
    """

    admission_id: AdmissionId
    state: CallState
    refusal: Decision | None = None
    end: Decision | None = None


# both


class EventLine(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The data of one event of the stream `/v1/events`, whose name is `stops` or `request`.

    `stops` says that what is held or revoked has changed where the caller has rights: look at what is under way.
    `request` says that a request of a run of the caller's is not pending any more.
    """

    request_id: str = ""
    run_id: str = ""
    state: str = ""
    stops: tuple[StandingStop, ...] = ()


class StandingStop(msgspec.Struct, frozen=True, kw_only=True):
    """One stop in force. `tenant` is empty where it counts in every tenant; `at` is in Unix seconds."""

    tenant: str
    scope: str
    kind: str
    at: int
    by: str = ""
    reason: str = ""


# Desk


class InboxItem(msgspec.Struct, frozen=True, kw_only=True):
    """A request that waits. `refusal` says why this person may not answer it now, null that they may.

    `approvals` are the people whose approval counts so far, `missing` how many more it takes.
    """

    request: Request
    run: Run
    state: RequestState
    answer_by: int
    approvals: tuple[str, ...]
    missing: int
    refusal: Decision | None = None


class InboxAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """Requests that wait, the oldest first; `next` is the `after` of the next page, empty on the last."""

    items: tuple[InboxItem, ...]
    next: str = ""


class CardAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """A card exactly as its digest covers it, and how it stands with it now."""

    card: Card
    footer: Footer


class AnswerBody(Body, frozen=True, kw_only=True):
    """A person's answer, signed by their own key over exactly this (`leasehold answer v1`; docs/api.md).

    `shown` is the SHA-256, in hex, of the canonical JSON of the `card` that they were shown: only the authority can
    compute its digest, so without this a server between could show another card under the digest of the true one.
    """

    verdict: Verdict
    card_digest: Name
    shown: Annotated[str, msgspec.Meta(pattern="^[0-9a-f]{64}$")]
    answered_at: int
    signature: Name
    reason: Text = ""


class AnsweredAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """Where a request stands after an answer, and how many approvals it still needs."""

    state: RequestState
    approvals_missing: int


class StopBody(Body, frozen=True, kw_only=True):
    """Revoke, hold or lift a scope, such as `run:run_01JZ…`, `tool:deploy.prod` or `all`; empty `tenant`: in every."""

    scope: Annotated[str, msgspec.Meta(max_length=400)]
    reason: Text
    tenant: Name = ""


class StoppedAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """The calls in the scope that had been admitted and were not settled yet; nothing else starts.

    `unreadable` are ids of open calls whose stored admission is damaged: they may be in the scope or not.
    """

    scope: str
    in_flight: tuple[Admission, ...] = ()
    unreadable: tuple[str, ...] = ()


class StopsAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """What is held or revoked now, the newest first."""

    items: tuple[StandingStop, ...]


class EntriesAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """Ledger entries, the newest first; `next` is the `before` of the next page, empty on the last."""

    items: tuple[dict[str, Any], ...]
    next: str = ""


class LeaseAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """A lease as every door would judge it now: `status` is `active` or why it is not. Amounts in millionths."""

    lease: Lease
    status: str
    decision: Decision
    seconds_left: int
    left: dict[str, int]


# receipts


class SignatureAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """One signature of a receipt, base64."""

    keyid: str
    sig: str


class SignedAnswer(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """A receipt: a DSSE envelope around an in-toto statement. `leasehold receipt verify` reads it as it is."""

    payload_type: str
    payload: str
    signatures: tuple[SignatureAnswer, ...]


# queries


class WaitQuery(Body, frozen=True, kw_only=True):
    """Answer at once, or as soon as there is something new, at the latest after `wait` seconds."""

    wait: Wait = 0


class PageQuery(Body, frozen=True, kw_only=True):
    """One page: what comes after the last one's `next`."""

    limit: Limit = 50
    after: Name = ""


class EntriesQuery(Body, frozen=True, kw_only=True):
    """Which ledger entries: all that meet every condition given. `before` is the `next` of the page before."""

    tenant: Name = ""
    run: Name = ""
    lease: Name = ""
    agent: Name = ""
    person: Name = ""
    action: Name = ""
    key: Name = ""
    admission: Name = ""
    decision: Name = ""
    limit: Limit = 50
    before: Annotated[int, msgspec.Meta(ge=0, le=2**53 - 1)] | None = None
