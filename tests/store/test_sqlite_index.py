"""The entry index is made from the ledger alone: whatever happens to it, searching answers what the ledger holds."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import apsw
import pytest
from sqlite_places import SqliteDatabase

from leasehold.decide.facts import Changes, StepAnswer
from leasehold.errors import StoreError
from leasehold.ledger.entry import Entry, EntryKind
from leasehold.model.decision import allow
from leasehold.store.protocol import Store
from leasehold.store.queries import MAX_LISTED, LedgerQuery
from leasehold.store.sqlite import open_sqlite
from leasehold.testing.clock import FrozenSystem
from leasehold.testing.store_steps import ScriptedStep, write

ALL = LedgerQuery(tenants=None, limit=MAX_LISTED)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "leasehold.db"


def open_at(path: Path) -> Store:
    return SqliteDatabase(str(path)).open(clock=FrozenSystem())


def name_agents(store: Store, *agents: str) -> None:
    entries = tuple(Entry(kind=EntryKind.CALL_ADMITTED, agent=agent) for agent in agents)
    store.submit(ScriptedStep([], lambda _, __: (StepAnswer(allow()), Changes((), entries)))).result()


def found(store: Store, agent: str) -> list[int]:
    return [line.index for line in store.queries.search(LedgerQuery(tenants=None, agent=agent))]


def delete(index: Path) -> None:
    index.unlink()


def scribble(index: Path) -> None:
    index.write_bytes(b"no database at all" * 500)


def break_pages(index: Path) -> None:
    data = bytearray(index.read_bytes())
    data[4096:] = b"\xff" * (len(data) - 4096)
    index.write_bytes(data)


def use_another_schema(index: Path) -> None:
    index.unlink()
    with closing(apsw.Connection(str(index))) as connection:
        connection.execute("CREATE TABLE entries (x); CREATE TABLE projected (y)")


def lose_its_place(index: Path) -> None:
    with closing(apsw.Connection(str(index))) as connection:
        connection.execute("UPDATE projected SET last_leaf = zeroblob(32)")


@pytest.mark.parametrize("harm", [delete, scribble, break_pages, use_another_schema, lose_its_place])
def test_index_that_was_harmed_is_made_again(path: Path, harm: Callable[[Path], None]) -> None:
    with closing(open_at(path)) as store:
        name_agents(store, "a", "b", "a")
        assert found(store, "a") == [2, 0]
    harm(Path(f"{path}-index"))
    with closing(open_at(path)) as store:
        name_agents(store, "a")
        assert (found(store, "a"), found(store, "b")) == ([3, 2, 0], [1])


def test_index_of_a_database_that_was_put_back_is_made_again(path: Path, tmp_path: Path) -> None:
    with closing(open_at(path)) as store:
        name_agents(store, "a")
    shutil.copy(path, tmp_path / "old.db")
    with closing(open_at(path)) as store:
        name_agents(store, "a", "a", "a")
        assert found(store, "a") == [3, 2, 1, 0]
    shutil.copy(tmp_path / "old.db", path)
    with closing(open_at(path)) as store:
        assert found(store, "a") == [0]
        name_agents(store, "b", "b", "b")
        assert (found(store, "a"), found(store, "b")) == ([0], [3, 2, 1])


def test_index_of_another_issuer_is_made_again(path: Path, tmp_path: Path) -> None:
    for name, issuer, agent in (("one.db", "one", "a"), ("two.db", "two", "b")):
        with closing(open_sqlite(tmp_path / name, clock=FrozenSystem(), issuer=issuer)) as store:
            name_agents(store, agent)
            store.queries.search(ALL)
    shutil.copy(tmp_path / "one.db-index", tmp_path / "two.db-index")
    with closing(open_at(tmp_path / "two.db")) as store:
        assert (found(store, "a"), found(store, "b")) == ([], [0])


def test_long_ledger_is_indexed_in_slices(path: Path) -> None:
    with closing(open_at(path)) as store:
        store.submit(write(entries=2500)).result()
        first = store.queries.search(ALL)
        second = store.queries.search(LedgerQuery(tenants=None, limit=MAX_LISTED, before=first[-1].index))
        assert [line.index for line in (*first, *second)] == list(range(2499, 499, -1))


@pytest.mark.case(61, 97)
def test_damaged_entry_is_passed_over_and_the_others_are_found(path: Path) -> None:
    with closing(open_at(path)) as store:
        name_agents(store, "a", "a", "a")
    Path(f"{path}-index").unlink(missing_ok=True)
    with closing(apsw.Connection(str(path))) as connection:
        connection.execute("UPDATE ledger SET body = x'00ff' WHERE idx = 1")
    with closing(open_at(path)) as store:
        assert found(store, "a") == [2, 0]
        assert store.queries.ledger(1, 2)[0].body == b"\x00\xff"


@pytest.mark.case(61, 97)
def test_damaged_entry_may_tell_of_any_run_so_that_no_receipt_leaves_it_out(path: Path) -> None:
    with closing(open_at(path)) as store:
        name_agents(store, "a", "a", "a")
    Path(f"{path}-index").unlink(missing_ok=True)
    with closing(apsw.Connection(str(path))) as connection:
        connection.execute("UPDATE ledger SET body = x'00ff' WHERE idx = 1")
    with closing(open_at(path)) as store:
        for begin, told in ((0, [1]), (1, [1]), (2, [])):
            assert [line.index for line in store.queries.telling("acme", "run_of_anybody", begin, 3)] == told


def test_search_says_so_where_the_index_cannot_be_kept(path: Path) -> None:
    Path(f"{path}-index").mkdir()
    with closing(open_at(path)) as store:
        name_agents(store, "a")
        with pytest.raises(StoreError, match="-index"):
            found(store, "a")
        assert store.queries.control().size == 1
