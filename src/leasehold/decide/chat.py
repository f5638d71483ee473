"""Any step, behind one delivery of a chat: not too old, and heard once. Submitted by `leasehold.authority.chat`.

What a chat delivers can be delivered again by whoever saw it pass. Even one that changed nothing the first time,
because something was held just then, must not change anything the second time; so what was heard is written down in
the same commit, refused or not. The slots are a ring of seconds, beside that of `once`, for the chat's own window.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Generic, TypeVar

import msgspec
from msgspec.structs import replace

from leasehold.decide.facts import Changes, Facts, Need, Ref, Step, StepAnswer
from leasehold.decide.rows import AUTHORITY_WIDE, SeenRow
from leasehold.model.decision import Decision, Reason, allow, deny
from leasehold.model.instant import Instant
from leasehold.model.proof import ChatProof

__all__ = ["HEARD_SECONDS", "Heard", "NoAnswer", "refuse_late"]

A = TypeVar("A")

HEARD_SECONDS = 300
"""How far the chat's time stamp may be from the time that counts here, either way: what Slack says of its scheme."""
_RING_SECONDS = 1024  # more than twice the window, so that no slot is used anew while what it holds could come again


class Heard(msgspec.Struct, Generic[A], frozen=True, kw_only=True):
    """A step that a chat's delivery asks for: decided only if that was not heard before, nor said too long ago."""

    step: Step[A]
    proof: ChatProof

    @property
    def policy(self) -> str | None:
        return self.step.policy

    @property
    def needs_clock(self) -> bool:
        return self.step.needs_clock

    @property
    def _slot(self) -> str:
        return f"chat.{self.proof.signed_at % _RING_SECONDS:04d}"

    def keys(self) -> Sequence[Need]:
        return [Ref(SeenRow, (AUTHORITY_WIDE, self._slot)), *self.step.keys()]

    def decide(self, facts: Facts, now: Instant) -> tuple[StepAnswer[A], Changes]:
        row = facts.get(SeenRow, AUTHORITY_WIDE, self._slot)
        heard = row.seen.split() if row is not None and row.second == self.proof.signed_at else []
        refusal = refuse_late(self.proof.signed_at, now)
        if self.proof.delivery in heard:
            refusal = deny(Reason.REPLAYED, "this was delivered before", check="each delivery once")
        if refusal is not None:
            return StepAnswer(refusal), Changes()
        answer, changes = self.step.decide(facts, now)
        kept = SeenRow(
            tenant=AUTHORITY_WIDE,
            slot=self._slot,
            second=self.proof.signed_at,
            seen=" ".join([*heard, self.proof.delivery]),
        )
        return answer, replace(changes, rows=(*changes.rows, kept))


class NoAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """What a delivery came to that was refused before there was an answer: nothing, and behind `Heard` never more."""

    policy: ClassVar[None] = None
    needs_clock: ClassVar[bool] = True

    def keys(self) -> Sequence[Need]:
        return []

    def decide(self, facts: Facts, now: Instant) -> tuple[StepAnswer[bool], Changes]:
        return StepAnswer(allow(), False), Changes()


def refuse_late(signed_at: int, now: Instant) -> Decision | None:
    """Why what was said at a Unix second is not heard any more, or not yet."""
    if abs(now.seconds - signed_at) <= HEARD_SECONDS:
        return None
    return deny(
        Reason.REPLAYED,
        "this was said too long ago, or by another clock",
        check=f"|now - signed_at| <= {HEARD_SECONDS}",
        enough="press the button again",
    )
