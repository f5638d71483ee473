"""Arguments: bound, defaulted, encoded in one way, and the function run on what was encoded."""

from __future__ import annotations

import dataclasses
import enum
import json
import math
from collections import UserDict
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from typing import Annotated, Any, Literal, NamedTuple, TypeVar
from uuid import UUID
from zoneinfo import ZoneInfo

import msgspec
import pydantic
import pytest
from door import HELD, MemoryDoor
from hypothesis import given, settings
from hypothesis import strategies as st

from leasehold.guard import Capability, Guard
from leasehold.guard.binding import bind_function
from leasehold.guard.encoding import check_annotation
from leasehold.model.canonical import encode

pytestmark = pytest.mark.requirement("L9", "B5")

T = TypeVar("T")


class Colour(enum.Enum):
    RED = "red"
    BLUE = "blue"


class Size(enum.IntEnum):
    SMALL = 1
    LARGE = 2


class Tone(enum.StrEnum):
    LIGHT = "light"


class Bits(enum.Flag):
    ONE = 1


@dataclasses.dataclass(frozen=True)
class Point:
    x: int
    y: Decimal = Decimal(0)


@dataclasses.dataclass(frozen=True)
class Point3(Point):
    z: int = 0


@dataclasses.dataclass(eq=False)
class Node:
    name: str
    below: list[Node] = dataclasses.field(default_factory=list)


class Pair(msgspec.Struct, frozen=True, rename="camel"):
    first_name: str
    born: date | None = None
    note: str | msgspec.UnsetType = msgspec.UNSET


class Tagged(msgspec.Struct, frozen=True, tag="tagged"):
    value: bytes


class Row(msgspec.Struct, array_like=True):
    cell: int


class Ticket(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(frozen=True)
    number: int
    price: Decimal = Decimal("1.5")
    labels: tuple[str, ...] = ()


class Position(NamedTuple):
    x: int


class Plain:
    pass


class Sneaky(str):
    """A string that lies about its text to whoever asks it."""

    def __str__(self) -> str:
        return "something else"


class Duck:
    """Quacks like a model, and is not Pydantic's."""

    def model_dump_json(self, *, by_alias: bool, round_trip: bool, warnings: bool) -> str:
        return '{"quack":1}'

    @classmethod
    def model_validate_json(cls, json_data: bytes, *, strict: bool) -> Duck:
        raise ValueError("no duck today")

    @classmethod
    def model_json_schema(cls, *, ref_template: str) -> dict[str, Any]:
        return {}


texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=20)
whole = st.integers(-(2**53) + 1, 2**53 - 1)
# At most 100 digits can be encoded; Hypothesis would also draw numbers with more.
decimals = st.integers(min_value=0, max_value=79).flatmap(
    lambda places: st.decimals(
        allow_nan=False, allow_infinity=False, min_value=-(10**20), max_value=10**20, places=places
    )
)
instants = st.datetimes(
    min_value=datetime(1, 1, 2),  # noqa: DTZ001 - Hypothesis takes naive bounds
    max_value=datetime(9999, 12, 30),  # noqa: DTZ001 - the same
    timezones=st.sampled_from([UTC, ZoneInfo("Europe/Berlin")]),
)
dates = st.dates()
points = st.builds(Point, x=whole, y=decimals)
people = st.builds(Pair, first_name=texts, born=st.none() | dates)
json_values = st.recursive(
    st.none() | st.booleans() | whole | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=8,
)

EVERY_ANNOTATION: list[tuple[object, st.SearchStrategy[Any]]] = [
    (None, st.none()),
    (bool, st.booleans()),
    (int, whole),
    (float, st.floats(allow_nan=False, allow_infinity=False, min_value=-(2.0**53) + 1, max_value=2.0**53 - 1)),
    (str, texts),
    (bytes, st.binary(max_size=30)),
    (datetime, instants),
    (date, dates),
    (Decimal, decimals),
    (UUID, st.uuids()),
    (Colour, st.sampled_from(Colour)),
    (Size, st.sampled_from(Size)),
    (Tone, st.sampled_from(Tone)),
    (Literal["a", 1], st.sampled_from(["a", 1])),
    (int | None, st.none() | whole),
    (list[int], st.lists(whole, max_size=4)),
    (tuple[int, str], st.tuples(whole, texts)),
    (tuple[UUID, ...], st.lists(st.uuids(), max_size=3).map(tuple)),
    (set[date], st.sets(dates, max_size=4)),
    (frozenset[Point], st.frozensets(points, max_size=3)),
    (dict[str, bytes], st.dictionaries(texts, st.binary(max_size=5), max_size=3)),
    (Point, points),
    (Pair, people),
    (Tagged | None, st.builds(Tagged, value=st.binary(max_size=5))),
    (Annotated[int, msgspec.Meta(ge=0)], st.integers(0, 9)),
    (Annotated[int, msgspec.Meta(description="how many")], whole),
    (
        list[Ticket],
        st.lists(st.builds(Ticket, number=whole, labels=st.lists(texts, max_size=2).map(tuple)), max_size=2),
    ),
    (Any, json_values),
    (T, json_values),
]


def sink(value: object) -> None:
    """A function whose annotation each test sets."""


def taking(annotation: object) -> Callable[..., object]:
    def function(value: object) -> None: ...

    function.__annotations__["value"] = annotation
    return function


@pytest.mark.parametrize(("annotation", "values"), EVERY_ANNOTATION, ids=lambda part: str(part)[:30])
@settings(max_examples=25)
@given(data=st.data())
def test_every_supported_annotation_is_read_back_as_the_same_value(
    annotation: object, values: st.SearchStrategy[Any], data: st.DataObject
) -> None:
    value = data.draw(values)
    binding = bind_function(taking(annotation), without=0)

    encoded = binding.encode([value], {})
    args, kwargs = binding.decode(encoded)

    assert kwargs == {}
    if isinstance(value, datetime):  # in the hour that comes twice, Python never calls instants of two zones equal
        value = value.astimezone(UTC)
    assert args == (value,)
    assert [type(arg) for arg in args] == [type(value)] or annotation is float
    assert binding.encode(args, kwargs) == encoded


def anything(**members: Any) -> None: ...


@pytest.mark.case(18)
@given(st.dictionaries(texts.filter(bool), json_values, max_size=5), st.randoms())
def test_same_arguments_in_any_order_give_equal_bytes(members: dict[str, object], chance: Any) -> None:
    binding = bind_function(anything, without=0)
    shuffled = list(members.items())
    chance.shuffle(shuffled)

    assert binding.encode((), dict(shuffled)) == binding.encode((), members)


def many(a: int, /, b: int, c: int = 3, *, d: int, e: int = 5, **rest: str) -> None: ...


def test_defaults_are_part_of_the_bytes_and_every_kind_of_parameter_is_restored() -> None:
    binding = bind_function(many, without=0)

    encoded = binding.encode((1, 2), {"d": 4, "z": "last"})

    assert encoded == b'{"a":1,"b":2,"c":3,"d":4,"e":5,"z":"last"}'
    assert encoded == binding.encode((1,), {"b": 2, "c": 3, "d": 4, "e": 5, "z": "last"})
    assert binding.decode(encoded) == ((1, 2, 3), {"d": 4, "e": 5, "z": "last"})


@pytest.mark.parametrize(
    ("args", "kwargs", "why"),
    [
        ((1,), {"d": 1}, "missing a required argument: 'b'"),
        ((1, 2, 3, 4), {"d": 1}, "too many positional"),
        ((1, 2), {"d": 1, "a": "again"}, "'a' is given twice"),
        (("1", 2), {"d": 1}, "'a': Expected `int`, got `str`"),
        ((True, 2), {"d": 1}, "'a': Expected `int`, got `bool`"),
        ((1, 2), {"d": 1, "z": 7}, "'z': Expected `str`, got `int`"),
        ((2**53, 2), {"d": 1}, "'a': "),
        ((1, 2), {"d": 1, "\ud800": "x"}, "lone surrogate"),
    ],
)
def test_arguments_that_do_not_fit_the_signature_are_a_type_error(args: Any, kwargs: Any, why: str) -> None:
    with pytest.raises(TypeError, match=why):
        bind_function(many, without=0).encode(args, kwargs)


RECURSIVE: list[object] = []
RECURSIVE.append(RECURSIVE)


@pytest.mark.case(14, 15, 49)
@pytest.mark.parametrize(
    ("annotation", "value"),
    [
        (Any, object()),
        (Any, Plain),
        (Any, Point),
        (Any, (1, 2)),
        (Any, {1: 2}),
        (Any, {"a": datetime(2026, 5, 6, tzinfo=UTC)}),
        (Any, RECURSIVE),
        (Any, UserDict()),
        (Any, Duck),
        (Any, Position(1)),
        (float, math.nan),
        (float, math.inf),
        (str, UUID(int=1)),
        (str, b"a"),
        (bytes, "YQ=="),
        (datetime, "2026-05-06T00:00:00Z"),
        (datetime, datetime(2026, 5, 6)),  # noqa: DTZ001 - naive on purpose
        (datetime, datetime(1, 1, 1, tzinfo=timezone(timedelta(hours=2)))),
        (date, datetime(2026, 5, 6, tzinfo=UTC)),
        (Decimal, 1),
        (Decimal, Decimal("NaN")),
        (Decimal, Decimal("1E+1000000")),
        (Decimal, Decimal("1E-101")),
        (Decimal, Decimal("1" * 101)),
        (Colour, "red"),
        (list[int], (1, 2)),
        (set[int], frozenset({1})),
        (Point, Point3(1)),
        (Point, {"x": 1}),
        (Annotated[int, msgspec.Meta(ge=0)], -1),
        (Ticket, Ticket.model_construct(number="7")),
        (Ticket, Ticket.model_construct(number=math.nan)),
        (Duck, Duck()),
    ],
)
def test_a_value_that_would_not_arrive_as_it_is_is_a_type_error(annotation: object, value: object) -> None:
    with pytest.raises(TypeError, match=r"function\(\): argument 'value': "):
        bind_function(taking(annotation), without=0).encode([value], {})


def test_what_is_wrong_with_a_model_is_said_without_its_values() -> None:
    with pytest.raises(TypeError, match="number: Input should be a valid integer") as caught:
        bind_function(taking(Ticket), without=0).read({"value": {"number": "secret"}})

    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (datetime(2026, 5, 6, 14, tzinfo=timezone(timedelta(hours=2))), '"2026-05-06T12:00:00Z"'),
        (datetime(2026, 5, 6, 12, 0, 0, 5, tzinfo=UTC), '"2026-05-06T12:00:00.000005Z"'),
        (datetime(2026, 10, 25, 2, 30, fold=1, tzinfo=ZoneInfo("Europe/Berlin")), '"2026-10-25T01:30:00Z"'),
        (date(2026, 5, 6), '"2026-05-06"'),
        (Decimal("1.50"), '"1.50"'),
        (Decimal("1E+2"), '"100"'),
        (Decimal("0E+2"), '"0"'),
        (b"\xff", '"/w=="'),
        (UUID(int=0), '"00000000-0000-0000-0000-000000000000"'),
        (Pair("Ana", date(2000, 1, 1)), '{"born":"2000-01-01","firstName":"Ana"}'),
        (Tagged(b""), '{"type":"tagged","value":""}'),
        ({3, 20, 1}, "[1,20,3]"),
        (Colour.RED, '"red"'),
        (Size.LARGE, "2"),
        (Node("a", [Node("b")]), '{"below":[{"below":[],"name":"b"}],"name":"a"}'),
    ],
)
def test_each_type_has_one_fixed_encoding(value: object, text: str) -> None:
    annotation: object = set[int] if isinstance(value, set) else type(value)

    assert bind_function(taking(annotation), without=0).encode([value], {}) == b'{"value":%s}' % text.encode()


def test_a_string_that_lies_about_itself_is_taken_by_its_characters() -> None:
    binding = bind_function(taking(str), without=0)

    encoded = binding.encode([Sneaky("T-1")], {})

    assert encoded == b'{"value":"T-1"}'
    assert binding.decode(encoded) == (("T-1",), {})


@pytest.mark.parametrize(
    "annotation",
    [
        object,
        complex,
        Plain,
        list[Plain],
        dict[int, str],
        str | bytes,
        timedelta,
        bytearray,
        Row,
        Bits,
        Position,
        type[int],
        Callable[[], None],
        "NowhereDefined",
    ],
)
def test_an_annotation_without_a_fixed_encoding_is_refused_when_the_function_is_defined(annotation: object) -> None:
    with pytest.raises(TypeError, match=r"function\(\): parameter 'value': "):
        bind_function(taking(annotation), without=0)


def test_types_that_contain_themselves_are_supported() -> None:
    check_annotation(Node)


def starred(*numbers: int) -> None: ...


def ill_defaulted(note: str = None) -> None: ...  # type: ignore[assignment]  # noqa: RUF013 - wrong on purpose


def test_positional_rest_and_ill_typed_defaults_are_refused_when_the_function_is_defined() -> None:
    with pytest.raises(TypeError, match=r"\*numbers has no names"):
        bind_function(starred, without=0)
    with pytest.raises(TypeError, match="argument 'note': Expected `str`"):
        bind_function(ill_defaulted, without=0)


@pytest.mark.parametrize(
    ("members", "why"),
    [
        ({"x": 1}, "'x' is not one that it takes"),
        ({}, "'value' is missing"),
        ({"value": "1"}, "'value': Expected `int`"),
    ],
)
def test_json_members_that_do_not_fit_are_named(members: dict[str, Any], why: str) -> None:
    with pytest.raises(TypeError, match=why):
        bind_function(taking(int), without=0).read(members)


@pytest.mark.case(14)
def test_arguments_too_large_for_one_call_are_a_type_error() -> None:
    with pytest.raises(TypeError, match="bytes"):
        bind_function(anything, without=0).encode((), {str(n): "x" * 500_000 for n in range(3)})


class Shifty(list[int]):
    """Changes after it was looked at, as an object that another thread still holds may do."""

    def __iter__(self) -> Any:
        yield from list.__iter__(self)
        self.append(99)


@pytest.mark.requirement("L9")
def test_function_runs_on_the_decided_bytes_even_if_the_callers_object_changes(guard: Guard, door: MemoryDoor) -> None:
    seen: list[object] = []

    @guard.action("close")
    def close(capability: Capability, numbers: list[int], deep: dict[str, Any]) -> None:
        seen.append((numbers, deep))
        assert capability.arguments == json.loads(door.call.arguments)

    deep = {"list": [1]}
    original = door.submit_admit

    def mutate_then_admit(token: str, call: Any) -> Any:
        deep["list"].append(2)
        return original(token, call)

    door.submit_admit = mutate_then_admit  # type: ignore[method-assign]
    close(HELD.once("k"), Shifty([1]), deep=deep)

    assert seen == [([1], {"list": [1]})]
    assert door.call.arguments == encode({"deep": {"list": [1]}, "numbers": [1]})
    assert deep == {"list": [1, 2]}


def test_wrong_arguments_are_a_type_error_before_the_door_is_asked(guard: Guard, door: MemoryDoor) -> None:
    @guard.action("close")
    def close(capability: Capability, ticket_id: str) -> None: ...

    with pytest.raises(TypeError, match=r"close\(\): argument 'ticket_id'"):
        close(HELD.once("k"), ticket_id=7)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="missing"):
        close(HELD.once("k"))  # type: ignore[call-arg]

    assert door.asked == []
