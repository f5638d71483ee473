"""Is a ledger's history possible? Every entry judged against all before it, from the entries alone.

Auditors run it over a verified export (`leasehold ledger verify --history`), crash tests over what survived, the
explorer over each world it reaches. It shares no code with `leasehold.decide`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import msgspec

from leasehold.errors import VerificationError
from leasehold.ledger.checkpoint import Checkpoint
from leasehold.ledger.entry import Entry, encode_entry
from leasehold.ledger.replay import Past
from leasehold.ledger.rules import RULES, Invariant
from leasehold.ledger.tree import NodeTable, frontier_at, leaf_hash

__all__ = ["Invariant", "Violation", "check_checkpoints", "check_history"]


class Violation(msgspec.Struct, frozen=True, kw_only=True):
    """That an entry breaks an invariant.

    Attributes:
        invariant: which.
        index: the ledger index of the entry.
        message: what is wrong with it, for a person.
    """

    invariant: Invariant
    index: int
    message: str

    def __str__(self) -> str:
        return f"{self.invariant} at {self.index}: {self.message}"


def check_history(entries: Iterable[Entry]) -> list[Violation]:
    """Return everything in a history that the invariants I1 to I8 forbid, in ledger order; nothing for an honest one.

    Args:
        entries: all entries of a log from index 0 on, as `export.verify_export` returns them. A part of a log will not
            do: what is missing would look as if it had never happened.

    Raises:
        VerificationError: they are not that, or an entry's detail cannot be read.
    """
    past = Past()
    found = []
    for place, entry in enumerate(entries):
        if entry.index != place:
            raise VerificationError(
                f"entry {entry.index} stands in place {place}: this is no whole ledger", index=place
            )
        found += _judge(entry, past)
        past.take(entry)
    return found


def _judge(entry: Entry, past: Past) -> list[Violation]:
    return [
        Violation(invariant=invariant, index=entry.index, message=f"{entry.kind}: {words}")
        for invariant, rule in RULES.get(entry.kind, ())
        for words in rule(entry, past)
    ]


def check_checkpoints(entries: Sequence[Entry], kept: Iterable[Checkpoint]) -> list[Violation]:
    """Return which checkpoints of the log, kept over time, do not fit its entries (invariant I9).

    Args:
        entries: all entries of the log, as for `check_history`.
        kept: checkpoints whose signatures were verified, in any order.
    """
    nodes = NodeTable(leaf_hash(encode_entry(entry)) for entry in entries)
    found = []
    for checkpoint in kept:
        words = f"the checkpoint of {checkpoint.size} entries"
        if checkpoint.size > len(entries):
            found.append(
                Violation(invariant=Invariant.I9, index=len(entries), message=f"{words} has more than there are")
            )
        elif frontier_at(nodes, checkpoint.size).root() != checkpoint.root:
            found.append(Violation(invariant=Invariant.I9, index=checkpoint.size, message=f"{words} has another root"))
    return found
