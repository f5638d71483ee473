"""The narrowest grants that would have been enough: they cover what was used, and no more than was granted."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from leasehold.ledger.narrower import MAX_EXACT, narrowest_grants
from leasehold.model.grant import Grant, MaxLength, OneOf, Prefix, Range, Scalar, grants_within

TICKETS = OneOf(prefixes=(Prefix("T-"),))


def narrowest(values: list[Scalar], *granted: OneOf | Range | MaxLength) -> object:
    allowed = [{"ticket.close": Grant("ticket.close", {"ticket": constraint})} for constraint in granted]
    found = narrowest_grants([("ticket.close", {"ticket": (value,)}) for value in values], allowed)
    return found["ticket.close"].attributes["ticket"].to_json()


@pytest.mark.requirement("B10")
def test_exact_values_that_were_used_are_listed_once_and_in_order() -> None:
    assert narrowest(["T-2", "T-1", "T-2"], TICKETS) == ["T-1", "T-2"]
    assert narrowest([3, 1], Range(max=9)) == [1, 3]


@pytest.mark.case(15)
def test_values_of_different_types_stay_apart() -> None:
    assert narrowest([1, True, "1"], OneOf(values=(1, True, "1"))) == [True, 1, "1"]


def test_many_integers_become_a_range_where_one_lease_allowed_it() -> None:
    many: list[Scalar] = list(range(5, 5 + 2 * MAX_EXACT))
    assert narrowest(many, Range(max=1000)) == {"max": 4 + 2 * MAX_EXACT, "min": 5}
    assert narrowest(many[:64], Range(max=1000)) == many[:64]


def test_many_values_become_what_one_lease_granted() -> None:
    many: list[Scalar] = [f"T-{number}" for number in range(2 * MAX_EXACT)]
    assert narrowest(many, OneOf(values=("T-1",)), TICKETS) == ["T-*"]
    assert narrowest(many, MaxLength(9)) == {"max_length": 9}


def test_many_values_of_several_leases_are_listed_rather_than_widened() -> None:
    many: list[Scalar] = [*range(MAX_EXACT), *range(500, 500 + MAX_EXACT)]
    assert narrowest(many, Range(min=0, max=100), Range(min=500, max=600)) == many


def test_attribute_that_no_lease_names_is_listed() -> None:
    uses = [("ticket.close", {"ticket": ("T-1",)})] * 2
    found = narrowest_grants(uses, [{}, {"ticket.close": Grant("ticket.close")}])
    assert found == {"ticket.close": Grant("ticket.close", {"ticket": OneOf(values=("T-1",))})}


@given(st.lists(st.integers(0, 200) | st.sampled_from(["T-1", "T-22", "X"]), min_size=1, max_size=150))
def test_suggestion_covers_every_use_and_stays_within_what_was_granted(values: list[Scalar]) -> None:
    numbers = [value for value in values if isinstance(value, int)]
    words = [value for value in values if isinstance(value, str)]
    granted = {
        "ticket.close": Grant("ticket.close", {"ticket": Range(min=0, max=200)}),
        "ticket.update": Grant("ticket.update", {"ticket": OneOf(prefixes=(Prefix("", deep=True),))}),
    }
    uses = [("ticket.close", {"ticket": (value,)}) for value in numbers]
    uses += [("ticket.update", {"ticket": (value, *words)}) for value in words]
    found = narrowest_grants(uses, [granted])
    assert all(found[action].covers(attributes) for action, attributes in uses)
    assert grants_within(found, granted) is None
