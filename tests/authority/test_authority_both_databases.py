"""That the tests which are run on both databases are: each stage stands where its test was told."""

from __future__ import annotations

from leasehold.store.opened import OpenStore
from leasehold.store.postgres_batch import PostgresBackend
from leasehold.store.sqlite_batch import SqliteBackend
from stage import POLICY, Stage


def test_stage_stands_on_the_database_that_the_test_is_run_on(stage: Stage, stages_stand_on: str) -> None:
    own = Stage(POLICY)
    for made in (stage, own):
        store = made.authority.engine.store
        assert isinstance(store, OpenStore)
        expected = {"sqlite": SqliteBackend, "postgres": PostgresBackend}[stages_stand_on]
        assert isinstance(store._database.backend, expected)
    own.close()
