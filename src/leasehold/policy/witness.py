"""A value that some constraints let through and another does not, as proof that one set is wider. Called by `reach`.

Constraints are finite texts, so finitely many candidates decide: every bound and listed value with its neighbours,
every prefix alone, with a fresh ending, and filled up to each length that is named. A value in the difference can
always be moved to one of these without crossing a border of a constraint.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence

from leasehold.errors import InvalidError
from leasehold.model.grant import Constraint, MaxLength, OneOf, Range, Scalar
from leasehold.model.text import MAX_VALUE, check_scalar_text

__all__ = ["find_beyond", "find_inside"]

_MILLION = 1_000_000
_MAX_INTEGER = 2**53 - 1
_DECIMAL = re.compile(r"-?(?:0|[1-9][0-9]{0,14})(?:\.[0-9]{1,6})?")
_FRESH = "xyzabcdefghijklmnopqrstuvw0123456789"


def find_inside(inside: Sequence[Constraint]) -> Scalar | None:
    """Return a value that every constraint covers, or None if there is none."""
    return next(_members(inside, ()), None)


def find_beyond(inside: Sequence[Constraint], border: Sequence[Constraint]) -> Scalar | None:
    """Return a value that all of `inside` cover and at least one of `border` does not, or None if there is none."""
    outside = (value for value in _members(inside, border) if not all(each.covers(value) for each in border))
    return next(outside, None)


def _members(inside: Sequence[Constraint], border: Sequence[Constraint]) -> Iterator[Scalar]:
    """The candidates that every one of `inside` covers, the plainest first."""
    for value in _candidates([*inside, *border]):
        if all(each.covers(value) for each in inside) and _is_value(value):
            yield value


def _is_value(value: Scalar) -> bool:
    """Whether a call could give it: the same checks that every call's values go through."""
    if isinstance(value, bool):
        return True
    if isinstance(value, int):
        return abs(value) <= _MAX_INTEGER
    try:
        check_scalar_text(value, "it")
    except InvalidError:
        return False
    return True


def _candidates(constraints: Sequence[Constraint]) -> Iterator[Scalar]:
    listed = [value for each in constraints if isinstance(each, OneOf) for value in each.values]
    prefixes = [prefix.text for each in constraints if isinstance(each, OneOf) for prefix in each.prefixes]
    ranges = [each for each in constraints if isinstance(each, Range)]
    bounds = [bound for each in ranges for bound in (each.min, each.max) if bound is not None]
    lengths = sorted({each.max_length for each in constraints if isinstance(each, MaxLength)})
    seen: set[tuple[type, Scalar]] = set()
    for value in (
        *listed,
        *_texts([text for text in (*listed, *prefixes) if isinstance(text, str)], lengths),
        *_integers([number for number in (*listed, *bounds) if type(number) is int]),
        *_decimals([text for text in (*listed, *bounds, *prefixes) if isinstance(text, str)]),
        True,
        False,
    ):
        if (type(value), value) not in seen:
            seen.add((type(value), value))
            yield value


def _texts(texts: Sequence[str], lengths: Sequence[int]) -> Iterator[str]:
    """Each text alone, one step and one segment further, and as long as each named length lets it be, and longer."""
    fresh = next((letter for letter in _FRESH if not any(letter in text for text in texts)), "\u4e00")
    for text in ("", *texts):
        yield from (text, text + fresh, f"{text}{fresh}/{fresh}", f"{text}/{fresh}")
        for length in lengths:
            for size in (length, length + 1):
                if len(text) < size <= MAX_VALUE:
                    yield text + fresh * (size - len(text))
                    if size - len(text) > 2:
                        yield f"{text}{fresh}/{fresh * (size - len(text) - 2)}"


def _integers(numbers: Sequence[int]) -> Iterator[int]:
    """From each number both ways, further than all that is listed could take away."""
    reach = len(numbers) + 1
    for number in (0, *numbers):
        yield from range(number - reach, number + reach + 1)


def _decimals(texts: Iterable[str]) -> Iterator[str]:
    """Decimal texts around each one, in units and in millionths, in each spelling, and those that begin like it."""
    numbers = [text for text in texts if _DECIMAL.fullmatch(text)]
    reach = len(numbers) + 1
    for text in ("0", *numbers):
        micros = _micros(text)
        for step in (_MILLION, 1):
            for count in range(-reach, reach + 1):
                yield from _spellings(micros + count * step)
    for text in numbers:
        yield from (f"{text}{digit}" for digit in "0123456789")
        yield from (f"{text}{'0' * count}" for count in range(2, 15 - len(text)))
        yield f"{text}.5"


def _micros(text: str) -> int:
    whole, _, places = text.partition(".")
    magnitude = int(whole.lstrip("-")) * _MILLION + int(places.ljust(6, "0") or "0")
    return -magnitude if text.startswith("-") else magnitude


def _spellings(micros: int) -> Iterator[str]:
    """A number as decimal texts, the shortest first: 1, 1.0, 1.00 and so on."""
    whole, places = divmod(abs(micros), _MILLION)
    shortest = f"{places:06}".rstrip("0")
    for size in range(len(shortest), 7):
        text = f"{whole}.{shortest.ljust(size, '0')}" if size else str(whole)
        yield f"-{text}" if micros < 0 else text
