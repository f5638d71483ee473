"""Typed reading of one TOML document, with the place of every fault. Called by `load`.

Every method returns a checked value or raises `ConfigError` with file, line and, where a name is close to a known one,
the name that was probably meant. Nothing is ignored: a key that nobody asked for is a fault.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Callable, Iterable, Mapping
from difflib import get_close_matches
from enum import StrEnum
from typing import TypeVar

import msgspec

from leasehold.errors import ConfigError, InvalidError
from leasehold.model.text import check_identifier, check_text, visible
from leasehold.policy.lines import KeyPath, key_lines

__all__ = ["Place", "Places", "Source", "Table", "fault", "parse_source", "show_path", "suggest"]

Choice = TypeVar("Choice", bound=StrEnum)

_MAX_SECONDS = 366 * 24 * 3600
_MAX_CHARACTERS = 1_048_576
_MAX_TEXT = 500
_DURATION = re.compile(r"([1-9][0-9]{0,8})([smh])")
_UNIT_SECONDS = {"s": 1, "m": 60, "h": 3600}
_LINE = re.compile(r"\(at line ([0-9]+)")
_BARE = re.compile(r"[A-Za-z0-9_-]+")


class Source(msgspec.Struct, frozen=True):
    """One policy file as it was read: its name and its text."""

    path: str
    text: str


class Place(msgspec.Struct, frozen=True, order=True):
    """A line of a file."""

    path: str
    line: int


Places = dict[KeyPath, Place]
"""Where each key of a document stands, over all its files; the document itself, with no keys, stands at line 1."""


def fault(message: str, keys: KeyPath, places: Mapping[KeyPath, Place]) -> ConfigError:
    """The error about a key, at its line or at that of the nearest table around it that has one."""
    nearest = next(keys[:length] for length in range(len(keys), -1, -1) if keys[:length] in places)
    return ConfigError(message, path=places[nearest].path, line=places[nearest].line)


def suggest(name: str, known: Iterable[str]) -> str:
    """The end of a message about an unknown name: the nearest known one, else the known ones if they are few."""
    names = sorted(known)
    if near := get_close_matches(name, names, n=1):
        return f'; did you mean "{near[0]}"?'
    return f"; known: {', '.join(names)}" if 0 < len(names) <= 20 else ""


def show_path(keys: KeyPath) -> str:
    """A key path as the file writes it: `routes."support/close".ttl`."""
    return ".".join(key if _BARE.fullmatch(key) else f'"{visible(key[:120])}"' for key in keys)


def _check_name(text: str) -> str:
    return check_identifier(text, "the name")


def parse_source(source: Source) -> Table:
    """Return the top table of a file.

    Raises:
        ConfigError: it is no TOML; the line is that of the first fault.
    """
    if len(source.text) > _MAX_CHARACTERS:
        raise ConfigError(f"a policy file has at most {_MAX_CHARACTERS} characters", path=source.path)
    try:
        value = tomllib.loads(source.text)
        lines = key_lines(source.text)
    except tomllib.TOMLDecodeError as error:
        found = _LINE.search(str(error))
        line = int(found[1]) if found else len(source.text.splitlines())
        raise ConfigError(f"this is not TOML: {error}", path=source.path, line=line) from None
    except RecursionError:
        raise ConfigError("this file is nested too deeply", path=source.path) from None
    places = {keys: Place(source.path, line) for keys, line in lines.items()}
    return Table(value, (), {(): Place(source.path, 1), **places})


class Table:
    """A table of the document and the way to it. Readers take one key at a time."""

    def __init__(self, value: Mapping[str, object], keys: KeyPath, places: Places) -> None:
        self.value = value
        self.keys = keys
        self.places = places

    def fault(self, message: str, *keys: str) -> ConfigError:
        """The error about this table or one of its keys."""
        return fault(message, (*self.keys, *keys), self.places)

    def close(self, known: Iterable[str], not_yet: Iterable[str] = ()) -> None:
        """Refuse each key that is not known, and with a message of its own each that this version cannot enforce."""
        where = show_path(self.keys) or "the policy"
        known = list(known)
        for key in self.value:
            if key in not_yet:
                raise self.fault(
                    f'"{key}" in {where} is not enforced by this version, so it is refused rather than ignored; '
                    "take it out",
                    key,
                )
            if key not in known:
                raise self.fault(f'unknown key "{visible(key[:120])}" in {where}{suggest(key, known)}', key)

    def need(self, *names: str) -> None:
        """Refuse the table if one of these keys is missing."""
        for key in names:
            if key not in self.value:
                raise self.fault(f'{show_path(self.keys) or "the policy"} needs "{key}"')

    def checked(self, keys: KeyPath, check: Callable[[str], str], text: str) -> str:
        """The text that stands at these keys below this table, if the check of its kind accepts it."""
        try:
            return check(text)
        except InvalidError as error:
            raise self.fault(f"{show_path((*self.keys, *keys))}: {error}", *keys) from None

    def checked_name(self, keys: KeyPath, text: str) -> str:
        """The text, if it is a plain name."""
        return self.checked(keys, _check_name, text)

    def table(self, key: str) -> Table:
        """A table below this one; empty if it is not there."""
        value = self.value.get(key, {})
        if not isinstance(value, dict):
            raise self._wrong(key, "a table")
        return Table(value, (*self.keys, key), self.places)

    def entries(self) -> dict[str, Table]:
        """The tables in this one, by name: the routes below `routes`."""
        return {name: self.table(name) for name in self.value}

    def array(self, key: str) -> list[Table]:
        """The tables of an array: `[[tests]]`."""
        value = self.value.get(key, [])
        if not isinstance(value, list) or not all(isinstance(member, dict) for member in value):
            raise self._wrong(key, f"an array of tables: [[{key}]]")
        return [Table(member, (*self.keys, key, str(index)), self.places) for index, member in enumerate(value)]

    def text(self, key: str) -> str:
        """One line of visible text; empty if it is not there."""
        value = self.value.get(key, "-")
        if not isinstance(value, str) or not 1 <= len(value) <= _MAX_TEXT:
            raise self._wrong(key, f"a text of 1 to {_MAX_TEXT} characters")
        return self.checked((key,), lambda text: check_text(text, "it"), value) if key in self.value else ""

    def name(self, key: str) -> str:
        """A plain name."""
        value = self.value.get(key)
        if not isinstance(value, str):
            raise self._wrong(key, "a name in quotes")
        return self.checked_name((key,), value)

    def names(self, key: str, check: Callable[[str], str] | None = None) -> tuple[str, ...]:
        """A list of different names, sorted, because their order means nothing; empty if it is not there."""
        value = self.value.get(key, [])
        if not isinstance(value, list) or not all(isinstance(member, str) for member in value):
            raise self._wrong(key, 'a list of names, such as ["a", "b"]')
        for index, member in enumerate(value):
            self.checked((key, str(index)), check or _check_name, member)
            if member in value[:index]:
                raise self.fault(f'{show_path((*self.keys, key))} holds "{member}" twice', key, str(index))
        return tuple(sorted(value))

    def seconds(self, key: str, default: int) -> int:
        """A duration: whole seconds or a text such as "30s", "10m", "2h"."""
        return default if key not in self.value else self._duration(key)

    def declared_seconds(self, key: str) -> int | None:
        """The same without a default: None if it is not there."""
        return None if key not in self.value else self._duration(key)

    def _duration(self, key: str) -> int:
        value = self.value[key]
        match = _DURATION.fullmatch(value) if isinstance(value, str) else None
        seconds = int(match[1]) * _UNIT_SECONDS[match[2]] if match else value
        if type(seconds) is not int or not 1 <= seconds <= _MAX_SECONDS:
            raise self._wrong(key, 'a duration such as "30s", "10m" or "2h", or whole seconds, at least 1')
        return seconds

    def whole(self, key: str, low: int, high: int) -> int:
        """An integer between two bounds."""
        value = self.value.get(key)
        if type(value) is not int or not low <= value <= high:
            raise self._wrong(key, f"the whole number {low}" if low == high else f"a whole number from {low} to {high}")
        return value

    def flag(self, key: str) -> bool:
        """true or false; false if it is not there."""
        value = self.value.get(key, False)
        if not isinstance(value, bool):
            raise self._wrong(key, "true or false")
        return value

    def choice(self, key: str, kind: type[Choice]) -> Choice:
        """One word of a closed list."""
        value = self.value.get(key)
        if not isinstance(value, str) or value not in list(kind):
            listed = ", ".join(f'"{member}"' for member in kind)
            near = get_close_matches(value, list(kind), n=1) if isinstance(value, str) else []
            hint = f'; did you mean "{near[0]}"?' if near else ""
            raise self._wrong(key, f"one of {listed}", hint)
        return kind(value)

    def _wrong(self, key: str, wanted: str, hint: str = "") -> ConfigError:
        value = self.value.get(key)
        shown = f'"{visible(value[:80])}"' if isinstance(value, str) else _TOML_TYPES.get(type(value), "a date or time")
        found = f", not {shown}" if key in self.value else ""
        return self.fault(f"{show_path((*self.keys, key))} must be {wanted}{found}{hint}", key)


_TOML_TYPES: dict[type, str] = {
    bool: "true or false",
    int: "that number",
    float: "a float",
    list: "an array",
    dict: "a table",
}
