"""A process that restores, archives, moves or backs up a state, and is killed at one of its steps.

Started by test_upkeep_kill.py as `python upkeep_worker.py POLICY STATE DEED ARGUMENT KILL_AT`. It kills itself with
SIGKILL when Leasehold's code calls or returns for the `KILL_AT`th time since the deed began; 0 lets it end and prints
how often that was.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from types import FrameType

from leasehold.assemble import back_up_state, move_to_postgres, open_authority, restore_state
from leasehold.config import open_state
from leasehold.model.instant import Instant


class Clockwork:
    """Counts what Leasehold's own code does, in whichever module, and ends the process at one of the counts."""

    def __init__(self, kill_at: int) -> None:
        self.count = 0
        self._kill_at = kill_at

    def __call__(self, frame: FrameType, event: str, _argument: object) -> None:
        if event in ("call", "return") and "/leasehold/" in frame.f_code.co_filename:
            self.count += 1
            if self.count == self._kill_at:
                os.kill(os.getpid(), signal.SIGKILL)


def main(policy: str, state: str, deed: str, argument: str, kill_at: int) -> None:
    deeds: dict[str, Callable[[], object]] = {
        "restore": lambda: restore_state(open_state(Path(state)), by="op", reason="drill", source=Path(argument)),
        "archive": lambda: _archive(policy, state),
        "copy": lambda: move_to_postgres(open_state(Path(state)), argument),
        "backup": lambda: back_up_state(open_state(Path(state)), Path(argument)),
    }
    clockwork = Clockwork(kill_at)
    sys.setprofile(clockwork)
    deeds[deed]()
    sys.setprofile(None)
    sys.stdout.write(f"{clockwork.count}\n")


def _archive(policy: str, state: str) -> None:
    with open_authority(policy, state=state, sweep=False) as authority:
        for run in list(authority.archive.finished_before(Instant(2**52))):
            authority.archive.erase(run, by="op", reason="old")


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], sys.argv[3], sys.argv[4], int(sys.argv[5]))
