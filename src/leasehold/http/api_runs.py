"""Runs over HTTP: what a client may ask for its own runs. Each handler translates; `ClientRuns` asks the steps."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from msgspec.structs import replace
from starlette.concurrency import run_in_threadpool

from leasehold.authority import Authority
from leasehold.authority.client_runs import ClientRuns
from leasehold.errors import InvalidError
from leasehold.http.api_calls import Answer, ApiCall, Handler, Waits, arrived, in_thread
from leasehold.http.callers import Callers
from leasehold.model.api import (
    EscalateBody,
    FinishBody,
    RequestAnswer,
    RequestBody,
    RetryBody,
    RunAnswer,
    StartBody,
    WaitQuery,
)
from leasehold.model.endpoints import EndpointName
from leasehold.model.request import Request, RequestState
from leasehold.model.run import RequesterProof, RunAttempt

__all__ = ["run_handlers"]


def run_handlers(authority: Authority, callers: Callers, waits: Waits) -> dict[EndpointName, Handler]:
    """What answers the endpoints of Runs."""
    handlers = _RunHandlers(authority, callers, waits)
    reading: dict[EndpointName, Callable[[ApiCall], Answer]] = {
        EndpointName.RESUME: handlers.resume,
        EndpointName.RETRY: handlers.retry,
        EndpointName.FINISH: handlers.finish,
        EndpointName.RECEIPT: handlers.receipt,
        EndpointName.REQUEST: handlers.request,
        EndpointName.ESCALATE: handlers.escalate,
        EndpointName.WITHDRAW: handlers.withdraw,
        EndpointName.DRAW: handlers.draw,
        EndpointName.RENEW: handlers.renew,
    }
    return {
        **{name: in_thread(handler) for name, handler in reading.items()},
        EndpointName.START: handlers.start,
        EndpointName.REQUEST_STATE: handlers.request_state,
    }


class _RunHandlers:
    """One method an endpoint. All but those that wait run in a thread, because they read the database."""

    def __init__(self, authority: Authority, callers: Callers, waits: Waits) -> None:
        self._waits = waits
        self._authority = authority
        self._callers = callers

    def _runs(self, call: ApiCall) -> ClientRuns:
        return self._authority.client_runs(call.client.voice, call.sending)

    async def start(self, call: ApiCall) -> Answer:
        """Start a run, or a child run under a lease of the client's."""
        body = call.sent(StartBody)
        if not body.subject_token:
            return await run_in_threadpool(self._start, call, body, RequesterProof.ASSERTED)
        if body.parent_lease:
            raise InvalidError("a child run has its parent's requester; leave subject_token out")
        person = await self._callers.of_subject(body.subject_token)
        if body.requested_by not in ("", person):
            raise InvalidError(f"the subject token is {person}'s, not of whom requested_by names")
        return await run_in_threadpool(self._start, call, replace(body, requested_by=person), RequesterProof.PROVEN)

    def _start(self, call: ApiCall, body: StartBody, requester_proof: RequesterProof) -> Answer:
        runs = self._runs(call)
        started = runs.start(
            agent=body.agent,
            route=body.route,
            tenant=body.tenant,
            environment=body.environment,
            requested_by=body.requested_by,
            purpose=body.purpose,
            parent=runs.find_lease(body.parent_lease) if body.parent_lease else None,
            requester_proof=requester_proof,
        )
        return self._run_answer(runs, started)

    def resume(self, call: ApiCall) -> Answer:
        """The newest attempt of a run."""
        runs = self._runs(call)
        return self._run_answer(runs, runs.resume(call.ids[0]))

    def retry(self, call: ApiCall) -> Answer:
        """The next attempt."""
        runs = self._runs(call)
        held = self._attempt(runs, call.ids[0], call.sent(RetryBody).attempt)
        return self._run_answer(runs, runs.retry(held))

    def finish(self, call: ApiCall) -> Answer:
        """Finish a run; answers its receipt as it is."""
        runs = self._runs(call)
        run = runs.resume(call.ids[0]).run
        runs.end(run, "done", attempt=call.sent(FinishBody).attempt)
        return self._authority.receipts.build(run)

    def receipt(self, call: ApiCall) -> Answer:
        """The receipt as of now."""
        return self._authority.receipts.build(self._runs(call).resume(call.ids[0]).run)

    def request(self, call: ApiCall) -> Answer:
        """Ask for a lease."""
        body, runs = call.sent(RequestBody), self._runs(call)
        asked = runs.request(
            self._attempt(runs, call.ids[0], body.attempt),
            body.allow,
            reason=body.reason,
            budget=body.budget,
            ttl_seconds=body.ttl_seconds,
            delegation_depth=body.delegation_depth,
            tried=body.tried,
        )
        return _request_answer(runs, asked)

    def escalate(self, call: ApiCall) -> Answer:
        """Ask for a lease of one operation."""
        body, runs = call.sent(EscalateBody), self._runs(call)
        asked = runs.ask_escalation(
            self._attempt(runs, call.ids[0], body.attempt),
            body.action,
            body.attributes,
            reason=body.reason,
            seconds=body.seconds,
            tried=body.tried,
        )
        return _request_answer(runs, asked)

    async def request_state(self, call: ApiCall) -> Answer:
        """Where a request stands, at once or when it is not pending any more."""
        runs, wait = self._runs(call), call.asked(WaitQuery).wait
        request = await run_in_threadpool(runs.find_request, call.ids[0])
        state = await run_in_threadpool(runs.request_state, request)
        if state is RequestState.PENDING and wait:
            decided = asyncio.ensure_future(arrived(runs.submit_state(request, wait * 1000)))
            await self._waits.first_of(call, decided, seconds=wait)
            await run_in_threadpool(runs.find_request, call.ids[0])  # it may be nobody's by now: a key was taken away
            state = await run_in_threadpool(runs.request_state, request)
        return RequestAnswer(request=request, state=state)

    def withdraw(self, call: ApiCall) -> Answer:
        """Take a pending request back; one that was taken back is."""
        runs = self._runs(call)
        request = runs.find_request(call.ids[0])
        if runs.request_state(request) is not RequestState.WITHDRAWN:
            runs.withdraw(request)
        return _request_answer(runs, request)

    def draw(self, call: ApiCall) -> Answer:
        """The next lease of an approved request."""
        runs = self._runs(call)
        return runs.submit_draw(runs.find_request(call.ids[0])).result()

    def renew(self, call: ApiCall) -> Answer:
        """The next lease of the same request."""
        runs = self._runs(call)
        lease = runs.find_lease(call.ids[0])
        return runs.submit_draw(runs.find_request(lease.request_id)).result()

    def _attempt(self, runs: ClientRuns, run_id: str, attempt: int) -> RunAttempt:
        """The attempt that the caller holds; whether it is the newest is judged in the step."""
        return RunAttempt(run=runs.resume(run_id).run, attempt=attempt)

    def _run_answer(self, runs: ClientRuns, held: RunAttempt) -> RunAnswer:
        return RunAnswer(run=held.run, attempt=held.attempt, state=runs.look(held.run_id)[1].state)


def _request_answer(runs: ClientRuns, request: Request) -> RequestAnswer:
    return RequestAnswer(request=request, state=runs.request_state(request))
