"""Where each key of a TOML text stands. Called by the policy reader, because `tomllib` keeps no positions.

The text has already been accepted by `tomllib`, so this scanner only has to skip values, never to judge them.
"""

from __future__ import annotations

import re
import tomllib
from bisect import bisect_right

__all__ = ["KeyPath", "key_lines"]

KeyPath = tuple[str, ...]
"""The keys from the top of the document to a value; an element of an array stands under its index."""

_STRING = re.compile(
    r'"""(?:[^\\]|\\.)*?"""(?:"{0,2})|' r"'''.*?'''(?:'{0,2})|" r'"(?:[^"\\\n]|\\.)*"|' r"'[^'\n]*'",
    re.DOTALL,
)
_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")
_SPACE = re.compile(r"[ \t]*")
_BLANK = re.compile(r"(?:[ \t\n]|#[^\n]*)*")
_SCALAR = re.compile(r"[^,\]}\n#]+")


def key_lines(text: str) -> dict[KeyPath, int]:
    """Return the 1-based line of every key, table header and array element of valid TOML text."""
    return _Scanner(text.replace("\r\n", "\n")).scan()


class _Scanner:
    """A cursor over the text. It owns its position and what it has found so far."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._position = 0
        self._newlines = [match.start() for match in re.finditer("\n", text)]
        self._lines: dict[KeyPath, int] = {}
        self._last_index: dict[KeyPath, int] = {}

    def scan(self) -> dict[KeyPath, int]:
        table: KeyPath = ()
        while self._skip(_BLANK) < len(self._text):
            if self._take("["):
                table = self._header()
            else:
                self._pair(table)
        return self._lines

    def _header(self) -> KeyPath:
        is_array = self._take("[")
        start = self._position
        keys = self._key()
        self._position += 2 if is_array else 1
        path: KeyPath = ()
        for number, key in enumerate(keys, start=1):
            path += (key,)
            if is_array and number == len(keys):
                self._last_index[path] = self._last_index.get(path, -1) + 1
            self._note(path, start)
            if path in self._last_index:
                path += (str(self._last_index[path]),)
        self._note(path, start)
        return path

    def _pair(self, table: KeyPath) -> None:
        start = self._position
        keys = self._key()
        for length in range(1, len(keys) + 1):
            self._note(table + keys[:length], start)
        self._take("=")
        self._value(table + keys)

    def _key(self) -> KeyPath:
        keys: list[str] = []
        while not keys or self._take("."):
            self._skip(_SPACE)
            quoted = _STRING.match(self._text, self._position)
            start, end = self._position, self._skip(_STRING if quoted else _BARE_KEY)
            part = self._text[start:end]
            keys.append(tomllib.loads(f"key = {part}")["key"] if quoted else part)
            self._skip(_SPACE)
        return tuple(keys)

    def _value(self, path: KeyPath) -> None:
        self._skip(_BLANK)
        if self._take("["):
            index = 0
            while not self._closes("]"):
                self._note((*path, str(index)), self._position)
                self._value((*path, str(index)))
                index += 1
        elif self._take("{"):
            while not self._closes("}"):
                self._pair(path)
        else:
            self._skip(_STRING if _STRING.match(self._text, self._position) else _SCALAR)

    def _closes(self, bracket: str) -> bool:
        """Step over a comma, then over the bracket if it stands here."""
        self._skip(_BLANK)
        self._take(",")
        self._skip(_BLANK)
        return self._take(bracket)

    def _skip(self, pattern: re.Pattern[str]) -> int:
        match = pattern.match(self._text, self._position)
        self._position = match.end() if match else self._position
        return self._position

    def _take(self, character: str) -> bool:
        found = self._text.startswith(character, self._position)
        self._position += found
        return found

    def _note(self, path: KeyPath, position: int) -> None:
        self._lines.setdefault(path, bisect_right(self._newlines, position - 1) + 1)
