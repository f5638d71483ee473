"""Data on stdout: JSON for programs, tables for eyes. Called by `Session`."""

from __future__ import annotations

import json
from collections.abc import Sequence

import click
import msgspec

from leasehold.model.plain import escape

__all__ = ["show_json", "show_json_line", "show_table"]


def show_json(value: object) -> None:
    """Write a value as indented ASCII JSON: escapes keep every hidden character harmless."""
    click.echo(json.dumps(msgspec.to_builtins(value), indent=2, ensure_ascii=True))


def show_json_line(value: object) -> None:
    """The same on one line, for what gathers lines."""
    click.echo(json.dumps(msgspec.to_builtins(value), ensure_ascii=True))


def show_table(titles: Sequence[str], rows: Sequence[Sequence[str]], *, is_terminal: bool, width: int) -> None:
    """Write a table: columns for eyes where stdout is a terminal, tab-separated lines where it is not."""
    plain = [[escape(cell) for cell in row] for row in rows]
    if is_terminal:
        _draw(titles, plain, width)
    else:
        for row in (titles, *plain):
            click.echo("\t".join(row))


def _draw(titles: Sequence[str], rows: Sequence[Sequence[str]], width: int) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, header_style="bold")
    for title in titles:
        table.add_column(title, overflow="fold")  # never an ellipsis: nothing is left out unseen
    for row in rows:
        table.add_row(*(Text(cell) for cell in row))
    Console(width=width, highlight=False).print(table)
