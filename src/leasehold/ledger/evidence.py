"""Entries of one log with the proof that each is in it: what receipts and their amendments carry.

An entry is carried as its exact canonical bytes, the head as the signed checkpoint itself; whoever holds the log's
public key can check both. That no entry was left out is not proven here: see `receipt.check_complete`.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import pairwise

import msgspec

from leasehold.errors import InvalidError, VerificationError
from leasehold.ledger import note
from leasehold.ledger.checkpoint import Checkpoint, SignedCheckpoint, open_checkpoint, parse
from leasehold.ledger.entry import Entry, decode_entry, encode_entry
from leasehold.ledger.note import NoteKey
from leasehold.ledger.signing import decode_base64, encode_base64
from leasehold.ledger.tree import leaf_hash, verify_inclusion
from leasehold.model.canonical import Json

__all__ = ["Evidence", "parse_evidence", "verify_evidence"]


class Evidence(msgspec.Struct, frozen=True, kw_only=True):
    """Entries, in the order of their indexes, with a proof of each and the checkpoint that they are proven against.

    Attributes:
        checkpoint_note: the signed note.
        entries: stamped entries, at least one.
        proofs: for each entry its inclusion proof.

    Raises:
        InvalidError: there is no entry, not one proof for each, or they are out of order.
    """

    checkpoint_note: bytes
    entries: tuple[Entry, ...]
    proofs: tuple[tuple[bytes, ...], ...]

    def __post_init__(self) -> None:
        if not self.entries or len(self.entries) != len(self.proofs):
            raise InvalidError(f"{len(self.entries)} entries come with {len(self.proofs)} proofs")
        indexes = [entry.index for entry in self.entries]
        if any(later <= earlier for earlier, later in pairwise(indexes)):
            raise InvalidError("the entries are not in the order of their indexes")

    @property
    def head(self) -> Checkpoint:
        """The checkpoint in the note, unverified.

        Raises:
            VerificationError: it holds none.
        """
        return parse(note.parse(self.checkpoint_note).text)

    def to_json(self) -> dict[str, object]:
        """Return the member of a document that `parse_evidence` reads."""
        head = self.head
        proven = zip(self.entries, self.proofs, strict=True)
        return {
            "checkpoint": self.checkpoint_note.decode(),
            "entries": [
                {
                    "body": encode_entry(entry).decode(),
                    "index": entry.index,
                    "proof": [encode_base64(step) for step in proof],
                }
                for entry, proof in proven
            ],
            "entryCount": len(self.entries),
            "firstIndex": self.entries[0].index,
            "lastIndex": self.entries[-1].index,
            "origin": head.origin,
            "root": encode_base64(head.root),
            "size": head.size,
        }


def parse_evidence(value: Json) -> Evidence:
    """Return the evidence in a document. Only what cannot be worked out is read; callers compare the whole.

    Raises:
        VerificationError: it is none.
    """
    match value:
        case {"checkpoint": str(text), "entries": [*items]}:
            read = [_parse_entry(item) for item in items]
            entries, proofs = tuple(entry for entry, _ in read), tuple(proof for _, proof in read)
            try:
                return Evidence(checkpoint_note=text.encode(), entries=entries, proofs=proofs)
            except InvalidError as error:
                raise VerificationError(str(error)) from None
    raise VerificationError("this document carries no entries with a checkpoint")


def verify_evidence(
    evidence: Evidence, log_keys: Iterable[NoteKey], witnesses: Iterable[NoteKey] = ()
) -> SignedCheckpoint:
    """Return the checkpoint, once its log is seen to have signed it and each entry to be in that log.

    Raises:
        VerificationError: the checkpoint is not signed by its log, or an entry is not in it; `index` names the first.
    """
    signed = open_checkpoint(evidence.checkpoint_note, log_keys, witnesses)
    head = signed.checkpoint
    for entry, proof in zip(evidence.entries, evidence.proofs, strict=True):
        verify_inclusion(leaf_hash(encode_entry(entry)), entry.index, head.size, proof, head.root)
    return signed


def _parse_entry(value: Json) -> tuple[Entry, tuple[bytes, ...]]:
    match value:
        case {"body": str(body), "proof": [*path]}:
            proof = tuple(decode_base64(step) for step in path if isinstance(step, str))
            return decode_entry(body.encode()), proof
    raise VerificationError("an entry of this document is not a body with its proof")
