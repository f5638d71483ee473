"""One byte string for one JSON value (RFC 8785), and the strict way back. Called where bytes are hashed or signed.

The reader refuses what other readers would take differently: duplicate keys, NaN, integers outside +-(2**53-1), lone
surrogates, NUL, deep nesting, trailing text (threat cases 13-18). A value that one accepts, the other does too.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any, TypeAlias

import msgspec
import rfc8785

from leasehold.errors import InvalidError

__all__ = ["MAX_BYTES", "MAX_DEPTH", "Json", "decode", "decode_canonical", "encode", "prepare", "text_of"]

Json: TypeAlias = "bool | int | float | str | list[Json] | dict[str, Json] | None"

MAX_DEPTH = 64
MAX_BYTES = 1_048_576

_MAX_INTEGER = 2**53 - 1
# RFC 8785 writes floats below this without an exponent, so a reader would take a whole one for an integer.
_FIRST_EXPONENT = 1e21
# A whole string, or one bracket: enough to count nesting without recursion.
_TOKEN = re.compile(rb'"(?:[^"\\]|\\.)*+"?|[\[\]{}]', re.DOTALL)
# Of values without floats and with ASCII names this encoder writes the RFC 8785 bytes, many times faster (a test holds
# it against the library).
_PLAIN = msgspec.json.Encoder(order="sorted")
_READER = msgspec.json.Decoder()


def prepare(*shapes: type[msgspec.Struct]) -> None:
    """Have msgspec describe structs now, while their module is loaded, that are later read with `msgspec.convert`.

    It describes a struct the first time that it meets it, and two threads that do so at once crash the interpreter
    (msgspec 0.22). A `Decoder` made when the module is loaded does the same.
    """
    for shape in shapes:
        msgspec.json.Decoder(shape)


def encode(value: object, *, max_bytes: int = MAX_BYTES) -> bytes:
    """Return the RFC 8785 bytes of a JSON value made of None, bool, int, float, str, list, tuple and str-keyed dict.

    Args:
        value: the value.
        max_bytes: how long the text may be; only documents that hold others, such as receipts, need more.

    Raises:
        InvalidError: the value has no canonical form (NaN, big integers, other types, lone surrogates, too deep), or
            takes more bytes than allowed.
    """
    try:
        is_plain = _check_value(value, MAX_DEPTH)
        encoded = _PLAIN.encode(value) if is_plain else rfc8785.dumps(value)  # type: ignore[arg-type]  # rfc8785 checks
    except rfc8785.CanonicalizationError as error:
        raise InvalidError(f"this value has no canonical JSON form: {error}") from None
    if len(encoded) > max_bytes:
        raise InvalidError(f"this value takes {len(encoded)} bytes; {max_bytes} are allowed")
    return encoded


def text_of(value: Json) -> str:
    """A JSON value as people read it: text as it is, all else in its canonical form."""
    return value if isinstance(value, str) else encode(value).decode()


def decode(data: bytes, *, max_bytes: int = MAX_BYTES) -> Json:
    """Return the value of strict JSON text of at most `max_bytes`. The text need not be canonical.

    Raises:
        InvalidError: it is too long, not UTF-8 JSON, or two readers could take it differently.
    """
    if len(data) > max_bytes:
        raise InvalidError(f"this JSON takes {len(data)} bytes; {max_bytes} are allowed")
    if (plain := _read_plain(data)) is not None:
        return plain
    _check_nesting(data)
    try:
        value: Json = _STRICT_READER.decode(data.decode("utf-8"))
    except UnicodeDecodeError:
        raise InvalidError("this JSON is not UTF-8") from None
    except InvalidError:
        raise
    except ValueError as error:
        raise InvalidError(f"this is not JSON: {error}") from None
    _check_value(value, MAX_DEPTH)
    return value


def decode_canonical(data: bytes) -> Json:
    """Return the value whose RFC 8785 bytes these are: what `decode` returns, if `encode` gives back the same bytes.

    Raises:
        InvalidError: it is not strict JSON, or not in its one canonical form.
    """
    if len(data) <= MAX_BYTES and (plain := _read_plain(data)) is not None:
        return plain
    value = decode(data)
    if encode(value) != data:
        raise InvalidError("this JSON is not in its canonical form (RFC 8785)")
    return value


def _read_plain(data: bytes) -> Json:
    """The value of canonical bytes without floats, read many times faster; None of all others.

    Bytes that the writer gives back name no member twice and hold no number that another reader takes otherwise.
    """
    try:
        value: Json = _READER.decode(data)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
        return None
    return value if value is not None and _check_value(value, MAX_DEPTH) and _PLAIN.encode(value) == data else None


def _check_nesting(data: bytes) -> None:
    """Refuse deep nesting before the parser, which recurses, sees it; brackets inside strings do not count."""
    if data.count(b"[") + data.count(b"{") <= MAX_DEPTH:  # not even if all stood inside each other, as nearly always
        return
    depth = 0
    for token in _TOKEN.finditer(data):
        if token[0] in b"[{":
            depth += 1
            if depth > MAX_DEPTH:
                raise InvalidError(f"this JSON is nested deeper than {MAX_DEPTH} levels")
        elif token[0] in b"]}":
            depth -= 1


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise InvalidError("this JSON names a member twice")
    return members


def _refuse_constant(text: str) -> None:
    raise InvalidError(f"{text} is not JSON")


def _small_int(text: str) -> int:
    if len(text) > 17 or abs(int(text)) > _MAX_INTEGER:
        raise InvalidError("this JSON holds an integer outside +-(2**53-1)")
    return int(text)


_STRICT_READER = json.JSONDecoder(object_pairs_hook=_unique, parse_constant=_refuse_constant, parse_int=_small_int)


def _check_value(value: object, levels_left: int) -> bool:
    """Refuse what the writer would write and the reader not read back as the same value, or the reverse.

    Returns whether the value is plain: no floats, ASCII names, and nothing but JSON's own types.
    """
    kind = type(value)
    if kind is str:
        _check_string(value)  # type: ignore[arg-type]  # its type was just compared
        return True
    if kind is bool or value is None:
        return True
    if kind is dict or kind is list:  # as read; to ask whether it is any mapping takes as long as all the rest
        return _check_members(value, levels_left)  # type: ignore[arg-type]  # as above
    if isinstance(value, str):
        _check_string(value)
        return False
    if isinstance(value, int):
        if abs(value) > _MAX_INTEGER:
            raise InvalidError("an integer outside +-(2**53-1) has no exact JSON form")
        return kind is int
    if isinstance(value, float):
        _check_float(value)
        return False
    if isinstance(value, Mapping | list | tuple):
        return _check_members(value, levels_left)
    return False


def _check_members(value: Mapping[object, object] | list[object] | tuple[object, ...], levels_left: int) -> bool:
    if levels_left == 0:
        raise InvalidError(f"this value is nested deeper than {MAX_DEPTH} levels")
    kind = type(value)
    is_plain = kind is dict or kind is list or kind is tuple
    if kind is dict or isinstance(value, Mapping):
        for name, member in value.items():  # type: ignore[union-attr]  # its type was just compared
            if isinstance(name, str):
                _check_string(name)
            is_plain &= _check_value(member, levels_left - 1) and type(name) is str and name.isascii()
        return is_plain
    for member in value:
        is_plain &= _check_value(member, levels_left - 1)
    return is_plain


def _check_float(value: float) -> None:
    if not abs(value) < float("inf"):
        raise InvalidError("NaN, infinity and numbers that do not fit a double have no canonical JSON form")
    if _MAX_INTEGER < abs(value) < _FIRST_EXPONENT:
        raise InvalidError("a float that is written as an integer outside +-(2**53-1) cannot be read back")


def _check_string(text: str) -> None:
    if "\0" in text:
        raise InvalidError("a string with a NUL character is refused: stores and tools take it differently")
    if text.isascii():
        return
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        raise InvalidError("a string with a lone surrogate is no Unicode text") from None
