"""What a failed request is answered over HTTP (RFC 9457), and the exception that it stands for, both ways.

The server makes one of every error, the remote faces make the same error of it again: who calls Leasehold over the
network catches exactly what they would catch embedded.
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from leasehold.errors import (
    ApprovalNeeded,
    Denied,
    Edited,
    InvalidError,
    LeaseholdError,
    NotFoundError,
    StoreError,
    UnavailableError,
)
from leasehold.model.canonical import encode
from leasehold.model.decision import Decision, Reason

__all__ = ["PROBLEM_MEDIA_TYPE", "STATUSES", "Problem", "error_of", "problem_of", "status_of"]

PROBLEM_MEDIA_TYPE = "application/problem+json"
_URN = "urn:leasehold:problem:"

STATUSES: Mapping[str, tuple[int, str]] = {
    "invalid": (400, "That cannot be"),
    "unauthenticated": (401, "Say who you are"),
    "denied": (403, "Refused"),
    "not_found": (404, "Not found"),
    "method_not_allowed": (405, "Not that method"),
    "conflict": (409, "In conflict with what is so already"),
    "too_large": (413, "Too large"),
    "unsupported_media_type": (415, "Not that media type"),
    "misdirected": (421, "Not this server"),
    "too_many": (429, "Too many at once"),
    "head_too_large": (431, "Too large a head"),
    "fault": (500, "A fault of ours"),
    "unavailable": (503, "Not now"),
}
"""Every problem that is no decision, by its code: status and title. Of a decision the code is its reason."""

_CONFLICTS = frozenset(
    {
        Reason.ALREADY_DONE,
        Reason.ALREADY_SETTLED,
        Reason.CARD_CHANGED,
        Reason.CONFLICT,
        Reason.EDITED,
        Reason.IN_FLIGHT,
        Reason.NOT_PENDING,
        Reason.OUTCOME_UNKNOWN,
        Reason.STALE_ATTEMPT,
    }
)


class Problem(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One failed request. Members that say nothing are left out.

    `type` is `urn:leasehold:problem:` and a code: one of `STATUSES`, or the reason of the `decision` where a rule
    refused. `reason`, `rule`, `check` and `enough` repeat the decision's for who reads only a few members. `request` is
    one to wait on: it was asked for, or took the place of an edited one, whose `arguments` are the canonical JSON of
    what the call would be now. `maybe_persisted` says that the change may stand all the same: send the same again.
    `request_id` is the number under which the server's log has it.
    """

    type: str
    title: str
    status: int
    detail: str = ""
    reason: str = ""
    rule: str = ""
    check: str = ""
    enough: str = ""
    request: str = ""
    arguments: str | None = None
    maybe_persisted: bool = False
    decision: Decision | None = None
    request_id: str = ""

    @property
    def code(self) -> str:
        """The last part of the type."""
        return self.type.removeprefix(_URN)

    @classmethod
    def of_code(cls, code: str, detail: str, *, maybe_persisted: bool = False) -> Problem:
        """A problem that is no decision; `code` is one of `STATUSES`."""
        status, title = STATUSES[code]
        return cls(type=_URN + code, title=title, status=status, detail=detail, maybe_persisted=maybe_persisted)

    @classmethod
    def of_decision(cls, decision: Decision, *, request: str = "", arguments: str | None = None) -> Problem:
        """A refusal, whole."""
        status = status_of(decision.reason)
        return cls(
            type=_URN + decision.reason,
            title=next(title for known, title in STATUSES.values() if known == status),
            status=status,
            detail=decision.message,
            reason=decision.reason,
            rule=decision.rule,
            check=decision.check,
            enough=decision.enough,
            request=request or decision.request_id,
            arguments=arguments,
            decision=decision,
        )


def status_of(reason: Reason) -> int:
    """The status of a refusal: 409 where something is so already, 404 where there is nothing, mostly 403."""
    match reason:
        case Reason.NOT_FOUND:
            return 404
        case Reason.CLOCK:
            return 503
        case Reason.UNKNOWN_CLIENT | Reason.REPLAYED:
            return 401
        case _:
            return 409 if reason in _CONFLICTS else 403


def problem_of(error: LeaseholdError) -> Problem:
    """What an error is answered as. Of a database that cannot be used nobody is told more than that."""
    match error:
        case ApprovalNeeded():
            return Problem.of_decision(error.decision, request=error.request)
        case Edited():
            arguments = error.arguments
            text = encode(arguments).decode() if arguments is not None else None
            return Problem.of_decision(error.decision, request=error.request, arguments=text)
        case Denied():
            return Problem.of_decision(error.decision)
        case NotFoundError():
            return Problem.of_code("not_found", "there is no such thing, or it is not yours to see")
        case InvalidError():
            return Problem.of_code("invalid", str(error))
        case StoreError():
            words = "the database cannot be used right now; send the same again"
            return Problem.of_code("unavailable", words, maybe_persisted=error.maybe_persisted)
        case _:
            return Problem.of_code("fault", "something failed that should not; the server's log has it")


def error_of(problem: Problem) -> LeaseholdError:
    """The exception that a problem stands for; of what is no answer of an authority `UnavailableError`."""
    if problem.decision is not None:
        return _refusal(problem, problem.decision)
    match problem.code:
        case "not_found":
            return NotFoundError(problem.detail)
        case "invalid" | "too_large" | "head_too_large" | "unsupported_media_type" | "method_not_allowed":
            return InvalidError(problem.detail)
        case "unavailable" if problem.maybe_persisted:
            return StoreError(problem.detail, maybe_persisted=True)
        case _:
            return UnavailableError(f"{problem.title}: {problem.detail}")


def _refusal(problem: Problem, decision: Decision) -> Denied:
    if decision.reason is Reason.EDITED:
        return Edited(decision, problem.request, problem.arguments)
    waits = decision.reason in (Reason.APPROVAL_NEEDED, Reason.STATE_MOVED, Reason.TERMS_CHANGED)
    return ApprovalNeeded(decision, problem.request) if waits and problem.request else Denied(decision)
