"""Whoever can write to the database and changes a row, past every step: the ledger tells of it otherwise, and is asked.

Each change here would give something away: bring back what was stopped, have a key used twice, let a budget grow.
"""

from __future__ import annotations

import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from clients import CLIENT_POLICY, HOST, runs_of
from leasehold.assemble import open_authority
from leasehold.model.call import OutcomeStatus
from leasehold.store.sqlite_copies import check_database
from leasehold.testing.clock import FrozenSystem
from stage import CLOSE, UPDATE, Stage

CHANGES = {
    "a lease that was revoked": ("UPDATE leases SET revoked = 0", "was revoked by entry"),
    "a request that was revoked": ("UPDATE requests SET revoked = 0", "was revoked by entry"),
    "a run that is held": ("UPDATE runs SET held = 0", "was held by entry"),
    "a tool that is held": ("UPDATE stops SET is_active = 0", "tool:mail was held by entry"),
    "a tool that is held, its row gone": ("DELETE FROM stops", "nothing says that tool:mail is held"),
    "a run that is finished": ("UPDATE runs SET state = 'open'", "is open, and by the ledger finished"),
    "an older attempt": ("UPDATE runs SET attempt = 1", "is at attempt 1, and by the ledger at 2"),
    "a run of another client's": ("UPDATE runs SET client = 'other-host'", "is of another client"),
    "a key that was used": ("UPDATE keys SET state = 'not_started'", "is not_started, and by the ledger done"),
    "a key that was used, its row gone": ("DELETE FROM keys", "is not there"),
    "a call that was settled": ("UPDATE calls SET state = 'admitted'", "is admitted , and by the ledger done"),
    "a call that became unknown": ("UPDATE calls SET state = 'not_started'", "is not_started"),
    "a guard that was heard": ("UPDATE calls SET late = ''", "is unknown , and by the ledger unknown failed"),
    "a call, its row gone": ("DELETE FROM calls", "calls: there is no adm_"),
    "a budget that is larger": ("UPDATE accounts SET \"limit\" = \"limit\" + 1", "is not what the ledger comes to"),
    "a budget that was not spent": ("UPDATE accounts SET settled = 0", "is not what the ledger comes to"),
    "a budget that nobody holds": ("UPDATE accounts SET reserved = 0", "is not what the ledger comes to"),
    "a budget that is not lost": ("UPDATE accounts SET unknown = 0", "is not what the ledger comes to"),
}  # fmt: skip


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database in which all of this has happened, closed."""
    folder = tmp_path_factory.mktemp("rows")
    (folder / "leasehold.toml").write_text(CLIENT_POLICY)
    system = FrozenSystem()
    authority = open_authority(folder / "leasehold.toml", state=folder / "state", system=system, sweep=False)
    stage = Stage(authority=authority, system=system)
    happen(stage)
    stage.close()
    return folder / "state" / "leasehold.db"


def happen(stage: Stage) -> None:
    run = stage.start()
    lease = stage.lease(UPDATE, run=run)
    stage.use(lease, "ticket.update", key="done")
    lost = stage.admit(lease, "ticket.update", key="lost")
    stage.pass_time(60)
    stage.sweep()
    stage.settle(lost, OutcomeStatus.FAILED)
    stage.admit(lease, "ticket.update", key="open")
    stage.child(stage.lease(CLOSE))
    stage.hold(f"run:{run.run_id}")
    stage.revoke(f"lease:{lease.lease.lease_id}")
    stage.revoke(f"request:{stage.lease().lease.request_id}")
    stage.hold("tool:mail")
    stage.hold("tool:ticket")
    stage.lift("tool:ticket")
    retried = stage.authority.retry(stage.start())
    stage.authority.finish(retried)
    asked = {"agent": "bot", "route": "desk", "tenant": "acme", "environment": "prod", "requested_by": "user:ana"}
    runs_of(stage, HOST).start(**asked, purpose="x")


@pytest.mark.invariant("I8")
@pytest.mark.case(56, 61, 97)
@pytest.mark.parametrize("what", CHANGES)
def test_row_that_says_otherwise_than_the_ledger_is_found(database: Path, tmp_path: Path, what: str) -> None:
    statement, words = CHANGES[what]
    copy = tmp_path / "leasehold.db"
    shutil.copy(database, copy)
    assert check_database(copy) == ()
    with closing(sqlite3.connect(copy)) as connection:
        connection.execute("PRAGMA ignore_check_constraints = ON")
        connection.execute(statement)
        connection.commit()
    found = check_database(copy)
    assert any(words in each for each in found), found
