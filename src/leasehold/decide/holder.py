"""A call whose presenter proved to hold the key of its token: admitted, with the proof used up in the same step.

Submitted by the tool's door. Used up before, a proof of a call that was refused would be lost; used up after, it could
admit two calls. A guard that lost the answer sends the same proof with the same admission id, which answers the same.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import msgspec

from leasehold.decide.admit import Admit
from leasehold.decide.facts import Changes, Facts, Need, StepAnswer
from leasehold.decide.once import UseOnce
from leasehold.decide.rows import CallRow
from leasehold.model.call import Admission
from leasehold.model.instant import Instant

__all__ = ["ProvenAdmit"]


class ProvenAdmit(msgspec.Struct, frozen=True, kw_only=True):
    """As `admit`, by a proof that counts once.

    One that was used before is turned away like a forged token, and written down as little: whoever picked up token
    and proof must not be able to use up the denials that a run may have.
    """

    admit: Admit
    use: UseOnce

    needs_clock: ClassVar[bool] = False  # as `admit`, which refuses in its own order

    @property
    def policy(self) -> str:
        return self.admit.policy

    def keys(self) -> Sequence[Need]:
        return [*self.use.keys(), *self.admit.keys()]

    def decide(self, facts: Facts, now: Instant) -> tuple[StepAnswer[Admission], Changes]:
        if facts.get(CallRow, self.admit.tenant, self.admit.call.admission_id) is not None:
            return self.admit.decide(facts, now)  # sent again: it answers what it answered, and starts nothing new
        used, kept = self.use.decide(facts, now)
        if not used.decision.is_allowed:
            return StepAnswer(used.decision), Changes()
        answer, changes = self.admit.decide(facts, now)
        return answer, Changes(rows=(*kept.rows, *changes.rows), entries=changes.entries)
