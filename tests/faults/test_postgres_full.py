"""PostgreSQL's disk is full: what has to be written is refused, counted and told, and goes on once there is room.

The file of a table is made one to which nothing can be written for want of space: the kernel's `/dev/full`, so that it
is the server itself that meets the error where it meets it on a disk.
"""

from __future__ import annotations

import logging
from contextlib import closing
from uuid import uuid4

import pytest

from leasehold.http.metrics import Metrics
from leasehold.store.lane import FullError
from leasehold.store.observed import ObservedStore
from leasehold.store.postgres import check_postgres, open_postgres
from leasehold.store.postgres_connection import PostgresPlace
from leasehold.testing.clock import FrozenSystem
from leasehold.testing.store_steps import spend, write
from postgres_server import PostgresServer


@pytest.mark.case(92)
@pytest.mark.invariant("I8")
def test_full_disk_of_the_server_refuses_in_words_and_loses_nothing_that_was_answered(
    postgres_server: PostgresServer, postgres_name: str, caplog: pytest.LogCaptureFixture
) -> None:
    place, metrics = PostgresPlace.parse(postgres_server.url(postgres_name)), Metrics(FrozenSystem())
    with closing(open_postgres(place, writer=uuid4().hex, issuer="issuer", clock=FrozenSystem())) as opened:
        store = ObservedStore(opened, metrics.store)
        ((named,),) = postgres_server.execute("SELECT pg_relation_filepath('leasehold.accounts')", postgres_name)
        file = postgres_server.folder / "data" / str(named)
        aside = file.rename(file.with_name(f"{file.name}.aside"))
        file.symlink_to("/dev/full")
        with caplog.at_level(logging.WARNING, "leasehold.store"):
            for _ in range(3):
                with pytest.raises(
                    FullError, match=r"disk is full; nothing was executed; make room: .*No space"
                ) as caught:
                    store.submit(spend()).result()
                assert not caught.value.maybe_persisted
        assert [record.message.count("No space left on device") for record in caplog.records] == [1]
        step = type(spend()).__name__
        assert metrics.registry.get_sample_value("leasehold_step_errors_total", {"step": step, "error": "full"}) == 3
        assert store.submit(write(entries=1)).result().decision.is_allowed  # there is room for that elsewhere
        aside.replace(file)
        forget_files(postgres_server, postgres_name)
        assert store.submit(spend()).result().value == 1
    assert check_postgres(place) == ()


def forget_files(server: PostgresServer, name: str) -> None:
    """Have the server's sessions open their files anew, as they keep those of the full disk open."""
    server.execute(
        f"SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity WHERE datname = '{name}'"
        " AND application_name = 'leasehold'"
    )
