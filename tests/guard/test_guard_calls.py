"""The second rung, and what a guard does when answers are late, lost or never come."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import threading
from concurrent.futures import Future
from typing import Any

import pytest
from door import HELD, MemoryDoor

from leasehold.errors import Denied, InvalidError, UnavailableError
from leasehold.guard import Capability, Guard
from leasehold.guard.stop import settle_on_sigterm
from leasehold.model.call import Call, OutcomeStatus
from leasehold.model.decision import Reason

pytestmark = pytest.mark.requirement("L9")

ONCE = HELD.once("k")


def test_with_block_is_admitted_on_entry_and_settled_on_exit(guard: Guard, door: MemoryDoor) -> None:
    with guard.call(ONCE, "close", {"ticket_id": "T-1"}, call_id="call_7", trace_id="t") as capability:
        assert capability.arguments == {"ticket_id": "T-1"}
        assert door.settled == {}
        capability.returned({"ok": True})

    assert (door.call.arguments, door.call.call_id, door.call.trace_id) == (b'{"ticket_id":"T-1"}', "call_7", "t")
    assert door.outcome.status is OutcomeStatus.DONE
    assert len(door.outcome.result_digest) == 64


def test_async_with_block_is_the_same(guard: Guard, door: MemoryDoor) -> None:
    async def main() -> None:
        async with guard.call(HELD, "close", {}, key="mine"):
            raise LookupError

    with pytest.raises(LookupError):
        asyncio.run(main())

    assert door.call.key == "mine"
    assert door.outcome.error == "LookupError"


def test_given_key_goes_before_the_key_of_the_lease(guard: Guard, door: MemoryDoor) -> None:
    with guard.call(ONCE, "close", {}, key="mine"):
        pass

    assert door.call.key == "mine"


def test_arguments_without_an_encoding_are_a_type_error_before_the_door_is_asked(
    guard: Guard, door: MemoryDoor
) -> None:
    for bad in (object(), 2**70, "\ud800"):
        with pytest.raises(TypeError):
            guard.call(ONCE, "close", {"x": bad})
    with pytest.raises(InvalidError):
        guard.call(ONCE, "close", {}, call_id="x" * 500)

    assert door.asked == []


def test_one_guarded_call_is_used_once(guard: Guard, door: MemoryDoor) -> None:
    call = guard.call(ONCE, "close", {})
    with pytest.raises(RuntimeError, match="never entered"):
        call.__exit__(None, None, None)
    with call:
        pass
    with pytest.raises(RuntimeError, match="one call"):
        call.__enter__()

    assert len(door.asked) == 1


@pytest.mark.case(51)
@pytest.mark.invariant("I5")
def test_answer_that_comes_too_late_is_never_acted_on(guard: Guard, door: MemoryDoor) -> None:
    door.answer_takes_ms = door.start_within_ms
    with pytest.raises(Denied) as late, guard.call(ONCE, "close", {}):
        pytest.fail("started")

    assert late.value.decision.reason is Reason.NOT_STARTED_IN_TIME
    assert door.outcome.status is OutcomeStatus.NOT_STARTED


def test_answer_just_in_time_is_acted_on(guard: Guard, door: MemoryDoor) -> None:
    door.answer_takes_ms = door.start_within_ms - 1
    with guard.call(ONCE, "close", {}):
        pass

    assert door.outcome.status is OutcomeStatus.DONE


@pytest.mark.case(68, 72)
@pytest.mark.invariant("I7")
@pytest.mark.parametrize("performed", [True, False])
def test_lost_answer_is_asked_for_again_with_the_same_admission_id(
    guard: Guard, door: MemoryDoor, performed: bool
) -> None:
    door.lose("admit", performed=performed)
    with guard.call(ONCE, "close", {}):
        pass

    assert len({call.admission_id for _, call in door.asked}) == 1
    assert len(door.admitted) == 1
    assert door.outcome.status is OutcomeStatus.DONE


def test_lost_and_refused_answers_are_the_same_to_coroutines(guard: Guard, door: MemoryDoor) -> None:
    async def main() -> None:
        door.lose("admit", performed=True)
        async with guard.call(ONCE, "close", {}):
            pass
        with pytest.raises(Denied) as refused:
            async with guard.call(HELD, "close", {}):
                pytest.fail("started")
        assert refused.value.decision.reason is Reason.KEY_NEEDED

    asyncio.run(main())

    assert len(door.admitted) == 1
    assert door.outcome.status is OutcomeStatus.DONE


@pytest.mark.case(51, 68)
def test_time_counts_from_before_the_first_question_even_if_its_answer_was_lost(guard: Guard, door: MemoryDoor) -> None:
    door.answer_takes_ms = 3_000
    door.lose("admit", performed=True)
    with pytest.raises(Denied), guard.call(ONCE, "close", {}):
        pytest.fail("started after 6 of 5 seconds")

    assert door.outcome.status is OutcomeStatus.NOT_STARTED


@pytest.mark.case(71)
@pytest.mark.parametrize("performed", [True, False])
def test_call_whose_answer_is_lost_twice_is_reported_as_not_started(
    guard: Guard, door: MemoryDoor, performed: bool
) -> None:
    door.lose("admit", performed=performed)
    door.lose("admit", performed=performed)
    with pytest.raises(UnavailableError), guard.call(ONCE, "close", {}):
        pytest.fail("started")

    assert [outcome.status for outcome in door.settled.values()] == [OutcomeStatus.NOT_STARTED] * performed


def test_door_that_is_gone_is_an_error_and_nothing_runs(guard: Guard, door: MemoryDoor) -> None:
    door.fault = UnavailableError("gone")
    with pytest.raises(UnavailableError), guard.call(ONCE, "close", {}):
        pytest.fail("started")


@pytest.mark.parametrize("released", ["answered", "lost", "refused"])
def test_cancelled_while_asking_is_reported_as_not_started(guard: Guard, door: MemoryDoor, released: str) -> None:
    door.is_slow = True
    call = guard.call(HELD if released == "refused" else ONCE, "close", {})
    if released == "lost":
        door.lose("admit", performed=True)

    async def main() -> None:
        task = asyncio.create_task(call.__aenter__())
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(main())
    assert door.settled == {}
    door.is_slow = False
    door.release()

    expected = [] if released == "refused" else [OutcomeStatus.NOT_STARTED]
    assert [outcome.status for outcome in door.settled.values()] == expected


class Interrupting(Future[Any]):
    """A Future whose waiter is interrupted by Ctrl-C."""

    def result(self, timeout: float | None = None) -> Any:
        raise KeyboardInterrupt


def test_interrupted_while_asking_is_reported_as_not_started(guard: Guard, door: MemoryDoor) -> None:
    submit = door.submit_admit
    asked: list[Future[Any]] = []

    def submit_interrupted(token: str, call: Call) -> Future[Any]:
        future = Interrupting()
        future.set_result(Future.result(submit(token, call)))
        asked.append(future)
        return future

    door.submit_admit = submit_interrupted  # type: ignore[method-assign]
    with pytest.raises(KeyboardInterrupt), guard.call(ONCE, "close", {}):
        pytest.fail("started")

    assert door.outcome.status is OutcomeStatus.NOT_STARTED


@pytest.mark.parametrize("verb", ["close", "read"])
def test_write_waits_for_its_settle_and_a_read_does_not(guard: Guard, door: MemoryDoor, verb: str) -> None:
    left = threading.Event()
    settling = threading.Event()
    submit = door.submit_settle

    def submit_slowly(admission_id: Any, outcome: Any) -> Any:
        door.is_slow = True
        future = submit(admission_id, outcome)
        settling.set()
        return future

    door.submit_settle = submit_slowly  # type: ignore[method-assign]

    def use() -> None:
        with guard.call(ONCE, verb, {}):
            pass
        left.set()

    thread = threading.Thread(target=use)
    thread.start()
    assert settling.wait(10)
    if verb == "read":
        assert left.wait(10)
    assert left.is_set() == (verb == "read")
    door.release()
    thread.join(10)
    assert left.is_set()


@pytest.mark.parametrize("performed", [True, False])
def test_lost_answer_of_a_settle_is_asked_for_again(
    guard: Guard, door: MemoryDoor, performed: bool, caplog: pytest.LogCaptureFixture
) -> None:
    door.lose("settle", performed=performed)
    with guard.call(ONCE, "close", {}):
        pass

    assert door.outcome.status is OutcomeStatus.DONE
    assert caplog.records == []


@pytest.mark.parametrize(("verb", "times"), [("close", 2), ("read", 1)])
def test_settle_that_fails_is_logged_and_hides_neither_result_nor_error(
    guard: Guard, door: MemoryDoor, verb: str, times: int, caplog: pytest.LogCaptureFixture
) -> None:
    for _ in range(2 * times):
        door.lose("settle", performed=False)
    with guard.call(ONCE, verb, {}):
        pass
    with pytest.raises(ZeroDivisionError), guard.call(HELD.once("2"), verb, {}):
        raise ZeroDivisionError

    assert [record.levelno for record in caplog.records] == [logging.ERROR] * 2
    assert "was not recorded (UnavailableError: the answer was lost)" in caplog.text


@pytest.mark.parametrize("verb", ["close", "read"])
def test_door_that_is_gone_at_the_end_is_logged_and_hides_nothing(
    guard: Guard, door: MemoryDoor, verb: str, caplog: pytest.LogCaptureFixture
) -> None:
    with guard.call(ONCE, verb, {}):
        door.fault = RuntimeError("gone")

    assert "RuntimeError: gone" in caplog.text


def test_cancelled_while_settling_is_still_recorded_and_a_failure_of_it_logged(
    guard: Guard, door: MemoryDoor, caplog: pytest.LogCaptureFixture
) -> None:
    async def use(key: str) -> None:
        async with guard.call(HELD.once(key), "close", {}):
            door.is_slow = True

    async def main(key: str) -> None:
        task = asyncio.create_task(use(key))
        while not door.is_slow:
            await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(main("1"))
    door.release()
    assert door.outcome.status is OutcomeStatus.DONE
    assert caplog.records == []

    door.is_slow = False
    door.lose("settle", performed=False)
    asyncio.run(main("2"))
    door.release()
    assert "was not recorded" in caplog.text


def test_answer_that_comes_after_the_event_loop_is_closed_disturbs_nobody(
    guard: Guard, door: MemoryDoor, caplog: pytest.LogCaptureFixture
) -> None:
    door.is_slow = True

    async def main() -> asyncio.Task[Capability]:
        task = asyncio.create_task(guard.call(ONCE, "close", {}).__aenter__())
        await asyncio.sleep(0)
        return task

    assert asyncio.run(main()).cancelled()
    door.release()

    assert caplog.records == []
    assert len(door.asked) == 1


def test_process_told_to_stop_records_the_running_call(guard: Guard, door: MemoryDoor) -> None:
    before = signal.getsignal(signal.SIGTERM)

    @guard.action("close")
    def close(capability: Capability) -> None:
        os.kill(os.getpid(), signal.SIGTERM)
        threading.Event().wait(10)

    with pytest.raises(SystemExit) as stopped, settle_on_sigterm():
        close(ONCE)

    assert stopped.value.code == 143
    assert (door.outcome.status, door.outcome.error) == (OutcomeStatus.FAILED, "SystemExit")
    assert signal.getsignal(signal.SIGTERM) is before


def test_call_that_nobody_saw_the_end_of_is_closed_and_not_reported(guard: Guard, door: MemoryDoor) -> None:
    call = guard.call(ONCE, "close", {})
    with pytest.raises(RuntimeError, match="never entered"):
        call.leave_unknown()

    with call as capability:
        call.leave_unknown()
        with pytest.raises(Denied) as denied:
            capability.touched("ticket/T-1")

    assert denied.value.decision.reason is Reason.ENDED
    assert len(door.admitted) == 1
    assert door.settled == {}
