"""Base64url with exactly one accepted spelling (RFC 4648 section 5, no padding). Called by every file of this package.

Library decoders skip foreign characters, accept padding, and ignore set bits behind the last byte. Each of those gives
one document several texts, and a text must never have a twin (threat case 6).
"""

from __future__ import annotations

import base64
import binascii

from leasehold.errors import InvalidError

__all__ = ["decode", "encode"]


def encode(data: bytes) -> str:
    """Return the base64url text of `data`, without padding."""
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode("ascii")


# What is not base64url stays outside the standard alphabet too: '+', '/' and '=' become a character of neither.
_TO_STANDARD = bytes.maketrans(b"-_+/=", b"+/???")
_PADDING = (b"", b"===", b"==", b"=")


def decode(text: str) -> bytes:
    """Return the bytes of base64url text that `encode` could have written.

    Raises:
        InvalidError: padding, another alphabet, white space, or set bits behind the last byte.
    """
    try:
        standard = text.encode("ascii").translate(_TO_STANDARD) + _PADDING[len(text) % 4]
        data = binascii.a2b_base64(standard, strict_mode=True)
    except ValueError:
        raise InvalidError("this text is not base64url") from None
    last = len(data) % 3  # bytes of an unfinished group of three: the only place where spare bits can hide
    if last and encode(data[-last:]) != text[-last - 1 :]:
        raise InvalidError("this base64url is not the one spelling of its bytes")
    return data
