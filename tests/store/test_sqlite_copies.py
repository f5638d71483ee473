"""Backups of a database in use, and the thorough check that an operator asks for."""

from __future__ import annotations

import stat
from contextlib import closing
from pathlib import Path

import apsw
import pytest
from sqlite_places import SqliteDatabase

from leasehold.errors import StoreError
from leasehold.store.sqlite_copies import back_up, check_database, new_file, put_in_place
from leasehold.testing.clock import FrozenSystem
from leasehold.testing.store_steps import TENANT, spend, write


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "leasehold.db"


def grow(path: Path, entries: int) -> None:
    with closing(SqliteDatabase(str(path)).open(clock=FrozenSystem())) as store:
        store.submit(write(entries=entries)).result()


def test_backup_of_a_database_in_use_holds_what_was_committed(path: Path, tmp_path: Path) -> None:
    target = tmp_path / "backup.db"
    with closing(SqliteDatabase(str(path)).open(clock=FrozenSystem())) as store:
        futures = [store.submit(spend()) for _ in range(100)]
        futures[0].result()
        back_up(path, target)
        assert [future.result().value for future in futures] == list(range(1, 101))
    assert stat.S_IMODE(target.stat().st_mode) == 0o600
    assert check_database(target) == ()
    with closing(SqliteDatabase(str(target)).open(clock=FrozenSystem())) as copy:
        assert copy.queries.control().size == copy.queries.accounts(TENANT, "run_1")[0].settled >= 1


def test_backup_never_writes_over_a_file(path: Path, tmp_path: Path) -> None:
    grow(path, 1)
    target = tmp_path / "backup.db"
    target.write_bytes(b"precious")
    with pytest.raises(StoreError, match="exists"):
        back_up(path, target)
    assert target.read_bytes() == b"precious"


def test_backup_that_fails_leaves_no_file(path: Path, tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="no database here"):
        back_up(path, tmp_path / "backup.db")
    grow(path, 200)
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2])
    with pytest.raises(StoreError):
        back_up(path, tmp_path / "backup.db")
    assert not (tmp_path / "backup.db").exists()


def test_backup_takes_no_name_that_somebody_else_took_meanwhile(path: Path, tmp_path: Path) -> None:
    target = tmp_path / "backup.db"
    with pytest.raises(StoreError, match="cannot be named: File exists"), new_file(target) as unfinished:
        target.write_bytes(b"precious")
    assert target.read_bytes() == b"precious"
    assert not unfinished.exists()


def test_database_that_cannot_be_moved_stays_where_it_is(path: Path, tmp_path: Path) -> None:
    grow(path, 3)
    before = path.read_bytes()
    with pytest.raises(StoreError, match="cannot be moved: No such file"):
        put_in_place(tmp_path / "none", path, tmp_path / "aside")
    assert path.read_bytes() == before
    with closing(SqliteDatabase(str(path)).open(clock=FrozenSystem())) as store:
        assert store.submit(spend()).result().value == 1


def test_what_was_replaced_is_kept_whole_under_a_name_of_its_own(path: Path, tmp_path: Path) -> None:
    for number in range(1, 4):
        prepared = tmp_path / "prepared.db"
        grow(prepared, number)
        put_in_place(prepared, path, tmp_path / "aside.db")
        with closing(SqliteDatabase(str(path)).open(clock=FrozenSystem())) as store:
            store.submit(write(entries=10)).result()
    kept = ["aside.db", "aside.db-2"]
    assert sorted(each.name for each in tmp_path.glob("aside*")) == kept
    assert [check_database(tmp_path / name) for name in kept] == [(), ()]


def test_link_that_leads_nowhere_is_kept_as_what_stood_there(path: Path, tmp_path: Path) -> None:
    prepared = tmp_path / "prepared.db"
    grow(prepared, 3)
    path.symlink_to(tmp_path / "gone.db")
    put_in_place(prepared, path, tmp_path / "aside.db")
    assert (tmp_path / "aside.db").readlink() == tmp_path / "gone.db"
    assert not (tmp_path / "gone.db").exists()
    assert check_database(path) == ()


def test_check_finds_nothing_wrong_with_a_sound_database(path: Path) -> None:
    with pytest.raises(StoreError, match="no database here"):
        check_database(path)
    grow(path, 37)
    assert check_database(path) == ()


@pytest.mark.requirement("L12")
@pytest.mark.case(97)
@pytest.mark.parametrize(
    ("sql", "problem"),
    [
        ("UPDATE ledger SET body = x'7b7d' WHERE idx = 5", "ledger: entry 5 is missing or was altered"),
        ("UPDATE ledger SET hashes = zeroblob(32) WHERE idx = 2", "ledger: entry 2 is missing or was altered"),
        ("DELETE FROM ledger WHERE idx = 3", "ledger: entry 3 is missing or was altered"),
        ("UPDATE ledger SET idx = idx + 100 WHERE idx = 6", "ledger: entry 6 is missing or was altered"),
        ("DELETE FROM ledger WHERE idx > 30", "ledger: it ends after 31 entries, 37 were recorded"),
        ("DELETE FROM control", "control row is missing"),
    ],
)
def test_check_names_the_first_index_that_is_wrong(path: Path, sql: str, problem: str) -> None:
    grow(path, 37)
    with closing(apsw.Connection(str(path))) as connection:
        connection.execute(sql)
    (found,) = check_database(path)
    assert problem in found


def test_check_tells_what_sqlite_finds_damaged(path: Path) -> None:
    grow(path, 1)
    with closing(apsw.Connection(str(path))) as connection:
        (page,) = connection.execute("SELECT rootpage FROM sqlite_schema WHERE name = 'cards'").fetchone()
    data = bytearray(path.read_bytes())
    data[(page - 1) * 4096 : page * 4096] = b"\xff" * 4096
    path.write_bytes(data)
    assert check_database(path) != ()
