"""`leasehold run`: start, look, retry, finish."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from terminal import WHERE, Terminal

from leasehold.guard import Guard


def test_run_start_prints_the_id_alone_so_that_scripts_can_use_it(terminal: Terminal) -> None:
    result = terminal.run("run", "start", "--route", "support", "--environment", "prod", *WHERE)
    assert result.stdout.startswith("run_")
    assert result.stdout.count("\n") == 1
    assert "attempt 1, until 2026-05-06 12:30:00 UTC" in result.stderr


def test_a_run_that_the_policy_does_not_allow_exits_3(terminal: Terminal) -> None:
    refused = terminal.run("run", "start", "--route", "support", "--environment", "dev", *WHERE, code=3)
    assert refused.stdout == ""
    assert "policy_denies" in refused.stderr


@pytest.mark.requirement("B3", "B4")
def test_run_inspect_shows_the_whole_envelope(terminal: Terminal) -> None:
    run = terminal.start()
    request = terminal.ask(run, "ticket.get ticket=T-1")
    lease = terminal.line("lease", "draw", request)
    assert terminal.run("run", "inspect", run).stdout.splitlines() == [
        f"run: {run}",
        "state: open, attempt 1",
        "agent: bot",
        "for: user:ana (asserted)",
        "where: acme / prod",
        "route: support",
        "purpose: answer ticket T-18421",
        "parent: none",
        "started: 2026-05-06 12:00:00 UTC",
        "until: 2026-05-06 12:30:00 UTC",
        "budget-left: calls 25 of 25, children 0 of 0, tool_seconds 600 of 600, usd 1 of 1",
        "denials: 0",
        f"request: {request} lease used",
        f"lease: {lease} active until 2026-05-06 12:05:00 UTC",
    ]


@pytest.mark.requirement("L4")
def test_run_retry_kills_what_older_attempts_hold(terminal: Terminal) -> None:
    run = terminal.start()
    lease = terminal.line("lease", "draw", terminal.ask(run, "ticket.get ticket=T-1"))
    assert terminal.json("run", "retry", run)["attempt"] == 2
    assert terminal.json("lease", "inspect", lease)["status"] == "stale_attempt"
    terminal.run("lease", "renew", lease, code=5)


@pytest.mark.requirement("B10")
def test_run_finish_writes_the_receipt_and_can_write_it_again(terminal: Terminal, tmp_path: Path) -> None:
    run = terminal.start()
    terminal.run("run", "finish", run, "--output", str(tmp_path / "receipt.json"))
    assert set(json.loads((tmp_path / "receipt.json").read_text())) == {"payload", "payloadType", "signatures"}
    assert set(json.loads(terminal.run("run", "finish", run).stdout)) == {"payload", "payloadType", "signatures"}
    refused = terminal.run("run", "finish", run, "-o", str(tmp_path / "receipt.json"), code=2)
    assert "stands there already" in refused.stderr


def test_run_list_shows_open_runs_and_on_demand_all(terminal: Terminal) -> None:
    first, second = terminal.start(), terminal.start()
    terminal.run("run", "finish", first)
    assert [entry["run_id"] for entry in terminal.json("run", "list")] == [second]
    assert {entry["run_id"]: entry["state"] for entry in terminal.json("run", "list", "--all")} == {
        first: "finished",
        second: "open",
    }
    assert f"{second}\topen\t1\tbot\tuser:ana\tacme\tprod\tsupport\t" in terminal.run("run", "list").stdout


def test_a_run_is_listed_as_what_the_clock_and_stops_made_of_it(terminal: Terminal) -> None:
    held = terminal.start()
    terminal.run("hold", f"run:{held}", "--reason", "look")
    late = terminal.start()
    assert terminal.json("run", "inspect", held)["state"] == "held"
    terminal.system.advance(seconds=1800)
    assert terminal.json("run", "inspect", late)["state"] == "expired"
    assert terminal.json("run", "list") == []


def test_a_child_run_names_its_parent_and_shares_its_budget(terminal: Terminal) -> None:
    text = terminal.policy.read_text()
    offer = 'delegation = { depth = 1, children = 2, actions = ["ticket.get"] }'
    terminal.policy.write_text(text.replace("budget = { calls = 25", f"{offer}\nbudget = {{ calls = 25"))
    run = terminal.start()
    lease = terminal.line("lease", "draw", terminal.ask(run, "ticket.get ticket=T-1"))
    with terminal.authority() as authority:
        held = authority.engine.held(authority.desk.lease_status(lease).chain[-1].lease)
        child = authority.start(agent="helper", purpose="read it", parent=held)
        guard = Guard("ticket", authority, environment="prod")
        with guard.call(held, "get", {"ticket_id": "T-1"}):
            pass
    shown = terminal.run("run", "inspect", child.run_id).stdout
    assert f"parent: {run}" in shown
    assert "calls 24 of 25" in shown
