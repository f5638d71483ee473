"""Reading approver load from a store's ledger. Called by `leasehold request load` and by `doctor`, which only reads."""

from __future__ import annotations

from collections.abc import Iterator

from leasehold.ledger.entry import Entry, decode_entry
from leasehold.ledger.load import Load, approver_load
from leasehold.model.instant import Instant
from leasehold.store.queries import MAX_LISTED, LedgerLine, Queries

__all__ = ["read_load"]

_REQUESTS = b'"kind":"request.'


def read_load(queries: Queries, *, since: Instant, until: Instant) -> Load:
    """What people were asked between two times, and how they answered.

    Raises:
        StoreError: the database cannot be read.
    """
    return approver_load(_entries_since(queries, since), since_ms=int(since), until_ms=int(until))


def _entries_since(queries: Queries, since: Instant) -> Iterator[Entry]:
    """Entries about requests, in ledger order, from no later than `since` on.

    The ledger is read backwards until a whole slice is older: recorded time only runs back where an operator confirmed
    a clock that was set back.
    """
    slices: list[list[LedgerLine]] = []
    end = queries.control().size
    while end > 0:
        begin = max(0, end - MAX_LISTED)
        lines = queries.ledger(begin, end)
        slices.append([line for line in lines if _REQUESTS in line.body])
        if all(decode_entry(line.body).time_ms < int(since) for line in (lines[0], lines[-1])):
            break
        end = begin
    for lines_of_requests in reversed(slices):
        yield from (decode_entry(line.body) for line in lines_of_requests)
