"""Pairs, grants and options as they are written at a prompt: read strictly."""

from __future__ import annotations

import pytest

from leasehold.cli.pairs import parse_attributes, parse_grant, parse_pair, parse_scalar, split_options
from leasehold.errors import InvalidError


def test_pairs_are_text_unless_they_say_json() -> None:
    assert parse_pair("level=3") == ("level", "3")
    assert parse_pair("level:=3") == ("level", 3)
    assert parse_pair("note=a=b") == ("note", "a=b")
    assert parse_attributes(["a=1", "b:=true", "a=2"]) == {"a": ["1", "2"], "b": True}
    assert parse_scalar("ticket=T-1") == ("ticket", "T-1")


@pytest.mark.parametrize("text", ["level", "=3", ":=3", ""])
def test_what_is_no_pair_is_refused(text: str) -> None:
    with pytest.raises(InvalidError, match="is no pair"):
        parse_pair(text)


def test_json_in_a_pair_is_read_strictly() -> None:
    for text in ("a:=1e400", 'a:={"x":1,"x":2}', "a:=yes", "a:=\udcff"):
        with pytest.raises(InvalidError):
            parse_pair(text)
    with pytest.raises(InvalidError, match="string, an integer or a boolean"):
        parse_scalar("a:=[1]")


def test_grants_are_an_action_and_its_constraints() -> None:
    assert parse_grant("ticket.close ticket=T-1 ticket='T 2' level:='{\"max\":3}'") == (
        "ticket.close",
        {"ticket": ["T-1", "T 2"], "level": {"max": 3}},
    )
    for text in ("", "ticket ticket=T-1", "ticket.close T-1", "ticket.close 'open"):
        with pytest.raises(InvalidError):
            parse_grant(text)


def test_options_of_a_guarded_command_end_at_the_dashes() -> None:
    words = ["--ticket-id", "T-1", "--note=a b", "--level:=3", "--", "close", "--now", "--"]
    assert split_options(words) == (["ticket_id=T-1", "note=a b", "level:=3"], ["close", "--now", "--"])
    assert split_options(["--a", "b"]) == (["a=b"], [])


@pytest.mark.parametrize("words", [["close"], ["--ticket-id"], ["--ticket-id", "--"], ["--a", "--b", "c"]])
def test_options_without_value_and_words_without_dashes_are_refused(words: list[str]) -> None:
    with pytest.raises(InvalidError):
        split_options(words)
