"""Idempotency keys of writes: one key, at most one execution (invariant I7). Asked by admit before anything else."""

from __future__ import annotations

from leasehold.decide.rows import KeyRow
from leasehold.model.call import CallState
from leasehold.model.decision import Decision, Reason, deny

__all__ = ["refuse_used_key"]


def refuse_used_key(row: KeyRow, arguments_digest: str, *, idempotent: bool) -> Decision | None:
    """Why an idempotency key that was used before may not start another execution. What never started frees its key."""
    state = CallState(row.state)
    if state is CallState.NOT_STARTED:
        return None
    if row.digest != arguments_digest:
        return deny(
            Reason.CONFLICT,
            f"the key {row.key!r} was used for {row.action} with other arguments",
            check="same key, same arguments",
            enough="a key of its own for each change",
        )
    if idempotent and state in (CallState.FAILED, CallState.UNKNOWN):
        return None
    reason, words = _KEY_REASONS[state]
    return deny(reason, f"{row.action} with the key {row.key!r} {words}", check=f"{row.admission_id} is {state}")


_KEY_REASONS = {
    CallState.ADMITTED: (Reason.IN_FLIGHT, "is being carried out"),
    CallState.UNKNOWN: (Reason.OUTCOME_UNKNOWN, "was started and nobody knows how it ended"),
    CallState.DONE: (Reason.ALREADY_DONE, "was done already"),
    CallState.FAILED: (Reason.ALREADY_DONE, "was carried out already and failed"),
}
