"""Text from strangers made plain: escaped, counted, wrapped, never shortened. Called by every surface for people.

A run of the same hidden character, or of spaces that could push text out of sight, is written once with its count, so
nothing is lost and nothing can flood or move what stands around it. Of marks that are drawn over a letter only as many
as languages need stay: more are drawn over the lines around it (threat cases 82 to 85).
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Iterator

from leasehold.model.text import has_mixed_scripts, visible

__all__ = ["escape", "hidden_words", "script_words", "wrap"]

_MOST_NAMED = 12
_RUNS = re.compile(r"(.)\1*", re.DOTALL)
_MOST_SPACES = 2
_MOST_MARKS = 4
_MANY_SPACES = " " * (_MOST_SPACES + 1)


def escape(text: str) -> str:
    """Return `text` with hidden characters as `<U+XXXX>`, runs of them and of spaces as `<U+XXXX ×n>`; one line."""
    if text.isascii() and text.isprintable() and _MANY_SPACES not in text:  # most text, and a line a request
        return text
    return "".join(_show(character, count, is_shown=is_shown) for character, count, is_shown in _runs(text))


def _runs(text: str) -> Iterator[tuple[str, int, bool]]:
    """Each run of one character, how long it is, and whether it is shown as it is."""
    marks = 0
    for run in _RUNS.finditer(text):
        character, count = run[0][0], len(run[0])
        is_visible = visible(character) == character
        if not is_visible or unicodedata.category(character) not in ("Mn", "Me"):
            marks = 0
            yield character, count, is_visible and not (character == " " and count > _MOST_SPACES)
            continue
        fitting = min(count, _MOST_MARKS - marks)
        marks += fitting
        for part, is_shown in ((fitting, True), (count - fitting, False)):
            if part:
                yield character, part, is_shown


def _show(character: str, count: int, *, is_shown: bool) -> str:
    if is_shown:
        return character * count
    return f"<U+{ord(character):04X}>" if count == 1 else f"<U+{ord(character):04X} ×{count}>"


def hidden_words(text: str) -> str:
    """How many hidden characters stand in `text` and which, or nothing if there are none."""
    counts: Counter[str] = Counter()
    for character, count, is_shown in _runs(text):
        if not is_shown and character != " ":
            counts[character] += count
    if not counts:
        return ""
    named = [f"{_name(character)} ×{count}" for character, count in sorted(counts.items())]
    total = counts.total()
    return f"{total} hidden character{'s' if total > 1 else ''}: {_first(named)}"


def script_words(text: str) -> str:
    """Which letters are not Latin, with a warning where they stand among others in one word; nothing if all are."""
    foreign = sorted({character for character in text if character.isalpha() and not _is_latin(character)})
    if not foreign:
        return ""
    label = "MIXED SCRIPTS in one word" if has_mixed_scripts(text) else "letters that are not Latin"
    return f"{label}: {_first([_name(character) for character in foreign])}"


def wrap(text: str, width: int) -> list[str]:
    """Return lines of at most `width` characters, broken at spaces where there are any; joined they are `text`."""
    lines = []
    while len(text) > width:
        space = text.rfind(" ", 0, width)
        cut = space + 1 if space > 0 else width
        lines.append(text[:cut])
        text = text[cut:]
    return [*lines, text]


def _is_latin(character: str) -> bool:
    return unicodedata.name(character, "").startswith("LATIN ")


def _name(character: str) -> str:
    name = unicodedata.name(character, "")
    return f"U+{ord(character):04X} {name}".rstrip()


def _first(named: list[str]) -> str:
    more = len(named) - _MOST_NAMED
    return ", ".join(named[:_MOST_NAMED]) + (f" and {more} more kinds" if more > 0 else "")
