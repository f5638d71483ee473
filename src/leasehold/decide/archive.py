"""Erasing the cards of finished runs: what people were shown goes, what they answered and that it was shown stays.

Submitted by `leasehold db archive`. A card is the one document that may be erased; its digest stands in the ledger, in
approvals and in receipts, so that all of them still verify, and a copy that somebody kept can still be proven.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, NamedTuple

import msgspec
from msgspec.structs import replace

from leasehold.decide.facts import Changes, Facts, Need, OpenCalls, Ref, StepAnswer
from leasehold.decide.lifecycles import RunState
from leasehold.decide.rows import CallRow, CardRow, RequestRow, RunRow
from leasehold.ledger.entry import Entry, EntryKind
from leasehold.model.decision import Decision, Reason, allow, deny
from leasehold.model.ids import RequestId, RunId
from leasehold.model.instant import Instant

__all__ = ["EraseCards", "KeptCard"]


class KeptCard(NamedTuple):
    """A request and the digest of its card."""

    request: RequestId
    digest: str


class EraseCards(msgspec.Struct, frozen=True, kw_only=True):
    """Erase cards of one run, which is finished and has no call in flight. Answers the digests that were erased.

    When the run finished is the caller's to know: it stands in the ledger and never changes again.
    """

    tenant: str
    run_id: RunId
    cards: tuple[KeptCard, ...]
    by: str
    reason: str

    policy: ClassVar[None] = None
    needs_clock: ClassVar[bool] = True

    def keys(self) -> Sequence[Need]:
        return [
            Ref(RunRow, (self.tenant, self.run_id)),
            OpenCalls((self.tenant,)),
            *(Ref(RequestRow, (self.tenant, card.request)) for card in self.cards),
            *(Ref(CardRow, (self.tenant, card.digest)) for card in self.cards),
        ]

    def decide(self, facts: Facts, now: Instant) -> tuple[StepAnswer[tuple[str, ...]], Changes]:
        if refusal := self._refuse_run(facts):
            return StepAnswer(refusal), Changes()
        found = [(kept, row) for kept in self.cards if (row := self._card(facts, kept)) is not None]
        entries = tuple(
            Entry(
                kind=EntryKind.CARD_ERASED,
                tenant=self.tenant,
                run=self.run_id,
                request=kept.request,
                person=self.by,
                detail={"card": kept.digest, "reason": self.reason},
            )
            for kept, _ in found
        )
        rows = tuple(replace(row, body=b"") for _, row in found)
        return StepAnswer(allow(), tuple(row.digest for row in rows)), Changes(rows=rows, entries=entries)

    def _refuse_run(self, facts: Facts) -> Decision | None:
        run = facts.get(RunRow, self.tenant, self.run_id)
        if run is None:
            return deny(Reason.NOT_FOUND, f"{self.run_id} is not in this ledger")
        if run.state != RunState.FINISHED:
            return deny(Reason.CONFLICT, f"{self.run_id} is not finished", check="only cards of finished runs go")
        calls = facts.find(OpenCalls((self.tenant,)))
        if any(isinstance(call, CallRow) and call.run_id == self.run_id for call in calls):
            return deny(Reason.IN_FLIGHT, f"a call of {self.run_id} is in flight", check="only cards of ended calls go")
        return None

    def _card(self, facts: Facts, kept: KeptCard) -> CardRow | None:
        """The card that is still kept, if it is the one of a request of this run."""
        request = facts.get(RequestRow, self.tenant, kept.request)
        row = facts.get(CardRow, self.tenant, kept.digest)
        is_its = request is not None and (request.run_id, request.card_digest) == (self.run_id, kept.digest)
        return row if is_its and row is not None and row.body else None
