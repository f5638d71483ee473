"""Base64url with exactly one accepted spelling (RFC 4648 section 5, no padding). Called by every file of this package.

Library decoders skip foreign characters, accept padding, and ignore set bits behind the last byte. Each of those gives
one document several texts, and a text must never have a twin (threat case 6).
"""

from __future__ import annotations

import base64

from leasehold.errors import InvalidError

__all__ = ["decode", "encode"]


def encode(data: bytes) -> str:
    """Return the base64url text of `data`, without padding."""
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode("ascii")


def decode(text: str) -> bytes:
    """Return the bytes of base64url text that `encode` could have written.

    Raises:
        InvalidError: padding, another alphabet, white space, or set bits behind the last byte.
    """
    try:
        data = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
    except ValueError:
        raise InvalidError("this text is not base64url") from None
    if encode(data) != text:
        raise InvalidError("this base64url is not the one spelling of its bytes")
    return data
