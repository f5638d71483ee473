"""A guard at a call that comes after one in flight: it waits for that one's end, bounded, and asks again by itself."""

from __future__ import annotations

import asyncio
import threading

import pytest
from door import HELD, MemoryDoor
from msgspec.structs import replace

from leasehold import Guard
from leasehold.errors import Denied
from leasehold.guard.asking import PREREQUISITE_WAIT_MS
from leasehold.model.call import OutcomeStatus
from leasehold.model.decision import Decision, Reason, deny
from stage import GET, UPDATE, Stage, changed

FIRST = "adm_01JZ8Q5X0M3V7K2N9B4C6D8E0F"
EARLY: Decision = replace(deny(Reason.PREREQUISITE_OPEN, "a look comes first"), admission_id=FIRST)


@pytest.fixture
def door() -> MemoryDoor:
    return MemoryDoor()


@pytest.mark.requirement("F6")
def test_a_guard_waits_for_the_call_that_comes_first_and_asks_again_with_the_same_id(door: MemoryDoor) -> None:
    door.first_refusals = [EARLY, EARLY]
    door.wait_takes_ms = 1_000
    guard = Guard("ticket", door, environment="prod")
    with guard.call(HELD, "read", {"ticket_id": "T-1"}) as capability:
        capability.check()
    assert door.waited == [(FIRST, 3_000), (FIRST, 2_000)]
    assert len({call.admission_id for _, call in door.asked}) == 1
    assert [each.status for each in door.settled.values()] == [OutcomeStatus.DONE]


@pytest.mark.requirement("F6")
@pytest.mark.parametrize("takes_ms", [PREREQUISITE_WAIT_MS - 1, PREREQUISITE_WAIT_MS])
def test_a_guard_does_not_wait_for_ever(door: MemoryDoor, takes_ms: int) -> None:
    door.first_refusals = [EARLY] * 9
    door.wait_takes_ms = takes_ms
    guard = Guard("ticket", door, environment="prod")
    with pytest.raises(Denied) as refused, guard.call(HELD, "read", {"ticket_id": "T-1"}):
        pass
    assert refused.value.decision == EARLY
    assert len(door.waited) <= 2
    assert door.settled == {}


def test_any_other_refusal_is_told_at_once(door: MemoryDoor) -> None:
    door.refusal = deny(Reason.OUT_OF_ORDER, "look first")
    guard = Guard("ticket", door, environment="prod")
    with pytest.raises(Denied), guard.call(HELD, "read", {"ticket_id": "T-1"}):
        pass
    assert door.waited == []


ORDERED = changed("run_ttl", 'after."ticket.update" = ["ticket.get"]\nrun_ttl')


@pytest.mark.requirement("F6")
def test_two_calls_of_one_turn_come_in_their_order_without_anybody_polling() -> None:
    stage = Stage(ORDERED)
    lease = stage.lease(GET | UPDATE)
    guard = Guard("ticket", stage.authority, environment="prod")
    order: list[str] = []
    looking, may_end = threading.Event(), threading.Event()

    @guard.action("get")
    def get(capability: object, ticket_id: str) -> None:
        looking.set()
        assert may_end.wait(10)
        order.append("get")

    @guard.action("update")
    def update(capability: object, ticket_id: str) -> None:
        order.append("update")

    first = threading.Thread(target=lambda: get(lease, ticket_id="T-1"))
    first.start()
    assert looking.wait(10)
    second = threading.Thread(target=lambda: update(lease.once("a"), ticket_id="T-1"))
    second.start()
    while stage.denials() != ["prerequisite_open"]:
        second.join(0.01)
    may_end.set()
    first.join(10)
    second.join(10)
    assert order == ["get", "update"]
    assert stage.denials() == ["prerequisite_open"]
    stage.close()


@pytest.mark.requirement("F6")
def test_coroutines_wait_for_what_comes_first_too() -> None:
    stage = Stage(ORDERED)
    lease = stage.lease(GET | UPDATE)
    guard = Guard("ticket", stage.authority, environment="prod")
    order: list[str] = []

    @guard.action("get")
    async def get(capability: object, ticket_id: str) -> None:
        while not stage.denials():
            await asyncio.sleep(0)
        order.append("get")

    @guard.action("update")
    async def update(capability: object, ticket_id: str) -> None:
        order.append("update")

    async def both() -> None:
        first = asyncio.create_task(get(lease, ticket_id="T-1"))
        while not stage.authority.engine.store.queries.open_calls(["acme"]):
            await asyncio.sleep(0)
        await update(lease.once("a"), ticket_id="T-1")
        await first

    asyncio.run(both())
    assert order == ["get", "update"]
    stage.close()
