"""`leasehold exec`: a plain command under a lease, run exactly as it was decided on."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from terminal import Terminal

from leasehold.system import RealSystem

GET = ("ticket.get", "--ticket-id", "T-1", "--")


def execute(terminal: Terminal, lease: str, *words: str, environ: dict[str, str] | None = None) -> tuple[int, str, str]:
    """Run `exec` in a process of its own, whose streams the command inherits."""
    settings = {
        "LEASEHOLD_POLICY": str(terminal.policy),
        "LEASEHOLD_STATE": str(terminal.state),
        "LEASEHOLD_LEASE": lease,
    }
    done = subprocess.run(
        [sys.executable, "-m", "leasehold", "exec", *words],
        env={**os.environ, **settings, **(environ or {})},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    return done.returncode, done.stdout, done.stderr


@pytest.fixture
def lease(terminal: Terminal) -> str:
    """A lease that lives by the clock of the machine, since the command runs in another process."""
    terminal.system = RealSystem()  # type: ignore[assignment]
    return terminal.lease("ticket.get ticket=T-1", 'ticket.tag ticket=T-1 level:={\\"max\\":3,\\"min\\":0}')


@pytest.mark.requirement("F7")
def test_a_command_runs_under_its_lease_and_its_exit_code_comes_through(terminal: Terminal, lease: str) -> None:
    assert execute(terminal, lease, *GET, "sh", "-c", "echo hello; echo oh >&2; exit 7") == (7, "hello\n", "oh\n")
    assert execute(terminal, lease, *GET, "echo", "--lease", "--", "x") == (0, "--lease -- x\n", "")
    assert execute(terminal, lease, *GET, "sh", "-c", "kill -9 $$")[0] == 137
    assert execute(terminal, lease, *GET, "sh", "-c", "kill -TERM $PPID; exec sleep 60")[0] == 143
    outcomes = [entry["outcome"] for entry in terminal.json("ledger", "query") if entry["kind"] == "call.settled"]
    assert outcomes == ["failed", "failed", "done", "failed"]


@pytest.mark.requirement("F7")
def test_a_denied_command_is_not_run_and_exits_3(terminal: Terminal, lease: str, tmp_path: Path) -> None:
    touched = tmp_path / "touched"
    code, out, err = execute(terminal, lease, "ticket.get", "--ticket-id", "T-2", "--", "touch", str(touched))
    assert (code, out, touched.exists()) == (3, "", False)
    assert err.startswith("Error: denied (out_of_range)")
    assert "Traceback" not in err


@pytest.mark.requirement("P6")
def test_the_environment_is_the_machines_and_not_the_callers(terminal: Terminal, lease: str) -> None:
    code, _, err = execute(terminal, lease, *GET, "true", environ={"LEASEHOLD_ENVIRONMENT": "dev"})
    assert (code, "wrong_environment" in err) == (3, True)


def test_a_lease_that_ended_exits_5(terminal: Terminal) -> None:
    lease = terminal.lease()
    terminal.run("lease", "revoke", lease, "--reason", "over")
    terminal.run("exec", "--lease", lease, *GET, "true", code=5)
    late = terminal.lease()
    terminal.system.advance(seconds=300)
    terminal.run("exec", "--lease", late, *GET, "true", code=5)


@pytest.mark.requirement("P11", "P14")
def test_a_write_needs_a_key_and_an_approval_of_this_exact_command(terminal: Terminal, tmp_path: Path) -> None:
    terminal.people()
    log = tmp_path / "log"
    lease = terminal.lease("ticket.close ticket=T-1", "ticket.get ticket=T-1")
    words = ["exec", "--lease", lease, "--key", "close-1", "ticket.close", "--ticket-id", "T-1", "--"]
    close = [*words, "sh", "-c", f"echo closed >> {log}"]
    keyless = [*words[:3], *words[5:], "true"]
    assert "key_needed" in terminal.run(*keyless, code=3).stderr
    pending = terminal.run(*close, code=4)
    assert "leasehold request inspect req_" in pending.stderr
    (request,) = terminal.json("request", "list")
    card = terminal.run("request", "inspect", request["request_id"]).stdout
    assert f'["sh","-c","echoclosed>>{log}"]' in "".join(card.split())
    terminal.approve(request["request_id"])
    assert terminal.run(*words, "rm", "-rf", str(tmp_path), code=4).stdout == ""
    terminal.run(*close)
    assert "already_done" in terminal.run(*close, code=3).stderr
    assert log.read_text() == "closed\n"


def test_numbers_are_written_as_json(terminal: Terminal) -> None:
    lease = terminal.lease('ticket.tag ticket=T-1 level:={\\"max\\":3,\\"min\\":0}')
    words = ("exec", "--lease", lease, "--key")
    terminal.run(*words, "a", "ticket.tag", "--ticket-id", "T-1", "--level:=3", "--", "true")
    terminal.run(*words, "b", "ticket.tag", "--ticket-id", "T-1", "--level", "3", "--", "true", code=3)


def test_a_command_that_does_not_exist_exits_127_and_is_recorded_as_failed(
    terminal: Terminal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", os.defpath)  # of a folder that is closed to us the kernel says something else
    result = terminal.run("exec", "--lease", terminal.lease(), *GET, "no-such-command-here", code=127)
    assert "no-such-command-here: No such file or directory" in result.stderr
    assert terminal.json("ledger", "query", "--limit", "1")[0]["outcome"] == "failed"


@pytest.mark.parametrize(
    "words",
    [
        ("ticket.get", "--ticket-id", "T-1"),
        ("ticket.get", "--ticket-id", "T-1", "--"),
        ("ticket.get", "--command", "x", "--", "true"),
        ("ticket", "--ticket-id", "T-1", "--", "true"),
        ("ticket.get", "T-1", "--", "true"),
    ],
)
def test_a_command_line_that_is_not_whole_exits_2(terminal: Terminal, words: tuple[str, ...]) -> None:
    terminal.run("exec", "--lease", terminal.lease(), *words, code=2)


def test_an_action_of_a_tool_that_the_lease_does_not_name_exits_3(terminal: Terminal) -> None:
    refused = terminal.run("exec", "--lease", terminal.lease(), "db.drop", "--table", "old", "--", "true", code=3)
    assert "grants nothing at db" in refused.stderr
