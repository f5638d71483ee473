"""Asking again for an admission whose answer was lost wins no time to start."""

from __future__ import annotations

import pytest

from stage import UPDATE, Stage


@pytest.mark.invariant("I5")
@pytest.mark.case(51)
def test_a_re_sent_admission_leaves_only_what_is_left_of_its_time_to_start(stage: Stage) -> None:
    lease = stage.lease(UPDATE, ttl_seconds=10)
    first = stage.admit(lease, "ticket.update", key="a")
    again = {"key": "a", "admission_id": first.admission_id}
    stage.pass_time(3)
    second = stage.admit(lease, "ticket.update", **again)
    assert second.start_within_ms == first.start_within_ms - 3000
    assert second.finish_by == first.finish_by
    assert (first.finish_within_ms, second.finish_within_ms) == (37_000, 34_000)
    stage.pass_time(17)
    after_expiry = stage.admit(lease, "ticket.update", **again)
    assert after_expiry.start_within_ms == 0
