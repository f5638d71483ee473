"""The ten lines of the README, run as they stand."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import leasehold
from leasehold.ledger.entry import EntryKind
from leasehold.store.queries import LedgerQuery

HERE = Path(__file__).parent


def test_ten_lines_close_one_ticket_and_finish_the_run(tmp_path: Path) -> None:
    state = tmp_path / "state"
    done = subprocess.run(
        [sys.executable, "ten_lines.py"],
        cwd=HERE,
        env={"PATH": os.environ["PATH"], "LEASEHOLD_STATE": str(state)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == "T-18421 closed: fixed\n"
    with leasehold.open(HERE / "leasehold.toml", state=state, sweep=False) as authority:
        last, *_ = authority.desk.search(LedgerQuery(tenants=["acme"]))
    assert (last.kind, last.outcome) == (EntryKind.RUN_FINISHED, "done")
