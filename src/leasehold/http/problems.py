"""What went wrong, as a page for people: a status, a title, and what to do next. Never a trace of what is inside.

Handlers raise `ProblemError`, or let the errors of Leasehold through; `problem_of` says what a person is told of each.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import TypeAlias

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from leasehold.errors import Denied, InvalidError, LeaseholdError, NotFoundError, StoreError
from leasehold.model.decision import Decision, Reason

__all__ = [
    "Problem",
    "ProblemError",
    "ProblemPage",
    "exception_handlers",
    "problem_of",
    "request_id_of",
]


@dataclass(frozen=True, kw_only=True)
class Problem:
    """One failed request as its person is told of it; `title` is a few words, `words` whole sentences."""

    status: int
    title: str
    words: str
    headers: Mapping[str, str] = field(default_factory=dict)


_LOG = logging.getLogger("leasehold.http")

ProblemPage: TypeAlias = Callable[[Request, Problem], Response]
"""Draws a problem. Must not raise, and must answer with the problem's status."""


class ProblemError(Exception):
    """A request cannot be answered as asked. Caught by the application, which draws `problem`."""

    def __init__(self, status: int, title: str, words: str) -> None:
        self.problem = Problem(status=status, title=title, words=words)
        super().__init__(title)


_NOT_FOUND = Problem(
    status=404,
    title="Not found",
    words="There is no such page, or it is not for you: what belongs to others looks like what never was.",
)
_UNAVAILABLE = Problem(
    status=503,
    title="Not now",
    words="The database cannot be used right now. Nothing was done. Try again; if it stays so, run leasehold db check.",
)
_FAULT = Problem(
    status=500,
    title="A fault of ours",
    words="Something failed that should not. The server's log has the details under the number below.",
)
_CONFLICTS = frozenset({Reason.NOT_PENDING, Reason.CARD_CHANGED, Reason.CONFLICT, Reason.REVOKED, Reason.HELD})


def problem_of(error: Exception) -> Problem:
    """What a person is told of an error; of one that nobody foresaw only that there was one."""
    match error:
        case ProblemError():
            return error.problem
        case NotFoundError():
            return _NOT_FOUND
        case Denied():
            return _denied(error.decision)
        case InvalidError():
            return Problem(status=400, title="That cannot be", words=_sentence(str(error)))
        case StoreError():
            return _UNAVAILABLE
        case HTTPException():
            return _of_http(error)
        case _:
            return _FAULT


def _denied(decision: Decision) -> Problem:
    if decision.reason is Reason.NOT_FOUND:
        return _NOT_FOUND
    status = 503 if decision.reason is Reason.CLOCK else 409 if decision.reason in _CONFLICTS else 403
    enough = f" What would be enough: {decision.enough}." if decision.enough else ""
    return Problem(status=status, title="Refused", words=f"{_sentence(decision.message)} Nothing was done.{enough}")


def _of_http(error: HTTPException) -> Problem:
    if error.status_code == HTTPStatus.NOT_FOUND:
        return _NOT_FOUND
    try:
        title = HTTPStatus(error.status_code).phrase
    except ValueError:
        return _FAULT
    allowed = {name: value for name, value in (error.headers or {}).items() if name.lower() == "allow"}
    return Problem(status=error.status_code, title=title, words="Nothing was done.", headers=allowed)


def _sentence(text: str) -> str:
    return f"{text[:1].upper()}{text[1:]}" + ("" if text.endswith((".", "?", "!")) else ".")


def exception_handlers(page: ProblemPage) -> dict[int | type[Exception], Callable[[Request, Exception], Response]]:
    """What Starlette does with errors: each becomes its problem, drawn by `page`."""

    def draw(request: Request, error: Exception) -> Response:
        problem = problem_of(error)
        if problem is _FAULT:
            _LOG.error("request %s failed", request_id_of(request), exc_info=error)
        return page(request, problem)

    return dict.fromkeys((ProblemError, LeaseholdError, HTTPException, Exception), draw)


def request_id_of(request: Request) -> str:
    """The number under which the log knows this request."""
    return str(getattr(request.state, "request_id", ""))
