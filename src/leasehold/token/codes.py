"""Why bytes are not the authentic document that they are shown as: the closed list behind `TokenError.code`.

Raised by every reader of this package; a guard denies with reason `bad_token`, `wrong_tool` or the like.
"""

from __future__ import annotations

from enum import StrEnum

__all__ = ["TokenCode"]


class TokenCode(StrEnum):
    """Which check failed, in the order in which they are made. A code never changes its meaning (convention 18)."""

    SIZE = "size"  # longer than 8 KiB; nothing else was looked at
    SHAPE = "shape"  # not three parts of ASCII text with dots between
    ENCODING = "encoding"  # a part is not base64url in its one spelling, or the signature has not 64 bytes
    HEADER = "header"  # not exactly alg Ed25519, kid and typ, canonically encoded
    TYPE = "type"  # a document of another type
    UNKNOWN_KEY = "unknown_key"  # no key of this kid; a verifier that can reload its keys should, once
    SIGNATURE = "signature"  # the key did not sign these bytes
    CLAIMS = "claims"  # a claim is missing, unknown, twice, of the wrong type, out of range, or not canonical
    LIFETIME = "lifetime"  # expires at or before its issue, or lives longer than the hard maximum
    ISSUER = "issuer"  # another authority's
    AUDIENCE = "audience"  # another tool's
    ENVIRONMENT = "environment"  # another environment's
    HOLDER = "holder"  # bound to a key that the presenter did not prove to hold
    KEY_RETIRED = "key_retired"  # its key was retired, and all that it signed must be dead
    NOT_YET = "not_yet"  # issued in the future by more than the published skew
    EXPIRED = "expired"  # at or after its expiry
