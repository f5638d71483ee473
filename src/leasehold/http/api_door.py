"""Doors over HTTP: what a guard asks. Admit and settle are the hot path: parsed, submitted, awaited, no thread between.

Only what has to be read from the database first goes through a thread: the documents of a lease that this process has
not seen yet.
"""

from __future__ import annotations

import asyncio

from msgspec.structs import replace
from starlette.concurrency import run_in_threadpool

from leasehold.authority import Authority, EmbeddedDoor
from leasehold.guard.waiting import LoopAnswers
from leasehold.http.api_calls import Answer, ApiCall, Handler, Waits, arrived
from leasehold.model.api import AdmissionAnswer, AdmitBody, WaitQuery
from leasehold.model.call import CallState, Outcome
from leasehold.model.decision import Decision
from leasehold.model.endpoints import EndpointName
from leasehold.model.ids import AdmissionId, check_id

__all__ = ["door_handlers"]


def door_handlers(authority: Authority, waits: Waits) -> dict[EndpointName, Handler]:
    """What answers the endpoints of Door."""
    handlers = _DoorHandlers(authority, waits)
    return {
        EndpointName.ADMIT: handlers.admit,
        EndpointName.SETTLE: handlers.settle,
        EndpointName.ADMISSION: handlers.admission,
    }


class _DoorHandlers:
    """One method an endpoint."""

    def __init__(self, authority: Authority, waits: Waits) -> None:
        self._waits = waits
        self._authority = authority
        self._answers = LoopAnswers()  # a batch of answers wakes the event loop once

    def _door(self, call: ApiCall) -> EmbeddedDoor:
        right = call.client.rule.door
        assert right is not None  # noqa: S101 - who has another right was refused before
        return self._authority.client_door(call.client.voice, right)

    async def admit(self, call: ApiCall) -> Answer:
        """Ask for leave to start one call."""
        body, door = call.sent(AdmitBody), self._door(call)
        wanted = body.to_call()
        if not wanted.trace_id and (trace := call.state.get("trace_id")):
            wanted = replace(wanted, trace_id=trace)
        if wanted.preview is None and door.is_at_hand(body.token):
            return await self._answers.awaited(door.submit_admit(body.token, wanted))
        return await self._answers.awaited(await run_in_threadpool(door.submit_admit, body.token, wanted))

    async def settle(self, call: ApiCall) -> Answer:
        """Report how an admitted call went."""
        door, outcome, admission_id = self._door(call), call.sent(Outcome), AdmissionId(call.ids[0])
        if door.is_known(admission_id):
            return await self._answers.awaited(door.submit_settle(admission_id, outcome))
        return await self._answers.awaited(await run_in_threadpool(door.submit_settle, admission_id, outcome))

    async def admission(self, call: ApiCall) -> Answer:
        """Whether a call has ended or may go on, at once or when one of them changes."""
        door, admission_id = self._door(call), AdmissionId(check_id(call.ids[0], "adm"))
        found = await run_in_threadpool(_standing, door, admission_id)
        wait = call.asked(WaitQuery).wait
        if wait and found.state is CallState.ADMITTED and found.end is None:
            await self._changed(call, door, admission_id, wait)
            found = await run_in_threadpool(_standing, door, admission_id)
        return found

    async def _changed(self, call: ApiCall, door: EmbeddedDoor, admission_id: AdmissionId, seconds: int) -> None:
        """Return once the call is not open any more, or something above it has ended, or the seconds have passed."""
        loop = asyncio.get_running_loop()
        over = asyncio.Event()

        def ended(_: Decision) -> None:
            loop.call_soon_threadsafe(over.set)

        stop = await run_in_threadpool(door.watch, admission_id, ended)
        try:
            settled = asyncio.ensure_future(arrived(door.submit_settled(admission_id, seconds * 1000)))
            revoked = asyncio.ensure_future(over.wait())
            await self._waits.first_of(call, settled, revoked, seconds=seconds)
        finally:
            stop()


def _standing(door: EmbeddedDoor, admission_id: AdmissionId) -> AdmissionAnswer:
    looked = door.look(admission_id)
    return AdmissionAnswer(admission_id=admission_id, state=looked.state, refusal=looked.refusal, end=looked.end)
