"""A batch of steps: in order, each on what the ones before it left, and none at another's mercy."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from leasehold.decide.batch import CLOCK_TOLERANCE_MS, decide_batch, effective_now
from leasehold.decide.facts import Changes, Facts, Need, Ref, StepAnswer
from leasehold.decide.rows import ControlRow, PersonRow
from leasehold.ledger.entry import Entry, EntryKind, decode_entry
from leasehold.model.decision import Reason, allow
from leasehold.model.instant import Instant

CONTROL = ControlRow(
    log="log", issuer="i", epoch=1, epoch_since=0, policy="p", policy_since=0, last_time_ms=1_000, size=7, frontier=b"f"
)
NOW = Instant(5_000)
NOTE = Entry(kind=EntryKind.HELD, scope="all")


def person(recorded: int) -> PersonRow:
    return PersonRow(tenant="", person="eva", public_key=b"", state="active", recorded=recorded)


@dataclasses.dataclass(frozen=True)
class Counting:
    """A step that adds one to a row and writes as many entries as it is told."""

    policy: str | None = None
    needs_clock: bool = False
    entries: tuple[Entry, ...] = (NOTE,)
    fails: bool = False
    control: Callable[[ControlRow], ControlRow] | None = None

    def keys(self) -> Sequence[Need]:
        return [Ref(PersonRow, ("", "eva"))]

    def decide(self, facts: Facts, now: Instant) -> tuple[StepAnswer[int], Changes]:
        row = facts.get(PersonRow, "", "eva")
        count = (row.recorded if row is not None else 0) + 1
        if self.fails:
            raise RuntimeError("this step is broken")
        rows = (person(count), *((self.control(facts.control),) if self.control else ()))
        return StepAnswer(allow(), count), Changes(rows=rows, entries=self.entries)


def facts_now(*, clock_behind: bool = False) -> Facts:
    facts = Facts(CONTROL, clock_behind=clock_behind)
    facts.load(Ref(PersonRow, ("", "eva")), None)
    return facts


def values(answers: Sequence[object]) -> list[object]:
    return [answer.value if isinstance(answer, StepAnswer) else type(answer) for answer in answers]


def test_each_step_sees_what_the_ones_before_it_changed() -> None:
    batch = decide_batch([Counting(), Counting(), Counting()], facts_now(), NOW)
    assert values(batch.answers) == [1, 2, 3]
    assert batch.rows[-1] == person(3)


@pytest.mark.invariant("I9")
def test_entries_are_numbered_on_from_the_size_and_bear_the_time() -> None:
    facts = facts_now()
    batch = decide_batch([Counting(entries=(NOTE, NOTE)), Counting(entries=()), Counting()], facts, NOW)
    stamped = [decode_entry(body) for body in batch.entries]
    assert [(entry.index, entry.time_ms) for entry in stamped] == [(7, 5_000), (8, 5_000), (9, 5_000)]
    assert facts.next_index == 10


def test_a_step_that_fails_changes_nothing_and_takes_nobody_along() -> None:
    facts = facts_now()
    batch = decide_batch([Counting(), Counting(fails=True), Counting()], facts, NOW)
    assert values(batch.answers) == [1, RuntimeError, 2]
    assert [decode_entry(body).index for body in batch.entries] == [7, 8]


def test_an_entry_that_cannot_be_written_fails_its_own_step_only() -> None:
    unwritable = Entry(kind=EntryKind.HELD, detail={"bad": object()})  # type: ignore[dict-item]  # the point of the test
    batch = decide_batch([Counting(entries=(NOTE, unwritable)), Counting()], facts_now(), NOW)
    assert values(batch.answers) == [TypeError, 1]
    assert [decode_entry(body).index for body in batch.entries] == [7]


def test_a_step_built_with_another_policy_is_not_decided_and_hears_which_is_active() -> None:
    batch = decide_batch([Counting(policy="older"), Counting(policy="p")], facts_now(), NOW)
    first, second = batch.answers
    assert isinstance(first, StepAnswer)
    assert (first.active_policy, first.value) == ("p", None)
    assert isinstance(second, StepAnswer)
    assert (second.active_policy, second.value) == ("", 1)


def test_a_policy_that_is_accepted_in_a_batch_counts_for_the_rest_of_it() -> None:
    def accept(control: ControlRow) -> ControlRow:
        return ControlRow(**{name: getattr(control, name) for name in control.__struct_fields__} | {"policy": "q"})

    facts = facts_now()
    steps = [Counting(policy="p", control=accept), Counting(policy="p"), Counting(policy="q"), Counting()]
    batch = decide_batch(steps, facts, NOW)
    assert [answer.active_policy for answer in batch.answers if isinstance(answer, StepAnswer)] == ["", "q", "", ""]
    assert values(batch.answers) == [1, None, 2, 3]
    assert facts.control.policy == "q"


@pytest.mark.case(47, 52)
@pytest.mark.requirement("L7")
def test_while_the_clock_is_behind_only_what_needs_none_is_decided() -> None:
    batch = decide_batch([Counting(needs_clock=True), Counting(needs_clock=False)], facts_now(clock_behind=True), NOW)
    first, second = batch.answers
    assert isinstance(first, StepAnswer)
    assert first.decision.reason is Reason.CLOCK
    assert isinstance(second, StepAnswer)
    assert second.value == 1
    assert len(batch.entries) == 1


def test_the_time_of_the_batch_becomes_the_last_recorded_time() -> None:
    facts = facts_now()
    decide_batch([], facts, NOW)
    assert facts.control.last_time_ms == 5_000


@pytest.mark.case(47, 52)
@pytest.mark.requirement("L7")
@given(clock=st.integers(0, 10**6), last=st.integers(0, 10**6))
def test_recorded_time_never_runs_backwards_and_two_seconds_are_forgiven(clock: int, last: int) -> None:
    now, is_behind = effective_now(Instant(clock), Instant(last))
    assert now == max(clock, last)
    assert isinstance(now, Instant)
    assert is_behind == (last - clock > CLOCK_TOLERANCE_MS == 2_000)


@pytest.mark.parametrize(("behind", "is_refused"), [(2_000, False), (2_001, True)])
def test_exactly_two_seconds_behind_still_counts(behind: int, is_refused: bool) -> None:
    assert effective_now(Instant(10_000 - behind), Instant(10_000)) == (10_000, is_refused)
