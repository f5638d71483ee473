"""A group of commands whose overview shows the whole first sentence of each, wrapped. Called by each group here."""

from __future__ import annotations

import click

__all__ = ["CommandGroup"]

_NO_LIMIT = 1000


class CommandGroup(click.Group):
    """Click's own overview cuts a sentence where the terminal ends."""

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the overview."""
        found = [(name, self.get_command(ctx, name)) for name in self.list_commands(ctx)]
        with formatter.section("Commands"):
            formatter.write_dl([(name, command.get_short_help_str(_NO_LIMIT)) for name, command in found if command])
