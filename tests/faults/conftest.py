"""PostgreSQL databases for the tests of faults."""

from __future__ import annotations

import pytest

from postgres_server import PostgresServer


@pytest.fixture
def postgres_name(postgres_server: PostgresServer) -> str:
    """The name of a database in which nobody made anything."""
    return postgres_server.fresh()
