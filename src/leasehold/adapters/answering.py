"""What an HTTP caller is told when its call does not start: one problem document (RFC 9457), one challenge (RFC 6750).

Called by `leasehold.adapters.asgi`. The reason and what would be enough go to the caller, who has to act on them; what
is inside the service does not.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import msgspec

from leasehold.adapters.messages import Send
from leasehold.errors import ApprovalNeeded, Denied, Edited, InvalidError, LeaseholdError
from leasehold.model.decision import Decision, Reason
from leasehold.token.dpop import DPOP_ALGORITHMS

__all__ = ["Answer", "Challenge", "RequestError", "answer_of"]

_TYPE = "urn:leasehold:problem:"

_LEASE_IS_NO_GOOD = frozenset(
    {
        Reason.BAD_TOKEN,
        Reason.WRONG_TOOL,
        Reason.WRONG_ENVIRONMENT,
        Reason.NOT_FOUND,
        Reason.EXPIRED,
        Reason.REVOKED,
        Reason.RUN_FINISHED,
        Reason.STALE_ATTEMPT,
        Reason.STALE_EPOCH,
        Reason.NOT_FRESH,
        Reason.REPLAYED,
        Reason.COMPLETED,
    }
)
_NOT_IN_THE_LEASE = frozenset({Reason.NOT_GRANTED, Reason.OUT_OF_RANGE, Reason.ACTION_DENIED})
_STATUSES: Mapping[Reason, int] = {
    **dict.fromkeys(_LEASE_IS_NO_GOOD, 401),
    **dict.fromkeys(
        (
            Reason.APPROVAL_NEEDED,
            Reason.PREVIEW_NEEDED,
            Reason.STATE_MOVED,
            Reason.TERMS_CHANGED,
            Reason.CARD_CHANGED,
            Reason.EDITED,
            Reason.CONFLICT,
            Reason.IN_FLIGHT,
            Reason.OUTCOME_UNKNOWN,
            Reason.ALREADY_DONE,
            Reason.ALREADY_SETTLED,
            Reason.PREREQUISITE_OPEN,
        ),
        409,
    ),
    Reason.KEY_NEEDED: 400,
    Reason.BAD_ATTRIBUTE: 400,
    Reason.TOO_LARGE: 413,
    Reason.CLOCK: 503,
    Reason.NOT_STARTED_IN_TIME: 503,
}
"""Else 403. An approval that is needed is no 202: nothing was accepted, the call has to be made again."""

_TITLES = {
    400: "Bad request",
    401: "A lease is needed",
    403: "Not allowed",
    404: "Not found",
    408: "Too slow",
    409: "Not as things stand",
    413: "Too large",
    415: "Unsupported content",
    500: "A fault of the service",
    503: "Not now",
}
_RETRY_SECONDS = 1


@dataclass(frozen=True, kw_only=True)
class Challenge:
    """How this service asks for a lease: its realm is the tool; `metadata` the URL of its RFC 9728 document, if any."""

    realm: str
    metadata: str = ""
    takes_proofs: bool = False

    def header(self, error: str = "", action: str = "") -> str:
        """The value of `WWW-Authenticate`. Without an error where nothing was presented (RFC 6750, section 3.1)."""
        fields = {"realm": self.realm, "error": error, "scope": action, "resource_metadata": self.metadata}
        bearer = "Bearer " + ", ".join(f'{name}="{value}"' for name, value in fields.items() if value)
        return f'{bearer}, DPoP algs="{" ".join(DPOP_ALGORITHMS)}"' if self.takes_proofs else bearer


@dataclass(frozen=True, kw_only=True)
class Answer:
    """One refusal as it goes over the wire. `members` stand in the document beside the standard ones."""

    status: int
    code: str
    detail: str
    members: Mapping[str, object] = field(default_factory=dict)
    challenge: str = ""

    async def send(self, send: Send) -> None:
        """Send it whole."""
        body = msgspec.json.encode(
            {
                "type": _TYPE + self.code,
                "title": _TITLES[self.status],
                "status": self.status,
                "detail": self.detail,
                **{name: value for name, value in self.members.items() if value},
            }
        )
        headers = {
            "content-type": "application/problem+json",
            "content-length": str(len(body)),
            "cache-control": "no-store",
            **({"www-authenticate": self.challenge} if self.challenge else {}),
            **({"retry-after": str(_RETRY_SECONDS)} if self.status == 503 else {}),
        }
        pairs = [(name.encode("ascii"), value.encode("latin-1", "replace")) for name, value in headers.items()]
        await send({"type": "http.response.start", "status": self.status, "headers": pairs})
        await send({"type": "http.response.body", "body": body})


class RequestError(Exception):
    """A request cannot be judged as it was sent. Raised where it is read, answered in `asgi`.

    Attributes:
        status: the HTTP status.
        code: which rule it breaks, one word.
        error: the error code of RFC 6750 for the challenge, empty for none; None where no challenge belongs.
    """

    def __init__(self, status: int, code: str, detail: str, *, error: str | None = None) -> None:
        self.status = status
        self.code = code
        self.error = error
        super().__init__(detail)


def answer_of(error: LeaseholdError | RequestError, challenge: Challenge, action: str) -> Answer:
    """What a caller is told of an error; of one of the authority's own only that it cannot answer now."""
    match error:
        case RequestError():
            asked = challenge.header(error.error) if error.error is not None else ""
            return Answer(status=error.status, code=error.code, detail=str(error), challenge=asked)
        case Denied():
            return _denied(error, challenge, action)
        case InvalidError():
            return Answer(status=400, code="invalid", detail=str(error))
        case _:
            return Answer(
                status=503,
                code="unavailable",
                detail="the authority cannot answer now; nothing was executed, try again",
            )


def _denied(error: Denied, challenge: Challenge, action: str) -> Answer:
    decision = error.decision
    return Answer(
        status=_STATUSES.get(decision.reason, 403),
        code=decision.reason,
        detail=decision.message or decision.describe(),
        members={
            "reason": decision.reason,
            "rule": decision.rule,
            "check": decision.check,
            "enough": decision.enough,
            "words": decision.words,
            "request": error.request if isinstance(error, ApprovalNeeded | Edited) else decision.request_id,
            "arguments": error.arguments if isinstance(error, Edited) else None,
        },
        challenge=_challenge(decision, challenge, action),
    )


def _challenge(decision: Decision, challenge: Challenge, action: str) -> str:
    if decision.reason in _LEASE_IS_NO_GOOD:
        return challenge.header("invalid_token")
    if decision.reason in _NOT_IN_THE_LEASE:
        return challenge.header("insufficient_scope", action)
    return ""
