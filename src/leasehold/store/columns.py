"""How each row struct stands in a table: columns in the order of its fields, read as one JSON text.

Called by every database's modules. Bytes travel as hex in that JSON.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import cast, get_type_hints

import msgspec

from leasehold.decide.facts import Key
from leasehold.decide.rows import TABLES, Row

__all__ = ["SHAPES", "Shape", "decoded", "keys_json", "quoted"]

_encoder = msgspec.json.Encoder()


class Shape(msgspec.Struct, frozen=True, kw_only=True):
    """One table: its name, columns, key columns, which columns hold bytes, and whether its rows ever change."""

    row_type: type[Row]
    table: str
    columns: tuple[str, ...]
    key: tuple[str, ...]
    blobs: tuple[int, ...]
    is_immutable: bool


def _shape(row_type: type[Row]) -> Shape:
    columns = row_type.__struct_fields__
    hints = get_type_hints(row_type)
    return Shape(
        row_type=row_type,
        table=row_type.TABLE,
        columns=columns,
        key=row_type.KEY,
        blobs=tuple(place for place, column in enumerate(columns) if hints[column] is bytes),
        is_immutable=row_type.IMMUTABLE,
    )


SHAPES: dict[type[Row], Shape] = {row_type: _shape(row_type) for row_type in TABLES}


def quoted(names: Iterable[str]) -> str:
    """The names as SQL identifiers, separated by commas; some columns are named like keywords."""
    return ", ".join(f'"{name}"' for name in names)


def keys_json(keys: Iterable[Key]) -> str:
    """The keys as the JSON array that statements take."""
    return _encoder.encode(list(keys)).decode()


def decoded(shape: Shape, text: str) -> list[Row]:
    """The rows in a JSON array that was read, each column checked against its field.

    Raises:
        ValueError: a column does not hold what its field is; `msgspec.ValidationError` is one.
    """
    if not shape.blobs:
        return _DECODERS[shape.row_type].decode(text)
    rows: list[list[object]] = msgspec.json.decode(text)
    for row in rows:
        for place in shape.blobs:
            row[place] = bytes.fromhex(cast(str, row[place]))
    return [msgspec.convert(row, shape.row_type) for row in rows]


_DECODERS: dict[type[Row], msgspec.json.Decoder[list[Row]]] = {
    row_type: msgspec.json.Decoder(list[row_type])  # type: ignore[valid-type]  # a type made at run time
    for row_type in SHAPES
}
