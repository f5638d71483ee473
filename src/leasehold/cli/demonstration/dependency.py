"""Which dependency of a project the demo's agent raises, and to what. Pure; called by its story.

Nothing is asked of a network: a floor goes up to the version that is installed here, where that is higher, else by one.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Callable, Iterator
from dataclasses import dataclass

__all__ = ["Update", "find_update"]

_FLOOR = re.compile(r"(?P<name>[A-Za-z0-9][A-Za-z0-9._-]*) ?>= ?(?P<version>[0-9]{1,9}(?:\.[0-9]{1,9}){0,5})")
_RELEASE = re.compile(r"[0-9]{1,9}(?:\.[0-9]{1,9}){0,5}")


@dataclass(frozen=True, kw_only=True)
class Update:
    """One requirement as the file writes it, quotes included, and what it becomes."""

    name: str
    old: str
    new: str


def find_update(pyproject: str, installed: Callable[[str], str | None]) -> Update | None:
    """Return the first update that the text of a `pyproject.toml` offers, or None if no plain `name>=version` is in it.

    `installed` answers the version of a package that is installed here, or None.
    """
    floors = list(_floors(pyproject))
    for name, version, spelling in floors:
        found = _RELEASE.fullmatch(installed(name) or "")
        if found and _numbers(found[0]) > _numbers(version):
            return _update(name, version, found[0], spelling)
    for name, version, spelling in floors:
        return _update(name, version, _next(version), spelling)
    return None


def _floors(pyproject: str) -> Iterator[tuple[str, str, str]]:
    """Name, version and quoted spelling of each requirement that is only a floor and stands once in the text."""
    try:
        project = tomllib.loads(pyproject).get("project", {})
    except tomllib.TOMLDecodeError:
        return
    requirements = project.get("dependencies", []) if isinstance(project, dict) else []
    for requirement in requirements if isinstance(requirements, list) else []:
        found = _FLOOR.fullmatch(requirement) if isinstance(requirement, str) else None
        spellings = [f"{quote}{requirement}{quote}" for quote in "\"'"]
        present = [spelling for spelling in spellings if pyproject.count(spelling) == 1]
        if found and len(present) == 1:
            yield found["name"], found["version"], present[0]


def _update(name: str, version: str, newer: str, spelling: str) -> Update:
    head, _, tail = spelling.rpartition(version)
    return Update(name=name, old=spelling, new=f"{head}{newer}{tail}")


def _numbers(version: str) -> tuple[int, ...]:
    """Comparable, with 1.0 the same as 1."""
    return tuple(map(int, re.sub(r"(?:\.0+)+$", "", version).split(".")))


def _next(version: str) -> str:
    *above, last = version.split(".")
    return ".".join([*above, str(int(last) + 1)])
