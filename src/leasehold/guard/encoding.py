"""The one JSON form of a Python value, and the way back into a declared type. Called by the binding and the settle.

The forms are fixed: bytes as standard base64, datetimes as RFC 3339 in UTC, decimals in plain notation, enums by value,
sets in the order of their encoded members, dataclasses, Structs and Pydantic models by member. msgspec reads them back
strictly. What is not listed here is a TypeError.
"""

from __future__ import annotations

import base64
import dataclasses
import enum
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Protocol, TypeAlias, runtime_checkable
from uuid import UUID

import msgspec
import msgspec.inspect

from leasehold.model import canonical
from leasehold.model.canonical import Json

__all__ = ["Kinds", "Model", "check_annotation", "describe", "from_json", "to_json"]

Kinds: TypeAlias = tuple[type, ...]
"""The classes that JSON alone does not tell apart, in the order in which they were met."""

_MAX_DIGITS = 100

_LEAVES = (
    msgspec.inspect.AnyType,
    msgspec.inspect.NoneType,
    msgspec.inspect.BoolType,
    msgspec.inspect.IntType,
    msgspec.inspect.FloatType,
    msgspec.inspect.StrType,
    msgspec.inspect.BytesType,
    msgspec.inspect.DateTimeType,
    msgspec.inspect.DateType,
    msgspec.inspect.UUIDType,
    msgspec.inspect.DecimalType,
    msgspec.inspect.LiteralType,
)


@runtime_checkable
class Model(Protocol):
    """A Pydantic model, known by its methods: Pydantic itself is not needed."""

    def model_dump_json(self, *, by_alias: bool, round_trip: bool, warnings: bool) -> str:
        """The model as JSON text."""
        ...

    @classmethod
    def model_validate_json(cls, json_data: bytes, *, strict: bool) -> object:
        """The model of a JSON text."""
        ...

    @classmethod
    def model_json_schema(cls, *, ref_template: str) -> dict[str, Json]:
        """Its JSON Schema."""
        ...


def to_json(value: object) -> Json:
    """Return the JSON form of a value.

    Raises:
        TypeError: the value, or one inside it, has no fixed form (a naive datetime too).
        InvalidError: it is a Pydantic model whose JSON no reader would take.
    """
    return _walk(value, [])


def describe(value: object) -> tuple[Json, Kinds]:
    """Return the JSON form and the kinds met: two values with equal both are the same to any function.

    Raises:
        TypeError, InvalidError: as `to_json`.
    """
    kinds: list[type] = []
    return _walk(value, kinds), tuple(kinds)


def from_json(value: Json, annotation: object) -> object:
    """Return the value of the annotated type that a JSON form stands for.

    Raises:
        msgspec.ValidationError: it stands for none; the message says where and why and shows no value of a model.
    """
    return msgspec.convert(value, annotation, dec_hook=_read_model)


def check_annotation(annotation: object) -> None:
    """Return if every value of the annotated type has a fixed form and can be read back.

    Raises:
        TypeError: it cannot; the message names the type at fault.
    """
    pending = [msgspec.inspect.type_info(annotation)]
    seen: set[type] = set()
    while pending:
        node = pending.pop()
        if isinstance(node, _LEAVES):
            continue
        owner = getattr(node, "cls", None)
        if owner is not None and owner in seen:
            continue
        seen.update(() if owner is None else (owner,))
        pending.extend(_inner(node))


def _inner(node: msgspec.inspect.Type) -> tuple[msgspec.inspect.Type, ...]:
    """The types inside a supported type."""
    match node:
        case msgspec.inspect.Metadata(type=inner):
            return (inner,)
        case msgspec.inspect.ListType() | msgspec.inspect.SetType() | msgspec.inspect.FrozenSetType():
            return (node.item_type,)
        case msgspec.inspect.VarTupleType(item_type=inner):
            return (inner,)
        case msgspec.inspect.TupleType(item_types=several):
            return several
        case msgspec.inspect.UnionType(types=several):
            return several
        case msgspec.inspect.DictType(key_type=msgspec.inspect.StrType(), value_type=inner):
            return (inner,)
        case msgspec.inspect.StructType(array_like=False, fields=fields):
            return tuple(field.type for field in fields)
        case msgspec.inspect.DataclassType(cls=owner, fields=fields) if dataclasses.is_dataclass(owner):
            return tuple(field.type for field in fields)
        case msgspec.inspect.EnumType(cls=owner) if not issubclass(owner, enum.Flag):
            return ()
        case msgspec.inspect.CustomType(cls=owner) if issubclass(owner, Model):
            return ()
        case msgspec.inspect.CustomType(cls=owner):
            raise TypeError(f"{owner.__qualname__} has no fixed encoding")
    raise TypeError(f"{type(node).__name__.removesuffix('Type')} types of this form have no fixed encoding")


def _walk(value: object, kinds: list[type]) -> Json:
    match value:
        case None | bool():
            return value
        case enum.Enum() if not isinstance(value, str | int):
            kinds.append(type(value))
            return _walk(value.value, kinds)
        case str():
            return str.__str__(value)
        case int():
            return int.__int__(value)
        case float():
            return float.__float__(value)
        case list():
            return [_walk(member, kinds) for member in value]
        case tuple():
            kinds.append(tuple)
            return [_walk(member, kinds) for member in value]
        case set() | frozenset():
            kinds.append(frozenset if isinstance(value, frozenset) else set)
            return [_walk(member, kinds) for member in sorted(value, key=_rank)]
        case dict():
            return {_member_name(name): _walk(member, kinds) for name, member in value.items()}
    kinds.append(type(value))
    text = _scalar_text(value)
    return text if text is not None else _members(value, kinds)


def _rank(member: object) -> bytes:
    return canonical.encode(to_json(member))


def _member_name(name: object) -> str:
    if not isinstance(name, str):
        raise TypeError(f"a dictionary key must be a string, not {type(name).__name__}")
    return str.__str__(name)


def _scalar_text(value: object) -> str | None:
    """The text of a value that is one string in JSON; None for any other."""
    match value:
        case bytes():
            return base64.b64encode(value).decode("ascii")
        case datetime():
            if value.utcoffset() is None:
                raise TypeError("a datetime without a time zone could mean any instant; give it one")
            return value.astimezone(UTC).isoformat().replace("+00:00", "Z")
        case date():
            return value.isoformat()
        case Decimal():
            return _decimal_text(value)
        case UUID():
            return str(value)
    return None


def _decimal_text(value: Decimal) -> str:
    _, digits, exponent = value.as_tuple()
    if isinstance(exponent, str) or len(digits) > _MAX_DIGITS or abs(exponent) > _MAX_DIGITS:
        raise TypeError(f"a decimal must be finite, of at most {_MAX_DIGITS} digits and places")
    return str(int(value)) if exponent > 0 else format(value, "f")


def _members(value: object, kinds: list[type]) -> Json:
    """The members of a Struct, dataclass or model."""
    if isinstance(value, msgspec.Struct):
        tag = _tag_of(type(value))
        members = {field.encode_name: getattr(value, field.name) for field in msgspec.structs.fields(value)}
        set_members = {name: member for name, member in members.items() if member is not msgspec.UNSET}
        return tag | {name: _walk(member, kinds) for name, member in set_members.items()}
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: _walk(getattr(value, field.name), kinds) for field in dataclasses.fields(value)}
    if isinstance(value, Model) and not isinstance(value, type):
        return canonical.decode(value.model_dump_json(by_alias=True, round_trip=True, warnings=False).encode())
    raise TypeError(f"a value of type {type(value).__qualname__} has no fixed encoding")


def _tag_of(owner: type[msgspec.Struct]) -> dict[str, Json]:
    config = owner.__struct_config__
    return {} if config.tag_field is None else {config.tag_field: config.tag}


def _read_model(owner: type[Model], value: object) -> object:
    """For msgspec, which does not know models itself; no other class comes here, because annotations are checked."""
    try:
        return owner.model_validate_json(canonical.encode(value), strict=True)
    except ValueError as error:
        raise ValueError(_faults(error)) from None


def _faults(error: ValueError) -> str:
    """What is wrong with a model, without the values that were given."""
    listed = getattr(error, "errors", None)
    if not callable(listed):
        return str(error)
    faults = listed(include_url=False, include_input=False, include_context=False)
    return "; ".join(f"{'.'.join(map(str, fault['loc']))}: {fault['msg']}" for fault in faults)
