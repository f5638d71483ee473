"""The suite of all stores, on PostgreSQL."""

from __future__ import annotations

import pytest
from postgres_places import PostgresDatabase

from leasehold.testing.store_suite import *  # noqa: F403 - every fixture and test of the suite
from leasehold.testing.store_waiting_suite import *  # noqa: F403 - the same


@pytest.fixture
def database(postgres_database: PostgresDatabase) -> PostgresDatabase:
    return postgres_database
