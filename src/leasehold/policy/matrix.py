"""All routes by all actions, as values to be drawn: who has to agree, and on which ways else an action is reached.

Called by the console, and by whoever wants the whole policy at one look; `explain` has the single routes.
"""

from __future__ import annotations

import msgspec

from leasehold.policy.document import Policy, Route
from leasehold.policy.evaluate import implied
from leasehold.policy.explain import RouteRow, explain_route

__all__ = ["Matrix", "MatrixCell", "matrix"]


class MatrixCell(msgspec.Struct, frozen=True, kw_only=True):
    """One action on one route.

    `implied_by` are the route's actions whose calls come to this one too, `used_by` those whose tools may call it.
    `delegable` says what child runs can do: empty for nothing, `yes`, or `through` the name of an action implying it.
    """

    route: str
    row: RouteRow
    implied_by: tuple[str, ...]
    used_by: tuple[str, ...]
    delegable: str


class Matrix(msgspec.Struct, frozen=True, kw_only=True):
    """Routes and classified actions by name, sorted, and a cell where a route names the action: by route, by action."""

    routes: tuple[str, ...]
    actions: tuple[str, ...]
    cells: dict[str, dict[str, MatrixCell]]


def matrix(policy: Policy) -> Matrix:
    """Return what every route comes to, action by action."""
    return Matrix(
        routes=tuple(sorted(policy.routes)),
        actions=tuple(sorted(policy.actions)),
        cells={name: _cells(policy, route) for name, route in sorted(policy.routes.items())},
    )


def _cells(policy: Policy, route: Route) -> dict[str, MatrixCell]:
    rows = {row.action: row for row in explain_route(policy, route.name)}
    usable = [row.action for row in rows.values() if not row.denied_by]
    return {action: _cell(policy, route, row, usable) for action, row in rows.items()}


def _cell(policy: Policy, route: Route, row: RouteRow, usable: list[str]) -> MatrixCell:
    implied_by = tuple(name for name in usable if row.action in implied(policy, name))
    return MatrixCell(
        route=route.name,
        row=row,
        implied_by=implied_by,
        used_by=tuple(name for name in usable if row.action in policy.action(name).uses),
        delegable=_delegable(route, row, implied_by),
    )


def _delegable(route: Route, row: RouteRow, implied_by: tuple[str, ...]) -> str:
    delegation = route.delegation
    if row.denied_by or not delegation.depth or not delegation.children:
        return ""
    if row.action in delegation.actions:
        return "yes"
    return next((f"through {name}" for name in implied_by if name in delegation.actions), "")
