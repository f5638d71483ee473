"""What an error becomes at the terminal: one of the documented exit codes and plain words. Called by the program."""

from __future__ import annotations

from enum import IntEnum

import click

from leasehold.errors import (
    ApprovalNeeded,
    ConfigError,
    Denied,
    InvalidError,
    LeaseholdError,
    StoreError,
    TokenError,
)
from leasehold.model.decision import Reason
from leasehold.model.text import visible

__all__ = ["ExitCode", "Failure", "code_of", "words_of"]


class ExitCode(IntEnum):
    """How a command ends, so that no script needs to read its text."""

    OK = 0
    FAILED = 1
    USAGE = 2
    DENIED = 3
    APPROVAL = 4
    LEASE_ENDED = 5


_APPROVAL = frozenset({Reason.APPROVAL_NEEDED, Reason.APPROVAL_EXPIRED, Reason.EDITED})
_ENDED = frozenset(
    {
        Reason.EXPIRED,
        Reason.REVOKED,
        Reason.RUN_FINISHED,
        Reason.STALE_ATTEMPT,
        Reason.STALE_EPOCH,
        Reason.COMPLETED,
        Reason.ENDING,
        Reason.ENDED,
        Reason.PARENT_CALL_OVER,
    }
)


def code_of(error: LeaseholdError) -> ExitCode:
    """The exit code of an error."""
    match error:
        case ApprovalNeeded():
            return ExitCode.APPROVAL
        case Denied(decision=decision) if decision.reason in _APPROVAL:
            return ExitCode.APPROVAL
        case Denied(decision=decision) if decision.reason in _ENDED:
            return ExitCode.LEASE_ENDED
        case Denied() | TokenError():
            return ExitCode.DENIED
        case ConfigError() | InvalidError():
            return ExitCode.USAGE
        case _:
            return ExitCode.FAILED


def words_of(error: LeaseholdError) -> str:
    """The error for a person, with what to do next and every hidden character visible."""
    text = str(error)
    if isinstance(error, ApprovalNeeded):
        text += f"\nlook at it with: leasehold request inspect {error.request}"
    if isinstance(error, StoreError) and error.maybe_persisted:
        text += "\nthe change may stand in the database all the same; look before you repeat it"
    return visible(text, keep_newlines=True)


class Failure(click.ClickException):
    """An error on its way out: click prints it to stderr and exits with its code."""

    def __init__(self, message: str, code: ExitCode) -> None:
        super().__init__(message)
        self.exit_code = int(code)  # type: ignore[misc]  # click reads it from the instance
