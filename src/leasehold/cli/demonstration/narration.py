"""How the demo tells its story in a terminal: who does what, and what the door answers. Called by its story.

Short lines that read well without colour; long ones go on under their own beginning.
"""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Iterable

import click

from leasehold.model.decision import Decision
from leasehold.model.text import visible

__all__ = ["Narrator"]

_MARGIN = 12
_MIN_WIDTH, _MAX_WIDTH = 60, 100


class Narrator:
    """Writes lines to whoever reads. `width` is the terminal's; colour is used only where `colour` says so."""

    def __init__(self, write: Callable[[str], None], *, width: int, colour: bool) -> None:
        self._write = write
        self._width = max(_MIN_WIDTH, min(width, _MAX_WIDTH))
        self._colour = colour
        self._scenes = 0

    @property
    def width(self) -> int:
        """How many columns a line may take."""
        return self._width

    @property
    def is_coloured(self) -> bool:
        """Whether colour is used."""
        return self._colour

    def scene(self, title: str) -> None:
        """Begin the next numbered part."""
        self._scenes += 1
        self._write("")
        self._write(self._style(f"{self._scenes}. {title}", bold=True))

    def says(self, who: str, text: str) -> None:
        """One line of what somebody does or answers."""
        self._line(who, visible(text))

    def allowed(self, text: str) -> None:
        """The door lets something pass."""
        self._line("door", visible(text), mark=("allowed", "green"))

    def refused(self, decision: Decision) -> None:
        """The door refuses, with its reason and what would be enough."""
        told = f"{decision.reason}: {decision.message}"
        told += f"; enough would be: {decision.enough}" if decision.enough else ""
        self._line("door", visible(told), mark=("REFUSED", "red"))

    def waits(self, text: str) -> None:
        """The door waits for a person."""
        self._line("door", visible(text), mark=("WAITS", "yellow"))

    def quote(self, lines: Iterable[str]) -> None:
        """Lines of something that exists, such as a card or a diff, as they are."""
        for line in lines:
            self._write(f"{' ' * _MARGIN}{line}".rstrip())  # a card is escaped already, a diff below

    def plain(self, text: str = "") -> None:
        """A line that belongs to nobody."""
        self._write(text)

    def listed(self, name: str, text: str) -> None:
        """A name and what it stands for, in two columns."""
        self._write(f"   {name:<12}{visible(text)}")

    def _line(self, who: str, text: str, mark: tuple[str, str] | None = None) -> None:
        word = f"{mark[0]}  " if mark else ""
        wrapped = textwrap.wrap(
            word + text, self._width - _MARGIN, subsequent_indent=" " * len(word), break_on_hyphens=False
        )
        first, *more = wrapped or [""]
        if mark:
            first = self._style(mark[0], fg=mark[1], bold=True) + first[len(mark[0]) :]
        self._write(f"   {who:<9}{first}")
        for line in more:
            self._write(f"{' ' * _MARGIN}{line}")

    def _style(self, text: str, *, fg: str | None = None, bold: bool = False) -> str:
        return click.style(text, fg=fg, bold=bold) if self._colour else text
