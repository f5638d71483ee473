"""The public keys of an authority in one file, `authority.pub`: all that an auditor needs, and nothing secret.

Written by `keys export`; read by everything that verifies offline. The trust in it comes from how it was handed over.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from leasehold.authority.engine import Identity
from leasehold.authority.receipts import checkpoint_keys
from leasehold.errors import InvalidError
from leasehold.ledger.note import NoteKey, parse_key
from leasehold.model import canonical
from leasehold.token.jwk import public_jwks, read_public_jwks
from leasehold.token.keys import DocumentType, PublicKeys

__all__ = ["PublicKeyFile", "public_keys_of", "read_public_keys", "write_public_keys"]

_FORMAT = "leasehold-public-keys/1"


class PublicKeyFile(msgspec.Struct, frozen=True, kw_only=True):
    """Who an authority is, and the keys that verify what it signs.

    Attributes:
        issuer: its id, as lease tokens name it.
        leases: the keys of lease tokens.
        receipts: the keys of receipts.
        log: the note keys of the ledger's checkpoints.
    """

    issuer: str
    leases: PublicKeys
    receipts: PublicKeys
    log: tuple[NoteKey, ...]

    def receipt_keys(self) -> Mapping[str, Ed25519PublicKey]:
        """The keys of receipts by keyid, as envelopes name them."""
        return {kid: key.public for kid, key in self.receipts.keys.items()}


def public_keys_of(identity: Identity) -> PublicKeyFile:
    """The public halves of an authority's keys."""
    return PublicKeyFile(
        issuer=identity.issuer,
        leases=identity.leases.public(),
        receipts=identity.receipts.public(),
        log=checkpoint_keys(identity.issuer, identity.checkpoints),
    )


def write_public_keys(keys: PublicKeyFile) -> bytes:
    """The file's bytes: canonical JSON with two JWK sets (RFC 7517) and the log's verifier keys (C2SP signed-note)."""
    members = {
        "format": _FORMAT,
        "issuer": keys.issuer,
        "lease": canonical.decode(public_jwks(keys.leases).encode()),
        "log": [key.line() for key in keys.log],
        "receipt": canonical.decode(public_jwks(keys.receipts).encode()),
    }
    return canonical.encode(members) + b"\n"


def read_public_keys(data: bytes) -> PublicKeyFile:
    """Return the keys of a file that `write_public_keys` wrote.

    Raises:
        InvalidError: it is none, or a key in it is unfit.
    """
    match canonical.decode(data):
        case {
            "format": "leasehold-public-keys/1",
            "issuer": str(issuer),
            "lease": leases,
            "log": [*lines],
            "receipt": receipts,
            **rest,
        } if not rest:
            return PublicKeyFile(
                issuer=issuer,
                leases=_read_set(leases, DocumentType.LEASE),
                receipts=_read_set(receipts, DocumentType.RECEIPT),
                log=tuple(_read_lines(lines)),
            )
    raise InvalidError("this is no file of public keys; make one with: leasehold keys export")


def _read_set(value: canonical.Json, document_type: DocumentType) -> PublicKeys:
    return read_public_jwks(canonical.encode(value), document_type)


def _read_lines(lines: Iterable[canonical.Json]) -> Iterable[NoteKey]:
    return (parse_key(str(line)) for line in lines)
