"""Ledger entries as lines for people. Called by `ledger query` and `receipt inspect`."""

from __future__ import annotations

from leasehold.ledger.entry import Entry
from leasehold.model.times import show_time

__all__ = ["TITLES", "entry_cells"]

TITLES = ("index", "time", "what", "who", "for", "run", "about", "outcome")


def entry_cells(entry: Entry) -> tuple[str, ...]:
    """One entry as the cells of a table."""
    return (
        str(entry.index),
        show_time(entry.time_ms // 1000),
        entry.kind,
        entry.agent or entry.person or "-",
        entry.requested_by or "-",
        entry.run or "-",
        _about(entry) or "-",
        _outcome(entry) or "-",
    )


def _about(entry: Entry) -> str:
    attributes = [f"{name}={'|'.join(map(str, values))}" for name, values in sorted(entry.attributes.items())]
    named = [entry.action, *attributes] if entry.action else []
    return " ".join((*named, entry.scope)).strip() or entry.lease or entry.request


def _outcome(entry: Entry) -> str:
    words = [entry.decision, entry.reason, entry.outcome]
    if entry.person and entry.agent:
        words.append(f"by {entry.person}")
    return " ".join(word for word in words if word)
