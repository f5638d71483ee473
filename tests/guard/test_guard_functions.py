"""The third rung: functions, coroutines, methods and generators that are admitted each time they are called."""

from __future__ import annotations

import asyncio
import functools
import gc
import hashlib
import inspect
from collections.abc import AsyncIterator, Awaitable, Callable, Generator, Iterator
from typing import Any

import pytest
from door import HELD, SECRET_TOKEN, MemoryDoor

from leasehold.errors import Denied, InvalidError
from leasehold.guard import Capability, Guard
from leasehold.guard.permit import claim_of
from leasehold.model.call import OutcomeStatus
from leasehold.model.decision import Reason, deny
from leasehold.model.lease import HeldLease

pytestmark = pytest.mark.requirement("B5", "C3")

ONCE = HELD.once("T-1:close")


class StoppedError(BaseException):
    """Not an Exception: nothing in between may swallow it."""


@pytest.mark.requirement("P14")
def test_function_receives_the_capability_and_its_outcome_is_recorded(guard: Guard, door: MemoryDoor) -> None:
    @guard.action("close")
    def close(capability: Capability, ticket_id: str, note: str = "done") -> dict[str, str]:
        """Close a ticket."""
        door.now_ms += 70
        capability.touched(ticket_id)
        capability.contacted("zendesk")
        capability.file("closed.log")
        capability.spent(usd="0.02", pages=3)
        capability.spent(usd="0.01")
        return {ticket_id: note}

    assert close(ONCE, "T-1") == {"T-1": "done"}

    ((token, call),) = door.asked
    assert (token, call.action, call.key) == (SECRET_TOKEN, "ticket.close", "T-1:close")
    assert call.arguments == b'{"note":"done","ticket_id":"T-1"}'
    assert not call.tool_authority
    outcome = door.outcome
    assert outcome.status is OutcomeStatus.DONE
    assert outcome.duration_micros == 70_000
    assert outcome.cost == {"usd": 30_000, "pages": 3_000_000}
    assert (outcome.touched, outcome.contacted, outcome.files) == (("T-1",), ("zendesk",), ("closed.log",))
    assert outcome.result_digest == hashlib.sha256(b'{"T-1":"done"}').hexdigest()
    assert (outcome.error, outcome.no_effect) == ("", False)


def test_refused_call_never_runs_the_function(guard: Guard, door: MemoryDoor) -> None:
    ran: list[str] = []

    @guard.action("close")
    def close(capability: Capability, ticket_id: str) -> None:
        ran.append(ticket_id)

    door.refusal = deny(Reason.OUT_OF_RANGE, "not this ticket")
    with pytest.raises(Denied, match="not this ticket"):
        close(ONCE, "T-9")
    door.refusal = None
    with pytest.raises(Denied) as without_key:
        close(HELD, "T-1")

    assert without_key.value.decision.reason is Reason.KEY_NEEDED
    assert ran == []
    assert door.settled == {}


@pytest.mark.parametrize("error", [ValueError("secret text"), KeyboardInterrupt(), SystemExit(3), StoppedError()])
def test_what_the_function_raises_goes_on_unchanged_and_only_its_class_is_recorded(
    guard: Guard, door: MemoryDoor, error: BaseException
) -> None:
    @guard.action("close")
    def close(capability: Capability) -> None:
        capability.no_effect()
        raise error

    with pytest.raises(type(error)) as caught:
        close(ONCE)

    assert caught.value is error
    assert door.outcome.status is OutcomeStatus.FAILED
    assert door.outcome.error == type(error).__name__
    assert door.outcome.no_effect
    assert "secret" not in repr(door.outcome)


def test_coroutine_function_stays_one_and_is_admitted_when_awaited(guard: Guard, door: MemoryDoor) -> None:
    @guard.action("close")
    async def close(capability: Capability, ticket_id: str) -> str:
        await asyncio.sleep(0)
        await capability.check_async()
        return ticket_id

    assert inspect.iscoroutinefunction(close)
    assert asyncio.run(close(ONCE, "T-1")) == "T-1"
    assert door.outcome.status is OutcomeStatus.DONE


def test_cancelled_coroutine_settles_as_failed(guard: Guard, door: MemoryDoor) -> None:
    async def main() -> None:
        started = asyncio.Event()

        @guard.action("close")
        async def close(capability: Capability) -> None:
            started.set()
            await asyncio.Event().wait()

        task = asyncio.create_task(close(ONCE))
        await started.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(main())

    assert (door.outcome.status, door.outcome.error) == (OutcomeStatus.FAILED, "CancelledError")


class Tickets:
    """A tool whose functions are methods."""

    def __init__(self) -> None:
        self.closed: list[str] = []


def tickets_of(guard: Guard) -> type[Any]:
    class Guarded(Tickets):
        @guard.action("close")
        def close(self, capability: Capability, ticket_id: str) -> int:
            self.closed.append(ticket_id)
            return len(self.closed)

        @guard.action("read")
        def read(self, cap, ticket_id):  # type: ignore[no-untyped-def]
            return ticket_id

        @guard.action("list")
        def listed(tickets: Any, capability: Capability) -> Iterator[str]:  # noqa: N805 - known by position
            yield from tickets.closed

        @classmethod
        @guard.action("count")
        def count(cls, capability: Capability) -> str:
            return cls.__name__

        @staticmethod
        @guard.action("name")
        def name(capability: Capability, of: str) -> str:
            return of

    return Guarded


def test_methods_class_methods_and_static_methods_take_the_lease_after_self(guard: Guard, door: MemoryDoor) -> None:
    tickets = tickets_of(guard)()

    assert tickets.close(ONCE, "T-1") == 1
    assert tickets.close(HELD.once("2"), ticket_id="T-2") == 2
    assert tickets.read(HELD, "T-1") == "T-1"
    assert list(tickets.listed(HELD.once("3"))) == ["T-1", "T-2"]
    assert tickets.count(HELD.once("4")) == "Guarded"
    assert tickets.name(HELD.once("5"), "x") == "x"
    assert {outcome.status for outcome in door.settled.values()} == {OutcomeStatus.DONE}


def test_decorating_above_a_static_method_is_refused(guard: Guard) -> None:
    def close(capability: Capability) -> None: ...

    for kind in (staticmethod, classmethod):
        with pytest.raises(TypeError, match=f"below @{kind.__name__}"):
            guard.action("close")(kind(close))  # type: ignore[arg-type]


def no_parameters() -> None: ...


def only_self(self: object) -> None: ...


def too_late(a: int, b: int, capability: Capability) -> None: ...


def by_name(*, capability: Capability) -> None: ...


def starred(*capability: Capability) -> None: ...


def forgotten(ticket_id: str) -> None: ...


def forgotten_in_a_method(self: object, ticket_id: str, note: str) -> None: ...


def forgotten_before_a_list(labels: list[str]) -> None: ...


forgotten_before_a_list.__annotations__["labels"] = list[str]


@pytest.mark.parametrize(
    "function",
    [no_parameters, only_self, too_late, by_name, starred, forgotten, forgotten_in_a_method, forgotten_before_a_list],
)
def test_function_without_a_place_for_the_capability_is_refused(guard: Guard, function: Callable[..., Any]) -> None:
    with pytest.raises(TypeError, match="must take the capability as its first parameter"):
        guard.action("close")(function)


def test_capability_is_known_by_its_annotation_however_that_is_written(guard: Guard, door: MemoryDoor) -> None:
    def quoted(first: object, second: object) -> None: ...

    quoted.__annotations__["second"] = "'leasehold.Capability'"
    direct = functools.partial(too_late, 1)
    direct_signature = inspect.signature(quoted)
    assert len(direct_signature.parameters) == 2
    guard.action("close")(quoted)(object(), ONCE)

    def really(capability: object) -> None: ...

    really.__annotations__["capability"] = Capability
    guard.action("close")(really)(HELD.once("2"))  # type: ignore[call-arg, arg-type]

    assert len(door.settled) == 2
    assert direct is not None


@pytest.mark.requirement("C4")
def test_guarded_function_shows_the_lease_in_its_signature_and_hides_the_original(guard: Guard) -> None:
    def close(capability: Capability, ticket_id: str) -> str:
        """Close a ticket."""
        return ticket_id

    guarded = guard.action("close")(close)
    wrapped = guard.wrap("close", lambda lease, lease_: None)

    assert (guarded.__name__, guarded.__doc__, guarded.__module__) == ("close", "Close a ticket.", __name__)
    assert not hasattr(guarded, "__wrapped__")
    parameter = next(iter(inspect.signature(guarded).parameters.values()))
    assert (parameter.name, parameter.kind) == ("capability", inspect.Parameter.POSITIONAL_ONLY)
    assert list(inspect.signature(wrapped).parameters) == ["lease__", "lease", "lease_"]
    assert list(inspect.signature(tickets_of(guard)().close).parameters) == ["capability", "ticket_id"]


@pytest.mark.parametrize("args", [(), (None,), (7,)])
def test_call_without_a_lease_is_a_type_error(guard: Guard, door: MemoryDoor, args: tuple[Any, ...]) -> None:
    @guard.action("close")
    def close(capability: Capability) -> None: ...

    with pytest.raises(TypeError, match="lease"):
        close(*args)

    assert door.asked == []


def test_bare_token_is_a_permit_and_a_lease_without_this_tool_is_refused_without_showing_its_tokens(
    guard: Guard, door: MemoryDoor
) -> None:
    @guard.action("read")
    def read(capability: Capability) -> None: ...

    elsewhere = HeldLease(lease=HELD.lease, tokens={"secrets": SECRET_TOKEN})
    with pytest.raises(Denied) as refused:
        read(elsewhere)
    assert refused.value.decision.reason is Reason.NOT_GRANTED
    assert door.asked == []

    read(SECRET_TOKEN)
    assert door.call.key is None


def test_claim_and_errors_never_show_the_token(guard: Guard) -> None:
    assert SECRET_TOKEN not in repr(claim_of(ONCE, "ticket"))
    with pytest.raises(InvalidError):
        claim_of(HELD.once(""), "ticket")


def test_wrapped_function_needs_no_capability_and_the_ledger_is_told(guard: Guard, door: MemoryDoor) -> None:
    listing = guard.wrap("list", sorted_names)

    assert listing(HELD.once("k"), ["b", "a"], reverse=True) == ["b", "a"]
    assert door.call.tool_authority
    assert door.call.arguments == b'{"names":["b","a"],"reverse":true}'


def sorted_names(names: list[str], *, reverse: bool = False) -> list[str]:
    return sorted(names, reverse=reverse)


def test_anything_callable_can_be_wrapped(guard: Guard, door: MemoryDoor) -> None:
    reverse = guard.wrap("list", functools.partial(sorted_names, reverse=True))

    assert reverse(HELD.once("k"), ["a", "b"]) == ["b", "a"]


def counting(guard: Guard) -> Callable[..., Generator[Any, Any, str]]:
    @guard.action("read")
    def count(capability: Capability, up_to: int) -> Generator[Any, Any, str]:
        total = 0
        for number in range(up_to):
            try:
                total += (yield number) or 0
            except LookupError:
                yield "caught"
        return str(total)

    return count


def test_generator_is_admitted_at_its_first_next_and_settled_when_exhausted(guard: Guard, door: MemoryDoor) -> None:
    numbers = counting(guard)(HELD, 2)
    assert door.asked == []

    assert next(numbers) == 0
    assert (len(door.asked), len(door.settled)) == (1, 0)
    assert numbers.send(5) == 1
    with pytest.raises(StopIteration) as stopped:
        numbers.send(2)

    assert stopped.value.value == "7"
    assert door.outcome.status is OutcomeStatus.DONE
    assert door.outcome.result_digest == ""


def test_what_is_thrown_into_a_generator_reaches_it(guard: Guard, door: MemoryDoor) -> None:
    numbers = counting(guard)(HELD, 2)
    next(numbers)

    assert numbers.throw(LookupError()) == "caught"
    with pytest.raises(ZeroDivisionError):
        numbers.throw(ZeroDivisionError())
    assert door.outcome.error == "ZeroDivisionError"


def test_wrong_generator_arguments_are_refused_at_the_call_itself(guard: Guard) -> None:
    with pytest.raises(TypeError):
        counting(guard)(HELD, "2")


@pytest.mark.parametrize("leave", ["close", "drop"])
def test_generator_left_early_settles_as_failed_without_waiting(guard: Guard, door: MemoryDoor, leave: str) -> None:
    @guard.action("export")
    def export(capability: Capability) -> Iterator[int]:
        yield 1
        yield 2

    rows = export(ONCE)
    assert next(rows) == 1
    door.is_slow = True
    if leave == "close":
        rows.close()  # type: ignore[attr-defined]
    else:
        del rows
        gc.collect()

    assert (door.outcome.status, door.outcome.error) == (OutcomeStatus.FAILED, "GeneratorExit")


def test_generator_never_started_asks_nobody(guard: Guard, door: MemoryDoor) -> None:
    counting(guard)(HELD, 2).close()

    assert door.asked == []


def echoing(guard: Guard) -> Callable[..., Any]:
    @guard.action("export")
    async def echo(capability: Capability, first: int) -> AsyncIterator[Any]:
        heard: Any = first
        while heard != "stop":
            try:
                heard = yield heard
            except LookupError:
                heard = "caught"

    return echo


def test_async_generator_is_admitted_at_its_first_next_and_settled_when_exhausted(
    guard: Guard, door: MemoryDoor
) -> None:
    async def main() -> None:
        echo = echoing(guard)(ONCE, 1)
        assert door.asked == []
        assert await anext(echo) == 1
        assert await echo.asend("two") == "two"
        assert await echo.athrow(LookupError()) == "caught"
        assert door.settled == {}
        with pytest.raises(StopAsyncIteration):
            await echo.asend("stop")

    asyncio.run(main())

    assert door.outcome.status is OutcomeStatus.DONE


def test_async_generator_left_early_settles_as_failed(guard: Guard, door: MemoryDoor) -> None:
    async def main() -> None:
        echo = echoing(guard)(ONCE, 1)
        await anext(echo)
        await echo.aclose()

    asyncio.run(main())

    assert (door.outcome.status, door.outcome.error) == (OutcomeStatus.FAILED, "GeneratorExit")


def test_async_generator_dropped_in_a_running_loop_settles(guard: Guard, door: MemoryDoor) -> None:
    async def main() -> None:
        async for _ in echoing(guard)(ONCE, 1):
            break
        await asyncio.sleep(0)

    asyncio.run(main())

    assert door.outcome.error == "GeneratorExit"


async def later() -> None: ...


def counted() -> Iterator[int]:
    yield 1


async def counted_async() -> AsyncIterator[int]:
    yield 1


@pytest.mark.parametrize("promise", [later, counted, counted_async])
def test_result_that_is_only_a_promise_of_work_is_refused(
    guard: Guard, door: MemoryDoor, promise: Callable[[], object]
) -> None:
    @guard.action("close")
    def close(capability: Capability) -> object:
        return promise()

    with pytest.raises(TypeError, match="would run after the call is over"):
        close(ONCE)

    assert door.outcome.error == "TypeError"


def test_result_without_an_encoding_has_no_digest_and_is_returned(guard: Guard, door: MemoryDoor) -> None:
    result = object()

    @guard.action("close")
    def close(capability: Capability) -> object:
        return result

    assert close(ONCE) is result
    assert (door.outcome.status, door.outcome.result_digest) == (OutcomeStatus.DONE, "")


def test_two_calls_in_many_tasks_do_not_mix(guard: Guard, door: MemoryDoor) -> None:
    @guard.action("close")
    async def close(capability: Capability, ticket_id: str) -> None:
        await asyncio.sleep(0)
        capability.touched(ticket_id)

    async def main() -> None:
        jobs: list[Awaitable[None]] = [close(HELD.once(str(n)), str(n)) for n in range(20)]
        await asyncio.gather(*jobs)

    asyncio.run(main())

    assert sorted(outcome.touched for outcome in door.settled.values()) == sorted((str(n),) for n in range(20))


def test_verb_that_is_not_one_action_of_the_tool_is_refused(guard: Guard) -> None:
    assert (guard.tool, guard.environment) == ("ticket", "prod")
    for verb in ("close.all", "", "close it"):
        with pytest.raises(InvalidError):
            guard.action(verb)
