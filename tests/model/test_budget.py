"""Amounts are whole millionths: nothing is rounded, nothing overflows (threat cases 14, 69, 70)."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from leasehold.errors import InvalidError
from leasehold.model.budget import (
    MAX_AMOUNT,
    MICROS,
    amounts_from_json,
    amounts_to_json,
    format_amount,
    parse_amount,
)


@pytest.mark.requirement("B8")
@pytest.mark.case(70)
@pytest.mark.parametrize(
    ("written", "micros"),
    [(0, 0), (25, 25 * MICROS), ("25", 25 * MICROS), ("0.05", 50_000), ("0.000001", 1), ("1.10", 1_100_000),
     ("9007199254.740991", MAX_AMOUNT)],
)  # fmt: skip
def test_an_amount_is_read_exactly(written: object, micros: int) -> None:
    assert parse_amount(written, "it") == micros


def test_a_tenth_and_two_tenths_are_three_tenths() -> None:
    assert parse_amount("0.1", "it") + parse_amount("0.2", "it") == parse_amount("0.3", "it")


@pytest.mark.requirement("B8")
@pytest.mark.case(14, 69, 70)
@pytest.mark.parametrize(
    ("written", "message"),
    [
        (0.5, "is no amount"), (float("nan"), "is no amount"), (True, "is no amount"), (None, "is no amount"),
        (-1, "is no amount"), ("-1", "is no amount"), ("", "is no amount"), ("1.", "is no amount"),
        (".5", "is no amount"), ("01", "is no amount"), ("1e3", "is no amount"), ("1.0000001", "is no amount"),
        ("1\n", "is no amount"), ("１", "is no amount"), ("Infinity", "is no amount"), ([1], "is no amount"),
        pytest.param(10**5000, "is no amount", id="huge"),
        pytest.param(-(10**5000), "is no amount", id="-huge"),
        (2**63, "is no amount"),
        (9_999_999_999, "is too large"), ("9007199254.740992", "is too large"),
    ],
)  # fmt: skip
def test_what_is_no_exact_amount_is_refused(written: object, message: str) -> None:
    with pytest.raises(InvalidError, match=message):
        parse_amount(written, "it")


@pytest.mark.parametrize(
    ("micros", "text"),
    [(0, "0"), (1, "0.000001"), (MICROS, "1"), (50_000, "0.05"), (-50_000, "-0.05"), (-MICROS, "-1")],
)
def test_an_amount_is_shown_in_its_shortest_form(micros: int, text: str) -> None:
    assert format_amount(micros) == text


@given(st.integers(0, MAX_AMOUNT))
def test_what_is_shown_is_read_back_equal(micros: int) -> None:
    assert parse_amount(format_amount(micros), "it") == micros


@given(st.dictionaries(st.sampled_from(["calls", "tool_seconds", "usd", "tokens"]), st.integers(0, MAX_AMOUNT)))
def test_amounts_survive_writing_and_reading(amounts: dict[str, int]) -> None:
    assert amounts_from_json(amounts_to_json(amounts)) == amounts


def test_amounts_are_written_as_a_lease_shows_them() -> None:
    amounts = {"usd": MICROS, "calls": 30 * MICROS, "tool_seconds": 600 * MICROS, "tokens": 500_000}
    shown = amounts_to_json(amounts)
    assert shown == {"calls": 30, "tokens": "0.5", "tool_seconds": 600, "usd": "1.00"}
    assert list(shown) == sorted(shown)
    assert amounts_to_json({"usd": 1_000_001}) == {"usd": "1.000001"}


@pytest.mark.parametrize(
    ("written", "message"),
    [
        ([], "write a table of units"),
        ("calls", "write a table of units"),
        ({"Calls": 1}, "is not a unit name"),
        ({"calls ": 1}, "is not a unit name"),
        ({1: 1}, "is not a unit name"),
        ({"calls": -1}, r"budget\.calls: -1 is no amount"),
    ],
)
def test_a_budget_of_another_shape_is_refused(written: object, message: str) -> None:
    with pytest.raises(InvalidError, match=message):
        amounts_from_json(written)
