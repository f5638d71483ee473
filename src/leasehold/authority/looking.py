"""Judging what is committed, without a step: for people who look, and for calls that ask whether to go on.

The answer is true of one moment and starts nothing; whatever starts goes through admit.
"""

from __future__ import annotations

from leasehold.authority.engine import Engine
from leasehold.decide.answer import request_need
from leasehold.decide.approvals import approver_needs, approvers_of
from leasehold.decide.chain import Chain, refuse_chain
from leasehold.decide.facts import Facts, Index, Ref
from leasehold.decide.rows import RequestRow
from leasehold.model.call import Admission
from leasehold.model.decision import Decision, Reason
from leasehold.model.instant import Instant
from leasehold.model.request import Request
from leasehold.model.run import Run
from leasehold.policy.document import Policy
from leasehold.policy.evaluate import implied

__all__ = ["look_at_approvals", "look_at_chain"]


def look_at_chain(engine: Engine, chain: Chain, call: Admission | None = None) -> Decision | None:
    """Why a lease is not alive now, or None if every link of its chain is; with `call`, for that call's own action."""
    queries = engine.store.queries
    control = queries.control()
    facts = Facts(control)
    now = max(engine.system.now(), Instant(control.last_time_ms))  # as in the lane: a clock set back revives nothing
    needs = chain.needs
    refs = [need for need in needs if isinstance(need, Ref)]
    for ref, row in zip(refs, queries.rows(refs), strict=True):
        facts.load(ref, row)
    for need in needs:
        if isinstance(need, Index):
            facts.load_index(need, (row for row in queries.stops([need.bucket[0]]) if row.is_active))
    if call is None:
        return refuse_chain(facts, chain, (), now)
    actions = (call.action, *implied(engine.policy(control.policy), call.action))
    decision = refuse_chain(facts, chain, actions, now, call.admission_id)
    if decision is not None and decision.reason is Reason.ENDING and call.parent_admission is not None:
        return refuse_chain(facts, chain, actions, now, call.parent_admission)
    return decision


def look_at_approvals(engine: Engine, policy: Policy, row: RequestRow, run: Run, request: Request) -> tuple[str, ...]:
    """The people whose approval of a request counts now."""
    facts = Facts(engine.store.queries.control())
    refs = [need for need in approver_needs(policy, run.route, run.requested_by) if isinstance(need, Ref)]
    for ref, found in zip(refs, engine.store.queries.rows(refs), strict=True):
        facts.load(ref, found)
    effect = request_need(policy, run, request).effect
    return approvers_of(facts, policy, row, route=run.route, requested_by=run.requested_by, effect=effect)
