"""What a passkey signed: a WebAuthn assertion, verified with nothing but the public key (WebAuthn level 3, §7.2).

Called by the desk before an answer or a sign-in counts, and by whoever verifies a receipt offline. An answer's
challenge is made of the request, the card, the verdict and the person, so the passkey signs exactly that (threat cases
74 and 81); there is nothing to replay it on.
"""

from __future__ import annotations

import hashlib
from typing import assert_never
from urllib.parse import urlsplit

import msgspec
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ec import ECDSA, SECP256R1, EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import load_der_public_key

from leasehold.errors import InvalidError, VerificationError
from leasehold.model import canonical
from leasehold.model.glass import Opening
from leasehold.model.ids import RequestId
from leasehold.model.request import Verdict
from leasehold.token import base64url
from leasehold.token.proposal import PolicyStatement

__all__ = [
    "Assertion",
    "answer_challenge",
    "check_passkey_key",
    "opening_challenge",
    "policy_challenge",
    "verify_assertion",
]

_HEADER = b"leasehold passkey answer v1\n"
_POLICY = b"leasehold passkey policy v1\n"
_OPENING = b"leasehold passkey break-glass v1\n"
_HEADER_BYTES = 37
_USER_PRESENT, _USER_VERIFIED, _MAY_BE_BACKED_UP, _BACKED_UP = 0x01, 0x04, 0x08, 0x10
_MIN_RSA_BITS = 2048
_MAX_CLIENT_DATA = 4096


class Assertion(msgspec.Struct, frozen=True, kw_only=True):
    """The three parts of an assertion, as base64url text, and the id of the credential that made it."""

    credential: str
    authenticator_data: str
    client_data: str
    signature: str


def answer_challenge(request_id: RequestId, card_digest: str, verdict: Verdict, person: str) -> bytes:
    """The 32 bytes that a passkey signs for one answer of one person to one card."""
    members = {"card_digest": card_digest, "person": person, "request_id": request_id, "verdict": str(verdict)}
    return hashlib.sha256(_HEADER + canonical.encode(members)).digest()


def policy_challenge(statement: PolicyStatement) -> bytes:
    """The 32 bytes that a passkey signs for a person's word on a policy. Of that only the time is not in it: the page
    makes it before the person speaks."""
    members: dict[str, canonical.Json] = msgspec.to_builtins(statement)
    del members["said_at"]
    return hashlib.sha256(_POLICY + canonical.encode(members)).digest()


def opening_challenge(opening: Opening, person: str) -> bytes:
    """The 32 bytes that a passkey signs for one person's part in opening a break-glass: all of it, and who speaks."""
    members = {"opening": msgspec.to_builtins(opening), "person": person}
    return hashlib.sha256(_OPENING + canonical.encode(members)).digest()


def check_passkey_key(spki: bytes) -> EllipticCurvePublicKey | Ed25519PublicKey | RSAPublicKey:
    """Return the public key of a passkey from its SubjectPublicKeyInfo.

    Raises:
        InvalidError: it is none, or neither P-256, Ed25519 nor RSA of at least 2048 bits.
    """
    try:
        key = load_der_public_key(spki)
    except (ValueError, UnsupportedAlgorithm):
        raise InvalidError("this is no public key") from None
    match key:
        case EllipticCurvePublicKey() if isinstance(key.curve, SECP256R1):
            return key
        case Ed25519PublicKey():
            return key
        case RSAPublicKey() if key.key_size >= _MIN_RSA_BITS:
            return key
        case _:
            raise InvalidError("a passkey has a P-256, Ed25519 or RSA key of at least 2048 bits")


def verify_assertion(assertion: Assertion, public_key: str, challenge: bytes, *, origin: str | None) -> int:
    """Return how often the passkey says it has signed, if this is its signature over the challenge.

    `public_key` is base64url of its SubjectPublicKeyInfo. `origin` is the page on which it was used; None, for whoever
    verifies later, takes the one that the browser wrote down, which the signature covers.

    Raises:
        VerificationError: it is not; the person was not there, or not verified by the authenticator; or it was made for
            another challenge, page or site.
    """
    try:
        client_data, data, signature = (
            base64url.decode(part)
            for part in (assertion.client_data, assertion.authenticator_data, assertion.signature)
        )
        client = canonical.decode(client_data, max_bytes=_MAX_CLIENT_DATA)
        key = check_passkey_key(base64url.decode(public_key))
    except InvalidError as error:
        raise VerificationError(f"this is no assertion of a passkey: {error}") from None
    site = _site_of(client, challenge, origin)
    if len(data) < _HEADER_BYTES or data[:32] != hashlib.sha256(site.encode()).digest():
        raise VerificationError("the passkey was used for another site")
    flags = data[32]
    if not (flags & _USER_PRESENT and flags & _USER_VERIFIED):
        raise VerificationError("the passkey did not verify who used it")
    if flags & _BACKED_UP and not flags & _MAY_BE_BACKED_UP:
        raise VerificationError("the passkey says that it was copied and that it cannot be")
    _check_signature(key, signature, data + hashlib.sha256(client_data).digest())
    return int.from_bytes(data[33:_HEADER_BYTES], "big")


def _site_of(client: canonical.Json, challenge: bytes, origin: str | None) -> str:
    """The host for which a browser says the passkey was used."""
    if not isinstance(client, dict) or client.get("type") != "webauthn.get":
        raise VerificationError("this is not what a browser writes when a passkey is used")
    if client.get("challenge") != base64url.encode(challenge):
        raise VerificationError("the passkey signed something else than this")
    page = client.get("origin")
    if not isinstance(page, str) or client.get("crossOrigin", False) is not False:
        raise VerificationError("the passkey was used inside another site's page")
    if origin is not None and page != origin:
        raise VerificationError(f"the passkey was used on a page of {page}, not of {origin}")
    try:
        return urlsplit(page).hostname or ""
    except ValueError:
        raise VerificationError("the page on which the passkey was used has no address") from None


def _check_signature(
    key: EllipticCurvePublicKey | Ed25519PublicKey | RSAPublicKey, signature: bytes, data: bytes
) -> None:
    try:
        match key:
            case EllipticCurvePublicKey():
                key.verify(signature, data, ECDSA(SHA256()))
            case Ed25519PublicKey():
                key.verify(signature, data)
            case RSAPublicKey():
                key.verify(signature, data, PKCS1v15(), SHA256())
            case _:
                assert_never(key)
    except InvalidSignature:
        raise VerificationError("this is not the passkey's signature") from None
