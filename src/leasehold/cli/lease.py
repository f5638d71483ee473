"""`leasehold lease`: draw, look at, renew and revoke leases (requirement L13)."""

from __future__ import annotations

from collections.abc import Iterator

import click
import msgspec

from leasehold.authority.desk import LeaseStatus
from leasehold.cli.exits import ExitCode, Failure
from leasehold.cli.groups import CommandGroup
from leasehold.cli.session import Session, with_session
from leasehold.cli.spending import account_values, show_accounts
from leasehold.cli.stop import give_stopped
from leasehold.decide.cards import describe_constraint
from leasehold.decide.lifecycles import LeaseState
from leasehold.decide.rows import LeaseRow
from leasehold.errors import Denied
from leasehold.model.budget import amounts_to_json
from leasehold.model.decision import Reason
from leasehold.model.grant import Grants, OneOf, grants_to_json, split_action
from leasehold.model.instant import Instant
from leasehold.model.lease import HeldLease, Lease
from leasehold.model.scope import Scope, ScopeKind
from leasehold.model.times import show_countdown, show_time

__all__ = ["lease"]


@click.group(cls=CommandGroup)
def lease() -> None:
    """Draw, look at, renew and revoke leases."""


@lease.command("draw")
@with_session
@click.argument("request_id", metavar="REQUEST")
@click.option("--wait", "seconds", type=click.FloatRange(0), help="Wait so long for people to decide.")
def draw(session: Session, request_id: str, seconds: float | None) -> None:
    """Draw the next lease of an approved request and print its id."""
    with session.authority() as authority:
        if seconds is None:
            held = authority.runs.submit_draw(authority.find_request(request_id)).result()
        else:
            try:
                held = authority.wait(request_id, timeout=seconds)
            except TimeoutError:
                raise Failure(
                    f"{request_id} is not decided yet; it goes on waiting, so ask again", ExitCode.APPROVAL
                ) from None
    _give_held(session, held)


@lease.command("list")
@with_session
@click.option("--all", "is_all", is_flag=True, help="Ended ones as well.")
def list_leases(session: Session, *, is_all: bool) -> None:
    """List leases, the newest first; by default those whose time is not over."""
    with session.authority() as authority:
        queries, now = authority.engine.store.queries, session.around.system.now()
        rows = [row for row in queries.leases(queries.tenants()) if is_all or _state(row, now) == LeaseState.ACTIVE]
    values = [{**msgspec.structs.asdict(row), "state": _state(row, now)} for row in rows]
    cells = [
        (row.lease_id, _state(row, now), row.run_id, row.request_id, show_countdown(row.expires_at - now.seconds))
        for row in rows
    ]
    session.give_table(values, ("lease", "state", "run", "request", "expires in"), cells)


@lease.command("inspect")
@with_session
@click.argument("lease_id", metavar="LEASE")
def inspect(session: Session, lease_id: str) -> None:
    """Show what was granted, to whom, by whom, why, what is left of it, and whether any door would take it now."""
    with session.authority() as authority:
        status = authority.desk.lease_status(lease_id)
    found = status.chain[-1].lease
    session.give_fields(_status_value(status, found), _status_fields(status, found))


@lease.command("renew")
@with_session
@click.argument("lease_id", metavar="LEASE")
def renew(session: Session, lease_id: str) -> None:
    """Draw the next lease of the same request, after a new policy check, and print its id."""
    with session.authority() as authority:
        status = authority.desk.lease_status(lease_id)
        if status.decision.reason in (Reason.REVOKED, Reason.HELD):
            raise Denied(status.decision)
        held = authority.renew(authority.engine.held(status.chain[-1].lease))
    _give_held(session, held)


@lease.command("revoke")
@with_session
@click.argument("lease_id", metavar="LEASE")
@click.option("--reason", required=True, help="Words for the record.")
def revoke(session: Session, lease_id: str, reason: str) -> None:
    """End a lease and the request it was drawn from, for good, and say which calls were in flight."""
    with session.authority_for_stops() as authority:
        scope = Scope(ScopeKind.LEASE, lease_id)
        stopped = authority.desk.revoke(scope, by=session.around.account, reason=reason)
        request_id = authority.desk.lease_status(lease_id).chain[-1].lease.request_id
    give_stopped(session, stopped, status="revoked", reason=reason)
    session.say(f"no other lease is drawn from its request {request_id} either")


def _give_held(session: Session, held: HeldLease) -> None:
    """The id on stdout, for scripts; the rest on stderr."""
    found = held.lease
    session.give({"lease": found.lease_id, "expires_at": found.expires_at}, [found.lease_id])
    session.say(f"until {show_time(found.expires_at)}; look at it with: leasehold lease inspect {found.lease_id}")


def _state(row: LeaseRow, now: Instant) -> str:
    """Its recorded state, or what the clock and the stops make of it before a sweep has written that down."""
    if row.state != LeaseState.ACTIVE:
        return row.state
    if row.revoked or row.held:
        return "revoked" if row.revoked else "held"
    return LeaseState.EXPIRED if now.reached(row.expires_at) else row.state


def _status_fields(status: LeaseStatus, found: Lease) -> Iterator[tuple[str, str]]:
    yield "subject", found.run_id
    yield "scope", "; ".join(_scopes(found.allow))
    yield "resource", f"{_resources(found.allow)} / {found.environment}"
    yield "approved-by", ", ".join(found.approved_by)
    yield "reason", found.reason
    yield "budget-left", show_accounts(status.accounts)
    yield "expires-in", show_countdown(status.seconds_left)
    yield "status", status.status


def _scopes(allow: Grants) -> Iterator[str]:
    """Each tool with its verbs: `deploy.prod -> release:create,release:status`."""
    verbs: dict[str, list[str]] = {}
    for action in sorted(allow):
        tool, verb = split_action(action)
        verbs.setdefault(tool, []).append(verb)
    return (f"{tool} -> {','.join(names)}" for tool, names in verbs.items())


def _resources(allow: Grants) -> str:
    """What the actions may touch, each thing once: lists as they are, limits under their attribute's name."""
    found: dict[str, None] = {}
    for _, grant in sorted(allow.items()):
        for name, constraint in sorted(grant.attributes.items()):
            words = describe_constraint(constraint)
            is_named = isinstance(constraint, OneOf) and not constraint.is_any
            found[words if is_named else f"{name} {words}"] = None
    return ", ".join(found) or "-"


def _status_value(status: LeaseStatus, found: Lease) -> dict[str, object]:
    return {
        "lease_id": found.lease_id,
        "subject": found.run_id,
        "attempt": found.attempt,
        "agent": found.agent,
        "requested_by": found.requested_by,
        "tenant": found.tenant,
        "environment": found.environment,
        "route": found.route,
        "allow": grants_to_json(found.allow),
        "deny": list(found.deny),
        "approved_by": list(found.approved_by),
        "reason": found.reason,
        "budget": amounts_to_json(found.budget),
        "accounts": account_values(status.accounts),
        "parents": list(found.parents),
        "issued_at": found.issued_at,
        "expires_at": found.expires_at,
        "expires_in_seconds": status.seconds_left,
        "status": status.status,
    }
