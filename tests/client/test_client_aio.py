"""The awaited face of a remote authority: the same journey, and no thread a waiter."""

from __future__ import annotations

import asyncio
import threading

import pytest
from far import HOST, FarStage, key_of

from leasehold import aio
from leasehold.errors import ApprovalNeeded
from leasehold.guard import Capability, Guard
from leasehold.model.call import Outcome, OutcomeStatus
from stage import ANA, BEN, CLOSE, GET, UPDATE

NAMED = {"agent": "bot", "route": "desk", "tenant": "acme", "environment": "prod", "requested_by": ANA}
CLOSE_T1 = {"ticket.close": {"ticket": ["T-1"]}}


@pytest.mark.requirement("C3")
def test_whole_journey_can_be_awaited_over_the_network(stage: FarStage, port: int) -> None:
    async def journey() -> bytes:
        async with (
            await aio.connect(f"http://127.0.0.1:{port}", key_of(stage.authority.near, HOST)) as host,
            await aio.connect(f"http://127.0.0.1:{port}", key_of(stage.authority.near, "ticket@prod")) as tool,
        ):
            guard = Guard("ticket", tool, environment="prod")

            @guard.action("update")
            async def update(capability: Capability, ticket_id: str) -> str:
                return f"{capability.tenant}: {ticket_id}"

            run = await host.start(purpose="look", **NAMED)
            request = await host.request(run, {**UPDATE, **GET}, reason="customer asked")
            lease = await host.wait(request, 10)
            assert (await host.find_request(request.request_id)).run_id == run.run_id
            assert await update(lease.once("k"), ticket_id="T-1") == "acme: T-1"
            lease = await host.renew(lease)
            door = tool.door("ticket", "prod")
            admission = await door.admit(lease.token_for("ticket"), stage.call("ticket.get"))
            await door.settle(admission.admission_id, Outcome(status=OutcomeStatus.DONE))
            one = await host.escalate(run, "ticket.update", {"ticket": ["T-2"]}, reason="one more")
            assert one.lease.budget["calls"] == 1_000_000
            run = await host.retry(run)
            assert (await host.run(run.run_id)).attempt == run.attempt == 2
            return await host.finish(run)

    assert b"payload" in asyncio.run(journey())


def test_two_hundred_that_wait_for_people_hold_one_thread(stage: FarStage, port: int) -> None:
    async def journey() -> int:
        async with await aio.connect(f"http://127.0.0.1:{port}", key_of(stage.authority.near, HOST)) as host:
            run = await host.start(purpose="look", **NAMED)
            request = await host.request(run, CLOSE_T1, reason="customer asked")
            waiting = [asyncio.ensure_future(host.wait(request)) for _ in range(200)]
            await asyncio.sleep(0.2)
            held = sum(thread.name.startswith("leasehold-client") for thread in threading.enumerate())
            await asyncio.to_thread(stage.people.approve, request.request_id, BEN)
            leases = await asyncio.gather(*waiting)
            assert {lease.lease.request_id for lease in leases} == {request.request_id}
            return held

    assert asyncio.run(journey()) == 1


def test_time_out_and_cancelling_draw_nothing(stage: FarStage, port: int) -> None:
    async def journey() -> None:
        async with await aio.connect(f"http://127.0.0.1:{port}", key_of(stage.authority.near, HOST)) as host:
            run = await host.start(purpose="look", **NAMED)
            request = await host.request(run, CLOSE_T1, reason="customer asked")
            with pytest.raises(TimeoutError, match=request.request_id):
                await host.wait(request, 0.05)
            task = asyncio.ensure_future(host.wait(request))
            await asyncio.sleep(0.05)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task

    asyncio.run(journey())
    stage.sweep()
    assert stage.authority.engine.store.queries.leases_of_run("acme", stage.entries()[-1].run) == ()


def test_call_that_people_must_see_is_the_same_exception_over_the_network(stage: FarStage) -> None:
    lease = stage.lease(CLOSE | UPDATE)
    with pytest.raises(ApprovalNeeded) as needed:
        stage.admit(lease, "ticket.close", key="k")
    stage.people.approve(needed.value.request, BEN)
    assert stage.authority.wait(needed.value.request, 10).lease.request_id == lease.lease.request_id
