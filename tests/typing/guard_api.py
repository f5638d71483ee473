"""Read by mypy only: what guarded functions look like to those who call them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Coroutine, Iterator
from typing import Any, assert_type

from leasehold.guard import Capability, Guard
from leasehold.guard.permit import Permit
from leasehold.model.lease import HeldLease, KeyedLease, Token


class Ticket: ...


async def guarded_functions_keep_their_types(
    guard: Guard, held: HeldLease, keyed: KeyedLease, token: Token, capability: Capability
) -> None:
    @guard.action("close")
    def close(capability: Capability, ticket_id: str, note: str = "", *, loud: bool = False) -> Ticket:
        return Ticket()

    assert_type(close(held, "T-1"), Ticket)
    assert_type(close(keyed, ticket_id="T-1", note="x", loud=True), Ticket)
    close(token, "T-1")
    close(capability, "T-1")
    close("a plain string", "T-1")  # type: ignore[arg-type]  # not a token
    close(held, 1)  # type: ignore[arg-type]  # the parameter keeps its type
    close(held)  # type: ignore[call-arg]  # and its place
    close(held, "T-1", colour=1)  # type: ignore[call-arg]  # and nothing is added
    close("T-1")  # type: ignore[call-arg, arg-type]  # a lease comes first

    @guard.action("read")
    async def read(capability: Capability, ticket_id: str) -> int:
        return 1

    @guard.action("watch", cancel=True)
    async def watch(capability: Capability, ticket_id: str) -> int:
        return 1

    assert_type(await watch(held, "T-1"), int)
    reading: Coroutine[Any, Any, int] = read(held, "T-1")
    assert_type(await reading, int)

    @guard.action("list")
    def listed(capability: Capability) -> Iterator[int]:
        yield 1

    assert_type(listed(held), Iterator[int])

    @guard.action("stream")
    async def stream(capability: Capability) -> AsyncIterator[int]:
        yield 1

    assert_type(stream(held), AsyncIterator[int])

    @guard.action("broken")  # type: ignore[arg-type]  # it takes no capability
    def broken() -> None: ...


def methods_keep_their_types(guard: Guard, keyed: KeyedLease) -> None:
    class Tickets:
        @guard.action("close")
        def close(self, capability: Capability, ticket_id: str) -> Ticket:
            return Ticket()

    assert_type(Tickets().close(keyed, "T-1"), Ticket)
    assert_type(Tickets.close(Tickets(), keyed, ticket_id="T-1"), Ticket)
    Tickets().close(keyed, 7)  # type: ignore[arg-type]  # the parameter keeps its type


def wrapped_functions_take_a_lease_first(guard: Guard, held: HeldLease, permit: Permit) -> None:
    def search(text: str, *, limit: int = 10) -> list[str]:
        return [text] * limit

    guarded = guard.wrap("search", search)
    assert_type(guarded(held, "x", limit=2), list[str])
    assert_type(guarded(permit, "x"), list[str])
    guarded("x")  # type: ignore[call-arg, arg-type]  # a lease comes first


def calls_give_a_capability(guard: Guard, held: HeldLease) -> None:
    with guard.call(held, "close", {"ticket_id": "T-1"}, key="k") as capability:
        assert_type(capability, Capability)
        assert_type(capability.narrow(ticket="T-1"), Capability)
        capability.tenant = "other"  # type: ignore[misc]  # nothing of it can be set


async def calls_give_a_capability_to_coroutines(guard: Guard, held: HeldLease) -> None:
    async with guard.call(held, "read", {}) as capability:
        assert_type(capability, Capability)
