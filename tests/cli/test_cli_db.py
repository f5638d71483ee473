"""`leasehold db`: whole or not, copied while in use, restored so that nothing from before lives again."""

from __future__ import annotations

from hashlib import sha256
from pathlib import Path

import pytest
from terminal import Terminal


def test_a_whole_database_says_so_and_a_damaged_one_exits_1(terminal: Terminal) -> None:
    assert "there is no state here yet" in terminal.run("db", "check", code=2).stderr
    terminal.start()
    assert terminal.run("db", "check").stdout == "the database is whole\n"
    with terminal.authority():
        pass
    database = terminal.state / "leasehold.db"
    data = bytearray(database.read_bytes())
    place = data.index(b'"kind":"run.started"')
    data[place + 9 : place + 12] = b"RUN"
    database.write_bytes(bytes(data))
    damaged = terminal.run("db", "check", code=1)
    assert "ledger: entry 1 is missing or was altered" in damaged.stdout
    assert "leasehold db restore" in damaged.stderr


@pytest.mark.case(62)
@pytest.mark.invariant("I8")
def test_a_restored_backup_revives_nothing(terminal: Terminal, tmp_path: Path) -> None:
    lease = terminal.lease()
    backup = tmp_path / "backup.db"
    made = terminal.json("db", "backup", str(backup))
    assert made["sha256"] == sha256(backup.read_bytes()).hexdigest()
    assert backup.stat().st_mode & 0o077 == 0
    terminal.run("lease", "revoke", lease, "--reason", "over")
    restore = ("db", "restore", str(backup), "--reason", "disk lost")
    terminal.run(*restore, code=2)
    terminal.run(*restore, typing="no\n", code=1)
    assert terminal.run(*restore, typing="restore\ny\n").stdout == "epoch: 2\n"
    assert terminal.json("lease", "inspect", lease)["status"] == "stale_epoch"
    terminal.run("lease", "renew", lease, code=5)
    assert [path.name for path in terminal.state.glob("*.replaced-*")] == ["leasehold.db.replaced-1778068800"]
    assert terminal.lease().startswith("lease_")
    codes = [finding["code"] for finding in terminal.json("doctor")["findings"]]
    assert "revocations-paused" in codes
    since = terminal.json("db", "confirm-revocations", "--reason", "compared with the sources")["since"]
    assert terminal.json("ledger", "query", "--limit", "1")[0]["detail"]["since"] == since
    assert "revocations-paused" not in [finding["code"] for finding in terminal.json("doctor")["findings"]]
    assert "no revocations are paused" in terminal.run("db", "confirm-revocations", "--reason", "x", code=3).stderr


def test_a_backup_of_another_authority_is_not_taken(terminal: Terminal, tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    other = Terminal(tmp_path / "other", seed=7)
    for each in (terminal, other):
        each.start()
    backup = tmp_path / "backup.db"
    digest = other.json("db", "backup", str(backup))["sha256"]
    refused = terminal.run("db", "restore", str(backup), "--reason", "x", "--digest", digest, code=1)
    assert "is of the authority urn:leasehold:" in refused.stderr
    assert terminal.json("db", "migrate")["epoch"] == 1
    assert list(terminal.state.glob("*.replaced-*")) == []


@pytest.mark.case(96)
def test_a_database_put_back_by_hand_is_refused_until_it_is_declared(terminal: Terminal, tmp_path: Path) -> None:
    terminal.start()
    backup = tmp_path / "backup.db"
    terminal.run("db", "backup", str(backup))
    terminal.start()
    for path in terminal.state.glob("leasehold.db*"):
        path.unlink()
    database = terminal.state / "leasehold.db"
    database.write_bytes(backup.read_bytes())
    database.chmod(0o600)
    assert "rolled back" in terminal.run("run", "list", code=1).stderr
    digest = sha256(database.read_bytes()).hexdigest()
    assert terminal.json("db", "restore", "--reason", "disk lost", "--digest", digest[:16]) == {"epoch": 2}
    assert terminal.json("run", "list", "--all")


def test_a_damaged_backup_is_not_taken(terminal: Terminal, tmp_path: Path) -> None:
    terminal.start()
    backup = tmp_path / "backup.db"
    terminal.run("db", "backup", str(backup))
    terminal.run("db", "backup", str(backup), code=1)
    data = bytearray(backup.read_bytes())
    place = data.index(b'"kind":"run.started"')
    data[place + 9 : place + 12] = b"RUN"
    backup.write_bytes(bytes(data))
    refused = terminal.run("db", "restore", str(backup), "--reason", "x", typing="restore\ny\n", code=2)
    assert "is damaged and was not taken" in refused.stderr
    assert terminal.run("db", "check").stdout == "the database is whole\n"
    terminal.run("db", "restore", str(tmp_path / "none"), "--reason", "x", typing="restore\ny\n", code=1)
