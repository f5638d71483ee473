"""What one run has put to people and they have not answered: nothing twice, and not without end (threat case 87)."""

from __future__ import annotations

from leasehold.decide.facts import Facts, PendingRequests
from leasehold.decide.rows import RequestRow
from leasehold.model.decision import Decision, Reason, deny
from leasehold.model.instant import Instant
from leasehold.model.run import Run
from leasehold.policy.document import Policy

__all__ = ["DENIALS_LISTED", "pending_need", "pending_of", "refuse_many_pending", "too_many_denials"]

DENIALS_LISTED = 200
"""How many refused calls of one run get an entry of their own; the rest are counted (threat case 73). A run that was
refused or sent to people so often asks them nothing any more: it could take each question back and ask the next (87).
"""


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
