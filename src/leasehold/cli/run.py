"""`leasehold run`: start, look at, retry and finish runs."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import click
import msgspec

from leasehold.authority import Authority
from leasehold.cli.files import write_output
from leasehold.cli.groups import CommandGroup
from leasehold.cli.session import Session, with_session
from leasehold.cli.spending import account_values, show_accounts
from leasehold.decide.facts import Ref
from leasehold.decide.lifecycles import RunState
from leasehold.decide.rows import RunRow
from leasehold.model.instant import Instant
from leasehold.model.run import RunAttempt
from leasehold.model.times import show_time

__all__ = ["run"]


@click.group(cls=CommandGroup)
def run() -> None:
    """Start, look at, retry and finish runs."""


@run.command("start")
@with_session
@click.option("--agent", required=True, help="Which agent runs.")
@click.option("--route", required=True, help="The route of the policy that it runs on.")
@click.option("--tenant", required=True)
@click.option("--environment", required=True)
@click.option("--requested-by", required=True, metavar="PERSON", help="Whose run it is, such as user:ana.")
@click.option("--purpose", required=True, help="What it is for, in a person's words.")
def start(
    session: Session, agent: str, route: str, tenant: str, environment: str, requested_by: str, purpose: str
) -> None:
    """Start a run and print its id."""
    with session.authority() as authority:
        started = authority.start(
            agent=agent,
            route=route,
            tenant=tenant,
            environment=environment,
            requested_by=requested_by,
            purpose=purpose,
        )
        _give_attempt(session, started)


@run.command("list")
@with_session
@click.option("--all", "is_all", is_flag=True, help="Finished ones as well.")
def list_runs(session: Session, *, is_all: bool) -> None:
    """List runs, the newest first; by default those that are open."""
    with session.authority() as authority:
        queries, now = authority.engine.store.queries, session.around.system.now()
        rows = [row for row in queries.runs(queries.tenants()) if is_all or _state(row, now) == RunState.OPEN]
        values = [_row_value(row, now) for row in rows]
    titles = ("run", "state", "attempt", "agent", "for", "tenant", "environment", "route", "until")
    cells = [
        (
            row.run_id,
            _state(row, now),
            str(row.attempt),
            row.agent,
            row.requested_by,
            row.tenant,
            row.environment,
            row.route,
            show_time(row.expires_at),
        )
        for row in rows
    ]
    session.give_table(values, titles, cells)


@run.command("inspect")
@with_session
@click.argument("run_id", metavar="RUN")
def inspect(session: Session, run_id: str) -> None:
    """Show a run's envelope, where it stands, and what it spent."""
    with session.authority() as authority:
        attempt = authority.run(run_id)
        queries = authority.engine.store.queries
        row = _row_of(authority, attempt)
        accounts = queries.accounts(attempt.tenant, (attempt.run.ancestors or (attempt.run,))[0].run_id)
        leases = queries.leases_of_run(attempt.tenant, run_id)
        requests = queries.requests_of_run(attempt.tenant, run_id)
        now = session.around.system.now()
    envelope = attempt.run
    value = {
        **_row_value(row, now),
        "run": msgspec.to_builtins(envelope),
        "accounts": account_values(accounts),
        "requests": [{"id": each.request_id, "kind": each.kind, "state": each.state} for each in requests],
        "leases": [{"id": each.lease_id, "state": each.state, "expires_at": each.expires_at} for each in leases],
    }
    session.give_fields(
        value,
        [
            ("run", envelope.run_id),
            ("state", f"{_state(row, now)}, attempt {row.attempt}"),
            ("agent", envelope.agent),
            ("for", f"{envelope.requested_by} ({envelope.requester_proof})"),
            ("where", f"{envelope.tenant} / {envelope.environment}"),
            ("route", envelope.route),
            ("purpose", envelope.purpose),
            ("parent", envelope.parent_run or "none"),
            ("started", show_time(envelope.started_at)),
            ("until", show_time(envelope.expires_at)),
            ("budget-left", show_accounts(accounts)),
            ("denials", str(row.denials)),
            *(("request", f"{each.request_id} {each.kind} {each.state}") for each in requests),
            *(("lease", f"{each.lease_id} {each.state} until {show_time(each.expires_at)}") for each in leases),
        ],
    )


@run.command("retry")
@with_session
@click.argument("run_id", metavar="RUN")
def retry(session: Session, run_id: str) -> None:
    """Begin the next attempt: what older attempts hold is dead from here on."""
    with session.authority() as authority:
        _give_attempt(session, authority.retry(authority.run(run_id)))


@run.command("finish")
@with_session
@click.argument("run_id", metavar="RUN")
@click.option("-o", "--output", type=click.Path(path_type=Path), help="Write the receipt there, not to stdout.")
def finish(session: Session, run_id: str, output: Path | None) -> None:
    """Finish a run and all under it, and write its signed receipt. On a finished run it only writes the receipt."""
    with session.authority() as authority:
        receipt = authority.finish(authority.run(run_id))
    write_output(output, [receipt, b"\n"])
    if output is not None:
        session.say(f"the receipt stands in {output}; read it with: leasehold receipt inspect {output}")


def _give_attempt(session: Session, attempt: RunAttempt) -> None:
    """The id on stdout, for scripts; the rest on stderr."""
    session.give({"run": attempt.run, "attempt": attempt.attempt}, [attempt.run_id])
    session.say(f"attempt {attempt.attempt}, until {show_time(attempt.run.expires_at)}")


def _row_of(authority: Authority, attempt: RunAttempt) -> RunRow:
    rows = authority.engine.store.queries.rows([Ref(RunRow, (attempt.tenant, attempt.run_id))])
    return next(_only_runs(rows))


def _only_runs(rows: tuple[object, ...]) -> Iterator[RunRow]:
    return (row for row in rows if isinstance(row, RunRow))


def _state(row: RunRow, now: Instant) -> str:
    """Its recorded state, or what the clock and the stops make of it before a sweep has written that down."""
    if row.state != RunState.OPEN:
        return row.state
    if row.revoked or row.held:
        return "revoked" if row.revoked else "held"
    return "expired" if now.reached(row.expires_at) else row.state


def _row_value(row: RunRow, now: Instant) -> dict[str, object]:
    return {
        "run_id": row.run_id,
        "state": _state(row, now),
        "attempt": row.attempt,
        "agent": row.agent,
        "requested_by": row.requested_by,
        "tenant": row.tenant,
        "environment": row.environment,
        "route": row.route,
        "expires_at": row.expires_at,
        "denials": row.denials,
        "parent_run": row.parent_run,
    }
