"""The list of requirements and the marks on the tests agree, both ways."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest
from requirements import COVERED, PARTLY, PLANNED, REQUIREMENTS

ROOT = Path(__file__).parent.parent


def marks(name: str) -> Iterator[tuple[str, object]]:
    """Every argument of `pytest.mark.<name>(...)` in the tests and examples, with the file it stands in."""
    for path in sorted([*ROOT.glob("tests/**/*.py"), *ROOT.glob("examples/**/*.py")]):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and ast.unparse(node.func) == f"pytest.mark.{name}":
                for argument in node.args:
                    if isinstance(argument, ast.Constant):
                        yield str(path.relative_to(ROOT)), argument.value


@pytest.mark.parametrize("name", sorted(REQUIREMENTS))
def test_each_requirement_has_a_test_exactly_if_it_is_built(name: str) -> None:
    marked = {place for place, value in marks("requirement") if value == name}
    state = REQUIREMENTS[name].state
    assert state in (COVERED, PARTLY, PLANNED)
    if state != PLANNED:
        assert marked, f"{name} is {state} but no test is marked with it"


def test_no_test_is_marked_with_a_requirement_that_does_not_exist() -> None:
    unknown = sorted({(place, value) for place, value in marks("requirement") if value not in REQUIREMENTS})
    assert unknown == []
