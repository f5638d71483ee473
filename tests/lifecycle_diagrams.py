"""Draws docs/lifecycles.md from the tables of `leasehold.decide.lifecycles`. Run it to write the page anew."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path

from leasehold.decide.lifecycles import CALL_TABLE, DELIVERY_TABLE, GLASS_TABLE, LEASE_TABLE, REQUEST_TABLE, RUN_TABLE

_INTRODUCTION = """# Life cycles

Drawn from the tables of `src/leasehold/decide/lifecycles.py` by `tests/lifecycle_diagrams.py`; a test compares them.
A pair of state and event that is not in a table cannot happen.
"""
_NOTES = {
    "Request": "A time-out is `expired`, never a denial. A lease request is used again and again, a call request once.",
    "Lease": "A child lease is alive only while every lease above it is.",
    "Call": "What is learned after `unknown` is added to the ledger and refunds nothing.",
    "Notice": "A try that failed leaves it waiting. One that is no longer true is `overtaken`, not sent.",
    "Break-glass": "At a terminal, where both are, it is `open` at once. It closes with its run: by a person, the "
    "clock or a stop. Who had no part in it reviews it.",
    "Run": "A run that finishes takes everything under it along.",
}


def diagram(name: str, start: str, table: Mapping[tuple[StrEnum, StrEnum], StrEnum]) -> str:
    """One state diagram in Mermaid's language."""
    lines = [f"    {before} --> {after}: {event}" for (before, event), after in table.items()]
    body = "\n".join([f"    [*] --> {start}", *lines])
    return f"## {name}\n\n```mermaid\nstateDiagram-v2\n{body}\n```\n\n{_NOTES[name]}\n"


def page() -> str:
    """The whole page."""
    parts = [
        diagram("Request", "pending", REQUEST_TABLE),
        diagram("Lease", "active", LEASE_TABLE),
        diagram("Call", "admitted", CALL_TABLE),
        diagram("Run", "open", RUN_TABLE),
        diagram("Notice", "waiting", DELIVERY_TABLE),
        diagram("Break-glass", "proposed", GLASS_TABLE),
    ]
    return "\n".join([_INTRODUCTION, *parts])


if __name__ == "__main__":
    (Path(__file__).parent.parent / "docs/lifecycles.md").write_text(page())
