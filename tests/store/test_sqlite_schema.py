"""The hand-written schema is the one that the rows and the statements need."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import get_type_hints

import apsw
import pytest

from leasehold.decide.facts import INDEXES, Index
from leasehold.decide.rows import TABLES, Row, RunRow
from leasehold.store.batches import fresh_control
from leasehold.store.columns import SHAPES
from leasehold.store.listing import OPEN_RUNS_FOR
from leasehold.store.migrations import create
from leasehold.store.sqlite_connection import Place, connect, create_file
from leasehold.store.sqlite_rows import INDEX_FILTERS, select_all, select_by_index, select_by_key

SQL_TYPES = {str: "TEXT", int: "INTEGER", bytes: "BLOB"}


@pytest.fixture
def connection(tmp_path: Path) -> Iterator[apsw.Connection]:
    place = Place(path=str(tmp_path / "leasehold.db"))
    create_file(place)
    opened = connect(place, busy_seconds=1)
    create(opened, place, fresh_control("issuer"))
    yield opened
    opened.close()


@pytest.mark.parametrize("row_type", TABLES, ids=lambda row_type: row_type.TABLE)
def test_table_has_the_fields_of_its_rows_in_their_order(connection: apsw.Connection, row_type: type[Row]) -> None:
    hints = get_type_hints(row_type)
    found = connection.execute(f"PRAGMA table_info({row_type.TABLE})").fetchall()
    assert [(name, kind, bool(needed)) for _, name, kind, needed, _, _ in found] == [
        (name, SQL_TYPES[hints[name]], True) for name in row_type.__struct_fields__
    ]
    key = sorted((place, name) for _, name, _, _, _, place in found if place)
    assert tuple(name for _, name in key) == row_type.KEY
    (strict,) = connection.execute("SELECT strict FROM pragma_table_list WHERE name = ?", (row_type.TABLE,)).fetchall()
    assert strict == (1,)


def test_every_index_of_the_decision_core_has_a_filter() -> None:
    assert set(INDEX_FILTERS) == set(INDEXES)


@pytest.mark.parametrize("row_type", TABLES, ids=lambda row_type: row_type.TABLE)
def test_rows_are_found_by_key_without_reading_the_table(connection: apsw.Connection, row_type: type[Row]) -> None:
    assert row_type.TABLE not in scanned(connection, select_by_key(SHAPES[row_type]))


@pytest.mark.parametrize("index", INDEXES, ids=lambda index: index.__name__)
def test_buckets_are_found_without_reading_the_table_or_a_tenant(
    connection: apsw.Connection, index: type[Index]
) -> None:
    table, (partial_index, _) = index.ROW.TABLE, INDEX_FILTERS[index]
    plan = connection.execute(f"EXPLAIN QUERY PLAN {select_by_index(index)}", ("[]",)).fetchall()
    steps = [detail for *_, detail in plan if table in detail]
    assert steps
    assert all(f"USING INDEX {partial_index}" in detail for detail in steps), "a key's first column is a whole tenant"


def test_somebodys_newest_open_runs_are_read_off_their_index_and_not_sorted(connection: apsw.Connection) -> None:
    sql = select_all(SHAPES[RunRow], OPEN_RUNS_FOR, "ORDER BY recorded DESC LIMIT 100")
    plan = connection.execute(f"EXPLAIN QUERY PLAN {sql}", ("user:ana", "prod")).fetchall()
    steps = [detail for *_, detail in plan]
    assert "SEARCH runs USING INDEX runs_open_for (requested_by=? AND environment=?)" in steps
    assert not any("SORT" in step or "B-TREE" in step for step in steps), steps


def scanned(connection: apsw.Connection, sql: str) -> set[str]:
    """The tables that a statement reads from end to end."""
    plan = connection.execute(f"EXPLAIN QUERY PLAN {sql}", ("[]",)).fetchall()
    return {detail.split()[1] for *_, detail in plan if detail.startswith("SCAN") and "INDEX" not in detail}
