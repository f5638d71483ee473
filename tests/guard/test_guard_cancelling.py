"""What a guard does with the word that a call has ended, whenever it comes: once, twice, too late, to a closed loop."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest
from door import HELD, MemoryDoor

from leasehold.errors import Denied
from leasehold.guard import Capability, Guard
from leasehold.guard.cancelling import CancelWhenEnded
from leasehold.model.call import OutcomeStatus
from leasehold.model.decision import Decision, Reason, deny
from leasehold.model.ids import AdmissionId

pytestmark = pytest.mark.requirement("L6")

GONE = deny(Reason.REVOKED, "run_1 was revoked: leak", rule="revoke run_1")


class WatchedDoor(MemoryDoor):
    """A door that says that a call has ended when a test wants it to."""

    def __init__(self) -> None:
        super().__init__()
        self.watched: list[Callable[[Decision], None]] = []
        self.stopped = 0

    def watch(self, admission_id: AdmissionId, ended: Callable[[Decision], None]) -> Callable[[], None]:
        assert admission_id in self.admitted
        self.watched.append(ended)
        return self._stop

    def end(self) -> None:
        for ended in self.watched:
            ended(GONE)

    def _stop(self) -> None:
        self.stopped += 1


@pytest.fixture
def watched() -> WatchedDoor:
    return WatchedDoor()


def working(door: WatchedDoor, work: Callable[[], object]) -> Callable[..., object]:
    """A guarded function that lets `work` happen and then waits for its end."""
    guard = Guard("ticket", door, environment="prod")

    @guard.action("close", cancel=True)
    async def close(capability: Capability, ticket_id: str) -> str:
        work()
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        return "closed"

    return close


def run(function: Callable[..., object]) -> object:
    async def main() -> object:
        return await function(HELD.once("k"), "T-1")  # type: ignore[misc]  # a coroutine function

    return asyncio.run(main())


def test_the_call_is_cancelled_once_and_settled_as_failed(watched: WatchedDoor) -> None:
    def twice() -> None:
        watched.end()
        watched.end()

    with pytest.raises(Denied) as refused:
        run(working(watched, twice))
    decision = refused.value.decision
    assert (decision.reason, decision.rule) == (Reason.ENDED, "revoke run_1")
    assert decision.message == "ticket.close was cancelled while it ran: run_1 was revoked: leak"
    assert isinstance(refused.value.__cause__, asyncio.CancelledError)
    assert (watched.outcome.status, watched.stopped) == (OutcomeStatus.FAILED, 1)


def test_a_word_that_comes_after_the_end_of_the_call_or_of_its_loop_is_too_late(watched: WatchedDoor) -> None:
    async def main() -> object:
        function = working(watched, lambda: None)
        answer = await function(HELD.once("k"), "T-1")  # type: ignore[misc]  # a coroutine function
        watched.end()
        await asyncio.sleep(0)
        return answer

    assert asyncio.run(main()) == "closed"
    watched.end()
    assert (watched.outcome.status, watched.stopped) == (OutcomeStatus.DONE, 1)


def test_without_cancel_nobody_watches(watched: WatchedDoor) -> None:
    guard = Guard("ticket", watched, environment="prod")

    @guard.action("close")
    async def close(capability: Capability, ticket_id: str) -> str:
        return "closed"

    assert run(close) == "closed"
    assert watched.watched == []


def test_a_coroutine_that_runs_in_no_task_cannot_be_cancelled_and_says_so(watched: WatchedDoor) -> None:
    loop = asyncio.new_event_loop()
    faults: list[BaseException] = []

    def drive() -> None:
        entering = CancelWhenEnded(watched, AdmissionId("adm_1"), "ticket.close").__aenter__()
        try:
            entering.send(None)
        except RuntimeError as error:
            faults.append(error)
        loop.stop()

    loop.call_soon(drive)
    loop.run_forever()
    loop.close()
    assert "has to run in a task" in str(faults[0])
    assert watched.watched == []
