"""Rules of the history checker about life: stops, expiry, and ends that are final (invariants I1, I5, I8).

A rule yields, in words, what an entry breaks in view of everything before it; `leasehold.ledger.rules` applies them.
"""

from __future__ import annotations

from collections.abc import Iterator

from leasehold.ledger import detail
from leasehold.ledger.entry import Entry, EntryKind
from leasehold.ledger.reach import reaches_tenant
from leasehold.ledger.replay import Past
from leasehold.ledger.standing import RunPast
from leasehold.model.call import CallState
from leasehold.model.instant import Instant
from leasehold.model.request import RequestKind, RequestState

__all__ = [
    "draws_from_an_open_request",
    "expires_with_all_above",
    "happens_once",
    "is_in_time",
    "is_of_the_newest_attempt",
    "lists_what_is_in_flight",
    "moves_a_request_on",
    "starts_for_nobody_who_left",
    "starts_in_open_runs",
    "starts_under_no_stop",
    "starts_under_open_leases",
]

_LIVE = (RequestState.APPROVED, RequestState.USED)


# I1: no call starts after an answered stop of anything above it, except those the answer lists


def starts_under_no_stop(entry: Entry, past: Past) -> Iterator[str]:
    """Nothing above what starts is revoked or held."""
    for stop in past.stops_over(entry):
        yield f"it starts although {stop}"


def starts_for_nobody_who_left(entry: Entry, past: Past) -> Iterator[str]:
    """No run of its own starts for a person who was let go and not added again."""
    if entry.requested_by in past.left:
        yield f"it starts for {entry.requested_by}, who was let go"


def lists_what_is_in_flight(entry: Entry, past: Past) -> Iterator[str]:
    """A stop names each open call that it reaches."""
    listed = detail.texts(entry, "in_flight")
    for (tenant, admission), call in past.open_calls.items():
        if entry.scope in call.above and reaches_tenant(entry, tenant) and admission not in listed:
            yield f"{admission} was in flight and the stop of {entry.scope} does not name it"


# I5: nothing starts at or after the earliest expiry of the chain


def is_in_time(entry: Entry, past: Past) -> Iterator[str]:
    """Every lease and run of the chain is unexpired when something starts under it."""
    now = Instant(entry.time_ms)
    for lease in past.chain(entry):
        if now.reached(lease.expires_at):
            yield f"{lease.issued.lease} was over"
    for run in _runs(entry, past):
        if now.reached(run.expires_at):
            yield f"{run.started.run} was over"


def expires_with_all_above(entry: Entry, past: Past) -> Iterator[str]:
    """A lease or child run does not outlive what stands above it."""
    expires_at = detail.number(entry, "expires_at")
    above = {lease.issued.lease: lease.expires_at for lease in past.chain(entry)}
    above = above if entry.kind is EntryKind.LEASE_ISSUED else {}
    above |= {run.started.run: run.expires_at for run in _runs(entry, past)}
    for name, limit in above.items():
        if expires_at > limit:
            yield f"it outlives {name}"


def _runs(entry: Entry, past: Past) -> list[RunPast]:
    """The runs of a chain and the one that the entry is about, as far as they were started."""
    holders = [past.run_of(lease) for lease in past.chain(entry)]
    own = past.runs.get((entry.tenant, entry.run))
    return list({run.started.run: run for run in (*holders, own) if run is not None}.values())


# I8: terminal states are final


def starts_under_open_leases(entry: Entry, past: Past) -> Iterator[str]:
    """Nothing starts under a lease that has ended, is of an older attempt or epoch, or whose request is over."""
    for lease in past.chain(entry):
        name = lease.issued.lease
        if lease.is_ended:
            yield f"{name} had ended"
        if lease.issued.index < past.leases_void_before:
            yield f"{name} is from an earlier epoch"
        holder, request = past.run_of(lease), past.request_of(lease)
        if holder is not None and holder.attempt != lease.issued.attempt:
            yield f"{name} is of attempt {lease.issued.attempt}, the newest is {holder.attempt}"
        if request is not None and request.state != RequestState.USED:
            yield f"{request.made.request} is {request.state}"
        if request is not None and request.ending not in ("", detail.text(entry, "parent_call")):
            yield f"{request.made.request} is being ended by {request.ending}"


def starts_in_open_runs(entry: Entry, past: Past) -> Iterator[str]:
    """Nothing starts in a run that is finished or void since the epoch was raised, nor below one."""
    for run in _runs(entry, past):
        if run.is_finished:
            yield f"{run.started.run} had finished"
        if run.started.index < past.all_void_before:
            yield f"{run.started.run} is from an earlier epoch"


def is_of_the_newest_attempt(entry: Entry, past: Past) -> Iterator[str]:
    """A request or lease belongs to a run that was started and to its newest attempt."""
    run = past.runs.get((entry.tenant, entry.run))
    if run is None:
        yield f"no run {entry.run!r} was started in this tenant"
    elif run.attempt != entry.attempt:
        yield f"it is of attempt {entry.attempt}, the newest is {run.attempt}"


def moves_a_request_on(entry: Entry, past: Past) -> Iterator[str]:
    """A request is answered or closed only from the states that lead there."""
    if entry.decision == "deny":
        return
    request = past.requests.get((entry.tenant, entry.request))
    if request is None:
        yield f"no request {entry.request!r} was made in this tenant"
    elif request.state not in _FROM[entry.kind]:
        yield f"{entry.request} is {request.state} already"


def draws_from_an_open_request(entry: Entry, past: Past) -> Iterator[str]:
    """A lease is drawn from a lease request that is approved, or was drawn from before, and not ended."""
    request = past.requests.get((entry.tenant, entry.request))
    if request is None:
        return
    if request.state not in _LIVE or detail.text(request.made, "kind") != RequestKind.LEASE:
        yield f"{entry.request} is a {request.state} request, no lease can be drawn"
    if request.ending:
        yield f"{entry.request} is being ended by {request.ending}"
    if request.made.index < past.all_void_before:
        yield f"{entry.request} is from an earlier epoch"


def happens_once(entry: Entry, past: Past) -> Iterator[str]:
    """Runs, requests and leases come to be once; runs, leases and calls end once, and late evidence comes once; an
    attempt follows the one before."""
    name = (entry.tenant, getattr(entry, _SUBJECT[entry.kind]))
    run, lease = past.runs.get(name), past.leases.get(name)
    match entry.kind:
        case EntryKind.RUN_STARTED | EntryKind.REQUEST_MADE | EntryKind.LEASE_ISSUED:
            if name in past.runs or name in past.requests or name in past.leases:
                yield f"{name[1]} came to be before"
        case EntryKind.RUN_FINISHED | EntryKind.RUN_RETRIED:
            if run is None or run.is_finished:
                yield f"{name[1]} is not an open run"
            elif entry.kind is EntryKind.RUN_RETRIED and entry.attempt != run.attempt + 1:
                yield f"attempt {entry.attempt} follows attempt {run.attempt}"
        case EntryKind.LEASE_ENDED:
            if lease is None or lease.is_ended:
                yield f"{name[1]} is not a live lease"
        case _:
            if (call := past.calls.get(name)) is not None and (call.state is not _BEFORE[entry.kind] or call.is_told):
                yield f"{name[1]} is {call.state} already{' and was told of' if call.is_told else ''}"


_FROM = {
    EntryKind.REQUEST_ANSWERED: (RequestState.PENDING,),
    EntryKind.REQUEST_EXPIRED: (RequestState.PENDING,),
    EntryKind.REQUEST_WITHDRAWN: (RequestState.PENDING,),
    EntryKind.REQUEST_SUPERSEDED: (RequestState.PENDING,),
    EntryKind.REQUEST_LAPSED: (RequestState.APPROVED,),
    EntryKind.REQUEST_COMPLETED: (RequestState.USED, RequestState.COMPLETED),
}
_SUBJECT = {
    EntryKind.RUN_STARTED: "run",
    EntryKind.RUN_RETRIED: "run",
    EntryKind.RUN_FINISHED: "run",
    EntryKind.REQUEST_MADE: "request",
    EntryKind.LEASE_ISSUED: "lease",
    EntryKind.LEASE_ENDED: "lease",
    EntryKind.CALL_SETTLED: "admission",
    EntryKind.CALL_UNKNOWN: "admission",
    EntryKind.CALL_LATE: "admission",
}
_BEFORE = {
    EntryKind.CALL_SETTLED: CallState.ADMITTED,
    EntryKind.CALL_UNKNOWN: CallState.ADMITTED,
    EntryKind.CALL_LATE: CallState.UNKNOWN,
}
