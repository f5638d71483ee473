"""How often one person may try at break-glass from a browser: each try alarms people, so there is an end to them.

Asked by the steps of `glass_wish`. Tries count by person in quarters of an hour, refused or not, in a row of their own
beside what counts once; past the bound a try is refused and nothing of it is written. At a terminal, where both people
are, there is no bound, so nobody's flood keeps anybody from opening one.
"""

from __future__ import annotations

from msgspec.structs import replace

from leasehold.decide.facts import Changes, Facts, Need, Ref
from leasehold.decide.rows import AUTHORITY_WIDE, SeenRow
from leasehold.model.decision import Decision, Reason, deny
from leasehold.model.instant import Instant

__all__ = ["MOST_TRIES", "TRY_SECONDS", "refuse_tries", "tries_need", "with_try"]

MOST_TRIES = 10
TRY_SECONDS = 900
"""As long as the longest break-glass."""


def tries_need(person: str) -> Need:
    """The fact that the functions here ask for."""
    return Ref(SeenRow, (AUTHORITY_WIDE, _slot(person)))


def refuse_tries(facts: Facts, person: str, now: Instant) -> Decision | None:
    """Why a person may not try again yet."""
    if _tries(facts, person, now) < MOST_TRIES:
        return None
    return deny(
        Reason.TOO_MANY_PENDING,
        f"{person} has tried at break-glass {MOST_TRIES} times in a quarter of an hour",
        check=f"tries since {_begin(now)} < {MOST_TRIES}",
        enough="the same at a terminal, with the keys of both people",
    )


def with_try(facts: Facts, person: str, now: Instant, changes: Changes) -> Changes:
    """The changes with one try more of this person."""
    tries = _tries(facts, person, now) + 1
    row = SeenRow(tenant=AUTHORITY_WIDE, slot=_slot(person), second=_begin(now), seen=str(tries))
    return replace(changes, rows=(*changes.rows, row))


def _tries(facts: Facts, person: str, now: Instant) -> int:
    row = facts.get(SeenRow, AUTHORITY_WIDE, _slot(person))
    return int(row.seen) if row is not None and row.second == _begin(now) else 0


def _begin(now: Instant) -> int:
    return now.seconds - now.seconds % TRY_SECONDS


def _slot(person: str) -> str:
    return f"glass.{person}"
