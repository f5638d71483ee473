"""Checkpoints (C2SP tlog-checkpoint): a log's signed word on how large it is and what it holds.

The store signs one after commits; each is also kept outside the database and offered to witnesses. Offline verification
and witnesses open them and compare: a newer checkpoint must extend every older one.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

import msgspec

from leasehold.errors import InvalidError, VerificationError
from leasehold.ledger import note
from leasehold.ledger.note import Endorsement, Note, NoteKey
from leasehold.ledger.signing import Signer, decode_base64, encode_base64
from leasehold.ledger.tree import EMPTY_ROOT, HASH_SIZE, MAX_SIZE, verify_consistency

__all__ = [
    "Checkpoint",
    "SignedCheckpoint",
    "contradicts",
    "open_checkpoint",
    "parse",
    "sign",
    "verify_extends",
]

_SIZE = re.compile(r"0|[1-9][0-9]{0,18}")


class Checkpoint(msgspec.Struct, frozen=True, kw_only=True):
    """The head of one log: unsigned, or taken out of a note that was verified.

    Attributes:
        origin: which log; one line, the same for all its life.
        size: how many entries it holds, 0 to 2**63 - 1.
        root: the 32-byte root hash over them.
        extensions: further lines, which Leasehold neither writes nor reads but keeps, since they are signed too.

    Raises:
        InvalidError: no checkpoint can say this.
    """

    origin: str
    size: int
    root: bytes
    extensions: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not all(note.is_line(line) for line in (self.origin, *self.extensions)):
            raise InvalidError("the origin and the extensions of a checkpoint are lines of text that are not empty")
        if not 0 <= self.size <= MAX_SIZE:
            raise InvalidError(f"a log cannot hold {self.size} entries")
        if len(self.root) != HASH_SIZE or (self.size == 0 and self.root != EMPTY_ROOT):
            raise InvalidError(f"this cannot be the root hash of a log of {self.size} entries")

    def text(self) -> str:
        """Return the text that is signed: one line each, the size in decimal, the root in base64."""
        return "\n".join((self.origin, str(self.size), encode_base64(self.root), *self.extensions, ""))


class SignedCheckpoint(msgspec.Struct, frozen=True, kw_only=True):
    """A checkpoint that its log has signed. Only `open_checkpoint` makes it.

    Attributes:
        checkpoint: what was signed.
        signed_by: the trusted keys of the log that signed it, at least one.
        cosigned_by: the trusted witnesses that signed it, with their times; how many are enough is for the caller.
    """

    checkpoint: Checkpoint
    signed_by: tuple[NoteKey, ...]
    cosigned_by: tuple[Endorsement, ...]


def parse(text: str) -> Checkpoint:
    """Return the checkpoint that the text of a note spells. There is one spelling: `parse(text).text() == text`.

    Raises:
        VerificationError: it is not the text of a checkpoint.
    """
    lines = text.split("\n")
    if len(lines) < 4 or lines[-1]:
        raise VerificationError("a checkpoint is at least three lines, each ending with a newline")
    origin, size, root, *extensions = lines[:-1]
    if not _SIZE.fullmatch(size):
        raise VerificationError("the second line of a checkpoint is a size: decimal digits without leading zeros")
    try:
        return Checkpoint(origin=origin, size=int(size), root=decode_base64(root), extensions=tuple(extensions))
    except InvalidError as error:
        raise VerificationError(f"this is not a checkpoint: {error}") from None


def sign(checkpoint: Checkpoint, key: NoteKey, signer: Signer) -> Note:
    """Return the checkpoint as a note signed by its log. The key's name is the log's origin.

    Raises:
        InvalidError: the key is not one of this log, or `signer` is not its private half.
    """
    if key.name != checkpoint.origin:
        raise InvalidError(f"the key {key.name!r} does not sign for the log {checkpoint.origin!r}")
    text = checkpoint.text()
    return Note(text=text, signatures=(note.sign(text, key, signer),))


def open_checkpoint(data: bytes, log_keys: Iterable[NoteKey], witnesses: Iterable[NoteKey] = ()) -> SignedCheckpoint:
    """Return the checkpoint in a signed note, with who vouches for it.

    Args:
        data: the note.
        log_keys: the keys trusted to sign for their logs; each only for the log whose origin is its name.
        witnesses: the keys trusted to cosign. Without the log's own signature theirs count for nothing.

    Raises:
        VerificationError: it is no checkpoint, not signed by its log, or a signature in a trusted key's name is false.
        InvalidError: two of the keys have the same name and id.
    """
    log_keys = tuple(log_keys)
    verified = note.verify(note.parse(data), (*log_keys, *witnesses))
    checkpoint = parse(verified.text)
    by_log = [endorsement for endorsement in verified.endorsements if endorsement.key in log_keys]
    signed_by = tuple(endorsement.key for endorsement in by_log if endorsement.key.name == checkpoint.origin)
    if not signed_by:
        raise VerificationError(f"no trusted key of the log {checkpoint.origin!r} has signed this checkpoint")
    cosigned_by = tuple(endorsement for endorsement in verified.endorsements if endorsement not in by_log)
    return SignedCheckpoint(checkpoint=checkpoint, signed_by=signed_by, cosigned_by=cosigned_by)


def verify_extends(older: Checkpoint, newer: Checkpoint, proof: Sequence[bytes]) -> None:
    """Check that `newer` holds everything that `older` holds, in the same places, and possibly more behind it.

    Raises:
        VerificationError: it does not: another log, a smaller one (rolled back), or another history.
    """
    if older.origin != newer.origin:
        raise VerificationError(f"a checkpoint of {newer.origin!r} cannot extend one of {older.origin!r}")
    if newer.size < older.size:
        raise VerificationError(
            f"the log {older.origin!r} had {older.size} entries and now claims {newer.size}: it was rolled back or cut",
            index=newer.size,
        )
    verify_consistency(older.size, older.root, newer.size, newer.root, proof)


def contradicts(one: Checkpoint, other: Checkpoint) -> bool:
    """Whether the two cannot both be honest: one log, one size, two roots. Signed, such a pair proves a fork."""
    return (one.origin, one.size) == (other.origin, other.size) and one.root != other.root
