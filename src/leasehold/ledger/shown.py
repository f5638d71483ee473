"""How receipts write times and amounts: RFC 3339 in UTC, integers in millionths beside decimal text, never a float."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

from leasehold.errors import VerificationError
from leasehold.model.budget import MAX_AMOUNT, format_amount
from leasehold.model.text import visible

__all__ = ["shown_amounts", "shown_micros", "shown_text", "shown_time"]

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_END_MS = 253_402_300_800_000


def shown_time(milliseconds: int) -> str:
    """Return a Unix time as RFC 3339 with milliseconds, such as `2026-05-06T10:00:00.250Z`.

    Raises:
        VerificationError: it is before 1970 or after the year 9999.
    """
    if not 0 <= milliseconds < _END_MS:
        raise VerificationError(f"{milliseconds} ms is no time that an entry can have")
    moment = _EPOCH + timedelta(milliseconds=milliseconds)
    return moment.isoformat(timespec="milliseconds").removesuffix("+00:00") + "Z"


def shown_micros(micros: int) -> int:
    """Return a sum of millionths as JSON can hold it exactly; what is larger stands as the largest."""
    return min(micros, MAX_AMOUNT)


def shown_amounts(amounts: Mapping[str, int]) -> list[dict[str, object]]:
    """Return amounts by unit, each as millionths and as decimal text."""
    return [
        {"amount": format_amount(shown_micros(micros)), "micros": shown_micros(micros), "unit": unit}
        for unit, micros in sorted(amounts.items())
    ]


def shown_text(value: object) -> object:
    """Return a JSON value with hidden characters in its texts written out, so that no reader can miss them."""
    if isinstance(value, str):
        return value if value.isascii() and value.isprintable() else visible(value)
    if isinstance(value, dict):
        return {shown_text(name): shown_text(member) for name, member in value.items()}
    return [shown_text(member) for member in value] if isinstance(value, list) else value
