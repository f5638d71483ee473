"""Admit and settle, durable, by one caller and by many at once, beside what the database alone can do on this disk."""

from __future__ import annotations

from pathlib import Path

from benchmarks.ceiling import Ceiling, sample
from benchmarks.report import Line, Table, Target
from benchmarks.rounds import interleave, per_operation
from benchmarks.stage import Stage, in_threads, memory_folder, slow_disk
from leasehold.token.verify import UnverifiedToken

CALLERS = 64
_PEER_COMMITS = 2
_PEER_VERIFICATIONS = 3


def run(folder: Path, *, quick: bool) -> Table:
    """Measure on this disk and on one whose sync takes a millisecond, and answer the table."""
    lines, notes = [], []
    with memory_folder(folder) as memory:
        for name, where, seconds, share in (("this disk", folder, 0.0, 0.5), ("1 ms sync", memory, 0.001, 0.65)):
            with slow_disk(seconds):
                found, batch = _measure(where, name, share, quick=quick)
            lines += found
            notes.append(f"{name}: {CALLERS} callers, {batch} steps to a commit on average.")
    return Table("Admit and settle one call, durably", lines, notes)


def _measure(folder: Path, disk: str, share: float, *, quick: bool) -> tuple[list[Line], int]:
    stage = Stage(folder / f"admit-{disk.replace(' ', '-')}.db")
    token = stage.lease().token_for("ticket")
    per_operation(lambda: stage.pair(token), 5)
    other = Stage(folder / f"ceiling-{disk.replace(' ', '-')}.db")
    other.close()
    ceiling = Ceiling(other.database, sample(stage.database))
    try:
        batch = _batch_size(stage, token, 1 if quick else 20)
        parsed = UnverifiedToken.parse(token)
        public = stage.identity.leases.newest.public().public
        singles, many = (5, 1) if quick else (100, 20)
        found = interleave(
            f"admit, {disk}",
            {
                "commit": lambda: ceiling.one_row_commits(singles),
                "verify": lambda: per_operation(lambda: public.verify(parsed.signature, parsed.signing_input), singles),
                "one": lambda: per_operation(lambda: stage.pair(token), singles),
                "group": lambda: ceiling.groups(batch, 2 if quick else 20),
                "many": lambda: in_threads(CALLERS, many, lambda: stage.pair(token)),
            },
            2 if quick else 15,
        )
    finally:
        ceiling.close()
        stage.close()
    floor = f"{_PEER_COMMITS} commits + {_PEER_VERIFICATIONS} verifications"
    ratio = found.ratio(lambda r: r["one"] / (_PEER_COMMITS * r["commit"] + _PEER_VERIFICATIONS * r["verify"]))
    return [
        Line(f"{disk}: commit of one row", found.seconds("commit")),
        Line(f"{disk}: raw Ed25519 verification", found.seconds("verify")),
        Line(f"{disk}: 1 caller", found.seconds("one"), ratio, floor, Target(1.0)),
        Line(f"{disk}: the same rows in groups of {batch}, nothing else", found.seconds("group")),
        Line(
            f"{disk}: {CALLERS} callers",
            found.seconds("many"),
            found.quotient("group", "many"),
            "share of those groups",
            Target(share, at_least=True),
        ),
    ], batch


def _batch_size(stage: Stage, token: str, count: int) -> int:
    """How many steps stand in one commit when all callers are at work."""
    before = stage.clock.batches
    in_threads(CALLERS, count, lambda: stage.pair(token))
    return max(1, round(2 * CALLERS * count / (stage.clock.batches - before)))
