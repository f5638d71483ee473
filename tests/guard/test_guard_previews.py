"""Previews at the guard: run as a read of their own before people are asked and again before the call starts."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest

from leasehold.errors import ApprovalNeeded, Denied, InvalidError
from leasehold.guard import Capability, Guard
from leasehold.guard.binding import bind_function
from leasehold.guard.schema import schema_digest
from leasehold.ledger.entry import EntryKind
from leasehold.model.decision import Reason
from leasehold.model.preview import Preview
from previewed import PREVIEWED, Desk
from stage import BEN, ERASE, EVA, Stage

pytestmark = pytest.mark.requirement("P10")


@pytest.fixture
def stage() -> Iterator[Stage]:
    """A stage whose destructive action is previewed."""
    stage = Stage(PREVIEWED)
    yield stage
    stage.close()


@pytest.fixture
def guard(stage: Stage) -> Guard:
    return Guard("ticket", stage.authority, environment="prod")


def test_people_see_what_the_tool_says_before_they_are_asked(stage: Stage) -> None:
    desk, lease = Desk(stage), stage.lease(ERASE)
    card = desk.card(desk.ask(lease))
    assert [(change.name, change.before, change.after) for change in card.changes] == [
        ("status", "open", "erased"),
        ("owner", "ben", "ben"),
    ]
    assert (card.objects, card.external) == (1, ("an e-mail to the customer",))
    assert card.preview_undo == "from the backup of last night"
    assert card.headline == "Erase T-1 - acme / prod"
    assert card.preview
    assert desk.tickets["T-1"] == "open"


def test_a_call_whose_state_did_not_move_is_carried_out_after_a_second_look(stage: Stage) -> None:
    desk, lease = Desk(stage), stage.lease(ERASE)
    desk.approve(desk.ask(lease))
    assert desk.erase(lease.once("a"), "T-1") == "open"
    assert desk.looks == 2
    assert [entry.action for entry in stage.entries(EntryKind.CALL_SETTLED)] == [
        "ticket.look",
        "ticket.look",
        "ticket.erase",
    ]
    assert stage.denials() == []  # being asked for a preview is no refusal


@pytest.mark.case(78)
def test_an_action_function_has_what_people_saw_for_a_conditional_write(stage: Stage, guard: Guard) -> None:
    @guard.preview("erase")
    def look(capability: Capability, ticket_id: str) -> Preview:
        assert capability.seen is None  # nobody approves a look
        return Preview.of({"status": ("open", "erased")}, state="etag-7")

    @guard.action("erase")
    def erase(capability: Capability, ticket_id: str) -> str:
        assert capability.seen is not None
        return capability.seen.state

    lease = stage.lease(ERASE)
    with pytest.raises(ApprovalNeeded) as needed:
        erase(lease.once("a"), "T-1")
    stage.people.approve(needed.value.request, BEN, EVA)
    assert erase(lease.once("a"), "T-1") == "etag-7"


def test_a_call_that_waits_is_not_previewed_again(stage: Stage) -> None:
    desk, lease = Desk(stage), stage.lease(ERASE)
    needed = desk.ask(lease)
    assert desk.ask(lease).request == needed.request
    assert desk.looks == 1


@pytest.mark.case(78)
@pytest.mark.invariant("I4")
def test_what_moved_after_the_approval_is_not_carried_out_but_asked_about_again(
    stage: Stage,
) -> None:
    desk, lease = Desk(stage), stage.lease(ERASE)
    first = desk.ask(lease)
    desk.approve(first)
    desk.tickets["T-1"] = "reopened"
    again = desk.ask(lease)
    assert again.decision.reason is Reason.STATE_MOVED
    assert again.request != first.request
    (moved,) = desk.card(again).moved
    assert (moved.name, moved.before, moved.after) == ("status", "open -> erased", "reopened -> erased")
    assert desk.tickets["T-1"] == "reopened"
    assert stage.desk.request_row(stage.authority.find_request(first.request)).state == "lapsed"
    desk.approve(again)
    assert desk.erase(lease.once("a"), "T-1") == "reopened"


@pytest.mark.case(78)
def test_what_moved_and_moved_back_needs_a_new_approval_all_the_same(stage: Stage) -> None:
    desk, lease = Desk(stage), stage.lease(ERASE)
    desk.approve(desk.ask(lease))
    desk.tickets["T-1"] = "reopened"
    moved = desk.ask(lease)
    desk.tickets["T-1"] = "open"
    assert desk.ask(lease).request == moved.request  # still the one that waits
    assert desk.tickets["T-1"] == "open"


def test_a_guard_without_a_preview_function_starts_nothing_and_says_what_is_missing(stage: Stage, guard: Guard) -> None:
    @guard.action("erase")
    def erase(capability: Capability, ticket_id: str) -> None:
        raise AssertionError("nobody saw what it would change")

    with pytest.raises(Denied) as caught:
        erase(stage.lease(ERASE).once("a"), "T-1")
    assert caught.value.decision.reason is Reason.PREVIEW_NEEDED
    assert "@guard.preview('erase')" in str(caught.value)
    assert stage.desk.pending() == ()


def test_a_preview_that_fails_leaves_nobody_asked_and_is_written_down_as_failed(stage: Stage, guard: Guard) -> None:
    @guard.preview("erase")
    def look(capability: Capability, ticket_id: str) -> Preview:
        raise LookupError(ticket_id)

    @guard.action("erase")
    def erase(capability: Capability, ticket_id: str) -> None: ...

    with pytest.raises(LookupError):
        erase(stage.lease(ERASE).once("a"), "T-1")
    stage.lease(ERASE)  # the end of a read is reported and not waited for; it stands before this
    assert [entry.outcome for entry in stage.entries(EntryKind.CALL_SETTLED)] == ["failed"]
    assert stage.desk.pending() == ()
    assert look.__name__ == "look"  # the function itself is given back


def test_a_preview_function_answers_a_preview_and_nothing_else(stage: Stage, guard: Guard) -> None:
    @guard.preview("erase")
    def look(capability: Capability, ticket_id: str) -> str:
        return "trust me"

    @guard.action("erase")
    def erase(capability: Capability, ticket_id: str) -> None: ...

    with pytest.raises(TypeError, match="answers a Preview, not a str"):
        erase(stage.lease(ERASE).once("a"), "T-1")


def test_an_action_has_one_preview_function(guard: Guard) -> None:
    @guard.preview("erase")
    def look(capability: Capability, ticket_id: str) -> Preview: ...

    with pytest.raises(InvalidError, match=r"ticket\.erase has a preview already"):
        guard.preview("erase")

    def blind() -> Preview: ...

    with pytest.raises(TypeError, match="must take the capability"):
        guard.preview("close")(blind)


def test_an_async_call_awaits_its_async_preview(stage: Stage, guard: Guard) -> None:
    @guard.preview("erase")
    async def look(capability: Capability, ticket_id: str) -> Preview:
        await asyncio.sleep(0)
        return Preview.of({"status": ("open", "erased")})

    @guard.action("erase")
    async def erase(capability: Capability, ticket_id: str) -> str:
        return ticket_id

    async def main() -> str:
        lease = stage.lease(ERASE)
        with pytest.raises(ApprovalNeeded) as caught:
            await erase(lease.once("a"), "T-1")
        stage.people.approve(caught.value.request, BEN, EVA)
        return await erase(lease.once("a"), "T-1")

    assert asyncio.run(main()) == "T-1"


def test_a_plain_call_cannot_wait_for_an_async_preview(stage: Stage, guard: Guard) -> None:
    @guard.preview("erase")
    async def look(capability: Capability, ticket_id: str) -> Preview:
        raise AssertionError("it was never awaited")

    @guard.action("erase")
    def erase(capability: Capability, ticket_id: str) -> None: ...

    with pytest.raises(TypeError, match="an async preview can be awaited only for an async call"):
        erase(stage.lease(ERASE).once("a"), "T-1")


def test_a_plain_call_cannot_wait_for_anything_that_has_to_be_awaited(stage: Stage, guard: Guard) -> None:
    class Later:
        def __await__(self) -> Iterator[None]: ...

    @guard.preview("erase")
    def look(capability: Capability, ticket_id: str) -> Later:
        return Later()

    @guard.action("erase")
    def erase(capability: Capability, ticket_id: str) -> None: ...

    with pytest.raises(TypeError, match="an async preview can be awaited only for an async call"):
        erase(stage.lease(ERASE).once("a"), "T-1")


def test_methods_are_previewed_by_methods_of_the_same_object(stage: Stage, guard: Guard) -> None:
    class Tickets:
        def __init__(self) -> None:
            self.status = "open"

        @guard.preview("erase")
        def look(self, capability: Capability, ticket_id: str) -> Preview:
            return Preview.of({"status": (self.status, "erased")})

        @guard.action("erase")
        def erase(self, capability: Capability, ticket_id: str) -> str:
            return self.status

    tickets, lease = Tickets(), stage.lease(ERASE)
    with pytest.raises(ApprovalNeeded) as caught:
        tickets.erase(lease.once("a"), "T-1")
    stage.people.approve(caught.value.request, BEN, EVA)
    assert tickets.erase(lease.once("a"), "T-1") == "open"


# the function that was approved


@pytest.mark.case(79)
def test_a_function_that_changed_after_the_approval_needs_a_new_one(stage: Stage) -> None:
    desk, lease = Desk(stage), stage.lease(ERASE)
    first = desk.ask(lease)
    desk.approve(first)
    guard = Guard("ticket", stage.authority, environment="prod")

    @guard.preview("erase")
    def look(capability: Capability, ticket_id: str) -> Preview:
        return Preview()

    @guard.action("erase")
    def erase(capability: Capability, ticket_id: str) -> None:
        """Erase a ticket, and whatever is linked to it."""

    with pytest.raises(ApprovalNeeded) as caught:
        erase(lease.once("a"), "T-1")
    assert caught.value.decision.reason is Reason.APPROVAL_NEEDED
    assert caught.value.request != first.request


@pytest.mark.case(79)
def test_a_schema_digest_follows_parameters_defaults_and_description() -> None:
    def digest(function: object, description: str = "") -> str:
        return schema_digest(bind_function(function, without=0), description)  # type: ignore[arg-type]  # it is one

    def one(ticket: str, force: bool = False) -> None: ...
    def same(ticket: str, force: bool = False) -> None: ...
    def other(ticket: str, force: bool = True) -> None: ...
    def wider(ticket: str, force: bool | None = False) -> None: ...

    assert digest(one) == digest(same)
    assert len({digest(one), digest(other), digest(wider), digest(one, "Erase it.")}) == 4


def test_a_function_without_a_schema_binds_its_arguments_alone() -> None:
    class Odd:
        def model_dump_json(self, *, by_alias: bool, round_trip: bool, warnings: bool) -> str: ...

        @classmethod
        def model_validate_json(cls, json_data: bytes, *, strict: bool) -> object: ...

        @classmethod
        def model_json_schema(cls, *, ref_template: str) -> dict[str, object]:
            raise RuntimeError("no schema today")

    def takes(thing: object) -> None: ...

    takes.__annotations__["thing"] = Odd
    assert schema_digest(bind_function(takes, without=0), "") == ""
