"""A process is killed -9 under load, over and over: nothing that was answered is lost, and the history is whole."""

from __future__ import annotations

import random
import subprocess
import sys
from pathlib import Path

import pytest

from figures import Figures
from leasehold.assemble import open_authority
from leasehold.authority.receipts import checkpoint_keys
from leasehold.ledger.entry import Entry, EntryKind
from leasehold.ledger.export import verify_export
from leasehold.ledger.history import check_history

ROUNDS = 6
POLICY = """
version = 1
authority = "chaos"
[actions]
"ticket.update" = { effect = "write", args = { ticket = "ticket_id" } }
[routes.work]
for = { agents = ["bot"], tenants = ["acme"], environments = ["prod"] }
allow."ticket.update" = { ticket = ["T-*"] }
approve."ticket.update" = "none"
budget = { calls = 9, tool_seconds = 3600 }
"""


@pytest.fixture(scope="module")
def story(tmp_path_factory: pytest.TempPathFactory) -> tuple[list[list[str]], tuple[Entry, ...]]:
    """What the killed processes said was answered, and the ledger that an auditor verified afterwards."""
    folder = tmp_path_factory.mktemp("kill")
    policy = folder / "leasehold.toml"
    policy.write_text(POLICY)
    said = [line for seed in range(ROUNDS) for line in _run_and_kill(policy, folder / "state", seed)]
    with open_authority(policy, state=folder / "state", sweep=False) as authority:
        identity = authority.engine.identity
        keys = checkpoint_keys(identity.issuer, identity.checkpoints)
        ledger = verify_export(authority.receipts.export(), keys)
    return said, ledger.entries


def _run_and_kill(policy: Path, state: Path, seed: int) -> list[list[str]]:
    command = [sys.executable, str(Path(__file__).with_name("kill_worker.py")), str(policy), str(state), str(seed)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as worker:
        assert worker.stdout is not None
        lines = []
        enough = random.Random(seed).randrange(30, 200)
        while len(lines) < enough:
            line = worker.stdout.readline()
            assert line, "the worker ended by itself"
            lines.append(line)
        worker.kill()
        lines += worker.stdout.readlines()
    return [line.split() for line in lines if line.endswith("\n")]


@pytest.mark.case(90, 95, 103)
@pytest.mark.invariant("I1", "I2", "I3", "I4", "I5", "I7", "I8")
def test_the_history_of_killed_processes_breaks_no_invariant(
    story: tuple[list[list[str]], tuple[Entry, ...]], figures: Figures
) -> None:
    said, entries = story
    assert check_history(entries) == []
    admitted = sum(entry.kind is EntryKind.CALL_ADMITTED for entry in entries)
    figures(f"{ROUNDS} processes killed, {len(said)} answers, {admitted} admissions, {len(entries)} entries checked")


@pytest.mark.case(90)
def test_nothing_that_was_answered_is_lost(story: tuple[list[list[str]], tuple[Entry, ...]]) -> None:
    said, entries = story
    recorded = {
        "run": {entry.run for entry in entries if entry.kind is EntryKind.RUN_STARTED},
        "admitted": {entry.admission for entry in entries if entry.kind is EntryKind.CALL_ADMITTED},
        "settled": {entry.admission for entry in entries if entry.kind is EntryKind.CALL_SETTLED},
        "revoked": {entry.run for entry in entries if entry.kind is EntryKind.REVOKED},
    }
    lost = [words for words in said if words[1] not in recorded[words[0]]]
    assert lost == []
    assert all(any(words[0] == kind for words in said) for kind in ("run", "admitted", "settled"))


@pytest.mark.requirement("L6")
@pytest.mark.invariant("I1")
def test_no_call_of_a_run_is_admitted_after_its_revoke_was_answered(
    story: tuple[list[list[str]], tuple[Entry, ...]],
) -> None:
    _, entries = story
    revoked_at = {entry.run: entry.index for entry in entries if entry.kind is EntryKind.REVOKED}
    late = [
        entry.index
        for entry in entries
        if entry.kind is EntryKind.CALL_ADMITTED and entry.index > revoked_at.get(entry.run, entry.index)
    ]
    assert late == []
