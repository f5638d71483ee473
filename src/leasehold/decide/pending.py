"""What one run has put to people and they have not answered: nothing twice, and not without end (threat case 87)."""

from __future__ import annotations

from msgspec.structs import replace

from leasehold.decide.facts import Changes, Facts, PendingRequests
from leasehold.decide.rows import RequestRow, RunRow
from leasehold.ledger.entry import Entry
from leasehold.model.decision import Decision, Reason, deny
from leasehold.model.instant import Instant
from leasehold.model.run import Run
from leasehold.policy.document import Policy

__all__ = ["DENIALS_LISTED", "list_denial", "pending_need", "pending_of", "refuse_many_pending", "too_many_denials"]

DENIALS_LISTED = 200
"""How much that one run was refused gets an entry of its own; the rest is counted (threat case 73). A run that was
refused or sent to people so often asks them nothing any more: it could take each question back and ask the next (87).
"""


def list_denial(row: RunRow | None, denied: Entry, counted: Entry) -> Changes:
    """A refusal with an entry of its own while the run's denial budget lasts; after that it is only counted.

    `counted` is the one entry that says from where on. Where there is no such run nothing can be counted.
    """
    if row is None:
        return Changes(entries=(denied,))
    entries: tuple[Entry, ...] = ()
    if row.denials < DENIALS_LISTED:
        entries = (denied,)
    elif row.denials == DENIALS_LISTED:
        entries = (counted,)
    return Changes(rows=(replace(row, denials=row.denials + 1),), entries=entries)


def pending_need(run: Run) -> PendingRequests:
    """What the functions here have to be able to look at."""
    return PendingRequests((run.tenant, run.run_id))


def pending_of(facts: Facts, run: Run, now: Instant) -> list[RequestRow]:
    """The requests of a run that still wait for people, oldest first."""
    rows = (row for row in facts.find(pending_need(run)) if isinstance(row, RequestRow))
    return sorted((row for row in rows if not now.reached(row.answer_by)), key=lambda row: row.recorded)


def refuse_many_pending(facts: Facts, policy: Policy, run: Run, now: Instant) -> Decision | None:
    """Why a run may not ask people anything more right now."""
    waiting, most = len(pending_of(facts, run, now)), policy.defaults.pending_per_run
    if waiting < most:
        return None
    return deny(
        Reason.TOO_MANY_PENDING,
        f"{waiting} requests of {run.run_id} wait for people already",
        rule="defaults.pending_per_run",
        check=f"{waiting} < {most}",
        enough="answers to what was asked, or to withdraw what is not needed any more",
    )


def too_many_denials(run_id: str) -> Decision:
    """The refusal of a run that has worn out what people can be asked."""
    return deny(
        Reason.POLICY_DENIES,
        f"{run_id} was refused or sent to people {DENIALS_LISTED} times; it may not ask them any more",
        check=f"refused calls and questions < {DENIALS_LISTED}",
        enough="a new run",
    )
