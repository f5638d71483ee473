"""Restoring, archiving, moving and backing up are killed -9 at every part of their way: it is the old or the new."""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from leasehold.assemble import back_up_state, check_state, open_authority, restore_state
from leasehold.authority import Authority
from leasehold.config import StateFiles, create_private, open_state, read_database_url
from leasehold.decide.rows import RunRow
from leasehold.ledger.entry import EntryKind, decode_entry
from leasehold.ledger.history import check_history
from leasehold.store.sqlite_copies import check_database
from postgres_server import PostgresServer

POINTS = 5
POLICY = """
version = 1
authority = "upkeep"
[actions]
"ticket.update" = { effect = "write", args = { ticket = "ticket_id" } }
[routes.work]
for = { agents = ["bot"], tenants = ["acme"], environments = ["prod"] }
allow."ticket.update" = { ticket = ["T-*"] }
approve."ticket.update" = "none"
"""


class Place:
    """A state on one of the two databases, with what stands there at first put back before each deed."""

    def __init__(self, folder: Path, server: PostgresServer | None) -> None:
        self.policy = folder / "leasehold.toml"
        self.policy.write_text(POLICY)
        self._folder = folder
        self._server = server
        self._first = ""
        self.state = folder / "first"
        if server is not None:
            self._first = server.fresh()
            create_private(open_state(self.state).database_url, server.url(self._first).encode())

    def again(self, name: str) -> Path:
        """A copy of the state as it was at first."""
        self.state = self._folder / name
        shutil.copytree(self._folder / "first", self.state)
        if self._server is not None:
            url = self._server.url(self._server.fresh(self._first))
            (self.state / "database.url").write_text(url)
        return self.state

    @contextmanager
    def authority(self) -> Iterator[Authority]:
        with open_authority(self.policy, state=self.state, sweep=False) as authority:
            yield authority

    def finish_a_run(self) -> str:
        """A run that asked twice and is over."""
        with self.authority() as authority:
            run = authority.start(
                agent="bot", route="work", tenant="acme", environment="prod", requested_by="user:ana", purpose="load"
            )
            for _ in range(2):
                authority.request(run, {"ticket.update": {"ticket": ["T-*"]}}, reason="load")
            authority.finish(run)
        return run.run_id

    def do(self, deed: str, argument: object = "", kill_at: int = 0) -> int:
        """Do something in a process of its own. Answers how many points it has, or 0 if it was killed at one.

        How many there are depends on threads a little: one that is killed at its last may end first.
        """
        command = [sys.executable, str(Path(__file__).with_name("upkeep_worker.py"))]
        words = [str(word) for word in (self.policy, self.state, deed, argument, kill_at)]
        done = subprocess.run([*command, *words], capture_output=True, text=True, check=False)
        if kill_at and done.returncode == -signal.SIGKILL:
            return 0
        assert done.returncode == 0, done.stderr
        return int(done.stdout)


@pytest.fixture(params=["sqlite", "postgres"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    server = request.getfixturevalue("postgres_server") if request.param == "postgres" else None
    return Place(tmp_path, server)


def points(last: int) -> list[int]:
    """Places on the way: the first, the last, and some that lie evenly between, closer together towards the end."""
    return sorted({1, last - 1, *(last - last * number // POINTS // (1 + number % 2) for number in range(1, POINTS))})


def history_is_whole(authority: Authority) -> bool:
    queries = authority.engine.store.queries
    lines = queries.ledger(0, queries.control().size)
    return check_history([decode_entry(line.body) for line in lines]) == []


@pytest.mark.case(62, 90)
@pytest.mark.invariant("I8")
def test_a_restore_leaves_the_database_from_before_or_the_restored_one_in_a_new_epoch(
    place: Place, tmp_path: Path
) -> None:
    early = place.finish_a_run()
    backup = tmp_path / "backup.db"
    back_up_state(open_state(place.state), backup)
    late = place.finish_a_run()
    place.again("whole")
    last = place.do("restore", backup)
    seen = set()
    for number in points(last):
        place.again(f"state_{number}")
        place.do("restore", backup, number)
        with place.authority() as authority:  # it opens, which is more than being refused
            queries = authority.engine.store.queries
            runs = {row.run_id for row in queries.runs(["acme"]) if isinstance(row, RunRow)}
            epoch = queries.control().epoch
            assert history_is_whole(authority)
        assert (epoch, runs) in [(1, {early, late}), (2, {early})]
        seen.add(epoch)
        assert restore_state(place.state, by="op", reason="again", source=backup) == epoch + 1
        assert check_state(open_state(place.state)) == ()
        assert list(place.state.glob("*unfinished-restore")) == []
    assert 1 in seen


def test_an_archive_erases_all_cards_of_a_run_and_says_so_or_none(place: Place) -> None:
    runs = [place.finish_a_run() for _ in range(3)]
    place.again("whole")
    last = place.do("archive")
    counts = set()
    for number in points(last):
        place.again(f"state_{number}")
        place.do("archive", "", number)
        with place.authority() as authority:
            counts.add(_count_erased(authority, runs))
            assert history_is_whole(authority)
        place.do("archive")
        with place.authority() as authority:
            assert _count_erased(authority, runs) == len(runs)
        assert check_state(open_state(place.state)) == ()
    assert len(counts) > 1


def _count_erased(authority: Authority, runs: list[str]) -> int:
    """How many runs have lost their cards: both, with both entries, or neither."""
    queries = authority.engine.store.queries
    entries = [decode_entry(line.body) for line in queries.ledger(0, queries.control().size)]
    erased = 0
    for run in runs:
        told = sum(entry.kind is EntryKind.CARD_ERASED and entry.run == run for entry in entries)
        gone = [queries.card("acme", row.card_digest) is None for row in queries.requests_of_run("acme", run)]
        assert (told, gone) in [(0, [False, False]), (2, [True, True])]
        erased += told == 2
    return erased


def test_a_backup_is_there_whole_or_not_at_all(place: Place, tmp_path: Path) -> None:
    place.finish_a_run()
    place.again("whole")
    last = place.do("backup", tmp_path / "backup.db")
    missing = 0
    for number in points(last):
        target = tmp_path / f"backup_{number}.db"
        place.do("backup", target, number)
        missing += not target.exists()
        if target.exists():
            assert check_database(target) == ()
        else:
            place.do("backup", target)
            assert check_database(target) == ()
    assert missing > 0


def test_a_move_leaves_the_state_on_the_one_database_or_the_other(
    tmp_path: Path, postgres_server: PostgresServer
) -> None:
    place = Place(tmp_path, None)
    run = place.finish_a_run()
    place.again("whole")
    last = place.do("copy", postgres_server.url(postgres_server.fresh()))
    moved = 0
    for number in points(last):
        place.again(f"state_{number}")
        place.do("copy", postgres_server.url(postgres_server.fresh()), number)
        with place.authority() as authority:
            assert [row.run_id for row in authority.engine.store.queries.runs(["acme"])] == [run]
            assert history_is_whole(authority)
        is_moved = bool(read_database_url(StateFiles(place.state)))
        moved += is_moved
        if not is_moved:
            place.do("copy", postgres_server.url(postgres_server.fresh()))
        assert place.finish_a_run() != run
        assert check_state(open_state(place.state)) == ()
    assert 0 < moved < len(points(last))
