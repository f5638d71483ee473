"""Rules of the history checker about what is executed and what it costs (invariants I2, I3, I7).

A rule yields, in words, what an entry breaks in view of everything before it; `leasehold.ledger.rules` applies them.
"""

from __future__ import annotations

from collections.abc import Iterator

from leasehold.ledger import detail
from leasehold.ledger.entry import Entry
from leasehold.ledger.replay import Past, overrun_of
from leasehold.model.budget import CHILDREN, MICROS, format_amount
from leasehold.model.call import CallState

__all__ = [
    "counts_children",
    "executes_once_per_key",
    "has_an_intent",
    "is_an_intent",
    "reports_overruns",
    "reserves_within_budgets",
]


# I2: settled, reserved and unknown spend never exceeds a budget, but for overruns that are reported


def reserves_within_budgets(entry: Entry, past: Past) -> Iterator[str]:
    """What a call reserves fits every account of its chain."""
    reserved = detail.amounts(entry, "reserved")
    if not reserved:
        yield "it reserves nothing, not even one call"
    for account in past.accounts_of(entry):
        for unit, amount in reserved.items():
            room = past.account(entry.tenant, account, unit).room
            if amount > room:
                yield f"{account} had {format_amount(room)} {unit} left and {format_amount(amount)} were reserved"


def reports_overruns(entry: Entry, past: Past) -> Iterator[str]:
    """What cost more than was reserved says so; what never started cost nothing."""
    call = past.open_calls.get((entry.tenant, entry.admission))
    if call is not None and overrun_of(call, entry) != detail.texts(entry, "overrun"):
        yield f"{entry.admission} overran its reservation of {', '.join(overrun_of(call, entry))} unreported"
    if entry.outcome == CallState.NOT_STARTED and any(entry.cost.values()):
        yield f"{entry.admission} never started and was charged"


def counts_children(entry: Entry, past: Past) -> Iterator[str]:
    """A child run fits the number of sub-agents of its tree."""
    if entry.parent_run and past.account(entry.tenant, past.accounts_of(entry)[0], CHILDREN).room < MICROS:
        yield "its tree had no sub-agent left"


# I3: every started call has an earlier intent with the same digest


def has_an_intent(entry: Entry, past: Past) -> Iterator[str]:
    """What ended was admitted before, as the same call."""
    call = past.calls.get((entry.tenant, entry.admission))
    if call is None:
        yield f"{entry.admission} ended and was never admitted"
        return
    for name in ("run", "lease", "action", "arguments_digest", "key"):
        if getattr(entry, name) != getattr(call.admitted, name):
            yield f"{entry.admission} ended with another {name} than it was admitted with"


def is_an_intent(entry: Entry, past: Past) -> Iterator[str]:
    """An admission is new and says what exactly it admits."""
    if (entry.tenant, entry.admission) in past.calls:
        yield f"{entry.admission} was admitted before"
    if not entry.admission or not entry.arguments_digest:
        yield "it does not say which call it admits"


# I7: one idempotency key, at most one execution


def executes_once_per_key(entry: Entry, past: Past) -> Iterator[str]:
    """A key is free, was freed because nothing started, or belongs to an idempotent action that did not get through."""
    earlier = past.by_key.get((entry.tenant, entry.run, entry.action, entry.key)) if entry.key else None
    if earlier is None or earlier.state is CallState.NOT_STARTED:
        return
    may_repeat = bool(detail.text(entry, "idempotent")) and earlier.state in (CallState.FAILED, CallState.UNKNOWN)
    if not may_repeat or earlier.admitted.arguments_digest != entry.arguments_digest:
        yield f"the key {entry.key!r} was used by {earlier.admitted.admission}, which is {earlier.state}"
