"""The list of requirements and the marks on the tests agree, both ways."""

from __future__ import annotations

import pytest

from marks import marked
from requirements import COVERED, PARTLY, PLANNED, REQUIREMENTS


@pytest.mark.parametrize("name", sorted(REQUIREMENTS))
def test_each_requirement_has_a_test_exactly_if_it_is_built(name: str) -> None:
    places = marked("requirement").get(name, frozenset())
    state = REQUIREMENTS[name].state
    assert state in (COVERED, PARTLY, PLANNED)
    if state == PLANNED:
        assert not places, f"{name} is planned, yet these tests are marked with it: {sorted(places)}"
    else:
        assert places, f"{name} is {state} but no test is marked with it"


def test_no_test_is_marked_with_a_requirement_that_does_not_exist() -> None:
    unknown = {name: sorted(places) for name, places in marked("requirement").items() if name not in REQUIREMENTS}
    assert unknown == {}
