"""Receipts: the signed account of a run, verified offline with two public keys (DESIGN §8, requirement B10).

A receipt is an in-toto Statement v1 in a DSSE envelope. It carries the entries of the run with proofs, and a summary
that follows from them; the verifier works the summary out again, so a receipt cannot say other than its entries. Made
by the authority when a run finishes; read by `leasehold receipt`. What is learned later stands in an amendment.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from hashlib import sha256

import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from leasehold.errors import InvalidError, VerificationError
from leasehold.ledger import dsse
from leasehold.ledger.checkpoint import SignedCheckpoint
from leasehold.ledger.entry import Entry, encode_entry
from leasehold.ledger.evidence import Evidence, parse_evidence, verify_evidence
from leasehold.ledger.export import VerifiedLedger
from leasehold.ledger.extract import entries_of_run
from leasehold.ledger.note import NoteKey
from leasehold.ledger.signing import Signer
from leasehold.ledger.summary import summarise
from leasehold.ledger.tree import Frontier, TreeBuilder, leaf_hash
from leasehold.model import canonical
from leasehold.model.canonical import Json

__all__ = [
    "MAX_RECEIPT_BYTES",
    "PAYLOAD_TYPE",
    "PREDICATE_TYPE",
    "STATEMENT_TYPE",
    "VerifiedReceipt",
    "build_receipt",
    "check_complete",
    "open_statement",
    "sign_statement",
    "subject",
    "verify_receipt",
]

STATEMENT_TYPE = "https://in-toto.io/Statement/v1"
PREDICATE_TYPE = "urn:leasehold:receipt:1"
PAYLOAD_TYPE = "application/vnd.in-toto+json"
MAX_RECEIPT_BYTES = 33_554_432
_MAX_ENVELOPE_BYTES = 2 * MAX_RECEIPT_BYTES


class VerifiedReceipt(msgspec.Struct, frozen=True, kw_only=True):
    """A receipt whose signature, entries and summary were all checked. Only `verify_receipt` makes it.

    Attributes:
        run: the id of the run.
        digest: the SHA-256 of the signed statement, in hex: what an amendment names.
        predicate: the summary and the evidence, as the statement has them.
        entries: the entries of the run, proven to be in the ledger.
        checkpoint: the ledger's head when the receipt was made, and who signed it.
    """

    run: str
    digest: str
    predicate: Mapping[str, Json]
    entries: tuple[Entry, ...]
    checkpoint: SignedCheckpoint


def build_receipt(entries: Sequence[Entry], checkpoint_note: bytes, proofs: Sequence[Sequence[bytes]]) -> bytes:
    """Return the statement to be signed, as canonical JSON.

    Args:
        entries: all that `extract.entries_of_run` finds for the run below the checkpoint's size.
        checkpoint_note: the signed checkpoint that the proofs lead to.
        proofs: for each entry its inclusion proof (`tree.inclusion_proof`).

    Raises:
        InvalidError: the entries and proofs do not belong together, or make more than 32 MiB.
        VerificationError: the entries are not those of one run, or the note holds no checkpoint.
    """
    evidence = Evidence(
        checkpoint_note=checkpoint_note, entries=tuple(entries), proofs=tuple(tuple(proof) for proof in proofs)
    )
    return _encode(_statement(evidence))


def sign_statement(payload: bytes, signers: Iterable[Signer]) -> bytes:
    """Return the envelope of a receipt or an amendment, signed by each of the signers.

    Raises:
        InvalidError: there is no signer, or two with one keyid.
    """
    return dsse.sign(payload, PAYLOAD_TYPE, signers).encode(max_bytes=_MAX_ENVELOPE_BYTES)


def verify_receipt(
    envelope: bytes,
    receipt_keys: Mapping[str, Ed25519PublicKey],
    log_keys: Iterable[NoteKey],
    witnesses: Iterable[NoteKey] = (),
) -> VerifiedReceipt:
    """Return a receipt once everything in it is seen to hold. Keys are never taken from the receipt.

    Args:
        envelope: the receipt.
        receipt_keys: by keyid, the keys trusted to sign receipts.
        log_keys: the keys trusted to sign checkpoints, each for the log of its name.
        witnesses: the keys trusted to cosign.

    Raises:
        VerificationError: a signature is false or missing, an entry is not in the ledger, or the summary is not what
            the entries say.
    """
    payload, predicate = open_statement(envelope, receipt_keys, PREDICATE_TYPE)
    evidence = parse_evidence(predicate.get("ledger"))
    checkpoint = verify_evidence(evidence, log_keys, witnesses)
    expected = _statement(evidence)
    if _encode_known(expected) != payload:
        raise VerificationError(f"the receipt says something else than its entries{_difference(predicate, expected)}")
    return VerifiedReceipt(
        run=evidence.entries[0].run,
        digest=sha256(payload).hexdigest(),
        predicate=predicate,
        entries=evidence.entries,
        checkpoint=checkpoint,
    )


def check_complete(receipt: VerifiedReceipt, ledger: VerifiedLedger) -> None:
    """Check, with a whole export at hand, that a receipt leaves out no entry that told of its run when it was made.

    Raises:
        VerificationError: it does, or they are of two histories; `index` names the first entry that is missing or, as
            far as the receipt knows, another.
    """
    head = receipt.checkpoint.checkpoint
    whole = ledger.checkpoint.checkpoint
    if head.origin != whole.origin or head.size > whole.size:
        raise VerificationError("this export does not reach to the head of the ledger that the receipt names")
    told = ledger.entries[: head.size]
    if _root_of(told) != head.root:
        other = (entry.index for entry in receipt.entries if encode_entry(entry) != encode_entry(told[entry.index]))
        raise VerificationError(
            f"the receipt and the export are of two histories: {head.origin} has signed both, with other entries among "
            f"the first {head.size}. Keep both: they prove it, and only a restore that the export tells of explains it",
            index=min(other, default=None),
        )
    first = receipt.entries[0]
    found = entries_of_run(told, first.tenant, first.run)
    if missing := {entry.index for entry in found} - {entry.index for entry in receipt.entries}:
        index = min(missing)
        raise VerificationError(f"the receipt and the export differ at entry {index}", index=index)


def _root_of(entries: Iterable[Entry]) -> bytes:
    tree = TreeBuilder(Frontier())
    for entry in entries:
        tree.append(leaf_hash(encode_entry(entry)))
    return tree.frontier().root()


def subject(name: str, digest: str) -> dict[str, object]:
    """Return one subject of a statement: what it is about, by SHA-256 in hex."""
    return {"digest": {"sha256": digest}, "name": name}


def open_statement(
    envelope: bytes, receipt_keys: Mapping[str, Ed25519PublicKey], predicate_type: str
) -> tuple[bytes, Mapping[str, Json]]:
    """Return the signed bytes and the predicate of a statement of one type that a trusted key signed.

    Raises:
        VerificationError: no trusted key signed it, or it is no such statement.
    """
    payload = dsse.verify(envelope, receipt_keys, PAYLOAD_TYPE, max_bytes=_MAX_ENVELOPE_BYTES)
    try:
        match canonical.decode(payload, max_bytes=MAX_RECEIPT_BYTES):
            case {
                "_type": "https://in-toto.io/Statement/v1",
                "predicateType": str(found),
                "predicate": dict(predicate),
            }:
                if found != predicate_type:
                    raise VerificationError(f"this is a statement of the type {found!r}, not {predicate_type!r}")
                return payload, predicate
    except InvalidError as error:
        raise VerificationError(f"this statement cannot be read: {error}") from None
    raise VerificationError("this is no in-toto statement")


def _statement(evidence: Evidence) -> dict[str, object]:
    first, head = evidence.entries[0], evidence.head
    if entries_of_run(evidence.entries, first.tenant, first.run) != evidence.entries:
        raise VerificationError("the entries of this receipt are not those of one run")
    return {
        "_type": STATEMENT_TYPE,
        "predicate": {**summarise(evidence.entries), "ledger": evidence.to_json()},
        "predicateType": PREDICATE_TYPE,
        "subject": [
            subject(first.run, sha256(encode_entry(first)).hexdigest()),
            subject(f"{head.origin} at {head.size}", head.root.hex()),
        ],
    }


def _encode(statement: Mapping[str, object]) -> bytes:
    return canonical.encode(statement, max_bytes=MAX_RECEIPT_BYTES)


def _encode_known(statement: Mapping[str, object]) -> bytes:
    """The bytes of a statement that was worked out from somebody's entries."""
    try:
        return _encode(statement)
    except InvalidError as error:
        raise VerificationError(f"the entries of this receipt make no receipt: {error}") from None


def _difference(predicate: Mapping[str, Json], expected: Mapping[str, object]) -> str:
    """Where a predicate first differs from what it should be, in words."""
    known = expected["predicate"]
    members = known if isinstance(known, dict) else {}
    for name in sorted(predicate.keys() | members.keys()):
        if name not in predicate or name not in members or _bytes(predicate[name]) != _bytes(members[name]):
            return f": {name}"
    return ""


def _bytes(value: object) -> bytes:
    return canonical.encode(value, max_bytes=MAX_RECEIPT_BYTES)
