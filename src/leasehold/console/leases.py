"""Leases: the list, and one as `lease inspect` shows it, with the form that ends it (requirement L13)."""

from __future__ import annotations

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from leasehold.authority.desk import LeaseStatus
from leasehold.console.drawing import draw_page, tokens_of, viewer_of
from leasehold.console.paging import page_before
from leasehold.decide.cards import describe_constraint
from leasehold.decide.lifecycles import LeaseState
from leasehold.decide.rows import LeaseRow
from leasehold.model.budget import amounts_to_json
from leasehold.model.grant import Grants
from leasehold.model.instant import Instant
from leasehold.model.lease import Lease
from leasehold.model.scope import Scope, ScopeKind
from leasehold.policy.document import Power

__all__ = ["GrantLine", "LeaseLine", "LeasePage", "grant_lines", "lease_page", "lease_routes", "lease_state"]

PAGE = 50


class LeaseLine(msgspec.Struct, frozen=True):
    """A lease in the list."""

    row: LeaseRow
    state: str


class GrantLine(msgspec.Struct, frozen=True):
    """One action, and what each of its attributes may be."""

    action: str
    attributes: dict[str, str]


class LeasePage(msgspec.Struct, frozen=True, kw_only=True):
    """A lease as every door would judge it now. `above` are its parents, root first; `why` is why it is not active."""

    lease: Lease
    status: str
    why: str
    grants: tuple[GrantLine, ...]
    budget: dict[str, int | str]
    left: dict[str, int]
    above: tuple[Lease, ...]


def lease_state(row: LeaseRow, now: Instant) -> str:
    """Where a lease stands, also where no sweep has written it down yet."""
    if row.state != LeaseState.ACTIVE:
        return row.state
    if row.revoked or row.held:
        return "revoked" if row.revoked else "held"
    return LeaseState.EXPIRED if now.reached(row.expires_at) else row.state


def grant_lines(allow: Grants) -> tuple[GrantLine, ...]:
    """What is granted, an action a line."""
    return tuple(
        GrantLine(action, {name: describe_constraint(entry) for name, entry in sorted(grant.attributes.items())})
        for action, grant in sorted(allow.items())
    )


def lease_page(status: LeaseStatus) -> LeasePage:
    """The page of one lease."""
    *above, link = status.chain
    spent = ((row, row.settled + row.reserved + row.unknown) for row in status.accounts)
    return LeasePage(
        lease=link.lease,
        status=status.status,
        why=status.decision.message,
        grants=grant_lines(link.lease.allow),
        budget=amounts_to_json(link.lease.budget),
        left={row.unit: max(0, row.limit - gone) for row, gone in spent},
        above=tuple(each.lease for each in above),
    )


def leases(request: Request) -> Response:
    """The list, the newest first."""
    viewer, before = viewer_of(request), page_before(request)
    now, found = viewer.now(), viewer.leases(before=before, limit=PAGE)
    return draw_page(
        request,
        "leases.html",
        here="leases",
        lines=[LeaseLine(row, lease_state(row, now)) for row in found],
        older=found[-1].recorded if len(found) == PAGE else None,
        is_first=before is None,
    )


def lease(request: Request) -> Response:
    """One lease."""
    viewer = viewer_of(request)
    page = lease_page(viewer.lease_status(request.path_params["lease_id"]))
    return draw_page(
        request,
        "lease.html",
        here="leases",
        page=page,
        may_revoke=viewer.may(Power.REVOKE, page.lease.tenant),
        token=tokens_of(request).make("stop"),
        scope=str(Scope(ScopeKind.LEASE, page.lease.lease_id)),
    )


def lease_routes() -> list[BaseRoute]:
    """The pages of leases."""
    return [Route("/leases", leases), Route("/leases/{lease_id}", lease)]
