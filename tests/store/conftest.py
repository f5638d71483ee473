"""Databases for the store suites."""

from __future__ import annotations

from pathlib import Path

import pytest
from sqlite_places import SqliteDatabase

from leasehold.store.sqlite_connection import MEMORY

pytest.register_assert_rewrite("leasehold.testing.store_suite", "leasehold.testing.store_queries_suite")


@pytest.fixture(params=["file", "memory"])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> SqliteDatabase:
    return SqliteDatabase(MEMORY if request.param == "memory" else str(tmp_path / "leasehold.db"))
