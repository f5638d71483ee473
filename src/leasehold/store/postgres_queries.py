"""How a PostgreSQL database reads its tables and its ledger for the queries. Called by `leasehold.store.postgres`."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import TypeVar, cast

import msgspec

from leasehold.decide.facts import Key
from leasehold.decide.rows import ControlRow, Row
from leasehold.ledger.tree import Place
from leasehold.store.columns import SHAPES, decoded
from leasehold.store.postgres_connection import Connection, execute
from leasehold.store.postgres_reading import LedgerNodes, Readers, asked, read_control, read_lines, read_some
from leasehold.store.postgres_rows import count, select_all, select_by_key, storable, storable_keys
from leasehold.store.queries import LedgerLine

__all__ = ["PostgresTables"]

R = TypeVar("R", bound=Row)

_TENANTS = (
    "WITH RECURSIVE found (tenant) AS (SELECT min(tenant) FROM runs"
    " UNION ALL SELECT (SELECT min(tenant) FROM runs WHERE tenant > found.tenant) FROM found"
    " WHERE found.tenant IS NOT NULL)"
    " SELECT CAST(coalesce(json_agg(tenant), '[]') AS text) FROM found WHERE tenant IS NOT NULL"
)
_SPELLING = (("NOT IN ?", "<> ALL(CAST(%s AS text[]))"), ("IN ?", "= ANY(CAST(%s AS text[]))"), ("?", "%s"))
"""How the queries' conditions are written here."""


class PostgresTables:
    """As `leasehold.store.listing.Tables` and `Lines`. Threads may share it."""

    def __init__(self, readers: Readers) -> None:
        self._readers = readers

    def control(self) -> ControlRow:
        """The log's row."""
        return self._readers.read(lambda connection: read_control(connection, self._readers.place))

    def tenants(self) -> tuple[str, ...]:
        """Every tenant that ever had a run, found one after the other by the index."""
        return self._readers.read(
            lambda connection: msgspec.json.decode(asked(connection, _TENANTS), type=tuple[str, ...])
        )

    def by_key(self, keys: Mapping[type[Row], Collection[Key]]) -> list[Row]:
        """The rows that these keys name."""
        sql = f"SELECT {', '.join(f'({select_by_key(SHAPES[row_type])})' for row_type in keys)}"
        bound = [storable_keys(named) for named in keys.values()]

        def read(connection: Connection) -> list[Row]:
            texts = cast("tuple[str, ...]", execute(connection, sql, bound, is_prepared=True).fetchone())
            return [row for row_type, text in zip(keys, texts, strict=True) for row in decoded(SHAPES[row_type], text)]

        return self._readers.read(read)

    def listed(
        self, row_type: type[R], where: str, bound: Sequence[object], order: str, limit: int | None = None
    ) -> tuple[R, ...]:
        """The rows that meet `where`; none where a value is one that PostgreSQL cannot hold."""
        if not storable(bound):
            return ()
        for ours, its in _SPELLING:
            where = where.replace(ours, its)
        shape = SHAPES[cast("type[Row]", row_type)]
        sql = select_all(shape, where, f"{order} LIMIT {'ALL' if limit is None else limit}")
        return self._readers.read(
            lambda connection: tuple(cast("list[R]", decoded(shape, asked(connection, sql, bound))))
        )

    def counted(self, row_type: type[Row], where: str) -> int:
        """How many rows meet `where`."""
        sql = f"SELECT CAST(({count(SHAPES[row_type], where)}) AS text)"
        return self._readers.read(lambda connection: int(asked(connection, sql)))

    def ledger(self, begin: int, end: int) -> list[LedgerLine]:
        """Entries of a range."""
        return self._readers.read(lambda connection: read_lines(connection, begin, end))

    def some(self, indexes: Sequence[int]) -> list[LedgerLine]:
        """The entries of these indexes."""
        return self._readers.read(lambda connection: read_some(connection, indexes))

    def nodes(self, places: Sequence[Place]) -> list[bytes]:
        """The hashes of complete subtrees."""
        return self._readers.read(lambda connection: LedgerNodes(connection).nodes(places))
