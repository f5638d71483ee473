"""The page about the command line, written from the program: `python tests/cli/reference.py` writes docs/cli.md."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import click

HEAD = """\
# The command line

Data goes to stdout, messages to stderr. `--json` writes data as JSON; `NO_COLOR` is heard. `LEASEHOLD_POLICY` and
`LEASEHOLD_STATE` stand in for the options of the same names. For completion, `eval "$(_LEASEHOLD_COMPLETE=bash_source
leasehold)"` (or `zsh_source`, `fish_source`).

| exit code | meaning |
|---|---|
| 0 | ok |
| 1 | failed: not found, not verified, the database cannot be used, a test does not hold |
| 2 | usage or configuration |
| 3 | denied |
| 4 | approval pending or expired |
| 5 | the lease has ended |

This page is written from `--help`.
"""
WIDTH = 100


def page(program: click.Command) -> str:
    """The whole page, one section for each command."""
    sections = (f"\n## `{name}`\n\n```text\n{text}\n```\n" for name, text in helps(program))
    return HEAD + "".join(sections)


def helps(program: click.Command) -> Iterator[tuple[str, str]]:
    """Each command's full name and help text, groups before what is in them."""
    yield from _helps(program, _context(program, "leasehold", None))


def _helps(command: click.Command, context: click.Context) -> Iterator[tuple[str, str]]:
    yield context.command_path, command.get_help(context).rstrip()
    if isinstance(command, click.Group):
        for name in command.list_commands(context):
            found = command.get_command(context, name)
            if found is not None:
                yield from _helps(found, _context(found, name, context))


def _context(command: click.Command, name: str, parent: click.Context | None) -> click.Context:
    settings = {**command.context_settings, "terminal_width": WIDTH}
    return click.Context(command, parent=parent, info_name=name, **settings)


if __name__ == "__main__":
    from leasehold.cli.program import program

    (Path(__file__).parent.parent.parent / "docs" / "cli.md").write_text(page(program), encoding="utf-8")
