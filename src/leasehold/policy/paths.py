"""The argument that an attribute is read from: `name`, `name[]`, `a.b`, `a[].b`. Called by the loader and `evaluate`.

A path never guesses: a list is read with `[]` only, a single value only without it; nothing may be missing or empty.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from leasehold.errors import InvalidError
from leasehold.model.canonical import Json

__all__ = ["argument_of", "check_argument_name", "check_path", "is_argument_name", "read_path"]

_NAME = r"[A-Za-z_$][A-Za-z0-9_$-]{0,63}"
_ARGUMENT = re.compile(_NAME)
_PATH = re.compile(rf"{_NAME}(?:\[\])?(?:\.{_NAME}(?:\[\])?){{0,7}}")


def is_argument_name(text: str) -> bool:
    """Whether the text may name an argument."""
    return _ARGUMENT.fullmatch(text) is not None


def check_argument_name(text: str) -> str:
    """Return `text` if it may name an argument.

    Raises:
        InvalidError: it may not.
    """
    if not is_argument_name(text):
        raise InvalidError(f"{text[:80]!r} is not the name of an argument")
    return text


def check_path(text: str) -> str:
    """Return `text` if it is an argument path of at most eight steps.

    Raises:
        InvalidError: it is not.
    """
    if not _PATH.fullmatch(text):
        raise InvalidError(f"{text[:80]!r} is no argument path; write name, name[], a.b or a[].b")
    return text


def argument_of(path: str) -> str:
    """The top argument that a path starts from."""
    return path.partition(".")[0].removesuffix("[]")


def read_path(path: str, arguments: Mapping[str, Json]) -> tuple[Json, ...]:
    """Return the values that stand at the end of the path, one or more.

    Raises:
        InvalidError: something on the way is missing, empty or of the wrong shape.
    """
    found: list[Json] = [dict(arguments)]
    for step in path.split("."):
        name = step.removesuffix("[]")
        found = [_member(holder, name, path) for holder in found]
        if step != name:
            found = [item for holder in found for item in _items(holder, path)]
    return tuple(found)


def _member(holder: Json, name: str, path: str) -> Json:
    if not isinstance(holder, dict) or holder.get(name) is None:
        raise InvalidError(f"argument {path} is missing")
    return holder[name]


def _items(holder: Json, path: str) -> list[Json]:
    if not isinstance(holder, list) or not holder:
        raise InvalidError(f"argument {path} must be a list that is not empty")
    return holder
