"""Text from strangers as parts that a page can mark: what can be seen, what cannot, and what could deceive.

The same escaping as at the terminal (`model.plain`). Called by templates for every text that somebody else wrote; pure.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from enum import StrEnum

import msgspec

from leasehold.model.plain import escape, hidden_words, script_words
from leasehold.model.sheet import Line
from leasehold.model.text import has_mixed_scripts

__all__ = ["CLIP_CHARACTERS", "Piece", "PieceKind", "Told", "tell", "tell_line"]

CLIP_CHARACTERS = 280
"""So much of one value fits on a card; of more the rest has to be opened before a yes counts."""

_CODE_POINT = re.compile(r"(<U\+[0-9A-F]{4,6}(?: ×[0-9]+)?>)")
_LINE_END = "<U+000A>"


class PieceKind(StrEnum):
    """How a piece is drawn: as it is, marked as code points, or as the end of a line."""

    TEXT = "text"
    CODE = "code"
    BREAK = "break"


class Piece(msgspec.Struct, frozen=True):
    """A part of a text, already plain."""

    text: str
    kind: PieceKind


class Told(msgspec.Struct, frozen=True, kw_only=True):
    """A text as it is drawn. `warnings` are of the whole text, also of the `more` characters that are not drawn."""

    pieces: tuple[Piece, ...]
    warnings: tuple[str, ...] = ()
    more: int = 0


def tell(text: str, *, is_prose: bool = False) -> Told:
    """A text as it is drawn, whole. Names in another script than Latin are warned of, unless `is_prose`."""
    scripts = script_words(text) if not is_prose or has_mixed_scripts(text) else ""
    hidden = hidden_words(text)
    return Told(
        pieces=tuple(_pieces(escape(text), has_hidden=escape(text) != text)),
        warnings=tuple(words for words in (hidden, scripts) if words),
    )


def tell_line(line: Line, *, is_whole: bool) -> Told:
    """The text of a card's line as it is drawn, cut where it is longer than a card has room for and not whole."""
    clipped = line.clip(len(line.text) if is_whole else CLIP_CHARACTERS)
    return Told(
        pieces=tuple(_pieces(clipped.text, has_hidden=True)),
        warnings=line.warnings,
        more=clipped.hidden,
    )


def _pieces(plain: str, *, has_hidden: bool) -> Iterator[Piece]:
    """The parts of a text that is plain already. A single line end is drawn as one; more stand with their count."""
    if not has_hidden:
        yield Piece(plain, PieceKind.TEXT)
        return
    for part in _CODE_POINT.split(plain):
        if part == _LINE_END:
            yield Piece("", PieceKind.BREAK)
        elif part:
            yield Piece(part, PieceKind.CODE if _CODE_POINT.fullmatch(part) else PieceKind.TEXT)
