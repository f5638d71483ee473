"""A backup of a SQLite database that is in use, and a thorough check of one. Called by `leasehold db`."""

from __future__ import annotations

import os
from pathlib import Path

from leasehold.errors import StoreError
from leasehold.store.migrations import check_header
from leasehold.store.sqlite_check import problems
from leasehold.store.sqlite_connection import Place, connect, connect_plainly, create_file, translated

__all__ = ["back_up", "check_database"]

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
