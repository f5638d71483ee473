"""Constraints read a second time, by other means: regular expressions, decimals, listing. Slow, obvious, independent.

Constraints come here as the JSON that policies write, so nothing of `leasehold.model.grant` is used.
"""

from __future__ import annotations

import itertools
import re
from decimal import Decimal, InvalidOperation
from functools import cache

Value = str | int | bool
Written = list[object] | dict[str, object]


def passes(written: Written, value: Value) -> bool:
    """Whether one value satisfies one written constraint."""
    if isinstance(written, dict):
        if "max_length" in written:
            return type(value) is str and len(value) <= int(str(written["max_length"]))
        return in_range(written, value)
    return any(is_meant(entry, value) for entry in written)


def is_meant(entry: object, value: Value) -> bool:
    if entry == "**":
        return True
    if isinstance(entry, str) and entry.endswith("*"):
        return type(value) is str and pattern(entry).match(value) is not None
    return type(entry) is type(value) and entry == value


@cache
def pattern(entry: str) -> re.Pattern[str]:
    if entry.endswith("**"):
        return re.compile(re.escape(entry[:-2]) + r"[\s\S]*\Z")
    return re.compile(re.escape(entry[:-1]) + r"[^/]*\Z")


def in_range(written: dict[str, object], value: Value) -> bool:
    bounds = list(written.values())
    if type(value) is not type(bounds[0]):
        return False
    number = as_decimal(value)
    if number is None:
        return False
    low = number if "min" not in written else as_decimal(written["min"])
    high = number if "max" not in written else as_decimal(written["max"])
    return low is not None and high is not None and low <= number <= high


@cache
def as_decimal(value: object) -> Decimal | None:
    """The number of an integer or of a plain decimal string with at most six places."""
    if type(value) is str and not re.match(r"-?\d+(\.\d{1,6})?\Z", value, re.ASCII):
        return None
    if type(value) is str and re.match(r"-?0\d", value):
        return None
    try:
        return Decimal(str(value)) if type(value) in (str, int) else None
    except InvalidOperation:
        return None


def permits(grants: dict[str, dict[str, Written]], action: str, attributes: dict[str, list[Value]]) -> bool:
    """Whether written grants allow a call: the action stands there, and each of its attributes, all values inside."""
    grant = grants.get(action)
    if grant is None or set(grant) != set(attributes):
        return False
    return all(values and all(passes(grant[name], value) for value in values) for name, values in attributes.items())


LETTERS = "ab"
FRESH = "c"
"""A letter that no constraint here names: what starts like a prefix and goes on with it is no exact value."""


def segments(letters: str, longest: int) -> list[str]:
    return ["".join(some) for size in range(1, longest + 1) for some in itertools.product(letters, repeat=size)]


def strings() -> list[str]:
    """Every path of at most two segments over a small alphabet, with and without an unnamed end."""
    one = segments(LETTERS, 2)
    paths = [*one, *("/".join(pair) for pair in itertools.product(one, repeat=2))]
    ends = [FRESH, FRESH * 9, f"{FRESH}/{FRESH}"]
    return [*paths, *ends, *(path + joint + end for path in paths for joint in ("", "/") for end in ends)]


NUMBERS = ["-1", "0", "0.5", "1", "1.0", "2", "2.000001", "3", "01", "1e1", ".5", "-0", "-999", "999"]
UNIVERSE: list[Value] = [*strings(), *NUMBERS, -(10**9), -1, 0, 1, 2, 3, 4, 10**9, True, False]
