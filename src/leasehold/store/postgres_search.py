"""What is asked of the entry index on PostgreSQL, each as one statement. Called by `postgres_index`.

Of a query one index drives it, the other conditions filter. The conditions that only filter are written so that no
index serves them: the server, left to choose without having looked at its tables, walks long ones.
"""

from __future__ import annotations

import hashlib
from typing import TypeAlias

from leasehold.store.projection import attribute_text
from leasehold.store.queries import MAX_LISTED, LedgerQuery

__all__ = ["TELLING", "indexed_text", "search_statement"]

TELLING = """
WITH RECURSIVE below (run) AS (
  VALUES (CAST(%(run)s AS text) COLLATE "C")
  UNION
  SELECT e.run FROM below JOIN entries AS e ON e.parent_run = below.run
  WHERE e.parent_run <> '' AND e.kind IN ('run.started', 'run.denied') AND e.kind || '' = 'run.started'
    AND e.tenant || '' = %(tenant)s
), telling (idx) AS (
  SELECT e.idx FROM below JOIN entries AS e ON e.run = below.run
  WHERE e.run <> '' AND e.tenant || '' = %(tenant)s
  UNION
  SELECT e.idx FROM below JOIN entries AS e ON e.parent_run = below.run
  WHERE e.parent_run <> '' AND e.kind IN ('run.started', 'run.denied') AND e.tenant || '' = %(tenant)s
  UNION
  SELECT idx FROM entries
  WHERE kind IN ('stop.revoked', 'stop.held', 'stop.lifted', 'damaged') AND tenant IN ('', %(tenant)s)
    AND idx >= %(begin)s
)
SELECT idx FROM telling WHERE idx >= %(begin)s AND idx < %(end)s ORDER BY idx
"""
"""What can tell of a run: its entries, those of every run below it, starts refused under them, all stops since, and
what can no longer be read, so that a receipt fails over it rather than leave it out."""

_COLUMNS = ("admission", "key", "lease", "run", "capability", "person", "agent", "action")
_DRIVERS = ("admission", "key", "lease", "run", "capability", "attribute", "person", "agent", "action")
"""What a query may name, the most selective first: the first that it does name drives the search."""

_LONGEST = 500
"""Characters of a value that the index keeps as they are; an index of PostgreSQL holds no long ones."""

_Condition: TypeAlias = tuple[str, tuple[object, ...]]


def indexed_text(text: str) -> str:
    """A text as the index keeps it: the same, but cut where it is too long or holds a NUL, with its hash to tell it."""
    if len(text) <= _LONGEST and "\x00" not in text:
        return text
    digest = hashlib.sha256(text.encode()).hexdigest()
    return f"{text[:_LONGEST]} … sha256:{digest}".replace("\x00", "\N{SYMBOL FOR NULL}")


def search_statement(query: LedgerQuery, before: tuple[int, int] | None) -> tuple[str, list[object]]:
    """The statement and what to bind to it; it answers indexes, the newest first by recorded time, then by index.

    `before` is the recorded time and the index of the last entry of the page before.
    """
    driver = _driver(query)
    conditions = [
        *_columns(query, driver),
        *_tenants(query, driver),
        *_attribute(query, driver),
        *_times(query, driver, before),
    ]
    table = "a" if driver == "attribute" else "e"
    source = "attributes AS a JOIN entries AS e ON e.idx = a.idx" if driver == "attribute" else "entries AS e"
    where = " AND ".join(text for text, _ in conditions) or "true"
    sql = f"SELECT e.idx FROM {source} WHERE {where} ORDER BY {table}.time_ms DESC, {table}.idx DESC LIMIT %s"  # noqa: S608 - own names
    limit = max(0, min(query.limit, MAX_LISTED))
    return sql, [*(value for _, values in conditions for value in values), limit]


def _driver(query: LedgerQuery) -> str:
    named = next((name for name in _DRIVERS if getattr(query, name)), None)
    if named is not None:
        return named
    return "tenant" if query.tenants is not None and len(query.tenants) == 1 else "time"


def _columns(query: LedgerQuery, driver: str) -> list[_Condition]:
    # The second half lets the server use the partial index, which leaves out entries that say nothing here.
    named: list[_Condition] = [
        (
            f'e."{column}" = %s AND e."{column}" <> \'\'' if column == driver else f"e.\"{column}\" || '' = %s",
            (indexed_text(getattr(query, column)),),
        )
        for column in _COLUMNS
        if getattr(query, column)
    ]
    return [*named, ("e.decision = %s", (query.decision,))] if query.decision else named


def _tenants(query: LedgerQuery, driver: str) -> list[_Condition]:
    if query.tenants is None:
        return []
    if driver == "tenant":
        return [("e.tenant = %s", tuple(query.tenants))]
    return [("e.tenant || '' = ANY(CAST(%s AS text[]))", (list(query.tenants),))]


def _attribute(query: LedgerQuery, driver: str) -> list[_Condition]:
    if query.attribute is None:
        return []
    name, value = query.attribute
    found = "a.name = %s AND a.value = %s"
    if driver != "attribute":
        found = f"EXISTS (SELECT 1 FROM attributes AS a WHERE {found} AND a.time_ms = e.time_ms AND a.idx = e.idx)"  # noqa: S608 - own names
    return [(found, (indexed_text(name), indexed_text(attribute_text(value))))]


def _times(query: LedgerQuery, driver: str, before: tuple[int, int] | None) -> list[_Condition]:
    table = "a" if driver == "attribute" else "e"
    conditions: list[_Condition] = []
    if query.since is not None:
        conditions.append((f"{table}.time_ms >= %s", (int(query.since),)))
    if query.until is not None:
        conditions.append((f"{table}.time_ms < %s", (int(query.until),)))
    if before is not None:
        conditions.append((f"({table}.time_ms, {table}.idx) < (%s, %s)", before))
    return conditions
