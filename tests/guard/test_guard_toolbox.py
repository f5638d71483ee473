"""Raw tool calls of a model: schemas without the capability, strict arguments, one write for one call id."""

from __future__ import annotations

import asyncio
import dataclasses
import types
from collections.abc import Callable, Iterator
from datetime import datetime
from decimal import Decimal
from typing import Annotated, Any

import msgspec
import pydantic
import pytest
from door import HELD, MemoryDoor

from leasehold.errors import Denied, InvalidError
from leasehold.guard import Capability, Guard, Toolbox
from leasehold.model.decision import Reason, deny

pytestmark = pytest.mark.requirement("B5")


@dataclasses.dataclass
class Address:
    street: str


class Label(pydantic.BaseModel):
    text: str


class Letter(pydantic.BaseModel):
    labels: list[Label]


def tools_of(guard: Guard) -> list[Callable[..., object]]:
    @guard.action("close")
    def close(capability: Capability, ticket_id: str, note: str = "done", price: Decimal | None = None) -> str:
        """Close a ticket.

        It can be opened again.
        """
        return f"{ticket_id} {note} {price}"

    @guard.action("read")
    async def read(capability: Capability, ticket_id: str, /) -> str:
        return ticket_id

    @guard.action("purge")
    def purge(capability: Capability, **filters: int) -> Iterator[str]:
        yield from sorted(filters)

    return [close, read, purge]


@pytest.fixture
def toolbox(guard: Guard) -> Toolbox:
    return Toolbox(HELD, tools_of(guard))


@pytest.mark.requirement("C3")
def test_schemas_show_the_tools_of_the_lease_without_the_capability(toolbox: Toolbox) -> None:
    close, read = toolbox.schemas()

    assert close == {
        "name": "ticket_close",
        "description": "Close a ticket.\n\nIt can be opened again.",
        "input_schema": {
            "type": "object",
            "properties": {
                "ticket_id": {"type": "string"},
                "note": {"type": "string", "default": "done"},
                "price": {"anyOf": [{"type": "string", "format": "decimal"}, {"type": "null"}], "default": None},
            },
            "required": ["ticket_id"],
            "additionalProperties": False,
        },
    }
    assert (read["name"], read["description"]) == ("ticket_read", "")


def test_changing_a_schema_changes_nothing_in_the_toolbox(toolbox: Toolbox) -> None:
    toolbox.schemas()[0]["input_schema"]["properties"].clear()  # type: ignore[index, call-overload, union-attr]

    assert toolbox.schemas()[0]["input_schema"]["properties"]  # type: ignore[index, call-overload]


def test_types_of_nested_schemas_stand_where_their_references_look(guard: Guard, door: MemoryDoor) -> None:
    @guard.action("close")
    def send(
        capability: Capability, to: Address, letter: Letter, at: Annotated[datetime, msgspec.Meta(tz=True)]
    ) -> Any:
        return (to, letter, at)

    toolbox = Toolbox(HELD, [send])
    schema = toolbox.schemas()[0]["input_schema"]

    assert isinstance(schema, dict)
    assert schema["properties"]["to"] == {"$ref": "#/$defs/Address"}  # type: ignore[index, call-overload]
    assert schema["properties"]["letter"]["properties"]["labels"]["items"] == {"$ref": "#/$defs/Label"}  # type: ignore[index, call-overload]
    assert set(schema["$defs"]) == {"Address", "Label"}  # type: ignore[arg-type]
    result = toolbox.call(
        "ticket_close",
        '{"to":{"street":"A"},"letter":{"labels":[{"text":"x"}]},"at":"2026-05-06T00:00:00+02:00"}',
        "call_1",
    )
    assert result[:2] == (Address("A"), Letter(labels=[Label(text="x")]))  # type: ignore[index]
    assert b'"at":"2026-05-05T22:00:00Z"' in door.call.arguments


def test_two_types_of_one_name_in_one_schema_are_refused(guard: Guard) -> None:
    other = pydantic.create_model("Label", number=(int, ...))
    holder = pydantic.create_model("Other", label=(other, ...))

    def send(capability, letter, other):  # type: ignore[no-untyped-def]
        ...

    send.__annotations__ = {"letter": Letter, "other": holder}
    with pytest.raises(InvalidError, match="both called 'Label'"):
        Toolbox(HELD, [guard.action("close")(send)])


@pytest.mark.requirement("P14")
@pytest.mark.case(72)
def test_call_carries_out_the_function_under_a_key_made_of_the_call_id(toolbox: Toolbox, door: MemoryDoor) -> None:
    assert toolbox.call("ticket_close", '{"ticket_id": "T-1", "price": "1.50"}', "call_1") == "T-1 done 1.50"

    assert (door.call.key, door.call.call_id) == ("ticket_close:call_1", "call_1")
    assert door.call.arguments == b'{"note":"done","price":"1.50","ticket_id":"T-1"}'


def test_given_key_is_used_and_a_mapping_will_do(toolbox: Toolbox, door: MemoryDoor) -> None:
    toolbox.call("ticket_close", {"ticket_id": "T-1"}, "call_1", key="mine")

    assert (door.call.key, door.call.call_id) == ("mine", "call_1")


def test_coroutine_functions_answer_an_awaitable_and_generators_a_generator(toolbox: Toolbox) -> None:
    async def main() -> object:
        return await toolbox.call("ticket_read", {"ticket_id": "T-1"}, "call_1")  # type: ignore[misc]

    assert asyncio.run(main()) == "T-1"
    assert list(toolbox.call("ticket_purge", {"b": 1, "a": 2}, "call_2")) == ["a", "b"]  # type: ignore[call-overload]


@pytest.mark.case(13, 14, 16)
@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        ("", "not JSON"),
        ("{", "not JSON"),
        ('"text"', "one JSON object"),
        ('{"ticket_id":"T-1","ticket_id":"T-2"}', "twice"),
        ('{"ticket_id":NaN}', "NaN is not JSON"),
        ('{"ticket_id":"\ud800"}', "lone surrogate"),
        ({"ticket_id": object()}, "canonical JSON"),
        ({}, "'ticket_id' is missing"),
        ({"ticket_id": "T-1", "tenant": "other"}, "'tenant' is not one that it takes"),
        ({"ticket_id": 1}, "Expected `str`, got `int`"),
        ({"ticket_id": "T-1", "price": "NaN"}, "finite"),
    ],
)
def test_arguments_that_are_not_one_strict_fitting_object_are_refused_in_plain_words(
    toolbox: Toolbox, door: MemoryDoor, arguments: Any, why: str
) -> None:
    with pytest.raises(InvalidError, match=why):
        toolbox.call("ticket_close", arguments, "call_1")

    assert door.asked == []


@pytest.mark.requirement("P1")
def test_tool_that_is_not_there_is_denied_with_its_name_made_visible(toolbox: Toolbox, door: MemoryDoor) -> None:
    with pytest.raises(Denied, match=r"ticket<U\+202E>_close") as denied:
        toolbox.call("ticket\u202e_close", "{}", "call_1")

    assert denied.value.decision.reason is Reason.UNKNOWN_ACTION
    assert door.asked == []


def test_tool_that_the_lease_does_not_name_is_hidden_and_still_judged_by_the_door(
    toolbox: Toolbox, door: MemoryDoor
) -> None:
    door.refusal = deny(Reason.NOT_GRANTED, "not granted")

    assert "ticket_purge" not in [schema["name"] for schema in toolbox.schemas()]
    with pytest.raises(Denied, match="not granted"):
        list(toolbox.call("ticket_purge", {}, "call_1"))  # type: ignore[call-overload]


@pytest.mark.parametrize("call_id", ["", "x" * 300, "a\u200bb"])
def test_call_id_that_cannot_tell_a_repeat_is_refused(toolbox: Toolbox, door: MemoryDoor, call_id: str) -> None:
    with pytest.raises(InvalidError):
        toolbox.call("ticket_close", {"ticket_id": "T-1"}, call_id)

    assert door.asked == []


def test_bound_methods_are_tools_and_unbound_ones_are_not(guard: Guard) -> None:
    class Tickets:
        @guard.action("close")
        def close(self, capability: Capability, ticket_id: str) -> object:
            return self, ticket_id

    tickets = Tickets()

    assert Toolbox(HELD, [tickets.close]).call("ticket_close", {"ticket_id": "T-1"}, "1") == (tickets, "T-1")
    with pytest.raises(InvalidError, match="is a method"):
        Toolbox(HELD, [Tickets.close])


def test_functions_that_cannot_be_tools_are_refused(guard: Guard) -> None:
    def close(capability: Capability) -> None: ...

    with pytest.raises(InvalidError, match="is not guarded"):
        Toolbox(HELD, [close])
    with pytest.raises(InvalidError, match="are both called ticket_close_it"):
        Toolbox(HELD, [guard.action("close:it")(close), guard.action("close_it")(close)])
    with pytest.raises(InvalidError, match="too long for a model"):
        Toolbox(HELD, [guard.action("c" * 80)(close)])


def test_wrapped_functions_are_tools(guard: Guard, door: MemoryDoor) -> None:
    def close(ticket_id: str) -> str:
        return ticket_id

    assert Toolbox(HELD, [guard.wrap("close", close)]).call("ticket_close", {"ticket_id": "T-1"}, "1") == "T-1"
    assert door.call.tool_authority


def test_type_error_of_the_function_itself_is_its_own(guard: Guard) -> None:
    @guard.action("close")
    def close(capability: Capability) -> None:
        raise TypeError("mine")

    with pytest.raises(TypeError, match="mine"):
        Toolbox(HELD, [close]).call("ticket_close", {}, "1")


def test_guarded_function_without_text_has_an_empty_description(guard: Guard) -> None:
    silent = types.FunctionType((lambda capability: None).__code__, {}, "silent")

    assert Toolbox(HELD, [guard.action("close")(silent)]).schemas()[0]["description"] == ""
