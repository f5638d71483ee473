"""The endpoints of AuthZEN 1.0 and of its Access Request profile, for the guards and gateways of doors.

Who asks proves to be the client of a door, as at the API; a question is always about that door. A refusal is an answer
(200); only what cannot be read is an error.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable, Mapping, Sequence

import msgspec
from starlette.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from leasehold.authority import Authority
from leasehold.errors import InvalidError, LeaseholdError
from leasehold.http.authzen.deciding import AccessQuestions
from leasehold.http.authzen.documents import AccessRequest, Batch, Evaluation, convert, read_body
from leasehold.http.doors import problem_response
from leasehold.http.oauth.clients import Clients, read_bearer
from leasehold.http.site import Site
from leasehold.model.canonical import Json
from leasehold.model.problem import Problem, problem_of

__all__ = ["AUTHZEN_METADATA", "authzen_routes"]

AUTHZEN_METADATA = "/.well-known/authzen-configuration"
_ACCESS = "/access/v1"
_REQUESTS = f"{_ACCESS}/requests"
_READ_SECONDS = 10
_ECHOED = re.compile(r"[A-Za-z0-9._-]{1,64}")

_Handler = Callable[[Request, AccessQuestions], Awaitable[Response]]


class _ProblemError(Exception):
    """What is answered instead."""

    def __init__(self, problem: Problem) -> None:
        self.problem = problem
        super().__init__(problem.title)


class _Doors:
    """The handlers. Threads may share it."""

    def __init__(self, authority: Authority, clients: Clients, site: Site) -> None:
        self._authority = authority
        self._clients = clients
        self._origin = site.origin

    async def evaluation(self, request: Request, questions: AccessQuestions) -> Response:
        """One question."""
        question = convert(await _body(request), Evaluation)
        return _answer(request, await run_in_threadpool(questions.evaluate, question))

    async def evaluations(self, request: Request, questions: AccessQuestions) -> Response:
        """Several questions."""
        batch = Batch.read(await _body(request))
        return _answer(request, await run_in_threadpool(questions.evaluate_all, batch))

    async def ask(self, request: Request, questions: AccessQuestions) -> Response:
        """People are asked about what was refused."""
        question = convert(await _body(request), AccessRequest)
        task = await run_in_threadpool(questions.ask, question)
        return _answer(request, task, status=202)

    async def task(self, request: Request, questions: AccessQuestions) -> Response:
        """How it stands with what was asked."""
        return _answer(request, await run_in_threadpool(questions.task, request.path_params["request_id"]))

    async def show(self, request: Request) -> Response:
        """The metadata."""
        return _answer(
            request,
            {
                "policy_decision_point": self._origin,
                "access_evaluation_endpoint": f"{self._origin}{_ACCESS}/evaluation",
                "access_evaluations_endpoint": f"{self._origin}{_ACCESS}/evaluations",
                "access_request_endpoint": f"{self._origin}{_REQUESTS}",
                "capabilities": ["urn:openid:authzen:capability:access-request"],
            },
        )

    def asked(self, handler: _Handler) -> Callable[[Request], Awaitable[Response]]:
        """The handler behind the proof of a door, its errors answered in the API's shape."""

        async def take(request: Request) -> Response:
            try:
                return await handler(request, await self._questions(request))
            except _ProblemError as error:
                return _refused(request, error.problem)
            except LeaseholdError as error:
                return _refused(request, problem_of(error))

        return take

    async def _questions(self, request: Request) -> AccessQuestions:
        proof = read_bearer(request)
        client = await self._clients.prove(proof) if proof is not None else None
        if client is None:
            raise _ProblemError(Problem.of_code("unauthenticated", "send the credential of a door's client as Bearer"))
        door = client.open_door()
        if door is None:
            problem = Problem.of_code("denied", f"{client.name} stands at no door; questions are about one")
            raise _ProblemError(problem)
        return AccessQuestions(self._authority, door, self._origin)


async def _body(request: Request) -> dict[str, Json]:
    types = request.headers.getlist("content-type")
    if len(types) != 1 or types[0].partition(";")[0].strip().lower() != "application/json":
        raise InvalidError("a question is application/json")  # the specification knows no 415
    try:
        async with asyncio.timeout(_READ_SECONDS):
            return read_body(await request.body())
    except TimeoutError:
        raise InvalidError("the question did not arrive in time") from None
    except ClientDisconnect:
        raise InvalidError("the question broke off") from None


def _answer(request: Request, body: Mapping[str, object], *, status: int = 200) -> Response:
    text = msgspec.json.encode(body)
    return Response(text, status, {"Cache-Control": "no-store", **_echo(request)}, "application/json")


def _refused(request: Request, problem: Problem) -> Response:
    return problem_response(request, problem, _echo(request))


def _echo(request: Request) -> dict[str, str]:
    """The caller's own number for the request, which the specification wants back."""
    given = request.headers.get("x-request-id", "")
    return {"X-Request-ID": given} if _ECHOED.fullmatch(given) else {}


def authzen_routes(authority: Authority, clients: Clients, site: Site) -> Sequence[BaseRoute]:
    """Metadata for everybody, questions for doors."""
    doors = _Doors(authority, clients, site)
    return [
        Route(AUTHZEN_METADATA, doors.show),
        Route(f"{_ACCESS}/evaluation", doors.asked(doors.evaluation), methods=["POST"]),
        Route(f"{_ACCESS}/evaluations", doors.asked(doors.evaluations), methods=["POST"]),
        Route(_REQUESTS, doors.asked(doors.ask), methods=["POST"]),
        Route(f"{_REQUESTS}/{{request_id}}", doors.asked(doors.task)),
    ]
