"""`leasehold exec`: run a plain command under a lease (requirement F7).

The whole command line is an argument of the call, so approvals and the ledger name exactly what was run. The command
holds whatever authority its account has, and the receipt says so.
"""

from __future__ import annotations

import signal
import subprocess
from collections.abc import Sequence
from types import FrameType
from typing import Any

import click

from leasehold.authority import Authority
from leasehold.cli.pairs import parse_attributes, split_options
from leasehold.cli.session import Session, with_session
from leasehold.errors import InvalidError
from leasehold.guard import Guard
from leasehold.guard.guard import Doors
from leasehold.model.grant import check_action, split_action
from leasehold.model.lease import HeldLease

__all__ = ["exec_command", "run_command"]

_NOT_FOUND = 127
_COMMAND = "command"


@click.command("exec", context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False})
@with_session
@click.option("--lease", "lease_id", envvar="LEASEHOLD_LEASE", required=True, show_envvar=True, help="Its id.")
@click.option("--key", help="The idempotency key that a write needs; the same key never runs twice.")
@click.option(
    "--environment",
    envvar="LEASEHOLD_ENVIRONMENT",
    show_envvar=True,
    help="Which environment this machine serves; by default the lease's own.",
)
@click.argument("action")
@click.argument("words", nargs=-1, type=click.UNPROCESSED, metavar="[--NAME VALUE]... -- COMMAND...")
def exec_command(
    session: Session, lease_id: str, key: str | None, environment: str | None, action: str, words: Sequence[str]
) -> None:
    """Run COMMAND if a lease allows ACTION with these arguments, and record how it went.

    Options of this command stand before ACTION; behind it each --NAME VALUE is an argument of the call (--NAME:=3 for
    a number), and the command itself is the argument "command". Exits with the command's own code; 3 if it was denied,
    4 if people have to decide first, 5 if the lease has ended.
    """
    with session.authority() as authority:
        held = _held(authority, lease_id)
        run_command(authority, held, (action, words), key=key, environment=environment)


def run_command(
    doors: Doors, held: HeldLease, asked: tuple[str, Sequence[str]], *, key: str | None, environment: str | None = None
) -> None:
    """Run a command line as one call: the action's name, and the words behind it. Exits with the command's own code.

    Raises:
        InvalidError: there is no command, or it is given twice.
        Denied: the call may not start.
    """
    action, words = asked
    tool, verb = split_action(check_action(action))
    pairs, command = split_options(words)
    arguments = parse_attributes(pairs)
    if not command:
        raise InvalidError("there is no command; write it behind --")
    if _COMMAND in arguments:
        raise InvalidError("the argument command is the command line itself; leave out --command")
    guard = Guard(tool, doors, environment=environment or held.lease.environment)
    guarded = guard.wrap(verb, _Runner().run)
    permit = held if key is None else held.once(key)
    try:
        guarded(permit, command=command, **arguments)
    except CommandFailedError as error:
        click.get_current_context().exit(error.code)


class CommandFailedError(Exception):
    """The command ended with a code other than 0; the guard records it as failed. Caught here alone."""

    def __init__(self, code: int, words: str) -> None:
        self.code = code
        super().__init__(words)


class _Runner:
    """Runs the command line as it was decided on, once. What this process is told to end by, the command is told too:
    also where that comes while it is being started, or it would be left running with nobody to record how it went."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None
        self._is_told = False

    def run(self, command: list[str], **_arguments: Any) -> int:
        """Run it with this process's streams, and return 0.

        Raises:
            CommandFailedError: it ended with another code, by a signal, or could not be started.
        """
        before = signal.signal(signal.SIGTERM, self._pass_on)
        try:
            code = self._wait(command)
        except OSError as error:
            click.echo(f"{command[0]}: {error.strerror}", err=True)
            raise CommandFailedError(_NOT_FOUND, f"cannot be started: {error.strerror}") from None
        finally:
            signal.signal(signal.SIGTERM, before)
        if code:
            raise CommandFailedError(code if code > 0 else 128 - code, f"exit code {code}")
        return code

    def _wait(self, command: list[str]) -> int:
        with subprocess.Popen(command) as process:  # noqa: S603 - running it is what was asked for
            self._process = process
            if self._is_told:
                process.terminate()
            try:
                return process.wait()
            except BaseException:
                process.kill()
                raise

    def _pass_on(self, _number: int, _frame: FrameType | None) -> None:
        self._is_told = True
        if self._process is not None:
            self._process.terminate()


def _held(authority: Authority, lease_id: str) -> HeldLease:
    return authority.engine.held(authority.desk.lease_status(lease_id).chain[-1].lease)
