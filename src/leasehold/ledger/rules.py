"""Which rules hold for which kind of entry: the table of the history checker.

The rules stand in three files by what they are about; each is a function of one entry and what stood before it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from enum import StrEnum
from typing import TypeAlias

from leasehold.ledger import glass_rules as glass
from leasehold.ledger import grant_rules as grant
from leasehold.ledger import life_rules as life
from leasehold.ledger import spend_rules as spend
from leasehold.ledger.entry import Entry, EntryKind
from leasehold.ledger.replay import Past

__all__ = ["RULES", "Invariant", "Rule"]


class Invariant(StrEnum):
    """The invariants that a history can break; the words stand in DESIGN §5."""

    I1 = "I1"
    I2 = "I2"
    I3 = "I3"
    I4 = "I4"
    I5 = "I5"
    I6 = "I6"
    I7 = "I7"
    I8 = "I8"
    I9 = "I9"


Rule: TypeAlias = Callable[[Entry, Past], Iterator[str]]

RULES: Mapping[EntryKind, tuple[tuple[Invariant, Rule], ...]] = {
    EntryKind.RUN_STARTED: (
        (Invariant.I1, life.starts_under_no_stop),
        (Invariant.I1, life.starts_for_nobody_who_left),
        (Invariant.I2, spend.counts_children),
        (Invariant.I5, life.is_in_time),
        (Invariant.I5, life.expires_with_all_above),
        (Invariant.I8, life.starts_under_open_leases),
        (Invariant.I8, life.starts_in_open_runs),
        (Invariant.I8, life.happens_once),
    ),
    EntryKind.RUN_RETRIED: ((Invariant.I8, life.happens_once),),
    EntryKind.RUN_FINISHED: ((Invariant.I8, life.happens_once),),
    EntryKind.REQUEST_MADE: (
        (Invariant.I8, life.starts_in_open_runs),
        (Invariant.I8, life.is_of_the_newest_attempt),
        (Invariant.I8, life.happens_once),
    ),
    EntryKind.REQUEST_ANSWERED: (
        (Invariant.I4, grant.answers_for_others),
        (Invariant.I4, grant.says_how_it_was_given),
        (Invariant.I8, life.moves_a_request_on),
    ),
    **dict.fromkeys(
        (
            EntryKind.REQUEST_EXPIRED,
            EntryKind.REQUEST_WITHDRAWN,
            EntryKind.REQUEST_SUPERSEDED,
            EntryKind.REQUEST_LAPSED,
            EntryKind.REQUEST_COMPLETED,
        ),
        ((Invariant.I8, life.moves_a_request_on),),
    ),
    EntryKind.GLASS_OPENED: ((Invariant.I4, glass.is_opened_by_two),),
    EntryKind.GLASS_REVIEWED: ((Invariant.I4, glass.is_reviewed_by_another),),
    EntryKind.LEASE_ISSUED: (
        (Invariant.I1, life.starts_under_no_stop),
        (Invariant.I4, glass.stays_within_its_opening),
        (Invariant.I4, grant.is_approved),
        (Invariant.I5, life.is_in_time),
        (Invariant.I5, life.expires_with_all_above),
        (Invariant.I6, grant.grants_no_more_than_above),
        (Invariant.I8, life.starts_under_open_leases),
        (Invariant.I8, life.starts_in_open_runs),
        (Invariant.I8, life.is_of_the_newest_attempt),
        (Invariant.I8, life.draws_from_an_open_request),
        (Invariant.I8, life.happens_once),
    ),
    EntryKind.LEASE_ENDED: ((Invariant.I8, life.happens_once),),
    EntryKind.CALL_ADMITTED: (
        (Invariant.I1, life.starts_under_no_stop),
        (Invariant.I2, spend.reserves_within_budgets),
        (Invariant.I3, spend.is_an_intent),
        (Invariant.I4, glass.stays_within_its_opening),
        (Invariant.I4, grant.uses_its_approval_once),
        (Invariant.I4, grant.is_approved),
        (Invariant.I5, life.is_in_time),
        (Invariant.I6, grant.is_granted_by_every_link),
        (Invariant.I7, spend.executes_once_per_key),
        (Invariant.I8, life.starts_under_open_leases),
        (Invariant.I8, life.starts_in_open_runs),
    ),
    EntryKind.CALL_SETTLED: (
        (Invariant.I2, spend.reports_overruns),
        (Invariant.I3, spend.has_an_intent),
        (Invariant.I8, life.happens_once),
    ),
    EntryKind.CALL_UNKNOWN: ((Invariant.I3, spend.has_an_intent), (Invariant.I8, life.happens_once)),
    EntryKind.CALL_LATE: ((Invariant.I3, spend.has_an_intent), (Invariant.I8, life.happens_once)),
    EntryKind.REVOKED: ((Invariant.I1, life.lists_what_is_in_flight),),
    EntryKind.HELD: ((Invariant.I1, life.lists_what_is_in_flight),),
}
