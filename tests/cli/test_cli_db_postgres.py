"""`leasehold db` and `doctor` for a state on PostgreSQL."""

from __future__ import annotations

import stat
from hashlib import sha256
from pathlib import Path

import pytest
from terminal import Terminal

from leasehold.config import StateFiles, create_private, open_state
from leasehold.testing.clock import FrozenSystem
from postgres_server import PostgresServer, configured


@pytest.fixture
def url(postgres_server: PostgresServer) -> str:
    return postgres_server.url(postgres_server.fresh())


def findings(terminal: Terminal) -> dict[str, str]:
    """What doctor finds, by its code."""
    return {finding["code"]: finding["what"] for finding in terminal.json("doctor")["findings"]}


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
    name = shown.rpartition("/")[2]
    postgres_server.execute("UPDATE leasehold.runs SET attempt = 7", name)
    assert "is at attempt 7, and by the ledger at 1" in served.run("db", "check", code=1).stdout
    postgres_server.execute("UPDATE leasehold.runs SET attempt = 1", name)
    assert served.run("db", "check").stdout == "the database is whole\n"
    postgres_server.execute("DELETE FROM leasehold.ledger WHERE idx = 1", name)
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


@pytest.mark.case(62, 96)
@pytest.mark.invariant("I8")
def test_a_backup_of_a_server_is_restored_in_place_and_what_stood_there_is_kept(
    served: Terminal, postgres_server: PostgresServer, tmp_path: Path
) -> None:
    lease = served.lease()
    backup = tmp_path / "backup.db"
    made = served.json("db", "backup", str(backup))
    assert made["sha256"] == sha256(backup.read_bytes()).hexdigest()
    assert stat.S_IMODE(backup.stat().st_mode) == 0o600
    assert "exists" in served.run("db", "backup", str(backup), code=1).stderr
    later = served.start()
    with served.authority() as running:  # a process that nobody stopped
        restore = ("db", "restore", str(backup), "--reason", "disk lost", "--digest", made["sha256"][:12])
        assert served.json(*restore) == {"epoch": 2}
        assert running.desk.lease_status(lease).status == "stale_epoch"
        new = running.start(
            agent="bot", route="support", tenant="acme", environment="prod", requested_by="user:ana", purpose="go on"
        )
    assert served.json("lease", "inspect", lease)["status"] == "stale_epoch"
    listed = served.run("run", "list", "--all").stdout
    assert (later in listed, new.run_id in listed) == (False, True)
    name = served.json("db", "check")["database"].rpartition("/")[2]
    kept = postgres_server.execute("SELECT nspname FROM pg_namespace WHERE nspname LIKE 'leasehold%'", name)
    assert sorted(kept) == [("leasehold",), ("leasehold_replaced_1778068800",)]
    assert served.run("db", "check").stdout == "the database is whole\n"
    assert served.lease().startswith("lease_")


@pytest.mark.case(62, 96)
@pytest.mark.invariant("I8")
def test_a_server_that_was_set_back_to_an_earlier_moment_is_refused_until_it_is_declared(
    served: Terminal, postgres_server: PostgresServer
) -> None:
    """As after a dump that was loaded, or a recovery to a point in time: the anchor outside remembers more."""
    lease = served.lease()
    name = served.json("db", "check")["database"].rpartition("/")[2]
    earlier = postgres_server.fresh(name)
    served.run("lease", "revoke", lease, "--reason", "over")
    postgres_server.execute(f'DROP DATABASE "{name}"')
    postgres_server.execute(f'ALTER DATABASE "{earlier}" RENAME TO "{name}"')
    refused = served.run("run", "list", code=1).stderr
    assert "was recorded outside: it was rolled back or replaced" in refused
    assert served.run("db", "check").stdout == "the database is whole\n"
    assert "rolled back" in served.run("lease", "renew", lease, code=1).stderr
    assert served.run("db", "restore", "--reason", "set back", typing="restore\ny\n").stdout == "epoch: 2\n"
    assert served.json("lease", "inspect", lease)["status"] == "stale_epoch"
    codes = [finding["code"] for finding in served.json("doctor")["findings"]]
    assert "revocations-paused" in codes


def test_a_server_that_is_damaged_is_not_backed_up(
    served: Terminal, postgres_server: PostgresServer, tmp_path: Path
) -> None:
    served.start()
    name = served.json("db", "check")["database"].rpartition("/")[2]
    postgres_server.execute("UPDATE leasehold.ledger SET body = 'x' WHERE idx = 1", name)
    refused = served.run("db", "backup", str(tmp_path / "backup.db"), code=1)
    assert "no backup was made: ledger: entry 1 is missing or was altered" in refused.stderr
    assert list(tmp_path.glob("*backup*")) == []
    postgres_server.execute("DROP SCHEMA leasehold CASCADE", name)
    assert "there is no database" in served.run("db", "backup", str(tmp_path / "backup.db"), code=1).stderr


def test_a_backup_moves_a_state_between_both_kinds_of_database(
    served: Terminal, postgres_server: PostgresServer, tmp_path: Path
) -> None:
    lease = served.lease()
    backup = tmp_path / "backup.db"
    digest = served.json("db", "backup", str(backup))["sha256"]
    root = served.json("db", "restore", str(backup), "--reason", "move", "--digest", digest)
    assert root == {"epoch": 2}
    (served.state / "database.url").unlink()
    assert served.json("db", "restore", str(backup), "--reason", "move", "--digest", digest) == {"epoch": 3}
    assert served.json("lease", "inspect", lease)["status"] == "stale_epoch"
    assert StateFiles(served.state).database.exists()


def test_doctor_compares_the_clocks(served: Terminal) -> None:
    served.start()
    found = {finding["code"]: finding for finding in served.json("doctor")["findings"]}
    assert "apart" in found["clocks-differ"]["what"]
    assert FrozenSystem().now() == served.system.now()


@pytest.mark.case(92)
def test_doctor_tells_of_a_server_without_room_and_leaves_nothing_there(
    served: Terminal, postgres_server: PostgresServer
) -> None:
    served.start()
    name = served.json("db", "check")["database"].rpartition("/")[2]

    assert "database-full" not in findings(served)
    postgres_server.execute(
        """
        CREATE FUNCTION public.fail() RETURNS event_trigger LANGUAGE plpgsql AS $$
        BEGIN RAISE EXCEPTION 'no space' USING ERRCODE = '53100'; END $$;
        CREATE EVENT TRIGGER fail ON ddl_command_end EXECUTE FUNCTION public.fail();
        """,
        name,
    )
    assert "no room for another megabyte" in findings(served)["database-full"]
    postgres_server.execute("DROP EVENT TRIGGER fail", name)
    postgres_server.execute(f'REVOKE TEMP ON DATABASE "{name}" FROM PUBLIC')
    assert "database-full" not in findings(served)
    assert postgres_server.execute("SELECT 1 FROM pg_class WHERE relname = 'room'", name) == []


@pytest.mark.case(92, 93)
def test_doctor_tells_of_a_server_that_may_lose_what_it_confirms_and_of_strangers(
    served: Terminal, postgres_server: PostgresServer
) -> None:
    served.start()
    name = served.json("db", "check")["database"].rpartition("/")[2]

    assert "server-may-lose" not in findings(served)
    postgres_server.execute("CREATE ROLE mallory LOGIN")  # beside accounts that other tests left there
    try:
        with configured(postgres_server, "full_page_writes", "off"):
            told = findings(served)
        assert told["server-may-lose"] == "the database's server has full_page_writes off"
        assert "mallory" in told["strangers-connect"]
        assert f"may connect to the database {name} and have no part in it" in told["strangers-connect"]
        postgres_server.execute(f'REVOKE CONNECT ON DATABASE "{name}" FROM PUBLIC')
        assert not {"server-may-lose", "strangers-connect"} & findings(served).keys()  # it is closed to all of them
    finally:
        postgres_server.execute("DROP ROLE mallory")
