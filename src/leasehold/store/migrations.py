"""The schema of a SQLite database and its versions: hand-written SQL, applied in order, refused when unknown.

Called when a store is opened. A database says in its header whose it is (`application_id`) and how old
(`user_version`). It is made whole before it is switched to a write-ahead log, so the header can always be trusted.
"""

from __future__ import annotations

import os
from importlib.resources import files

import apsw

from leasehold.decide.rows import ControlRow
from leasehold.errors import StoreError
from leasehold.store.columns import SHAPES
from leasehold.store.sqlite_connection import Place, transaction, translated
from leasehold.store.sqlite_rows import upsert

__all__ = ["APPLICATION_ID", "SCHEMAS", "check_header", "check_version", "create", "upgrade"]

APPLICATION_ID = 0x4C656173
"""`Leas` in ASCII."""

SCHEMAS = ("sqlite_schema_1.sql",)
"""What leads from each version to the next, the first from nothing to version 1. Never edited once released."""

_MIGRATION_MS = 3_600_000
_MAGIC = b"SQLite format 3\x00"
_HEADER_BYTES = 100


def check_header(place: Place) -> bool:
    """Whether a database stands in the file; False if it is missing, empty, or was never made completely.

    Reads the header alone, so that a file of somebody else is left exactly as it is.

    Raises:
        StoreError: it is another program's file, or none of SQLite's at all.
    """
    if not os.path.exists(place.path) or os.path.getsize(place.path) == 0:
        return False
    if os.path.exists(f"{place.path}-journal"):  # a crash while it was made, which SQLite is about to undo
        return False
    header = _read_header(place)
    if len(header) < _HEADER_BYTES or not header.startswith(_MAGIC):
        raise StoreError(f"{place}: this file is no SQLite database; restore a backup, or name another file")
    if int.from_bytes(header[68:72], "big") != APPLICATION_ID:
        raise StoreError(f"{place}: this database belongs to another program; name another file")
    return True


def _read_header(place: Place) -> bytes:
    """The first bytes, read through SQLite's file layer: closing a descriptor of our own would drop its locks."""
    with translated(place):
        file = apsw.VFSFile(place.vfs, place.path, [apsw.SQLITE_OPEN_READONLY | apsw.SQLITE_OPEN_MAIN_DB, 0])
        try:
            return file.xRead(min(_HEADER_BYTES, file.xFileSize()), 0)
        finally:
            file.xClose()


def create(connection: apsw.Connection, place: Place, control: ControlRow) -> None:
    """Make every table and the log's row in one transaction, unless they are there.

    Raises:
        StoreError: there are tables, but not ours.
    """
    if connection.pragma("application_id") == APPLICATION_ID:
        return
    with transaction(connection):
        if connection.pragma("application_id") == APPLICATION_ID:  # another process was faster
            return
        if connection.execute("SELECT count(*) FROM sqlite_schema").get:
            raise StoreError(f"{place}: this database belongs to another program; name another file")
        _apply(connection, 0)
        connection.pragma("application_id", APPLICATION_ID)
        upsert(connection, SHAPES[ControlRow], (control,))


def check_version(connection: apsw.Connection, place: Place) -> int:
    """The schema version of a database.

    Raises:
        StoreError: it is newer than this program.
    """
    version = int(connection.pragma("user_version"))
    if version > len(SCHEMAS):
        raise StoreError(
            f"{place}: the database has schema version {version}, this program knows up to {len(SCHEMAS)}; "
            "install the newer leasehold that made it"
        )
    return version


def upgrade(connection: apsw.Connection, place: Place) -> None:
    """Bring an older schema to this version, in one transaction.

    Raises:
        StoreError: the database is of a newer version.
    """
    if check_version(connection, place) < len(SCHEMAS):
        busy_milliseconds = connection.pragma("busy_timeout")
        connection.set_busy_timeout(_MIGRATION_MS)  # whoever comes second waits for as long as the first one takes
        with transaction(connection):
            _apply(connection, check_version(connection, place))
        connection.set_busy_timeout(int(busy_milliseconds))


def _apply(connection: apsw.Connection, version: int) -> None:
    for name in SCHEMAS[version:]:
        connection.execute(files("leasehold.store").joinpath(name).read_text(encoding="utf-8"))
    connection.pragma("user_version", len(SCHEMAS))
