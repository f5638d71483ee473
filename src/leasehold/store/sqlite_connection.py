"""SQLite connections with the settings that durability rests on, and SQLite's errors in our words.

Called by the other `sqlite_` modules. Each file is opened as WAL with `synchronous=FULL`; a place where that does not
hold is refused. In memory, for tests, connections of one store share one database that dies with the last of them.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import apsw
import msgspec

from leasehold.errors import StoreError, UnavailableError
from leasehold.store.lane import FullError, RefusedError

__all__ = [
    "MEMORY",
    "Place",
    "connect",
    "connect_plainly",
    "create_file",
    "file_system_of",
    "in_our_words",
    "transaction",
    "translated",
]

MEMORY = ":memory:"

_CACHED_STATEMENTS = 256
_CACHE_KIBIBYTES = 65_536
_FULL = 2
# File systems whose locks or shared memory cannot be relied on between machines; WAL needs both.
_REMOTE = frozenset({"nfs", "nfs4", "cifs", "smb3", "smbfs", "afs", "ceph", "fuse.sshfs", "fuse.glusterfs"})


class Place(msgspec.Struct, frozen=True, kw_only=True):
    """Where a database is: a file, or memory that is shared by all connections made with this very object.

    `vfs` is the SQLite file layer to go through, empty for the system's own; tests inject faults there.
    """

    path: str
    vfs: str = ""

    @property
    def is_file(self) -> bool:
        """Whether it outlives its connections."""
        return self.path != MEMORY

    def __str__(self) -> str:
        return self.path


def connect(place: Place, *, busy_seconds: float, read_only: bool = False) -> apsw.Connection:
    """Return a connection to a database that was made before, with every setting in force.

    Raises:
        UnavailableError: the file is locked or cannot be opened.
        StoreError: a setting that durability rests on does not hold.
    """
    connection = connect_plainly(place, busy_seconds=busy_seconds, read_only=read_only)
    try:
        with translated(place):
            _set_up(connection, place, read_only=read_only)
    except BaseException:
        connection.close()
        raise
    return connection


def connect_plainly(place: Place, *, busy_seconds: float, read_only: bool = False) -> apsw.Connection:
    """Return a connection to a file that may not be a database of ours yet, its journal mode left as it is."""
    if place.is_file:
        _refuse_remote(place)
    flags = apsw.SQLITE_OPEN_READONLY if read_only else apsw.SQLITE_OPEN_READWRITE
    name, vfs = place.path, place.vfs or None
    if not place.is_file:
        name, vfs, flags = f"/{id(place):x}", "memdb", apsw.SQLITE_OPEN_READWRITE | apsw.SQLITE_OPEN_CREATE
    with translated(place):
        connection = apsw.Connection(name, flags=flags, vfs=vfs, statementcachesize=_CACHED_STATEMENTS)
        connection.set_busy_timeout(int(busy_seconds * 1000))
        connection.config(apsw.SQLITE_DBCONFIG_DEFENSIVE, 1)
        connection.config(apsw.SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0)
        connection.config(apsw.SQLITE_DBCONFIG_DQS_DML, 0)
        connection.config(apsw.SQLITE_DBCONFIG_DQS_DDL, 0)
    return connection


def _set_up(connection: apsw.Connection, place: Place, *, read_only: bool) -> None:
    connection.pragma("cell_size_check", 1)
    connection.pragma("temp_store", "memory")  # statement journals in files cost more than the rows they guard
    connection.pragma("cache_size", -_CACHE_KIBIBYTES)
    if read_only:
        connection.pragma("query_only", 1)
        return
    connection.pragma("secure_delete", 1)  # a card that was erased is to be gone from the file, too
    journal = connection.pragma("journal_mode", "wal")
    connection.pragma("synchronous", "full")
    connection.pragma("fullfsync", 1)  # macOS: reach the disk, not only the drive's memory
    connection.pragma("checkpoint_fullfsync", 1)
    if place.is_file and (journal, connection.pragma("synchronous")) != ("wal", _FULL):
        raise StoreError(
            f"{place}: SQLite cannot keep a write-ahead log with synchronous=FULL here (journal_mode is {journal}); "
            "put the database on a local disk"
        )


@contextmanager
def transaction(connection: apsw.Connection) -> Iterator[None]:
    """Hold the write lock, and commit; or undo everything if the body raises."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


def create_file(place: Place) -> None:
    """Make an empty database file that only this account can read; leave one that stands there alone.

    Raises:
        StoreError: it cannot be made.
    """
    if place.is_file:
        try:  # never a file that exists: closing a descriptor of it would drop the locks of SQLite in this process
            os.close(os.open(place.path, os.O_CREAT | os.O_EXCL | os.O_RDWR | os.O_CLOEXEC, 0o600))
        except FileExistsError:
            return
        except OSError as error:
            raise StoreError(f"{place}: the database file cannot be made: {error.strerror}") from error


def _refuse_remote(place: Place) -> None:
    try:
        mounts = Path("/proc/self/mounts").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return  # not Linux: the settings that are read back are all there is to go by
    kind = file_system_of(os.path.realpath(place.path), mounts)
    if kind in _REMOTE:
        raise StoreError(f"{place}: a database on a network file system ({kind}) loses data; put it on a local disk")


def file_system_of(path: str, mounts: str) -> str:
    """The type of the file system that holds an absolute path, by the text of /proc/self/mounts."""
    kind, longest = "", -1
    for line in mounts.splitlines():
        _, point, found, *_ = line.split(" ")
        point = point.replace("\\040", " ").rstrip("/")
        if (path == point or path.startswith(point + "/")) and len(point) >= longest:
            kind, longest = found, len(point)
    return kind


@contextmanager
def translated(place: Place) -> Iterator[None]:
    """Raise SQLite's errors as ours, where nothing is being committed."""
    try:
        yield
    except apsw.Error as error:
        raise in_our_words(error, place) from error


def in_our_words(error: apsw.Error, place: Place, *, committing: bool = False) -> StoreError:
    """The error that says what happened, why, and what to do.

    `UnavailableError` where trying again may help, `RefusedError` where one statement is at fault, `StoreError` where
    the connection must not be used any more.
    """
    match error:
        case apsw.BusyError() | apsw.LockedError():
            return UnavailableError(
                f"{place}: another process holds the database's lock; nothing was executed: {error}"
            )
        case apsw.IOError() if (
            getattr(error, "extendedresult", 0) == apsw.SQLITE_IOERR_SHMSIZE
        ):  # at opening, unwritten
            return FullError(f"{place}: the disk or quota is full; nothing was executed; make room: {error}")
        case apsw.FullError():
            return FullError(f"{place}: the disk or quota is full; nothing was executed; make room: {error}")
        case apsw.ReadOnlyError() | apsw.PermissionsError() | apsw.AuthError():
            return UnavailableError(f"{place}: the database cannot be written; nothing was executed: {error}")
        case apsw.CantOpenError():
            return UnavailableError(f"{place}: the database cannot be opened; nothing was executed: {error}")
        case apsw.NoMemError():
            return UnavailableError(f"{place}: there is not enough memory; nothing was executed")
        case apsw.NotADBError():
            return StoreError(f"{place}: this file is no SQLite database; restore a backup: {error}")
        case apsw.IOError():
            return StoreError(
                f"{place}: the disk reports an error, and what it did not confirm is never assumed written; check the "
                f"disk, then open the store again: {error}",
                maybe_persisted=committing,
            )
        case apsw.CorruptError():
            return RefusedError(f"{place}: a part of the database is damaged; run: leasehold db check: {error}")
        case _:
            return RefusedError(f"{place}: the database refused it; nothing was written: {error}")
