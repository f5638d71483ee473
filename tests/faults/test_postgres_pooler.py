"""A pooler stands between authorities and their server: one that keeps sessions serves, any other one is refused.

What is prepared in a session has a name, and another client's statement has the same one in another session: who is
given now this and now that session executes statements that it did not mean. So it must not come to that.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from uuid import uuid4

import msgspec
import pytest
from postgres_pooler import Pooler

from leasehold.errors import UnavailableError
from leasehold.store.opened import OpenStore
from leasehold.store.postgres import PostgresSettings, check_postgres, has_tables, open_postgres, read_postgres
from leasehold.store.postgres_connection import PostgresPlace, connect, execute
from leasehold.store.postgres_index import EntryIndex
from leasehold.store.postgres_reading import Readers
from leasehold.store.queries import LedgerQuery
from leasehold.testing.clock import FrozenSystem
from leasehold.testing.store_steps import spend
from postgres_server import PostgresServer

REFUSED = r"now this and now that session of the server; nothing was executed\. Have it keep sessions"


@pytest.fixture
def pooler(postgres_server: PostgresServer) -> Iterator[Pooler]:
    with (
        tempfile.TemporaryDirectory(prefix="pool-") as name,
        closing(Pooler(postgres_server.folder, Path(name))) as opened,
    ):
        yield opened


@pytest.fixture
def straight(postgres_server: PostgresServer, postgres_name: str) -> PostgresPlace:
    return PostgresPlace.parse(postgres_server.url(postgres_name))


@pytest.fixture
def place(pooler: Pooler, straight: PostgresPlace) -> PostgresPlace:
    return msgspec.structs.replace(straight, parameters={**straight.parameters, "host": str(pooler.folder)})


def open_at(place: PostgresPlace) -> OpenStore:
    settings = PostgresSettings(anchor_seconds=3600, retry_seconds=0.01)
    return open_postgres(place, writer=uuid4().hex, issuer="issuer", clock=FrozenSystem(), settings=settings)


@pytest.mark.requirement("L6")
def test_stores_work_together_through_a_pooler_that_keeps_sessions(place: PostgresPlace) -> None:
    with closing(open_at(place)) as one, closing(open_at(place)) as other, ThreadPoolExecutor(4) as pool:
        values = pool.map(lambda store: store.submit(spend()).result().value, [one, other] * 20)
        assert sorted(values) == list(range(1, 41))
    assert check_postgres(place) == ()


@pytest.mark.case(90, 92)
def test_pooler_that_keeps_no_sessions_is_refused_before_anything_is_made(
    place: PostgresPlace, straight: PostgresPlace, pooler: Pooler
) -> None:
    pooler.mode = "transaction"
    with pytest.raises(UnavailableError, match=REFUSED):
        open_at(place)
    assert not has_tables(straight)
    open_at(straight).close()
    with pytest.raises(UnavailableError, match=REFUSED):
        read_postgres(place)


@pytest.mark.case(90, 92)
def test_pooler_that_keeps_sessions_no_longer_executes_nothing_until_it_does(
    place: PostgresPlace, straight: PostgresPlace, pooler: Pooler
) -> None:
    with closing(open_at(place)) as store:
        assert store.submit(spend()).result().value == 1
        pooler.mode = "transaction"
        assert store.submit(spend()).result().value == 2  # in its own session still, which goes back now
        connect(place).close()  # and is another's
        with pytest.raises(UnavailableError, match=REFUSED) as caught:
            store.submit(spend()).result()
        assert not caught.value.maybe_persisted
        pooler.mode = "session"
        assert store.submit(spend()).result().value == 3
    assert check_postgres(straight) == ()


def test_index_is_not_written_in_a_session_that_was_set_up_for_another_connection(straight: PostgresPlace) -> None:
    with closing(open_at(straight)) as store:
        store.submit(spend()).result()
        readers = Readers(straight, limit=1)
        with closing(readers), closing(EntryIndex(straight, readers)) as index:
            index.catch_up()
            assert index._connection is not None
            execute(index._connection, "SET leasehold.session = 'of another'")
            store.submit(spend()).result()
            with pytest.raises(UnavailableError, match=REFUSED):
                index.catch_up()
            index.catch_up()
            assert index.search(LedgerQuery(tenants=None)) == [1, 0]


@pytest.mark.case(92)
def test_pooler_that_lets_in_and_has_no_session_counts_as_out_of_reach_until_it_has(
    place: PostgresPlace, pooler: Pooler
) -> None:
    with closing(open_at(msgspec.structs.replace(place, patience_seconds=0.1))) as store:
        pooler.is_paused = True
        with pytest.raises(UnavailableError, match=r"said nothing for 2 s\. A pooler in between may be paused"):
            store.submit(spend()).result()
        pooler.is_paused = False
        assert store.submit(spend()).result().value == 1
