"""Amendments: signed statements about what became known of a run after its receipt was made.

A call that was in flight has ended, or a guard came back with late evidence. An amendment names the receipt by digest,
carries the later entries with proofs, and shows that the ledger which holds them extends the one of the receipt.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from hashlib import sha256

import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from leasehold.errors import InvalidError, VerificationError
from leasehold.ledger.call_record import call_records
from leasehold.ledger.checkpoint import SignedCheckpoint, verify_extends
from leasehold.ledger.entry import Entry, EntryKind
from leasehold.ledger.evidence import Evidence, parse_evidence, verify_evidence
from leasehold.ledger.note import NoteKey
from leasehold.ledger.receipt import (
    MAX_RECEIPT_BYTES,
    STATEMENT_TYPE,
    VerifiedReceipt,
    open_statement,
    subject,
)
from leasehold.ledger.shown import shown_text
from leasehold.ledger.signing import decode_base64, encode_base64
from leasehold.model import canonical
from leasehold.model.canonical import Json

__all__ = ["AMENDMENT_TYPE", "LATER_KINDS", "VerifiedAmendment", "build_amendment", "verify_amendment"]

AMENDMENT_TYPE = "urn:leasehold:receipt-amendment:1"
LATER_KINDS = (EntryKind.CALL_SETTLED, EntryKind.CALL_UNKNOWN, EntryKind.CALL_LATE)


class VerifiedAmendment(msgspec.Struct, frozen=True, kw_only=True):
    """An amendment that was checked against its receipt. Only `verify_amendment` makes it.

    Attributes:
        digest: the SHA-256 of the signed statement, in hex.
        predicate: the calls as they stand now, and the evidence.
        entries: what was recorded after the receipt.
        checkpoint: the ledger's head when the amendment was made.
    """

    digest: str
    predicate: Mapping[str, Json]
    entries: tuple[Entry, ...]
    checkpoint: SignedCheckpoint


def build_amendment(
    receipt: VerifiedReceipt,
    entries: Sequence[Entry],
    checkpoint_note: bytes,
    proofs: Sequence[Sequence[bytes]],
    growth: Sequence[bytes],
) -> bytes:
    """Return the statement to be signed (`receipt.sign_statement`), as canonical JSON.

    Args:
        receipt: what it amends.
        entries: the later entries about calls of the receipt (`LATER_KINDS`), since its checkpoint.
        checkpoint_note: the signed checkpoint that the proofs lead to.
        proofs: for each entry its inclusion proof.
        growth: the consistency proof from the receipt's checkpoint to this one.

    Raises:
        InvalidError: the entries and proofs do not belong together, or make too long a statement.
        VerificationError: the entries do not follow those of the receipt.
    """
    evidence = Evidence(
        checkpoint_note=checkpoint_note, entries=tuple(entries), proofs=tuple(tuple(proof) for proof in proofs)
    )
    return canonical.encode(_statement(receipt, evidence, growth), max_bytes=MAX_RECEIPT_BYTES)


def verify_amendment(
    envelope: bytes,
    receipt: VerifiedReceipt,
    receipt_keys: Mapping[str, Ed25519PublicKey],
    log_keys: Iterable[NoteKey],
    witnesses: Iterable[NoteKey] = (),
) -> VerifiedAmendment:
    """Return an amendment of a receipt once everything in it is seen to hold. See `receipt.verify_receipt`.

    Raises:
        VerificationError: it amends another receipt, its ledger does not extend the receipt's, or it says something
            else than its entries.
    """
    payload, predicate = open_statement(envelope, receipt_keys, AMENDMENT_TYPE)
    evidence = parse_evidence(predicate.get("ledger"))
    checkpoint = verify_evidence(evidence, log_keys, witnesses)
    growth = _parse_growth(predicate.get("growth"))
    verify_extends(receipt.checkpoint.checkpoint, checkpoint.checkpoint, growth)
    try:
        expected = canonical.encode(_statement(receipt, evidence, growth), max_bytes=MAX_RECEIPT_BYTES)
    except InvalidError as error:
        raise VerificationError(f"the entries of this amendment make no amendment: {error}") from None
    if expected != payload:
        raise VerificationError("the amendment is not of this receipt, or says something else than its entries")
    return VerifiedAmendment(
        digest=sha256(payload).hexdigest(), predicate=predicate, entries=evidence.entries, checkpoint=checkpoint
    )


def _statement(receipt: VerifiedReceipt, evidence: Evidence, growth: Sequence[bytes]) -> dict[str, object]:
    head, first = evidence.head, receipt.entries[0]
    for entry in evidence.entries:
        if entry.kind not in LATER_KINDS or entry.index < receipt.checkpoint.checkpoint.size:
            raise VerificationError(f"entry {entry.index} ({entry.kind}) amends no receipt", index=entry.index)
        if entry.tenant != first.tenant:
            raise VerificationError(f"entry {entry.index} is of another tenant", index=entry.index)
    records = call_records((*receipt.entries, *evidence.entries))
    amended = dict.fromkeys(entry.admission for entry in evidence.entries)
    return {
        "_type": STATEMENT_TYPE,
        "predicate": {
            "amends": receipt.digest,
            "calls": shown_text([records[admission].to_json() for admission in amended]),
            "growth": [encode_base64(step) for step in growth],
            "ledger": evidence.to_json(),
            "run": receipt.run,
        },
        "predicateType": AMENDMENT_TYPE,
        "subject": [
            subject(f"receipt of {receipt.run}", receipt.digest),
            subject(f"{head.origin} at {head.size}", head.root.hex()),
        ],
    }


def _parse_growth(value: Json) -> tuple[bytes, ...]:
    steps = value if isinstance(value, list) else []
    return tuple(decode_base64(step) for step in steps if isinstance(step, str))
