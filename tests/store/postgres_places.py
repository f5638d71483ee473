"""PostgreSQL databases as the tests of stores open them: with pauses so short that a test can wait for them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager
from uuid import uuid4

from leasehold.store.lane import Backend
from leasehold.store.opened import OpenStore
from leasehold.store.postgres import PostgresSettings, open_postgres
from leasehold.store.postgres_batch import PostgresBackend
from leasehold.store.postgres_connection import PostgresPlace
from leasehold.store.protocol import Anchor, Clock

QUICK = PostgresSettings(anchor_seconds=0.001, retry_seconds=0.01)


class PostgresDatabase:
    """A PostgreSQL database for the suites."""

    survives = True

    def __init__(self, url: str) -> None:
        self.place = PostgresPlace.parse(url)

    def open(
        self, *, clock: Clock | None, anchor: Anchor | None = None, settings: PostgresSettings = QUICK
    ) -> OpenStore:
        return open_postgres(
            self.place, writer=uuid4().hex, issuer="issuer", clock=clock, anchor=anchor, settings=settings
        )

    @contextmanager
    def backend(self, *, clock: Clock) -> Iterator[Backend]:
        with closing(PostgresBackend(self.place, uuid4().hex, clock)) as backend:
            yield backend
