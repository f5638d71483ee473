"""Proof that a presenter holds a key: DPoP (RFC 9449). Called by the HTTP doors and the authority's door.

A proof is a small JWT that names one request (method, address, token) and brings its own public key. It says who holds
the key and nothing else; what the key may do stands in the token that is bound to its thumbprint. That a proof counts
once is a step's business (`leasehold.decide.once`), because only the store is shared by all processes.
"""

from __future__ import annotations

import hashlib
import hmac
from typing import Literal, TypeAlias
from urllib.parse import urlsplit

import msgspec
from joserfc import jws
from joserfc.errors import BadSignatureError, JoseError
from joserfc.jwk import ECKey

from leasehold.errors import InvalidError
from leasehold.model import canonical
from leasehold.model.instant import Instant
from leasehold.token import base64url
from leasehold.token.keys import PublicKey

__all__ = ["DPOP_ALGORITHMS", "PROOF_SECONDS", "Nonces", "Proof", "Proven", "check_proof"]

PROOF_SECONDS = 60
"""How old a proof may be, and how far ahead its clock."""

_MAX_CHARACTERS = 4096
_NONCE_SECONDS = 120
_COORDINATE_BYTES = 32
_DEFAULT_PORTS = {"http": 80, "https": 443}

_Algorithm: TypeAlias = Literal["Ed25519", "EdDSA", "ES256"]

DPOP_ALGORITHMS: tuple[str, ...] = ("Ed25519", "EdDSA", "ES256")
"""What a proof may be signed with; what browsers and the usual libraries have. `EdDSA` is taken for Ed25519 alone."""


class _Jwk(msgspec.Struct, frozen=True, kw_only=True):
    """A public key as a header brings it. Members that describe it (`use`, `key_ops`) say nothing that counts here."""

    kty: Literal["OKP", "EC"]
    crv: Literal["Ed25519", "P-256"]
    x: str
    y: str | None = None
    d: msgspec.UnsetType | str = msgspec.UNSET


class _Header(msgspec.Struct, frozen=True, kw_only=True):
    typ: Literal["dpop+jwt"]
    alg: _Algorithm
    jwk: _Jwk
    crit: msgspec.UnsetType | list[str] = msgspec.UNSET


class _Claims(msgspec.Struct, frozen=True, kw_only=True):
    jti: str
    htm: str
    htu: str
    iat: int
    ath: str | None = None
    nonce: str | None = None


canonical.prepare(_Header, _Claims)


class Proof(msgspec.Struct, frozen=True, kw_only=True):
    """A proof as it came with a request, and what it has to be about: method, address, and the token beside it."""

    text: str
    method: str
    url: str
    token: str | None = None


class Proven(msgspec.Struct, frozen=True, kw_only=True):
    """Whose key it is (the RFC 7638 thumbprint), and what the proof says of itself: `address` as one spelling."""

    holder: str
    jti: str
    method: str
    address: str
    issued_at: int
    nonce: str | None

    @property
    def identity(self) -> str:
        """What makes this proof the one and no other: its `jti`, in the context of key and request (section 11.1).

        All of it is signed, and none of it is the signature, of which ES256 knows two for the same words.
        """
        return "\n".join((self.holder, self.method, self.address, self.jti))


def check_proof(proof: Proof, *, now: Instant) -> Proven:
    """Return what a proof proves, if it is one for exactly this request and made just now.

    Raises:
        InvalidError: it cannot be read, brings no fit key, is not signed by it, or is about another request or time.
    """
    header, claims = _read(proof.text)
    holder = _holder(header, proof.text)
    if claims.htm != proof.method or _address(claims.htu) != _address(proof.url):
        raise InvalidError(f"the proof is not for {proof.method} {proof.url}")
    if proof.token is not None and claims.ath != _digest(proof.token):
        raise InvalidError("the proof is for another token, or for none")
    if abs(now.seconds - claims.iat) > PROOF_SECONDS:
        raise InvalidError(f"the proof was not made within the last {PROOF_SECONDS} s; make one for each request")
    if not 1 <= len(claims.jti) <= 256:
        raise InvalidError("a proof has a jti of 1 to 256 characters")
    return Proven(
        holder=holder,
        jti=claims.jti,
        method=claims.htm,
        address=_address(claims.htu),
        issued_at=claims.iat,
        nonce=claims.nonce,
    )


def _read(text: str) -> tuple[_Header, _Claims]:
    parts = text.split(".")
    if len(text) > _MAX_CHARACTERS or len(parts) != 3:
        raise InvalidError(f"a proof is a JWT of at most {_MAX_CHARACTERS} characters")
    header, payload, _ = map(base64url.decode, parts)
    try:
        found = msgspec.convert(canonical.decode(header), _Header)
        claims = msgspec.convert(canonical.decode(payload), _Claims)
    except msgspec.ValidationError as error:
        raise InvalidError(f"this is no DPoP proof: {error}") from None
    if found.crit is not msgspec.UNSET or found.jwk.d is not msgspec.UNSET:
        raise InvalidError("a proof brings a public key and no extension that has to be understood")
    return found, claims


def _holder(header: _Header, text: str) -> str:
    """The thumbprint of the key that the proof brings, if it is fit, of its algorithm, and signed it."""
    if header.jwk.kty == "OKP" and header.jwk.crv == "Ed25519" and header.alg != "ES256":
        holder = _ed25519_holder(header.jwk, text)
    elif header.jwk.kty == "EC" and header.jwk.crv == "P-256" and header.alg == "ES256":
        holder = _p256_holder(header.jwk, text)
    else:
        raise InvalidError(f"{header.alg} is not what a key of {header.jwk.kty} {header.jwk.crv} signs with")
    if holder is None:
        raise InvalidError("the proof is not signed by the key that it brings")
    return holder


def _ed25519_holder(jwk: _Jwk, text: str) -> str | None:
    # Not through joserfc: it takes weak keys, and warns of the name `EdDSA` that browsers still use.
    key = PublicKey.from_bytes(base64url.decode(jwk.x))
    signing_input, _, signature = text.rpartition(".")
    return key.kid if key.is_signature(base64url.decode(signature), signing_input.encode()) else None


def _p256_holder(jwk: _Jwk, text: str) -> str | None:
    """The coordinates are taken in one spelling each, so that one key has one thumbprint."""
    if jwk.y is None or any(len(base64url.decode(one)) != _COORDINATE_BYTES for one in (jwk.x, jwk.y)):
        raise InvalidError(f"a key of P-256 has two coordinates of {_COORDINATE_BYTES} bytes")
    try:
        key = ECKey.import_key({"kty": "EC", "crv": "P-256", "x": jwk.x, "y": jwk.y})
        jws.deserialize_compact(text, key, algorithms=["ES256"])
    except BadSignatureError:
        return None
    except (JoseError, ValueError):
        raise InvalidError("the key that the proof brings is no point of P-256") from None
    return key.thumbprint()


def _address(url: str) -> str:
    """An address without query and fragment, its scheme and host in small letters, its usual port left out."""
    try:
        # It drops what stands around an address, and tabs within; another reader would not.
        parts = urlsplit(url if url.isascii() and url.isprintable() and " " not in url else "")
        port = parts.port
    except ValueError:
        raise InvalidError("the proof names no address") from None
    shown = "" if port in (None, _DEFAULT_PORTS.get(parts.scheme)) else f":{port}"
    if not parts.hostname or "@" in parts.netloc:
        raise InvalidError("the proof names no address")
    return f"{parts.scheme}://{parts.hostname}{shown}{parts.path or '/'}"


def _digest(token: str) -> str:
    return base64url.encode(hashlib.sha256(token.encode()).digest())


class Nonces:
    """Nonces that a server gives out so that no proof is made in advance. Every process with the key knows them.

    One is good for two to four minutes. It is no secret and counts as often as it likes; the proof counts once.
    """

    def __init__(self, key: bytes) -> None:
        self._key = key

    def make(self, now: Instant) -> str:
        """The nonce of this moment."""
        return self._of(now.seconds // _NONCE_SECONDS)

    def is_valid(self, nonce: str | None, now: Instant) -> bool:
        """Whether it is the nonce of this moment or of the one before."""
        period = now.seconds // _NONCE_SECONDS
        known = (self._of(period), self._of(period - 1))
        return nonce is not None and any(hmac.compare_digest(nonce.encode(), one.encode()) for one in known)

    def _of(self, period: int) -> str:
        return base64url.encode(hmac.digest(self._key, f"leasehold dpop nonce {period}".encode(), "sha256")[:16])
