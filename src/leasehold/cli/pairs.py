"""Names and values as they are typed: `name=text`, or `name:=JSON` for numbers, booleans and tables.

Called by `exec`, `request make`, `policy explain` and `ledger query`.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Sequence

from leasehold.errors import InvalidError
from leasehold.model import canonical
from leasehold.model.canonical import Json
from leasehold.model.grant import Scalar, check_action

__all__ = ["parse_attributes", "parse_grant", "parse_pair", "parse_scalar", "split_options"]


def parse_pair(text: str) -> tuple[str, Json]:
    """Return name and value of `name=text` or `name:=JSON`.

    Raises:
        InvalidError: it is neither.
    """
    name, equals, value = text.partition("=")
    if not equals or not name.rstrip(":"):
        raise InvalidError(f"{text!r} is no pair; write name=text, or name:=JSON for a number, a boolean or a list")
    if not name.endswith(":"):
        return name, value
    return name[:-1], canonical.decode(value.encode("utf-8", "surrogateescape"))


def parse_attributes(pairs: Iterable[str]) -> dict[str, Json]:
    """Return what pairs say together; a name that stands several times has a list of values.

    Raises:
        InvalidError: one is no pair.
    """
    several: dict[str, list[Json]] = {}
    for name, value in map(parse_pair, pairs):
        several.setdefault(name, []).append(value)
    return {name: values[0] if len(values) == 1 else values for name, values in several.items()}


def parse_grant(text: str) -> tuple[str, dict[str, Json]]:
    """Return action and constraints of `ticket.close ticket=T-1 priority:={"max":3}`, quoted as in a shell.

    A value stands for a list of one, as everywhere.

    Raises:
        InvalidError: it begins with no action, or goes on with something that is no pair.
    """
    try:
        words = shlex.split(text)
    except ValueError as error:
        raise InvalidError(f"{text!r} cannot be split into words: {error}") from None
    if not words:
        raise InvalidError("write an action, then its attributes: 'ticket.close ticket=T-1'")
    constraints: dict[str, Json] = {
        name: value if isinstance(value, list | dict) else [value]
        for name, value in parse_attributes(words[1:]).items()
    }
    return check_action(words[0]), constraints


def parse_scalar(text: str) -> tuple[str, Scalar]:
    """Return name and value of a pair whose value is a string, integer or boolean.

    Raises:
        InvalidError: it is something else.
    """
    name, value = parse_pair(text)
    if isinstance(value, str | int):
        return name, value
    raise InvalidError(f"{name} must be a string, an integer or a boolean")


def split_options(words: Sequence[str]) -> tuple[list[str], list[str]]:
    """Return the pairs that `--name value`, `--name=value` and `--name:=JSON` make, and the words behind `--`.

    Dashes inside a name become underscores, as arguments are spelled.

    Raises:
        InvalidError: a word before `--` is no option, or has no value.
    """
    before = list(words[: words.index("--")]) if "--" in words else list(words)
    pairs: list[str] = []
    waiting = iter(before)
    for word in waiting:
        name, equals, value = word.removeprefix("--").partition("=")
        if not word.startswith("--"):
            raise InvalidError(f"{word!r} is no option; write --name value, and the command behind --")
        if not equals:
            value = next(waiting, "--")
            if value.startswith("--"):
                raise InvalidError(f"--{name} has no value; write --{name} value or --{name}=value")
        pairs.append(f"{name.replace('-', '_')}={value}")
    return pairs, list(words[len(before) + 1 :])
