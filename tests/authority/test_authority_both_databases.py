"""That the tests which are run on both databases are: each stage stands where its test was told."""

from __future__ import annotations

import re
from pathlib import Path

from both_databases import MODULES, TESTS
from leasehold.store.opened import OpenStore
from leasehold.store.postgres_batch import PostgresBackend
from leasehold.store.sqlite_batch import SqliteBackend
from notice_desk import NoticeStage
from stage import POLICY, Stage

TESTS_FOLDER = Path(__file__).parents[1]


def test_stage_stands_on_the_database_that_the_test_is_run_on(stage: Stage, stages_stand_on: str) -> None:
    own, told = Stage(POLICY), NoticeStage("")
    for made in (stage, own, told):
        store = made.authority.engine.store
        assert isinstance(store, OpenStore)
        expected = {"sqlite": SqliteBackend, "postgres": PostgresBackend}[stages_stand_on]
        assert isinstance(store._database.backend, expected)
    own.close()
    told.close()


def test_every_test_that_is_named_is_there() -> None:
    for module, names in TESTS.items():
        (file,) = TESTS_FOLDER.glob(f"*/{module}.py")
        assert names <= set(re.findall(r"^def (test_\w+)", file.read_text(), re.MULTILINE)), module
    assert not MODULES & TESTS.keys()
