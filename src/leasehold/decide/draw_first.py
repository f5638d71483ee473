"""Draw the first lease of a request, and only that: for whoever holds a code that counts once.

Submitted where an authorization code is redeemed. That the request was drawn from already is what says that the code
was used, in the same transaction: nothing else has to be remembered, and for as long as there is a ledger.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import msgspec

from leasehold.decide.facts import Changes, Facts, Need, StepAnswer
from leasehold.decide.issue import DrawLease
from leasehold.decide.rows import RequestRow
from leasehold.model.decision import Reason, deny
from leasehold.model.instant import Instant
from leasehold.model.lease import Lease
from leasehold.model.request import RequestState

__all__ = ["DrawFirst"]


class DrawFirst(msgspec.Struct, frozen=True, kw_only=True):
    """As `draw`, unless a lease was drawn from the request before."""

    draw: DrawLease

    needs_clock: ClassVar[bool] = True

    @property
    def policy(self) -> str:
        return self.draw.policy

    def keys(self) -> Sequence[Need]:
        return self.draw.keys()

    def decide(self, facts: Facts, now: Instant) -> tuple[StepAnswer[Lease], Changes]:
        request = self.draw.request
        row = facts.get(RequestRow, request.tenant, request.request_id)
        if row is not None and row.state in (RequestState.USED, RequestState.COMPLETED):
            return StepAnswer(deny(Reason.REPLAYED, f"{request.request_id} was drawn from already")), Changes()
        return self.draw.decide(facts, now)
