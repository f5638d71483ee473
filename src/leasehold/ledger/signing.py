"""What the signed documents of the ledger share: who signs, how a signature is checked, how bytes are spelled.

Called by `leasehold.ledger.note` and `leasehold.ledger.dsse`. Ed25519 (RFC 8032) and nothing else; base64 has one
accepted spelling, so that no signed file has a twin that differs and still verifies.
"""

from __future__ import annotations

import base64
import binascii
from typing import Protocol

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from leasehold.errors import VerificationError

__all__ = ["SIGNATURE_SIZE", "Signer", "decode_base64", "encode_base64", "is_signature"]

SIGNATURE_SIZE = 64


class Signer(Protocol):
    """The private half of one Ed25519 key, wherever it lives: a file, an agent, a hardware module."""

    @property
    def keyid(self) -> str:
        """The name under which verifiers look the public half up."""
        ...

    def sign(self, data: bytes, /) -> bytes:
        """Return the 64 bytes of the Ed25519 signature over exactly `data`."""
        ...


def is_signature(signature: bytes, data: bytes, public_key: Ed25519PublicKey) -> bool:
    """Whether `signature` is this key's Ed25519 signature over exactly `data`."""
    try:
        public_key.verify(signature, data)
    except InvalidSignature:
        return False
    return True


def encode_base64(data: bytes) -> str:
    """Return standard base64 with padding (RFC 4648 section 4)."""
    return base64.b64encode(data).decode("ascii")


def decode_base64(text: str) -> bytes:
    """Return the bytes of standard padded base64.

    Raises:
        VerificationError: another alphabet, missing padding, white space, or set bits behind the last byte.
    """
    try:
        data = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise VerificationError("this text is not standard base64 with padding") from None
    if encode_base64(data) != text:
        raise VerificationError("this base64 is not the one spelling of its bytes")
    return data
