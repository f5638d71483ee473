"""The ten lines of the README against a server in another process, with one line changed."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parent.parent.parent / "examples"
CLIENTS = """
[clients."support-host"]
runs = { agents = ["support-bot"], routes = ["support/close"], tenants = ["acme"], environments = ["prod"] }
[clients."ticket-door"]
door = { tool = "ticket", environment = "prod" }
"""
REMOTE = 'authority = leasehold.connect(URL, HOST_KEY, doors={"ticket": DOOR_KEY})'


@pytest.mark.requirement("L5", "L9")
def test_ten_lines_work_on_another_machine_with_one_line_changed(tmp_path: Path) -> None:
    (tmp_path / "leasehold.toml").write_text((EXAMPLES / "leasehold.toml").read_text() + CLIENTS)
    environment = {"PATH": os.environ["PATH"], "LEASEHOLD_STATE": str(tmp_path / "state")}

    def leasehold(*words: str) -> subprocess.Popen[str]:
        command = [sys.executable, "-m", "leasehold", *words]
        return subprocess.Popen(
            command, cwd=tmp_path, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )

    keys = [
        leasehold("client", "key", "add", name).communicate(timeout=60)[0] for name in ("support-host", "ticket-door")
    ]
    host, door = (re.search(r"lhk_\S+", shown) for shown in keys)
    assert host is not None
    assert door is not None
    server = leasehold("serve", "--port", "0")
    try:
        assert server.stdout is not None
        url = server.stdout.readline().strip()
        lines = (EXAMPLES / "ten_lines.py").read_text()
        changed, count = re.subn(r"^authority = leasehold\.open\(.*$", REMOTE, lines, flags=re.MULTILINE)
        assert count == 1
        given = f"URL, HOST_KEY, DOOR_KEY = {url!r}, {host[0]!r}, {door[0]!r}\n"
        elsewhere = tmp_path / "elsewhere"
        elsewhere.mkdir()
        done = subprocess.run(
            [sys.executable, "-c", given + changed],
            cwd=elsewhere,
            env={"PATH": os.environ["PATH"]},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        server.send_signal(signal.SIGTERM)
        server.communicate(timeout=60)
    finally:
        server.kill()
        server.wait()

    assert done.returncode == 0, done.stderr
    assert done.stdout == "T-18421 closed: fixed\n"
    assert list(elsewhere.iterdir()) == []
    listed = leasehold("ledger", "query", "--json").communicate(timeout=60)[0]
    assert '"kind": "run.finished"' in listed.replace('":"', '": "')
