"""Receipts and exports from the committed ledger. Called when a run finishes, and by auditors at any time after.

Nothing is kept in between: a receipt is built from entries and proofs that stand in the ledger, and signed.
"""

from __future__ import annotations

from collections.abc import Iterator

from leasehold.authority.engine import Engine
from leasehold.ledger.checkpoint import Checkpoint, sign
from leasehold.ledger.checkpoint import parse as parse_checkpoint
from leasehold.ledger.entry import Entry, decode_entry
from leasehold.ledger.export import write_export, write_part
from leasehold.ledger.note import NoteKey
from leasehold.ledger.note import parse as parse_note
from leasehold.ledger.tree import Frontier, inclusion_proof
from leasehold.model.run import Run
from leasehold.store.protocol import TreeHead
from leasehold.store.queries import MAX_LISTED, LedgerQuery
from leasehold.token.keys import KeyRing

__all__ = ["Receipts", "checkpoint_keys", "sign_head"]


def checkpoint_keys(origin: str, ring: KeyRing) -> tuple[NoteKey, ...]:
    """The note keys by which an authority's checkpoints are verified."""
    return tuple(NoteKey(name=origin, public_key=key.public().public) for key in ring.keys)


def sign_head(origin: str, ring: KeyRing, head: TreeHead) -> bytes:
    """The signed checkpoint of a tree head."""
    newest = ring.newest
    checkpoint = Checkpoint(origin=origin, size=head.size, root=head.root)
    return sign(checkpoint, NoteKey(name=origin, public_key=newest.public().public), newest).encode()


class Receipts:
    """Signed accounts of runs, and the ledger for auditors. Threads may share it."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def head(self) -> bytes:
        """The signed checkpoint of everything that is committed now, as a C2SP note."""
        return sign_head(self._engine.identity.issuer, self._engine.identity.checkpoints, self.tree_head())

    def tree_head(self) -> TreeHead:
        """Epoch, size and root of everything that is committed now."""
        control = self._engine.store.queries.control()
        frontier = Frontier.from_bytes(control.frontier)
        return TreeHead(epoch=control.epoch, size=frontier.size, root=frontier.root())

    def export(self) -> Iterator[bytes]:
        """The whole ledger, line by line, for `leasehold ledger verify`."""
        return write_export(self._bodies(), self.head())

    def export_run(self, run: Run) -> Iterator[bytes]:
        """The entries of one run and of all under it, each with its proof."""
        note = self.head()
        size = parse_checkpoint(parse_note(note).text).size
        entries = self.entries(run)
        proofs = [inclusion_proof(self._engine.store.queries, entry.index, size) for entry in entries]
        return write_part(entries, proofs, note)

    def entries(self, run: Run) -> list[Entry]:
        """What the ledger has of a run and of every run under it, oldest first."""
        found = {entry.index: entry for run_id in self._tree(run) for entry in self._entries_of(run.tenant, run_id)}
        return [found[index] for index in sorted(found)]

    def _tree(self, run: Run) -> Iterator[str]:
        yield run.run_id
        for child in self._engine.store.queries.children(run.tenant, run.run_id):
            yield from self._tree(self._engine.run(run.tenant, child.run_id))

    def _entries_of(self, tenant: str, run_id: str) -> Iterator[Entry]:
        before = None
        while True:
            query = LedgerQuery(tenants=[tenant], run=run_id, before=before, limit=MAX_LISTED)
            lines = self._engine.store.queries.search(query)
            for line in lines:
                yield decode_entry(line.body)
            if len(lines) < MAX_LISTED:
                return
            before = lines[-1].index

    def _bodies(self) -> Iterator[bytes]:
        begin = 0
        while lines := self._engine.store.queries.ledger(begin, begin + MAX_LISTED):
            yield from (line.body for line in lines)
            begin += len(lines)
