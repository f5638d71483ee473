"""Ask people about a call without making it: what a program does that wants an approval in hand before it tries.

Submitted for the access requests of AuthZEN. It is admit's own decision; where that would let the call start, nothing
is written at all, because whoever only asks must never hold an admission.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import msgspec

from leasehold.decide.admit import Admit
from leasehold.decide.facts import Changes, Facts, Need, StepAnswer
from leasehold.model.decision import WAITING, Reason, allow, deny
from leasehold.model.ids import RequestId
from leasehold.model.instant import Instant

__all__ = ["AskOnly"]


class AskOnly(msgspec.Struct, frozen=True, kw_only=True):
    """Answer the request that waits for people, which is made where there is none; never an admission.

    Refused as `admit` refuses it, and as `not_pending` where nobody has to be asked.
    """

    admit: Admit

    needs_clock: ClassVar[bool] = False  # as `admit`, which refuses in its own order

    @property
    def policy(self) -> str:
        return self.admit.policy

    def keys(self) -> Sequence[Need]:
        return self.admit.keys()

    def decide(self, facts: Facts, now: Instant) -> tuple[StepAnswer[RequestId], Changes]:
        answer, changes = self.admit.decide(facts, now)
        decision = answer.decision
        if decision.is_allowed:
            refusal = deny(Reason.NOT_PENDING, "nobody has to be asked: the call may be made as it is")
            return StepAnswer(refusal), Changes()
        if decision.reason in WAITING and decision.request_id:
            return StepAnswer(allow(), RequestId(decision.request_id)), changes
        return StepAnswer(decision), changes
