"""Running async functions are cancelled when what stands above them ends: woken by commits, leaving nothing behind."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import contextmanager

import pytest

from leasehold.errors import Denied, InvalidError, StoreError
from leasehold.guard import Capability, Guard
from leasehold.ledger.entry import EntryKind
from leasehold.model.decision import Decision, Reason
from leasehold.model.lease import HeldLease
from stage import ANA, EVA, UPDATE, Stage

pytestmark = [pytest.mark.requirement("L6", "P15"), pytest.mark.case(53)]

FAR_TOO_LONG = 60.0


class Work:
    """A tool whose one function works until it is let go or cancelled."""

    def __init__(self, stage: Stage) -> None:
        self.began = asyncio.Event()
        self.may_end = asyncio.Event()
        self.was_cancelled = False
        guard = Guard("ticket", stage.authority, environment="prod")

        @guard.action("update", cancel=True)
        async def update(capability: Capability, ticket_id: str) -> str:
            capability.touched(ticket_id)
            self.began.set()
            try:
                await asyncio.wait_for(self.may_end.wait(), FAR_TOO_LONG)
            except asyncio.CancelledError:
                self.was_cancelled = True
                raise
            return "updated"

        self.update = update

    async def start(self, lease: HeldLease, key: str = "a") -> asyncio.Task[str]:
        task = asyncio.create_task(self.update(lease.once(key), "T-1"))
        await asyncio.wait_for(self.began.wait(), FAR_TOO_LONG)
        return task


async def ended(task: asyncio.Task[str]) -> Decision:
    """Why the task was ended from above."""
    with pytest.raises(Denied) as refused:
        await asyncio.wait_for(task, FAR_TOO_LONG)
    return refused.value.decision


@contextmanager
def watching_nothing(stage: Stage) -> Iterator[None]:
    """Whatever happens inside, nobody looks for an end afterwards."""
    yield
    assert not stage.authority._waiters._looks
    assert stage.authority._waiters._unregister is None  # nor does anybody hear of commits


ENDS: dict[str, Callable[[Stage, HeldLease], object]] = {
    "lease": lambda stage, held: stage.revoke(f"lease:{held.lease.lease_id}"),
    "request": lambda stage, held: stage.revoke(f"request:{held.lease.request_id}"),
    "run": lambda stage, held: stage.revoke(f"run:{held.lease.run_id}"),
    "person": lambda stage, held: stage.revoke(f"person:{ANA}"),
    "action": lambda stage, held: stage.revoke("action:ticket.update"),
    "tool": lambda stage, held: stage.revoke("tool:ticket"),
    "everything": lambda stage, held: stage.revoke("all"),
    "offboarding": lambda stage, held: stage.desk.offboard(ANA, by="op", reason="left"),
    "finish": lambda stage, held: stage.authority.finish(stage.authority.run(held.lease.run_id)),
    "retry": lambda stage, held: stage.authority.retry(stage.authority.run(held.lease.run_id)),
    "epoch": lambda stage, held: stage.desk.raise_epoch(by="op", reason="restored"),
}


@pytest.mark.invariant("I1")
@pytest.mark.parametrize("end", ENDS)
def test_what_ends_above_a_running_function_cancels_it(stage: Stage, end: str) -> None:
    async def main() -> None:
        work, lease = Work(stage), stage.lease()
        task = await work.start(lease)
        await asyncio.to_thread(ENDS[end], stage, lease)
        decision = await ended(task)
        assert decision.reason is Reason.ENDED
        assert decision.message.startswith("ticket.update was cancelled while it ran: ")
        assert work.was_cancelled
        assert not task.cancelled()

    with watching_nothing(stage):
        asyncio.run(main())
    settled = stage.entries(EntryKind.CALL_SETTLED)[-1]
    assert (settled.outcome, settled.detail["error"], settled.detail["touched"]) == ("failed", "Denied", ("T-1",))


def test_a_child_is_cancelled_with_the_parent_of_its_parent(stage: Stage) -> None:
    async def main() -> None:
        root = stage.lease()
        middle = stage.lease(run=stage.child(root))
        leaf = stage.lease(run=stage.child(middle))
        work = Work(stage)
        task = await work.start(leaf)
        await asyncio.to_thread(stage.revoke, f"run:{root.lease.run_id}")
        assert "revoked" in (await ended(task)).message

    with watching_nothing(stage):
        asyncio.run(main())


def test_a_hold_cancels_nothing_and_hides_no_revoke(stage: Stage) -> None:
    async def main() -> None:
        work, lease = Work(stage), stage.lease()
        task = await work.start(lease)
        scopes = (f"lease:{lease.lease.lease_id}", f"run:{lease.lease.run_id}", "tool:ticket", "all")
        for scope in scopes:
            await asyncio.to_thread(stage.hold, scope)
        await looked(stage)
        assert not task.done()
        await asyncio.to_thread(stage.revoke, f"agent:{lease.lease.agent}")
        assert "revoked" in (await ended(task)).message

    with watching_nothing(stage):
        asyncio.run(main())


async def looked(stage: Stage) -> None:
    """Wait until those who watch have looked once more."""
    seen = asyncio.Event()
    loop = asyncio.get_running_loop()

    def look() -> bool:
        loop.call_soon_threadsafe(seen.set)
        return True

    stop_looking = stage.authority._waiters.add(look)
    await asyncio.wait_for(seen.wait(), FAR_TOO_LONG)
    stop_looking()


def test_what_ends_by_the_clock_is_seen_when_the_sweep_writes_it_down(stage: Stage) -> None:
    async def main() -> None:
        work, lease = Work(stage), stage.lease(ttl_seconds=5)
        task = await work.start(lease)
        stage.pass_time(6)
        await asyncio.to_thread(stage.sweep)
        assert (await ended(task)).reason is Reason.ENDED

    with watching_nothing(stage):
        asyncio.run(main())
    assert stage.entries(EntryKind.CALL_SETTLED)[-1].outcome == "failed"


def test_the_end_of_something_else_cancels_nothing(stage: Stage) -> None:
    async def main() -> None:
        work, lease, other = Work(stage), stage.lease(), stage.lease()
        task = await work.start(lease)
        await asyncio.to_thread(stage.revoke, f"lease:{other.lease.lease_id}")
        await asyncio.to_thread(stage.revoke, "all", tenant="globex")
        await asyncio.to_thread(stage.revoke, "action:ticket.get")
        await looked(stage)
        work.may_end.set()
        assert await asyncio.wait_for(task, FAR_TOO_LONG) == "updated"

    with watching_nothing(stage):
        asyncio.run(main())
    assert stage.entries(EntryKind.CALL_SETTLED)[-1].outcome == "done"


def test_a_call_may_go_on_while_another_one_ends_their_request(stage: Stage) -> None:
    async def main() -> None:
        lease = stage.lease({**UPDATE, "ticket.close": {"ticket": ["T-*"]}})
        work = Work(stage)
        task = await work.start(lease)
        stage.people.approve(stage.ask(lease, "ticket.close", key="c"), EVA)
        closing = await asyncio.to_thread(stage.admit, lease, "ticket.close", key="c")
        await looked(stage)
        assert not task.done()
        await asyncio.to_thread(stage.settle, closing)
        assert "ended with the work" in (await ended(task)).message

    with watching_nothing(stage):
        asyncio.run(main())


def test_a_cancellation_from_outside_stays_one(stage: Stage) -> None:
    async def main() -> None:
        work, lease = Work(stage), stage.lease()
        task = await work.start(lease)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert task.cancelled()
        both = await Work(stage).start(stage.lease())
        stage.revoke("all")
        both.cancel()
        with pytest.raises((asyncio.CancelledError, Denied)):
            await both

    with watching_nothing(stage):
        asyncio.run(main())


def run_one(stage: Stage, body: Callable[[Capability], Awaitable[str]]) -> object:
    """Run one function that meets a revoke of everything, and answer what its caller gets."""

    async def main() -> object:
        guard = Guard("ticket", stage.authority, environment="prod")

        @guard.action("update", cancel=True)
        async def update(capability: Capability, ticket_id: str) -> str:
            return await body(capability)

        return await update(stage.lease().once("a"), "T-1")

    with watching_nothing(stage):
        return asyncio.run(main())


def test_a_function_that_catches_the_cancellation_and_returns_is_done(stage: Stage) -> None:
    async def stubborn(capability: Capability) -> str:
        try:
            await asyncio.to_thread(stage.revoke, "all")
            await asyncio.sleep(FAR_TOO_LONG)
        except asyncio.CancelledError:
            return "finished what could not be left"
        return "never"

    assert run_one(stage, stubborn) == "finished what could not be left"
    assert stage.entries(EntryKind.CALL_SETTLED)[-1].outcome == "done"


def test_an_error_of_the_functions_own_is_not_hidden(stage: Stage) -> None:
    async def broken(capability: Capability) -> str:
        try:
            await asyncio.to_thread(stage.revoke, "all")
            await asyncio.sleep(FAR_TOO_LONG)
        except asyncio.CancelledError:
            raise ValueError("could not undo") from None
        return "never"

    with pytest.raises(ValueError, match="could not undo"):
        run_one(stage, broken)
    assert stage.entries(EntryKind.CALL_SETTLED)[-1].detail["error"] == "ValueError"


def test_the_word_that_nothing_changed_counts_for_a_cancelled_call(stage: Stage) -> None:
    async def harmless(capability: Capability) -> str:
        capability.no_effect()
        await asyncio.to_thread(stage.revoke, "all")
        await asyncio.sleep(FAR_TOO_LONG)
        return "never"

    with pytest.raises(Denied):
        run_one(stage, harmless)
    assert "no_effect" in stage.entries(EntryKind.CALL_SETTLED)[-1].detail


@pytest.mark.case(54)
def test_a_store_that_cannot_be_read_ends_nothing_on_a_guess(stage: Stage) -> None:
    store = stage.meddle()

    async def main() -> str:
        work, lease = Work(stage), stage.lease()
        task = await work.start(lease)

        def fail() -> None:
            raise StoreError("the disk is gone")

        store.reading = fail
        await looked(stage)
        work.may_end.set()
        return await asyncio.wait_for(task, FAR_TOO_LONG)

    with watching_nothing(stage):
        assert asyncio.run(main()) == "updated"


def test_a_loop_that_is_closed_is_told_nothing(stage: Stage) -> None:
    ends: list[Decision] = []
    lease = stage.lease()
    call = stage.admit(lease, "ticket.update", key="a")
    stop = stage.door().watch(call.admission_id, ends.append)

    async def main() -> None:
        work = Work(stage)
        await work.start(lease, "b")

    asyncio.run(main())
    stage.revoke("all")
    asyncio.run(looked(stage))
    assert [decision.reason for decision in ends] == [Reason.REVOKED]
    stop()


def test_a_call_that_has_ended_itself_is_said_to_be_over_at_once(stage: Stage) -> None:
    ends: list[Decision] = []
    call = stage.admit(stage.lease(), "ticket.update", key="a")
    stage.settle(call)
    with watching_nothing(stage):
        stop_watching = stage.door().watch(call.admission_id, ends.append)
        asyncio.run(looked(stage))
        stop_watching()
    assert [(decision.reason, decision.message) for decision in ends] == [
        (Reason.ENDED, f"{call.admission_id} is done")
    ]


@pytest.mark.parametrize("kind", ["plain", "generator", "async generator"])
def test_only_async_functions_can_be_cancelled(stage: Stage, kind: str) -> None:
    def plain(capability: Capability, ticket_id: str) -> str:
        return ticket_id

    def generator(capability: Capability, ticket_id: str) -> Iterator[str]:
        yield ticket_id

    async def async_generator(capability: Capability, ticket_id: str) -> AsyncIterator[str]:
        yield ticket_id

    function = {"plain": plain, "generator": generator, "async generator": async_generator}[kind]
    guard = Guard("ticket", stage.authority, environment="prod")
    with pytest.raises(TypeError, match=r"only an async function .* capability\.check\(\)"):
        guard.action("update", cancel=True)(function)


def test_a_door_that_cannot_tell_of_ends_is_refused() -> None:
    class Blind:
        def door(self, tool: str, environment: str) -> Blind:
            return self

    guard = Guard("ticket", Blind(), environment="prod")  # type: ignore[arg-type]  # a door of no use
    with pytest.raises(InvalidError, match="cannot tell when a call has ended"):
        guard.action("update", cancel=True)
