"""The policy as a matrix of actions and routes, with an explanation of each cell: who has to agree, by which rule."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from leasehold.console.drawing import draw_page, viewer_of
from leasehold.errors import NotFoundError
from leasehold.model.effect import ApprovalMode
from leasehold.policy.document import Policy
from leasehold.policy.document import Route as PolicyRoute
from leasehold.policy.explain import RouteRow
from leasehold.policy.matrix import matrix
from leasehold.policy.programs import startable_on

__all__ = ["cell_kind", "cell_words", "policy_routes"]

_WORDS = {"free": "free", "lease": "per lease", "call": "each call", "denied": "denied"}


def cell_kind(row: RouteRow) -> str:
    """What becomes of an action on a route: `free`, `lease`, `call` or `denied`."""
    if row.denied_by:
        return "denied"
    return "free" if row.mode is ApprovalMode.NONE else row.mode.value


def cell_words(row: RouteRow) -> str:
    """The same in a word or two, with how many people it takes where it takes several."""
    kind = cell_kind(row)
    return _WORDS[kind] + (f" × {row.quorum}" if kind in ("lease", "call") and row.quorum > 1 else "")


def policy(request: Request) -> Response:
    """The matrix, and the explanation of the cell that the address names."""
    shown = viewer_of(request).policy()
    table = matrix(shown.document)
    route, action = request.query_params.get("route", ""), request.query_params.get("action", "")
    chosen = shown.document.route(route) if route and action else None
    if route and action and chosen is None:
        raise NotFoundError("there is no such route")
    return draw_page(
        request,
        "policy.html",
        here="policy",
        policy=shown.document,
        hash=shown.hash,
        proposed=len(viewer_of(request).governing.open()),
        governs=bool(viewer_of(request).governing.all()),
        matrix=table,
        asked=(route, action),
        cell=table.cells[route].get(action) if chosen is not None else None,
        terms=_terms(shown.document, chosen) if chosen is not None else [],
        kind_of=cell_kind,
        words_of=cell_words,
    )


def _terms(policy: Policy, route: PolicyRoute) -> list[tuple[str, str]]:
    """For whom a route is, and which programs may start runs on it over the network."""
    programs = dict.fromkeys(name for name, _ in startable_on(policy, route.name))
    return [
        ("Agents", ", ".join(route.agents)),
        ("Tenants", ", ".join(route.tenants)),
        ("Environments", ", ".join(route.environments)),
        ("Approvers", ", ".join(route.approvers) or "nobody"),
        *([("Clients", ", ".join(programs))] if programs else []),
    ]


def policy_routes() -> list[BaseRoute]:
    """The page of the policy."""
    return [Route("/policy", policy)]
