"""What the entry index of every database holds of a ledger entry. Called by the `_index` and `_search` modules."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, TypeAlias

import msgspec

from leasehold.errors import VerificationError
from leasehold.ledger.entry import Entry, EntryKind, decode_entry
from leasehold.store.queries import LedgerLine

__all__ = ["Projected", "attribute_text", "project"]

AttributeRow: TypeAlias = tuple[str, str, int, int]
"""An attribute's name, one of its values as JSON text, the entry's time in milliseconds and index."""


class Projected(NamedTuple):
    """Rows for the tables `entries` and `attributes` of the index, each in the order of its columns."""

    entries: Sequence[tuple[object, ...]]
    attributes: Sequence[AttributeRow]


def project(lines: Sequence[LedgerLine]) -> Projected:
    """The rows of some entries. A damaged one says nothing, but may have told of any run: every receipt comes by it."""
    entries: list[tuple[object, ...]] = []
    attributes: set[AttributeRow] = set()
    for line in lines:
        entry = _entry(line)
        entries.append(_row(line.index, entry) if entry is not None else _damaged(line.index))
        if entry is None:
            continue
        for name, values in entry.attributes.items():
            attributes.update((name, attribute_text(value), entry.time_ms, line.index) for value in values)
    return Projected(entries, sorted(attributes))


def attribute_text(value: object) -> str:
    """The value of an attribute as the index keeps it: JSON text, so that 1, "1" and true differ."""
    return msgspec.json.encode(value).decode()


def _entry(line: LedgerLine) -> Entry | None:
    try:
        return decode_entry(line.body)
    except VerificationError:
        return None


def _row(index: int, entry: Entry) -> tuple[object, ...]:
    return (
        index,
        entry.time_ms,
        entry.kind,
        entry.tenant,
        entry.requested_by,
        entry.agent,
        entry.run,
        entry.parent_run,
        entry.lease,
        entry.capability,
        entry.action,
        entry.key,
        entry.admission,
        entry.decision,
    )


def _damaged(index: int) -> tuple[object, ...]:
    """The row of an entry that cannot be read: in no tenant, of a kind that no entry has (`_search` knows it)."""
    place, time_ms, _, *rest = _row(index, _BLANK)
    return (place, time_ms, "damaged", *rest)


_BLANK = Entry(kind=EntryKind.AUTHORITY_OPENED)
