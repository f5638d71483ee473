"""`leasehold demo`: the main job on real input, from request to receipt."""

from __future__ import annotations

import os
from pathlib import Path

import click

from leasehold.assemble import open_authority
from leasehold.cli.demonstration.console import give_password, offer_console, open_console, own_command
from leasehold.cli.demonstration.evidence import export, verify
from leasehold.cli.demonstration.narration import Narrator
from leasehold.cli.demonstration.person import ask_terminal, scripted
from leasehold.cli.demonstration.policy import APPROVER, ENVIRONMENT, REQUESTER, TOOL
from leasehold.cli.demonstration.story import Story
from leasehold.cli.demonstration.tools import RepositoryTools
from leasehold.cli.demonstration.trial import TestRunner
from leasehold.cli.demonstration.workplace import Workplace, add_approver, prepare
from leasehold.cli.surroundings import Surroundings
from leasehold.guard import Guard

__all__ = ["demo"]


@click.command()
@click.option(
    "--repo",
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    help="Work on a clone of this repository; by default of the checkout that you stand in, else on a small one.",
)
@click.option("--interactive", is_flag=True, help="Answer the card yourself.")
@click.option(
    "--keep", type=click.Path(path_type=Path), metavar="DIR", help="Use this new folder, not a temporary one."
)
@click.option("--console", is_flag=True, help="Serve the console on what the demo made, once it is over.")
@click.pass_context
def demo(context: click.Context, *, repo: Path | None, interactive: bool, keep: Path | None, console: bool) -> None:
    """Watch a scripted agent keep a real git repository up to date, under one lease.

    No model and no network take part. Files, commits, ledger and receipt are real, and stay.
    """
    around = context.find_object(Surroundings) or Surroundings.of_this_process()
    if interactive and not around.is_interactive:
        raise click.UsageError("--interactive needs a terminal to ask at")
    narrator = Narrator(click.echo, width=around.width, colour=around.has_colour and around.is_terminal)
    workplace = prepare(keep, repo, os.environ)
    _introduce(narrator, workplace, is_interactive=interactive)
    with open_authority(workplace.policy, state=workplace.state, system=around.system) as authority:
        guard = Guard(TOOL, authority, environment=ENVIRONMENT)
        runner = TestRunner(workplace.repository.root, os.environ)
        story = Story(
            authority=authority,
            workplace=workplace,
            tools=RepositoryTools(guard, workplace.repository, runner, workplace.change),
            approver=add_approver(authority, workplace),
            person=ask_terminal if interactive else scripted,
            narrator=narrator,
        )
        run = story.tell()
        narrator.scene("The receipt, verified by another process from the exported files alone")
        export(authority, run, workplace.evidence)
        password = give_password(authority)
    verify(workplace.evidence, os.environ, narrator)
    _conclude(narrator, workplace)
    offer_console(narrator, workplace, password)
    if console:
        open_console(workplace, around.system)


def _introduce(narrator: Narrator, workplace: Workplace, *, is_interactive: bool) -> None:
    answers = "you" if is_interactive else "scripted here; --interactive lets you be him"
    narrator.plain("A scripted agent keeps a real repository up to date. No model, no network.")
    narrator.plain()
    narrator.listed("repository", workplace.repository.origin)
    narrator.listed("policy", str(workplace.policy))
    narrator.listed("people", f"{REQUESTER} asks, {APPROVER} answers ({answers})")


def _conclude(narrator: Narrator, workplace: Workplace) -> None:
    narrator.plain()
    narrator.plain("All of this is real, and stays:")
    narrator.listed("commits", str(workplace.repository.root))
    if workplace.change.exists():
        narrator.listed("change", str(workplace.change))
    narrator.listed("evidence", str(workplace.evidence))
    narrator.listed("state", f"{workplace.state} (database, keys)")
    narrator.plain()
    narrator.plain(f"Look on: cd {workplace.folder}; {own_command(os.environ)} ledger query --state state")
