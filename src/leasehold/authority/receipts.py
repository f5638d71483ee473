"""Receipts and exports from the committed ledger. Called when a run finishes, and by auditors at any time after.

Nothing is kept in between: a receipt is built from entries and proofs that stand in the ledger, and signed.
"""

from __future__ import annotations

from collections.abc import Iterator

from leasehold.authority.engine import Engine
from leasehold.errors import InvalidError
from leasehold.ledger.amendment import LATER_KINDS, build_amendment
from leasehold.ledger.checkpoint import Checkpoint, sign
from leasehold.ledger.checkpoint import parse as parse_checkpoint
from leasehold.ledger.entry import Entry, EntryKind, decode_entry
from leasehold.ledger.export import write_export, write_part
from leasehold.ledger.extract import entries_of_run
from leasehold.ledger.note import NoteKey
from leasehold.ledger.note import parse as parse_note
from leasehold.ledger.receipt import build_receipt, sign_statement, verify_receipt
from leasehold.ledger.tree import Frontier, consistency_proof, inclusion_proof
from leasehold.model.run import Run
from leasehold.store.protocol import TreeHead
from leasehold.store.queries import MAX_LISTED
from leasehold.token.keys import KeyRing, SigningKey

__all__ = ["Receipts", "checkpoint_keys", "sign_head"]


def checkpoint_keys(origin: str, ring: KeyRing) -> tuple[NoteKey, ...]:
    """The note keys by which an authority's checkpoints are verified."""
    return tuple(NoteKey(name=origin, public_key=key.public().public) for key in ring.keys)


def sign_head(origin: str, signer: SigningKey, head: TreeHead) -> bytes:
    """The signed checkpoint of a tree head."""
    checkpoint = Checkpoint(origin=origin, size=head.size, root=head.root)
    return sign(checkpoint, NoteKey(name=origin, public_key=signer.public().public), signer).encode()


class Receipts:
    """Signed accounts of runs, and the ledger for auditors. Threads may share it."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def head(self) -> bytes:
        """The signed checkpoint of everything that is committed now, as a C2SP note."""
        identity = self._engine.identity
        return sign_head(identity.issuer, identity.checkpoint_ring.signer(), self.tree_head())

    def tree_head(self) -> TreeHead:
        """Epoch, size and root of everything that is committed now."""
        control = self._engine.store.queries.control()
        frontier = Frontier.from_bytes(control.frontier)
        return TreeHead(epoch=control.epoch, size=frontier.size, root=frontier.root())

    def export(self) -> Iterator[bytes]:
        """The whole ledger, line by line, for `leasehold ledger verify`."""
        note = self.head()
        return write_export(self._bodies(0, _size_of(note)), note)

    def export_run(self, run: Run) -> Iterator[bytes]:
        """The entries of one run and of all under it, each with its proof."""
        note = self.head()
        entries, proofs = self._evidence(run, _size_of(note))
        return write_part(entries, proofs, note)

    def build(self, run: Run) -> bytes:
        """The signed receipt of a run as of now, a DSSE envelope around an in-toto statement.

        Of a run that still goes on it says so; calls that are open stand in it as in flight.
        """
        note = self.head()
        entries, proofs = self._evidence(run, _size_of(note))
        return sign_statement(build_receipt(entries, note, proofs), [self._engine.identity.receipt_ring.signer()])

    def amend(self, receipt: bytes) -> bytes:
        """The signed amendment of one of this authority's receipts: how calls ended that it shows as in flight, and
        what guards reported too late.

        Raises:
            InvalidError: nothing was recorded since that would change it.
            VerificationError: it is no receipt of this authority.
        """
        identity, queries = self._engine.identity, self._engine.store.queries
        signer = identity.receipt_ring.signer()
        keys = {key.keyid: key.public().public for key in identity.receipts.keys}
        made = verify_receipt(receipt, keys, checkpoint_keys(identity.issuer, identity.checkpoints))
        note = self.head()
        before, size = made.checkpoint.checkpoint.size, _size_of(note)
        admissions = {entry.admission for entry in made.entries if entry.kind is EntryKind.CALL_ADMITTED}
        later = [
            entry
            for entry in map(decode_entry, self._bodies(before, size))
            if entry.kind in LATER_KINDS and entry.admission in admissions
        ]
        if not later:
            raise InvalidError(f"nothing became known of {made.run} since its receipt was made")
        proofs = [inclusion_proof(queries, entry.index, size) for entry in later]
        growth = consistency_proof(queries, before, size)
        return sign_statement(build_amendment(made, later, note, proofs, growth), [signer])

    def entries(self, run: Run) -> tuple[Entry, ...]:
        """What the ledger has of a run, of every run under it, and of the stops that reached them, oldest first."""
        return self._entries(run, self._engine.store.queries.control().size)

    def _evidence(self, run: Run, size: int) -> tuple[tuple[Entry, ...], list[tuple[bytes, ...]]]:
        entries = self._entries(run, size)
        return entries, [inclusion_proof(self._engine.store.queries, entry.index, size) for entry in entries]

    def _entries(self, run: Run, size: int) -> tuple[Entry, ...]:
        row = self._engine.run_row(run.tenant, run.run_id)
        lines = self._engine.store.queries.telling(run.tenant, run.run_id, row.recorded, size)
        return entries_of_run((decode_entry(line.body) for line in lines), run.tenant, run.run_id)

    def _bodies(self, begin: int, size: int) -> Iterator[bytes]:
        """The canonical bytes of the entries from `begin` up to `size`, read in slices."""
        while begin < size:
            lines = self._engine.store.queries.ledger(begin, min(size, begin + MAX_LISTED))
            yield from (line.body for line in lines)
            begin += len(lines)


def _size_of(checkpoint_note: bytes) -> int:
    return parse_checkpoint(parse_note(checkpoint_note).text).size
