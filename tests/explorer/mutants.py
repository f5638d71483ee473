"""Each guard of `decide` taken away, one at a time. A mutant that no world catches means that a world is too small.

A mutant is a context manager over `monkeypatch`; only tests use it. `worlds` names where it has to be caught, `breaks`
the invariant that it breaks first on a shortest trace.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import pytest
from msgspec.structs import replace

from explorer.scenario import Scenario
from explorer.worlds import (
    ANEW,
    APPROVED_ONCE,
    BREAKER,
    BROKEN_GLASS,
    CALL_APPROVAL,
    CHEAPER,
    CLOCK,
    DENIALS,
    ENDING,
    FROZEN,
    KEYS,
    LEASE_APPROVAL,
    LEAVER,
    MISUSED_GLASS,
    NARROWED,
    ORDERED,
    OVERRUN,
    RACE,
    REIMPLIED,
    REPEATED,
    RESENT,
    RESTORED,
    RETRIED,
    STOPS,
    SUBCALL,
    TENANTS,
    TREE,
)
from leasehold.decide import (
    accounts,
    admit,
    answer,
    approvals,
    batch,
    breaker,
    call_approval,
    call_request,
    chain,
    glass,
    glass_opening,
    glass_use,
    issue,
    settle,
    stop,
)
from leasehold.decide.admit import Admit
from leasehold.decide.facts import AllOpenCalls, Changes, Facts
from leasehold.decide.glass_opening import Making
from leasehold.decide.issue import DrawLease
from leasehold.decide.offboard import Offboard
from leasehold.decide.rows import BreakerRow, KeyRow, RequestRow, StopRow
from leasehold.decide.settle import ConcludeUnknown, Settle
from leasehold.decide.start import Start
from leasehold.decide.stop import Lift, Stop
from leasehold.ledger.entry import EntryKind
from leasehold.model.call import CallState
from leasehold.model.decision import allow
from leasehold.model.request import RequestState, Verdict

Patch = Callable[[pytest.MonkeyPatch], None]


@dataclasses.dataclass(frozen=True)
class Mutant:
    """One guard removed: how, the worlds that must show it, and the invariants one of which the first trace breaks."""

    name: str
    apply: Patch
    worlds: tuple[Scenario, ...]
    breaks: tuple[str, ...]


def _stops_of(subject: str) -> tuple[Scenario, ...]:
    """The worlds in which scopes of one kind are stopped."""
    return tuple(world for world in STOPS if f" {subject}:" in world.name)


def _nothing(*_: object, **__: object) -> None:
    return None


def gone(module: object, name: str) -> Patch:
    """A refusal that never refuses."""
    return lambda patch: patch.setattr(module, name, _nothing)


def wrapped(owner: Any, name: str, change: Callable[..., Any]) -> Patch:
    """A function whose answer is changed on the way out: `change(answer, *arguments)`."""
    original = getattr(owner, name)

    def changed(*arguments: Any, **named: Any) -> Any:
        return change(original(*arguments, **named), *arguments)

    return lambda patch: patch.setattr(owner, name, changed)


def rows_as(owner: type, change: Callable[[Any], Any]) -> Patch:
    """A step that writes other rows: `change` answers another row, or None for none."""

    def rewritten(decided: Any, *_: object) -> Any:
        given, changes = decided
        rows = tuple(row for row in map(change, changes.rows) if row is not None)
        return given, replace(changes, rows=rows)

    return wrapped(owner, "decide", rewritten)


def _without(kind: EntryKind) -> Callable[..., Any]:
    def dropped(decided: Any, *_: object) -> Any:
        given, changes = decided
        return given, replace(changes, entries=tuple(each for each in changes.entries if each.kind is not kind))

    return dropped


def together(*patches: Patch) -> Patch:
    def apply(patch: pytest.MonkeyPatch) -> None:
        for each in patches:
            each(patch)

    return apply


# Patches that need more than a line


def _only_leaf(patch: pytest.MonkeyPatch) -> None:
    original = chain.refuse_chain
    for module in (admit, issue):
        patch.setattr(module, "refuse_chain", lambda known, links, *rest: original(known, links[-1:], *rest))


def _own_budget(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(chain.Chain, "accounts", property(lambda self: (self[-1].lease.request_id,)))


def _no_limit(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(accounts, "refuse_overspend", _nothing)


def _as_it_began(patch: pytest.MonkeyPatch) -> None:
    original = accounts.reserve
    plenty = dict.fromkeys(("calls", "tool_seconds", "usd"), 10**15)
    patch.setattr(admit, "reserve", lambda *given: original(*given[:-1], plenty))


def _refund(patch: pytest.MonkeyPatch) -> None:
    original = accounts.settle_accounts

    def refunding(*arguments: Any) -> Any:
        *rest, outcome = arguments
        return original(*rest, CallState.NOT_STARTED if outcome is CallState.UNKNOWN else outcome)

    patch.setattr(settle, "settle_accounts", refunding)


def _hidden_overrun(patch: pytest.MonkeyPatch) -> None:
    original = settle.actual_cost

    def capped(admission: Any, outcome: Any) -> dict[str, int]:
        return {
            unit: min(amount, admission.reserved.get(unit, 0)) for unit, amount in original(admission, outcome).items()
        }

    patch.setattr(settle, "actual_cost", capped)


def _unnoticed_overrun(patch: pytest.MonkeyPatch) -> None:
    original = settle._close_requests

    def unnoticed(*arguments: Any, **named: Any) -> Any:
        return original(*arguments, **{**named, "overrun": False})

    patch.setattr(settle, "_close_requests", unnoticed)


def _retry_after_unknown(patch: pytest.MonkeyPatch) -> None:
    original = admit.refuse_used_key

    def lenient(row: KeyRow, digest: str, *, idempotent: bool) -> Any:
        return None if row.state == CallState.UNKNOWN else original(row, digest, idempotent=idempotent)

    patch.setattr(admit, "refuse_used_key", lenient)


def _always_idempotent(patch: pytest.MonkeyPatch) -> None:
    original = admit.refuse_used_key

    def eager(row: KeyRow, digest: str, *, idempotent: bool) -> Any:
        return None if idempotent else original(row, digest, idempotent=idempotent)

    patch.setattr(admit, "refuse_used_key", eager)


def _loose_digest(patch: pytest.MonkeyPatch) -> None:
    original = call_request.call_digest

    def loose(digester: Any, links: Any, action: str, effect: Any, *_: object) -> str:
        return original(digester, links, action, effect, "sha256:" + "0" * 64, None)

    patch.setattr(call_request, "call_digest", loose)
    patch.setattr(call_approval, "_what_changed", _nothing)  # it would notice: the card said other arguments


def _stays_approved(row: Any) -> Any:
    if isinstance(row, RequestRow) and row.call_digest and row.state == RequestState.USED:
        return replace(row, state=RequestState.APPROVED, used_by="")
    return row


def _own_approval(patch: pytest.MonkeyPatch) -> None:
    original = approvals.refuse_person

    def lenient(policy: Any, person: str, *, route: str, effect: Any, **_: object) -> Any:
        return original(policy, person, route=route, requested_by="user:nobody", effect=effect)

    for module in (approvals, answer):
        patch.setattr(module, "refuse_person", lenient)


def _is_approved_by(patch: pytest.MonkeyPatch, quorum: Callable[[int], int]) -> None:
    """Count who approved, once each, and ask nothing about them."""

    def lenient(facts: Facts, policy: Any, row: RequestRow, need: Any, *, route: str, requested_by: str) -> bool:
        given = {each.person for each in approvals.answers_of(row) if each.verdict is Verdict.APPROVE}
        return len(given) >= quorum(need.quorum)

    for module in (call_approval, issue):
        patch.setattr(module, "is_approved", lenient)


def _not_entitled_any_more(patch: pytest.MonkeyPatch) -> None:
    _is_approved_by(patch, lambda quorum: quorum)


def _one_is_enough(patch: pytest.MonkeyPatch) -> None:
    _is_approved_by(patch, lambda quorum: min(quorum, 1))
    patch.setattr(answer.AnswerRequest, "_missing", lambda *_: 0)


def _blind_batch(patch: pytest.MonkeyPatch) -> None:
    def counted(self: Facts, changes: Changes) -> None:
        self.next_index += len(changes.entries)

    patch.setattr(Facts, "apply", counted)


def _late_start(patch: pytest.MonkeyPatch) -> None:
    wrapped(Admit, "_admission", lambda given, *_: replace(given, start_within_ms=admit.START_WITHIN_MS))(patch)


def _early_stop(row: Any) -> Any:
    return replace(row, recorded=row.recorded - 1) if isinstance(row, StopRow) else row


def _foreign_calls(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Stop, "_open_calls", lambda self: AllOpenCalls(()))


def _deeper(patch: pytest.MonkeyPatch) -> None:
    wrapped(
        DrawLease, "_lease", lambda lease, step, *_: replace(lease, delegation_depth=step.request.delegation_depth)
    )(patch)


def _longer(patch: pytest.MonkeyPatch) -> None:
    wrapped(
        DrawLease,
        "_lease",
        lambda lease, step, *_: replace(lease, expires_at=lease.issued_at + step.request.ttl_seconds),
    )(patch)


def _uncounted(*_: Any, **__: Any) -> Changes:
    return Changes()


def _only_denials(*given: Any, is_bad: bool) -> Changes:
    return breaker.count(*given, is_bad=is_bad) if is_bad else Changes()


def _all_bad(patch: pytest.MonkeyPatch) -> None:
    original = breaker.count
    patch.setattr(settle, "count", lambda *given, **named: original(*given, **{**named, "is_bad": True}))


def _unnumbered_policy(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Stop, "policy", None)


def _counts_all(patch: pytest.MonkeyPatch) -> None:
    original = settle.end_milestone
    patch.setattr(settle, "end_milestone", lambda facts, admission, _: original(facts, admission, CallState.DONE))


def _counts_at_once(patch: pytest.MonkeyPatch) -> None:
    original = admit.begin_milestone

    def eager(*arguments: Any) -> Any:
        return [replace(row, is_done=1) for row in original(*arguments)]

    patch.setattr(admit, "begin_milestone", eager)


MUTANTS = (
    Mutant("attempt is not compared", gone(chain, "refuse_old_attempt"), (RETRIED,), ("I8",)),
    Mutant("expiry of a lease is not looked at", gone(chain, "refuse_expired"), (RACE,), ("I5",)),
    Mutant("start window goes past the expiry", _late_start, (RACE,), ("I5",)),
    Mutant(
        "asking again wins time",
        lambda patch: patch.setattr(admit, "_with_time_left", lambda admission, now: admission),
        (RESENT,),
        ("I5",),
    ),
    Mutant("state of the request is not looked at", gone(chain, "refuse_request_row"), (ENDING,), ("I8",)),
    Mutant("state of the lease is not looked at", gone(chain, "_refuse_lease_row"), (STOPS[0], RETRIED), ("I1", "I8")),
    Mutant("wide stops are not looked at", gone(chain, "_refuse_run_stops"), _stops_of("person"), ("I1",)),
    Mutant("stops of actions are not looked at", gone(chain, "_refuse_action_stops"), _stops_of("action"), ("I1",)),
    Mutant("the epoch is not compared", gone(chain, "_refuse_epoch"), (RESTORED, CLOCK), ("I8",)),
    Mutant("a child survives its parent", _only_leaf, (TREE,), ("I6",)),
    Mutant("a child may delegate deeper", _deeper, (TREE,), ("I6",)),
    Mutant("a child's lease outlives its parent's", _longer, (TREE,), ("I6",)),
    Mutant("a child has a budget of its own", _own_budget, (TREE,), ("I2",)),
    Mutant("budgets have no limit", _no_limit, (RACE,), ("I2",)),
    Mutant("unknown calls are refunded", _refund, (RACE,), ("I2",)),
    Mutant("overruns are capped", _hidden_overrun, (OVERRUN,), ("I2",)),
    Mutant("overruns end nothing", _unnoticed_overrun, (OVERRUN,), ("I8",)),
    Mutant(
        "a key is not remembered",
        rows_as(Admit, lambda row: None if isinstance(row, KeyRow) else row),
        (KEYS,),
        ("I7",),
    ),
    Mutant("a key is not looked at", gone(admit, "refuse_used_key"), (KEYS,), ("I7",)),
    Mutant("unknown calls are retried", _retry_after_unknown, (KEYS,), ("I7",)),
    Mutant("idempotent calls run beside each other", _always_idempotent, (REPEATED,), ("I7",)),
    Mutant("an approval is for any arguments", _loose_digest, (CALL_APPROVAL,), ("I4",)),
    Mutant("an approval is used again", rows_as(Admit, _stays_approved), (APPROVED_ONCE,), ("I4",)),
    Mutant("requesters approve their own", _own_approval, (CALL_APPROVAL,), ("I4",)),
    Mutant("entitlement is not asked at the use", _not_entitled_any_more, (CALL_APPROVAL,), ("I4",)),
    Mutant(
        "a removed key still speaks",
        lambda patch: patch.setattr(approvals, "is_answer_vouched", lambda *_: True),
        (CALL_APPROVAL,),
        ("I4",),
    ),
    Mutant("a lease needs nobody", gone(DrawLease, "_refuse_unapproved"), (LEASE_APPROVAL,), ("I4",)),
    Mutant("one approval is enough", _one_is_enough, (LEASE_APPROVAL,), ("I4",)),
    Mutant("entitlement is not asked at the answer", gone(answer, "refuse_person"), (CALL_APPROVAL,), ("I4",)),
    Mutant(
        "a stop lists no calls", lambda patch: patch.setattr(stop, "covers", lambda *_: False), (STOPS[0],), ("I1",)
    ),
    Mutant("a stop counts from one entry too early", rows_as(Stop, _early_stop), ANEW, ("I1",)),
    Mutant("a stop is answered under an older policy", _unnumbered_policy, (REIMPLIED,), ("I1",)),
    Mutant("a stop lists other tenants' calls", _foreign_calls, (TENANTS,), ("I10",)),
    Mutant("a person who left begins anew", gone(Start, "_refuse_leaver"), (LEAVER,), ("I1",)),
    Mutant(
        "a person who leaves leaves their runs",
        rows_as(Offboard, lambda row: None if isinstance(row, StopRow) else row),
        (LEAVER,),
        ("I1",),
    ),
    Mutant("a breaker does not count", lambda patch: patch.setattr(settle, "count", _uncounted), (BREAKER,), ("I1",)),
    Mutant(
        "a breaker holds nothing",
        rows_as(Settle, lambda row: None if isinstance(row, StopRow) else row),
        (BREAKER,),
        ("I1",),
    ),
    Mutant("a breaker takes every call for a bad one", _all_bad, (BREAKER,), ("I1",)),
    Mutant(
        "a breaker lists no calls",
        lambda patch: patch.setattr(breaker, "calls_in_flight", lambda *_: ((), ())),
        (BREAKER,),
        ("I1",),
    ),
    Mutant(
        "an unknown call is no failure",
        rows_as(ConcludeUnknown, lambda row: None if isinstance(row, BreakerRow | StopRow) else row),
        (BREAKER,),
        ("I1",),
    ),
    Mutant(
        "lifting keeps the count",
        rows_as(Lift, lambda row: None if isinstance(row, BreakerRow) else row),
        (BREAKER,),
        ("I1",),
    ),
    Mutant("denials are not counted", lambda patch: patch.setattr(admit, "count", _uncounted), (DENIALS,), ("I1",)),
    Mutant(
        "calls that were admitted are not counted",
        lambda patch: patch.setattr(admit, "count", _only_denials),
        (DENIALS,),
        ("I1",),
    ),
    Mutant(
        "nobody has to confirm break-glass",
        together(gone(glass, "refuse_people"), gone(glass_use, "refuse_people")),
        (MISUSED_GLASS,),
        ("I4",),
    ),
    Mutant("break-glass is not asked about at its use", gone(admit, "refuse_glass"), (BROKEN_GLASS,), ("I4",)),
    Mutant(
        "break-glass lasts as long as it is asked for", gone(glass_opening, "_refuse_more"), (MISUSED_GLASS,), ("I5",)
    ),
    Mutant(
        "break-glass goes on past its minutes",
        together(gone(chain, "refuse_expired"), gone(chain, "_refuse_run_over"), gone(admit, "refuse_glass")),
        (BROKEN_GLASS,),
        ("I4", "I5"),
    ),
    Mutant("break-glass opens under a hold", gone(glass_opening, "refuse_new_run"), (MISUSED_GLASS,), ("I1",)),
    Mutant("break-glass skips a hold", gone(chain, "_refuse_run_stops"), (BROKEN_GLASS,), ("I1",)),
    Mutant("break-glass opens elsewhere", gone(Making, "_refuse_place"), (MISUSED_GLASS,), ("I10",)),
    Mutant("an agent uses break-glass", gone(admit, "refuse_agent"), (BROKEN_GLASS,), ("I6",)),
    Mutant(
        "an ending is not marked", lambda patch: patch.setattr(Admit, "_ending", lambda self: ()), (ENDING,), ("I8",)
    ),
    Mutant("no intent is written", wrapped(Admit, "decide", _without(EntryKind.CALL_ADMITTED)), (RACE,), ("I3",)),
    Mutant(
        "the live policy is not asked",
        lambda patch: patch.setattr(admit, "check_call", lambda *_: allow()),
        (NARROWED,),
        ("I6",),
    ),
    Mutant("the live policy's budget is not asked", _as_it_began, (CHEAPER,), ("I2",)),
    Mutant("order is not looked at", gone(admit, "refuse_order"), (ORDERED,), ("I6",)),
    Mutant("what failed counts as done", _counts_all, (ORDERED,), ("I6",)),
    Mutant("what is in flight counts as done", _counts_at_once, (ORDERED,), ("I6",)),
    Mutant("hours and freezes are not looked at", gone(admit, "refuse_time"), (FROZEN,), ("I6",)),
    Mutant("leases are drawn while all is closed", gone(DrawLease, "_refuse_closed"), (FROZEN,), ("I6",)),
    Mutant(
        "delegation is not asked about again",
        together(gone(admit, "refuse_undelegated"), gone(issue, "refuse_undelegated")),
        (NARROWED,),
        ("I6",),
    ),
    Mutant("a sub-call outlives its call", gone(Admit, "_refuse_parent_call"), (SUBCALL,), ("I6", "I8")),
    Mutant("indexes do not see their batch", gone(Facts, "_move"), (STOPS[0], *ANEW, TENANTS), ("I1",)),
    Mutant("rows do not see their batch", _blind_batch, (RACE,), ("I2",)),
    Mutant(
        "the clock may run backwards",
        lambda patch: patch.setattr(batch, "CLOCK_TOLERANCE_MS", 10**12),
        (CLOCK,),
        ("I5",),
    ),
)
