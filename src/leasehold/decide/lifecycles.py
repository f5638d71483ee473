"""The life cycles as tables: (state, event) to the next state. A pair that is missing is an error, never a default.

Steps move rows only through `advance`; the diagrams in docs/lifecycles.md are drawn from these tables.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import TypeVar

from leasehold.errors import TransitionError
from leasehold.model.call import CallState
from leasehold.model.request import RequestState

__all__ = [
    "CALL_TABLE",
    "DELIVERY_TABLE",
    "GLASS_TABLE",
    "LEASE_TABLE",
    "REQUEST_TABLE",
    "RUN_TABLE",
    "CallEvent",
    "ClientKeyState",
    "DeliveryEvent",
    "DeliveryState",
    "GlassEvent",
    "GlassState",
    "LeaseEvent",
    "LeaseState",
    "PersonState",
    "RequestEvent",
    "RunEvent",
    "RunState",
    "SessionState",
    "advance",
]


class PersonState(StrEnum):
    """Where a person stands: known here by a key or a sign-in, or removed. `key` marks the row that says whose a key
    was, so that nobody else can bring it. `left` is who was let go: nothing starts for them until they are added again.
    """

    ACTIVE = "active"
    REMOVED = "removed"
    LEFT = "left"
    KEY = "key"


class ClientKeyState(StrEnum):
    """Whether the API key of a client was taken away; whether it has expired is read off the clock."""

    ACTIVE = "active"
    REMOVED = "removed"


class SessionState(StrEnum):
    """Where a session stands, as far as it was written down: most end by the clock, or with what they rest on."""

    OPEN = "open"
    ENDED = "ended"


class RunState(StrEnum):
    """Where a run stands."""

    OPEN = "open"
    FINISHED = "finished"


class RunEvent(StrEnum):
    """What ends a run."""

    FINISH = "finish"


class LeaseState(StrEnum):
    """Where a lease stands; `active` for a child also needs every lease above it to be active."""

    ACTIVE = "active"
    EXPIRED = "expired"
    EXHAUSTED = "exhausted"
    COMPLETED = "completed"
    SUPERSEDED = "superseded"
    REVOKED = "revoked"


class LeaseEvent(StrEnum):
    """What ends a lease."""

    EXPIRE = "expire"
    EXHAUST = "exhaust"
    COMPLETE = "complete"
    SUPERSEDE = "supersede"
    REVOKE = "revoke"


class RequestEvent(StrEnum):
    """What moves a request."""

    APPROVE = "approve"
    DENY = "deny"
    TIME_OUT = "time_out"
    WITHDRAW = "withdraw"
    SUPERSEDE = "supersede"
    USE = "use"
    RETURN = "return"
    LAPSE = "lapse"
    COMPLETE = "complete"


class CallEvent(StrEnum):
    """How an admitted call ends."""

    DONE = "done"
    FAIL = "fail"
    NOT_START = "not_start"
    TIME_OUT = "time_out"


class DeliveryState(StrEnum):
    """Where a notice stands on its way. `overtaken` is one that was no longer true when its turn came."""

    WAITING = "waiting"
    DELIVERED = "delivered"
    OVERTAKEN = "overtaken"
    GIVEN_UP = "given_up"


class DeliveryEvent(StrEnum):
    """What moves a notice on; a try that failed and will be repeated leaves it waiting."""

    DELIVER = "deliver"
    OVERTAKE = "overtake"
    GIVE_UP = "give_up"
    RETRY = "retry"


class GlassState(StrEnum):
    """Where a break-glass stands. A proposed one waits for its second person, a closed one wants a written review."""

    PROPOSED = "proposed"
    DECLINED = "declined"
    LAPSED = "lapsed"
    OPEN = "open"
    CLOSED = "closed"
    REVIEWED = "reviewed"


class GlassEvent(StrEnum):
    """What moves a break-glass: the second person's word, or the want of it; its end, by a person, by the clock or by a
    stop; and what another person says of it."""

    CONFIRM = "confirm"
    DECLINE = "decline"
    LAPSE = "lapse"
    CLOSE = "close"
    REVIEW = "review"


GLASS_TABLE: Mapping[tuple[GlassState, GlassEvent], GlassState] = {
    (GlassState.PROPOSED, GlassEvent.CONFIRM): GlassState.OPEN,
    (GlassState.PROPOSED, GlassEvent.DECLINE): GlassState.DECLINED,
    (GlassState.PROPOSED, GlassEvent.LAPSE): GlassState.LAPSED,
    (GlassState.OPEN, GlassEvent.CLOSE): GlassState.CLOSED,
    (GlassState.CLOSED, GlassEvent.REVIEW): GlassState.REVIEWED,
}

RUN_TABLE: Mapping[tuple[RunState, RunEvent], RunState] = {
    (RunState.OPEN, RunEvent.FINISH): RunState.FINISHED,
}

LEASE_TABLE: Mapping[tuple[LeaseState, LeaseEvent], LeaseState] = {
    (LeaseState.ACTIVE, LeaseEvent.EXPIRE): LeaseState.EXPIRED,
    (LeaseState.ACTIVE, LeaseEvent.EXHAUST): LeaseState.EXHAUSTED,
    (LeaseState.ACTIVE, LeaseEvent.COMPLETE): LeaseState.COMPLETED,
    (LeaseState.ACTIVE, LeaseEvent.SUPERSEDE): LeaseState.SUPERSEDED,
    (LeaseState.ACTIVE, LeaseEvent.REVOKE): LeaseState.REVOKED,
}

REQUEST_TABLE: Mapping[tuple[RequestState, RequestEvent], RequestState] = {
    (RequestState.PENDING, RequestEvent.APPROVE): RequestState.APPROVED,
    (RequestState.PENDING, RequestEvent.DENY): RequestState.DENIED,
    (RequestState.PENDING, RequestEvent.TIME_OUT): RequestState.EXPIRED,
    (RequestState.PENDING, RequestEvent.WITHDRAW): RequestState.WITHDRAWN,
    (RequestState.PENDING, RequestEvent.SUPERSEDE): RequestState.SUPERSEDED,
    (RequestState.APPROVED, RequestEvent.USE): RequestState.USED,
    (RequestState.APPROVED, RequestEvent.LAPSE): RequestState.LAPSED,
    (RequestState.USED, RequestEvent.USE): RequestState.USED,
    (RequestState.USED, RequestEvent.RETURN): RequestState.APPROVED,
    (RequestState.USED, RequestEvent.COMPLETE): RequestState.COMPLETED,
}

CALL_TABLE: Mapping[tuple[CallState, CallEvent], CallState] = {
    (CallState.ADMITTED, CallEvent.DONE): CallState.DONE,
    (CallState.ADMITTED, CallEvent.FAIL): CallState.FAILED,
    (CallState.ADMITTED, CallEvent.NOT_START): CallState.NOT_STARTED,
    (CallState.ADMITTED, CallEvent.TIME_OUT): CallState.UNKNOWN,
}

DELIVERY_TABLE: Mapping[tuple[DeliveryState, DeliveryEvent], DeliveryState] = {
    (DeliveryState.WAITING, DeliveryEvent.DELIVER): DeliveryState.DELIVERED,
    (DeliveryState.WAITING, DeliveryEvent.OVERTAKE): DeliveryState.OVERTAKEN,
    (DeliveryState.WAITING, DeliveryEvent.GIVE_UP): DeliveryState.GIVEN_UP,
    (DeliveryState.GIVEN_UP, DeliveryEvent.RETRY): DeliveryState.WAITING,
}

S = TypeVar("S", bound=StrEnum)
E = TypeVar("E", bound=StrEnum)


def advance(table: Mapping[tuple[S, E], S], state: S, event: E) -> S:
    """The state after the event.

    Raises:
        TransitionError: the table has no such pair.
    """
    try:
        return table[(state, event)]
    except KeyError:
        raise TransitionError(f"{event} cannot happen to what is {state}") from None
