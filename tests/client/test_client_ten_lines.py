"""The ten lines of the README against a server in another process, with one line changed."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
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


class Office:
    """Where the authority runs: its policy, its state, and the program as an operator uses it."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        (folder / "leasehold.toml").write_text((EXAMPLES / "leasehold.toml").read_text() + CLIENTS)

    def start(self, *words: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-m", "leasehold", *words],
            cwd=self._folder,
            env={"PATH": os.environ["PATH"], "LEASEHOLD_STATE": str(self._folder / "state")},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(self, *words: str) -> str:
        return self.start(*words).communicate(timeout=60)[0]

    def key(self, client: str) -> str:
        shown = re.search(r"lhk_\S+", self.run("client", "key", "add", client))
        assert shown is not None
        return shown[0]

    @contextmanager
    def serving(self, socket: str) -> Iterator[str]:
        """Serve at a port and at a socket; answers the address of the port."""
        server = self.start("serve", "--port", "0", "--socket", socket)
        try:
            assert server.stdout is not None
            yield server.stdout.readline().strip()
            server.send_signal(signal.SIGTERM)
            server.communicate(timeout=60)
        finally:
            server.kill()
            server.wait()


@pytest.mark.requirement("L5", "L9")
@pytest.mark.parametrize("way", ["port", "socket"])
def test_ten_lines_work_elsewhere_with_one_line_changed(tmp_path: Path, way: str) -> None:
    office, elsewhere = Office(tmp_path), tmp_path / "elsewhere"
    elsewhere.mkdir()
    host, door = office.key("support-host"), office.key("ticket-door")
    lines = (EXAMPLES / "ten_lines.py").read_text()
    changed, count = re.subn(r"^authority = leasehold\.open\(.*$", REMOTE, lines, flags=re.MULTILINE)
    assert count == 1

    with tempfile.TemporaryDirectory(prefix="leasehold-") as short:  # the path of a socket has to be short
        socket = f"{short}/authority.sock"
        with office.serving(socket) as at_port:
            url = at_port if way == "port" else f"unix:{socket}"
            done = subprocess.run(
                [sys.executable, "-c", f"URL, HOST_KEY, DOOR_KEY = {url!r}, {host!r}, {door!r}\n{changed}"],
                cwd=elsewhere,
                env={"PATH": os.environ["PATH"]},
                capture_output=True,
                text=True,
                timeout=60,
                check=False,
            )

    assert done.returncode == 0, done.stderr
    assert done.stdout == "T-18421 closed: fixed\n"
    assert list(elsewhere.iterdir()) == []
    assert '"kind": "run.finished"' in office.run("ledger", "query", "--json").replace('":"', '": "')
