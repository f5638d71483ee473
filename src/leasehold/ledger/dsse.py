"""DSSE envelopes (Dead Simple Signing Envelope, protocol 1.0): how receipts are signed.

Receipts are wrapped and opened with this. The payload is signed as the bytes it is, bound to its type; an envelope
names the keys that signed but never brings one. The reader is stricter than the protocol: no unknown members, every
signature names its key, standard base64 only, and a false signature in a trusted key's name refuses the envelope.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from leasehold.errors import InvalidError, VerificationError
from leasehold.ledger.signing import Signer, decode_base64, encode_base64, is_signature
from leasehold.model import canonical
from leasehold.model.canonical import Json

__all__ = ["MAX_SIGNATURES", "Envelope", "EnvelopeSignature", "encode_to_sign", "parse", "sign", "verify"]

MAX_SIGNATURES = 64


class EnvelopeSignature(msgspec.Struct, frozen=True, kw_only=True):
    """One signature and the name of the key that is said to have made it."""

    keyid: str
    signature: bytes


class Envelope(msgspec.Struct, frozen=True, kw_only=True):
    """A payload, its type and signatures. Nothing about it is proven: see `verify`.

    Attributes:
        payload_type: what the payload is, as a media type.
        payload: the signed bytes.
        signatures: at least one, each of another key.

    Raises:
        InvalidError: no envelope can hold these.
    """

    payload_type: str
    payload: bytes
    signatures: tuple[EnvelopeSignature, ...]

    def __post_init__(self) -> None:
        if not self.payload_type:
            raise InvalidError("the payload of an envelope has a type")
        if not 1 <= len(self.signatures) <= MAX_SIGNATURES:
            raise InvalidError(f"an envelope has 1 to {MAX_SIGNATURES} signatures, not {len(self.signatures)}")
        keyids = {signature.keyid for signature in self.signatures}
        if len(keyids) != len(self.signatures) or "" in keyids:
            raise InvalidError("each signature of an envelope names its key, and no key signs twice")

    def encode(self, *, max_bytes: int = canonical.MAX_BYTES) -> bytes:
        """Return the envelope as JSON.

        Raises:
            InvalidError: it would take more than `max_bytes`.
        """
        return canonical.encode(
            {
                "payload": encode_base64(self.payload),
                "payloadType": self.payload_type,
                "signatures": [
                    {"keyid": signature.keyid, "sig": encode_base64(signature.signature)}
                    for signature in self.signatures
                ],
            },
            max_bytes=max_bytes,
        )


def encode_to_sign(payload_type: str, payload: bytes) -> bytes:
    """Return the bytes that signatures cover: the protocol's PAE, in which each part is preceded by its length."""
    kind = payload_type.encode()
    return b"DSSEv1 %d %b %d %b" % (len(kind), kind, len(payload), payload)


def sign(payload: bytes, payload_type: str, signers: Iterable[Signer]) -> Envelope:
    """Return the payload in an envelope with one signature of each signer.

    Raises:
        InvalidError: there is no signer, or two with one keyid.
    """
    message = encode_to_sign(payload_type, payload)
    signatures = tuple(EnvelopeSignature(keyid=signer.keyid, signature=signer.sign(message)) for signer in signers)
    return Envelope(payload_type=payload_type, payload=payload, signatures=signatures)


def parse(data: bytes, *, max_bytes: int = canonical.MAX_BYTES) -> Envelope:
    """Return the envelope that these bytes spell, unverified.

    Raises:
        VerificationError: they are no envelope, could be read in two ways, or are more than `max_bytes`.
    """
    try:
        value = canonical.decode(data, max_bytes=max_bytes)
        match value:
            case {"payload": str(payload), "payloadType": str(kind), "signatures": [*signatures], **rest} if not rest:
                return Envelope(
                    payload_type=kind,
                    payload=decode_base64(payload),
                    signatures=tuple(_parse_signature(signature) for signature in signatures),
                )
    except InvalidError as error:
        raise VerificationError(f"this is not a DSSE envelope: {error}") from None
    raise VerificationError("a DSSE envelope has the members payload, payloadType and signatures, and no others")


def verify(
    data: bytes,
    trusted_keys: Mapping[str, Ed25519PublicKey],
    payload_type: str,
    threshold: int = 1,
    *,
    max_bytes: int = canonical.MAX_BYTES,
) -> bytes:
    """Return the payload of an envelope that enough trusted keys have signed.

    Args:
        data: the envelope as JSON.
        trusted_keys: by keyid, the only keys that count. Signatures by others are passed over.
        payload_type: what the payload must be.
        threshold: how many different keys must have signed; a key listed under two keyids counts once.
        max_bytes: how long the envelope may be.

    Raises:
        VerificationError: it is no envelope, of another type, a signature in a trusted key's name is false, or too few
            trusted keys signed it.
        InvalidError: the threshold is below one.
    """
    if threshold < 1:
        raise InvalidError(f"a threshold of {threshold} would accept an envelope that nobody signed")
    envelope = parse(data, max_bytes=max_bytes)
    if envelope.payload_type != payload_type:
        raise VerificationError(f"this envelope holds {envelope.payload_type!r}, not {payload_type!r}")
    message = encode_to_sign(envelope.payload_type, envelope.payload)
    signed_by = set()
    for signature in envelope.signatures:
        key = trusted_keys.get(signature.keyid)
        if key is None:
            continue
        if not is_signature(signature.signature, message, key):
            raise VerificationError(f"the signature of key {signature.keyid!r} does not verify: something was altered")
        signed_by.add(key.public_bytes_raw())
    if len(signed_by) < threshold:
        raise VerificationError(
            f"{len(signed_by)} of the trusted keys signed this envelope and {threshold} must; check which are trusted"
        )
    return envelope.payload


def _parse_signature(value: Json) -> EnvelopeSignature:
    match value:
        case {"keyid": str(keyid), "sig": str(encoded), **rest} if not rest:
            return EnvelopeSignature(keyid=keyid, signature=decode_base64(encoded))
    raise VerificationError("a signature of an envelope has the members keyid and sig, and no others")
