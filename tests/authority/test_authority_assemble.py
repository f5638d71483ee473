"""State in files: opened, closed, reopened, restored, shared by processes, and refused when it cannot be trusted."""

from __future__ import annotations

import logging
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from leasehold.assemble import issuer_of, open_authority, open_existing, restore_state
from leasehold.authority.sweep import Sweep
from leasehold.authority.trouble import Trouble
from leasehold.config import StateFiles, create_private, open_state, rotate_key_ring
from leasehold.errors import ConfigError, Denied, LeaseholdError, StoreError
from leasehold.ledger.entry import EntryKind
from leasehold.model.decision import Reason
from leasehold.model.request import RequestState
from leasehold.testing.clock import FrozenSystem
from leasehold.token.keys import DocumentType, SigningKey
from meddling import raw
from postgres_server import PostgresServer
from stage import AUDIT, BEN, POLICY, UPDATE, Stage, changed, policy, reason_of


@pytest.fixture(params=["sqlite", "postgres"])
def folder(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """Where a policy is, and will be a state: with a file of its own, or with a server's database."""
    (tmp_path / "leasehold.toml").write_text(POLICY)
    if request.param == "postgres":
        server: PostgresServer = request.getfixturevalue("postgres_server")
        files = open_state(tmp_path / "state")
        create_private(files.database_url, f"{server.url(server.fresh())}\n".encode())
    return tmp_path


on_sqlite = pytest.mark.parametrize("folder", ["sqlite"], indirect=True)
"""For tests that look at the file itself."""


@contextmanager
def opened(folder: Path, system: FrozenSystem, *, sweep: bool = False) -> Iterator[Stage]:
    with open_authority(folder / "leasehold.toml", state=folder / "state", system=system, sweep=sweep) as authority:
        yield Stage(authority=authority, system=system)


# Restart


@pytest.mark.requirement("P9", "F1")
@pytest.mark.invariant("I8")
@pytest.mark.case(77, 90)
def test_everything_survives_a_restart(folder: Path) -> None:
    with opened(folder, FrozenSystem()) as stage:
        lease = stage.lease(AUDIT | UPDATE)
        pending = stage.ask(lease, "ticket.audit")
        admitted = stage.admit(lease, "ticket.update", key="a")
        stage.use(lease, "ticket.update", key="b")
        revoked = stage.lease()
        stage.revoke(f"lease:{revoked.lease.lease_id}")
        stage.hold("tool:mail")
        issuer = stage.authority.engine.identity.issuer
    with opened(folder, FrozenSystem(seed=1)) as stage:
        assert stage.authority.engine.identity.issuer == issuer
        assert stage.refusal(lease, "ticket.update", key="a") is Reason.IN_FLIGHT
        assert stage.refusal(lease, "ticket.update", key="b") is Reason.ALREADY_DONE
        assert stage.refusal(revoked, "ticket.update", key="c") is Reason.REVOKED
        assert stage.settle(admitted).charged["calls"] == 1_000_000
        stage.people.approve(pending, BEN)
        assert stage.admit(lease, "ticket.audit").approval == pending
        assert stage.refusal(stage.lease({"mail.send": {"ticket": ["T-1"]}}), "mail.send", key="x") is Reason.HELD
        assert stage.authority.wait(pending, 5).lease.request_id == lease.lease.request_id


def test_the_first_policy_of_a_fresh_state_counts_and_a_changed_file_does_not(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING, "leasehold"):
        with opened(folder, FrozenSystem()):
            pass
        assert "this state is new" in caplog.text
        (folder / "leasehold.toml").write_text(changed('deny = ["mail.purge"]', 'deny = ["ticket.update"]'))
        with opened(folder, FrozenSystem()) as stage:
            assert "policy accept" in caplog.text
            stage.use(stage.lease(), "ticket.update", key="a")
            stage.desk.accept_policy(policy((folder / "leasehold.toml").read_text()), by="op")
            assert reason_of(stage.lease) is Reason.ACTION_DENIED
        caplog.clear()
        with opened(folder, FrozenSystem()):
            assert caplog.text == ""


@on_sqlite
def test_a_policy_that_does_not_load_opens_nothing(folder: Path) -> None:
    (folder / "leasehold.toml").write_text("version = 1\nauthorty = 1\n")
    with pytest.raises(ConfigError, match=r"leasehold\.toml:2.*authority"), opened(folder, FrozenSystem()):
        pass
    assert not (folder / "state").exists()


@on_sqlite
def test_a_state_is_opened_for_stops_without_any_policy_file(folder: Path) -> None:
    with pytest.raises(ConfigError, match="no state"):
        open_existing(folder / "state")
    with opened(folder, FrozenSystem()) as stage:
        lease = stage.lease()
    (folder / "leasehold.toml").write_text("broken")
    system = FrozenSystem(seed=1)
    with open_existing(folder / "state", system=system) as authority:
        stage = Stage(authority=authority, system=system)
        stage.revoke(f"lease:{lease.lease.lease_id}")
        assert stage.refusal(lease, "ticket.update", key="a") is Reason.REVOKED
    open_existing(folder / "state").close()


@on_sqlite
def test_state_goes_where_the_environment_says(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LEASEHOLD_STATE", str(folder / "elsewhere"))
    open_authority(folder / "leasehold.toml", sweep=False).close()
    assert (folder / "elsewhere" / "leasehold.db").exists()


@pytest.mark.case(52)
@on_sqlite
def test_a_fresh_state_whose_first_policy_cannot_be_recorded_is_closed_again(folder: Path) -> None:
    with opened(folder, FrozenSystem()) as stage:
        stage.lease()
        raw(stage.authority.engine.store).execute("UPDATE control SET policy = ''")
    with pytest.raises(Denied) as denied, opened(folder, FrozenSystem(seconds=1_700_000_000)):
        pass
    assert denied.value.decision.reason is Reason.CLOCK


# Keys


@pytest.mark.requirement("L2")
@pytest.mark.case(2)
@pytest.mark.parametrize("document", [DocumentType.LEASE, DocumentType.RECEIPT, DocumentType.CHECKPOINT, None])
def test_keys_are_private_and_a_state_without_one_of_them_is_refused(
    folder: Path, document: DocumentType | None
) -> None:
    with opened(folder, FrozenSystem()):
        pass
    files = StateFiles(folder / "state")
    key = files.digest_key if document is None else files.key_ring(document)
    assert key.stat().st_mode & 0o777 == 0o600
    key.chmod(0o640)
    with pytest.raises(ConfigError, match="chmod"), opened(folder, FrozenSystem()):
        pass
    key.chmod(0o600)
    key.rename(folder / "stolen")
    with pytest.raises(ConfigError, match="missing"), opened(folder, FrozenSystem()):
        pass
    (folder / "stolen").rename(key)
    with opened(folder, FrozenSystem()) as stage:
        identity = stage.authority.engine.identity
        assert identity.issuer == issuer_of(identity.checkpoints)


# Restore


HASHED = "$argon2id$v=19$m=8,t=1,p=1$c2FsdHNhbHQ$aGFzaGhhc2g"


@pytest.mark.requirement("L12")
@pytest.mark.invariant("I8")
@pytest.mark.case(62, 96)
@on_sqlite
def test_a_database_put_back_from_a_backup_is_refused_until_a_restore_voids_what_it_holds(folder: Path) -> None:
    state, system = folder / "state", FrozenSystem()
    with opened(folder, system) as stage:
        run = stage.start()
        lease = stage.lease(run=run)
        sign_ins = stage.authority.sign_ins
        cookie, _ = sign_ins.begin(BEN, sign_ins.set_password(BEN, HASHED, by="op"), address="here")
    shutil.copy(state / "leasehold.db", folder / "backup.db")
    with opened(folder, system) as stage:
        stage.authority.sign_ins.end(cookie)
        stage.revoke(f"run:{lease.lease.run_id}")
        lost = stage.lease()
    shutil.copy(folder / "backup.db", state / "leasehold.db")
    with pytest.raises(StoreError, match="restore"), opened(folder, system):
        pass
    assert restore_state(state, by="op", reason="disk died", system=system) == 2
    with opened(folder, system) as stage:
        assert stage.refusal(lease, "ticket.update", key="a") is Reason.STALE_EPOCH
        assert stage.refusal(lost, "ticket.update", key="a") is Reason.NOT_FOUND
        assert stage.authority.sign_ins.find(cookie) is None
        assert reason_of(lambda: stage.authority.renew(lease)) is Reason.STALE_EPOCH
        assert reason_of(lambda: stage.lease(run=run)) is Reason.STALE_EPOCH
        stage.use(stage.lease(), "ticket.update", key="a")
        assert stage.entries(EntryKind.EPOCH_RAISED)[0].detail == {"epoch": 2, "reason": "disk died"}
    assert restore_state(state, by="op", reason="again", system=system) == 3


@pytest.mark.requirement("L12")
@pytest.mark.case(96)
@on_sqlite
def test_a_missing_or_forged_anchor_or_database_is_refused(folder: Path) -> None:
    state = folder / "state"
    with opened(folder, FrozenSystem()) as stage:
        stage.lease()
    anchor = StateFiles(state).anchor
    kept = anchor.read_bytes()
    for forged in (kept[:-40], kept.replace(b"epoch", b"epock"), b"{}"):
        anchor.write_bytes(forged)
        with pytest.raises(LeaseholdError), opened(folder, FrozenSystem()):
            pass
    anchor.write_bytes(kept)
    (state / "leasehold.db").rename(folder / "gone.db")
    with pytest.raises(StoreError, match="missing"), opened(folder, FrozenSystem()):
        pass
    assert not (state / "leasehold.db").exists()


@pytest.mark.requirement("L12")
@pytest.mark.case(12, 96)
@pytest.mark.case(12)
def test_process_goes_on_when_another_one_kept_the_ledgers_head_under_newer_keys(
    folder: Path, request: pytest.FixtureRequest
) -> None:
    """Where a connection is made again the anchor is read, and by then the checkpoint keys may have been rotated."""
    system, files = FrozenSystem(), StateFiles(folder / "state")
    with opened(folder, system) as old:
        old.lease()
        newest = SigningKey.generate(bytes(range(32)), created_at=system.now().seconds)
        rotate_key_ring(files.key_ring(DocumentType.CHECKPOINT), DocumentType.CHECKPOINT, newest, now=system.now())
        with opened(folder, FrozenSystem(seed=1)) as new:
            new.lease()
        if files.database_url.exists():
            server: PostgresServer = request.getfixturevalue("postgres_server")
            name = files.database_url.read_text().partition("/?")[0].rpartition("/")[2].partition("?")[0].strip()
            server.execute(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}'")
        assert old.lease()
    with opened(folder, system) as again:
        assert again.lease()


@on_sqlite
def test_keys_that_are_older_than_the_anchor_are_refused_with_the_way_out(folder: Path) -> None:
    """As when keys are put back from a backup that was made before they were rotated."""
    state, system = folder / "state", FrozenSystem()
    with opened(folder, system) as stage:
        stage.lease()
    ring = StateFiles(state).key_ring(DocumentType.CHECKPOINT)
    older = ring.read_bytes()
    newest = SigningKey.generate(bytes(range(32)), created_at=system.now().seconds)
    rotate_key_ring(ring, DocumentType.CHECKPOINT, newest, now=system.now())
    with opened(folder, system) as stage:
        stage.lease()
    ring.write_bytes(older)
    with pytest.raises(ConfigError, match="not signed with the checkpoint keys here"), opened(folder, system):
        pass
    with pytest.raises(ConfigError, match="Put the newest keys back; if they are lost"):
        restore_state(state, by="op", reason="keys lost", system=system)
    StateFiles(state).anchor.rename(folder / "kept anchor")
    assert restore_state(state, by="op", reason="keys lost", system=system) == 2
    with opened(folder, system) as stage:
        stage.lease()


# Several at once


@pytest.mark.requirement("B8")
@pytest.mark.invariant("I2")
@pytest.mark.case(65, 100)
def test_of_sixty_four_threads_with_a_budget_of_one_exactly_one_is_admitted(folder: Path) -> None:
    with opened(folder, FrozenSystem()) as stage:
        lease = stage.lease(budget={"calls": 1})
        barrier = threading.Barrier(64)
        told: list[str] = []

        def attempt(number: int) -> None:
            barrier.wait(60)
            try:
                stage.admit(lease, "ticket.update", key=f"k{number}")
                told.append("ok")
            except Denied as denied:
                told.append(denied.decision.reason)

        threads = [threading.Thread(target=attempt, args=(number,)) for number in range(64)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
        assert sorted(told) == ["budget"] * 63 + ["ok"]
        assert stage.spent(lease.lease.request_id) == (0, 1_000_000, 0)
        indexes = [entry.index for entry in stage.entries()]
        assert indexes == list(range(len(indexes)))


_ATTEMPT = """
import sys
from leasehold.assemble import open_authority
from leasehold.errors import Denied
from leasehold.model.call import Call
from leasehold.model.canonical import encode
from leasehold.testing.clock import FrozenSystem
from leasehold.token.keys import DocumentType, SigningKey

policy, state, token, seed = sys.argv[1:]
with open_authority(policy, state=state, system=FrozenSystem(seed=int(seed)), sweep=False) as authority:
    door = authority.door("ticket", "prod")
    print("ready", flush=True)
    sys.stdin.readline()
    call = Call(
        action="ticket.update",
        arguments=encode({"ticket_id": "T-1"}),
        admission_id=door.new_admission_id(),
        key=f"from {seed}",
    )
    try:
        print(door.admit(token, call).admission_id)
    except Denied as denied:
        print(denied.decision.reason)
"""


@pytest.mark.requirement("B8")
@pytest.mark.invariant("I2", "I7")
@pytest.mark.case(55, 65)
def test_processes_on_one_database_share_one_budget(folder: Path) -> None:
    with opened(folder, FrozenSystem()) as stage:
        lease = stage.lease(budget={"calls": 1})
        arguments = [sys.executable, "-c", _ATTEMPT, str(folder / "leasehold.toml"), str(folder / "state")]
        others = [
            subprocess.Popen(
                [*arguments, lease.token_for("ticket"), str(seed)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                text=True,
            )
            for seed in (11, 12)
        ]
        told = []
        try:
            for other in others:
                assert other.stdout.readline() == "ready\n"
            for other in others:
                other.stdin.write("go\n")
                other.stdin.flush()
            told = [other.stdout.readline().strip() for other in others]
        finally:
            for other in others:
                other.communicate(timeout=60)
        assert sorted(answer.split("_")[0] for answer in told) == ["adm", "budget"]
        assert stage.refusal(lease, "ticket.update", key="mine") is Reason.BUDGET
        admitted = next(answer for answer in told if answer.startswith("adm"))
        assert stage.entries(EntryKind.CALL_ADMITTED)[0].admission == admitted


ENDS = """\
import os, sys
from pathlib import Path
from leasehold.assemble import open_authority
from leasehold.guard import Guard
from leasehold.store import lane

lane.LAST_ANSWERS_SECONDS = 60.0
folder = Path(sys.argv[1])
authority = open_authority(folder / "leasehold.toml", state=folder / "state")
who = {"agent": "bot", "tenant": "acme", "environment": "prod", "requested_by": "user:ana"}
run = authority.start(**who, route="desk", purpose="x")
lease = authority.wait(authority.request(run, {"ticket.get": {"ticket": ["T-*"]}}, reason="x"))
with Guard("ticket", authority, environment="prod").call(lease, "get", {"ticket_id": "T-1"}):
    pass
if os.fork() == 0:
    sys.exit()
"""


def test_report_of_a_read_is_written_down_though_the_program_just_ends(folder: Path) -> None:
    """Nobody waits for it, and here nobody closes anything either."""
    command = [sys.executable, "-W", "ignore", "-c", ENDS, str(folder)]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert (ended.returncode, ended.stderr.count("\n")) == (0, 1), ended.stderr  # that the state is new
    with opened(folder, FrozenSystem()) as stage:
        assert [entry.outcome for entry in stage.entries(EntryKind.CALL_SETTLED)] == ["done"]


# Housekeeping in the background


@pytest.mark.requirement("L3", "B2")
def test_the_background_sweep_writes_down_what_is_over(folder: Path) -> None:
    system = FrozenSystem()
    with opened(folder, system) as stage:
        run = stage.start()
        stage.lease(run=run)
        request = stage.authority.request(run, {"ticket.close": {"ticket": ["T-1"]}}, reason="fixed")
        finished = threading.Event()
        stage.authority.engine.store.changes.register(
            lambda: stage.authority.engine.store.queries.open_runs(["acme"]) == () and finished.set()
        )
        system.advance(seconds=1800)
        stage.authority.sweep.start(0.01)
        assert finished.wait(60)
        assert stage.entries(EntryKind.LEASE_ENDED)[0].outcome == "expired"
        assert stage.authority.runs.request_state(request) is RequestState.EXPIRED
        assert stage.entries(EntryKind.RUN_FINISHED)[0].outcome == "expired"


def test_a_sweep_that_meets_a_fault_says_so_and_tries_again(caplog: pytest.LogCaptureFixture) -> None:
    stage = Stage()
    stage.lease()
    with caplog.at_level(logging.WARNING, "leasehold.sweep"):
        said = threading.Event()
        handler = logging.Handler()
        handler.emit = lambda record: said.set()  # type: ignore[method-assign]
        logging.getLogger("leasehold.sweep").addHandler(handler)
        stage.system.advance(seconds=300)
        stage.system.jump(seconds=-290)
        stage.authority.engine.store.close()
        sweep: Sweep = stage.authority.sweep
        sweep.start(0.01)
        assert said.wait(60)
        sweep.close()
        logging.getLogger("leasehold.sweep").removeHandler(handler)
    assert "could not finish a pass" in caplog.text
    stage.close()


def test_fault_that_goes_on_is_said_once_a_minute_and_that_it_is_over(caplog: pytest.LogCaptureFixture) -> None:
    system = FrozenSystem()
    trouble = Trouble(logging.getLogger("leasehold.sweep"), "the sweep could not finish a pass", system)
    down, slow = StoreError("it cannot be reached"), StoreError("it is slow")
    with caplog.at_level(logging.WARNING, "leasehold.sweep"):
        trouble.over()
        for error, passes in ((down, 90), (slow, 2)):
            for _ in range(passes):
                trouble.met(error)
                system.advance(seconds=1)
        trouble.over()
        trouble.over()
    assert [record.getMessage().removeprefix("the sweep could not finish a pass: ") for record in caplog.records] == [
        "it cannot be reached",
        "it cannot be reached",
        "it is slow",
        "over, it goes on",
    ]


def test_the_sweep_is_started_on_request_and_ends_with_the_authority(folder: Path) -> None:
    with opened(folder, FrozenSystem(), sweep=True) as stage:
        names = [thread.name for thread in threading.enumerate()]
        assert "leasehold-sweep" in names
        assert stage.authority.sweep is not None
    assert "leasehold-sweep" not in [thread.name for thread in threading.enumerate()]
    stage.authority.sweep.close()  # twice is harmless


@pytest.mark.requirement("B2", "L13")
def test_the_sweep_finishes_runs_whose_time_is_over_or_that_were_revoked(stage: Stage) -> None:
    lease = stage.lease()
    child = stage.child(lease)
    stage.pass_time(1800)
    assert stage.sweep() == 3
    ended = {entry.run: entry.outcome for entry in stage.entries(EntryKind.RUN_FINISHED)}
    assert ended == {lease.lease.run_id: "expired", child.run_id: "expired"}
    assert stage.sweep() == 0
