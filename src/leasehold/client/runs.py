"""What agent hosts may ask of an authority elsewhere: start, retry, request, wait, renew, escalate, finish.

Each verb answers a Future (`submit_…`), for loops, and has a twin that waits for it. Each carries its own id, so that
asking again after a lost answer does nothing twice.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from contextlib import suppress
from typing import TYPE_CHECKING

import msgspec

from leasehold.errors import ApprovalNeeded, Denied, InvalidError, UnavailableError
from leasehold.model.api import (
    ALL_DEPTH,
    EscalateBody,
    FinishBody,
    RequestAnswer,
    RequestBody,
    RetryBody,
    RunAnswer,
    StartBody,
)
from leasehold.model.budget import amounts_from_json
from leasehold.model.decision import Decision, Reason, deny
from leasehold.model.endpoints import EndpointName
from leasehold.model.grant import grants_from_json
from leasehold.model.lease import HARD_MAX_TTL_SECONDS, HeldLease
from leasehold.model.request import Request, RequestKind, RequestState, not_decided
from leasehold.model.run import RunAttempt

if TYPE_CHECKING:
    from leasehold.client.api import Api

__all__ = ["RemoteRuns"]

_LOOK_MS = 20_000
"""How long one look at a request that waits is held back by the authority."""

_PAUSE_SECONDS = 0.1
"""Between two looks, so that an authority which holds none back is not asked without end."""


class RemoteRuns:
    """Start runs and get leases for them, over HTTP. Threads, tasks and event loops may share it."""

    def __init__(self, api: Api) -> None:
        self._api = api

    def submit_start(
        self,
        *,
        agent: str,
        purpose: str,
        route: str = "",
        tenant: str = "",
        environment: str = "",
        requested_by: str = "",
        parent: HeldLease | None = None,
        subject_token: str = "",
    ) -> Future[RunAttempt]:
        """Start a run, or with `parent` a child run under a lease. `subject_token` proves who `requested_by` is.

        Raises:
            Denied: the policy or this client's rule does not let it run.
        """
        body = StartBody(
            agent=agent,
            purpose=purpose,
            route=route,
            tenant=tenant,
            environment=environment,
            requested_by=requested_by,
            subject_token=subject_token,
            parent_lease=parent.lease.lease_id if parent is not None else "",
        )
        key = self._api.new_key()
        return self._api.submit(lambda: self._start(body, key))

    def submit_retry(self, run: RunAttempt) -> Future[RunAttempt]:
        """Begin the next attempt: what older attempts hold is dead from here on."""
        body, key = RetryBody(attempt=run.attempt), self._api.new_key()
        return self._api.submit(lambda: self._attempt(EndpointName.RETRY, run.run_id, body=body, key=key))

    def submit_resume(self, run_id: str) -> Future[RunAttempt]:
        """The newest attempt of a run, in whatever process it is asked for."""
        return self._api.submit(lambda: self._attempt(EndpointName.RESUME, run_id))

    def submit_request(
        self,
        run: RunAttempt,
        allow: Mapping[str, Mapping[str, object]],
        *,
        reason: str,
        budget: Mapping[str, object] | None = None,
        ttl_seconds: int = 0,
        delegation_depth: int = ALL_DEPTH,
        tried: Sequence[str] = (),
    ) -> Future[Request]:
        """Ask for a lease: actions with what their attributes may be, and why. `Runs.request` says the rest.

        Raises:
            InvalidError: a grant or amount cannot be read; nothing was asked.
        """
        if not 0 <= ttl_seconds <= HARD_MAX_TTL_SECONDS:
            raise InvalidError(f"a lease lives at most {HARD_MAX_TTL_SECONDS} s; ask for less and renew")
        grants_from_json(allow)
        amounts_from_json(budget or {})
        body = RequestBody(
            attempt=run.attempt,
            allow={action: dict(attributes) for action, attributes in allow.items()},
            reason=reason,
            budget=dict(budget or {}),  # type: ignore[arg-type]  # amounts_from_json has just read them
            ttl_seconds=ttl_seconds,
            delegation_depth=delegation_depth,
            tried=tuple(tried),
        )
        key = self._api.new_key()
        return self._api.submit(lambda: self._asked(EndpointName.REQUEST, run, body, key))

    def submit_escalation(
        self,
        run: RunAttempt,
        action: str,
        attributes: Mapping[str, object],
        *,
        reason: str,
        seconds: int = 60,
        tried: Sequence[str] = (),
    ) -> Future[Request]:
        """The request behind `escalate`: one action, one call, `seconds` long, not to be delegated."""
        if seconds < 1:
            raise InvalidError("an escalation lasts at least a second; 0 would be the route's whole ttl")
        grants_from_json({action: attributes})
        body = EscalateBody(
            attempt=run.attempt,
            action=action,
            attributes=dict(attributes),
            reason=reason,
            seconds=seconds,
            tried=tuple(tried),
        )
        key = self._api.new_key()
        return self._api.submit(lambda: self._asked(EndpointName.ESCALATE, run, body, key))

    def submit_find_request(self, request_id: str) -> Future[Request]:
        """A request by its id, in whatever process it is asked for."""
        return self._api.submit(lambda: self._request(request_id))

    def submit_request_state(self, request: Request) -> Future[RequestState]:
        """Where a request stands now."""
        return self._api.submit(lambda: self._state(request.request_id))

    def submit_withdraw(self, request: Request) -> Future[RequestState]:
        """Take a pending request back."""
        return self._api.submit(lambda: self._withdraw(request.request_id))

    def submit_wait(self, request: Request | str) -> Future[HeldLease]:
        """A Future of a live lease, once people have decided. Cancelling it draws nothing; no thread is held."""
        request_id = request if isinstance(request, str) else request.request_id
        return self._api.submit(lambda: self._decided(request_id))

    def submit_renew(self, lease: HeldLease) -> Future[HeldLease]:
        """The next lease of the same request, after a new policy check; the older one runs to its own end."""
        key = self._api.new_key()
        return self._api.submit(lambda: self._renewed(lease, key))

    def submit_finish(self, run: RunAttempt) -> Future[bytes]:
        """Finish a run and everything under it; a Future of its signed receipt, byte for byte."""
        body = FinishBody(attempt=run.attempt)
        return self._api.submit(lambda: self._api.receipt(EndpointName.FINISH, run.run_id, body))

    def submit_receipt(self, run_id: str) -> Future[bytes]:
        """The signed receipt of a run as of now."""
        return self._api.submit(lambda: self._api.receipt(EndpointName.RECEIPT, run_id))

    def wait(self, request: Request | str, timeout: float | None = None) -> HeldLease:
        """Wait until people have decided, then draw a live lease.

        Raises:
            Denied: the answer is no, or nobody answered in time.
            TimeoutError: `timeout` seconds passed first; the request goes on, wait again whenever you like.
        """
        waiting = self.submit_wait(request)
        try:
            return waiting.result(timeout)
        except TimeoutError:
            waiting.cancel()
            raise TimeoutError(not_decided(request)) from None

    def escalate(
        self,
        run: RunAttempt,
        action: str,
        attributes: Mapping[str, object],
        *,
        reason: str,
        seconds: int = 60,
        timeout: float | None = None,
        tried: Sequence[str] = (),
    ) -> HeldLease:
        """A lease for one operation, dead after `seconds`; what nobody answered within `timeout` is withdrawn."""
        asked = self.submit_escalation(run, action, attributes, reason=reason, seconds=seconds, tried=tried).result()
        try:
            return self.wait(asked, timeout)
        except TimeoutError:
            with suppress(Denied):  # they answered in this very moment; what they granted lapses with the run
                self.submit_withdraw(asked).result()
            raise TimeoutError(f"nobody decided {asked.request_id} in time; it was taken back") from None

    def request_state(self, request: Request) -> RequestState:
        """Where a request stands now."""
        return self.submit_request_state(request).result()

    def withdraw(self, request: Request) -> RequestState:
        """Take a pending request back.

        Raises:
            Denied: it is not pending any more.
        """
        return self.submit_withdraw(request).result()

    # on the client's loop

    async def _start(self, body: StartBody, key: str) -> RunAttempt:
        started = await self._attempt(EndpointName.START, body=body, key=key)
        named = {
            "agent": body.agent,
            "route": body.route,
            "tenant": body.tenant,
            "environment": body.environment,
            "requested_by": body.requested_by,
        }
        self._check(all(value in ("", getattr(started.run, name)) for name, value in named.items()))
        return started

    async def _attempt(
        self, name: EndpointName, *ids: str, body: msgspec.Struct | None = None, key: str | None = None
    ) -> RunAttempt:
        answer: RunAnswer = await self._api.ask(name, *ids, body=body, key=key)
        self._check(not ids or answer.run.run_id == ids[0])
        return RunAttempt(run=answer.run, attempt=answer.attempt)

    async def _asked(self, name: EndpointName, run: RunAttempt, body: msgspec.Struct, key: str) -> Request:
        answer: RequestAnswer = await self._api.ask(name, run.run_id, body=body, key=key)
        self._check(answer.request.run_id == run.run_id)
        return answer.request

    async def _look(self, request_id: str, wait_ms: int = 0) -> RequestAnswer:
        answer: RequestAnswer = await self._api.ask(EndpointName.REQUEST_STATE, request_id, wait_ms=wait_ms)
        self._check(answer.request.request_id == request_id)
        return answer

    async def _request(self, request_id: str) -> Request:
        return (await self._look(request_id)).request

    async def _state(self, request_id: str) -> RequestState:
        return (await self._look(request_id)).state

    async def _withdraw(self, request_id: str) -> RequestState:
        answer: RequestAnswer = await self._api.ask(EndpointName.WITHDRAW, request_id)
        self._check(answer.request.request_id == request_id)
        return answer.state

    async def _decided(self, request_id: str) -> HeldLease:
        """Look until it is not pending any more, then draw: the draw's own answer says what became of it."""
        answer = await self._look(request_id)
        while answer.state is RequestState.PENDING:
            loop = asyncio.get_running_loop()
            asked = loop.time()
            answer = await self._look(request_id, _LOOK_MS)
            if answer.state is RequestState.PENDING and loop.time() - asked < _LOOK_MS / 1000 - 1:
                # It pends and yet there was something to say: it was stopped. The draw says how.
                with suppress(ApprovalNeeded):
                    return await self._drawn(answer)
                await asyncio.sleep(_PAUSE_SECONDS)
        return await self._drawn(answer)

    async def _drawn(self, answer: RequestAnswer) -> HeldLease:
        """The lease of a request that was decided; of one that nobody answered in time, that it expired."""
        source, key = answer.request, self._api.new_key()
        try:
            held: HeldLease = await self._api.ask(EndpointName.DRAW, source.request_id, key=key)
        except Denied as denied:
            is_late = denied.decision.reason is Reason.APPROVAL_NEEDED and answer.state is RequestState.EXPIRED
            if is_late:  # no sweep has come by yet; whoever waits need not wait for one
                raise Denied(_late(source.request_id)) from None
            if denied.decision.reason is Reason.APPROVAL_NEEDED:
                raise ApprovalNeeded(denied.decision, source.request_id) from None
            raise
        wanted = source.lease_request if source.kind is RequestKind.CALL else source.request_id
        self._check(held.lease.request_id == wanted and held.lease.run_id == source.run_id)
        return held

    async def _renewed(self, lease: HeldLease, key: str) -> HeldLease:
        held: HeldLease = await self._api.ask(EndpointName.RENEW, lease.lease.lease_id, key=key)
        self._check(held.lease.request_id == lease.lease.request_id)
        return held

    def _check(self, is_answer: bool) -> None:
        if not is_answer:
            raise UnavailableError(
                f"{self._api.place} answered another question than was asked; nothing may be done on it",
                maybe_persisted=True,
            )


def _late(request_id: str) -> Decision:
    return deny(Reason.APPROVAL_EXPIRED, f"{request_id} was not answered in time", check="state is approved or used")
