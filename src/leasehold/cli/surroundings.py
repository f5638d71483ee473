"""What a command takes from the process around it: clock, terminal, account. Read once; tests bring their own."""

from __future__ import annotations

import os
import pwd
import shutil
import sys
from dataclasses import dataclass

from leasehold.system import RealSystem, System

__all__ = ["Surroundings"]


@dataclass(frozen=True, kw_only=True)
class Surroundings:
    """The process around a command.

    Attributes:
        system: clock and chance.
        is_interactive: whether a person can be asked, because stdin is a terminal.
        is_terminal: whether stdout is one, so that tables may be drawn for eyes.
        has_colour: whether colour is wanted on stderr, where cards and messages go (`NO_COLOR` says no).
        width: columns of the terminal.
        account: the operating-system account, as ledger entries name it.
    """

    system: System
    is_interactive: bool = False
    is_terminal: bool = False
    has_colour: bool = False
    width: int = 80
    account: str = "account:test"

    @classmethod
    def of_this_process(cls) -> Surroundings:
        """What holds for this process now."""
        return cls(
            system=RealSystem(),
            is_interactive=sys.stdin.isatty(),
            is_terminal=sys.stdout.isatty(),
            has_colour=sys.stderr.isatty() and not os.environ.get("NO_COLOR"),
            width=max(40, shutil.get_terminal_size().columns),
            account=f"account:{_account_name()}",
        )


def _account_name() -> str:
    try:
        return pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:  # containers often run under a number without a name
        return str(os.geteuid())
