"""The standards' doors, OAuth and AuthZEN, as one application for programs, beside the API. Made by the application.

A handler refuses in the words of its standard. What reaches none (no such path, another method, a body that is too
large) is a problem document as at the API: a program cannot read a page, and would follow the way to the sign-in.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence

import msgspec
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware.body_limit import RequestBodyLimitMiddleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute
from starlette.types import ASGIApp, Receive, Scope, Send

from leasehold.http.api import problem_headers, send_problem
from leasehold.http.exchanges import templates_of
from leasehold.http.gates import MAX_BODY_BYTES, is_said_too_large
from leasehold.http.problems import request_id_of
from leasehold.model.problem import PROBLEM_MEDIA_TYPE, Problem

__all__ = ["Doors", "is_door", "problem_response"]

_PREFIXES = ("/.well-known/", "/access/", "/oauth/")
_OF_PEOPLE = frozenset({"/oauth/authorize"})
_TOO_LARGE = Problem.of_code("too_large", f"a body has at most {MAX_BODY_BYTES} bytes here")
_UNSERVED: Mapping[int, Problem] = {
    404: Problem.of_code("not_found", "there is no such endpoint; the documents below /.well-known/ list them"),
    405: Problem.of_code("method_not_allowed", "this endpoint does not take that method"),
    413: _TOO_LARGE,
}
_FAULT = Problem.of_code("fault", "something failed that should not; the log has it")
_LOG = logging.getLogger("leasehold.http")


def is_door(path: str) -> bool:
    """Whether a path is for programs that speak one of the standards; the page on which people consent is not."""
    return path.startswith(_PREFIXES) and path not in _OF_PEOPLE


class Doors:
    """The application. It checks no host name: who mounts it does."""

    def __init__(self, routes: Sequence[BaseRoute]) -> None:
        handlers = dict.fromkeys((HTTPException, Exception), _draw)
        app = Starlette(routes=routes, exception_handlers=handlers)
        app.router.redirect_slashes = False  # a program that asks elsewhere is told so, and sends no secret twice
        app.state.templates = templates_of(routes)
        self._app: ASGIApp = RequestBodyLimitMiddleware(app, MAX_BODY_BYTES)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        if is_said_too_large(scope):
            await send_problem(scope, send, _TOO_LARGE, {"Connection": "close"})  # the rest of it is not read
        else:
            await self._app(scope, receive, send)


def problem_response(request: Request, problem: Problem, headers: Mapping[str, str] | None = None) -> Response:
    """A problem as an answer, with the number under which the log has its request."""
    body = msgspec.json.encode(msgspec.structs.replace(problem, request_id=request_id_of(request)))
    return Response(
        body, problem.status, problem_headers(request.scope, problem) | dict(headers or {}), PROBLEM_MEDIA_TYPE
    )


def _draw(request: Request, error: Exception) -> Response:
    if isinstance(error, HTTPException) and error.status_code in _UNSERVED:
        return problem_response(request, _UNSERVED[error.status_code], error.headers)
    _LOG.error("request %s failed", request_id_of(request), exc_info=error)
    return problem_response(request, _FAULT)
