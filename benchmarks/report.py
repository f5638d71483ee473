"""Tables of ratios with their targets, and the facts of the machine above them. Called by the program and its parts."""

from __future__ import annotations

import os
import platform
from collections.abc import Sequence
from typing import NamedTuple

import apsw
import cryptography


class Target(NamedTuple):
    """What a ratio is to be: at most `limit`, or with `at_least` not below it."""

    limit: float
    at_least: bool = False

    def is_met(self, ratio: float) -> bool:
        """Whether the ratio keeps to it."""
        return ratio >= self.limit if self.at_least else ratio <= self.limit

    def __str__(self) -> str:
        return f"{'>=' if self.at_least else '<='} {self.limit:.2f}"


class Line(NamedTuple):
    """One line of a table: what was measured, how long one operation took, the ratio to its yardstick, the target."""

    what: str
    seconds: float
    ratio: float | None = None
    of: str = ""
    target: Target | None = None


class Table(NamedTuple):
    """One benchmark's answer. `notes` say how it was measured."""

    title: str
    lines: Sequence[Line]
    notes: Sequence[str] = ()


def machine_facts() -> str:
    """One paragraph: processors, load, versions. It names nothing that would identify the machine."""
    load = " ".join(f"{one:.1f}" for one in os.getloadavg())
    return (
        f"{os.cpu_count()} processors ({platform.machine()}), load {load}; Python {platform.python_version()}, "
        f"SQLite {apsw.sqlite_lib_version()} (apsw {apsw.apsw_version()}), cryptography {cryptography.__version__}"
    )


def render(table: Table) -> str:
    """The table as Markdown, which is also what a terminal shows."""
    rows = [("", "one operation", "ratio", "to", "target", ""), *map(_cells, table.lines)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    text = [_row(rows[0], widths), _row(["-" * width for width in widths], widths)]
    text += [_row(row, widths) for row in rows[1:]]
    return "\n".join([f"### {table.title}", "", *text, *([""] if table.notes else []), *table.notes, ""])


def _cells(line: Line) -> tuple[str, ...]:
    ratio = "" if line.ratio is None else f"{line.ratio:.3f}" if line.ratio < 0.1 else f"{line.ratio:.2f}"
    target = "" if line.target is None else str(line.target)
    verdict = ""
    if line.target is not None and line.ratio is not None:
        verdict = "met" if line.target.is_met(line.ratio) else "not met"
    return line.what, _duration(line.seconds), ratio, line.of, target, verdict


def _row(cells: Sequence[str], widths: Sequence[int]) -> str:
    return f"| {' | '.join(cell.ljust(width) for cell, width in zip(cells, widths, strict=True))} |"


def _duration(seconds: float) -> str:
    if seconds < 1e-3:
        return f"{seconds * 1e6:.1f} us"
    return f"{seconds * 1e3:.2f} ms" if seconds < 1 else f"{seconds:.2f} s"
