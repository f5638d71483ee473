"""Key rings as JSON Web Key sets (RFC 7517, 8037): private text for a 0600 file, public text for everyone.

Called by `leasehold.config`, the authority, the HTTP door and offline verification. joserfc reads and writes the
keys; the members around them are a closed list. A set says which document type it is for and is refused as any other.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Annotated, Literal, TypeVar

import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from joserfc.errors import JoseError
from joserfc.jwk import OKPKey

from leasehold.errors import InvalidError
from leasehold.model import canonical
from leasehold.model.instant import Instant
from leasehold.model.lease import HARD_MAX_TTL_SECONDS
from leasehold.token import base64url
from leasehold.token.keys import DocumentType, KeyRing, PublicKey, PublicKeys, SigningKey
from leasehold.token.verify import SKEW_SECONDS

__all__ = [
    "private_jwks",
    "public_jwks",
    "read_private_jwks",
    "read_public_jwks",
    "served_jwks",
]

_Seconds = Annotated[int, msgspec.Meta(ge=0, le=2**53 - 1)]


class _Jwk(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """The members of a public key that this program writes and reads; a new one would change every reader."""

    kty: Literal["OKP"]
    crv: Literal["Ed25519"]
    alg: Literal["Ed25519"]
    use: Literal["sig"]
    kid: str
    x: str
    retired_at: _Seconds | None = None


class _PrivateJwk(_Jwk, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """The same with the private half."""

    d: str
    created_at: _Seconds = 0


class _PublicSet(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    document: str
    keys: tuple[_Jwk, ...]


class _PrivateSet(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    document: str
    keys: tuple[_PrivateJwk, ...]


canonical.prepare(_PublicSet, _PrivateSet)

_Set = TypeVar("_Set", _PublicSet, _PrivateSet)


def private_jwks(ring: KeyRing) -> str:
    """Return the ring as text with the private halves in it. It belongs in a file of mode 0600 and nowhere else."""
    keys = [
        _members(key.private, key.retired_at) | ({"created_at": key.created_at} if key.created_at else {})
        for key in ring.keys
    ]
    return _text(ring.document_type, keys)


def read_private_jwks(text: bytes, document_type: DocumentType) -> KeyRing:
    """Return the ring of text that `private_jwks` wrote for this type of document.

    Raises:
        InvalidError: it is for another type, has unknown members, or holds no fit ring. No key shows in the message.
    """
    return KeyRing(document_type, tuple(map(_signing_key, _read(text, document_type, _PrivateSet).keys)))


def public_jwks(keys: PublicKeys) -> str:
    """Return the keys as the text of a JWK set that any JOSE library reads."""
    return _text(keys.document_type, [_members(key.public, key.retired_at) for key in keys.keys.values()])


def served_jwks(keys: PublicKeys, now: Instant) -> bytes:
    """Return the JWK set that strangers fetch: what may sign or may have signed a lease that lives, and nothing else.

    A retired key stays for as long as the last lease that it signed lives, and two seconds for clocks that lag; then it
    is gone, because a stranger's library does not know when a key was retired (threat case 12).

    Raises:
        InvalidError: the keys are for another type of document than a lease.
    """
    if keys.document_type is not DocumentType.LEASE:
        raise InvalidError(f"strangers verify leases, not a {keys.document_type}")
    served = (key for key in keys.keys.values() if not _is_over(key.retired_at, now))
    return canonical.encode({"keys": [_members(key.public, None) for key in served]})


def _is_over(retired_at: int | None, now: Instant) -> bool:
    return retired_at is not None and now.reached(retired_at + HARD_MAX_TTL_SECONDS + SKEW_SECONDS)


def read_public_jwks(text: bytes, document_type: DocumentType) -> PublicKeys:
    """Return the keys of text that `public_jwks` wrote for this type of document.

    Raises:
        InvalidError: it is for another type, has unknown members (a private half is one), or a key is unfit.
    """
    return PublicKeys.of(document_type, map(_public_key, _read(text, document_type, _PublicSet).keys))


def _text(document_type: DocumentType, keys: list[dict[str, str | int]]) -> str:
    return canonical.encode({"document": document_type.value, "keys": keys}).decode() + "\n"


def _members(key: Ed25519PrivateKey | Ed25519PublicKey, retired_at: int | None) -> dict[str, str | int]:
    imported = OKPKey.import_key(key)
    members: dict[str, str | int] = {
        name: str(value) for name, value in imported.as_dict(private=imported.is_private).items()
    }
    members |= {"alg": "Ed25519", "use": "sig", "kid": imported.thumbprint()}
    return members | ({} if retired_at is None else {"retired_at": retired_at})


def _read(text: bytes, document_type: DocumentType, shape: type[_Set]) -> _Set:
    try:
        keys = msgspec.convert(canonical.decode(text), shape)
    except msgspec.ValidationError as error:
        raise InvalidError(f"this is no key of Leasehold: {error}") from None
    if keys.document != document_type.value:
        raise InvalidError(f"these keys are for another document than a {document_type}")
    return keys


def _import(members: Mapping[str, str]) -> bytes:
    """Return the raw bytes of the last member, read with joserfc; any other spelling than joserfc's own is refused."""
    try:
        key = OKPKey.import_key({"kty": "OKP", "crv": "Ed25519", **members})
        written = OKPKey.import_key(key.raw_value).as_dict(private=key.is_private)
    except (JoseError, ValueError):
        raise InvalidError("a key's x or d is not 32 bytes in base64url") from None
    if any(written[name] != text for name, text in members.items()):
        raise InvalidError("a key's x and d do not belong together, or are not in their one spelling")
    return base64url.decode(members["d"] if "d" in members else members["x"])


def _public_key(jwk: _Jwk) -> PublicKey:
    return replace(PublicKey.from_bytes(_import({"x": jwk.x})), kid=jwk.kid, retired_at=jwk.retired_at)


def _signing_key(jwk: _PrivateJwk) -> SigningKey:
    key = SigningKey.generate(_import({"x": jwk.x, "d": jwk.d}), created_at=jwk.created_at)
    return replace(key, kid=jwk.kid, retired_at=jwk.retired_at)
