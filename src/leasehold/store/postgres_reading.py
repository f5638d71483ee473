"""Connections that only read, a bounded number of them, and the ledger read through them.

Called by the PostgreSQL queries, the entry index and the checks at opening. Each statement sees the database as it was
committed when it began; readers never make the lane wait.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from threading import Condition
from typing import TypeVar, cast

from leasehold.decide.rows import ControlRow
from leasehold.errors import StoreError, UnavailableError, VerificationError
from leasehold.ledger.tree import HASH_SIZE
from leasehold.ledger.tree import Place as NodePlace
from leasehold.store.columns import SHAPES
from leasehold.store.heads import control_in
from leasehold.store.postgres_connection import AgainError, Connection, PostgresPlace, connect, execute, translated
from leasehold.store.postgres_patrol import Patrol
from leasehold.store.postgres_rows import select_all
from leasehold.store.queries import LedgerLine

__all__ = ["LedgerNodes", "Readers", "asked", "read_control", "read_lines", "read_some"]

T = TypeVar("T")

_LINE = "SELECT idx, body, substr(hashes, 1, 32) FROM ledger"
_RANGE = f"{_LINE} WHERE idx >= %s AND idx < %s ORDER BY idx"
_SOME = f"{_LINE} WHERE idx = ANY(CAST(%s AS bigint[])) ORDER BY idx"
_NODES = (
    "SELECT substr(ledger.hashes, named.start, 32)"
    " FROM unnest(CAST(%s AS bigint[]), CAST(%s AS integer[])) WITH ORDINALITY AS named (idx, start, place)"
    " LEFT JOIN ledger ON ledger.idx = named.idx ORDER BY named.place"
)
_CONTROL = select_all(SHAPES[ControlRow], "true")


class Readers:
    """Connections to the database at `place`, at most `limit` at a time. Threads may share it."""

    def __init__(self, place: PostgresPlace, *, limit: int) -> None:
        self.place = place
        self._patrol = Patrol(place.silent_seconds)
        self._free = Condition()  # guards the three below
        self._idle: list[Connection] = []
        self._left = limit
        self._is_closed = False

    def read(self, work: Callable[[Connection], T]) -> T:
        """Do something that only reads, with a connection for this thread alone; once more if it was lost.

        Raises:
            UnavailableError: every connection is in use for too long, or the server cannot be reached.
            StoreError: what was read is damaged.
        """
        try:
            return self._read(work)
        except AgainError:
            self._drop_idle()  # they are of the same server
            return self._read(work)

    def close(self) -> None:
        """Close every connection; one that is lent is closed when it comes back."""
        with self._free:
            self._is_closed = True
            self._free.notify_all()
        self._drop_idle()
        self._patrol.close()

    def _read(self, work: Callable[[Connection], T]) -> T:
        with self._lent() as connection:
            try:
                with self._patrol.watching(connection), translated(self.place):
                    return work(connection)
            except ValueError as error:
                raise StoreError(f"{self.place}: a row is damaged; run: leasehold db check: {error}") from error

    @contextmanager
    def _lent(self) -> Iterator[Connection]:
        connection = self._take()
        try:
            connection = connection or connect(self.place, read_only=True)
            yield connection
        finally:
            self._give_back(connection)

    def _take(self) -> Connection | None:
        """An idle connection, or None where another one may be made."""
        with self._free:
            in_time = self._free.wait_for(
                lambda: self._is_closed or self._idle or self._left > 0, self.place.patience_seconds
            )
            if self._is_closed:
                raise UnavailableError(f"{self.place}: the store is closed; open it again")
            if not in_time:
                raise UnavailableError(f"{self.place}: too many read at once; nothing was executed; try again")
            if self._idle:
                return self._idle.pop()
            self._left -= 1
            return None

    def _give_back(self, connection: Connection | None) -> None:
        with self._free:
            if connection is not None and not connection.closed and not self._is_closed:
                self._idle.append(connection)
                connection = None
            else:
                self._left += 1
            self._free.notify()
        if connection is not None:
            connection.close()

    def _drop_idle(self) -> None:
        with self._free:
            idle, self._idle = self._idle, []
            self._left += len(idle)
        for connection in idle:
            connection.close()


def asked(connection: Connection, sql: str, bound: Sequence[object] = ()) -> str:
    """The one text that a statement answers."""
    row = execute(connection, sql, bound, is_prepared=True).fetchone()
    return cast(str, row[0]) if row else ""


def read_lines(connection: Connection, begin: int, end: int) -> list[LedgerLine]:
    """Entries `begin` up to, not including, `end`, as far as they exist."""
    return _lines(connection, _RANGE, (begin, end))


def read_some(connection: Connection, indexes: Sequence[int]) -> list[LedgerLine]:
    """The entries of these indexes, as far as they exist, in the order of the ledger."""
    return _lines(connection, _SOME, (list(indexes),))


def _lines(connection: Connection, sql: str, bound: Sequence[object]) -> list[LedgerLine]:
    with connection.cursor(binary=True) as cursor:
        found = cursor.execute(sql.encode(), bound, prepare=True).fetchall()
    return [LedgerLine(index=index, body=body, leaf=leaf) for index, body, leaf in found]


def read_control(connection: Connection, place: PostgresPlace) -> ControlRow:
    """The log's row.

    Raises:
        StoreError: it is missing or damaged.
    """
    return control_in(place, asked(connection, _CONTROL))


class LedgerNodes:
    """The ledger's tree as proofs read it, over one connection: `leasehold.ledger.tree.Nodes`."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def nodes(self, places: Sequence[NodePlace]) -> list[bytes]:
        """The hashes of complete subtrees: each stands with the last entry that it covers. See `Nodes.nodes`."""
        ends = [((position + 1) << level) - 1 for level, position in places]
        starts = [level * HASH_SIZE + 1 for level, _ in places]
        with self._connection.cursor(binary=True) as cursor:
            found = cursor.execute(_NODES.encode(), (ends, starts), prepare=True).fetchall()
        digests = [bytes(digest) if digest is not None else b"" for (digest,) in found]
        for digest, (level, position), end in zip(digests, places, ends, strict=True):
            if len(digest) != HASH_SIZE:
                raise VerificationError(f"the ledger has no complete subtree {position} of height {level}", index=end)
        return digests
