"""Ledger entries as lines for people. Called by `ledger query` and `receipt inspect`."""

from __future__ import annotations

from leasehold.ledger.entry import Entry
from leasehold.ledger.lines import entry_line
from leasehold.model.times import show_time

__all__ = ["TITLES", "entry_cells"]

TITLES = ("index", "time", "what", "who", "for", "run", "about", "outcome")


def entry_cells(entry: Entry) -> tuple[str, ...]:
    """One entry as the cells of a table."""
    line = entry_line(entry)
    named = (line.kind, line.who, line.requested_by, line.run, line.about, line.outcome)
    return (str(line.index), show_time(line.seconds), *(text or "-" for text in named))
