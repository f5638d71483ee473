"""What an attribute may be, and the one comparison: is this grant within that one? Called by policy, token and decide.

Constraints are exact values, prefixes, ranges and lengths. No patterns that compute, no code: containment is total,
decidable and cheap. Everything is type-strict: `True` is not `1`, `1` is not `"1"`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import TypeAlias

import msgspec

from leasehold.errors import InvalidError
from leasehold.model.text import check_identifier, check_scalar_text

__all__ = [
    "ANY",
    "Attributes",
    "Constraint",
    "Grant",
    "Grants",
    "MaxLength",
    "OneOf",
    "Prefix",
    "Range",
    "Scalar",
    "check_action",
    "check_attribute_name",
    "check_attributes",
    "check_deny_pattern",
    "grants_from_json",
    "grants_to_json",
    "grants_within",
    "matches_action",
    "parse_constraint",
    "split_action",
]

Scalar: TypeAlias = str | int | bool
Attributes: TypeAlias = Mapping[str, tuple[Scalar, ...]]
"""Attribute name to the values a call gives it; several values where the argument is a list."""

_MAX_INTEGER = 2**53 - 1
_MAX_CHOICES = 256
_MAX_CALL_CHARACTERS = 16_384
_DECIMAL = re.compile(r"-?(?:0|[1-9][0-9]{0,14})(?:\.[0-9]{1,6})?")
_VERB = re.compile(r"[A-Za-z0-9][A-Za-z0-9_:-]*")
_ATTRIBUTE = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,63}")


class Prefix(msgspec.Struct, frozen=True, order=True):
    """Every string that starts with `text`: with `deep`, everything below; else the rest of one `/`-segment."""

    text: str
    deep: bool = False

    def covers(self, value: str) -> bool:
        """Whether `value` is one of them."""
        return value.startswith(self.text) and (self.deep or "/" not in value[len(self.text) :])

    def within(self, other: Prefix) -> bool:
        """Whether each string of this prefix is one of the other's."""
        if not self.text.startswith(other.text):
            return False
        return other.deep or (not self.deep and "/" not in self.text[len(other.text) :])

    def __str__(self) -> str:
        return self.text + ("**" if self.deep else "*")


_EVERYTHING = Prefix("", deep=True)


class OneOf(msgspec.Struct, frozen=True, eq=False, tag="one_of"):
    """A closed list of exact values and prefixes. `["**"]` alone means any value at all and is shown as *any*."""

    values: tuple[Scalar, ...] = ()
    prefixes: tuple[Prefix, ...] = ()

    def __eq__(self, other: object) -> bool:
        return isinstance(other, OneOf) and self._typed == other._typed

    def __ne__(self, other: object) -> bool:
        # msgspec's own would compare by identity, because `eq=False` leaves it in place.
        return not self == other

    def __hash__(self) -> int:
        return hash(self._typed)

    @property
    def _typed(self) -> tuple[object, ...]:
        """Comparable without taking `True` for `1`."""
        return self.prefixes, *((type(value), value) for value in self.values)

    @property
    def is_any(self) -> bool:
        """Whether every value passes."""
        return _EVERYTHING in self.prefixes

    @property
    def is_exact(self) -> bool:
        """Whether the list names exact values only."""
        return not self.prefixes

    def covers(self, value: Scalar) -> bool:
        """Whether one value passes."""
        if self.is_any or any(_same(value, choice) for choice in self.values):
            return True
        return isinstance(value, str) and any(prefix.covers(value) for prefix in self.prefixes)

    def within(self, other: Constraint) -> bool:
        """Whether each value that passes here passes there."""
        if isinstance(other, OneOf):
            if other.is_any:
                return True
            return all(other.covers(value) for value in self.values) and all(
                any(prefix.within(wider) for wider in other.prefixes) for prefix in self.prefixes
            )
        return self.is_exact and all(other.covers(value) for value in self.values)

    def to_json(self) -> object:
        """The list as policy files and leases write it."""
        return [*self.values, *map(str, self.prefixes)]


class Range(msgspec.Struct, frozen=True, tag="range"):
    """Integers between two bounds, both included; with string bounds, decimal strings of at most 6 places."""

    min: int | str | None = None
    max: int | str | None = None

    is_exact = False

    def __post_init__(self) -> None:
        bounds = [bound for bound in (self.min, self.max) if bound is not None]
        if not bounds or len({type(bound) for bound in bounds}) > 1:
            raise InvalidError("a range needs min or max, both integers or both decimal strings")
        if any(_number(bound) is None for bound in bounds):
            raise InvalidError("a range bound must be an integer within +-(2**53-1) or a decimal string")
        low, high = self._bounds()
        if low is not None and high is not None and low > high:
            raise InvalidError(f"a range from {self.min} to {self.max} holds nothing")

    @property
    def _kind(self) -> type:
        return type(self.max if self.max is not None else self.min)

    def _bounds(self) -> tuple[int | None, int | None]:
        return (
            None if self.min is None else _number(self.min),
            None if self.max is None else _number(self.max),
        )

    def covers(self, value: Scalar) -> bool:
        """Whether one value passes; another type never does."""
        if type(value) is not self._kind:
            return False
        number = _number(value)
        low, high = self._bounds()
        return number is not None and (low is None or number >= low) and (high is None or number <= high)

    def within(self, other: Constraint) -> bool:
        """Whether each value that passes here passes there."""
        if isinstance(other, OneOf):
            return other.is_any
        if not isinstance(other, Range) or other._kind is not self._kind:
            return False
        (low, high), (other_low, other_high) = self._bounds(), other._bounds()
        return (other_low is None or (low is not None and low >= other_low)) and (
            other_high is None or (high is not None and high <= other_high)
        )

    def to_json(self) -> object:
        """The table as policy files and leases write it."""
        return {name: bound for name, bound in (("max", self.max), ("min", self.min)) if bound is not None}


class MaxLength(msgspec.Struct, frozen=True, tag="max_length"):
    """Strings of at most so many characters."""

    max_length: int

    is_exact = False

    def __post_init__(self) -> None:
        if type(self.max_length) is not int or not 1 <= self.max_length <= _MAX_INTEGER:
            raise InvalidError("max_length must be a positive integer")

    def covers(self, value: Scalar) -> bool:
        """Whether one value passes; only strings do."""
        return isinstance(value, str) and len(value) <= self.max_length

    def within(self, other: Constraint) -> bool:
        """Whether each value that passes here passes there."""
        if isinstance(other, OneOf):
            return other.is_any
        return isinstance(other, MaxLength) and self.max_length <= other.max_length

    def to_json(self) -> object:
        """The table as policy files and leases write it."""
        return {"max_length": self.max_length}


Constraint: TypeAlias = OneOf | Range | MaxLength

ANY = OneOf(prefixes=(_EVERYTHING,))


def _same(value: Scalar, choice: Scalar) -> bool:
    return type(value) is type(choice) and value == choice


def _number(value: Scalar) -> int | None:
    """The value in millionths, or None if it is no number of the accepted forms."""
    if type(value) is int:
        return value * 1_000_000 if abs(value) <= _MAX_INTEGER else None
    if isinstance(value, str) and _DECIMAL.fullmatch(value):
        whole, _, places = value.partition(".")
        magnitude = int(whole.lstrip("-")) * 1_000_000 + int(places.ljust(6, "0") or "0")
        return -magnitude if value.startswith("-") else magnitude
    return None


def parse_constraint(value: object, what: str = "this attribute") -> Constraint:
    """Return the constraint that a policy, request or lease writes as a list or a table.

    Raises:
        InvalidError: it is neither, is empty, holds unknown members, or a value is not allowed.
    """
    if isinstance(value, list | tuple):
        return _parse_choices(value, what)
    if isinstance(value, Mapping):
        members = set(value)
        if members == {"max_length"}:
            return MaxLength(value["max_length"])
        if members and members <= {"min", "max"}:
            return Range(min=value.get("min"), max=value.get("max"))
        raise InvalidError(f"{what}: a constraint table has min, max or max_length, not {sorted(map(str, members))}")
    raise InvalidError(f"{what}: write a list of values and prefixes, or a table with min, max or max_length")


def _parse_choices(choices: Sequence[object], what: str) -> OneOf:
    if not 1 <= len(choices) <= _MAX_CHOICES:
        raise InvalidError(f"{what}: a list of 1 to {_MAX_CHOICES} values is needed, not {len(choices)}")
    values: list[Scalar] = []
    prefixes: list[Prefix] = []
    for choice in choices:
        if isinstance(choice, str) and choice.endswith("*"):
            prefixes.append(_parse_prefix(choice, what))
        else:
            values.append(_check_scalar(choice, what))
    if len({(type(value), value) for value in values}) + len(set(prefixes)) != len(choices):
        raise InvalidError(f"{what}: a value stands twice in {list(choices)!r}")
    values.sort(key=lambda value: (type(value).__name__, value))
    return OneOf(tuple(values), tuple(sorted(prefixes)))


def _parse_prefix(pattern: str, what: str) -> Prefix:
    deep = pattern.endswith("**")
    text = pattern[: -2 if deep else -1]
    if deep and text and not text.endswith("/"):
        raise InvalidError(f"{what}: '**' stands alone or after a '/', not in {pattern!r}; '*' ends a segment")
    if text:
        check_scalar_text(text.removesuffix("/") if text != "/" else text, what)
    return Prefix(text, deep)


def _check_scalar(value: object, what: str) -> Scalar:
    if isinstance(value, bool):
        return value
    if isinstance(value, int):
        if abs(value) > _MAX_INTEGER:
            raise InvalidError(f"{what}: an integer outside +-(2**53-1) is refused")
        return value
    if isinstance(value, str):
        return check_scalar_text(value, what)
    shown = repr(value) if isinstance(value, float) else f"a value of type {type(value).__name__}"
    raise InvalidError(f"{what}: {shown} is no string, integer or boolean")


def check_attributes(values: Mapping[str, object]) -> Attributes:
    """Return a call's attributes checked: each present, not null, not empty, each value a plain scalar.

    They stand in entries and receipts, so there are at most 256 values each and 16384 characters in all: a few hundred
    refused calls must not make a run's receipt too large to be written.

    Raises:
        InvalidError: a value is missing or not allowed, or there is too much.
    """
    checked: dict[str, tuple[Scalar, ...]] = {}
    characters = 0
    for name, value in values.items():
        several = value if isinstance(value, list | tuple) else (value,)
        if not several:
            raise InvalidError(f"attribute {name} is empty")
        if len(several) > _MAX_CHOICES:
            raise InvalidError(f"attribute {name} has {len(several)} values; a call may give it {_MAX_CHOICES}")
        if any(item is None for item in several):
            raise InvalidError(f"attribute {name} is missing")
        checked[name] = tuple(_check_scalar(item, f"attribute {name}") for item in several)
        characters += sum(len(item) for item in several if isinstance(item, str))
    if characters > _MAX_CALL_CHARACTERS:
        raise InvalidError(f"the attributes have {characters} characters; {_MAX_CALL_CHARACTERS} are allowed")
    return checked


class Grant(msgspec.Struct, frozen=True):
    """One action and what its attributes may be. Routes offer, requests ask, leases carry, children narrow them."""

    action: str
    attributes: dict[str, Constraint] = {}

    def __post_init__(self) -> None:
        check_action(self.action)
        for name in self.attributes:
            check_attribute_name(name)

    @property
    def is_exact(self) -> bool:
        """Whether every attribute is given by exact values (then one look is enough for the whole lease)."""
        return all(constraint.is_exact for constraint in self.attributes.values())

    def failing(self, attributes: Attributes) -> str | None:
        """Name of the first attribute (sorted) that is missing or outside, or None if the whole call is covered."""
        if self.covers(attributes):
            return None
        return next(
            name for name in sorted(self.attributes.keys() | attributes.keys()) if not self._covers(name, attributes)
        )

    def covers(self, attributes: Attributes) -> bool:
        """Whether every attribute is present and inside; one that this grant does not name is outside."""
        return self.attributes.keys() == attributes.keys() and all(
            self._covers(name, attributes) for name in self.attributes
        )

    def _covers(self, name: str, attributes: Attributes) -> bool:
        constraint = self.attributes.get(name)
        values = attributes.get(name, ())
        return constraint is not None and len(values) > 0 and all(map(constraint.covers, values))

    def within(self, other: Grant) -> bool:
        """Whether every call that this grant covers is covered by the other."""
        return (
            self.action == other.action
            and self.attributes.keys() == other.attributes.keys()
            and all(constraint.within(other.attributes[name]) for name, constraint in self.attributes.items())
        )

    def narrow(self, narrower: Mapping[str, object]) -> Grant:
        """Return this grant with some attributes narrowed; a bare value stands for a list of one.

        Raises:
            InvalidError: the grant has no such attribute, or the new constraint would be wider.
        """
        changed = dict(self.attributes)
        for name, value in narrower.items():
            constraint = parse_constraint([value] if isinstance(value, str | int) else value, f"attribute {name}")
            if name not in self.attributes or not constraint.within(self.attributes[name]):
                raise InvalidError(f"{name} = {value!r} is not within what {self.action} was granted")
            changed[name] = constraint
        return Grant(self.action, changed)


Grants: TypeAlias = Mapping[str, Grant]


def grants_from_json(value: object, what: str = "allow") -> dict[str, Grant]:
    """Return grants by action from `{"ticket.close": {"ticket": ["T-1"]}}`.

    Raises:
        InvalidError: with the action and attribute at fault.
    """
    if not isinstance(value, Mapping):
        raise InvalidError(f"{what}: write a table of actions, each a table of attributes")
    grants: dict[str, Grant] = {}
    for action, attributes in value.items():
        if not isinstance(attributes, Mapping):
            raise InvalidError(f"{what}.{action}: write a table of attributes (it may be empty)")
        grants[action] = Grant(
            action, {name: parse_constraint(entry, f"{action}: {name}") for name, entry in attributes.items()}
        )
    return grants


def grants_to_json(grants: Grants) -> dict[str, dict[str, object]]:
    """The shape that `grants_from_json` reads, actions and attributes in sorted order."""
    return {
        action: {name: grant.attributes[name].to_json() for name in sorted(grant.attributes)}
        for action, grant in sorted(grants.items())
    }


def grants_within(child: Grants, parent: Grants) -> str | None:
    """Name of the first action that the child has wider than the parent or that the parent lacks; None if within."""
    for action, grant in sorted(child.items()):
        wider = parent.get(action)
        if wider is None or not grant.within(wider):
            return action
    return None


def check_action(name: str) -> str:
    """Return the full action name `tool.verb` if it is one; it is split at the last dot, verbs have no dot.

    Raises:
        InvalidError: it is not.
    """
    check_identifier(name, "action")
    tool, dot, verb = name.rpartition(".")
    if not dot or not tool or tool.endswith(".") or not _VERB.fullmatch(verb):
        raise InvalidError(f"action {name!r} is not tool.verb (such as ticket.close)")
    return name


def split_action(name: str) -> tuple[str, str]:
    """Tool id and verb of a full action name."""
    tool, _, verb = name.rpartition(".")
    return tool, verb


def check_attribute_name(name: str) -> str:
    """Return `name` if it may name an attribute: 1 to 64 of A-Z a-z 0-9 _, starting with a letter.

    Raises:
        InvalidError: it may not.
    """
    if not isinstance(name, str) or not _ATTRIBUTE.fullmatch(name):
        raise InvalidError(f"{str(name)[:80]!r} is not an attribute name; use letters, digits and _")
    return name


def check_deny_pattern(pattern: str) -> str:
    """Return `pattern` if it may stand in a deny list: a full action name, `tool.*` or `*`. Others would deny nothing.

    Raises:
        InvalidError: it may not.
    """
    if pattern != "*":
        check_action(pattern.removesuffix("*") + "any" if pattern.endswith(".*") else pattern)
    return pattern


def matches_action(pattern: str, action: str) -> bool:
    """Whether a deny pattern names the action: exactly, or `tool.*` for everything below that tool."""
    return pattern in ("*", action) or (pattern.endswith(".*") and action.startswith(pattern[:-1]))
