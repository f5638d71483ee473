"""Which text may be a name or a value, and how text from strangers is shown (threat cases 16, 19, 24-29, 82, 84)."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from leasehold.errors import InvalidError
from leasehold.model.text import (
    MAX_NAME,
    MAX_VALUE,
    check_identifier,
    check_scalar_text,
    check_text,
    check_unicode,
    has_mixed_scripts,
    visible,
)

HIDDEN = (
    "\0\x1f\x7f\x85\u00a0\u00ad\u034f\u061c\u115f\u1160\u17b4\u180e\u2000\u200b\u200e\u2028\u2029\u202a\u202e\u2060"
)
HIDDEN += "\u2066\u2800\u3000\u3164\ufe0f\ufeff\uffa0\ufff9\ufffe\ud800\ue000\U000e0001\U000e0100\U000f0000"


@pytest.mark.case(16, 27, 29, 82)
@pytest.mark.parametrize("character", HIDDEN)
def test_a_character_that_a_reader_could_miss_is_refused_and_shown(character: str) -> None:
    with pytest.raises(InvalidError, match=f"hidden character U\\+{ord(character):04X}"):
        check_text(f"a{character}b", "it")
    assert visible(f"a{character}b") == f"a<U+{ord(character):04X}>b"


@pytest.mark.parametrize(
    "text", ["a", "ä", "日本語", "a b", "naïve café", "1 + 1 = 2 [x] {y} ?", "🙂", "C++", "50 % off"]
)
def test_plain_text_of_any_language_passes_unchanged(text: str) -> None:
    assert check_text(text, "it") == text
    assert check_scalar_text(text, "it") == text
    assert visible(text) == text


@pytest.mark.case(19, 26)
@pytest.mark.parametrize("text", ["e\u0301", "\u212a", "\u212b", "\u1100\u1161", "a\u0323\u0307".swapcase()])
def test_text_that_is_not_composed_is_refused_and_never_normalised(text: str) -> None:
    if unicodedata.is_normalized("NFC", text):
        assert check_text(text, "it") == text
        return
    with pytest.raises(InvalidError, match="normal form C"):
        check_text(text, "it")


@pytest.mark.parametrize("text", [" a", "a ", " "])
def test_text_does_not_begin_or_end_with_a_space(text: str) -> None:
    with pytest.raises(InvalidError, match="begins or ends with a space"):
        check_text(text, "it")


@pytest.mark.case(24, 25)
@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "1 to"),
        ("x" * (MAX_VALUE + 1), "1 to"),
        ("a*", "kept for patterns"),
        ("a\\b", "backslash"),
        ("a;b", "';'"),
        ("%2E", "percent-encoded"),
        ("x%ffy", "percent-encoded"),
        ("..", "must not be"),
        ("a/..", "path segment"),
        ("/", "path segment"),
        ("a/", "path segment"),
    ],
)
def test_a_value_holds_no_path_trick_and_no_pattern(text: str, message: str) -> None:
    with pytest.raises(InvalidError, match=message):
        check_scalar_text(text, "it")


@pytest.mark.parametrize("text", ["...", "a..b", "a/...", ".a", "a.", "100%", "%zz", "a%2", "x" * MAX_VALUE])
def test_a_value_that_only_looks_like_a_path_trick_passes(text: str) -> None:
    assert check_scalar_text(text, "it") == text


@pytest.mark.parametrize("name", ["a", "A1", "user:ana", "support/close", "a.b-c_d", "x@y+z", "0", "a" * MAX_NAME])
def test_a_plain_name_passes(name: str) -> None:
    assert check_identifier(name, "it") == name


@pytest.mark.case(24, 25, 27, 28, 29)
@pytest.mark.parametrize(
    "name",
    ["", " ", "a b", "a\n", "\na", "-a", ".a", "/a", "_a", "a/", "a//b", "a/../b", "a/.", "a%2f", "a\\b", "a;b", "a*",
     "аdmin", "ａ", "é", "a\u200b", "a" * (MAX_NAME + 1), 7, None, b"a"],
)  # fmt: skip
def test_what_is_no_plain_name_is_refused(name: object) -> None:
    with pytest.raises(InvalidError, match="it "):
        check_identifier(name, "it")


def test_newlines_may_be_kept_when_text_is_shown() -> None:
    assert visible("a\nb") == "a<U+000A>b"
    assert visible("a\nb\x1b[2J", keep_newlines=True) == "a\nb<U+001B>[2J"


@given(st.text())
def test_shown_text_has_nothing_left_to_hide(text: str) -> None:
    shown = visible(text)
    assert visible(shown) == shown
    assert all(unicodedata.category(character) not in {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"} for character in shown)


@given(st.text(max_size=40))
def test_accepted_text_is_shown_as_it_is(text: str) -> None:
    try:
        check_text(text, "it")
    except InvalidError:
        return
    assert visible(text) == text
    assert unicodedata.normalize("NFC", text) == text


@pytest.mark.case(27, 84)
@pytest.mark.parametrize(
    ("text", "mixed"),
    [
        ("admin", False),
        ("аdmin", True),
        ("admіn ok", True),
        ("админ admin", False),
        ("ok_1", False),
        ("123", False),
        ("", False),
        ("αb", True),
    ],
)
def test_a_word_of_two_scripts_is_noticed(text: str, mixed: bool) -> None:
    assert has_mixed_scripts(text) is mixed


@pytest.mark.case(16)
def test_a_lone_surrogate_is_refused_wherever_free_text_comes_in() -> None:
    with pytest.raises(InvalidError, match="lone surrogate"):
        check_unicode("a\ud800b", "purpose")
    assert check_unicode("ä\n\u202e", "purpose") == "ä\n\u202e"
