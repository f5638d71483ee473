"""A request for a lease or for one call, and the answers that people gave to it (requirements P9-P12, F1, F3)."""

from __future__ import annotations

from enum import StrEnum

import msgspec

from leasehold.errors import InvalidError
from leasehold.model.grant import Grant
from leasehold.model.ids import LeaseId, RequestId, RunId, check_id
from leasehold.model.proof import AnswerProof, vouched_by
from leasehold.model.text import check_unicode

__all__ = ["Answer", "Request", "RequestKind", "RequestState", "Verdict", "not_decided"]


class RequestKind(StrEnum):
    """What is asked for: a lease that draws again and again, or one call."""

    LEASE = "lease"
    CALL = "call"


class RequestState(StrEnum):
    """Where a request stands. A time-out is `expired`, never a denial."""

    PENDING = "pending"
    APPROVED = "approved"
    USED = "used"
    DENIED = "denied"
    EXPIRED = "expired"
    WITHDRAWN = "withdrawn"
    SUPERSEDED = "superseded"
    LAPSED = "lapsed"
    COMPLETED = "completed"


class Verdict(StrEnum):
    """A person's word."""

    APPROVE = "approve"
    DENY = "deny"


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """One person's immutable answer to a card digest, and how they proved who they are. Time in Unix seconds."""

    person: str
    verdict: Verdict
    answered_at: int
    proof: AnswerProof
    reason: str = ""
    same_account: bool = False

    @property
    def vouched_by(self) -> str:
        """What vouched for the person: a key's thumbprint, a sign-in's id, a user of a chat."""
        return vouched_by(self.proof)


class Request(msgspec.Struct, frozen=True, kw_only=True):
    """What was asked. Immutable; its state and answers stand in its row. Amounts in millionths, times Unix seconds.

    A lease request uses `allow`, `deny`, `budget`, `ttl_seconds`, `ends_on` and `delegation_depth`. A call request has
    one exact grant in `allow`, its `key`, and the lease and lease request that it was made under. `tried` lists what
    the run already tried, for an escalation. `edited_from` is the request that people edited into this one, `editors`
    are all who did: they count as co-requesters.
    """

    request_id: RequestId
    kind: RequestKind
    tenant: str
    run_id: RunId
    attempt: int
    reason: str
    made_at: int
    answer_by: int
    policy: str
    card_digest: str
    allow: dict[str, Grant]
    deny: tuple[str, ...] = ()
    budget: dict[str, int] = {}
    ttl_seconds: int = 0
    ends_on: tuple[str, ...] = ()
    delegation_depth: int = 0
    key: str | None = None
    lease_request: RequestId | None = None
    lease_id: LeaseId | None = None
    tried: tuple[str, ...] = ()
    edited_from: RequestId | None = None
    editors: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        check_id(self.request_id, "req")
        check_id(self.run_id, "run")
        if len(check_unicode(self.reason, "reason")) > 2000:
            raise InvalidError("a reason has at most 2000 characters")
        if not self.allow:
            raise InvalidError("a request that asks for nothing is no request")


def not_decided(request: Request | str) -> str:
    """What is said to who waited for people, for a shorter time than they took."""
    name = request if isinstance(request, str) else request.request_id
    return f"people have not decided {name} yet; it goes on waiting for them, so wait again or withdraw it"
