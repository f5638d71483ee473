"""Text from strangers made plain, and times as people write and read them: what every surface leans on."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from leasehold.errors import InvalidError
from leasehold.model.instant import Instant
from leasehold.model.plain import escape, hidden_words, script_words, wrap
from leasehold.model.text import visible
from leasehold.model.times import parse_time, show_countdown, show_duration, show_time

NOW = Instant(1_778_070_896_500)  # 2026-05-06 12:34:56.5 UTC


@given(text=st.text(), width=st.integers(1, 80))
def test_wrapped_lines_joined_are_the_text(text: str, width: int) -> None:
    lines = wrap(text, width)
    assert "".join(lines) == text
    assert all(len(line) <= width for line in lines)


def test_lines_are_broken_behind_spaces_where_there_are_any() -> None:
    assert wrap("one two three", 8) == ["one two ", "three"]
    assert wrap("unbreakable", 4) == ["unbr", "eaka", "ble"]


@given(text=st.text())
def test_escaped_text_has_nothing_hidden_and_is_escaped_once(text: str) -> None:
    assert visible(escape(text)) == escape(text)
    assert escape(escape(text)) == escape(text)


def test_plain_text_is_left_alone() -> None:
    assert escape("Close ticket T-1, at once") == "Close ticket T-1, at once"
    assert hidden_words("plain") == script_words("plain") == ""


def test_plain_text_is_not_read_character_by_character() -> None:
    """A line of the log costs more than the call it tells of, where it is."""
    line = "2026-11-26T08:45:47.000+00:00 info 0192 POST /v1/door/admit 200 in 1.5 ms for ticket-door"
    assert escape(line) is line


def test_spaces_that_could_push_plain_text_out_of_sight_are_counted() -> None:
    assert escape("two  are fine") == "two  are fine"
    assert escape("three   are not") == "three<U+0020 ×3>are not"


@pytest.mark.case(82)
def test_marks_that_would_be_drawn_over_other_lines_are_written_out() -> None:
    heap = "NOT a" + "\u0301" * 40 + "\u0336" * 2 + "llowed\u20dd"
    assert escape(heap) == "NOT a" + "\u0301" * 4 + "<U+0301 ×36><U+0336 ×2>llowed\u20dd"
    assert hidden_words(heap).startswith("38 hidden characters: U+0301 COMBINING ACUTE ACCENT ×36, U+0336 ")
    assert escape("a\u0301\u0302\u0303\u034f\u0304\u0305") == "a\u0301\u0302\u0303<U+034F>\u0304\u0305"
    for word in (
        "\u05d1\u05bc\u05b0\u05e8\u05b5\u05d0\u05e9\u05c1\u05b4\u0596",
        "\u0e17\u0e35\u0e48",
        "e\u0323\u0302\u0301",
    ):
        assert escape(word) == word
        assert hidden_words(word) == ""


def test_single_hidden_characters_are_counted_in_the_singular() -> None:
    assert hidden_words("a\u200bb") == "1 hidden character: U+200B ZERO WIDTH SPACE ×1"


def test_many_kinds_are_named_as_far_as_a_reader_can_take_and_the_rest_counted() -> None:
    assert hidden_words("".join(map(chr, range(1, 20)))).endswith("and 7 more kinds")


def test_times_are_shown_in_utc() -> None:
    assert show_time(1_778_070_896) == "2026-05-06 12:34:56 UTC"
    assert [show_countdown(seconds) for seconds in (494, 0, -5, 6000)] == ["08m14s", "00m00s", "00m00s", "100m00s"]
    assert [show_duration(seconds) for seconds in (90, 300, 9000, 3601, 130)] == [
        "90 s", "5 min", "2 h 30 min", "1 h 1 s", "2 min 10 s",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("today", "2026-05-06 00:00:00 UTC"),
        ("yesterday", "2026-05-05 00:00:00 UTC"),
        ("90m", "2026-05-06 11:04:56 UTC"),
        ("7d", "2026-04-29 12:34:56 UTC"),
        ("2026-05-01", "2026-05-01 00:00:00 UTC"),
        ("2026-05-01T12:00:00Z", "2026-05-01 12:00:00 UTC"),
        ("2026-05-01T12:00:00+02:00", "2026-05-01 10:00:00 UTC"),
    ],
)
def test_operators_write_times_in_their_ways(text: str, shown: str) -> None:
    assert show_time(parse_time(text, NOW).seconds) == shown


def test_a_time_longer_ago_than_the_epoch_is_its_beginning() -> None:
    assert parse_time("99999d", NOW) == 0


@pytest.mark.parametrize("text", ["", "soon", "0m", "2026-13-01", "2026-05-01T12:00:00", "12:00"])
def test_a_time_that_could_mean_two_things_is_refused(text: str) -> None:
    with pytest.raises(InvalidError, match="is no time"):
        parse_time(text, NOW)


def test_a_time_before_1970_is_refused() -> None:
    with pytest.raises(InvalidError, match="before 1970"):
        parse_time("1969-12-31", NOW)
