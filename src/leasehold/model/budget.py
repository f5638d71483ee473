"""Amounts and accounts: what a run, request or call may spend. Called by policy, decide and every renderer.

All amounts are integers in millionths of their unit, `calls` included: 0.1 + 0.2 is 0.3 here (threat case 70).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TypeAlias

from leasehold.errors import InvalidError

__all__ = [
    "CALLS",
    "CHILDREN",
    "MAX_AMOUNT",
    "MICROS",
    "TOOL_SECONDS",
    "USD",
    "Amounts",
    "amounts_from_json",
    "amounts_to_json",
    "amounts_to_lines",
    "check_amounts",
    "format_amount",
    "parse_amount",
]

MICROS = 1_000_000
MAX_AMOUNT = 2**53 - 1
CALLS = "calls"
TOOL_SECONDS = "tool_seconds"
USD = "usd"
CHILDREN = "children"

Amounts: TypeAlias = Mapping[str, int]
"""Unit to an amount in millionths of that unit."""

_MAX_UNITS = 32
_AMOUNT = re.compile(r"(0|[1-9][0-9]{0,9})(?:\.([0-9]{1,6}))?")
_UNIT = re.compile(r"[a-z][a-z0-9_]{0,31}")


def parse_amount(value: object, what: str) -> int:
    """Return millionths from a whole number or a decimal string such as `"0.05"`; never from a float.

    Raises:
        InvalidError: it is negative, too large, a float, or no number.
    """
    text = str(value) if type(value) is int and abs(value) <= MAX_AMOUNT else value
    match = _AMOUNT.fullmatch(text) if isinstance(text, str) else None
    if match is None:
        raise InvalidError(f'{what}: {_shown(value)} is no amount; write a whole number or a string such as "0.05"')
    micros = int(match[1]) * MICROS + int((match[2] or "").ljust(6, "0"))
    if micros > MAX_AMOUNT:
        raise InvalidError(f"{what}: {value} is too large")
    return micros


def check_amounts(amounts: Amounts, what: str) -> None:
    """Return if these are amounts of units that have names, at most 32 of them: more make rows and no sense.

    Raises:
        InvalidError: they are not.
    """
    if len(amounts) > _MAX_UNITS:
        raise InvalidError(f"{what}: {len(amounts)} units are named; {_MAX_UNITS} are allowed")
    for unit, micros in amounts.items():
        _check_unit(unit, what)
        if not 0 <= micros <= MAX_AMOUNT:
            raise InvalidError(f"{what}.{unit}: an amount is 0 to {MAX_AMOUNT} millionths")


def _check_unit(unit: object, what: str) -> None:
    if not isinstance(unit, str) or not _UNIT.fullmatch(unit):
        raise InvalidError(f"{what}: {str(unit)[:80]!r} is not a unit name")


def _shown(value: object) -> str:
    """The value as a message may hold it; Python refuses to print integers of thousands of digits."""
    return "an integer beyond 2**53-1" if type(value) is int and abs(value) > MAX_AMOUNT else repr(value)[:80]


def format_amount(micros: int) -> str:
    """The shortest decimal text of an amount: `1`, `0.05`."""
    whole, places = divmod(abs(micros), MICROS)
    text = f"{whole}.{places:06d}".rstrip("0").rstrip(".")
    return f"-{text}" if micros < 0 else text


def amounts_from_json(value: object, what: str = "budget") -> dict[str, int]:
    """Return amounts by unit from `{"calls": 30, "usd": "1.00"}`.

    Raises:
        InvalidError: with the unit at fault.
    """
    if not isinstance(value, Mapping):
        raise InvalidError(f"{what}: write a table of units, such as {{ calls = 25 }}")
    for unit in value:
        _check_unit(unit, what)
    return {unit: parse_amount(amount, f"{what}.{unit}") for unit, amount in value.items()}


def amounts_to_json(amounts: Amounts) -> dict[str, int | str]:
    """The shape that `amounts_from_json` reads: whole amounts as integers, money and fractions as strings."""
    return {
        unit: micros // MICROS if micros % MICROS == 0 and unit != USD else _decimal(unit, micros)
        for unit, micros in sorted(amounts.items())
    }


def _decimal(unit: str, micros: int) -> str:
    text = format_amount(micros)
    if unit != USD:
        return text
    whole, _, places = text.partition(".")
    return f"{whole}.{places.ljust(2, '0')}"


def amounts_to_lines(amounts: Amounts) -> tuple[str, ...]:
    """Amounts as ledger entries write them: `unit=millionths`, sorted by unit."""
    return tuple(f"{unit}={amount}" for unit, amount in sorted(amounts.items()))
