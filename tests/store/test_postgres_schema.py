"""The hand-written schema on PostgreSQL is the one that the rows and the statements need."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import closing
from importlib.resources import files
from typing import get_type_hints

import msgspec
import pytest
from postgres_places import PostgresDatabase

from leasehold.decide.facts import INDEXES, ActiveStops, AllOpenCalls, Index, OpenCalls, PendingRequests, RequestsOfCall
from leasehold.decide.rows import TABLES, CallRow, LeaseRow, RequestRow, Row, RunRow, StopRow
from leasehold.model.call import CallState
from leasehold.store.columns import SHAPES
from leasehold.store.listing import OPEN_RUNS_FOR
from leasehold.store.postgres_connection import Connection, connect, execute
from leasehold.store.postgres_rows import INDEX_FILTERS, json_rows, select_all, select_by_index, select_by_key, upsert
from leasehold.store.postgres_search import search_statement
from leasehold.store.queries import LedgerQuery
from leasehold.testing.clock import FrozenSystem
from leasehold.testing.store_steps import TENANT, call, lease, request, run, write

SQL_TYPES = {str: "text", int: "bigint", bytes: "bytea"}


@pytest.fixture
def connection(postgres_database: PostgresDatabase) -> Iterator[Connection]:
    with closing(connect(postgres_database.place)) as opened:
        yield opened


@pytest.mark.parametrize("row_type", TABLES, ids=lambda row_type: row_type.TABLE)
def test_table_has_the_fields_of_its_rows_in_their_order(connection: Connection, row_type: type[Row]) -> None:
    hints = get_type_hints(row_type)
    sql = (
        "SELECT column_name, data_type, is_nullable, collation_name FROM information_schema.columns"
        " WHERE table_schema = 'leasehold' AND table_name = %s ORDER BY ordinal_position"
    )
    assert execute(connection, sql, (row_type.TABLE,)).fetchall() == [
        (name, SQL_TYPES[hints[name]], "NO", "C" if hints[name] is str else None) for name in row_type.__struct_fields__
    ]
    sql = (
        "SELECT a.attname FROM pg_index AS i"
        " JOIN pg_attribute AS a ON a.attrelid = i.indrelid AND a.attnum = ANY(i.indkey)"
        " WHERE i.indrelid = CAST(%s AS regclass) AND i.indisprimary ORDER BY array_position(i.indkey, a.attnum)"
    )
    assert tuple(name for (name,) in execute(connection, sql, (row_type.TABLE,)).fetchall()) == row_type.KEY


def rules(schema: str) -> dict[str, list[str]]:
    """What a schema file demands of each table, and its indexes, without the words that differ between databases."""
    text = files("leasehold.store").joinpath(schema).read_text(encoding="utf-8")
    text = re.sub(r"--.*", "", text).replace("octet_length", "length").replace(' COLLATE "C"', "")
    text = re.sub(r"\bBIGINT\b", "INTEGER", text).replace("BYTEA", "BLOB")
    text = re.sub(r"!~ '(.*?)'", r"NOT GLOB '*\1*'", text)
    text = re.sub(r"\) (STRICT|WITH).*?;", ");", text)
    statements = [" ".join(statement.split()) for statement in text.split(";")]
    found: dict[str, list[str]] = {}
    for statement in statements:
        if match := re.match(r"CREATE (?:TABLE|INDEX \w+ ON) (\w+)", statement):
            found.setdefault(match[1], []).append(statement)
    return found


def test_every_rule_of_a_table_is_the_same_on_both_databases() -> None:
    ours, theirs = rules("postgres_schema_1.sql"), rules("sqlite_schema_1.sql")
    assert {table: ours.get(table) for table in theirs} == theirs


def test_every_index_of_the_decision_core_has_a_filter() -> None:
    assert set(INDEX_FILTERS) == set(INDEXES)


# plans: of tables that are full, made when they were empty


@pytest.fixture
def crowded(connection: Connection) -> Connection:
    """A database in which one tenant has a past: plans are made before, as a lane's are."""
    for row_type in TABLES:
        execute(connection, select_by_key(SHAPES[row_type]), ("[]",), is_prepared=True)
    for index in INDEXES:
        execute(connection, select_by_index(index), ("[]",), is_prepared=True)
    over = StopRow(tenant=TENANT, scope="tool:t", kind="hold", is_active=0, recorded=0, at=0, by="user:ana", reason="")
    past: dict[type[Row], list[Row]] = {
        RunRow: [run(f"run_{number}", state="finished") for number in range(3000)],
        LeaseRow: [lease(f"lease_{number}", state="expired") for number in range(3000)],
        CallRow: [call(f"adm_{number}", state=CallState.DONE) for number in range(3000)],
        RequestRow: [
            request(f"req_{number}", call_digest=f"sha256:{number}", run_id=f"run_{number // 3}")
            for number in range(3000)
        ],
        StopRow: [msgspec.structs.replace(over, scope=f"tool:{number}") for number in range(3000)],
    }
    for row_type, rows in past.items():
        execute(connection, upsert(SHAPES[row_type]), (json_rows(rows),))
    execute(connection, "ANALYZE")
    return connection


def plan(connection: Connection, sql: str, *bound: object) -> str:
    """How the server would carry out a statement that it knows."""
    lines = execute(connection, f"EXPLAIN (COSTS OFF) {sql}", bound).fetchall()
    return "\n".join(line for (line,) in lines)


@pytest.mark.parametrize("row_type", TABLES, ids=lambda row_type: row_type.TABLE)
def test_rows_are_found_by_key_without_reading_the_table(crowded: Connection, row_type: type[Row]) -> None:
    found = plan(crowded, select_by_key(SHAPES[row_type]), '[["a","b","c","d"]]')
    assert "Seq Scan" not in found
    assert f"using {row_type.TABLE}_pkey" in found


@pytest.mark.parametrize("index", INDEXES, ids=lambda index: index.__name__)
def test_buckets_are_found_without_reading_the_table_or_a_tenant(crowded: Connection, index: type[Index]) -> None:
    partial = {
        OpenCalls: "calls_open",
        AllOpenCalls: "calls_open",
        RequestsOfCall: "requests_of_call",
        PendingRequests: "requests_pending_of_run",
        ActiveStops: "stops_active",
    }
    found = plan(crowded, select_by_index(index), '[["acme","sha256:1"]]')
    assert partial[index] in found
    assert "Seq Scan" not in found
    assert "_pkey" not in found, "a key's first column is a whole tenant"


def test_somebodys_newest_open_runs_are_read_off_their_index_and_not_sorted(crowded: Connection) -> None:
    others = [run(f"run_o{number}", requested_by=f"user:{number % 300}", recorded=number) for number in range(3000)]
    execute(crowded, upsert(SHAPES[RunRow]), (json_rows(others),))
    execute(crowded, "ANALYZE runs")
    sql = select_all(SHAPES[RunRow], OPEN_RUNS_FOR.replace("?", "%s"), "ORDER BY recorded DESC LIMIT 100")
    found = plan(crowded, sql, "user:1", "prod")
    assert "using runs_open_for" in found
    assert "Sort" not in found, found


@pytest.mark.parametrize("name", ["admission", "key", "lease", "run", "capability", "person", "agent", "action"])
def test_search_is_driven_by_the_most_selective_thing_that_it_names(connection: Connection, name: str) -> None:
    query = msgspec.convert({"tenants": ["acme", "other"], "action": "t.a", name: "x", "decision": "deny"}, LedgerQuery)
    sql, bound = search_statement(query, None)
    found = plan(connection, sql, *bound)
    assert f"entries_by_{name}" in found
    assert found.count("Scan") == 1


def test_search_by_attribute_reads_the_attribute_s_index(connection: Connection) -> None:
    sql, bound = search_statement(LedgerQuery(tenants=None, attribute=("ticket", "T-1"), agent="bot"), None)
    assert "using attributes_pkey" in plan(connection, sql, *bound)


def test_server_looks_at_its_tables_as_they_grow(postgres_database: PostgresDatabase, connection: Connection) -> None:
    with closing(postgres_database.open(clock=FrozenSystem())) as store:
        known = -1
        for size in (200, 500):
            store.submit(write(*(call(f"adm_{number}") for number in range(size)), entries=size)).result()
            store.queries.search(LedgerQuery(tenants=None))
            row = execute(connection, "SELECT reltuples FROM pg_class WHERE oid = CAST('calls' AS regclass)").fetchone()
            assert row is not None
            assert row[0] > known
            known = row[0]
