"""Wherever it all stops, a killed process or a power cut: what was answered is there, whole, and not called old."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import pytest
from store_disk import Disk, by_chance, image, kept, lost, mounted

from figures import Figures
from leasehold.ledger.entry import decode_entry
from leasehold.store.opened import OpenStore
from leasehold.store.protocol import TreeHead
from leasehold.store.sqlite import SqliteSettings, open_sqlite
from leasehold.store.sqlite_copies import check_database
from leasehold.testing.clock import FrozenSystem
from leasehold.testing.store_steps import TENANT, MemoryAnchor, spend

STEPS = 6


class Played:
    """What was done: after how many operations each step was answered, and which head was kept outside from when on."""

    def __init__(self) -> None:
        self.answered: list[int] = []
        self.anchored: list[tuple[int, TreeHead]] = []


def open_at(path: Path, anchor: MemoryAnchor, vfs: str = "") -> OpenStore:
    settings = SqliteSettings(vfs=vfs, anchor_seconds=3600)
    return open_sqlite(path, clock=FrozenSystem(), issuer="issuer", anchor=anchor, settings=settings)


def play(disk: Disk, path: Path) -> Played:
    """Make a database, commit some steps, close it, open it and commit some more."""
    played, anchor, total = Played(), MemoryAnchor(), 0
    for _ in range(2):
        with closing(open_at(path, anchor, disk.name)) as store:
            played.anchored.append((len(disk.operations), anchor.heads[-1]))
            for _ in range(STEPS // 2):
                total += 1
                assert store.submit(spend()).result().value == total
                played.answered.append(len(disk.operations))
            store.anchor_now()
            played.anchored.append((len(disk.operations), anchor.heads[-1]))
    return played


def check(folder: Path, files: dict[str, bytes], played: Played, cut: int) -> None:
    """Open what is left and find everything that was answered before the cut."""
    path = folder / "leasehold.db"
    for name, data in files.items():
        (folder / name).write_bytes(data)
    anchor = MemoryAnchor()
    anchor.heads = [head for at, head in played.anchored if at <= cut]
    with closing(open_at(path, anchor)) as store:
        size = store.queries.control().size
        totals = [decode_entry(line.body).detail["total"] for line in store.queries.ledger(0, size)]
        accounts = store.queries.accounts(TENANT, "run_1")
        assert totals == list(range(1, size + 1))
        assert (accounts[0].settled if accounts else 0) == size
        assert size >= sum(at <= cut for at in played.answered)
        assert store.submit(spend()).result().value == size + 1
    assert check_database(path) == ()


@pytest.mark.invariant("I8")
@pytest.mark.case(90, 91)
def test_no_answered_commit_is_lost_wherever_it_all_stops(tmp_path: Path, figures: Figures) -> None:
    made = tmp_path / "made"
    made.mkdir()
    with mounted("power-cut") as disk:
        played = play(disk, made / "leasehold.db")
        operations = list(disk.operations)
    seen: dict[frozenset[tuple[str, bytes]], int] = {}
    for cut in range(len(operations) + 1):
        for fate in (lost, kept, by_chance(2 * cut), by_chance(2 * cut + 1)):
            files = image(operations[:cut], fate)
            seen[frozenset(files.items())] = cut  # the last cut that leaves it promises most
    for number, (files, cut) in enumerate(seen.items()):
        folder = tmp_path / str(number)
        folder.mkdir()
        check(folder, dict(files), played, cut)
    figures(f"{len(seen)} different images after {len(operations)} operations: 0 answered commits lost")
