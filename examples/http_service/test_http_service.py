"""The service and the agent as they are run: two processes, one authority's state."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent


@pytest.mark.requirement("B5", "L14")
def test_agent_gets_done_over_http_what_its_lease_allows_and_no_more(tmp_path: Path) -> None:
    environment = {"PATH": os.environ["PATH"], "LEASEHOLD_STATE": str(tmp_path / "state")}
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    service = subprocess.Popen([sys.executable, "service.py", str(port)], cwd=HERE, env=environment)
    try:
        _wait_for(port, service)
        agent = subprocess.run(
            [sys.executable, "agent.py", str(port)],
            cwd=HERE,
            env=environment,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
    finally:
        service.terminate()
        service.wait(20)

    assert agent.returncode == 0, agent.stderr
    assert agent.stdout.splitlines() == [
        "/tickets/T-1/notes 200 {'notes': 1}",
        "/tickets/T-1/notes 409 already_done",
        "/tickets/T-2/notes 403 out_of_range",
        "/tickets/T-1/close 409 approval_needed",
    ]


def _wait_for(port: int, service: subprocess.Popen[bytes]) -> None:
    """Until the service takes connections; a connection that is refused takes no time, so it is tried often."""
    while service.poll() is None:
        try:
            with socket.create_connection(("127.0.0.1", port), timeout=20) as connection:
                if connection.getsockname() != connection.getpeername():  # tried often, a free port meets itself
                    return
        except ConnectionRefusedError:
            os.sched_yield()
    raise AssertionError(f"the service ended with {service.returncode}")
