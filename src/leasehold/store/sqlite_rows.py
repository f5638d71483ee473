"""SQL over the row structs, made from their shapes: one statement reads a batch's facts, one writes a table's rows.

Called by the SQLite lane and queries. A statement that reads answers a single JSON text, one that writes takes many
rows at once, because each step of a statement lets go of the interpreter's lock: beside one busy thread a row at a time
was measured forty times slower.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import chain

import apsw
import msgspec

from leasehold.decide.facts import ActiveStops, AllOpenCalls, Index, OpenCalls, PendingRequests, RequestsOfCall
from leasehold.decide.rows import Row
from leasehold.store.columns import SHAPES, Shape, quoted

__all__ = [
    "INDEX_FILTERS",
    "count",
    "delete_by_key",
    "insert",
    "select_all",
    "select_by_index",
    "select_by_key",
    "upsert",
]

_MOST_ROWS = 256

INDEX_FILTERS: dict[type[Index], tuple[str, str]] = {
    OpenCalls: ("calls_open", "state = 'admitted' AND tenant IN (SELECT value ->> 0 FROM json_each(?))"),
    AllOpenCalls: ("calls_open", "state = 'admitted' AND json_array_length(?) > 0"),
    RequestsOfCall: (
        "requests_of_call",
        "call_digest <> '' AND (tenant, call_digest) IN (SELECT value ->> 0, value ->> 1 FROM json_each(?))",
    ),
    PendingRequests: (
        "requests_pending_of_run",
        "state = 'pending' AND (tenant, run_id) IN (SELECT value ->> 0, value ->> 1 FROM json_each(?))",
    ),
    ActiveStops: ("stops_active", "is_active = 1 AND tenant IN (SELECT value ->> 0 FROM json_each(?))"),
}
"""For each index, SQLite's partial index behind it and which rows stand in the buckets that a JSON array names."""


def select_all(shape: Shape, where: str, rest: str = "") -> str:
    """A query for one JSON array of all rows that meet `where`; `rest` is an order and limit."""
    if not rest:
        return f"SELECT json_group_array({_json_row(shape)}) FROM {shape.table} WHERE {where}"  # noqa: S608 - own names
    rows = f"SELECT {_json_row(shape)} AS row FROM {shape.table} WHERE {where} {rest}"  # noqa: S608 - own names
    return f"SELECT json_group_array(json(row)) FROM ({rows})"  # noqa: S608 - own names


def select_each(shape: Shape) -> str:
    """A query for every row of a table, each as the text of a JSON array."""
    return f"SELECT {_json_row(shape)} FROM {shape.table}"  # noqa: S608 - own names


def count(shape: Shape, where: str) -> str:
    """A query for how many rows meet `where`."""
    return f"SELECT count(*) FROM {shape.table} WHERE {where}"  # noqa: S608 - own names


def select_by_key(shape: Shape) -> str:
    """A query for one JSON array of the rows whose keys a JSON array names, each key once."""
    same = " AND ".join(f'{shape.table}."{column}" = named.value ->> {place}' for place, column in enumerate(shape.key))
    found = f"json_each(?) AS named CROSS JOIN {shape.table} ON {same}"
    return f"SELECT json_group_array({_json_row(shape)}) FROM {found}"  # noqa: S608 - own names


def delete_by_key(shape: Shape) -> str:
    """Take the rows out whose keys a JSON array names."""
    names = ", ".join(f"value ->> {place}" for place in range(len(shape.key)))
    return f"DELETE FROM {shape.table} WHERE ({quoted(shape.key)}) IN (SELECT {names} FROM json_each(?))"  # noqa: S608 - own names


def select_by_index(index: type[Index]) -> str:
    """A query for one JSON array of the rows that stand in the buckets that a JSON array of keys names.

    It names its partial index: left to choose, SQLite walks all requests, or all stops ever made, of a tenant.
    """
    shape = SHAPES[index.ROW]
    by, where = INDEX_FILTERS[index]
    return f"SELECT json_group_array({_json_row(shape)}) FROM {shape.table} INDEXED BY {by} WHERE {where}"  # noqa: S608 - own names


def _json_row(shape: Shape) -> str:
    names = (f'{shape.table}."{column}"' for column in shape.columns)
    values = (f"hex({name})" if place in shape.blobs else name for place, name in enumerate(names))
    return f"json_array({', '.join(values)})"


def upsert(connection: apsw.Connection, shape: Shape, rows: Iterable[Row]) -> None:
    """Write whole rows of one table, no key twice: new ones in, changed ones over; immutable ones stay as they are."""
    insert(connection, shape.table, [msgspec.structs.astuple(row) for row in rows], _UPSERTS[shape.row_type])


def _on_conflict(shape: Shape) -> str:
    if shape.is_immutable:
        return f"ON CONFLICT ({quoted(shape.key)}) DO NOTHING"
    changes = ", ".join(f'"{column}" = excluded."{column}"' for column in shape.columns if column not in shape.key)
    return f"ON CONFLICT ({quoted(shape.key)}) DO UPDATE SET {changes}"


_UPSERTS = {row_type: _on_conflict(shape) for row_type, shape in SHAPES.items()}


def insert(connection: apsw.Connection, table: str, rows: Sequence[tuple[object, ...]], clause: str = "") -> None:
    """Insert rows of equal width, a power of two of them with each statement, so that few texts have to be parsed."""
    done = 0
    while done < len(rows):
        count = min(1 << ((len(rows) - done).bit_length() - 1), _MOST_ROWS)
        row = f"({', '.join('?' * len(rows[0]))})"
        values = ", ".join([row] * count)
        bound = list(chain.from_iterable(rows[done : done + count]))
        connection.execute(f"INSERT INTO {table} VALUES {values} {clause}", bound)  # noqa: S608 - own names
        done += count
