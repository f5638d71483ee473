"""Begin the next attempt of a run: everything of the older attempts is dead from here on (requirement L4)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import msgspec

from leasehold.decide.chain import refuse_run, run_needs
from leasehold.decide.entries import run_entry
from leasehold.decide.facts import Changes, Facts, Need, StepAnswer
from leasehold.decide.rows import RunRow
from leasehold.ledger.entry import EntryKind
from leasehold.model.decision import Reason, allow, deny
from leasehold.model.instant import Instant
from leasehold.model.run import Run

__all__ = ["Retry"]


class Retry(msgspec.Struct, frozen=True, kw_only=True):
    """Move a run from one attempt to the next. `from_attempt` makes a repeated submission harmless."""

    run: Run
    from_attempt: int

    policy: ClassVar[None] = None
    needs_clock: ClassVar[bool] = True

    def keys(self) -> Sequence[Need]:
        return run_needs(self.run)

    def decide(self, facts: Facts, now: Instant) -> tuple[StepAnswer[int], Changes]:
        row = facts.get(RunRow, self.run.tenant, self.run.run_id)
        refusal = refuse_run(facts, self.run, self.from_attempt, now)
        if refusal is not None or row is None:
            return StepAnswer(refusal or deny(Reason.NOT_FOUND, f"{self.run.run_id} is not in this ledger")), Changes()
        attempt = row.attempt + 1
        return StepAnswer(allow(), attempt), Changes(
            rows=(msgspec.structs.replace(row, attempt=attempt),),
            entries=(run_entry(EntryKind.RUN_RETRIED, self.run, attempt=attempt),),
        )
