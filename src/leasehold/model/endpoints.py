"""Every endpoint of the HTTP API: its name, where it is, who may call it, what it takes, answers and refuses.

The server's routes, the remote faces and docs/openapi.json all come from this table.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum

import msgspec

from leasehold.model.api import (
    AdmissionAnswer,
    AdmitBody,
    AnswerBody,
    AnsweredAnswer,
    CardAnswer,
    EntriesAnswer,
    EntriesQuery,
    EscalateBody,
    EventLine,
    FinishBody,
    InboxAnswer,
    LeaseAnswer,
    PageQuery,
    RequestAnswer,
    RequestBody,
    RetryBody,
    RunAnswer,
    SignedAnswer,
    StartBody,
    StopBody,
    StoppedAnswer,
    StopsAnswer,
    WaitQuery,
)
from leasehold.model.call import Admission, Outcome, Settlement
from leasehold.model.decision import Reason
from leasehold.model.lease import HeldLease

__all__ = ["ENDPOINTS", "ApiScope", "Endpoint", "EndpointName"]


class ApiScope(StrEnum):
    """Whose credential an endpoint takes. Each opens its own endpoints and no other's."""

    RUNS = "runs"
    DOOR = "door"
    DESK = "desk"


class EndpointName(StrEnum):
    """What can be asked."""

    START = "start"
    RESUME = "resume"
    RETRY = "retry"
    FINISH = "finish"
    RECEIPT = "receipt"
    REQUEST = "request"
    ESCALATE = "escalate"
    REQUEST_STATE = "request_state"
    WITHDRAW = "withdraw"
    DRAW = "draw"
    RENEW = "renew"
    ADMIT = "admit"
    SETTLE = "settle"
    ADMISSION = "admission"
    EVENTS = "events"
    INBOX = "inbox"
    CARD = "card"
    ANSWER = "answer"
    REVOKE = "revoke"
    HOLD = "hold"
    LIFT = "lift"
    STOPS = "stops"
    ENTRIES = "entries"
    LEASE = "lease"


class Endpoint(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that can be asked over HTTP.

    `path` has its ids in braces. `scopes` are the credentials that it takes. `body` is None where none is taken.
    `is_keyed` says that the header `Idempotency-Key` has to stand there: the same key and body answer the same again.
    `is_stream` is an endless `text/event-stream` of `answer`. `reasons` are the refusals that are its own, besides the
    problems that any request may meet.
    """

    name: EndpointName
    method: str
    path: str
    scopes: tuple[ApiScope, ...]
    summary: str
    answer: type[msgspec.Struct]
    body: type[msgspec.Struct] | None = None
    query: type[msgspec.Struct] | None = None
    is_keyed: bool = False
    is_stream: bool = False
    reasons: tuple[Reason, ...] = ()


_RUNS = (ApiScope.RUNS,)
_DOOR = (ApiScope.DOOR,)
_DESK = (ApiScope.DESK,)
_OVER = (Reason.EXPIRED, Reason.REVOKED, Reason.HELD, Reason.RUN_FINISHED, Reason.STALE_ATTEMPT, Reason.STALE_EPOCH)
_ASKED = (
    *_OVER,
    Reason.ACTION_DENIED,
    Reason.BUDGET,
    Reason.NOT_GRANTED,
    Reason.OUT_OF_RANGE,
    Reason.POLICY_DENIES,
    Reason.TOO_MANY_PENDING,
    Reason.TTL_TOO_LONG,
    Reason.UNKNOWN_ACTION,
    Reason.WIDER_THAN_PARENT,
)
_DRAWN = (
    *_OVER,
    Reason.APPROVAL_DENIED,
    Reason.APPROVAL_EXPIRED,
    Reason.APPROVAL_NEEDED,
    Reason.COMPLETED,
    Reason.EDITED,
    Reason.POLICY_DENIES,
)
_ADMITTED = (
    *_ASKED,
    Reason.ALREADY_DONE,
    Reason.APPROVAL_DENIED,
    Reason.APPROVAL_NEEDED,
    Reason.BAD_ATTRIBUTE,
    Reason.BAD_TOKEN,
    Reason.CONFLICT,
    Reason.ENDING,
    Reason.FROZEN,
    Reason.IN_FLIGHT,
    Reason.KEY_NEEDED,
    Reason.NOT_FRESH,
    Reason.OUTCOME_UNKNOWN,
    Reason.OUTSIDE_HOURS,
    Reason.OUT_OF_ORDER,
    Reason.PREREQUISITE_OPEN,
    Reason.PREVIEW_NEEDED,
    Reason.STATE_MOVED,
    Reason.WRONG_ENVIRONMENT,
    Reason.WRONG_TOOL,
)

_TABLE = (
    Endpoint(
        name=EndpointName.START,
        method="POST",
        path="/v1/runs",
        scopes=_RUNS,
        summary="Start a run, or a child run under a lease",
        body=StartBody,
        answer=RunAnswer,
        is_keyed=True,
        reasons=(Reason.UNKNOWN_ROUTE, Reason.POLICY_DENIES, Reason.NO_DELEGATION, Reason.REVOKED, Reason.HELD),
    ),
    Endpoint(
        name=EndpointName.RESUME,
        method="GET",
        path="/v1/runs/{run_id}",
        scopes=_RUNS,
        summary="Take a run up again: its newest attempt",
        answer=RunAnswer,
    ),
    Endpoint(
        name=EndpointName.RETRY,
        method="POST",
        path="/v1/runs/{run_id}/retry",
        scopes=_RUNS,
        summary="Begin the next attempt; what older ones hold is dead",
        body=RetryBody,
        answer=RunAnswer,
        is_keyed=True,
        reasons=_OVER,
    ),
    Endpoint(
        name=EndpointName.FINISH,
        method="POST",
        path="/v1/runs/{run_id}/finish",
        scopes=_RUNS,
        summary="Finish a run and everything under it; answers its receipt",
        body=FinishBody,
        answer=SignedAnswer,
        reasons=(Reason.STALE_ATTEMPT,),
    ),
    Endpoint(
        name=EndpointName.RECEIPT,
        method="GET",
        path="/v1/runs/{run_id}/receipt",
        scopes=_RUNS,
        summary="The signed receipt of a run as of now",
        answer=SignedAnswer,
    ),
    Endpoint(
        name=EndpointName.REQUEST,
        method="POST",
        path="/v1/runs/{run_id}/requests",
        scopes=_RUNS,
        summary="Ask for a lease",
        body=RequestBody,
        answer=RequestAnswer,
        is_keyed=True,
        reasons=_ASKED,
    ),
    Endpoint(
        name=EndpointName.ESCALATE,
        method="POST",
        path="/v1/runs/{run_id}/escalations",
        scopes=_RUNS,
        summary="Ask for a lease of one operation",
        body=EscalateBody,
        answer=RequestAnswer,
        is_keyed=True,
        reasons=_ASKED,
    ),
    Endpoint(
        name=EndpointName.REQUEST_STATE,
        method="GET",
        path="/v1/requests/{request_id}",
        scopes=_RUNS,
        summary="Where a request stands; waits while it is pending",
        query=WaitQuery,
        answer=RequestAnswer,
    ),
    Endpoint(
        name=EndpointName.WITHDRAW,
        method="POST",
        path="/v1/requests/{request_id}/withdraw",
        scopes=_RUNS,
        summary="Take a pending request back",
        answer=RequestAnswer,
        reasons=(Reason.NOT_PENDING,),
    ),
    Endpoint(
        name=EndpointName.DRAW,
        method="POST",
        path="/v1/requests/{request_id}/lease",
        scopes=_RUNS,
        summary="Draw the next lease of an approved request",
        answer=HeldLease,
        is_keyed=True,
        reasons=_DRAWN,
    ),
    Endpoint(
        name=EndpointName.RENEW,
        method="POST",
        path="/v1/leases/{lease_id}/renew",
        scopes=_RUNS,
        summary="Draw the next lease of the same request",
        answer=HeldLease,
        is_keyed=True,
        reasons=_DRAWN,
    ),
    Endpoint(
        name=EndpointName.ADMIT,
        method="POST",
        path="/v1/admissions",
        scopes=_DOOR,
        summary="Ask for leave to start one call",
        body=AdmitBody,
        answer=Admission,
        reasons=_ADMITTED,
    ),
    Endpoint(
        name=EndpointName.SETTLE,
        method="POST",
        path="/v1/admissions/{admission_id}/settle",
        scopes=_DOOR,
        summary="Report how an admitted call went",
        body=Outcome,
        answer=Settlement,
        reasons=(Reason.ALREADY_SETTLED, Reason.WRONG_TOOL, Reason.WRONG_ENVIRONMENT),
    ),
    Endpoint(
        name=EndpointName.ADMISSION,
        method="GET",
        path="/v1/admissions/{admission_id}",
        scopes=_DOOR,
        summary="Whether a call has ended or may still go on; waits while nothing is new",
        query=WaitQuery,
        answer=AdmissionAnswer,
    ),
    Endpoint(
        name=EndpointName.EVENTS,
        method="GET",
        path="/v1/events",
        scopes=(ApiScope.RUNS, ApiScope.DOOR),
        summary="Stops and decided requests as they happen",
        answer=EventLine,
        is_stream=True,
    ),
    Endpoint(
        name=EndpointName.INBOX,
        method="GET",
        path="/v1/desk/requests",
        scopes=_DESK,
        summary="The requests that wait, as this person may see them",
        query=PageQuery,
        answer=InboxAnswer,
    ),
    Endpoint(
        name=EndpointName.CARD,
        method="GET",
        path="/v1/desk/requests/{request_id}/card",
        scopes=_DESK,
        summary="The card of a request, exactly as its digest covers it",
        answer=CardAnswer,
    ),
    Endpoint(
        name=EndpointName.ANSWER,
        method="POST",
        path="/v1/desk/requests/{request_id}/answer",
        scopes=_DESK,
        summary="Approve or deny a request, signed by the person's own key",
        body=AnswerBody,
        answer=AnsweredAnswer,
        reasons=(
            Reason.BAD_SIGNATURE,
            Reason.CARD_CHANGED,
            Reason.NOT_ENTITLED,
            Reason.NOT_PENDING,
            Reason.OWN_REQUEST,
            Reason.PASSKEY_NEEDED,
        ),
    ),
    Endpoint(
        name=EndpointName.REVOKE,
        method="POST",
        path="/v1/desk/revoke",
        scopes=_DESK,
        summary="Kill everything recorded so far in a scope, for good",
        body=StopBody,
        answer=StoppedAnswer,
        reasons=(Reason.NOT_ENTITLED,),
    ),
    Endpoint(
        name=EndpointName.HOLD,
        method="POST",
        path="/v1/desk/hold",
        scopes=_DESK,
        summary="Let nothing start in a scope until the hold is lifted",
        body=StopBody,
        answer=StoppedAnswer,
        reasons=(Reason.NOT_ENTITLED,),
    ),
    Endpoint(
        name=EndpointName.LIFT,
        method="POST",
        path="/v1/desk/lift",
        scopes=_DESK,
        summary="Lift a hold",
        body=StopBody,
        answer=StoppedAnswer,
        reasons=(Reason.NOT_ENTITLED,),
    ),
    Endpoint(
        name=EndpointName.STOPS,
        method="GET",
        path="/v1/desk/stops",
        scopes=_DESK,
        summary="What is held or revoked now",
        answer=StopsAnswer,
    ),
    Endpoint(
        name=EndpointName.ENTRIES,
        method="GET",
        path="/v1/desk/entries",
        scopes=_DESK,
        summary="Ledger entries, the newest first",
        query=EntriesQuery,
        answer=EntriesAnswer,
    ),
    Endpoint(
        name=EndpointName.LEASE,
        method="GET",
        path="/v1/desk/leases/{lease_id}",
        scopes=_DESK,
        summary="A lease as every door would judge it now",
        answer=LeaseAnswer,
    ),
)

ENDPOINTS: Mapping[EndpointName, Endpoint] = {endpoint.name: endpoint for endpoint in _TABLE}
"""All endpoints by name, in the order of the documentation."""
