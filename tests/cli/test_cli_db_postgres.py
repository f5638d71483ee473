"""`leasehold db` and `doctor` for a state on PostgreSQL."""

from __future__ import annotations

import pytest
from terminal import Terminal

from leasehold.config import StateFiles, create_private, open_state
from leasehold.testing.clock import FrozenSystem
from postgres_server import PostgresServer


@pytest.fixture
def url(postgres_server: PostgresServer) -> str:
    return postgres_server.url(postgres_server.fresh())


@pytest.fixture
def served(terminal: Terminal, url: str) -> Terminal:
    """A terminal whose state is on a server."""
    create_private(open_state(terminal.state).database_url, url.encode())
    return terminal


def test_a_database_is_checked_and_migrated_where_it_is(served: Terminal, postgres_server: PostgresServer) -> None:
    assert served.json("db", "migrate")["entries"] == 1
    served.start()
    assert served.run("db", "check").stdout == "the database is whole\n"
    shown = served.json("db", "check")["database"]
    assert shown.startswith("postgresql://")
    postgres_server.execute("DELETE FROM leasehold.ledger WHERE idx = 1", shown.rpartition("/")[2])
    damaged = served.run("db", "check", code=1)
    assert "ledger: it ends after 1 entries" in damaged.stdout


def test_a_database_is_named_by_its_url(terminal: Terminal, url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(terminal.folder / "xdg"))
    made = terminal.run("db", "migrate", "--state", url, "--json")
    assert url.partition("@")[2].partition("?")[0] in made.stdout
    assert terminal.run("db", "check", "--state", url).stdout == "the database is whole\n"
    assert terminal.run("stops", "--state", url).exit_code == 0
    refused = terminal.run("db", "check", "--state", "postgresql://ana:secret-word@db/x", code=2)
    assert "PGPASSFILE" in refused.stderr
    assert "secret-word" not in refused.output


@pytest.mark.case(62)
@pytest.mark.invariant("I8")
def test_a_restored_server_is_declared_and_revives_nothing(served: Terminal) -> None:
    lease = served.lease()
    assert "pg_dump" in served.run("db", "backup", "x.db", code=2).stderr
    assert "without SOURCE" in served.run("db", "restore", "x.db", "--reason", "drill", code=2).stderr
    assert served.run("db", "restore", "--reason", "drill", typing="restore\ny\n").stdout == "epoch: 2\n"
    assert served.json("lease", "inspect", lease)["status"] == "stale_epoch"


def test_a_state_is_moved_to_a_server_and_goes_on_there(terminal: Terminal, url: str) -> None:
    lease = terminal.lease()
    moved = terminal.json("db", "copy", url)
    assert moved["tables"]["runs"] == 1
    assert len(moved["root"]) == 64
    assert terminal.run("db", "check").stdout == "the database is whole\n"
    assert terminal.json("db", "check")["database"] == moved["database"]
    assert terminal.json("lease", "inspect", lease)["status"] == "active"
    assert "on PostgreSQL already" in terminal.run("db", "copy", url, code=2).stderr
    assert not StateFiles(terminal.state).database.exists()


def test_doctor_compares_the_clocks(served: Terminal) -> None:
    served.start()
    found = {finding["code"]: finding for finding in served.json("doctor")["findings"]}
    assert "apart" in found["clocks-differ"]["what"]
    assert FrozenSystem().now() == served.system.now()
