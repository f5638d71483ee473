"""Texts as pages draw them: nothing hidden, nothing lost, what is cut is counted."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from leasehold.console.told import CLIP_CHARACTERS, PieceKind, tell, tell_line
from leasehold.model.plain import escape
from leasehold.model.sheet import Line


@given(text=st.text())
def test_pieces_joined_are_the_text_made_plain(text: str) -> None:
    pieces = tell(text).pieces
    joined = "".join("<U+000A>" if piece.kind is PieceKind.BREAK else piece.text for piece in pieces)
    assert joined == escape(text)


def test_hidden_characters_are_marked_and_named() -> None:
    told = tell("safe\u202eexe")
    assert [(piece.text, piece.kind) for piece in told.pieces] == [
        ("safe", PieceKind.TEXT),
        ("<U+202E>", PieceKind.CODE),
        ("exe", PieceKind.TEXT),
    ]
    assert told.warnings == ("1 hidden character: U+202E RIGHT-TO-LEFT OVERRIDE ×1",)


def test_code_point_that_is_written_out_in_letters_is_not_marked() -> None:
    assert [piece.kind for piece in tell("<U+202E>").pieces] == [PieceKind.TEXT]


def test_names_in_another_script_are_warned_of_and_prose_only_where_words_are_mixed() -> None:
    assert tell("\u0434\u0430").warnings
    assert not tell("\u0434\u0430", is_prose=True).warnings
    assert tell("p\u0440od", is_prose=True).warnings


@given(text=st.text(alphabet="ab c", max_size=2 * CLIP_CHARACTERS))
def test_line_that_is_cut_says_how_much_is_left(text: str) -> None:
    line = Line(label="note", text=text)
    short, whole = tell_line(line, is_whole=False), tell_line(line, is_whole=True)
    assert whole.more == 0
    assert sum(len(piece.text) for piece in short.pieces) + short.more == len(text)
    assert short.more == max(0, len(text) - CLIP_CHARACTERS)
