"""What a guard may report of a call: no more than an entry, an account and a receipt can hold, whoever the guard is."""

from __future__ import annotations

import pytest

from leasehold.errors import InvalidError
from leasehold.model.budget import MAX_AMOUNT
from leasehold.model.call import MAX_REPORT_BYTES, Outcome, OutcomeStatus


@pytest.mark.case(69, 70, 73)
@pytest.mark.parametrize(
    ("reported", "why"),
    [
        ({"cost": {"usd": -1}}, "an amount is 0 to"),
        ({"cost": {"usd": MAX_AMOUNT + 1}}, "an amount is 0 to"),
        ({"cost": {"": 1}}, "not a unit name"),
        ({"cost": {"usd=1\n": 1}}, "not a unit name"),
        ({"cost": {"\uffff": 1, "\U00010000": 1}}, "not a unit name"),
        ({"cost": {"u" * 33: 1}}, "not a unit name"),
        ({"cost": {f"u{number}": 0 for number in range(33)}}, "33 units are named"),
        ({"cost": {"children": 1}}, "counted when they start"),
        ({"duration_micros": -1}, "a duration is 0 to"),
        ({"duration_micros": MAX_AMOUNT + 1}, "a duration is 0 to"),
        ({"touched": ("x" * 2048,) * 8}, "16384 are allowed"),
        ({"files": ("",) * 6000}, "16384 are allowed"),
        ({"contacted": ('"' * 9000,)}, "16384 are allowed"),
        ({"touched": ("x" * 6000,), "files": ("x" * 6000,), "contacted": ("x" * 6000,)}, "16384 are allowed"),
        ({"error": "x" * MAX_REPORT_BYTES}, "16384 are allowed"),
        ({"result_digest": "x" * MAX_REPORT_BYTES}, "16384 are allowed"),
        ({"error": "\ud800"}, "lone surrogate"),
    ],
)
def test_outcome_that_no_entry_account_or_receipt_could_hold_is_none(reported: dict[str, object], why: str) -> None:
    with pytest.raises(InvalidError, match=why):
        Outcome(status=OutcomeStatus.DONE, **reported)


def test_outcome_may_be_as_large_as_is_said() -> None:
    units = {f"u{number}": MAX_AMOUNT for number in range(32)}
    Outcome(status=OutcomeStatus.DONE, cost=units, duration_micros=MAX_AMOUNT, touched=("x" * 16_363,))
