"""The root of the command line: the table of commands, loaded when used, and the place where errors become words."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from difflib import get_close_matches
from importlib import import_module

import click

from leasehold.cli.exits import Failure, code_of, words_of
from leasehold.errors import LeaseholdError

__all__ = ["COMMANDS", "LazyGroup", "program", "run_program"]

COMMANDS: Mapping[str, tuple[str, str]] = {
    "init": ("leasehold.cli.init:init", "Write a commented policy with passing tests."),
    "demo": ("leasehold.cli.demo:demo", "Watch one run on a real repository, from request to receipt."),
    "serve": ("leasehold.cli.serve:serve", "Let people decide in a browser, at this machine by default."),
    "doctor": ("leasehold.cli.doctor:doctor", "Look for what weakens this installation."),
    "run": ("leasehold.cli.run:run", "Start, look at, retry and finish runs."),
    "request": ("leasehold.cli.request:request", "Make, look at and answer requests."),
    "lease": ("leasehold.cli.lease:lease", "Draw, look at, renew and revoke leases."),
    "revoke": ("leasehold.cli.stop:revoke", "End everything recorded so far in a scope, for good."),
    "hold": ("leasehold.cli.stop:hold", "Let nothing start in a scope: the kill switch."),
    "lift": ("leasehold.cli.stop:lift", "Lift a hold."),
    "stops": ("leasehold.cli.stop:stops", "List what is held or revoked now."),
    "break-glass": ("leasehold.cli.break_glass:break_glass", "Skip rules of a route for minutes, as two people."),
    "person": ("leasehold.cli.person:person", "Add and remove people, their keys and passwords."),
    "client": ("leasehold.cli.client:client", "See programs that may call over the network, and give them keys."),
    "provider": ("leasehold.cli.provider:provider", "See where people sign in, and set our secrets there."),
    "notices": ("leasehold.cli.notices:notices", "See and try how people are told what happens."),
    "policy": ("leasehold.cli.policy:policy", "Check, test, explain, compare and accept policies."),
    "ledger": ("leasehold.cli.ledger:ledger", "Ask, export and verify the ledger."),
    "receipt": ("leasehold.cli.receipt:receipt", "Read and verify receipts, offline, and amend them."),
    "keys": ("leasehold.cli.keys:keys", "Hand out the authority's public keys, rotate its signing keys."),
    "exec": ("leasehold.cli.command:exec_command", "Run a plain command under a lease."),
    "db": ("leasehold.cli.db:db", "Check, back up and restore the database."),
}
"""Each command: where it stands, and its line in the overview, so that the overview loads none of them."""

_EPILOG = (
    "Exit codes: 0 ok, 1 failed, 2 usage or configuration, 3 denied, 4 approval pending or expired, 5 lease ended. "
    "Data goes to stdout, messages to stderr."
)

_NEAR = 0.8


class LazyGroup(click.Group):
    """A group whose commands are imported when they are used, and whose errors leave as words and codes."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        """The names, in the order of the table."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002 - click's
        """Import one command."""
        if cmd_name not in COMMANDS:
            return None
        module, _, name = COMMANDS[cmd_name][0].partition(":")
        command = getattr(import_module(module), name)
        return command if isinstance(command, click.Command) else None

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command, or say which was meant: one with nearly this name, or one that stands below another."""
        if args and args[0] not in COMMANDS:
            meant = ", ".join(map(repr, self._meant(ctx, args[0])))
            ctx.fail(f"No such command {args[0]!r}.{f' Did you mean {meant}?' if meant else ''}")
        return super().resolve_command(ctx, args)

    def _meant(self, ctx: click.Context, name: str) -> list[str]:
        if near := get_close_matches(name, COMMANDS, cutoff=_NEAR):
            return near
        groups = [(word, self.get_command(ctx, word)) for word in COMMANDS]
        below = [(word, verb) for word, group in groups if isinstance(group, click.Group) for verb in group.commands]
        verbs = get_close_matches(name, {verb for _, verb in below}, n=1, cutoff=_NEAR)
        return [f"{word} {verb}" for word, verb in below if verb in verbs]

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002 - click's
        """Write the overview from the table."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, words) for name, (_, words) in COMMANDS.items()])

    def invoke(self, ctx: click.Context) -> object:
        """Run the command; each error of ours ends as words on stderr and its exit code, never as a traceback."""
        try:
            return super().invoke(ctx)
        except LeaseholdError as error:
            raise Failure(words_of(error), code_of(error)) from error


@click.group(
    cls=LazyGroup,
    epilog=_EPILOG,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.version_option(package_name="leasehold", message="%(version)s")
def program() -> None:
    """Capability leases for AI agents: power briefly, for one reason, with a receipt."""


def run_program() -> None:
    """Run the command line of this process."""
    logging.basicConfig(format="leasehold: %(message)s", level=logging.WARNING)
    program(prog_name="leasehold")
