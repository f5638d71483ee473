"""Async faces of an authority, embedded or remote: the same calls, awaited. For agent hosts that run in an event loop.

Nothing is decided here. Waiting for people is a notification, and so is a door's answer; every other verb takes one
commit, on a worker thread, because a database's work must not stop the loop. Guards need no twin: `Guard` guards async
functions as it is.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType

from leasehold.assemble import open_authority
from leasehold.authority.door import EmbeddedDoor
from leasehold.authority.embedded import Authority
from leasehold.client.credentials import Given
from leasehold.client.door import RemoteDoor
from leasehold.client.remote import DEADLINE_SECONDS, RemoteAuthority
from leasehold.client.remote import connect as connect_remote
from leasehold.config import POLICY_NAME
from leasehold.guard.waiting import LoopAnswers
from leasehold.model.api import ALL_DEPTH
from leasehold.model.call import Admission, Call, Outcome, Settlement
from leasehold.model.ids import AdmissionId
from leasehold.model.lease import HeldLease
from leasehold.model.request import Request, not_decided
from leasehold.model.run import RunAttempt
from leasehold.system import System

__all__ = ["AsyncAuthority", "AsyncDoor", "AsyncRemoteAuthority", "connect", "open"]


async def open(  # noqa: A001 - `leasehold.aio.open` is the twin of `leasehold.open`
    policy_path: Path | str = POLICY_NAME,
    *,
    state: Path | str | None = None,
    system: System | None = None,
    sweep: bool = True,
) -> AsyncAuthority:
    """Open the embedded authority of a policy file or folder (`leasehold.open`)."""
    return AsyncAuthority(await asyncio.to_thread(open_authority, policy_path, state=state, system=system, sweep=sweep))


async def connect(
    url: str,
    credential: Given,
    *,
    doors: Mapping[str, Given] | None = None,
    trust: ssl.SSLContext | None = None,
    deadline_seconds: float = DEADLINE_SECONDS,
) -> AsyncRemoteAuthority:
    """Connect to an authority on another machine (`leasehold.connect`)."""
    return AsyncRemoteAuthority(
        connect_remote(url, credential, doors=doors, trust=trust, deadline_seconds=deadline_seconds)
    )


class AsyncDoor:
    """The async face of one door: no thread is held for a call, and a batch of answers wakes the event loop once.

    A task that is cancelled while it waits learns nothing of its call, which may be admitted all the same; such a call
    ends as `unknown`, unless it is settled as not started. Guards see to that.
    """

    def __init__(self, door: EmbeddedDoor | RemoteDoor) -> None:
        self._door = door
        self._answers = LoopAnswers()
        self.new_admission_id = door.new_admission_id
        self.boot_milliseconds = door.boot_milliseconds
        self.submit_admit = door.submit_admit
        self.submit_settle = door.submit_settle
        self.submit_check = door.submit_check
        self.submit_settled = door.submit_settled
        self.watch = door.watch

    @property
    def tool(self) -> str:
        """The tool's id."""
        return self._door.tool

    @property
    def environment(self) -> str:
        """The environment that it serves."""
        return self._door.environment

    async def admit(self, token: str, call: Call) -> Admission:
        """Ask for leave to start one call (`EmbeddedDoor.admit`)."""
        return await self._answers.awaited(self._door.submit_admit(token, call))

    async def settle(self, admission_id: AdmissionId, outcome: Outcome) -> Settlement:
        """Report how an admitted call went (`EmbeddedDoor.settle`)."""
        return await self._answers.awaited(self._door.submit_settle(admission_id, outcome))


class AsyncAuthority:
    """The async face of one authority. `sync` is the authority itself, with everything that has no twin here."""

    def __init__(self, authority: Authority) -> None:
        self.sync = authority

    def door(self, tool: str, environment: str) -> AsyncDoor:
        """The door of one tool in one environment (`Authority.door`), its questions awaited; guards take it as well."""
        return AsyncDoor(self.sync.door(tool, environment))

    async def start(
        self,
        *,
        agent: str,
        purpose: str,
        route: str = "",
        tenant: str = "",
        environment: str = "",
        requested_by: str = "",
        parent: HeldLease | None = None,
    ) -> RunAttempt:
        """Start a run, or a child run under a lease (`Runs.start`)."""
        return await asyncio.to_thread(
            self.sync.start,
            agent=agent,
            purpose=purpose,
            route=route,
            tenant=tenant,
            environment=environment,
            requested_by=requested_by,
            parent=parent,
        )

    async def retry(self, run: RunAttempt) -> RunAttempt:
        """Begin the next attempt (`Runs.retry`)."""
        return await asyncio.to_thread(self.sync.retry, run)

    async def run(self, run_id: str) -> RunAttempt:
        """Take a run up again (`Runs.resume`)."""
        return await asyncio.to_thread(self.sync.run, run_id)

    async def request(
        self,
        run: RunAttempt,
        allow: Mapping[str, Mapping[str, object]],
        *,
        reason: str,
        budget: Mapping[str, object] | None = None,
        ttl_seconds: int = 0,
        delegation_depth: int = ALL_DEPTH,
        tried: Sequence[str] = (),
    ) -> Request:
        """Ask for a lease (`Runs.request`)."""
        return await asyncio.to_thread(
            self.sync.request,
            run,
            allow,
            reason=reason,
            budget=budget,
            ttl_seconds=ttl_seconds,
            delegation_depth=delegation_depth,
            tried=tried,
        )

    async def wait(self, request: Request | str, timeout: float | None = None) -> HeldLease:
        """Wait for people, then draw a live lease (`Runs.wait`). Holds no thread while it waits."""
        waiting = asyncio.wrap_future(await asyncio.to_thread(self.sync.runs.submit_wait, request))
        return await _decided(waiting, request, timeout)

    async def renew(self, lease: HeldLease) -> HeldLease:
        """Draw the next lease of the same request (`Runs.renew`)."""
        return await asyncio.to_thread(self.sync.renew, lease)

    async def escalate(
        self,
        run: RunAttempt,
        action: str,
        attributes: Mapping[str, object],
        *,
        reason: str,
        seconds: int = 60,
        tried: Sequence[str] = (),
    ) -> HeldLease:
        """A lease for one operation, dead after a minute (`Runs.escalate`)."""
        request = await asyncio.to_thread(
            self.sync.runs.ask_escalation, run, action, attributes, reason=reason, seconds=seconds, tried=tried
        )
        return await self.wait(request)

    async def finish(self, run: RunAttempt) -> bytes:
        """Finish a run and everything under it, and answer its signed receipt (`Authority.finish`)."""
        return await asyncio.to_thread(self.sync.finish, run)

    async def close(self) -> None:
        """Let the files go (`Authority.close`)."""
        await asyncio.to_thread(self.sync.close)

    async def __aenter__(self) -> AsyncAuthority:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()


class AsyncRemoteAuthority:
    """The async face of an authority elsewhere; no verb holds a thread. `sync` is its twin, which has the rest.

    A task that is cancelled while it waits for people leaves nothing behind; any other verb may have been carried out.
    """

    def __init__(self, authority: RemoteAuthority) -> None:
        self.sync = authority
        self._answers = LoopAnswers()

    def door(self, tool: str, environment: str) -> AsyncDoor:
        """The door of one tool in one environment, its questions awaited; guards take it as well."""
        return AsyncDoor(self.sync.door(tool, environment))

    async def start(
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
    ) -> RunAttempt:
        """Start a run, or a child run under a lease (`RemoteRuns.submit_start`)."""
        return await self._answers.awaited(
            self.sync.runs.submit_start(
                agent=agent,
                purpose=purpose,
                route=route,
                tenant=tenant,
                environment=environment,
                requested_by=requested_by,
                parent=parent,
                subject_token=subject_token,
            )
        )

    async def retry(self, run: RunAttempt) -> RunAttempt:
        """Begin the next attempt."""
        return await self._answers.awaited(self.sync.runs.submit_retry(run))

    async def run(self, run_id: str) -> RunAttempt:
        """Take a run up again."""
        return await self._answers.awaited(self.sync.runs.submit_resume(run_id))

    async def request(
        self,
        run: RunAttempt,
        allow: Mapping[str, Mapping[str, object]],
        *,
        reason: str,
        budget: Mapping[str, object] | None = None,
        ttl_seconds: int = 0,
        delegation_depth: int = ALL_DEPTH,
        tried: Sequence[str] = (),
    ) -> Request:
        """Ask for a lease (`RemoteRuns.submit_request`)."""
        asked = self.sync.runs.submit_request(
            run,
            allow,
            reason=reason,
            budget=budget,
            ttl_seconds=ttl_seconds,
            delegation_depth=delegation_depth,
            tried=tried,
        )
        return await self._answers.awaited(asked)

    async def find_request(self, request_id: str) -> Request:
        """A request by its id."""
        return await self._answers.awaited(self.sync.runs.submit_find_request(request_id))

    async def wait(self, request: Request | str, timeout: float | None = None) -> HeldLease:
        """Wait for people, then draw a live lease. Cancelling it, or its time-out, draws nothing."""
        return await _decided(asyncio.wrap_future(self.sync.runs.submit_wait(request)), request, timeout)

    async def renew(self, lease: HeldLease) -> HeldLease:
        """Draw the next lease of the same request."""
        return await self._answers.awaited(self.sync.runs.submit_renew(lease))

    async def escalate(
        self,
        run: RunAttempt,
        action: str,
        attributes: Mapping[str, object],
        *,
        reason: str,
        seconds: int = 60,
        tried: Sequence[str] = (),
    ) -> HeldLease:
        """A lease for one operation, dead after a minute (`RemoteRuns.escalate`)."""
        asked = self.sync.runs.submit_escalation(run, action, attributes, reason=reason, seconds=seconds, tried=tried)
        request = await self._answers.awaited(asked)
        return await self.wait(request)

    async def finish(self, run: RunAttempt) -> bytes:
        """Finish a run and everything under it, and answer its signed receipt."""
        return await self._answers.awaited(self.sync.runs.submit_finish(run))

    async def close(self) -> None:
        """End what is under way and let the connections go."""
        await asyncio.to_thread(self.sync.close)

    async def __aenter__(self) -> AsyncRemoteAuthority:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()


async def _decided(waiting: asyncio.Future[HeldLease], request: Request | str, timeout: float | None) -> HeldLease:
    try:
        return await asyncio.wait_for(waiting, timeout)
    except TimeoutError:
        raise TimeoutError(not_decided(request)) from None
