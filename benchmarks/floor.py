"""What the lane alone could do: steps that read and write the rows of a real call and decide nothing.

Called by the admission benchmark, beside the database alone (`ceiling`). What lies between the two is what one
interpreter needs to take, load, encode, hash, write and answer a step; what lies above is judging and describing.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import count

from msgspec.structs import replace

from benchmarks.ceiling import Sample
from leasehold.decide.facts import Changes, Facts, Need, Ref, StepAnswer, key_of
from leasehold.decide.rows import Row
from leasehold.guard.waiting import LoopAnswers
from leasehold.ledger.entry import Entry, decode_entry
from leasehold.model.call import CallState
from leasehold.model.decision import allow
from leasehold.model.instant import Instant
from leasehold.store.protocol import Store


class _Write:
    """Names some rows, and writes them with one entry whatever they were."""

    policy = None
    needs_clock = False

    def __init__(self, rows: tuple[Row, ...], entry: Entry) -> None:
        self._rows = rows
        self._entry = entry

    def keys(self) -> Sequence[Need]:
        """The rows it writes."""
        return [Ref(type(row), key_of(row)) for row in self._rows]

    def decide(self, _: Facts, __: Instant) -> tuple[StepAnswer[None], Changes]:
        """Nothing."""
        return StepAnswer(allow()), Changes(self._rows, (self._entry,))


class Floor:
    """A store, and calls that are written to it without a decision. The store is its maker's to close."""

    def __init__(self, store: Store, given: Sample) -> None:
        self._store = store
        self._given = given
        self._admitted, self._settled = decode_entry(given.admitted), decode_entry(given.settled)
        self._answers = LoopAnswers()
        self._numbers = count(1)

    def pair(self) -> None:
        """One call by a caller that waits."""
        for step in self._steps():
            self._store.carry_out(step).result()

    async def pair_awaited(self) -> None:
        """One call, as a task of an event loop makes it."""
        for step in self._steps():
            await self._answers.awaited(self._store.submit(step))

    def _steps(self) -> tuple[_Write, _Write]:
        number = next(self._numbers)
        admission = f"adm_{number:026d}"
        rows = [
            (
                *self._given.accounts,
                replace(self._given.call, admission_id=admission, state=state),
                replace(self._given.key, key=f"{number}", admission_id=admission, state=state),
            )
            for state in (CallState.ADMITTED, CallState.DONE)
        ]
        return _Write(rows[0], self._admitted), _Write(rows[1], self._settled)
