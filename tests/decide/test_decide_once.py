"""What counts once: nothing is taken a second time while its own time is near, and memory does not grow."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from leasehold.decide import once
from leasehold.decide.facts import Changes, Facts, Ref
from leasehold.decide.once import WINDOW_SECONDS, UseOnce
from leasehold.decide.rows import AUTHORITY_WIDE, ControlRow, SeenRow
from leasehold.errors import Denied
from leasehold.model.decision import Reason
from leasehold.model.instant import Instant
from leasehold.token.dpop import PROOF_SECONDS
from stage import Stage, reason_of

CONTROL = ControlRow(
    log="main", issuer="urn:x", epoch=1, epoch_since=0, policy="", policy_since=0, last_time_ms=0, size=0, frontier=b""
)
START = 1_778_068_800


def use(facts: Facts, value: str, at: int, now: int) -> bool:
    """Use a document over rows that stay; answers whether it was taken."""
    step = UseOnce(kind="proof", value=value, at=at)
    answer, changes = step.decide(facts, Instant(now * 1000))
    facts.apply(changes)
    return answer.decision.is_allowed


def memory() -> Facts:
    """Facts in which every slot is known to be empty."""
    facts = Facts(CONTROL)
    for second in range(128):
        for shard in range(64):
            facts.load(Ref(SeenRow, (AUTHORITY_WIDE, f"{second:03d}.{shard:02d}")), None)
    return facts


@given(
    st.lists(
        st.tuples(
            st.integers(0, 3),
            st.integers(-WINDOW_SECONDS - 2, WINDOW_SECONDS + 2),
            st.sampled_from([0, 1, 59, 60, 61, 67, 68, 69, 127, 128, 129, 300]),
        ),
        max_size=40,
    )
)
def test_nothing_is_taken_twice_however_time_passes(tried: list[tuple[int, int, int]]) -> None:
    facts, now, taken = memory(), START, set()
    for value, offset, passed in tried:
        now += passed
        at = now + offset
        is_new = (value, at) not in taken
        was_taken = use(facts, str(value), at, now)
        assert was_taken == (is_new and abs(offset) <= WINDOW_SECONDS)
        if was_taken:
            taken.add((value, at))
    for value, at in taken:  # and none of them ever again, as far as its time goes
        assert not any(use(facts, str(value), at, max(now, at + late)) for late in (0, WINDOW_SECONDS))


def test_the_window_is_less_than_half_of_the_ring_and_a_proof_lives_no_longer() -> None:
    assert WINDOW_SECONDS < once._RING_SECONDS / 2
    assert PROOF_SECONDS <= WINDOW_SECONDS


def test_what_is_used_in_one_process_is_used_in_all(stage: Stage) -> None:
    engine, at = stage.authority.engine, stage.system.now().seconds
    before = len(stage.entries())
    for kind, value in (("proof", "a"), ("proof", "b"), ("person", "a")):
        engine.ask(lambda _, kind=kind, value=value: UseOnce(kind=kind, value=value, at=at))
    again = UseOnce(kind="proof", value="a", at=at)
    assert reason_of(lambda: engine.ask(lambda _: again)) is Reason.REPLAYED
    stage.pass_time(WINDOW_SECONDS + 1)
    assert reason_of(lambda: engine.ask(lambda _: again)) is Reason.REPLAYED
    late = UseOnce(kind="proof", value="new", at=at)
    assert reason_of(lambda: engine.ask(lambda _: late)) is Reason.REPLAYED
    assert len(stage.entries()) == before


@pytest.mark.case(118)
def test_ids_that_are_chosen_to_fall_into_one_row_do_not_make_it_grow_without_end() -> None:
    facts, slot = memory(), f"{START % 128:03d}.00"
    chosen = (n for n in itertools.count() if UseOnce(kind="proof", value=str(n), at=START)._slot == slot)
    taken = [use(facts, str(value), START, START) for value in itertools.islice(chosen, 520)]
    assert taken == [True] * 512 + [False] * 8
    row = facts.get(SeenRow, AUTHORITY_WIDE, slot)
    assert row is not None
    assert len(row.seen) < 12_000
    assert use(facts, "of the next second", START + 1, START)


def test_memory_does_not_grow_with_what_was_seen() -> None:
    facts = memory()
    for number in range(3000):
        assert use(facts, str(number), START + number, START + number)
    rows = [row for (row_type, _), row in facts._rows.items() if row_type is SeenRow and row is not None]
    assert len(rows) <= 128 * 64
    assert sum(len(row.seen.split()) for row in rows) <= 3000
    assert max(len(row.seen.split()) for row in rows) <= 4


@pytest.mark.parametrize("mutant", ["forgets", "counts by the second", "takes what is old"])
def test_each_guard_taken_away_is_missed(stage: Stage, monkeypatch: pytest.MonkeyPatch, mutant: str) -> None:
    match mutant:
        case "forgets":
            decide = UseOnce.decide
            monkeypatch.setattr(UseOnce, "decide", lambda *step: (decide(*step)[0], Changes()))
        case "counts by the second":
            monkeypatch.setattr(UseOnce, "_digest", property(lambda step: bytes(16)))
        case _:
            monkeypatch.setattr(once, "WINDOW_SECONDS", 10_000)
    with pytest.raises((AssertionError, Denied)):
        test_what_is_used_in_one_process_is_used_in_all(stage)


def test_the_bound_of_a_row_taken_away_is_missed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(once, "_MOST_IN_SLOT", 10_000)
    with pytest.raises(AssertionError):
        test_ids_that_are_chosen_to_fall_into_one_row_do_not_make_it_grow_without_end()
