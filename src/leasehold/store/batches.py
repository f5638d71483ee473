"""The part of a batch that is the same on every database: which facts it needs, and what is to be written after it.

Called by the `_batch` module of each database, which loads and applies with its own SQL in between.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple, TypeAlias, cast

import msgspec

from leasehold.decide.batch import Batch, effective_now
from leasehold.decide.facts import Facts, Index, Key, Ref, Step, key_of
from leasehold.decide.rows import ControlRow, Row
from leasehold.ledger.tree import Frontier, TreeBuilder, leaf_hash
from leasehold.model.instant import Instant

__all__ = [
    "LOG",
    "Found",
    "LedgerRow",
    "Loaded",
    "Needs",
    "Writing",
    "bucketed",
    "facts_of",
    "fresh_control",
    "keyed",
    "needs_of",
    "needs_of_ref",
    "writing_of",
]

LOG = "main"
"""The one log of a database."""

LedgerRow: TypeAlias = tuple[int, bytes, bytes]
"""Index, canonical bytes, and the hashes that the entry completes: one row of the ledger."""


class Needs(NamedTuple):
    """What a batch asks for: rows of each table by key, the log's own among them, and buckets of each index."""

    refs: Mapping[type[Row], Mapping[Key, Ref]]
    indexes: Mapping[type[Index], Mapping[Key, Index]]


class Found(NamedTuple):
    """What stood in the database: rows of each table by key, and of each index by bucket."""

    rows: Mapping[type[Row], Mapping[Key, Row]]
    indexed: Mapping[type[Index], Mapping[Key, Sequence[Row]]]


class Loaded(NamedTuple):
    """The working set of a batch, the log's row as it was read, and the time that counts."""

    facts: Facts
    control: ControlRow
    now: Instant


class Writing(NamedTuple):
    """What a batch leaves: the last state of each row by table, the keys of rows that are no more, the ledger's new
    rows, and the log's row."""

    rows: Mapping[type[Row], Sequence[Row]]
    gone: Mapping[type[Row], Sequence[Key]]
    lines: Sequence[LedgerRow]
    control: ControlRow


def fresh_control(issuer: str) -> ControlRow:
    """The log's row in a database that nothing has happened to."""
    frontier = Frontier().to_bytes()
    return ControlRow(
        log=LOG,
        issuer=issuer,
        epoch=1,
        epoch_since=0,
        policy="",
        policy_since=0,
        last_time_ms=0,
        size=0,
        frontier=frontier,
    )


def needs_of(steps: Sequence[Step[object]]) -> Needs:
    """What the steps name, each key and bucket once."""
    refs: dict[type[Row], dict[Key, Ref]] = {ControlRow: {(LOG,): Ref(ControlRow, (LOG,))}}
    indexes: dict[type[Index], dict[Key, Index]] = {}
    for step in steps:
        for need in step.keys():  # noqa: SIM118 - a step is no mapping
            if isinstance(need, Ref):
                refs.setdefault(need.row_type, {})[need.key] = need
            else:
                indexes.setdefault(type(need), {})[need.bucket] = need
    return Needs(refs, indexes)


def needs_of_ref(ref: Ref) -> Needs:
    """One row more, beside the log's own."""
    return Needs({**needs_of(()).refs, ref.row_type: {ref.key: ref}}, {})


def facts_of(needs: Needs, found: Found, clock: Instant) -> Loaded:
    """The working set over what was found, at the clock's time or the recorded one."""
    control = cast(ControlRow, found.rows[ControlRow][(LOG,)])
    now, clock_behind = effective_now(clock, Instant(control.last_time_ms))
    facts = Facts(control, clock_behind=clock_behind)
    for row_type, wanted in needs.refs.items():
        rows = found.rows[row_type]
        for key, ref in wanted.items():
            facts.load(ref, rows.get(key))
    for index_type, named in needs.indexes.items():
        for bucket, index in named.items():
            facts.load_index(index, found.indexed[index_type].get(bucket, ()))
    return Loaded(facts, control, now)


def keyed(rows: Sequence[Row]) -> dict[Key, Row]:
    """Rows by key."""
    return {key_of(row): row for row in rows}


def bucketed(index: type[Index], rows: Sequence[Row]) -> dict[Key, list[Row]]:
    """Rows by the bucket of an index that they stand in."""
    buckets: dict[Key, list[Row]] = {}
    for row in rows:
        bucket = index.bucket_of(row)
        if bucket is not None:
            buckets.setdefault(bucket, []).append(row)
    return buckets


def writing_of(loaded: Loaded, batch: Batch) -> Writing | None:
    """What is to be written, or None where nothing is. The log's row goes with every change.

    Raises:
        VerificationError: the ledger's right edge, as it was read, is damaged.
    """
    if not batch.rows and not batch.entries and not batch.gone:
        return None
    latest: dict[type[Row], dict[Key, Row]] = {}
    for row in batch.rows:
        latest.setdefault(type(row), {})[key_of(row)] = row
    latest.pop(ControlRow, None)
    gone = _gone(loaded.facts, batch.gone, latest)
    tree = TreeBuilder(Frontier.from_bytes(loaded.control.frontier))
    lines = [_line(tree, body) for body in batch.entries]
    frontier = tree.frontier()
    decided = loaded.facts.control
    is_confirmed = decided.last_time_ms != loaded.control.last_time_ms  # an operator set the recorded time back
    control = msgspec.structs.replace(
        decided,
        last_time_ms=decided.last_time_ms if is_confirmed else int(loaded.now),
        size=frontier.size,
        frontier=frontier.to_bytes(),
    )
    rows = {row_type: tuple(rows.values()) for row_type, rows in latest.items() if rows}
    return Writing(rows, gone, lines, control)


def _gone(facts: Facts, refs: Sequence[Ref], latest: dict[type[Row], dict[Key, Row]]) -> dict[type[Row], list[Key]]:
    """The keys of rows that a batch took out and did not put in again. What it wrote of them before is left out."""
    gone: dict[type[Row], list[Key]] = {}
    for ref in refs:
        if facts.get(ref.row_type, *ref.key) is None and ref.key not in gone.setdefault(ref.row_type, []):
            gone[ref.row_type].append(ref.key)
            latest.get(ref.row_type, {}).pop(ref.key, None)
    return {row_type: keys for row_type, keys in gone.items() if keys}


def _line(tree: TreeBuilder, body: bytes) -> LedgerRow:
    """Append an entry to the tree: its row, with the hashes that it completes."""
    before = len(tree.completed)
    index = tree.append(leaf_hash(body))
    return index, body, b"".join(node.digest for node in tree.completed[before:])
