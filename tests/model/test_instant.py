"""A deadline has come at its second, not after it (invariant I5)."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from leasehold.model.instant import Instant


@pytest.mark.requirement("L3", "L7")
@pytest.mark.invariant("I5")
@pytest.mark.case(50)
def test_a_deadline_is_reached_at_its_very_millisecond() -> None:
    assert not Instant(59_999).reached(60)
    assert Instant(60_000).reached(60)
    assert Instant(60_001).reached(60)


@given(st.integers(0, 2**50), st.integers(0, 2**40))
def test_what_is_left_and_whether_it_is_over_agree(now: int, deadline: int) -> None:
    instant = Instant(now)
    assert instant.reached(deadline) == (instant.milliseconds_until(deadline) <= 0)
    assert instant.seconds * 1000 <= now < instant.seconds * 1000 + 1000
    assert not instant.reached(instant.seconds + 1)
