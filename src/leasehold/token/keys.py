"""Signing keys and the keys that verify, one ring per type of document. Called by codec, verify, config, authority.

A ring is a list of keys that sign one after the other. A retired key goes on verifying for as long as something it
signed can be alive; a new one verifies before it signs, so that every process can have it by then. No key is ever
looked up by anything but its `kid` in a dict, and no key signs two types of document.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from joserfc.jwk import OKPKey

from leasehold.errors import InvalidError
from leasehold.model.instant import Instant
from leasehold.model.lease import HARD_MAX_TTL_SECONDS
from leasehold.token import base64url
from leasehold.token.ed25519 import check_public_key

__all__ = [
    "SEED_SIZE",
    "SPREAD_SECONDS",
    "DocumentType",
    "KeyRing",
    "PublicKey",
    "PublicKeys",
    "SigningKey",
    "Trust",
    "raw_thumbprint",
    "thumbprint",
]

SEED_SIZE = 32

SPREAD_SECONDS = 300
"""How long a new key is known before it signs: the time to bring its file to every machine (decision 0028)."""


class DocumentType(StrEnum):
    """What a key signs. Each type has its own ring and its own mark in the signed bytes, so none passes as another."""

    LEASE = "lease"
    RECEIPT = "receipt"
    CHECKPOINT = "checkpoint"
    ANSWER = "answer"

    @property
    def typ(self) -> str:
        """The mark: the JWT `typ` of a lease, the DSSE payload type of a receipt, the first words of the others."""
        return _TYP[self]

    @property
    def verifies_after_retirement_seconds(self) -> int | None:
        """How long a retired key still verifies: the longest life of a lease; without end (None) for evidence."""
        return HARD_MAX_TTL_SECONDS if self is DocumentType.LEASE else None


_TYP = {
    DocumentType.LEASE: "at+jwt",
    DocumentType.RECEIPT: "application/vnd.in-toto+json",
    DocumentType.CHECKPOINT: "leasehold checkpoint v1",
    DocumentType.ANSWER: "leasehold answer v1",
}


class Trust(StrEnum):
    """What a set of public keys says about one `kid` at one moment."""

    TRUSTED = "trusted"
    RETIRED = "retired"
    UNKNOWN = "unknown"


def thumbprint(public: Ed25519PublicKey) -> str:
    """The RFC 7638 SHA-256 thumbprint of a public key: its `kid`, the same for everyone who computes it."""
    return OKPKey.import_key(public).thumbprint()


def raw_thumbprint(public_bytes: bytes) -> str:
    """The same of 32 raw bytes, which are taken for a key as they are: for comparing the keys of stored people."""
    members = f'{{"crv":"Ed25519","kty":"OKP","x":"{base64url.encode(public_bytes)}"}}'
    return base64url.encode(hashlib.sha256(members.encode("ascii")).digest())


@dataclass(frozen=True, slots=True)
class PublicKey:
    """One key that verifies. `retired_at` is in Unix seconds, None while it is in use.

    Raises:
        InvalidError: the key is unfit (see `leasehold.token.ed25519`) or `kid` is not its thumbprint.
    """

    kid: str
    public: Ed25519PublicKey
    retired_at: int | None = None

    def __post_init__(self) -> None:
        check_public_key(self.public.public_bytes_raw())
        if self.kid != thumbprint(self.public):
            raise InvalidError("this kid is not the RFC 7638 thumbprint of its key")

    @classmethod
    def from_bytes(cls, raw: bytes, *, retired_at: int | None = None) -> PublicKey:
        """Return the key of 32 raw bytes, under its thumbprint.

        Raises:
            InvalidError: they are no fit Ed25519 public key.
        """
        public = Ed25519PublicKey.from_public_bytes(check_public_key(raw))
        return cls(thumbprint(public), public, retired_at)

    def to_bytes(self) -> bytes:
        """The 32 raw bytes, as a row or a note key holds them."""
        return self.public.public_bytes_raw()

    def is_signature(self, signature: bytes, message: bytes) -> bool:
        """Whether `signature` is this key's Ed25519 signature over exactly `message`."""
        try:
            self.public.verify(signature, message)
        except InvalidSignature:
            return False
        return True

    def is_signature_text(self, signature: str, message: bytes) -> bool:
        """The same of a signature as base64url text, in its one spelling."""
        try:
            raw = base64url.decode(signature)
        except InvalidError:
            return False
        return self.is_signature(raw, message)


@dataclass(frozen=True, slots=True)
class PublicKeys:
    """The keys that verify one type of document, by `kid`."""

    document_type: DocumentType
    keys: Mapping[str, PublicKey]

    def __post_init__(self) -> None:
        if any(kid != key.kid for kid, key in self.keys.items()):
            raise InvalidError("each public key stands under its own kid")

    @classmethod
    def of(cls, document_type: DocumentType, keys: Iterable[PublicKey]) -> PublicKeys:
        """Return the set of these keys.

        Raises:
            InvalidError: one stands twice.
        """
        listed = tuple(keys)
        by_kid = {key.kid: key for key in listed}
        if len(by_kid) != len(listed):
            raise InvalidError("a public key stands twice in one set")
        return cls(document_type, by_kid)

    def get(self, kid: str) -> PublicKey | None:
        """The key of this `kid`, trusted or retired, or None. A dict lookup and nothing else."""
        return self.keys.get(kid)

    def trust(self, kid: str, now: Instant) -> Trust:
        """Whether what this `kid` signed may be believed now. It ends *at* the end of a retired key's last lease."""
        key = self.keys.get(kid)
        if key is None:
            return Trust.UNKNOWN
        after = self.document_type.verifies_after_retirement_seconds
        if key.retired_at is not None and after is not None and now.reached(key.retired_at + after):
            return Trust.RETIRED
        return Trust.TRUSTED


@dataclass(frozen=True, slots=True)
class SigningKey:
    """One private key. It signs for DSSE envelopes and notes as it is: it has a `keyid` and a `sign`.

    `created_at` and `retired_at` are Unix seconds. The private half never shows in text.

    Raises:
        InvalidError: `kid` is not the key's thumbprint, or it was retired longer before it was created than a lease
            lives. By less it may be: then nothing that it signed counts.
    """

    kid: str
    private: Ed25519PrivateKey = field(repr=False)
    created_at: int = 0
    retired_at: int | None = None

    def __post_init__(self) -> None:
        if self.kid != thumbprint(self.private.public_key()):
            raise InvalidError("this kid is not the RFC 7638 thumbprint of its key")
        earliest = self.created_at - HARD_MAX_TTL_SECONDS
        if self.created_at < 0 or (self.retired_at is not None and self.retired_at < earliest):
            raise InvalidError("a key is created at 0 or later, and retired at most the life of a lease before that")

    @classmethod
    def generate(cls, seed: bytes, *, created_at: int = 0) -> SigningKey:
        """Return the key of 32 random bytes, which the caller draws (`leasehold.system`).

        Raises:
            InvalidError: there are not 32 of them.
        """
        if len(seed) != SEED_SIZE:
            raise InvalidError(f"an Ed25519 key is made from {SEED_SIZE} random bytes, not {len(seed)}")
        private = Ed25519PrivateKey.from_private_bytes(seed)
        return cls(thumbprint(private.public_key()), private, created_at)

    @property
    def keyid(self) -> str:
        """The name under which verifiers look the public half up: the same as `kid`."""
        return self.kid

    def sign(self, message: bytes) -> bytes:
        """Return the 64 bytes of the Ed25519 signature over exactly `message`."""
        return self.private.sign(message)

    def retire(self, at: int) -> SigningKey:
        """The key retired at a time (Unix seconds), or at the earlier one that it had."""
        return replace(self, retired_at=at if self.retired_at is None else min(at, self.retired_at))

    def public(self) -> PublicKey:
        """The half that may be shown to everyone."""
        return PublicKey(self.kid, self.private.public_key(), self.retired_at)


@dataclass(frozen=True, slots=True)
class KeyRing:
    """The keys of one type of document, newest last. At every moment one of them signs.

    Raises:
        InvalidError: there is no key, one stands twice, the newest is retired, or another is not.
    """

    document_type: DocumentType
    keys: tuple[SigningKey, ...]

    def __post_init__(self) -> None:
        if not self.keys or self.keys[-1].retired_at is not None:
            raise InvalidError("a key ring needs a newest key that is not retired")
        if any(key.retired_at is None for key in self.keys[:-1]):
            raise InvalidError("of a key ring only the newest key is not retired")
        if len({key.kid for key in self.keys}) != len(self.keys):
            raise InvalidError("a key stands twice in one ring")

    @property
    def newest(self) -> SigningKey:
        """The key that signs once all others are retired."""
        return self.keys[-1]

    def signer(self, now: Instant) -> SigningKey:
        """The key that signs now, the oldest that is not retired; hand it to whatever needs a signer."""
        return next(key for key in self.keys if key.retired_at is None or not now.reached(key.retired_at))

    def is_followed_by(self, other: KeyRing) -> bool:
        """Whether another ring is this one rotated since: only then does it hold the newest key here, and newer ones.

        Nobody can make such a ring who has not got the private half of that key.
        """
        return self.newest.kid in {key.kid for key in other.keys[:-1]}

    def public(self) -> PublicKeys:
        """The public halves of all its keys, retired ones with the time of it."""
        return PublicKeys.of(self.document_type, (key.public() for key in self.keys))

    def rotate(self, newest: SigningKey, *, now: Instant, retire_at: int | None = None) -> KeyRing:
        """Return the ring in which `newest` comes last and every other key is retired, at `retire_at` if not before.

        `retire_at` is in Unix seconds, by default now; from then on `newest` signs. Leases of retired keys count for
        900 seconds after it, so those of one that was retired 900 seconds ago count no more. Keys of which nothing
        counted before are dropped.

        Raises:
            InvalidError: the key is in the ring already.
        """
        after = self.document_type.verifies_after_retirement_seconds
        retired_from = now.seconds if retire_at is None else retire_at
        kept = (
            key.retire(retired_from)
            for key in self.keys
            if after is None or key.retired_at is None or not now.reached(key.retired_at + after)
        )
        return KeyRing(self.document_type, (*kept, newest))
