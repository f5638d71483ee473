"""The awaited faces do what their twins do, and hold no thread while they wait for people."""

from __future__ import annotations

import asyncio
import base64
import json
import threading
from contextlib import suppress
from pathlib import Path

import pytest

from leasehold import aio
from leasehold.errors import ApprovalNeeded, Denied
from leasehold.guard import Capability, Guard
from leasehold.ledger.receipt import PREDICATE_TYPE
from leasehold.model.call import Call, CallState, Outcome, OutcomeStatus
from leasehold.model.scope import Scope
from leasehold.testing.clock import FrozenSystem
from leasehold.testing.fixtures import Approvers

POLICY = """
version = 1
authority = "aio"
[people]
"user:ben" = ["lead"]
[actions]
"ticket.get"   = { effect = "read", args = { ticket = "ticket_id" } }
"ticket.close" = { effect = "write", args = { ticket = "ticket_id" } }
[routes.desk]
for = { agents = ["bot"], tenants = ["acme"], environments = ["prod"] }
allow."ticket.get"   = { ticket = ["T-*"] }
allow."ticket.close" = { ticket = ["T-*"] }
approve."ticket.close" = "call"
approvers = ["lead"]
delegation = { depth = 1, children = 1, actions = ["ticket.get"] }
"""


@pytest.fixture
def policy(tmp_path: Path) -> Path:
    path = tmp_path / "leasehold.toml"
    path.write_text(POLICY)
    return path


@pytest.mark.requirement("C3")
def test_a_whole_journey_can_be_awaited(policy: Path) -> None:
    async def journey() -> bytes:
        async with await aio.open(policy, state=":memory:", system=FrozenSystem(), sweep=False) as authority:
            guard = Guard("ticket", authority, environment="prod")

            @guard.action("get")
            async def get(capability: Capability, ticket_id: str) -> str:
                await asyncio.sleep(0)
                return f"{capability.tenant}: {ticket_id}"

            run = await authority.start(
                agent="bot", route="desk", tenant="acme", environment="prod", requested_by="user:ana", purpose="look"
            )
            request = await authority.request(run, {"ticket.get": {"ticket": ["T-*"]}}, reason="to read it")
            lease = await authority.wait(request, timeout=30)
            assert await get(lease, ticket_id="T-1") == "acme: T-1"
            child = await authority.start(agent="reader", purpose="read one", parent=lease)
            narrower = await authority.request(child, {"ticket.get": {"ticket": ["T-2"]}}, reason="only this")
            assert await get(await authority.wait(narrower), ticket_id="T-2") == "acme: T-2"
            assert (await authority.renew(lease)).lease.request_id == lease.lease.request_id
            again = await authority.retry(await authority.run(run.run_id))
            with pytest.raises(Denied, match="stale_attempt"):
                await get(lease, ticket_id="T-1")
            minute = await authority.escalate(again, "ticket.get", {"ticket": ["T-3"]}, reason="one look")
            assert minute.lease.expires_at - minute.lease.issued_at == 60
            return await authority.finish(again)

    envelope = json.loads(asyncio.run(journey()))
    assert PREDICATE_TYPE.encode() in base64.b64decode(envelope["payload"])


@pytest.mark.requirement("P9", "F1")
def test_waiting_for_a_person_is_woken_by_the_answer(policy: Path) -> None:
    async def journey() -> str:
        async with await aio.open(policy, state=":memory:", system=FrozenSystem(), sweep=False) as authority:
            guard = Guard("ticket", authority, environment="prod")

            @guard.action("close")
            async def close(capability: Capability, ticket_id: str) -> str:
                return ticket_id

            run = await authority.start(
                agent="bot", route="desk", tenant="acme", environment="prod", requested_by="user:ana", purpose="close"
            )
            request = await authority.request(run, {"ticket.close": {"ticket": ["T-1"]}}, reason="it is fixed")
            lease = await authority.wait(request)
            with pytest.raises(ApprovalNeeded) as needed:
                await close(lease.once("close T-1"), ticket_id="T-1")
            waiting = asyncio.ensure_future(authority.wait(needed.value.request, timeout=30))
            await asyncio.to_thread(Approvers(authority.sync).approve, needed.value.request, "user:ben")
            return await close((await waiting).once("close T-1"), ticket_id="T-1")

    assert asyncio.run(journey()) == "T-1"


def test_a_wait_that_takes_too_long_leaves_the_request_as_it_is(policy: Path) -> None:
    async def journey() -> None:
        async with await aio.open(policy, state=":memory:", system=FrozenSystem(), sweep=False) as authority:
            guard = Guard("ticket", authority, environment="prod")

            @guard.action("close")
            async def close(capability: Capability, ticket_id: str) -> str:
                return ticket_id

            run = await authority.start(
                agent="bot", route="desk", tenant="acme", environment="prod", requested_by="user:ana", purpose="close"
            )
            request = await authority.request(run, {"ticket.close": {"ticket": ["T-1"]}}, reason="it is fixed")
            lease = await authority.wait(request)
            with pytest.raises(ApprovalNeeded) as needed:
                await close(lease.once("close T-1"), ticket_id="T-1")
            with pytest.raises(TimeoutError, match=needed.value.request):
                await authority.wait(needed.value.request, timeout=0.01)
            state = authority.sync.runs.request_state(authority.sync.find_request(needed.value.request))
            assert state == "pending"

    asyncio.run(journey())


def test_calls_are_admitted_and_settled_without_a_thread_for_each(policy: Path) -> None:
    async def one(door: aio.AsyncDoor, token: str, number: int) -> CallState:
        arguments = f'{{"ticket_id":"T-{number}"}}'.encode()
        call = Call(action="ticket.get", arguments=arguments, admission_id=door.new_admission_id())
        admission = await door.admit(token, call)
        return (await door.settle(admission.admission_id, Outcome(status=OutcomeStatus.DONE))).state

    async def journey() -> None:
        async with await aio.open(policy, state=":memory:", system=FrozenSystem(), sweep=False) as authority:
            door = authority.door("ticket", "prod")
            assert (door.tool, door.environment) == ("ticket", "prod")
            run = authority.sync.start(
                agent="bot", route="desk", tenant="acme", environment="prod", requested_by="user:ana", purpose="look"
            )
            request = authority.sync.request(run, {"ticket.get": {"ticket": ["T-*"]}}, reason="to read them")
            token = authority.sync.wait(request, 30).token_for("ticket")
            before = threading.active_count()
            ended = await asyncio.gather(*(one(door, token, number) for number in range(20)))
            assert ended == [CallState.DONE] * 20
            assert threading.active_count() == before
            with pytest.raises(Denied):
                await one(door, "no token", 1)

    asyncio.run(journey())


@pytest.mark.requirement("L6")
@pytest.mark.case(53)
def test_a_running_function_hears_of_its_end_here_too(policy: Path) -> None:
    async def journey() -> list[str]:
        said = []
        async with await aio.open(policy, state=":memory:", system=FrozenSystem(), sweep=False) as authority:
            guard = Guard("ticket", authority, environment="prod")

            async def work(capability: Capability, ticket_id: str) -> None:
                await asyncio.to_thread(
                    authority.sync.desk.revoke, Scope.parse("all"), by="op", reason="incident", tenant="acme"
                )
                await capability.check_async()

            @guard.action("get")
            async def asks(capability: Capability, ticket_id: str) -> None:
                await work(capability, ticket_id)

            @guard.action("get", cancel=True)
            async def is_cancelled(capability: Capability, ticket_id: str) -> None:
                with suppress(Denied):
                    await work(capability, ticket_id)
                await asyncio.sleep(60)

            for function in (asks, is_cancelled):
                run = await authority.start(
                    agent="bot",
                    route="desk",
                    tenant="acme",
                    environment="prod",
                    requested_by="user:ana",
                    purpose="look",
                )
                request = await authority.request(run, {"ticket.get": {"ticket": ["T-*"]}}, reason="to read it")
                lease = await authority.wait(request)
                with pytest.raises(Denied) as refused:
                    await function(lease, ticket_id="T-1")
                said.append(refused.value.decision.reason)
        return said

    assert asyncio.run(journey()) == ["revoked", "ended"]
