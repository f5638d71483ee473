"""Decide a batch of steps in order over one working set. Called by every store's lane, between loading and writing."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from leasehold.decide.facts import Changes, Facts, Ref, Step, StepAnswer
from leasehold.decide.rows import Row
from leasehold.errors import StoreError
from leasehold.ledger.entry import Entry, encode_entry
from leasehold.model.decision import Decision, Reason, deny
from leasehold.model.instant import Instant

__all__ = ["CLOCK_BEHIND", "CLOCK_TOLERANCE_MS", "Batch", "decide_batch", "effective_now"]

CLOCK_TOLERANCE_MS = 2000


class Batch(msgspec.Struct):
    """What a batch decided: an answer or an error for each step, rows to write in order, encoded ledger entries.

    A row may stand more than once; the last one counts. `gone` were taken out by some step; whether they are still out
    at the end, the facts say. Owned by the lane that asked for it.
    """

    answers: list[StepAnswer[object] | Exception]
    rows: list[Row]
    entries: list[bytes]
    gone: list[Ref]


def effective_now(clock: Instant, last_recorded: Instant) -> tuple[Instant, bool]:
    """The time that counts, and whether the clock is too far behind to decide anything that needs one.

    A clock up to two seconds behind the last recorded time counts as that time, so recorded time never runs backwards;
    further behind, the recorded time still counts and the second value is true (threat cases 47 and 52).
    """
    return max(clock, last_recorded), clock < last_recorded - CLOCK_TOLERANCE_MS


def decide_batch(steps: Sequence[Step[object]], facts: Facts, now: Instant) -> Batch:
    """Decide each step in order; each sees the changes before it; one that fails leaves its neighbours alone.

    Afterwards `facts.control` is what is to be written, but for the tree's size and frontier.
    """
    batch = Batch([], [], [], [])
    facts.control = msgspec.structs.replace(facts.control, last_time_ms=int(now))
    for step in steps:
        try:
            answer, changes, bodies = _decide_one(step, facts, now)
        except StoreError:
            raise  # the database failed while a row was sought: no step's fault, and the end of the batch
        except Exception as error:  # noqa: BLE001 - the outermost edge of a step: its fault must not take the batch along
            batch.answers.append(error)
            continue
        facts.apply(changes)
        batch.answers.append(answer)
        batch.rows.extend(changes.rows)
        batch.gone.extend(changes.gone)
        batch.entries.extend(bodies)
    return batch


def _decide_one(step: Step[object], facts: Facts, now: Instant) -> tuple[StepAnswer[object], Changes, list[bytes]]:
    if step.policy is not None and step.policy != facts.control.policy:
        return StepAnswer(Decision(), active_policy=facts.control.policy), Changes(), []
    if facts.clock_behind and step.needs_clock:
        return StepAnswer(CLOCK_BEHIND), Changes(), []
    answer, changes = step.decide(facts, now)
    return answer, changes, [_stamp(entry, facts.next_index + i, now) for i, entry in enumerate(changes.entries)]


def _stamp(entry: Entry, index: int, now: Instant) -> bytes:
    return encode_entry(msgspec.structs.replace(entry, index=index, time_ms=int(now)))


CLOCK_BEHIND = deny(
    Reason.CLOCK,
    "the clock reads more than 2 s before the last recorded time",
    check="clock >= last recorded time - 2 s",
    enough="wait until it catches up, or have an operator confirm the time: leasehold db confirm-clock",
)
