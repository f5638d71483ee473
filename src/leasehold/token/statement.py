"""What every form that people sign with their key has in common. Called by the modules that define one.

Each begins with a mark of its own, so a signature under one form is worth nothing under another (threat case 9).
"""

from __future__ import annotations

from typing import ClassVar

import msgspec

from leasehold.model import canonical
from leasehold.token import base64url
from leasehold.token.keys import PublicKey, SigningKey

__all__ = ["Statement"]


class Statement(msgspec.Struct, frozen=True, kw_only=True):
    """What a person says, exactly. A form names its `MARK`, a line, and its members."""

    MARK: ClassVar[bytes]

    def to_bytes(self) -> bytes:
        """The signed bytes: the line of the mark, then the canonical JSON of the members."""
        return self.MARK + canonical.encode(msgspec.to_builtins(self))

    def sign(self, key: SigningKey) -> str:
        """Return the person's signature as base64url text."""
        return base64url.encode(key.sign(self.to_bytes()))

    def is_signed_by(self, key: PublicKey, signature: str) -> bool:
        """Whether `signature` is that key's signature over exactly this statement, in its one spelling."""
        return key.is_signature_text(signature, self.to_bytes())
