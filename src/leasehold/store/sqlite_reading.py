"""Connections that only read, lent to one thread at a time, and the ledger read through them.

Called by the SQLite queries, the entry index and the checks at opening. Readers of a write-ahead log never make the
lane wait.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from threading import Lock

import apsw
import msgspec

from leasehold.decide.rows import ControlRow
from leasehold.errors import StoreError, UnavailableError, VerificationError
from leasehold.ledger.tree import HASH_SIZE
from leasehold.ledger.tree import Place as NodePlace
from leasehold.store.columns import SHAPES
from leasehold.store.heads import control_in
from leasehold.store.queries import LedgerLine
from leasehold.store.sqlite_connection import Place, translated
from leasehold.store.sqlite_rows import select_all

__all__ = ["LedgerNodes", "Readers", "read_control", "read_lines", "read_some", "reading"]

_LINES = (
    "SELECT json_group_array(json_array(idx, hex(body), hex(substr(hashes, 1, 32)))) FROM"
    " (SELECT idx, body, hashes FROM ledger WHERE {} ORDER BY idx)"
)
_RANGE = _LINES.format("idx >= ? AND idx < ?")
_SOME = _LINES.format("idx IN (SELECT value FROM json_each(?))")
_NODES = (
    "WITH named (idx, start) AS (VALUES {})"
    " SELECT json_group_array(hex(substr(ledger.hashes, named.start, 32)))"
    " FROM named LEFT JOIN ledger ON ledger.idx = named.idx"
)
_CONTROL = select_all(SHAPES[ControlRow], "1")
_nodes_decoder = msgspec.json.Decoder(list[str])
_lines_decoder = msgspec.json.Decoder(list[tuple[int, str, str]])


class Readers:
    """A pool of connections to the database at `place`. Threads may share it."""

    def __init__(self, place: Place, make: Callable[[], apsw.Connection]) -> None:
        self.place = place
        self._make = make
        self._lock = Lock()  # guards the two below
        self._idle: list[apsw.Connection] = []
        self._is_closed = False

    @contextmanager
    def borrow(self) -> Iterator[apsw.Connection]:
        """A connection for this thread alone; SQLite's errors leave the block as ours."""
        with self._lock:
            if self._is_closed:
                raise UnavailableError(f"{self.place}: the store is closed; open it again")
            connection = self._idle.pop() if self._idle else None
        connection = connection or self._make()
        try:
            with translated(self.place):
                yield connection
        except ValueError as error:
            raise StoreError(f"{self.place}: a row is damaged; run: leasehold db check: {error}") from error
        finally:
            self._give_back(connection)

    def close(self) -> None:
        """Close every connection; one that is lent is closed when it comes back."""
        with self._lock:
            self._is_closed = True
            idle, self._idle = self._idle, []
        for connection in idle:
            connection.close()

    def _give_back(self, connection: apsw.Connection) -> None:
        with self._lock:
            if not self._is_closed:
                self._idle.append(connection)
                return
        connection.close()


def read_lines(connection: apsw.Connection, begin: int, end: int) -> list[LedgerLine]:
    """Entries `begin` up to, not including, `end`, as far as they exist, with a single step of a single statement."""
    return _lines(connection.execute(_RANGE, (begin, end)).get)


def read_some(connection: apsw.Connection, indexes: Sequence[int]) -> list[LedgerLine]:
    """The entries of these indexes, as far as they exist, in the order of the ledger."""
    return _lines(connection.execute(_SOME, (msgspec.json.encode(indexes).decode(),)).get)


def _lines(text: str) -> list[LedgerLine]:
    return [
        LedgerLine(index=index, body=bytes.fromhex(body), leaf=bytes.fromhex(leaf))
        for index, body, leaf in _lines_decoder.decode(text)
    ]


def read_control(connection: apsw.Connection, place: Place) -> ControlRow:
    """The log's row.

    Raises:
        StoreError: it is missing or damaged.
    """
    return control_in(place, connection.execute(_CONTROL).get)


class LedgerNodes:
    """The ledger's tree as proofs read it, over one connection: `leasehold.ledger.tree.Nodes`."""

    def __init__(self, connection: apsw.Connection) -> None:
        self._connection = connection

    def nodes(self, places: Sequence[NodePlace]) -> list[bytes]:
        """The hashes of complete subtrees: each stands with the last entry that it covers. See `Nodes.nodes`."""
        if not places:
            return []
        bound: list[int] = []
        for level, position in places:
            bound += (_last_under(level, position), level * HASH_SIZE + 1)
        sql = _NODES.format(", ".join(["(?, ?)"] * len(places)))
        found = _nodes_decoder.decode(self._connection.execute(sql, bound).get)
        for digest, (level, position) in zip(found, places, strict=True):
            if len(digest) != 2 * HASH_SIZE:
                raise VerificationError(
                    f"the ledger has no complete subtree {position} of height {level}",
                    index=_last_under(level, position),
                )
        return [bytes.fromhex(digest) for digest in found]


def _last_under(level: int, position: int) -> int:
    """The last entry that a subtree covers."""
    return ((position + 1) << level) - 1


@contextmanager
def reading(connection: apsw.Connection) -> Iterator[None]:
    """See the database as it is at one moment."""
    connection.execute("BEGIN")
    try:
        yield
    finally:
        connection.execute("ROLLBACK")
