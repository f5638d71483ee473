"""How the OAuth doors answer: JSON that nobody keeps, and errors in the one shape of RFC 6749, section 5.2.

Called by every handler of this package. An error says, besides the standard's word, Leasehold's own reason.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Mapping

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from leasehold.errors import Denied, InvalidError, LeaseholdError, NotFoundError, StoreError
from leasehold.http.problems import ProblemError, request_id_of
from leasehold.model.decision import WAITING, Decision, Reason

__all__ = ["ASK_FOR_PROOF", "Handler", "OAuthError", "answering", "error_of", "json_answer"]

Handler = Callable[[Request], Awaitable[Response]]

ASK_FOR_PROOF: Mapping[str, str] = {"WWW-Authenticate": 'Basic realm="leasehold"'}
"""What stands beside each 401 (RFC 6749, section 5.2)."""

_LOG = logging.getLogger("leasehold.http.oauth")


class OAuthError(Exception):
    """A request that is not answered as asked; `error` is a word of the standards, `more` are members beside it."""

    def __init__(
        self,
        error: str,
        words: str,
        *,
        status: int = 400,
        headers: Mapping[str, str] | None = None,
        more: Mapping[str, object] | None = None,
    ) -> None:
        self.error = error
        self.words = words
        self.status = status
        self.headers = dict(headers or {})
        self.more = dict(more or {})
        super().__init__(words)

    @property
    def description(self) -> str:
        """The words in the characters that RFC 6749 allows."""
        return "".join(one if " " <= one <= "~" and one not in '"\\' else "'" for one in self.words)

    def response(self) -> Response:
        """The answer."""
        body = {"error": self.error, "error_description": self.description, **self.more}
        return json_answer(body, status=self.status, headers=self.headers)


_WIDER = frozenset(
    {
        Reason.NOT_GRANTED,
        Reason.OUT_OF_RANGE,
        Reason.ACTION_DENIED,
        Reason.POLICY_DENIES,
        Reason.UNKNOWN_ACTION,
        Reason.BAD_ATTRIBUTE,
        Reason.WIDER_THAN_PARENT,
        Reason.NO_DELEGATION,
        Reason.TTL_TOO_LONG,
        Reason.TOO_LARGE,
    }
)
_NO = frozenset({Reason.APPROVAL_DENIED, Reason.NOT_PENDING})
_WORDS: Mapping[Reason, str] = {
    **dict.fromkeys(_WIDER, "invalid_authorization_details"),
    **dict.fromkeys(WAITING, "authorization_pending"),
    **dict.fromkeys(_NO, "access_denied"),
    Reason.APPROVAL_EXPIRED: "expired_token",
    Reason.UNKNOWN_ROUTE: "invalid_scope",
    Reason.CLIENT_MAY_NOT: "unauthorized_client",
    Reason.UNKNOWN_CLIENT: "invalid_client",
}


def error_of(error: Exception) -> OAuthError:
    """What is answered to an error; of one that nobody foresaw, only that there was one."""
    match error:
        case OAuthError():
            return error
        case Denied():
            return _denied(error.decision)
        case NotFoundError():
            return OAuthError("invalid_grant", "there is no such thing here, or it is not this client's")
        case InvalidError():
            return OAuthError("invalid_request", str(error))
        case ProblemError():
            return OAuthError("invalid_request", error.problem.words, status=error.problem.status)
        case StoreError():
            return OAuthError("temporarily_unavailable", "the database cannot be used right now", status=503)
        case _:
            return OAuthError("server_error", "something failed that should not; the log has it", status=500)


def _denied(decision: Decision) -> OAuthError:
    if decision.reason is Reason.CLOCK:
        return OAuthError("temporarily_unavailable", decision.message, status=503)
    said = {"reason": str(decision.reason), "rule": decision.rule, "enough": decision.enough}
    if decision.request_id:
        said["request_id"] = decision.request_id
    word = _WORDS.get(decision.reason, "invalid_grant")
    is_unknown = decision.reason is Reason.UNKNOWN_CLIENT
    return OAuthError(
        word,
        decision.message,
        status=401 if is_unknown else 400,
        headers=ASK_FOR_PROOF if is_unknown else None,
        more={name: value for name, value in said.items() if value},
    )


def answering(handler: Handler) -> Handler:
    """The handler, its errors answered in the one shape. The outermost edge of these doors."""

    async def answer(request: Request) -> Response:
        try:
            return await handler(request)
        except (OAuthError, ProblemError, LeaseholdError) as error:
            return error_of(error).response()
        except HTTPException:  # a body that was too large once it came
            raise
        except Exception as error:  # noqa: BLE001 - whatever it was, the client is told nothing of what is inside
            _LOG.error("request %s failed", request_id_of(request), exc_info=error)
            return error_of(error).response()

    return answer


def json_answer(body: object, *, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """A JSON body that nobody keeps, by the two headers that RFC 6749, section 5.1 demands."""
    kept = {"Cache-Control": "no-store", "Pragma": "no-cache"}
    return JSONResponse(body, status_code=status, headers={**kept, **(headers or {})})
