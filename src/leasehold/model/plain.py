"""Text from strangers made plain: escaped, counted, wrapped, never shortened. Called by every surface for people.

A run of the same hidden character, or of spaces that could push text out of sight, is written once with its count, so
nothing is lost and nothing can flood or move what stands around it (threat cases 82 to 85).
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter

from leasehold.model.text import has_mixed_scripts, visible

__all__ = ["escape", "hidden_words", "script_words", "wrap"]

_MOST_NAMED = 12
_RUNS = re.compile(r"(.)\1*", re.DOTALL)
_MOST_SPACES = 2
_MANY_SPACES = " " * (_MOST_SPACES + 1)


def escape(text: str) -> str:
    """Return `text` with hidden characters as `<U+XXXX>`, runs of them and of spaces as `<U+XXXX ×n>`; one line."""
    if text.isascii() and text.isprintable() and _MANY_SPACES not in text:  # most text, and a line a request
        return text
    return "".join(_escape_run(run[0]) for run in _RUNS.finditer(text))


def _escape_run(run: str) -> str:
    character, count = run[0], len(run)
    shown = visible(character)
    if character == " " and count > _MOST_SPACES:
        shown = "<U+0020>"
    elif shown == character:
        return run
    return shown if count == 1 else f"{shown[:-1]} ×{count}>"


def hidden_words(text: str) -> str:
    """How many hidden characters stand in `text` and which, or nothing if there are none."""
    counts = Counter(character for character in text if visible(character) != character)
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
