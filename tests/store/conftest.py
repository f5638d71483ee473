"""Databases for the store suites."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import pytest
from postgres_places import PostgresDatabase
from sqlite_places import SqliteDatabase

from leasehold.store.sqlite_connection import MEMORY
from postgres_server import PostgresServer

pytest.register_assert_rewrite(
    "leasehold.testing.store_suite",
    "leasehold.testing.store_waiting_suite",
    "leasehold.testing.store_queries_suite",
)


@pytest.fixture(params=["file", "memory"])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> SqliteDatabase:
    return SqliteDatabase(MEMORY if request.param == "memory" else str(tmp_path / "leasehold.db"))


@pytest.fixture(scope="session")
def postgres_template(postgres_server: PostgresServer) -> str:
    """The name of a database that was opened once and is empty."""
    name = postgres_server.fresh()
    with closing(PostgresDatabase(postgres_server.url(name)).open(clock=None)):
        pass
    return name


@pytest.fixture
def postgres_database(postgres_server: PostgresServer, postgres_template: str) -> PostgresDatabase:
    return PostgresDatabase(postgres_server.url(postgres_server.fresh(postgres_template)))
