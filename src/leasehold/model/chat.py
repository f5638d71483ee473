"""A card as plain text for a chat message or an e-mail. Called by notices; pure.

What does not fit into a message is never cut away silently: the text then says that it is not the whole card, and
whoever sends it offers no way to approve from there (threat cases 82 to 85).
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import accumulate

import msgspec

from leasehold.model.sheet import Line, Origin, Section, Sheet

__all__ = ["CHAT_LIMIT", "ChatText", "chat_text"]

CHAT_LIMIT = 3000
"""As many characters as the strictest of the chats takes in one block."""

_LABELS = {Origin.TOOL: "tool: ", Origin.AGENT: "agent: "}
_NOT_WHOLE = "... this is not the whole card ({count} more lines). Open it, read it there, and decide there."


class ChatText(msgspec.Struct, frozen=True):
    """Plain text, and whether all of the card stands in it. Where it does not, no button may stand beside it."""

    text: str
    is_whole: bool


def chat_text(sheet: Sheet, limit: int = CHAT_LIMIT) -> ChatText:
    """Return the sheet as lines of text of at most `limit` characters in all, whole lines only.

    Every line that a tool or an agent wrote is marked as theirs. No markup: a sender escapes what its chat would take
    for some.
    """
    lines = list(_lines(sheet))
    if len(text := "\n".join(lines)) <= limit:
        return ChatText(text, is_whole=True)
    room = limit - len(_NOT_WHOLE.format(count=len(lines)))
    ends = accumulate(len(line) + 1 for line in lines)
    kept = [line for line, end in zip(lines, ends, strict=True) if end <= room]
    return ChatText("\n".join([*kept, _NOT_WHOLE.format(count=len(lines) - len(kept))]), is_whole=False)


def _lines(sheet: Sheet) -> Iterator[str]:
    yield from _shown(sheet.headline)
    for section in sheet.sections:
        yield from _section(section)


def _section(section: Section) -> Iterator[str]:
    if section.title:
        yield section.title
    for line in section.lines:
        yield from _shown(line)


def _shown(line: Line) -> Iterator[str]:
    label = f"{line.label}: " if line.label else ""
    yield f"{_LABELS.get(line.origin, '')}{label}{line.text}"
    for warning in line.warnings:
        yield f"! {warning}"
