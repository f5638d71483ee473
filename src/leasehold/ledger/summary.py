"""What a receipt says of a run, worked out from its entries and from nothing else (DESIGN §8, requirement B10).

Whoever verifies a receipt works it out again from the entries inside; so a change here is a new predicate type.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import msgspec

from leasehold.ledger import detail
from leasehold.ledger.call_record import IN_FLIGHT, CallRecord, call_records
from leasehold.ledger.entry import Entry, EntryKind
from leasehold.ledger.extract import STOPS
from leasehold.ledger.narrower import narrowest_grants
from leasehold.ledger.shown import shown_amounts, shown_micros, shown_text, shown_time
from leasehold.model.budget import format_amount
from leasehold.model.call import CallState
from leasehold.model.grant import grants_to_json
from leasehold.model.request import RequestKind, RequestState, Verdict
from leasehold.model.run import RequesterProof

__all__ = ["summarise"]

_DENIALS = (
    EntryKind.CALL_DENIED,
    EntryKind.LEASE_DENIED,
    EntryKind.REQUEST_DENIED,
    EntryKind.REQUEST_ANSWERED,
    EntryKind.START_DENIED,
)
_COUNTED_DENIALS = (EntryKind.CALL_DENIED, EntryKind.LEASE_DENIED, EntryKind.REQUEST_DENIED)
_REQUEST_ENDS = {
    EntryKind.REQUEST_EXPIRED: "expired",
    EntryKind.REQUEST_WITHDRAWN: "withdrawn",
    EntryKind.REQUEST_SUPERSEDED: "superseded",
    EntryKind.REQUEST_LAPSED: "lapsed",
    EntryKind.REQUEST_COMPLETED: "completed",
}


class _Story(msgspec.Struct, frozen=True):
    """The entries of one run, those of it and all runs below, and the calls of the latter."""

    started: Entry
    own: tuple[Entry, ...]
    tree: tuple[Entry, ...]
    calls: tuple[CallRecord, ...]

    def of_kind(self, *kinds: EntryKind) -> list[Entry]:
        """Its own entries of some kinds that were not refused."""
        return [entry for entry in self.own if entry.kind in kinds and entry.decision != "deny"]

    @property
    def own_calls(self) -> list[CallRecord]:
        """The calls of the run itself."""
        return [call for call in self.calls if call.admitted.run == self.started.run]


def summarise(entries: Sequence[Entry]) -> dict[str, object]:
    """Return the summary of the run that the first entry starts: all members of a receipt's predicate but the evidence.

    Args:
        entries: those of the run and of all runs below it, as `extract.entries_of_run` returns them.

    Raises:
        VerificationError: they do not follow from each other, or an entry's detail cannot be read.
    """
    calls = tuple(call_records(entries).values())
    starts = [entry for entry in entries if entry.kind is EntryKind.RUN_STARTED]
    root, *children = (_story(started, starts, entries, calls) for started in starts)
    summary = {
        **_run_summary(root),
        "assertedBy": _asserted_by(root, entries),
        "children": [_run_summary(child) for child in children],
        "stops": [_stop(entry, calls) for entry in entries if entry.kind in STOPS],
    }
    shown = shown_text(summary)
    return shown if isinstance(shown, dict) else {}


def _story(started: Entry, starts: Iterable[Entry], entries: Sequence[Entry], calls: Iterable[CallRecord]) -> _Story:
    below = {started.run}
    for later in starts:
        if later.parent_run in below:
            below.add(later.run)
    own = tuple(entry for entry in entries if _tells_of(entry, started.run))
    tree = tuple(entry for entry in entries if entry.run in below)
    return _Story(started, own, tree, tuple(call for call in calls if call.admitted.run in below))


def _tells_of(entry: Entry, run: str) -> bool:
    """Whether an entry is one of the run itself; that a child was refused is the parent's."""
    if entry.kind is EntryKind.START_DENIED:
        return entry.parent_run == run
    return entry.run == run and entry.kind not in STOPS


def _run_summary(story: _Story) -> dict[str, object]:
    ran = [call for call in story.calls if call.may_have_run]
    used = {call.admitted.action for call in story.own_calls if call.may_have_run}
    issued = story.of_kind(EntryKind.LEASE_ISSUED)
    allowed = {action for entry in issued for action in detail.grants(entry, "allow")}
    below = [entry for entry in story.tree if entry.kind is EntryKind.LEASE_ISSUED]
    narrower = narrowest_grants(
        [(call.admitted.action, call.admitted.attributes) for call in ran],
        [detail.grants(entry, "allow") for entry in below],
    )
    return {
        "asked": [_asked(entry, story) for entry in story.of_kind(EntryKind.REQUEST_MADE)],
        "contacted": _union(story, "contacted"),
        "denied": _denied(story),
        "ended": _ended(story),
        "files": _union(story, "files"),
        "granted": [_granted(entry, story) for entry in issued],
        "inFlight": [call.admitted.admission for call in story.calls if call.state == IN_FLIGHT],
        "narrower": {"allow": grants_to_json(narrower), "budget": shown_amounts(_spent(story.calls))},
        "neverUsed": sorted(allowed - used),
        "resources": _union(story, "touched"),
        "run": _envelope(story),
        "spend": _spend(story),
        "unknown": [call.admitted.admission for call in story.calls if call.state == CallState.UNKNOWN],
        "used": [call.to_json() for call in story.own_calls],
    }


def _union(story: _Story, name: str) -> list[str]:
    return sorted({text for call in story.calls for text in call.reported(name)})


def _envelope(story: _Story) -> dict[str, object]:
    started = story.started
    retried = story.of_kind(EntryKind.RUN_RETRIED)
    return {
        "agent": started.agent,
        "attempts": max((entry.attempt for entry in (started, *retried)), default=1),
        "environment": started.environment,
        "expiresAt": shown_time(detail.number(started, "expires_at") * 1000),
        "lease": started.lease,
        "parentRun": started.parent_run,
        "policy": started.policy,
        "purpose": detail.text(started, "purpose"),
        "requestedBy": started.requested_by,
        "requesterProof": detail.text(started, "requester"),
        "route": started.route,
        "run": started.run,
        "startedAt": shown_time(started.time_ms),
        "tenant": started.tenant,
    }


def _ended(story: _Story) -> dict[str, object]:
    finished = next(iter(story.of_kind(EntryKind.RUN_FINISHED)), None)
    if finished is None:
        return {"at": "", "why": ""}
    return {"at": shown_time(finished.time_ms), "why": finished.outcome}


def _asked(made: Entry, story: _Story) -> dict[str, object]:
    erased = [entry for entry in story.of_kind(EntryKind.CARD_ERASED) if entry.request == made.request]
    return {
        **({"cardErased": shown_time(erased[0].time_ms)} if erased else {}),
        "allow": grants_to_json(detail.grants(made, "allow")),
        "answers": [_answer(entry) for entry in _answers(story, made.request)],
        "at": shown_time(made.time_ms),
        "attempt": made.attempt,
        "budget": shown_amounts(detail.amounts(made, "budget")),
        "editedBy": list(detail.texts(made, "edited_by")),
        "editedFrom": detail.text(made, "edited_from"),
        "kind": detail.text(made, "kind"),
        "reason": detail.text(made, "reason"),
        "request": made.request,
        "state": _request_state(made, story),
    }


def _request_state(made: Entry, story: _Story) -> str:
    """Where a request stood in the end, as far as its entries say."""
    state = made.outcome
    for entry in story.of_kind(*_REQUEST_ENDS, EntryKind.REQUEST_ANSWERED, EntryKind.LEASE_ISSUED):
        if entry.request != made.request:
            continue
        state = _REQUEST_ENDS.get(entry.kind) or ("used" if entry.kind is EntryKind.LEASE_ISSUED else entry.outcome)
    is_used = any(call.admitted.approval == made.request and call.may_have_run for call in story.calls)
    return "used" if is_used and detail.text(made, "kind") == RequestKind.CALL else state


def _answers(story: _Story, request: str) -> list[Entry]:
    return [entry for entry in story.of_kind(EntryKind.REQUEST_ANSWERED) if entry.request == request]


def _answer(entry: Entry) -> dict[str, object]:
    proof = detail.text(entry, "proof") or "key"
    heard = {name: detail.text(entry, name) for name in ("channel", "speaker")} if proof == "chat" else {}
    return {
        **heard,
        "at": shown_time(entry.time_ms),
        "key": detail.text(entry, "key"),
        "ownRequest": bool(detail.text(entry, "own_request")),
        "method": detail.text(entry, "method"),
        "person": entry.person,
        "proof": proof,
        "sameAccount": detail.text(entry, "same_account") == "yes",
        "signIn": detail.text(entry, "sign_in"),
        "verdict": detail.text(entry, "verdict"),
        "words": detail.text(entry, "words"),
    }


def _granted(issued: Entry, story: _Story) -> dict[str, object]:
    ends = [entry for entry in story.of_kind(EntryKind.LEASE_ENDED) if entry.lease == issued.lease]
    approvals = [entry for entry in _answers(story, issued.request) if detail.text(entry, "verdict") == Verdict.APPROVE]
    return {
        "allow": grants_to_json(detail.grants(issued, "allow")),
        "approvals": [_answer(entry) for entry in approvals if entry.index < issued.index],
        "approvedBy": list(issued.approvals),
        "at": shown_time(issued.time_ms),
        "attempt": issued.attempt,
        "capability": issued.capability,
        "deny": list(detail.texts(issued, "deny")),
        "ended": {"at": shown_time(ends[0].time_ms), "why": ends[0].outcome} if ends else {"at": "", "why": ""},
        "expiresAt": shown_time(detail.number(issued, "expires_at") * 1000),
        "index": issued.index,
        "lease": issued.lease,
        "parents": list(issued.parents),
        "reason": detail.text(issued, "reason"),
        "request": issued.request,
    }


def _denied(story: _Story) -> dict[str, object]:
    """Every refusal with an entry of its own, and how many more there were past the denial budget."""
    listed = [entry for entry in story.own if entry.kind in _DENIALS and entry.decision == "deny"]
    finished = story.of_kind(EntryKind.RUN_FINISHED)
    own = [entry for entry in listed if entry.kind in _COUNTED_DENIALS]
    made = story.of_kind(EntryKind.REQUEST_MADE)
    asked = [entry for entry in made if entry.outcome == RequestState.PENDING]
    counted = sum(detail.number(entry, "denials") for entry in finished)
    return {"listed": [_denial(entry) for entry in listed], "more": max(0, counted - len(own) - len(asked))}


def _denial(entry: Entry) -> dict[str, object]:
    return {
        "action": entry.action,
        "at": shown_time(entry.time_ms),
        "attributes": {name: list(values) for name, values in sorted(entry.attributes.items())},
        "check": detail.text(entry, "check"),
        "index": entry.index,
        "kind": entry.kind,
        "lease": entry.lease,
        "message": detail.text(entry, "message"),
        "person": entry.person,
        "reason": entry.reason,
        "request": entry.request,
        "rule": detail.text(entry, "rule"),
    }


def _spent(calls: Iterable[CallRecord]) -> dict[str, int]:
    spent: dict[str, int] = {}
    for call in calls:
        for unit, micros in call.charged.items():
            spent[unit] = spent.get(unit, 0) + micros
    return {unit: shown_micros(micros) for unit, micros in spent.items() if micros}


def _spend(story: _Story) -> list[dict[str, object]]:
    """What the run and all runs below it spent of each unit, beside the budget that its tree had, if it is the root."""
    budget = detail.amounts(story.started, "budget")
    uncertain = _spent(call for call in story.calls if call.state in (IN_FLIGHT, CallState.UNKNOWN))
    spent = _spent(story.calls)
    return [
        {
            "unit": unit,
            **_stated("charged", spent.get(unit, 0)),
            **_stated("uncertain", uncertain.get(unit, 0)),
            **(_stated("budget", budget[unit]) if unit in budget else {}),
        }
        for unit in sorted(budget.keys() | spent.keys())
    ]


def _stated(name: str, micros: int) -> dict[str, object]:
    """One amount as decimal text and in millionths."""
    return {name: format_amount(shown_micros(micros)), f"{name}Micros": shown_micros(micros)}


def _stop(entry: Entry, calls: Iterable[CallRecord]) -> dict[str, object]:
    of_run = {call.admitted.admission for call in calls}
    return {
        "at": shown_time(entry.time_ms),
        "by": entry.person,
        "inFlight": [name for name in detail.texts(entry, "in_flight") if name in of_run],
        "index": entry.index,
        "kind": entry.kind,
        "reason": detail.text(entry, "reason"),
        "scope": entry.scope,
    }


def _asserted_by(story: _Story, entries: Sequence[Entry]) -> dict[str, object]:
    """Whose word each part of the receipt is."""
    proofs = {detail.text(entry, "proof") or "key" for entry in entries if entry.kind is EntryKind.REQUEST_ANSWERED}
    words = [_WORD_OF_PROOF[proof] for proof in sorted(proofs)]
    is_proven = detail.text(story.started, "requester") == RequesterProof.PROVEN
    return {
        "answers": "; ".join(words) or "nobody",
        "decisions": "the authority",
        "outcomes": "the guard at the tool",
        "purpose": "the launcher",
        "reasons": "the agent",
        "requestedBy": "a subject token" if is_proven else "the launcher",
        "resources": "the guard at the tool",
        "times": "the authority's database",
    }


_WORD_OF_PROOF = {
    "key": "the person, by the signature in the entry",
    "passkey": "the person, by what their passkey signed in the entry",
    "chat": "a chat that told the authority under its channel's secret, where nothing was signed for anybody else",
    "session": "the authority, where the person was signed in and nothing was signed",
}
