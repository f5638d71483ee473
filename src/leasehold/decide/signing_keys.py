"""Which key of the authority is its newest. Submitted by each process that has one, now and then (decision 0028).

No entry tells of it: nothing is decided by this row, it only has machines that lack a file told so.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import msgspec

from leasehold.decide.facts import Changes, Facts, Need, Ref, StepAnswer
from leasehold.decide.rows import AUTHORITY_WIDE, SigningKeyRow
from leasehold.model.decision import allow
from leasehold.model.instant import Instant

__all__ = ["NoteSigningKey", "signing_key_need"]


def signing_key_need(document: str) -> Ref:
    """The row of one type of document."""
    return Ref(SigningKeyRow, (AUTHORITY_WIDE, document))


class NoteSigningKey(msgspec.Struct, frozen=True, kw_only=True):
    """Note the newest key of a ring, the last of `kids`, unless others have one that came after it.

    Answers whether it is the newest of all now.
    """

    document: str
    kids: tuple[str, ...]
    made_at: int

    policy: ClassVar[None] = None
    needs_clock: ClassVar[bool] = False

    def keys(self) -> Sequence[Need]:
        return [signing_key_need(self.document)]

    def decide(self, facts: Facts, now: Instant) -> tuple[StepAnswer[bool], Changes]:
        row = facts.get(SigningKeyRow, AUTHORITY_WIDE, self.document)
        if row is not None and row.is_ahead_of(self.kids, self.made_at):
            return StepAnswer(allow(), False), Changes()
        noted = SigningKeyRow(tenant=AUTHORITY_WIDE, document=self.document, kid=self.kids[-1], made_at=self.made_at)
        return StepAnswer(allow(), True), Changes(rows=(noted,) if row != noted else ())
