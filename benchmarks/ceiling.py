"""What the database alone could do: one-row commits, and the rows of admissions and settlements written in groups.

Called by the admission benchmark. Both use the settings of the real store. The group writer is handed rows that are
ready: it decides nothing, hashes nothing, reads nothing and answers nobody.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import count
from pathlib import Path
from time import perf_counter
from typing import NamedTuple, TypeVar, cast

import apsw
import msgspec

from leasehold.decide.rows import AccountRow, CallRow, ControlRow, KeyRow, Row
from leasehold.model.call import CallState
from leasehold.store.columns import SHAPES
from leasehold.store.sqlite_connection import Place, connect, transaction
from leasehold.store.sqlite_rows import insert, upsert

R = TypeVar("R", bound=Row)

_ROW = b"x" * 300


class Sample(NamedTuple):
    """The rows that one real admission and its settlement left: the very bytes that a ceiling has to write."""

    call: CallRow
    key: KeyRow
    accounts: Sequence[AccountRow]
    control: ControlRow
    admitted: bytes
    settled: bytes


def sample(database: Path) -> Sample:
    """The newest settled call of a database, and what belongs to it."""
    connection = connect(Place(path=str(database)), busy_seconds=5, read_only=True)
    try:
        entries = [row[0] for row in connection.execute("SELECT body FROM ledger ORDER BY idx DESC LIMIT 2")]
        return Sample(
            call=_rows(connection, CallRow, "1 ORDER BY rowid DESC LIMIT 1")[0],
            key=_rows(connection, KeyRow, "1 LIMIT 1")[0],
            accounts=_rows(connection, AccountRow, "settled > 0"),
            control=_rows(connection, ControlRow, "1")[0],
            admitted=entries[1],
            settled=entries[0],
        )
    finally:
        connection.close()


def _rows(connection: apsw.Connection, row_type: type[R], where: str) -> list[R]:
    table = SHAPES[cast("type[Row]", row_type)].table
    return msgspec.convert(connection.execute(f"SELECT * FROM {table} WHERE {where}").fetchall(), list[row_type])  # type: ignore[valid-type]  # a type made at run time


class Ceiling:
    """A database of the store's own schema, and two ways to write to it. Close it when done."""

    def __init__(self, database: Path, given: Sample) -> None:
        self._connection = connect(Place(path=str(database)), busy_seconds=5)
        self._connection.execute(
            "CREATE TABLE IF NOT EXISTS plain (idx INTEGER PRIMARY KEY, body BLOB NOT NULL) STRICT"
        )
        self._given = given
        self._numbers = count(1)
        self._index = count(self._connection.execute("SELECT max(idx) + 1 FROM ledger").get)

    def one_row_commits(self, commits: int) -> float:
        """The seconds that a transaction of one row of 300 bytes takes."""
        began = perf_counter()
        for _ in range(commits):
            with transaction(self._connection):
                self._connection.execute("INSERT INTO plain (body) VALUES (?)", (_ROW,))
        return (perf_counter() - began) / commits

    def groups(self, size: int, groups: int) -> float:
        """The seconds per call when admissions of `size` calls are one commit, and their settlements another."""
        seconds = 0.0
        for _ in range(groups):
            calls, keys = self._rows(size)
            seconds += self._write(calls, keys, self._given.admitted)
            done = [msgspec.structs.replace(row, state=CallState.DONE) for row in calls]
            used = [msgspec.structs.replace(row, state=CallState.DONE) for row in keys]
            seconds += self._write(done, used, self._given.settled)
        return seconds / (size * groups)

    def _rows(self, size: int) -> tuple[list[CallRow], list[KeyRow]]:
        calls, keys = [], []
        for number in (next(self._numbers) for _ in range(size)):
            admission = f"adm_{number:026d}"
            calls.append(msgspec.structs.replace(self._given.call, admission_id=admission, state=CallState.ADMITTED))
            keys.append(
                msgspec.structs.replace(
                    self._given.key, key=f"{number}", admission_id=admission, state=CallState.ADMITTED
                )
            )
        return calls, keys

    def _write(self, calls: list[CallRow], keys: list[KeyRow], entry: bytes) -> float:
        lines = [(next(self._index), entry, b"h" * 64) for _ in calls]
        began = perf_counter()
        with transaction(self._connection):
            for rows in (calls, keys, self._given.accounts, (self._given.control,)):
                upsert(self._connection, SHAPES[type(rows[0])], rows)
            insert(self._connection, "ledger", lines)
        return perf_counter() - began

    def close(self) -> None:
        """Close the database."""
        self._connection.close()
