"""Draws docs/threats.md from the list of `adversary/cases.py`. Run it to write the page anew."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from adversary.cases import CASES, COVERED

_INTRODUCTION = """# Threat cases

Drawn from `tests/adversary/cases.py` by `tests/threats_page.py`; a test compares them. The source cites these numbers.
A *covered* case has at least one test marked with its number (`grep -rn mark.case tests`), a *planned* one has none; a
test holds the list to both. Numbers are never given away again.

{covered} of {total} cases are covered.
"""
_BEGINS = {
    1: "Tokens and signatures",
    13: "Parsing and canonical form",
    24: "Names and patterns",
    37: "Narrowing and delegation",
    46: "Time",
    53: "Revocation",
    65: "Budgets and repeats",
    74: "Approvals and cards",
    90: "Crashes, storage, audit",
    104: "Gateway and credentials",
    113: "Console and HTTP",
}


def page() -> str:
    """The whole page."""
    covered = sum(case.state == COVERED for case in CASES.values())
    return "\n".join([_INTRODUCTION.format(covered=covered, total=len(CASES)), *_lines()]) + "\n"


def _lines() -> Iterator[str]:
    for number, case in CASES.items():
        if number in _BEGINS:
            yield from ([""] if number > 1 else [])
            yield from (
                f"## {_BEGINS[number]}",
                "",
                "| case | attack, and what has to happen | state |",
                "|---|---|---|",
            )
        yield f"| {number} | {case.attack} | {case.state} |"


if __name__ == "__main__":
    (Path(__file__).parent.parent / "docs/threats.md").write_text(page())
