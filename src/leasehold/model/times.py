"""Times and durations as people write and read them. Days are UTC. Called by every command that shows or takes one."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

from leasehold.errors import InvalidError
from leasehold.model.instant import Instant

__all__ = ["parse_time", "show_countdown", "show_duration", "show_time"]

_AGO = re.compile(r"([1-9][0-9]{0,5})([smhd])")
_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86_400}


def show_time(seconds: int) -> str:
    """A Unix time as `2026-05-06 12:00:00 UTC`."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def show_countdown(seconds: int) -> str:
    """Seconds left as `08m14s`; nothing less than zero."""
    minutes, rest = divmod(max(0, seconds), 60)
    return f"{minutes:02d}m{rest:02d}s"


def show_duration(seconds: int) -> str:
    """A length of time in its two largest units: `90 s`, `5 min`, `2 h 30 min`."""
    if seconds < 120:
        return f"{seconds} s"
    hours, rest = divmod(seconds, 3600)
    minutes, rest = divmod(rest, 60)
    parts = [f"{hours} h" if hours else "", f"{minutes} min" if minutes else "", f"{rest} s" if rest else ""]
    return " ".join(part for part in parts if part)


def parse_time(text: str, now: Instant) -> Instant:
    """Return the moment that an operator means: `today`, `yesterday`, `2h` (ago), a day, or an ISO time with a zone.

    Raises:
        InvalidError: it is none of these.
    """
    clock = datetime.fromtimestamp(now.seconds, UTC)
    midnight = clock.replace(hour=0, minute=0, second=0, microsecond=0)
    if text in ("today", "yesterday"):
        return _instant(midnight - timedelta(days=text == "yesterday"))
    if ago := _AGO.fullmatch(text):
        return Instant(max(0, int(now) - int(ago[1]) * _UNITS[ago[2]] * 1000))
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        moment = None
    if moment is None or (moment.tzinfo is None and len(text) > len("2026-05-06")):
        raise InvalidError(
            f"{text!r} is no time; write today, yesterday, 90m, 2h, 7d, 2026-05-06 or 2026-05-06T12:00:00Z"
        )
    return _instant(moment if moment.tzinfo else moment.replace(tzinfo=UTC))


def _instant(moment: datetime) -> Instant:
    if moment.timestamp() < 0:
        raise InvalidError("a time before 1970 is in no ledger")
    return Instant(int(moment.timestamp() * 1000))
