"""`leasehold revoke`, `hold` and `lift`: what an operator can do mid-run. Stopping asks for nothing but a reason."""

from __future__ import annotations

from pathlib import Path

import click

from leasehold.cli.session import Session, with_session
from leasehold.decide.stop import Stopped
from leasehold.model.call import Admission
from leasehold.model.grant import split_action
from leasehold.model.plain import escape
from leasehold.model.scope import Scope, ScopeKind
from leasehold.model.times import show_time
from leasehold.policy.document import Policy
from leasehold.policy.reader import suggest

__all__ = ["give_stopped", "hold", "in_flight_lines", "lift", "revoke", "stopped_value", "stops"]

_TENANT = click.option("--tenant", default="", help="In one tenant only; by default in every one.")
_REASON = click.option("--reason", required=True, help="Words for the record.")


@click.command("revoke")
@with_session
@click.argument("scope")
@_REASON
@_TENANT
def revoke(session: Session, scope: str, reason: str, tenant: str) -> None:
    """End everything recorded so far in a scope, for good, and say which calls were in flight.

    A SCOPE is all, or one of lease: request: run: person: agent: tool: action: tenant: environment: route: and a name.
    """
    parsed = Scope.parse(scope)
    with session.authority_for_stops() as authority:
        stopped = authority.desk.revoke(parsed, by=session.around.account, reason=reason, tenant=tenant)
        doubt = _unknown_name(authority.engine.active_policy(), parsed)
    give_stopped(session, stopped, status="revoked", reason=reason)
    if doubt:
        session.say(doubt)


@click.command("hold")
@with_session
@click.argument("scope")
@_REASON
@_TENANT
def hold(session: Session, scope: str, reason: str, tenant: str) -> None:
    """Let nothing start in a scope until it is lifted, and say which calls were in flight. SCOPE as for revoke."""
    parsed = Scope.parse(scope)
    with session.authority_for_stops() as authority:
        stopped = authority.desk.hold(parsed, by=session.around.account, reason=reason, tenant=tenant)
        doubt = _unknown_name(authority.engine.active_policy(), parsed)
    give_stopped(session, stopped, status="held", reason=reason)
    if doubt:
        session.say(doubt)
    only = f" --tenant {tenant}" if tenant else ""
    session.say(f"to end this: leasehold lift {escape(scope)}{only} --as PERSON --reason ...")


@click.command("lift")
@with_session
@click.argument("scope")
@_REASON
@_TENANT
@click.option("--as", "person", required=True, metavar="PERSON", help="Who lifts it; a role must let them.")
@click.option("--key", type=click.Path(path_type=Path), help="The person's key file.")
def lift(session: Session, scope: str, reason: str, tenant: str, person: str, key: Path | None) -> None:
    """Lift a hold, as a person with the power to. A revoke is for ever."""
    parsed = Scope.parse(scope)
    with session.authority() as authority:
        signatory = session.signatory(person, key)
        lifted = authority.desk.lift(parsed, signatory, reason=reason, tenant=tenant)
    session.give({"scope": str(lifted), "status": "lifted", "reason": reason}, ["status: lifted"])


@click.command("stops")
@with_session
def stops(session: Session) -> None:
    """List what is held or revoked now: since when, by whom or by which rule, and why; the newest first.

    A revoke stands here while something that it ended is still open; what one lease, request or run was revoked for
    stands in the ledger.
    """
    with session.authority_for_stops() as authority:
        found = authority.desk.standing()
    session.give_table(
        found,
        ("scope", "tenant", "kind", "since", "by", "reason"),
        [(each.scope, each.tenant or "every", each.kind, show_time(each.at), each.by, each.reason) for each in found],
    )


def give_stopped(session: Session, stopped: Stopped, *, status: str, reason: str) -> None:
    """What a stop did: its status, its reason, and the calls that had been admitted and were not settled."""
    lines = [f"status: {status}", f"reason: {escape(reason)}", *in_flight_lines(stopped)]
    session.give(stopped_value(stopped, status=status, reason=reason), lines)


def stopped_value(stopped: Stopped, *, status: str, reason: str) -> dict[str, object]:
    """The same as data. `unreadable` are open calls whose stored form is damaged: in the scope or not."""
    return {
        "scope": str(stopped.scope),
        "status": status,
        "reason": reason,
        "in_flight": [
            {"admission": call.admission_id, "action": call.action, "run": call.run_id, "lease": call.lease_id}
            for call in stopped.in_flight
        ],
        "unreadable": list(stopped.unreadable),
    }


def in_flight_lines(stopped: Stopped) -> list[str]:
    """A line for each call in flight, or one that says that there is none."""
    lines = [*map(_in_flight, stopped.in_flight), *(f"in-flight: {name}, damaged" for name in stopped.unreadable)]
    return lines or ["in-flight: none"]


def _unknown_name(policy: Policy, scope: Scope) -> str:
    """A doubt about a scope that names no tool, action or route of the active policy; empty if there is none.

    It is stopped all the same: a policy that is accepted later may know the name.
    """
    known = {
        ScopeKind.TOOL: {split_action(action)[0] for action in policy.actions},
        ScopeKind.ACTION: set(policy.actions),
        ScopeKind.ROUTE: set(policy.routes),
    }.get(scope.kind, {scope.value})
    if scope.value in known:
        return ""
    return escape(f"the active policy has no {scope.kind} {scope.value}{suggest(scope.value, known)}")


def _in_flight(call: Admission) -> str:
    return f"in-flight: {call.action} of {call.run_id} ({call.admission_id})"
