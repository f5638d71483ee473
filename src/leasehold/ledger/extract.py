"""Which entries tell of one run: its own, those of the runs below it, and the stops that reached them.

The authority picks the entries of a receipt with this; verifiers check that a receipt holds nothing else, and, with a
whole export at hand, that it leaves nothing out.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from leasehold.ledger import detail
from leasehold.ledger.entry import Entry, EntryKind
from leasehold.ledger.reach import action_scopes, reaches_tenant, scopes_over

__all__ = ["STOPS", "entries_of_run"]

STOPS = (EntryKind.REVOKED, EntryKind.HELD, EntryKind.LIFTED)


def entries_of_run(entries: Iterable[Entry], tenant: str, run: str) -> tuple[Entry, ...]:
    """Return the entries that tell of a run and of all runs below it, in ledger order; none if it was not started here.

    A stop belongs if it was made between the run's start and its finish and reaches something of it, or if it names a
    call of it that was in flight.

    Args:
        entries: entries in ledger order, such as those of a whole export.
        tenant: the run's tenant.
        run: its id.
    """
    listed = list(entries)
    runs: set[str] = set()
    own: list[Entry] = []
    for entry in listed:
        if entry.tenant != tenant or entry.kind in STOPS:
            continue
        if entry.kind is EntryKind.RUN_STARTED and (entry.run == run or entry.parent_run in runs):
            runs.add(entry.run)
        if entry.run in runs or (entry.kind is EntryKind.START_DENIED and entry.parent_run in runs):
            own.append(entry)
    if not own:
        return ()
    stops = _stops(listed, own, tenant, run)
    return tuple(sorted((*own, *stops), key=lambda entry: entry.index))


def _stops(entries: Sequence[Entry], own: Sequence[Entry], tenant: str, run: str) -> list[Entry]:
    over = set[str]().union(*map(_scopes, own))
    admissions = {entry.admission for entry in own if entry.kind is EntryKind.CALL_ADMITTED}
    started = own[0].index
    ends = (entry.index for entry in own if entry.kind is EntryKind.RUN_FINISHED and entry.run == run)
    finished = next(ends, None)
    return [
        entry
        for entry in entries
        if entry.kind in STOPS
        and reaches_tenant(entry, tenant)
        and entry.index > started
        and (
            (entry.scope in over and (finished is None or entry.index < finished))
            or not admissions.isdisjoint(detail.texts(entry, "in_flight"))
        )
    ]


def _scopes(entry: Entry) -> frozenset[str]:
    """The scopes over an entry, and over each action that it grants or tells of."""
    granted = detail.grants(entry, "allow") if entry.kind is EntryKind.LEASE_ISSUED else ()
    actions = (*granted, entry.action) if entry.action else tuple(granted)
    return scopes_over(entry) | action_scopes(*actions)
