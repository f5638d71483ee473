"""Which page of a list is asked for. Called by pages that list."""

from __future__ import annotations

from starlette.requests import Request

from leasehold.errors import InvalidError

__all__ = ["page_before", "read_index"]

_MOST_DIGITS = 15


def page_before(request: Request) -> int | None:
    """The ledger index that the page before ended with, or None for the first page.

    Raises:
        InvalidError: it is no index.
    """
    text = request.query_params.get("before", "")
    return read_index(text, "before is the index of a ledger entry") if text else None


def read_index(text: str, words: str) -> int:
    """The ledger index that an address names.

    Raises:
        InvalidError: it names none; with these words.
    """
    if not (text.isascii() and text.isdigit() and len(text) <= _MOST_DIGITS):
        raise InvalidError(words)
    return int(text)
