"""Whether a call gets slower the deeper its run was delegated: each link above is judged on every call."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from benchmarks.report import Line, Table, Target
from benchmarks.rounds import Case, interleave, per_operation
from benchmarks.stage import DEEPEST, Stage, in_threads

_CALLERS = 64


def run(folder: Path, *, quick: bool) -> Table:
    """Measure leases of the first and the eighth link of one chain, by one caller and by many, and answer the table."""
    stage = Stage(folder / "delegation.db")
    try:
        tokens = _chain(stage)
        singles, many = (5, 1) if quick else (100, 15)
        cases: dict[str, Case] = {}
        for depth in (1, 2, 4, DEEPEST):
            pair = partial(stage.pair, tokens[depth - 1])
            cases[f"1 caller, depth {depth}"] = partial(per_operation, pair, singles)
            cases[f"{_CALLERS} callers, depth {depth}"] = partial(in_threads, _CALLERS, many, pair)
        found = interleave("delegation", cases, 2 if quick else 11)
    finally:
        stage.close()
    lines = []
    for callers in ("1 caller", f"{_CALLERS} callers"):
        first = f"{callers}, depth 1"
        lines.append(Line(first, found.seconds(first)))
        for depth in (2, 4, DEEPEST):
            name = f"{callers}, depth {depth}"
            ratio = found.quotient(name, first)
            lines.append(Line(name, found.seconds(name), ratio, "depth 1", Target(1.8) if depth == DEEPEST else None))
    return Table("Delegation: admit and settle by the depth of the chain", lines)


def _chain(stage: Stage) -> list[str]:
    """The tokens of a root lease and of the leases of child runs, each under the one before."""
    held = stage.lease()
    tokens: list[str] = [held.token_for("ticket")]
    for _ in range(DEEPEST - 1):
        held = stage.lease(stage.start(parent=held))
        tokens.append(held.token_for("ticket"))
    return tokens
