"""A tool of your own behind a lease, a SQLite table here, and the tool calls of whatever drives the model."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable

from leasehold import ApprovalNeeded, Authority, Capability, Denied, Guard, InvalidError, Toolbox


def count_customers(database: str) -> int:
    """A function that stays as it is: it knows nothing of leases."""
    with sqlite3.connect(database) as connection:
        found: tuple[int] = connection.execute("SELECT count(*) FROM customer").fetchone()
    return found[0]


def crm(authority: Authority, database: str) -> list[Callable[..., object]]:
    """The tool: its functions can only be called with a lease."""
    guard = Guard("crm", authority, environment="prod")

    @guard.action("delete")
    def delete(capability: Capability, ids: list[int]) -> str:
        """Delete customers by their numbers."""  # the model is told this, and the types
        with sqlite3.connect(database) as connection:
            connection.executemany("DELETE FROM customer WHERE id = ?", [(each,) for each in ids])
        capability.touched(*(f"customer/{each}" for each in ids))  # goes into the receipt
        return f"{len(ids)} deleted"

    def count() -> int:
        """Count the customers."""
        return count_customers(database)

    return [delete, guard.wrap("count", count)]


def answer(authority: Authority, tools: Toolbox, name: str, arguments: str, call_id: str) -> str:
    """Carry out one tool call of a model, and say in words how it went."""
    try:
        return str(tools.call(name, arguments, call_id))
    except ApprovalNeeded as needed:
        try:
            authority.wait(needed.request, timeout=600)  # people decide; nothing has been executed yet
        except Denied as denied:
            return f"refused: {denied}"
        return answer(authority, tools, name, arguments, call_id)
    except (Denied, InvalidError) as refused:
        return f"refused: {refused}"  # what was checked, and what would be enough
