"""Digests. Of secrets and arguments keyed per tenant, so that nobody guesses them from the ledger (threat case 102).

Called by the authority alone, which holds the master key; `sha256_digest` by everyone, for public bytes.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from dataclasses import dataclass, field

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from leasehold.errors import InvalidError

__all__ = [
    "MASTER_KEY_SIZE",
    "TENANT_KEY_SIZE",
    "Digester",
    "check_digest",
    "derive_purpose_key",
    "derive_tenant_key",
    "sha256_digest",
]

MASTER_KEY_SIZE = 32
TENANT_KEY_SIZE = 32

_KIND = re.compile(r"[a-z][a-z_]{0,31}")
_DIGEST = re.compile(r"(?:hmac-)?sha256:[0-9a-f]{64}")
_CONTEXT = b"leasehold digest v1"


@dataclass(frozen=True, slots=True)
class Digester:
    """Keyed digests of one tenant.

    Raises:
        InvalidError: the key has not 32 bytes.
    """

    key: bytes = field(repr=False)

    def __post_init__(self) -> None:
        if len(self.key) != TENANT_KEY_SIZE:
            raise InvalidError(f"a tenant's digest key has {TENANT_KEY_SIZE} bytes, not {len(self.key)}")

    def digest(self, kind: str, canonical_bytes: bytes) -> str:
        """Return `hmac-sha256:<hex>` of canonical bytes under a kind (`arguments`, `call`, `card`, `result`).

        The kind is part of what is digested: equal bytes of two kinds have unrelated digests.

        Raises:
            InvalidError: the kind is not one lower-case word.
        """
        if not _KIND.fullmatch(kind):
            raise InvalidError(f"{kind!r} is no kind of digest; use one lower-case word")
        message = b"\0".join((_CONTEXT, kind.encode("ascii"), canonical_bytes))
        return "hmac-sha256:" + hmac.digest(self.key, message, "sha256").hex()


def derive_tenant_key(master: bytes, tenant: str) -> bytes:
    """Return a tenant's 32-byte digest key from the master key (HKDF-SHA-256, RFC 5869).

    Raises:
        InvalidError: the master key has fewer than 32 bytes or the tenant has no name.
    """
    if len(master) < MASTER_KEY_SIZE or not tenant:
        raise InvalidError(f"a digest key is derived from a master key of {MASTER_KEY_SIZE} bytes for a named tenant")
    info = _CONTEXT + b" tenant\0" + tenant.encode("utf-8")
    return HKDF(algorithm=SHA256(), length=TENANT_KEY_SIZE, salt=None, info=info).derive(master)


def derive_purpose_key(master: bytes, purpose: str) -> bytes:
    """Return a 32-byte key for one purpose of the authority itself, which is no tenant's (HKDF-SHA-256, RFC 5869).

    Raises:
        InvalidError: the master key has fewer than 32 bytes or the purpose has no name.
    """
    if len(master) < MASTER_KEY_SIZE or not purpose:
        raise InvalidError(f"a key is derived from a master key of {MASTER_KEY_SIZE} bytes for a named purpose")
    info = _CONTEXT + b" purpose\0" + purpose.encode("utf-8")
    return HKDF(algorithm=SHA256(), length=TENANT_KEY_SIZE, salt=None, info=info).derive(master)


def sha256_digest(data: bytes) -> str:
    """Return `sha256:<hex>` of bytes that anyone may know."""
    return "sha256:" + hashlib.sha256(data).hexdigest()


def check_digest(text: str, what: str = "digest") -> str:
    """Return `text` if it is a digest as this module writes them.

    Raises:
        InvalidError: it is not; the message names `what`.
    """
    if not _DIGEST.fullmatch(text):
        raise InvalidError(f"this {what} is not sha256: or hmac-sha256: and 64 lower-case hex digits")
    return text
