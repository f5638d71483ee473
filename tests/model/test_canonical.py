"""One text for one value, and a reader that refuses what others would take differently (threat cases 13-18)."""

from __future__ import annotations

import json
import math
import random

import pytest
import rfc8785
from hypothesis import given
from hypothesis import strategies as st

from leasehold.errors import InvalidError
from leasehold.model import canonical
from leasehold.model.canonical import MAX_BYTES, MAX_DEPTH, Json, decode, decode_canonical, encode
from leasehold.model.effect import Effect
from leasehold.model.instant import Instant

WHOLE = st.integers(-(2**53) + 1, 2**53 - 1)
FLOATS = st.floats(allow_nan=False, allow_infinity=False).filter(lambda number: not 2**53 - 1 < abs(number) < 1e21)
TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"))
VALUES = st.recursive(
    st.one_of(st.none(), st.booleans(), WHOLE, FLOATS, TEXT),
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(TEXT, inner, max_size=4)),
    max_leaves=20,
)


@pytest.mark.case(14, 18, 23)
@given(VALUES)
def test_what_is_written_is_read_back_and_written_the_same(value: Json) -> None:
    text = encode(value)
    assert encode(decode(text)) == text
    assert text == rfc8785.dumps(value)


@pytest.mark.case(18)
@given(VALUES, st.integers(0, 2**32))
def test_order_spaces_and_escapes_do_not_change_the_text(value: Json, seed: int) -> None:
    chance = random.Random(seed)
    loose = json.dumps(shuffled(value, chance), indent=chance.choice([None, 1]), ensure_ascii=chance.random() < 0.5)
    assert encode(decode(loose.encode())) == encode(value)


def shuffled(value: Json, chance: random.Random) -> Json:
    if isinstance(value, dict):
        items = list(value.items())
        chance.shuffle(items)
        return {name: shuffled(member, chance) for name, member in items}
    if isinstance(value, list):
        return [shuffled(member, chance) for member in value]
    return value


@pytest.mark.case(18)
@pytest.mark.parametrize(
    ("one", "other"),
    [(1, "1"), (1, True), (0, False), (0, None), ("", None), ([], {}), ([1, 2], [2, 1]), ({"a": 1}, {"A": 1}),
     ({"a": None}, {}), ("é", "e\u0301"), (1, 1.5), ("a", "a "), ([[]], [])],
)  # fmt: skip
def test_values_that_mean_something_else_are_written_differently(one: Json, other: Json) -> None:
    assert encode(one) != encode(other)


@pytest.mark.case(14)
def test_one_number_has_one_text() -> None:
    assert encode(1.0) == encode(1) == b"1"
    assert encode(-0.0) == encode(0) == b"0"
    assert decode(b"1e2") == 100
    assert encode([1e21, 1e-7, 0.1, 123456.5]) == b"[1e+21,1e-7,0.1,123456.5]"
    assert encode(2**53 - 1) == b"9007199254740991"


def test_every_character_is_written_as_the_standard_says() -> None:
    for code in (*range(1, 0x300), 0x2028, 0xFFFF, 0x1F600):
        value: Json = {chr(code): chr(code), "a/b": f"x{chr(code)}y"}
        assert encode(value) == rfc8785.dumps(value)
    assert encode({"\U0001f600": 1, "\ufb33": 2}) == '{"\U0001f600":1,"\ufb33":2}'.encode()


def test_values_of_finer_types_are_written_as_their_json_kind() -> None:
    assert encode({"e": Effect.READ, "i": Instant(5), "t": (1, (2,))}) == b'{"e":"read","i":5,"t":[1,[2]]}'


@pytest.mark.case(14, 16, 17)
@pytest.mark.parametrize(
    "value",
    [math.nan, math.inf, -math.inf, 2**53, -(2**53), pytest.param(10**5000, id="huge"),
     1e16, -1e20, "a\0b", "\ud800", {"\ud800": 1}, {"a\0": 1},
     {1: 2}, {(1, "\ud800"): 2}, {None: 1}, object(), b"bytes", {1, 2}, [object()], {"a": {"b": b""}}],
)  # fmt: skip
def test_a_value_without_one_text_is_refused(value: object) -> None:
    with pytest.raises(InvalidError):
        encode(value)
    with pytest.raises(InvalidError):
        encode([1.5, value])


@pytest.mark.case(13)
@pytest.mark.parametrize("text", ['{"a":1,"a":1}', '[{"b":{"a":1,"a":2}}]', '{"a":1,"\\u0061":2}', '{"":1,"":2}'])
def test_a_member_that_stands_twice_is_refused_at_every_depth(text: str) -> None:
    with pytest.raises(InvalidError, match="twice"):
        decode(text.encode())


@pytest.mark.case(14, 16, 17)
@pytest.mark.parametrize(
    "data",
    [
        b"", b" ", b"nul", b"{", b"[1,]", b"{'a':1}", b"1 2", b"01", b"+1", b".5", b"1.", b"0x1", b"NaN", b"Infinity",
        b"-Infinity", b"[NaN]", b"1e400", b"-1e400", b"9007199254740992", b"-9007199254740992", b"9007199254740992.0",
        b"1" * 5000, b'"\\ud800"', b'{"\\udfff":1}', b'"\\u0000"', b'{"a\\u0000":1}', b'"a\x00b"', b'"a\nb"', b'"\xff"',
        b'"\xc0\xae"', b'"\xed\xa0\x80"', b"\xef\xbb\xbf1", "1".encode("utf-16"), b'"abc', b"// c\n1",
    ],
)  # fmt: skip
def test_text_that_two_readers_could_take_differently_is_refused(data: bytes) -> None:
    with pytest.raises(InvalidError):
        decode(data)


@pytest.mark.case(17)
@pytest.mark.parametrize(
    "data",
    [b"[" * 100_000, b'{"a":' * 100_000, b"[" * 65 + b"]" * 65, b'["\\"[",' * 65, b"[" * 100_000 + b"]" * 100_000],
)
def test_deep_nesting_is_refused_before_anything_recurses(data: bytes) -> None:
    with pytest.raises(InvalidError, match="nested deeper than 64"):
        decode(data)


def nested(levels: int) -> Json:
    value: Json = []
    for _ in range(levels - 1):
        value = [value]
    return value


@pytest.mark.case(17)
def test_reader_and_writer_draw_the_same_line_for_depth() -> None:
    deepest = nested(MAX_DEPTH)
    assert decode(encode(deepest)) == deepest
    assert decode(encode({"a": nested(MAX_DEPTH - 1)})) == {"a": nested(MAX_DEPTH - 1)}
    with pytest.raises(InvalidError, match="deeper"):
        encode([deepest])
    with pytest.raises(InvalidError, match="deeper"):
        encode({"a": deepest})


def test_brackets_inside_strings_are_no_nesting() -> None:
    value: Json = ["[" * 100, '"' + "{" * 100, "\\" * 3 + "]" * 100]
    assert decode(encode(value)) == value


def test_only_text_with_many_brackets_is_searched_for_nesting(monkeypatch: pytest.MonkeyPatch) -> None:
    """To walk through a token of a thousand characters takes longer than all else that is done with a request."""
    monkeypatch.setattr(canonical, "_TOKEN", None)
    assert decode(b'{ "b": "a token", "a": [%s] }' % b",".join([b"{}"] * (MAX_DEPTH - 2))) == {
        "b": "a token",
        "a": [{}] * (MAX_DEPTH - 2),
    }
    with pytest.raises(AttributeError):
        decode(b"[%s ]" % b",".join([b"{}"] * MAX_DEPTH))


@pytest.mark.case(17)
def test_reader_and_writer_draw_the_same_line_for_size() -> None:
    longest = "x" * (MAX_BYTES - 2)
    assert decode(encode(longest)) == longest
    with pytest.raises(InvalidError, match="bytes"):
        encode(longest + "x")
    with pytest.raises(InvalidError, match="bytes"):
        decode(b" " * (MAX_BYTES + 1))
    assert decode(encode(longest + "x", max_bytes=MAX_BYTES + 1), max_bytes=MAX_BYTES + 1) == longest + "x"
    with pytest.raises(InvalidError, match="2 are allowed"):
        encode("abc", max_bytes=2)
    with pytest.raises(InvalidError, match="2 are allowed"):
        decode(b"123", max_bytes=2)


@given(st.binary(max_size=60))
def test_any_bytes_are_read_or_refused_and_nothing_else(data: bytes) -> None:
    try:
        value = decode(data)
    except InvalidError:
        return
    assert decode(encode(value)) == value


@pytest.mark.case(13, 18)
@given(VALUES, st.integers(0, 2**32))
def test_only_the_one_form_is_taken_where_bytes_must_be_canonical(value: Json, seed: int) -> None:
    text = encode(value)
    assert decode_canonical(text) == decode(text)
    chance = random.Random(seed)
    loose = json.dumps(shuffled(value, chance), indent=chance.choice([None, 1]), ensure_ascii=chance.random() < 0.5)
    if loose.encode() != text:
        with pytest.raises(InvalidError, match="canonical form"):
            decode_canonical(loose.encode())


@pytest.mark.case(13, 14, 16, 17, 18)
@pytest.mark.parametrize(
    "data",
    [
        b"", b"null ", b'{"a":1,"a":1}', b'{"a":1,"\\u0061":2}', b'{"b":1,"a":2}', b"9007199254740992", b"1.0", b"-0",
        b'"\\u0041"', b'"\\ud800"', b'"a\0b"', b'"\xff"', b"[" * 100_000, b"[" * 65 + b"]" * 65, b"[NaN]",
        b'"' + b"x" * MAX_BYTES + b'"',
    ],
)  # fmt: skip
def test_bytes_in_any_other_form_are_refused_where_they_must_be_canonical(data: bytes) -> None:
    with pytest.raises(InvalidError):
        decode_canonical(data)


def test_canonical_bytes_of_every_kind_of_value_are_taken() -> None:
    for value in (None, True, 0, -1, "é", [], {}, {"é": 1}, 1.5, [1e21], {"a": [None, {"b": "c"}]}):
        assert decode_canonical(encode(value)) == value
