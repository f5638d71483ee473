"""The list of threat cases and the marks on the tests agree, both ways."""

from __future__ import annotations

import pytest
from cases import CASES, COVERED, PLANNED

from marks import marked


def test_the_list_is_whole() -> None:
    assert list(CASES) == list(range(1, 119))


@pytest.mark.parametrize("number", CASES)
def test_each_case_has_a_test_exactly_if_it_is_covered(number: int) -> None:
    places = marked("case").get(number, frozenset())
    state = CASES[number].state
    assert state in (COVERED, PLANNED)
    if state == PLANNED:
        assert not places, f"case {number} is planned, yet these tests are marked with it: {sorted(places)}"
    else:
        assert places, f"case {number} is covered but no test is marked with it"


def test_no_test_is_marked_with_a_case_that_does_not_exist() -> None:
    assert {number: sorted(places) for number, places in marked("case").items() if number not in CASES} == {}
