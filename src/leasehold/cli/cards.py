"""A card as text for a terminal: everything its digest covers, in an order that can be read in ten seconds.

Called by `request` and `demo`. Pure. The sheet has escaped every value; here it is wrapped and never shortened, and
what tools and agents wrote is marked as theirs (requirements L10, B6, P10, F3).
"""

from __future__ import annotations

import click

from leasehold.model.card import Card, Footer
from leasehold.model.plain import wrap
from leasehold.model.sheet import DIGEST_DIGITS, Line, Origin, Section, SectionName, lay_out, short_digest

__all__ = ["DIGEST_DIGITS", "render_card", "short_digest"]

_LABEL = 13
_SMALLEST_WIDTH = 40
_RULED = (SectionName.ASKED, SectionName.PEOPLE, SectionName.WORDS)
"""Sections that close the head, and those that a rule stands before."""


def render_card(card: Card, *, width: int = 80, colour: bool = False, footer: Footer | None = None) -> str:
    """Return the card as lines of at most `width` columns (40 at least), each ended by a newline.

    `footer` says how it stands with the answers.
    """
    paper = _Paper(max(width, _SMALLEST_WIDTH), colour=colour)
    sheet = lay_out(card, footer)
    paper.rule()
    paper.title(sheet.headline)
    for section in sheet.sections:
        if section.name in _RULED[1:]:
            paper.rule()
        paper.section(section)
        if section.name is _RULED[0]:
            paper.rule()
    return paper.text()


class _Paper:
    """Lines under way. Owned by one call of `render_card`."""

    def __init__(self, width: int, *, colour: bool) -> None:
        self._width = width
        self._colour = colour
        self._lines: list[str] = []

    def text(self) -> str:
        return "".join(f"{line}\n" for line in self._lines)

    def rule(self) -> None:
        self._lines.append("─" * self._width)

    def title(self, line: Line) -> None:
        """The sentence that matters most, with its warnings."""
        self._add(line.text, "", "", bold=True)
        self._warn(line, "")

    def section(self, section: Section) -> None:
        """A heading of its own where there is one, and each line under it."""
        if section.title:
            self._add(section.title, "", "", bold=True, red=section.is_loud)
        for line in section.lines:
            if line.origin in (Origin.AGENT, Origin.LEDGER):
                self._quote(line)
            else:
                self._field(line, indent=2 if section.title else 0)

    def _field(self, line: Line, *, indent: int) -> None:
        """One named value, wrapped under itself, with its warnings."""
        first = " " * indent + line.label.ljust(_LABEL - indent) + " "
        rest = " " * len(first) if len(first) <= self._width // 2 else " " * (indent + 2)
        self._add(line.text, first, rest, red=line.is_loud)
        self._warn(line, " " * (indent + 2))

    def _quote(self, line: Line) -> None:
        """Words of an agent, or of the ledger about it: each line marked."""
        mark = "  | " if line.origin is Origin.AGENT else "  - "
        self._add(f"{line.label}: {line.text}" if line.label else line.text, mark, mark)
        self._warn(line, mark)

    def _warn(self, line: Line, indent: str) -> None:
        for words in line.warnings:
            self._add(f"! {words}", indent, indent + "  ", red=True)

    def _add(self, text: str, first: str, rest: str, *, bold: bool = False, red: bool = False) -> None:
        """Wrap and mark. A label that leaves no room gets a line of its own."""
        if len(first) > self._width // 2:
            self._lines += wrap(first.rstrip(), self._width)
            first = rest
        indents = [first]
        for line in wrap(text, self._width - max(len(first), len(rest))):
            self._lines.append(indents.pop() + self._styled(line, bold=bold, red=red))
            indents.append(rest)

    def _styled(self, line: str, *, bold: bool, red: bool) -> str:
        if not self._colour or not (bold or red):
            return line
        return click.style(line, bold=bold or None, fg="red" if red else None)
