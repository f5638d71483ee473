"""Documents that count once: proofs of possession and signed calls, each with an id of its own and a time of issue.

Called by the HTTP doors after they have verified the document. What was seen is kept in a ring of 128 seconds, each cut
into shards: a fixed number of rows that all processes share, so that memory does not grow and no hot row forms. A row
holds so many and no more: who chooses ids that all fall into one would have it written again, longer, each time.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import ClassVar

import msgspec

from leasehold.decide.facts import Changes, Facts, Need, Ref, StepAnswer
from leasehold.decide.rows import AUTHORITY_WIDE, SeenRow
from leasehold.model.decision import Reason, allow, deny
from leasehold.model.instant import Instant
from leasehold.token import base64url

__all__ = ["WINDOW_SECONDS", "UseOnce"]

WINDOW_SECONDS = 60
"""How far a document's time may be from ours, either way. The ring below is only right for less than half of it."""

_RING_SECONDS = 128
_SHARDS = 64
_DIGEST_BYTES = 16
_MOST_IN_SLOT = 512
"""Of one second and shard: 32,768 a second, where ids are random."""


_FORGOTTEN = deny(
    Reason.REPLAYED,
    "this may have been used before the database was put back, which does not remember",
    enough=f"a new one, {WINDOW_SECONDS} seconds after that",
)


class UseOnce(msgspec.Struct, frozen=True, kw_only=True):
    """Use a document that counts once.

    `kind` says what it is, `value` what makes it this one and no other, `at` when it says it was made (Unix seconds).
    """

    kind: str
    value: str
    at: int

    policy: ClassVar[None] = None
    needs_clock: ClassVar[bool] = True

    @property
    def _digest(self) -> bytes:
        return hashlib.sha256(f"{self.kind}\n{self.value}".encode()).digest()[:_DIGEST_BYTES]

    @property
    def _slot(self) -> str:
        return f"{self.at % _RING_SECONDS:03d}.{self._digest[0] % _SHARDS:02d}"

    def keys(self) -> Sequence[Need]:
        return [Ref(SeenRow, (AUTHORITY_WIDE, self._slot))]

    def decide(self, facts: Facts, now: Instant) -> tuple[StepAnswer[None], Changes]:
        if abs(now.seconds - self.at) > WINDOW_SECONDS:
            return StepAnswer(deny(Reason.REPLAYED, "this was made too long ago, or is not made yet")), Changes()
        if facts.control.may_be_forgotten(self.at, ahead=WINDOW_SECONDS):
            return StepAnswer(_FORGOTTEN), Changes()
        row = facts.get(SeenRow, AUTHORITY_WIDE, self._slot)
        seen = row.seen if row is not None and row.second == self.at else ""
        own = base64url.encode(self._digest)
        listed = seen.split()
        if own in listed:
            return StepAnswer(deny(Reason.REPLAYED, "this was used before; make a new one for each request")), Changes()
        if len(listed) >= _MOST_IN_SLOT:
            return StepAnswer(deny(Reason.REPLAYED, "too many like this were used at once; make a new one")), Changes()
        kept = SeenRow(tenant=AUTHORITY_WIDE, slot=self._slot, second=self.at, seen=f"{seen} {own}".strip())
        return StepAnswer(allow()), Changes(rows=(kept,))
