"""What a person had before their eyes when they answered, and why an approval of that does not count.

A form carries when it was shown, what it showed, and whether it showed all of it, under the session's token; so the
server holds to it with scripts off as well. Only an approval can be too hasty: a no is taken at once.
"""

from __future__ import annotations

import re

import msgspec

from leasehold.http.forms import FormTokens
from leasehold.model.instant import Instant

__all__ = ["FINAL_WAIT_MS", "WAIT_MS", "Sight", "read_sight", "refuse_sight"]

WAIT_MS = 1000
FINAL_WAIT_MS = 3000

_SIGHT = re.compile(r"([0-9]{1,15})\.([01])\.([0-9a-f]{32})\.([A-Za-z0-9_-]{43})")


class Sight(msgspec.Struct, frozen=True, kw_only=True):
    """When a form was shown (Unix milliseconds), whether it showed all, and the fingerprint of what it showed."""

    shown_ms: int
    is_whole: bool
    shown: str

    def seal(self, tokens: FormTokens, about: str) -> str:
        """The value of the form's hidden field."""
        return f"{self._text()}.{tokens.make('sight', f'{about} {self._text()}')}"

    def _text(self) -> str:
        return f"{self.shown_ms}.{int(self.is_whole)}.{self.shown}"


def read_sight(sealed: str, tokens: FormTokens, about: str) -> Sight | None:
    """The sight that a form carries, or None if this session was never given it for this."""
    match = _SIGHT.fullmatch(sealed)
    if match is None or not tokens.is_valid(match[4], "sight", f"{about} {match[1]}.{match[2]}.{match[3]}"):
        return None
    return Sight(shown_ms=int(match[1]), is_whole=match[2] == "1", shown=match[3])


def refuse_sight(sight: Sight | None, *, shown: str, wait_ms: int, now: Instant) -> str:
    """Why an approval after this sight is not taken, in words; empty if it is."""
    if sight is None:
        return "This form was not shown to you just now."
    if sight.shown != shown:
        return "It changed while you looked at it."
    if not sight.is_whole:
        return "Some of it was cut short. Here is the whole."
    if now - sight.shown_ms < wait_ms:
        return f"That was quick: an approval counts {wait_ms // 1000} s after the card was shown, no sooner."
    return ""
