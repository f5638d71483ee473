"""Admit and settle, durable, by one caller and by many at once, beside what the database alone can do on this disk."""

from __future__ import annotations

from pathlib import Path

from benchmarks.ceiling import Ceiling, sample
from benchmarks.floor import Floor
from benchmarks.report import Line, Table, Target
from benchmarks.rounds import Rounds, interleave, per_operation
from benchmarks.stage import Stage, in_tasks, in_threads, memory_folder, slow_disk
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
            notes.append(f"{name}: {CALLERS} tasks, {batch} steps to a commit on average.")
    return Table("Admit and settle one call, durably", lines, notes)


def _measure(folder: Path, disk: str, share: float, *, quick: bool) -> tuple[list[Line], int]:
    stage = Stage(folder / f"admit-{disk.replace(' ', '-')}.db")
    token = stage.lease().token_for("ticket")
    per_operation(lambda: stage.pair(token), 5)
    given = sample(stage.database)
    other = Stage(folder / f"ceiling-{disk.replace(' ', '-')}.db")
    other.close()
    ceiling = Ceiling(other.database, given)
    undecided = Stage(folder / f"floor-{disk.replace(' ', '-')}.db")
    floor = Floor(undecided.authority.engine.store, given)
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
                "bare": lambda: ceiling.groups(1, singles),
                "lane": lambda: per_operation(floor.pair, singles),
                "one": lambda: per_operation(lambda: stage.pair(token), singles),
                "group": lambda: ceiling.groups(batch, 2 if quick else 20),
                "lane tasks": lambda: in_tasks(CALLERS, many, floor.pair_awaited),
                "tasks": lambda: in_tasks(CALLERS, many, lambda: stage.pair_awaited(token)),
                "threads": lambda: in_threads(CALLERS, many, lambda: stage.pair(token)),
            },
            2 if quick else 15,
        )
    finally:
        ceiling.close()
        undecided.close()
        stage.close()
    return _lines(found, disk, batch, Target(share, at_least=True)), batch


def _lines(found: Rounds, disk: str, batch: int, share: Target) -> list[Line]:
    floor = f"{_PEER_COMMITS} commits + {_PEER_VERIFICATIONS} verifications"

    def of_floor(name: str) -> float:
        return found.ratio(lambda r: r[name] / (_PEER_COMMITS * r["commit"] + _PEER_VERIFICATIONS * r["verify"]))

    return [
        Line(f"{disk}: commit of one row", found.seconds("commit")),
        Line(f"{disk}: raw Ed25519 verification", found.seconds("verify")),
        Line(f"{disk}: the same rows one call at a time, nothing else", found.seconds("bare"), of_floor("bare"), floor),
        Line(
            f"{disk}: the same rows through the lane, nothing decided", found.seconds("lane"), of_floor("lane"), floor
        ),
        Line(f"{disk}: 1 caller", found.seconds("one"), of_floor("one"), floor, Target(1.0)),
        Line(f"{disk}: the same rows in groups of {batch}, nothing else", found.seconds("group")),
        _share(found, f"{disk}: {CALLERS} tasks through the lane, nothing decided", "lane tasks", None),
        _share(found, f"{disk}: {CALLERS} tasks", "tasks", share),
        _share(found, f"{disk}: {CALLERS} threads", "threads", None),
    ]


def _share(found: Rounds, what: str, callers: str, target: Target | None) -> Line:
    return Line(what, found.seconds(callers), found.quotient("group", callers), "share of those groups", target)


def _batch_size(stage: Stage, token: str, count: int) -> int:
    """How many steps stand in one commit when all callers are at work."""
    before = stage.clock.batches
    in_tasks(CALLERS, count, lambda: stage.pair_awaited(token))
    return max(1, round(2 * CALLERS * count / (stage.clock.batches - before)))
