"""Short-lived notes that this authority hands out and gets back, such as authorization codes. Called by HTTP doors.

What it must know again stands in the note itself, under a MAC of a key that no other purpose has: nothing is kept while
somebody may never come back. A note is not secret from who holds it, and says nothing that they may not know.
"""

from __future__ import annotations

import hmac
from typing import TypeVar

import msgspec

from leasehold.errors import InvalidError
from leasehold.model import canonical
from leasehold.token import base64url

__all__ = ["open_note", "seal_note"]

_MAX_CHARACTERS = 4096

Note = TypeVar("Note", bound=msgspec.Struct)


def seal_note(note: msgspec.Struct, key: bytes) -> str:
    """Return the text of a note."""
    body = base64url.encode(canonical.encode(msgspec.to_builtins(note)))
    return f"{body}.{base64url.encode(_mac(body, key))}"


def open_note(text: str, shape: type[Note], key: bytes) -> Note:
    """Return the note of a text that `seal_note` wrote with this key.

    Raises:
        InvalidError: it did not.
    """
    body, _, mac = text.partition(".")
    if len(text) > _MAX_CHARACTERS or not text.isascii():
        raise InvalidError("this is no note of ours")
    if not hmac.compare_digest(base64url.decode(mac), _mac(body, key)):
        raise InvalidError("this is no note of ours")
    try:
        return msgspec.convert(canonical.decode_canonical(base64url.decode(body)), shape)
    except msgspec.ValidationError:
        raise InvalidError("this note is of another kind") from None


def _mac(body: str, key: bytes) -> bytes:
    return hmac.digest(key, b"leasehold note v1\n" + body.encode("ascii"), "sha256")
