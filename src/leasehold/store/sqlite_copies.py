"""Copies of a SQLite database that is in use, putting one in its place, and a thorough check. Called by `leasehold db`.

A copy is made under another name and gets its own at the end, so that whoever is killed leaves the old or the new.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from itertools import count
from pathlib import Path

import apsw

from leasehold.errors import StoreError, UnavailableError
from leasehold.store.migrations import check_header
from leasehold.store.sqlite_check import problems
from leasehold.store.sqlite_connection import Place, connect, connect_plainly, create_file, translated

__all__ = ["back_up", "check_database", "new_file", "overwrite_erased", "put_in_place", "remove_database"]

_BUSY_SECONDS = 5.0
_PARTS = ("", "-wal", "-shm", "-journal")
_INDEX = ("-index", "-index-wal", "-index-shm", "-index-journal")


def back_up(path: Path | str, target: Path | str) -> None:
    """Copy a database, as it is at one moment, into a new file of mode 0600; the lane goes on meanwhile.

    Raises:
        StoreError: there is no database, `target` exists, or the copy could not be made; then there is no `target`.
    """
    source = Place(path=str(path))
    if not check_header(source):
        raise StoreError(f"{source}: there is no database here")
    with new_file(Path(target)) as unfinished:
        _copy(source, Place(path=str(unfinished)))


@contextmanager
def new_file(target: Path) -> Iterator[Path]:
    """An empty file of mode 0600 beside `target`, which gets that name when the block is left well, else is gone.

    Raises:
        StoreError: `target` exists, or the file cannot be made or named.
    """
    if os.path.lexists(target):
        raise StoreError(f"{target}: this file exists; name one that does not")
    unfinished = target.with_name(f".{target.name}.{os.getpid()}.unfinished")
    remove_database(unfinished)
    create_file(Place(path=str(unfinished)))
    try:
        yield unfinished
        try:
            os.link(unfinished, target)  # unlike a renaming, it never takes the place of another file
            _sync_folder(target.parent)
        except OSError as error:
            raise StoreError(f"{target}: the file cannot be named: {error.strerror}") from error
    finally:
        remove_database(unfinished)


def put_in_place(prepared: Path, path: Path, aside: Path) -> None:
    """Make a closed database the one at `path`, in one step; what stood there is kept as `aside`, or `aside-2`, ….

    A process that still has the old one open notices at its next batch, and executes nothing more.

    Raises:
        StoreError: a file cannot be moved.
    """
    aside = next(name for name in _numbered(aside) if not os.path.lexists(name))
    try:
        with suppress(FileNotFoundError):  # what cannot be looked at is not taken for absent
            path.lstat()
            _empty_log(path)
            os.link(path, aside, follow_symlinks=False)  # the default means another thing from Python 3.14 on
        for part in _PARTS[1:]:
            with suppress(FileNotFoundError):
                path.with_name(path.name + part).rename(aside.with_name(aside.name + part))
        prepared.replace(path)
        _sync_folder(path.parent)
        for part in _INDEX:  # it is made anew
            path.with_name(path.name + part).unlink(missing_ok=True)
    except OSError as error:
        raise StoreError(f"{path}: the database cannot be moved: {error.strerror}") from error


def _numbered(path: Path) -> Iterator[Path]:
    """A path, and the same with `-2`, `-3`, … behind it."""
    yield path
    yield from (path.with_name(f"{path.name}-{number}") for number in count(2))


def remove_database(path: Path) -> None:
    """Remove a database that nobody uses, with its log and index; nothing happens if there is none."""
    for part in (*_PARTS, *_INDEX):
        path.with_name(path.name + part).unlink(missing_ok=True)


def overwrite_erased(path: Path | str) -> bool:
    """Leave nothing of erased cards in the file and its log. False if another process is still reading what was."""
    place = Place(path=str(path))
    connection = connect(place, busy_seconds=_BUSY_SECONDS)
    try:
        with translated(place):
            connection.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_TRUNCATE)
    except UnavailableError:
        return False
    else:
        return True
    finally:
        connection.close()


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


def _empty_log(path: Path) -> None:
    """Move all of the log into the database, so that the file by itself is all of it; a damaged one stays as it is."""
    with suppress(StoreError):
        overwrite_erased(path)


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
