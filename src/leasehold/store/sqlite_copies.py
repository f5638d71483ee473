"""Copies of a SQLite database: a backup of one that is in use, a restore that revives nothing, a thorough check.

Called by `leasehold db` and the assembler. A restored database is of a new epoch before anything else happens to it, so
what was revoked, spent or finished after the backup was made stays dead (invariant I8, threat case 62).
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TypeVar

from leasehold.decide.facts import Step, StepAnswer
from leasehold.errors import StoreError
from leasehold.store.migrations import check_header
from leasehold.store.protocol import Anchor, Clock
from leasehold.store.sqlite import open_sqlite
from leasehold.store.sqlite_check import problems
from leasehold.store.sqlite_connection import Place, connect, connect_plainly, create_file, translated

__all__ = ["back_up", "check_database", "restore"]

A = TypeVar("A")

_BUSY_SECONDS = 5.0


def back_up(path: Path | str, target: Path | str) -> None:
    """Copy a database, as it is at one moment, into a new file of mode 0600; the lane goes on meanwhile.

    Raises:
        StoreError: there is no database, `target` exists, or the copy could not be made; then `target` is gone again.
    """
    source, copy = Place(path=str(path)), Place(path=str(target))
    if not check_header(source):
        raise StoreError(f"{source}: there is no database here")
    if os.path.lexists(target):
        raise StoreError(f"{copy}: this file exists; name one that does not")
    create_file(copy)
    try:
        _copy(source, copy)
    except BaseException:
        Path(target).unlink(missing_ok=True)
        raise


def check_database(path: Path | str) -> tuple[str, ...]:
    """Read all of a database, its ledger included, and say what is wrong with it; empty if nothing is.

    Raises:
        StoreError: it cannot be opened at all.
    """
    place = Place(path=str(path))
    if not check_header(place):
        raise StoreError(f"{place}: there is no database here")
    connection = connect(place, busy_seconds=_BUSY_SECONDS, read_only=True)
    try:
        with translated(place):
            return tuple(problems(connection, place))
    finally:
        connection.close()


def restore(
    backup: Path | str, path: Path | str, raise_epoch: Step[A], *, clock: Clock, anchor: Anchor
) -> StepAnswer[A]:
    """Put a backup in the place of a database that was moved away, with a new epoch as the first thing in it.

    `raise_epoch` is the step that records the restore and sets an epoch later than any before; its answer is returned.
    A crash leaves the place empty or the whole, new database in it.

    Raises:
        StoreError: a file stands in the place, the backup is damaged, or the step did not raise the epoch far enough.
        LeaseholdError: the anchor cannot be read.
    """
    place = Place(path=str(path))
    if os.path.lexists(path):
        raise StoreError(f"{place}: a database stands here; move it and its -wal file away first")
    found = check_database(backup)
    if found:
        raise StoreError(f"{backup}: this backup is damaged: {found[0]}; take another one")
    anchored = anchor.read()
    making = Path(f"{place}.restoring")
    _remove(making)
    try:
        back_up(backup, making)
        answer, epoch = _first_step(making, raise_epoch, clock)
        if anchored is not None and epoch <= anchored.epoch:
            raise StoreError(f"{place}: the restore has epoch {epoch}, but {anchored.epoch} was recorded outside")
        _move(making, Path(path))
    finally:
        _remove(making)
    return answer


def _first_step(path: Path, step: Step[A], clock: Clock) -> tuple[StepAnswer[A], int]:
    """Run one step on a database that nobody else knows yet, without its anchor, and return the epoch it left."""
    store = open_sqlite(path, clock=clock, issuer="restored")
    try:
        before = store.queries.control().epoch
        answer = store.submit(step).result()
        epoch = store.queries.control().epoch
    finally:
        store.close()
    if epoch <= before:
        raise StoreError(f"{path}: the restore left epoch {before} as it was: {answer.decision.describe()}")
    return answer, epoch


def _copy(source: Place, copy: Place) -> None:
    reading = connect(source, busy_seconds=_BUSY_SECONDS, read_only=True)
    try:
        writing = connect_plainly(copy, busy_seconds=_BUSY_SECONDS)
        try:
            with translated(copy), writing.backup("main", reading, "main") as copying:
                copying.step()
        finally:
            writing.close()
    finally:
        reading.close()


def _move(source: Path, target: Path) -> None:
    source.rename(target)
    folder = os.open(target.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def _remove(path: Path) -> None:
    for suffix in ("", "-wal", "-shm", "-index", "-index-wal", "-index-shm"):
        Path(f"{path}{suffix}").unlink(missing_ok=True)
