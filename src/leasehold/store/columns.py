"""How each row struct stands in a table: columns in the order of its fields. Called by every database's module."""

from __future__ import annotations

from typing import get_type_hints

import msgspec

from leasehold.decide.rows import TABLES, Row

__all__ = ["SHAPES", "Shape"]


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
