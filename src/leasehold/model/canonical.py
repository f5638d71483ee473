"""One byte string for one JSON value (RFC 8785), and the strict way back. Called where bytes are hashed or signed.

The reader refuses what other readers would take differently: duplicate keys, NaN, integers outside +-(2**53-1), lone
surrogates, deep nesting, trailing text (threat cases 13-18).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, TypeAlias

import rfc8785

from leasehold.errors import InvalidError

__all__ = ["MAX_BYTES", "MAX_DEPTH", "Json", "decode", "encode"]

Json: TypeAlias = "bool | int | float | str | list[Json] | dict[str, Json] | None"

MAX_DEPTH = 64
MAX_BYTES = 1_048_576


def encode(value: object) -> bytes:
    """Return the RFC 8785 bytes of a JSON value made of None, bool, int, float, str, list, tuple and str-keyed dict.

    Raises:
        InvalidError: the value has no canonical form (NaN, big integers, other types, lone surrogates, too deep).
    """
    _check_depth(value, MAX_DEPTH)
    try:
        encoded = rfc8785.dumps(value)  # type: ignore[arg-type]  # checked by the library at run time
    except (rfc8785.CanonicalizationError, UnicodeEncodeError, RecursionError) as error:
        raise InvalidError(f"this value has no canonical JSON form: {error}") from None
    if len(encoded) > MAX_BYTES:
        raise InvalidError(f"this value takes {len(encoded)} bytes; {MAX_BYTES} are allowed")
    return encoded


def decode(data: bytes) -> Json:
    """Return the value of strict JSON text. The text need not be canonical.

    Raises:
        InvalidError: it is not UTF-8 JSON, or two readers could take it differently.
    """
    if len(data) > MAX_BYTES:
        raise InvalidError(f"this JSON takes {len(data)} bytes; {MAX_BYTES} are allowed")
    if _nesting(data) > MAX_DEPTH:
        raise InvalidError(f"this JSON is nested deeper than {MAX_DEPTH} levels")
    try:
        value: Json = json.loads(
            data.decode("utf-8"), object_pairs_hook=_unique, parse_constant=_refuse_constant, parse_int=_small_int
        )
    except UnicodeDecodeError:
        raise InvalidError("this JSON is not UTF-8") from None
    except RecursionError:
        raise InvalidError("this JSON is nested too deeply") from None
    except InvalidError:
        raise
    except ValueError as error:
        raise InvalidError(f"this is not JSON: {error}") from None
    _check_scalars(value)
    return value


def _nesting(data: bytes) -> int:
    """An upper bound of the nesting depth, found without recursion, brackets inside strings not counted."""
    depth = deepest = 0
    in_string = escaped = False
    for byte in data if b"[" in data or b"{" in data else b"":
        if in_string:
            if escaped:
                escaped = False
            elif byte == 0x5C:
                escaped = True
            elif byte == 0x22:
                in_string = False
        elif byte == 0x22:
            in_string = True
        elif byte in b"[{":
            depth += 1
            deepest = max(deepest, depth)
        elif byte in b"]}":
            depth -= 1
    return deepest


def _check_depth(value: object, left: int) -> None:
    if left < 0:
        raise InvalidError(f"this value is nested deeper than {MAX_DEPTH} levels")
    if isinstance(value, Mapping):
        for member in value.values():
            _check_depth(member, left - 1)
    elif isinstance(value, list | tuple):
        for member in value:
            _check_depth(member, left - 1)


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise InvalidError("this JSON names a member twice")
    return members


def _refuse_constant(text: str) -> None:
    raise InvalidError(f"{text} is not JSON")


def _small_int(text: str) -> int:
    if len(text) > 17 or abs(int(text)) > 2**53 - 1:
        raise InvalidError("this JSON holds an integer outside +-(2**53-1)")
    return int(text)


def _check_scalars(value: Json) -> None:
    """Refuse floats that overflowed to infinity and strings with lone surrogates."""
    if isinstance(value, str):
        try:
            value.encode("utf-8")
        except UnicodeEncodeError:
            raise InvalidError("this JSON holds a lone surrogate") from None
    elif isinstance(value, float):
        if value in (float("inf"), float("-inf")):
            raise InvalidError("this JSON holds a number that does not fit a double")
    elif isinstance(value, list):
        for member in value:
            _check_scalars(member)
    elif isinstance(value, dict):
        for name, member in value.items():
            _check_scalars(name)
            _check_scalars(member)
