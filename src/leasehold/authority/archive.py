"""Which cards may be erased, and erasing them. Called by `leasehold db archive` for the operator at the terminal."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from hashlib import sha256
from itertools import groupby
from typing import NamedTuple

from leasehold.authority.engine import Engine
from leasehold.decide.archive import EraseCards, KeptCard
from leasehold.decide.rows import RequestRow
from leasehold.errors import Denied
from leasehold.ledger.entry import Entry, EntryKind, decode_entry
from leasehold.model.decision import Reason
from leasehold.model.ids import RequestId, RunId
from leasehold.model.instant import Instant
from leasehold.store.queries import MAX_LISTED, LedgerQuery

__all__ = ["Archive", "FinishedRun", "archive_digest"]


class FinishedRun(NamedTuple):
    """A run that is over, when it finished, and cards of its requests that are still kept."""

    tenant: str
    run_id: RunId
    finished_at: Instant
    cards: tuple[KeptCard, ...]


def archive_digest(runs: Sequence[FinishedRun]) -> str:
    """The SHA-256 in hex over every card that is to be erased: what an operator confirms."""
    named = sorted(f"{run.tenant}\x00{card.digest}" for run in runs for card in run.cards)
    return sha256("\n".join(named).encode()).hexdigest()


class Archive:
    """Cards of finished runs in one ledger."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def finished_before(self, moment: Instant) -> Iterator[FinishedRun]:
        """Runs that finished before a moment and of which cards are still kept, tenant by tenant.

        A run that has many requests may come in several parts.
        """
        queries = self._engine.store.queries
        for tenant in queries.tenants():
            after = ""
            while rows := queries.kept_cards(tenant, after=after):
                after = rows[-1].request_id
                for run_id, of_run in groupby(rows, key=lambda row: row.run_id):
                    yield from self._if_before(moment, tenant, RunId(run_id), tuple(of_run))

    def erase(self, run: FinishedRun, *, by: str, reason: str) -> tuple[str, ...]:
        """Erase a run's cards, all of these or none, and answer their digests. What is in use now is left alone."""
        try:
            return self._engine.ask(
                lambda _: EraseCards(tenant=run.tenant, run_id=run.run_id, cards=run.cards, by=by, reason=reason)
            )
        except Denied as refusal:
            if refusal.decision.reason in (Reason.CONFLICT, Reason.IN_FLIGHT):
                return ()
            raise

    def _if_before(
        self, moment: Instant, tenant: str, run_id: RunId, rows: tuple[RequestRow, ...]
    ) -> Iterator[FinishedRun]:
        finished = self._finish(tenant, run_id)
        if finished is not None and finished.time_ms < moment:
            cards = tuple(KeptCard(RequestId(row.request_id), row.card_digest) for row in rows)
            yield FinishedRun(tenant, run_id, Instant(finished.time_ms), cards)

    def _finish(self, tenant: str, run_id: RunId) -> Entry | None:
        """The entry that says that a run is over. It stands near the end of what the ledger has of the run."""
        before: int | None = None
        while True:
            query = LedgerQuery(tenants=[tenant], run=run_id, before=before, limit=MAX_LISTED)
            lines = self._engine.store.queries.search(query)
            for line in lines:
                entry = decode_entry(line.body)
                if entry.kind is EntryKind.RUN_FINISHED and entry.run == run_id:
                    return entry
            if len(lines) < MAX_LISTED:
                return None
            before = lines[-1].index
