"""How a SQLite database reads its tables and its ledger for the queries. Called by `leasehold.store.sqlite`."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import TypeVar, cast

import msgspec

from leasehold.decide.facts import Key
from leasehold.decide.rows import ControlRow, Row
from leasehold.ledger.tree import Place
from leasehold.store.columns import SHAPES, decoded, keys_json
from leasehold.store.queries import LedgerLine
from leasehold.store.sqlite_reading import LedgerNodes, Readers, read_control, read_lines, read_some
from leasehold.store.sqlite_rows import count, select_all, select_by_key

__all__ = ["SqliteTables"]

R = TypeVar("R", bound=Row)

_TENANTS = (
    "WITH RECURSIVE found(tenant) AS (SELECT min(tenant) FROM runs"
    " UNION ALL SELECT (SELECT min(tenant) FROM runs WHERE tenant > found.tenant) FROM found"
    " WHERE found.tenant IS NOT NULL) SELECT json_group_array(tenant) FROM found WHERE tenant IS NOT NULL"
)
_encoder = msgspec.json.Encoder()


class SqliteTables:
    """As `leasehold.store.listing.Tables` and `Lines`. Threads may share it."""

    def __init__(self, readers: Readers) -> None:
        self._readers = readers

    def control(self) -> ControlRow:
        """The log's row."""
        with self._readers.borrow() as connection:
            return read_control(connection, self._readers.place)

    def tenants(self) -> tuple[str, ...]:
        """Every tenant that ever had a run, found one after the other by the index."""
        with self._readers.borrow() as connection:
            return msgspec.json.decode(connection.execute(_TENANTS).get, type=tuple[str, ...])

    def by_key(self, keys: Mapping[type[Row], Collection[Key]]) -> list[Row]:
        """The rows that these keys name."""
        sql = f"SELECT {', '.join(f'({select_by_key(SHAPES[row_type])})' for row_type in keys)}"
        bound = [keys_json(named) for named in keys.values()]
        with self._readers.borrow() as connection:
            texts = cast("tuple[str, ...]", connection.execute(sql, bound).fetchone())
            return [row for row_type, text in zip(keys, texts, strict=True) for row in decoded(SHAPES[row_type], text)]

    def listed(
        self, row_type: type[R], where: str, bound: Sequence[object], order: str, limit: int | None = None
    ) -> tuple[R, ...]:
        """The rows that meet `where`; a list of texts travels as one JSON array."""
        shape = SHAPES[cast("type[Row]", row_type)]
        rest = f"{order} LIMIT {-1 if limit is None else limit}"  # without a limit SQLite may leave the order out
        sql = select_all(shape, where.replace("IN ?", "IN (SELECT value FROM json_each(?))"), rest)
        values = tuple(_encoder.encode(value).decode() if isinstance(value, list) else value for value in bound)
        with self._readers.borrow() as connection:
            return tuple(cast("list[R]", decoded(shape, connection.execute(sql, values).get)))

    def counted(self, row_type: type[Row], where: str) -> int:
        """How many rows meet `where`."""
        with self._readers.borrow() as connection:
            return int(connection.execute(count(SHAPES[row_type], where)).get)

    def ledger(self, begin: int, end: int) -> list[LedgerLine]:
        """Entries of a range."""
        with self._readers.borrow() as connection:
            return read_lines(connection, begin, end)

    def some(self, indexes: Sequence[int]) -> list[LedgerLine]:
        """The entries of these indexes."""
        with self._readers.borrow() as connection:
            return read_some(connection, indexes)

    def nodes(self, places: Sequence[Place]) -> list[bytes]:
        """The hashes of complete subtrees."""
        with self._readers.borrow() as connection:
            return LedgerNodes(connection).nodes(places)
