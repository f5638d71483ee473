"""The leases of a run as a tree of what was handed on: what each hop kept, and what it lost. For the run page; pure.

Leases that were drawn in turn from one request are one hop: they grant the same. The root is compared with what its
route offers, as far as the policy that it was drawn under is at hand.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from leasehold.decide.cards import describe_constraint
from leasehold.ledger import detail
from leasehold.ledger.entry import Entry, EntryKind
from leasehold.model.grant import Grants

__all__ = ["Hop", "HopAction", "HopValue", "lease_hops"]


class HopValue(msgspec.Struct, frozen=True):
    """What an attribute may be, and what it might have been above, where that was more."""

    name: str
    now: str
    was: str = ""


class HopAction(msgspec.Struct, frozen=True):
    """An action of a hop, or one that it lost."""

    action: str
    values: tuple[HopValue, ...]
    is_lost: bool = False


class Hop(msgspec.Struct, frozen=True, kw_only=True):
    """The leases of one request. `ended` tells why the newest of them is over, empty while it may be alive."""

    depth: int
    run_id: str
    agent: str
    request_id: str
    leases: tuple[str, ...]
    approved_by: tuple[str, ...]
    ended: str
    actions: tuple[HopAction, ...]


def lease_hops(entries: Sequence[Entry], offered: Grants) -> tuple[Hop, ...]:
    """The tree, each hop before those below it; `offered` is what the route of the root offers, empty if unknown."""
    issued = [entry for entry in entries if entry.kind is EntryKind.LEASE_ISSUED and entry.decision != "deny"]
    by_lease = {entry.lease: entry for entry in issued}
    hops: list[Hop] = []

    def add(request: str, above: Grants, depth: int) -> None:
        drawn = [entry for entry in issued if entry.request == request]
        own = detail.grants(drawn[-1], "allow")
        hops.append(_hop(drawn, own, above, depth, entries))
        leases = {entry.lease for entry in drawn}
        below = [entry.request for entry in issued if entry.parents and entry.parents[-1] in leases]
        for child in dict.fromkeys(below):
            add(child, own, depth + 1)

    roots = [entry.request for entry in issued if not entry.parents or entry.parents[-1] not in by_lease]
    for request in dict.fromkeys(roots):
        add(request, offered, 0)
    return tuple(hops)


def _hop(drawn: Sequence[Entry], own: Grants, above: Grants, depth: int, entries: Sequence[Entry]) -> Hop:
    newest = drawn[-1]
    ends = [entry.outcome for entry in entries if entry.kind is EntryKind.LEASE_ENDED and entry.lease == newest.lease]
    return Hop(
        depth=depth,
        run_id=newest.run,
        agent=newest.agent,
        request_id=newest.request,
        leases=tuple(entry.lease for entry in drawn),
        approved_by=newest.approvals,
        ended=ends[-1] if ends else "",
        actions=tuple(_action(action, own, above) for action in sorted({*own, *above})),
    )


def _action(action: str, own: Grants, above: Grants) -> HopAction:
    kept, offered = own.get(action), above.get(action)
    grant = kept or offered
    values = []
    for name, constraint in sorted(grant.attributes.items()) if grant is not None else ():
        now = describe_constraint(constraint)
        before = offered.attributes.get(name) if kept is not None and offered is not None else None
        was = describe_constraint(before) if before is not None else now
        values.append(HopValue(name, now, was if was != now else ""))
    return HopAction(action, tuple(values), is_lost=kept is None)
