"""A ledger entry as a line for people: when, what, who, about what, how it came out. Called by the CLI and the console.

Nothing is made plain here: whoever draws it does that.
"""

from __future__ import annotations

import msgspec

from leasehold.ledger.entry import Entry

__all__ = ["EntryLine", "entry_line"]


class EntryLine(msgspec.Struct, frozen=True, kw_only=True):
    """The line of one entry. `who` is the agent, or the person where no agent took part."""

    index: int
    time_ms: int
    kind: str
    who: str
    requested_by: str
    run: str
    about: str
    outcome: str

    @property
    def seconds(self) -> int:
        """Its time in Unix seconds."""
        return self.time_ms // 1000


def entry_line(entry: Entry) -> EntryLine:
    """The line of an entry."""
    return EntryLine(
        index=entry.index,
        time_ms=entry.time_ms,
        kind=entry.kind,
        who=entry.agent or entry.person,
        requested_by=entry.requested_by,
        run=entry.run,
        about=_about(entry),
        outcome=_outcome(entry),
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
