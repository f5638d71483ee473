"""What is asked of the entry index, each as one statement. Of a query one index drives it, the other conditions filter.

Called by `sqlite_index`. SQLite does not know how selective each column is, so the choice is made here.
"""

from __future__ import annotations

from leasehold.store.projection import attribute_text
from leasehold.store.queries import MAX_LISTED, LedgerQuery

__all__ = ["TELLING", "search_statement"]

TELLING = """
WITH RECURSIVE below (run) AS (
  VALUES (:run)
  UNION
  SELECT e.run FROM below CROSS JOIN entries AS e INDEXED BY entries_by_parent ON e.parent_run = below.run
  WHERE e.parent_run <> '' AND e.kind IN ('run.started', 'run.denied') AND e.kind = 'run.started'
    AND e.tenant = :tenant
), telling (idx) AS (
  SELECT e.idx FROM below CROSS JOIN entries AS e INDEXED BY entries_by_run ON e.run = below.run
  WHERE e.run <> '' AND e.tenant = :tenant
  UNION
  SELECT e.idx FROM below CROSS JOIN entries AS e INDEXED BY entries_by_parent ON e.parent_run = below.run
  WHERE e.parent_run <> '' AND e.kind IN ('run.started', 'run.denied') AND e.tenant = :tenant
  UNION
  SELECT idx FROM entries INDEXED BY entries_by_stop
  WHERE kind IN ('stop.revoked', 'stop.held', 'stop.lifted', 'damaged') AND tenant IN ('', :tenant) AND idx >= :begin
)
SELECT json_group_array(idx) FROM (SELECT idx FROM telling WHERE idx >= :begin AND idx < :end ORDER BY idx)
"""
"""What can tell of a run: its entries, those of every run below it, starts refused under them, all stops since, and
what can no longer be read, so that a receipt fails over it rather than leave it out."""

_COLUMNS = ("admission", "key", "lease", "run", "capability", "person", "agent", "action")
_DRIVERS = ("admission", "key", "lease", "run", "capability", "attribute", "person", "agent", "action")
"""What a query may name, the most selective first: the first that it does name drives the search."""


def search_statement(query: LedgerQuery, before: tuple[int, int] | None) -> tuple[str, list[object]]:
    """The statement and what to bind to it; it answers indexes, the newest first by recorded time, then by index.

    `before` is the recorded time and the index of the last entry of the page before.
    """
    driver = _driver(query)
    conditions = [*_columns(query), *_tenants(query), *_attribute(query, driver), *_times(query, driver, before)]
    table = "a" if driver == "attribute" else "e"
    source = (
        "attributes AS a CROSS JOIN entries AS e ON e.idx = a.idx"
        if driver == "attribute"
        else f"entries AS e INDEXED BY entries_by_{driver}"
    )
    where = " AND ".join(text for text, _ in conditions) or "1"
    sql = f"SELECT e.idx FROM {source} WHERE {where} ORDER BY {table}.time_ms DESC, {table}.idx DESC LIMIT ?"  # noqa: S608 - own names
    limit = max(0, min(query.limit, MAX_LISTED))
    return sql, [*(value for _, values in conditions for value in values), limit]


_Condition = tuple[str, tuple[object, ...]]


def _driver(query: LedgerQuery) -> str:
    named = next((name for name in _DRIVERS if getattr(query, name)), None)
    if named is not None:
        return named
    return "tenant" if query.tenants is not None and len(query.tenants) == 1 else "time"


def _columns(query: LedgerQuery) -> list[_Condition]:
    # The second half lets SQLite use the partial index, which leaves out entries that say nothing here.
    named: list[_Condition] = [
        (f'e."{column}" = ? AND e."{column}" <> \'\'', (getattr(query, column),))
        for column in _COLUMNS
        if getattr(query, column)
    ]
    return [*named, ("e.decision = ?", (query.decision,))] if query.decision else named


def _tenants(query: LedgerQuery) -> list[_Condition]:
    if query.tenants is None:
        return []
    if len(query.tenants) == 1:
        return [("e.tenant = ?", tuple(query.tenants))]
    return [("e.tenant IN (SELECT value FROM json_each(?))", (attribute_text(list(query.tenants)),))]


def _attribute(query: LedgerQuery, driver: str) -> list[_Condition]:
    if query.attribute is None:
        return []
    name, value = query.attribute
    found = "a.name = ? AND a.value = ?"
    if driver != "attribute":
        found = f"EXISTS (SELECT 1 FROM attributes AS a WHERE {found} AND a.time_ms = e.time_ms AND a.idx = e.idx)"  # noqa: S608 - own names
    return [(found, (name, attribute_text(value)))]


def _times(query: LedgerQuery, driver: str, before: tuple[int, int] | None) -> list[_Condition]:
    table = "a" if driver == "attribute" else "e"
    conditions: list[_Condition] = []
    if query.since is not None:
        conditions.append((f"{table}.time_ms >= ?", (int(query.since),)))
    if query.until is not None:
        conditions.append((f"{table}.time_ms < ?", (int(query.until),)))
    if before is not None:
        conditions.append((f"({table}.time_ms, {table}.idx) < (?, ?)", before))
    return conditions
