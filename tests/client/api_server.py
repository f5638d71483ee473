"""The endpoint table over an embedded authority, for the faces of Runs and Door; every caller is trusted here.

What it answers is made with the types and problems that the real server makes its answers with.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec
from starlette.applications import Starlette
from starlette.requests import Request as HttpRequest
from starlette.responses import Response
from starlette.routing import Route

from leasehold.authority import Authority
from leasehold.authority.door import EmbeddedDoor
from leasehold.authority.looking import find_end
from leasehold.decide.documents import decode_admission
from leasehold.decide.lifecycles import RunState
from leasehold.decide.rows import CallRow
from leasehold.errors import LeaseholdError, NotFoundError
from leasehold.model.api import AdmissionAnswer, RequestAnswer, RunAnswer
from leasehold.model.call import CallState
from leasehold.model.endpoints import ENDPOINTS, Endpoint, EndpointName
from leasehold.model.problem import PROBLEM_MEDIA_TYPE, problem_of
from leasehold.model.request import Request, RequestState
from leasehold.model.run import RunAttempt


class ApiServer:
    """`asked` counts what came by endpoint; `seen` are the Authorization headers."""

    def __init__(self, authority: Authority) -> None:
        self._authority = authority

        self._kept: dict[tuple[str, str], bytes] = {}
        self.asked: list[EndpointName] = []
        self.seen: set[str] = set()
        self.is_stopping = False
        self.app = Starlette(routes=[self._route(endpoint) for endpoint in ENDPOINTS.values()])

    def _route(self, endpoint: Endpoint) -> Route:
        handler: Callable[..., Any] | None = getattr(self, f"_{endpoint.name}", None)

        async def handle(request: HttpRequest) -> Response:
            self.asked.append(endpoint.name)
            self.seen.add(request.headers["authorization"])
            self._door = self._door_of(request.headers["authorization"])
            text = await request.body()
            body = msgspec.json.decode(text, type=endpoint.body) if endpoint.body is not None else None
            kept = (endpoint.name, request.headers.get("idempotency-key", ""))
            assert bool(kept[1]) == endpoint.is_keyed
            if kept[1] and kept in self._kept:
                return Response(self._kept[kept], media_type="application/json")
            assert handler is not None
            try:
                given = (list(request.path_params.values()), body, int(request.query_params.get("wait", "0")))
                made = handler(*given)
                answer = await made if isinstance(made, Awaitable) else await asyncio.wrap_future(made)
            except LeaseholdError as error:
                problem = problem_of(error)
                return Response(msgspec.json.encode(problem), problem.status, media_type=PROBLEM_MEDIA_TYPE)
            encoded = answer if isinstance(answer, bytes) else msgspec.json.encode(answer)
            if kept[1]:
                self._kept[kept] = encoded
            return Response(encoded, media_type="application/json")

        return Route(endpoint.path, handle, methods=[endpoint.method])

    async def _start(self, ids: list[str], body: Any, wait: int) -> RunAnswer:
        named = msgspec.structs.asdict(body)
        named.pop("subject_token")
        parent = named.pop("parent_lease")
        if parent:
            engine = self._authority.engine
            named["parent"] = engine.held(engine.chain(engine.locate(parent), parent)[-1].lease)
        return self._answer(await asyncio.to_thread(lambda: self._authority.start(**named)))

    async def _retry(self, ids: list[str], body: Any, wait: int) -> RunAnswer:
        return self._answer(await asyncio.to_thread(self._authority.retry, self._attempt(ids[0], body.attempt)))

    async def _resume(self, ids: list[str], body: Any, wait: int) -> RunAnswer:
        return self._answer(self._authority.run(ids[0]))

    async def _finish(self, ids: list[str], body: Any, wait: int) -> bytes:
        return await asyncio.to_thread(self._authority.finish, self._attempt(ids[0], body.attempt))

    async def _request(self, ids: list[str], body: Any, wait: int) -> RequestAnswer:
        asked = msgspec.structs.asdict(body)
        run = self._attempt(ids[0], asked.pop("attempt"))
        request = await asyncio.to_thread(lambda: self._authority.request(run, **asked))
        return RequestAnswer(request=request, state=self._authority.runs.request_state(request))

    async def _escalate(self, ids: list[str], body: Any, wait: int) -> RequestAnswer:
        asked = msgspec.structs.asdict(body)
        run = self._attempt(ids[0], asked.pop("attempt"))
        request = await asyncio.to_thread(lambda: self._authority.runs.ask_escalation(run, **asked))
        return RequestAnswer(request=request, state=self._authority.runs.request_state(request))

    async def _request_state(self, ids: list[str], body: Any, wait: int) -> RequestAnswer:
        request = self._authority.find_request(ids[0])
        while (state := self._request_now(request)) is RequestState.PENDING and wait > 0 and not self.is_stopping:
            await asyncio.sleep(0.02)
            wait -= 0.02  # type: ignore[assignment]
        return RequestAnswer(request=request, state=state)

    def _request_now(self, request: Request) -> RequestState:
        row = self._authority.engine.request_row(request.tenant, request.request_id)
        is_over = row.revoked or self._authority.engine.system.now().reached(row.answer_by)
        return RequestState.EXPIRED if row.state == RequestState.PENDING and is_over else RequestState(row.state)

    async def _withdraw(self, ids: list[str], body: Any, wait: int) -> RequestAnswer:
        request = self._authority.find_request(ids[0])
        return RequestAnswer(request=request, state=self._authority.runs.withdraw(request))

    def _draw(self, ids: list[str], body: Any, wait: int) -> Any:
        return self._authority.runs.submit_wait(ids[0])

    async def _renew(self, ids: list[str], body: Any, wait: int) -> Any:
        engine = self._authority.engine
        held = engine.held(engine.chain(engine.locate(ids[0]), ids[0])[-1].lease)
        return await asyncio.to_thread(self._authority.renew, held)

    def _admit(self, ids: list[str], body: Any, wait: int) -> Any:
        return self._door.submit_admit(body.token, body.call.to_call())

    def _settle(self, ids: list[str], body: Any, wait: int) -> Any:
        return self._door.submit_settle(ids[0], body)

    async def _admission(self, ids: list[str], body: Any, wait: int) -> AdmissionAnswer:
        while True:
            answer = await self._admission_now(ids[0])
            if answer.state is not CallState.ADMITTED or answer.refusal is not None or wait <= 0 or self.is_stopping:
                return answer
            await asyncio.sleep(0.02)
            wait -= 0.02  # type: ignore[assignment]

    async def _admission_now(self, admission_id: str) -> AdmissionAnswer:
        engine = self._authority.engine
        rows = [engine.row(CallRow, tenant, admission_id) for tenant in engine.store.queries.tenants()]
        row = next((row for row in rows if row is not None), None)
        if row is None:
            raise NotFoundError(f"{admission_id} was never admitted")
        state, call = CallState(row.state), decode_admission(row.body)
        chain = engine.chain(call.tenant, call.lease_id)
        refusal = find_end(engine, chain, call) if state is CallState.ADMITTED else None
        return AdmissionAnswer(admission_id=admission_id, state=state, refusal=refusal)

    def _door_of(self, authorization: str) -> EmbeddedDoor:
        tool, _, environment = authorization.removeprefix("Bearer ").partition("@")
        return self._authority.door(tool, environment or "prod")

    def _attempt(self, run_id: str, attempt: int) -> RunAttempt:
        return RunAttempt(run=self._authority.run(run_id).run, attempt=attempt)

    @staticmethod
    def _answer(attempt: RunAttempt) -> RunAnswer:
        return RunAnswer(run=attempt.run, attempt=attempt.attempt, state=RunState.OPEN)
