"""What the marks on tests and examples say, for the tests that hold the lists of requirements and cases to them."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parent.parent


@cache
def marked(name: str) -> dict[object, frozenset[str]]:
    """Every argument of `pytest.mark.<name>(...)` in tests and examples, with the files that it stands in."""
    places: dict[object, set[str]] = {}
    for path, value in _arguments(f"pytest.mark.{name}"):
        places.setdefault(value, set()).add(path)
    return {value: frozenset(paths) for value, paths in places.items()}


def _arguments(function: str) -> Iterator[tuple[str, object]]:
    for path in sorted([*ROOT.glob("tests/**/*.py"), *ROOT.glob("examples/**/*.py")]):
        text = path.read_text()
        if function not in text:
            continue
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.Call) and ast.unparse(node.func) == function:
                for argument in node.args:
                    if isinstance(argument, ast.Constant):
                        yield str(path.relative_to(ROOT)), argument.value
