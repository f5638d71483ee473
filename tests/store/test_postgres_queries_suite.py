"""The suite of the read side, on PostgreSQL."""

from __future__ import annotations

import pytest
from postgres_places import PostgresDatabase

from leasehold.testing.store_queries_suite import *  # noqa: F403 - every fixture and test of the suite


@pytest.fixture
def database(postgres_database: PostgresDatabase) -> PostgresDatabase:
    return postgres_database
