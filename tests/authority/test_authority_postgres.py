"""State on PostgreSQL: where it is said to be, with which keys it opens, and how a SQLite state moves there."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from leasehold import assemble
from leasehold.assemble import (
    back_up_state,
    check_state,
    find_postgres,
    has_database,
    move_to_postgres,
    open_authority,
    open_existing,
    open_reader,
    parse_postgres,
    restore_state,
)
from leasehold.config import StateFiles, create_private, open_state
from leasehold.decide.rows import TABLES, ControlRow
from leasehold.errors import ConfigError, StoreError
from leasehold.http.metrics import Metrics
from leasehold.ledger.history import check_history
from leasehold.model.decision import Reason
from leasehold.model.instant import Instant
from leasehold.store.protocol import Store
from leasehold.store.queries import LedgerQuery
from leasehold.store.sqlite import open_sqlite
from leasehold.system import RealSystem
from leasehold.testing.clock import FrozenSystem
from leasehold.testing.store_steps import spend
from postgres_server import PostgresServer
from stage import AUDIT, BEN, POLICY, UPDATE, Stage, reason_of


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "leasehold.toml").write_text(POLICY)
    monkeypatch.delenv("LEASEHOLD_STATE", raising=False)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "xdg"))
    return tmp_path


@pytest.fixture
def url(postgres_server: PostgresServer) -> str:
    return postgres_server.url(postgres_server.fresh())


@contextmanager
def opened(folder: Path, state: Path | str | None, *, seed: int = 0) -> Iterator[Stage]:
    system = FrozenSystem(seed=seed)
    with open_authority(folder / "leasehold.toml", state=state, system=system, sweep=False) as authority:
        yield Stage(authority=authority, system=system)


class Moved(RealSystem):
    """A machine whose wall clock is wrong."""

    def __init__(self, *, hours: int) -> None:
        super().__init__()
        self.hours = hours

    def now(self) -> Instant:
        return Instant(int(super().now()) + 3_600_000 * self.hours)


# where


@pytest.mark.parametrize("named", ["argument", "environment", "file"])
def test_database_is_named_by_url_and_the_keys_stay_in_the_private_directory(
    folder: Path, url: str, monkeypatch: pytest.MonkeyPatch, named: str
) -> None:
    own = next(iter(POLICY.split("authority = ")[1:])).split('"')[1]
    directory, state = folder / "xdg" / "leasehold" / own, url if named == "argument" else None
    if named == "environment":
        monkeypatch.setenv("LEASEHOLD_STATE", url)
    if named == "file":
        create_private(open_state(directory).database_url, url.encode())
    with opened(folder, state) as stage:
        lease = stage.lease()
    with opened(folder, state, seed=1) as stage:
        stage.use(lease, "ticket.update", key="a")
    files = StateFiles(directory, url)
    assert has_database(files)
    assert check_state(files) == ()
    assert files.anchor.exists()
    assert not files.database.exists()
    assert {path.stat().st_mode & 0o077 for path in directory.iterdir()} == {0}


def test_password_may_stand_in_the_state_s_private_file_alone(folder: Path, postgres_server: PostgresServer) -> None:
    name = postgres_server.fresh()
    secret = f"postgresql://leasehold:secret-word@/{name}?host={postgres_server.folder}"
    with pytest.raises(ConfigError, match="PGPASSFILE"), opened(folder, secret):
        pass
    files = open_state(folder / "state")
    create_private(files.database_url, secret.encode())
    with opened(folder, folder / "state") as stage:
        stage.lease()
    assert "secret-word" not in str(find_postgres(files))
    files.database_url.chmod(0o644)
    with pytest.raises(ConfigError, match="chmod"), opened(folder, folder / "state"):
        pass
    files.database_url.chmod(0o600)
    files.database_url.write_text("sqlite:///x")
    with pytest.raises(ConfigError, match="begins with postgresql://"), opened(folder, folder / "state"):
        pass


def test_missing_driver_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "leasehold.store.postgres_connection", None)
    with pytest.raises(ConfigError, match=r"pip install 'leasehold\[postgres\]'"):
        parse_postgres("postgresql:///x")


# keys


@pytest.mark.requirement("L2")
def test_database_opens_with_the_keys_of_its_authority_alone(folder: Path, url: str) -> None:
    ours, theirs = open_state(folder / "ours"), open_state(folder / "theirs")
    for files in (ours, theirs):
        create_private(files.database_url, url.encode())
    with opened(folder, ours.directory) as stage:
        lease = stage.lease()
    with pytest.raises(ConfigError, match="this key file is missing"), opened(folder, theirs.directory, seed=1):
        pass
    assert not any(theirs.directory.glob("*.keys.json"))
    for path in (*ours.directory.glob("*.key*"), ours.anchor):
        create_private(theirs.directory / path.name, path.read_bytes())
    with opened(folder, theirs.directory, seed=1) as stage:
        stage.use(lease, "ticket.update", key="a")


@pytest.mark.invariant("I8")
@pytest.mark.case(62, 96)
def test_server_that_was_restored_is_refused_until_that_is_declared(
    folder: Path, url: str, postgres_server: PostgresServer
) -> None:
    name = find_postgres(StateFiles(folder, url))
    assert name is not None
    files = open_state(folder / "state")
    create_private(files.database_url, url.encode())
    with opened(folder, files.directory) as stage:
        lease = stage.lease()
    backup = postgres_server.fresh(name.parameters["dbname"])
    with opened(folder, files.directory) as stage:
        stage.revoke(f"lease:{lease.lease.lease_id}")
    files.database_url.write_text(postgres_server.url(backup))
    with pytest.raises(StoreError, match="restore"), opened(folder, files.directory):
        pass
    assert restore_state(files, by="op", reason="disk died", system=FrozenSystem(seed=2)) == 2
    with opened(folder, files.directory, seed=3) as stage:
        assert stage.refusal(lease, "ticket.update", key="a") is Reason.STALE_EPOCH
        stage.use(stage.lease(), "ticket.update", key="a")
    open_existing(files.directory, system=FrozenSystem(seed=4)).close()


@pytest.mark.requirement("L7")
@pytest.mark.case(47, 52)
def test_clock_that_an_operator_confirms_is_the_database_s_and_not_that_of_their_machine(
    folder: Path, url: str, postgres_server: PostgresServer
) -> None:
    name = find_postgres(StateFiles(folder, url))
    assert name is not None
    with open_authority(folder / "leasehold.toml", state=url, system=Moved(hours=2), sweep=False) as authority:
        ahead = "UPDATE leasehold.control SET last_time_ms = last_time_ms + 3600000"
        postgres_server.execute(ahead, name.parameters["dbname"])
        desk = Stage(authority=authority)
        assert reason_of(desk.start) is Reason.CLOCK
        assert authority.desk.confirm_clock(by="op") == 2
        assert desk.start().attempt == 1


@pytest.mark.requirement("L7")
@pytest.mark.case(47, 52)
@pytest.mark.parametrize("hours", [-3, 3])
def test_machine_whose_clock_is_hours_off_goes_by_the_database_s_and_ends_nothing_that_lives(
    folder: Path, url: str, hours: int
) -> None:
    machine = Moved(hours=hours)
    path, metrics = folder / "leasehold.toml", Metrics(machine)
    with (
        open_authority(path, state=url, sweep=False) as right,
        open_authority(path, state=url, system=machine, sweep=False, watcher=metrics.store) as wrong,
    ):
        there, here = Stage(authority=right), Stage(authority=wrong)
        lease = there.lease({**UPDATE, **AUDIT})
        asked = there.ask(lease, "ticket.audit", key="audit")
        wrong.sweep.run_once()
        here.use(lease, "ticket.update", key="a")
        there.use(here.lease(), "ticket.update", key="b")
        here.people.approve(asked, BEN)
        there.use(lease, "ticket.audit", key="audit")
        machine.hours = -hours
        wrong.sweep.run_once()
        here.use(lease, "ticket.update", key="c")
        metrics.read(wrong)
        shown = metrics.registry.get_sample_value("leasehold_clock_difference_seconds")
        assert shown == pytest.approx(-3600 * hours, abs=60)
        assert check_history(there.entries()) == []


@pytest.mark.invariant("I8")
@pytest.mark.case(62)
@pytest.mark.parametrize("standing", ["in use", "damaged"])
def test_restore_begins_an_epoch_that_no_machine_has_seen(
    folder: Path, url: str, postgres_server: PostgresServer, monkeypatch: pytest.MonkeyPatch, standing: str
) -> None:
    """The anchor of the machine where it is declared may be older than a restore that another one declared."""
    name = find_postgres(StateFiles(folder, url))
    assert name is not None
    files = open_state(folder / "state")
    create_private(files.database_url, url.encode())
    with opened(folder, files.directory) as stage:
        stage.lease()
    other = StateFiles(Path(shutil.copytree(files.directory, folder / "other machine")))
    shutil.copy(files.anchor, folder / "first anchor")
    back_up_state(files, folder / "backup.db")
    assert restore_state(files, by="op", reason="first", source=folder / "backup.db", system=FrozenSystem()) == 2
    with opened(folder, files.directory, seed=3) as stage:
        stage.lease()
    if standing == "damaged":
        postgres_server.execute("DELETE FROM leasehold.control", name.parameters["dbname"])
    again = restore_state(other, by="op", reason="again", source=folder / "backup.db", system=FrozenSystem())
    assert again == (3 if standing == "in use" else 2)
    if standing == "in use":
        with opened(folder, files.directory, seed=4) as stage:
            stage.lease()
        shutil.copy(folder / "first anchor", other.anchor)
        monkeypatch.setattr(assemble, "_standing_epoch", lambda *_: 0)  # looked before the other machine was done
        with pytest.raises(StoreError, match="another restore was declared meanwhile"):
            restore_state(other, by="op", reason="at once", source=folder / "backup.db", system=FrozenSystem())
        with opened(folder, files.directory, seed=5) as stage:
            stage.lease()


# moving there


def all_rows(store: Store) -> dict[object, object]:
    """Everything that can be asked, over all tenants."""
    queries, tenants = store.queries, ["", *store.queries.tenants()]
    control = queries.control()
    return {
        "control": control,
        "ledger": queries.ledger(0, control.size),
        "nodes": queries.nodes([(0, index) for index in range(control.size)]),
        "runs": queries.runs(tenants),
        "leases": queries.leases(tenants),
        "open runs": queries.open_runs(tenants),
        "pending": queries.pending_requests(tenants),
        "calls": queries.open_calls(tenants),
        "stops": queries.stops(tenants),
        "people": queries.people(tenants),
        "held": queries.held(tenants),
        "policy": queries.document("", control.policy),
        "search": queries.search(LedgerQuery(tenants=None, agent="bot")),
    }


@pytest.mark.invariant("I8")
def test_state_moves_to_postgresql_with_identity_epoch_and_ledger(folder: Path, url: str) -> None:
    state = folder / "state"
    with opened(folder, state) as stage:
        lease = stage.lease(AUDIT | UPDATE)
        stage.ask(lease, "ticket.audit")
        admitted = stage.admit(lease, "ticket.update", key="a")
        stage.hold("tool:mail")
        issuer = stage.authority.engine.identity.issuer
        before = all_rows(stage.authority.engine.store)
    restore_epoch = restore_state(state, by="op", reason="drill", system=FrozenSystem(seed=1))
    with opened(folder, state, seed=2) as stage:
        fresh = stage.lease(AUDIT | UPDATE)
        before = all_rows(stage.authority.engine.store)
        left_open = open_sqlite(state / "leasehold.db", clock=stage.system, issuer=issuer)
    counts = move_to_postgres(StateFiles(state), url, system=FrozenSystem(seed=3))
    assert counts.keys() == {*(row_type.TABLE for row_type in TABLES), "ledger"}
    assert counts["ledger"] == before["control"].size  # type: ignore[attr-defined]  # a ControlRow
    with closing(left_open), pytest.raises(StoreError, match="deleted or moved while open"):
        left_open.submit(spend()).result()
    assert sorted(path.name for path in state.glob("leasehold.db.moved-*"))[0] == "leasehold.db.moved-1778068800"
    with opened(folder, state, seed=4) as stage:
        store = stage.authority.engine.store
        assert find_postgres(StateFiles(state)) is not None
        assert all_rows(store) == before
        control = store.queries.control()
        assert isinstance(control, ControlRow)
        assert (control.issuer, control.epoch) == (issuer, restore_epoch)
        assert stage.refusal(lease, "ticket.update", key="z") is Reason.STALE_EPOCH
        stage.use(fresh, "ticket.update", key="b")
        assert stage.settle(admitted).charged["calls"] == 1_000_000
        stage.people.approve(stage.ask(fresh, "ticket.audit"), BEN)
        assert check_history(stage.entries()) == []


def test_move_into_a_database_that_holds_something_is_refused_and_changes_nothing(folder: Path, url: str) -> None:
    for state in (folder / "one", folder / "other"):
        with opened(folder, state, seed=len(state.name)) as stage:
            stage.lease()
    move_to_postgres(StateFiles(folder / "one"), url, system=FrozenSystem(seed=9))
    with pytest.raises(StoreError, match="holds something already"):
        move_to_postgres(StateFiles(folder / "other"), url, system=FrozenSystem(seed=9))
    assert (folder / "other" / "leasehold.db").exists()
    with opened(folder, folder / "other", seed=8) as stage:
        stage.use(stage.lease(), "ticket.update", key="a")
    with pytest.raises(ConfigError, match="on PostgreSQL already"):
        move_to_postgres(StateFiles(folder / "one"), url)
    assert check_state(StateFiles(folder / "one")) == ()


def test_reader_shows_the_server_s_clock_and_a_file_has_none(folder: Path, url: str) -> None:
    with opened(folder, folder / "file"), opened(folder, url):
        pass
    with closing(open_reader(StateFiles(folder / "file"))) as reader:
        assert reader.clock() is None
    with closing(open_reader(StateFiles(folder / "file", url))) as reader:
        first, second = reader.clock(), reader.clock()
        assert first is not None
        assert second is not None
        assert 1_700_000_000_000 < first <= second
