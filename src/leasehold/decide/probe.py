"""A step that wants nothing: its answer shows that the lane takes steps, and has answered those before it.

Asked by `leasehold.http.health`, and by the lane itself at the end of a program.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import msgspec

from leasehold.decide.facts import Changes, Facts, Need, StepAnswer
from leasehold.model.decision import allow
from leasehold.model.instant import Instant

__all__ = ["Probe"]


class Probe(msgspec.Struct, frozen=True, kw_only=True):
    """Reads the log's row, as every step does, and writes nothing. Answers the time that counts."""

    policy: ClassVar[None] = None
    needs_clock: ClassVar[bool] = True

    def keys(self) -> Sequence[Need]:
        return ()

    def decide(self, facts: Facts, now: Instant) -> tuple[StepAnswer[Instant], Changes]:
        return StepAnswer(allow(), now), Changes()
