"""Judging what is committed, without a step: for people who look, and for calls that ask whether to go on.

The answer is true of one moment and starts nothing; whatever starts goes through admit.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from msgspec.structs import replace

from leasehold.authority.engine import Engine
from leasehold.decide.answer import request_need
from leasehold.decide.approvals import approver_needs, approvers_of, people_who_may, refuse_person
from leasehold.decide.chain import Chain, refuse_chain
from leasehold.decide.facts import Facts, Index, Ref
from leasehold.decide.proven import as_proven
from leasehold.decide.rows import AUTHORITY_WIDE, CallRow, RequestRow, Row, StopRow
from leasehold.model.call import Admission, CallState
from leasehold.model.card import Footer
from leasehold.model.decision import Decision, Reason, deny
from leasehold.model.instant import Instant
from leasehold.model.request import Request, RequestState
from leasehold.model.run import Run
from leasehold.model.scope import StopKind
from leasehold.policy.document import Policy
from leasehold.policy.evaluate import implied, with_implied

__all__ = [
    "find_end",
    "look_at_answer",
    "look_at_approvals",
    "look_at_chain",
    "look_at_footer",
    "look_at_grants",
]


def look_at_chain(engine: Engine, chain: Chain, call: Admission | None = None) -> Decision | None:
    """Why a lease is not alive now, or None if every link of its chain is; with `call`, for that call's own action."""
    facts, now = _committed(engine, chain)
    if call is None:
        return refuse_chain(facts, chain, (), now)
    actions = _actions(engine, facts, call)
    decision = refuse_chain(facts, chain, actions, now, call.admission_id)
    if decision is not None and decision.reason is Reason.ENDING and call.parent_admission is not None:
        return refuse_chain(facts, chain, actions, now, call.parent_admission)
    return decision


def look_at_grants(engine: Engine, chain: Chain, actions: Iterable[str]) -> frozenset[str]:
    """Which of these actions the lease may still be used for, as far as lives and stops go."""
    facts, now = _committed(engine, chain)
    policy = engine.policy(facts.control.policy)
    return frozenset(
        action for action in actions if refuse_chain(facts, chain, (action, *implied(policy, action)), now) is None
    )


def find_end(engine: Engine, chain: Chain, call: Admission) -> Decision | None:
    """Why a call under way has nothing above it any more, or has ended itself; None if it may go on.

    A hold is no end, nor is a request that another call is just ending: they stop what would start. They are looked
    through, so that they hide no end behind them.
    """
    row = engine.row(CallRow, call.tenant, call.admission_id)
    if row is not None and row.state != CallState.ADMITTED:
        return deny(Reason.ENDED, f"{call.admission_id} is {row.state}", check="the call is open")
    facts, now = _committed(engine, chain, see=_lasting)
    return refuse_chain(facts, chain, _actions(engine, facts, call), now, call.admission_id)


def _lasting(row: Row) -> Row | None:
    """A row without what may pass again; None for a hold."""
    match row:
        case StopRow():
            return None if row.kind == StopKind.HOLD else row
        case RequestRow():
            return replace(row, held=0, ending="")
        case _:
            return replace(row, held=0)


def _actions(engine: Engine, facts: Facts, call: Admission) -> tuple[str, ...]:
    return with_implied(engine.policy(facts.control.policy), call.stands_under)


def _committed(
    engine: Engine, chain: Chain, *, see: Callable[[Row], Row | None] = lambda row: row
) -> tuple[Facts, Instant]:
    """What is committed of a chain, each row as `see` sees it, and the time that counts."""
    queries = engine.store.queries
    control = queries.control()
    facts = Facts(control)
    now = max(engine.system.now(), Instant(control.last_time_ms))  # as in the lane: a clock set back revives nothing
    needs = chain.needs
    refs = [need for need in needs if isinstance(need, Ref)]
    for ref, row in zip(refs, queries.rows(refs), strict=True):
        facts.load(ref, row if row is None else see(row))
    for need in needs:
        if isinstance(need, Index):
            seen = (see(row) for row in queries.stops([need.bucket[0]]) if row.is_active)
            facts.load_index(need, [row for row in seen if row is not None])
    return facts, now


def look_at_answer(
    engine: Engine, policy: Policy, row: RequestRow, run: Run, request: Request, person: str
) -> Decision | None:
    """Why nobody can answer a request any more, or this person may not, as far as can be told before they do."""
    if row.state != RequestState.PENDING or engine.system.now().reached(row.answer_by):
        state = f"is {row.state}" if row.state != RequestState.PENDING else "expired unanswered"
        return deny(Reason.NOT_PENDING, f"this request {state}", check="state == pending")
    return refuse_person(
        policy,
        person,
        route=run.route,
        requested_by=run.requested_by,
        effect=request_need(policy, run, request).effect,
        editors=request.editors,
    )


def look_at_approvals(engine: Engine, policy: Policy, row: RequestRow, run: Run, request: Request) -> tuple[str, ...]:
    """The people whose approval of a request counts now."""
    control = engine.store.queries.control()
    now = max(engine.system.now(), Instant(control.last_time_ms))
    facts = Facts(replace(control, last_time_ms=int(now)))
    facts.reader = lambda ref: engine.store.queries.rows([ref])[0]
    refs = [need for need in approver_needs(policy, run.route, run.requested_by) if isinstance(need, Ref)]
    for ref, found in zip(refs, engine.store.queries.rows(refs), strict=True):
        facts.load(ref, found)
    effect = request_need(policy, run, request).effect
    return approvers_of(facts, policy, row, route=run.route, requested_by=run.requested_by, effect=effect)


def look_at_footer(engine: Engine, row: RequestRow) -> Footer:
    """How it stands with a request's card now: who has approved, how many have to, who may."""
    request, run = engine.request(row.tenant, row.request_id), engine.run(row.tenant, row.run_id)
    policy = engine.active_policy()
    need = request_need(policy, run, request)
    known = policy
    for person in engine.store.queries.people([AUTHORITY_WIDE]) if policy.sign_in else ():
        known = as_proven(known, person, engine.system.now())
    is_late = row.state == RequestState.PENDING and engine.system.now().reached(row.answer_by)
    return Footer(
        state=RequestState.EXPIRED if is_late else RequestState(row.state),
        answer_by=row.answer_by,
        card_digest=row.card_digest,
        quorum=need.quorum,
        approved_by=look_at_approvals(engine, policy, row, run, request),
        may_approve=people_who_may(
            known, route=run.route, requested_by=run.requested_by, effect=need.effect, editors=request.editors
        ),
    )
