"""Order within a run: which calls have to be done before another may be made. Asked by admit, kept up by settle.

A route's `after` names prerequisites. Only calls of actions that are one leave a row behind, so a route without such a
rule costs nothing. Done counts, once and for the whole run; failed and unknown do not, and what a child run did is its
own. A prerequisite that is in flight is told with its admission, so that the guard can wait for it.
"""

from __future__ import annotations

import msgspec
from msgspec.structs import replace

from leasehold.decide.facts import Facts, Need, Ref
from leasehold.decide.rows import MilestoneRow
from leasehold.model.call import Admission, CallState
from leasehold.model.decision import Decision, Reason, deny
from leasehold.model.instant import Instant
from leasehold.model.run import Run
from leasehold.policy.document import Policy
from leasehold.policy.order import is_milestone, prerequisites

__all__ = ["begin_milestone", "end_milestone", "order_needs", "refuse_order"]

_OPEN_KEPT = 16
"""How many open calls of one action are remembered at once; the newest, for those are waited for."""


class _OpenCall(msgspec.Struct, frozen=True, array_like=True):
    admission_id: str
    finish_by: int


_DECODER = msgspec.json.Decoder(tuple[_OpenCall, ...])


def order_needs(policy: Policy, run: Run, action: str) -> list[Need]:
    """What `refuse_order` and `begin_milestone` ask for; nothing where the route has no such rule."""
    names = set(prerequisites(policy, run.route, action))
    if is_milestone(policy, run.route, action):
        names.add(action)
    return [Ref(MilestoneRow, (run.tenant, run.run_id, name)) for name in sorted(names)]


def refuse_order(facts: Facts, policy: Policy, run: Run, action: str, now: Instant) -> Decision | None:
    """Why the action's turn has not come in this run: a prerequisite is not done, or not settled yet."""
    for name, owner in prerequisites(policy, run.route, action).items():
        row = facts.get(MilestoneRow, run.tenant, run.run_id, name)
        if row is not None and row.is_done:
            continue
        waiting = [] if row is None else [call for call in _DECODER.decode(row.open) if not now.reached(call.finish_by)]
        rule = f'routes."{run.route}".after."{owner}"'
        if waiting:
            refusal = deny(
                Reason.PREREQUISITE_OPEN,
                f"{action} comes after {name}, which is still being carried out",
                rule=rule,
                check=f"{waiting[-1].admission_id} is done",
                enough=f"the same call once {waiting[-1].admission_id} is settled as done",
            )
            return replace(refusal, admission_id=waiting[-1].admission_id)
        return deny(
            Reason.OUT_OF_ORDER,
            f"{action} comes after {name}, which this run has not done",
            rule=rule,
            check=f"a call of {name} in {run.run_id} is done",
            enough=f"a call of {name} first, done and not failed",
        )
    return None


def begin_milestone(facts: Facts, admission: Admission) -> list[MilestoneRow]:
    """The row that says that a prerequisite of something is in flight; none where it was done before."""
    if not admission.is_milestone:
        return []
    row = facts.get(MilestoneRow, admission.tenant, admission.run_id, admission.action)
    if row is None:
        row = MilestoneRow(
            tenant=admission.tenant, run_id=admission.run_id, action=admission.action, is_done=0, open=b"[]"
        )
    if row.is_done:
        return []
    waiting = (*_DECODER.decode(row.open), _OpenCall(admission.admission_id, admission.finish_by))
    return [replace(row, open=msgspec.json.encode(waiting[-_OPEN_KEPT:]))]


def end_milestone(facts: Facts, admission: Admission, after: CallState) -> list[MilestoneRow]:
    """The row once the call has ended: done for good, or one fewer in flight."""
    if not admission.is_milestone:
        return []
    row = facts.get(MilestoneRow, admission.tenant, admission.run_id, admission.action)
    if row is None or row.is_done:
        return []
    if after is CallState.DONE:
        return [replace(row, is_done=1, open=b"[]")]
    waiting = tuple(call for call in _DECODER.decode(row.open) if call.admission_id != admission.admission_id)
    return [replace(row, open=msgspec.json.encode(waiting))]
