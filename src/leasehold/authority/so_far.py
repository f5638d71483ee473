"""What a run did before it asks for more, in the ledger's words: refused calls and why, and what it spent. For Runs.

It stands on the card beside what the agent says it tried, so that people can tell the two apart (requirement B7).
"""

from __future__ import annotations

from collections import Counter

from leasehold.authority.engine import Engine
from leasehold.errors import StoreError
from leasehold.ledger.entry import EntryKind, decode_entry
from leasehold.model.budget import format_amount
from leasehold.model.run import Run
from leasehold.store.queries import LedgerQuery

__all__ = ["run_so_far"]

_MOST_ACTIONS = 12
_MOST_ENTRIES = 200
_REFUSALS = (EntryKind.CALL_DENIED, EntryKind.REQUEST_DENIED)


def run_so_far(engine: Engine, run: Run) -> tuple[str, ...]:
    """Lines about a run; none about one that has done nothing yet."""
    return (*_refused(engine, run), *_spent(engine, run))


def _refused(engine: Engine, run: Run) -> list[str]:
    """What was refused, by action, with the reasons; the newest of it where there is much."""
    if not engine.run_row(run.tenant, run.run_id).denials:
        return []
    query = LedgerQuery(tenants=(run.tenant,), run=run.run_id, decision="deny", limit=_MOST_ENTRIES)
    try:
        entries = [decode_entry(line.body) for line in engine.store.queries.search(query)]
    except StoreError:
        return ["calls of this run were refused; which, cannot be looked up right now"]
    counts = Counter((entry.action, entry.reason) for entry in entries if entry.kind in _REFUSALS)
    lines = [
        f"{action or 'a lease'} was refused {count} time{'s' if count > 1 else ''}: {reason}"
        for (action, reason), count in counts.most_common(_MOST_ACTIONS)
    ]
    more = len(counts) - len(lines)
    return [*lines, *([f"and {more} other refusals"] if more else [])]


def _spent(engine: Engine, run: Run) -> list[str]:
    """What is spent of the run's own budget, reservations and unknown outcomes included; a child's is its root's."""
    root = run.ancestors[0].run_id if run.ancestors else run.run_id
    rows = engine.store.queries.accounts(run.tenant, root)
    used = {row.unit: (row.settled + row.reserved + row.unknown, row.limit) for row in rows}
    words = [
        f"{unit} {format_amount(spent)} of {format_amount(limit)}" for unit, (spent, limit) in used.items() if spent
    ]
    return [f"spent so far: {', '.join(words)}"] if words else []
