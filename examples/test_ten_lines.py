"""The ten lines of the README, run as they stand."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent


def test_ten_lines_close_one_ticket_and_print_its_receipt(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "ten_lines.py"],
        cwd=HERE,
        env={**os.environ, "LEASEHOLD_STATE": str(tmp_path / "state")},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    closed, receipt = done.stdout.splitlines()
    assert closed == "T-18421 is closed"
    assert json.loads(receipt)["payloadType"] == "application/vnd.in-toto+json"
