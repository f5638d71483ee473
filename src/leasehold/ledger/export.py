"""Exports of the ledger: files that an auditor verifies with the log's public key and nothing else.

A whole export (`*.ledger.jsonl`) is JSON Lines: a header with the signed checkpoint, then a line for each entry with
its index, its exact canonical bytes as text, and its leaf hash, which makes the first damaged line locatable. A part
holds chosen entries, each with its inclusion proof instead. There is one spelling of every line, so no byte is free.
Written by the authority, read by `leasehold ledger verify`, crash tests and the history checker.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice

import msgspec

from leasehold.errors import InvalidError, VerificationError
from leasehold.ledger import note
from leasehold.ledger.checkpoint import Checkpoint, SignedCheckpoint, open_checkpoint, parse
from leasehold.ledger.detail import number
from leasehold.ledger.entry import Entry, EntryKind, decode_entry, encode_entry
from leasehold.ledger.note import NoteKey
from leasehold.ledger.signing import decode_base64, encode_base64
from leasehold.ledger.tree import Frontier, TreeBuilder, leaf_hash, verify_inclusion
from leasehold.model import canonical
from leasehold.model.canonical import Json

__all__ = [
    "MAX_LINE_BYTES",
    "PART_FORMAT",
    "WHOLE_FORMAT",
    "VerifiedLedger",
    "VerifiedPart",
    "verify_export",
    "verify_part",
    "write_export",
    "write_part",
]

WHOLE_FORMAT = "leasehold-ledger/1"
PART_FORMAT = "leasehold-ledger-part/1"
MAX_LINE_BYTES = 8_388_608


class VerifiedLedger(msgspec.Struct, frozen=True, kw_only=True):
    """Every entry of a log up to a checkpoint that its key signed. Only `verify_export` makes it.

    Attributes:
        entries: in order; the index of each is its position.
        checkpoint: what was signed, and by whom.
    """

    entries: tuple[Entry, ...]
    checkpoint: SignedCheckpoint


class VerifiedPart(msgspec.Struct, frozen=True, kw_only=True):
    """Some entries of a log, each proven to be in it; that none is missing between them is not proven.

    Attributes:
        entries: in the order of their indexes.
        checkpoint: what was signed, and by whom.
    """

    entries: tuple[Entry, ...]
    checkpoint: SignedCheckpoint


def write_export(bodies: Iterable[bytes], checkpoint_note: bytes) -> Iterator[bytes]:
    """Yield the lines of a whole export, each with its newline.

    Args:
        bodies: the canonical bytes of all entries from index 0 on; those behind the checkpoint are left out.
        checkpoint_note: the signed checkpoint.

    Raises:
        InvalidError: there are fewer entries than the checkpoint counts.
        VerificationError: the note holds no checkpoint.
    """
    size = parse(note.parse(checkpoint_note).text).size
    yield _line(_header(WHOLE_FORMAT, checkpoint_note.decode(), size))
    written = 0
    for body in islice(bodies, size):
        yield _line(_whole_members(written, body))
        written += 1
    if written < size:
        raise InvalidError(f"the checkpoint counts {size} entries and the ledger gave {written}")


def write_part(entries: Sequence[Entry], proofs: Sequence[Sequence[bytes]], checkpoint_note: bytes) -> Iterator[bytes]:
    """Yield the lines of an export of some entries, such as those of one run, each with its newline.

    Args:
        entries: stamped, in the order of their indexes, all below the checkpoint's size.
        proofs: the inclusion proof of each to the checkpoint's root (`tree.inclusion_proof`).
        checkpoint_note: the signed checkpoint.

    Raises:
        InvalidError: there is not one proof for each entry.
    """
    if len(entries) != len(proofs):
        raise InvalidError(f"{len(entries)} entries need as many proofs, not {len(proofs)}")
    yield _line(_header(PART_FORMAT, checkpoint_note.decode(), len(entries)))
    for entry, proof in zip(entries, proofs, strict=True):
        yield _line(_part_members(entry, proof))


def verify_export(
    lines: Iterable[bytes],
    log_keys: Iterable[NoteKey],
    witnesses: Iterable[NoteKey] = (),
    kept: Iterable[Checkpoint] = (),
) -> VerifiedLedger:
    """Return the ledger that a whole export proves.

    An error names the first bad index. Where an entry and its leaf hash were altered together, no entry can be singled
    out: the index is then that of the newest kept checkpoint that still agrees, the first place where it can be.

    Args:
        lines: the lines of the file, with their newlines.
        log_keys: the keys trusted to sign checkpoints, each for the log of its name.
        witnesses: the keys trusted to cosign.
        kept: older checkpoints of the same log that were kept elsewhere; the export must extend each (invariant I9).

    Raises:
        VerificationError: the export is damaged, altered, cut, of another log, or of another history.
    """
    reader = iter(lines)
    signed, count = _open_header(reader, WHOLE_FORMAT, log_keys, witnesses)
    size = signed.checkpoint.size
    if count != size:
        raise VerificationError(f"the header counts {count} entries and its checkpoint {size}")
    marks = _marks(signed.checkpoint, kept)
    entries: list[Entry] = []
    tree = TreeBuilder(Frontier())
    agreed = _compare(tree, marks, 0, 0)
    earliest_ms = 0
    for index, line in enumerate(reader):
        if index >= size:
            raise VerificationError(f"the export goes on behind its {size} entries", index=index)
        entry = _read_whole_line(line, index)
        if entry.time_ms < earliest_ms:
            raise VerificationError(f"entry {index} is recorded as earlier than the one before it", index=index)
        earliest_ms = _earliest_next(entry)
        entries.append(entry)
        tree.append(leaf_hash(encode_entry(entry)))
        agreed = _compare(tree, marks, index + 1, agreed)
    if len(entries) < size:
        raise VerificationError(f"the export ends after {len(entries)} of {size} entries", index=len(entries))
    return VerifiedLedger(entries=tuple(entries), checkpoint=signed)


def verify_part(lines: Iterable[bytes], log_keys: Iterable[NoteKey], witnesses: Iterable[NoteKey] = ()) -> VerifiedPart:
    """Return the entries that an export of some of them proves. See `verify_export`.

    Raises:
        VerificationError: the export is damaged, altered or cut, or an entry is not in the log.
    """
    reader = iter(lines)
    signed, count = _open_header(reader, PART_FORMAT, log_keys, witnesses)
    entries: list[Entry] = []
    for line in reader:
        entry, proof = _read_part_line(line)
        if entries and entry.index <= entries[-1].index:
            raise VerificationError(f"entry {entry.index} stands behind {entries[-1].index}", index=entry.index)
        head = signed.checkpoint
        verify_inclusion(leaf_hash(encode_entry(entry)), entry.index, head.size, proof, head.root)
        entries.append(entry)
    if len(entries) != count:
        raise VerificationError(f"the export ends after {len(entries)} of {count} entries")
    return VerifiedPart(entries=tuple(entries), checkpoint=signed)


def _header(kind: str, checkpoint_note: str, count: int) -> dict[str, object]:
    return {"checkpoint": checkpoint_note, "count": count, "format": kind}


def _whole_members(index: int, body: bytes) -> dict[str, object]:
    return {"body": body.decode(), "index": index, "leaf": encode_base64(leaf_hash(body))}


def _part_members(entry: Entry, proof: Sequence[bytes]) -> dict[str, object]:
    path = [encode_base64(value) for value in proof]
    return {"body": encode_entry(entry).decode(), "index": entry.index, "proof": path}


def _line(members: dict[str, object]) -> bytes:
    return canonical.encode(members, max_bytes=MAX_LINE_BYTES) + b"\n"


def _spells(line: bytes, members: dict[str, object]) -> bool:
    """Whether a line is the one spelling of these members, of which it has at least the body."""
    return canonical.encode(members, max_bytes=2 * MAX_LINE_BYTES) + b"\n" == line


def _read_members(line: bytes, index: int | None = None) -> Mapping[str, Json]:
    try:
        value = canonical.decode(line, max_bytes=MAX_LINE_BYTES + 1)
    except InvalidError as error:
        raise VerificationError(f"a line of this export cannot be read: {error}", index=index) from None
    return value if isinstance(value, dict) else {}


def _open_header(
    reader: Iterator[bytes], kind: str, log_keys: Iterable[NoteKey], witnesses: Iterable[NoteKey]
) -> tuple[SignedCheckpoint, int]:
    """The checkpoint and the count of a header line, which must be the one that they make."""
    line = next(reader, b"{}")
    match _read_members(line):
        case {"checkpoint": str(text), "count": int(count), "format": str(found)}:
            if found != kind:
                raise VerificationError(f"this is an export of the format {found!r}, not {kind!r}")
            if not _spells(line, _header(kind, text, int(count))):
                raise VerificationError("the header of this export is not in its one spelling")
            return open_checkpoint(text.encode(), log_keys, witnesses), count
    raise VerificationError("this is no export of a ledger: its first line is not a header")


def _read_whole_line(line: bytes, index: int) -> Entry:
    match _read_members(line, index):
        case {"body": str(text)}:
            entry = _read_entry(text, index)
            if entry.index != index:
                raise VerificationError(f"entry {entry.index} stands in place {index}", index=index)
            if not _spells(line, _whole_members(index, text.encode())):
                raise VerificationError(f"entry {index} or the hash beside it was altered", index=index)
            return entry
    raise VerificationError(f"line {index} of this export holds no entry", index=index)


def _read_part_line(line: bytes) -> tuple[Entry, tuple[bytes, ...]]:
    match _read_members(line):
        case {"body": str(text), "proof": [*path]}:
            entry = _read_entry(text, None)
            proof = tuple(decode_base64(step) for step in path if isinstance(step, str))
            if not _spells(line, _part_members(entry, proof)):
                raise VerificationError(f"the line of entry {entry.index} was altered", index=entry.index)
            return entry, proof
    raise VerificationError("a line of this export holds no entry and proof")


def _read_entry(text: str, index: int | None) -> Entry:
    try:
        return decode_entry(text.encode())
    except VerificationError as error:
        place = "an entry" if index is None else f"entry {index}"
        raise VerificationError(f"{place} cannot be read: {error}", index=index) from None


def _earliest_next(entry: Entry) -> int:
    """The earliest time (Unix milliseconds) of the next entry: only an operator's word turns the clock back."""
    if entry.kind is EntryKind.CLOCK_CONFIRMED:
        return min(entry.time_ms, number(entry, "confirmed_ms"))
    return entry.time_ms


def _marks(head: Checkpoint, kept: Iterable[Checkpoint]) -> dict[int, list[bytes]]:
    """The roots that the tree must have, by size: the head's and those of the kept checkpoints."""
    marks = {head.size: [head.root]}
    for older in kept:
        if older.origin != head.origin:
            raise VerificationError(f"a kept checkpoint is of the log {older.origin!r}, the export of {head.origin!r}")
        if older.size > head.size:
            raise VerificationError(
                f"a kept checkpoint counts {older.size} entries and the export {head.size}: it was rolled back or cut",
                index=head.size,
            )
        marks.setdefault(older.size, []).append(older.root)
    return marks


def _compare(tree: TreeBuilder, marks: Mapping[int, list[bytes]], size: int, agreed: int) -> int:
    """Check the roots that are known for the tree's size; return the newest size at which all agreed so far.

    Raises:
        VerificationError: one differs.
    """
    if size not in marks:
        return agreed
    root = tree.frontier().root()
    if any(known != root for known in marks[size]):
        raise VerificationError(
            f"an entry from {agreed} on was altered together with its hash: the first {size} entries do not have the "
            "root that was signed",
            index=agreed,
        )
    return size
