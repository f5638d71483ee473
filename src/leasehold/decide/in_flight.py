"""Which calls are under way below something: what every stop has to name. Called by stops and breakers."""

from __future__ import annotations

from collections.abc import Callable

from leasehold.decide.documents import decode_admission
from leasehold.decide.facts import Facts, Index
from leasehold.decide.rows import CallRow
from leasehold.errors import StoreError
from leasehold.model.call import Admission

__all__ = ["calls_in_flight"]


def calls_in_flight(
    facts: Facts, open_calls: Index, is_covered: Callable[[Admission], bool]
) -> tuple[tuple[Admission, ...], tuple[str, ...]]:
    """The open calls that are covered, and the ids of damaged ones: they keep nobody from stopping, but are named."""
    in_flight: list[Admission] = []
    unreadable: list[str] = []
    for row in [row for row in facts.find(open_calls) if isinstance(row, CallRow)]:
        try:
            call = decode_admission(row.body)
        except StoreError:
            unreadable.append(row.admission_id)
            continue
        if is_covered(call):
            in_flight.append(call)
    return tuple(in_flight), tuple(unreadable)
