"""The one question at every door: may this call start? All or nothing, in the order of DESIGN §3. The heart.

Read `Admit._decide` first: repeats, checks 0 to 5 in `_refuse`, then people, budgets and the answer. Each check is a
function of its own, so that each has a mutant that a named test must catch. Nothing here reads a clock, a file or a
stale view: every call is judged on the facts of its own batch.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property

import msgspec
from msgspec.structs import replace

from leasehold.decide.accounts import account_needs, reserve
from leasehold.decide.approvals import approver_needs
from leasehold.decide.batch import CLOCK_BEHIND
from leasehold.decide.breaker import BreakerPlace, Counted, breaker_needs, count, speaks_against
from leasehold.decide.call_approval import Approval, Asking, find_approval
from leasehold.decide.call_record import CallRecord, opened_rows
from leasehold.decide.call_request import ProposedCall, exact_grant
from leasehold.decide.chain import Chain, refuse_chain
from leasehold.decide.documents import decode_admission
from leasehold.decide.facts import Changes, Facts, Need, Ref, RequestsOfCall, StepAnswer
from leasehold.decide.glass_use import (
    GlassUse,
    describe_use,
    glass_needs,
    refuse_agent,
    refuse_glass,
    skipped,
    without_skipped,
)
from leasehold.decide.keys import refuse_used_key
from leasehold.decide.order import begin_milestone, order_needs, refuse_order
from leasehold.decide.pending import DENIALS_LISTED, list_denial, pending_need, refuse_many_pending, too_many_denials
from leasehold.decide.request import refuse_undelegated
from leasehold.decide.rows import CallRow, KeyRow, RunRow
from leasehold.model.call import Admission, Call, CallState
from leasehold.model.canonical import Json
from leasehold.model.card import Card
from leasehold.model.decision import Decision, Reason, allow, deny
from leasehold.model.effect import ApprovalMode, Effect
from leasehold.model.glass import Skippable
from leasehold.model.grant import Attributes, Grants
from leasehold.model.ids import RequestId
from leasehold.model.instant import Instant
from leasehold.model.lease import Lease
from leasehold.model.run import Run
from leasehold.policy.document import Policy
from leasehold.policy.evaluate import ApprovalNeed, check_call, need_for_call, with_implied
from leasehold.policy.terms import CallTerms, call_terms
from leasehold.policy.timing import refuse_time
from leasehold.token.digest import Digester

__all__ = ["DENIALS_LISTED", "START_WITHIN_MS", "Admit"]

START_WITHIN_MS = 5000
FINISH_GRACE_SECONDS = 2


class Admit(msgspec.Struct, frozen=True, kw_only=True, dict=True):
    """Ask for leave to start one call.

    `chain` are the documents of the lease and all above it; the token they came from is authentic and for this door.
    `arguments` is the value of the call's canonical bytes, `attributes` what the live policy derives from them;
    `found_before` a refusal that was found on the way here, to be given (and recorded) in its place in the order.
    `new_request` is the id that a request for this call gets if one has to be made; `earlier_card` the newest card
    of it that waits or was approved, as far as it was read beforehand; `glass` what a person opened, who uses it here.
    `client` is the guard that asks over the network, empty where it holds the open state.
    """

    policy_document: Policy
    digester: Digester
    chain: Chain
    call: Call
    arguments: Mapping[str, Json]
    attributes: Attributes
    found_before: Decision | None
    key: str | None
    new_request: RequestId
    arguments_digest: str
    call_digest: str
    earlier_card: Card | None = None
    glass: GlassUse | None = None
    client: str = ""

    @property
    def policy(self) -> str:
        return self.policy_document.hash

    @property
    def needs_clock(self) -> bool:
        return False  # `_refuse` asks for the clock, so that repeats come first and the refusal has an entry

    # what the documents say: the lease in hand, the live policy on this call, who has to agree

    @property
    def lease(self) -> Lease:
        """The lease in hand."""
        return self.chain[-1].lease

    @property
    def run(self) -> Run:
        """The run that holds it."""
        return self.chain[-1].run

    @property
    def tenant(self) -> str:
        """The run's tenant; never from arguments (requirement P6)."""
        return self.run.tenant

    @cached_property
    def terms(self) -> CallTerms:
        """What the live policy says of the action on the run's route."""
        return call_terms(self.policy_document, self.run.route, self.call.action)

    @cached_property
    def links(self) -> Sequence[tuple[Grants, tuple[str, ...]]]:
        """What has to cover the call: each lease of the chain, and of a sub-call what its call was narrowed to."""
        parent = self.call.parent
        return self.chain.policy_links if parent is None else (*self.chain.policy_links, (parent.allow, ()))

    @cached_property
    def need(self) -> ApprovalNeed:
        """Who has to agree."""
        return need_for_call(
            self.policy_document, self.run.route, self.call.action, [grants for grants, _ in self.links]
        )

    @cached_property
    def skips(self) -> frozenset[Skippable]:
        """The route rules that do not bind this call, because two people said so and the policy lists them."""
        return skipped(self.policy_document, self.glass, self.call.action)

    @property
    def _breaker(self) -> BreakerPlace:
        """What counts the denials of this route in this tenant, if the route declares it."""
        return BreakerPlace(tenant=self.tenant, route=self.run.route, breaker=self.terms.breaker)

    @property
    def _record(self) -> CallRecord:
        """The call as the ledger tells of it."""
        return CallRecord(
            chain=self.chain,
            call=self.call,
            terms=self.terms,
            policy=self.policy,
            attributes=self.attributes,
            arguments_digest=self.arguments_digest,
            key=self.key,
        )

    # the step

    def keys(self) -> Sequence[Need]:
        tenant, run, call = self.tenant, self.run, self.call
        needs = [*self.chain.needs, *account_needs(tenant, self.chain.accounts, self.terms.reserves)]
        needs.append(RequestsOfCall((tenant, self.call_digest)))
        for other in (call, call.parent, call.preview):
            if other is not None:
                needs.append(Ref(CallRow, (tenant, other.admission_id)))
        if self.key is not None:
            needs.append(Ref(KeyRow, (tenant, run.run_id, call.action, self.key)))
        if self.need.mode is not ApprovalMode.NONE:
            needs += approver_needs(self.policy_document, run.route, run.requested_by)
            needs.append(pending_need(run))
        needs += order_needs(self.policy_document, run, call.action)
        needs += glass_needs(self.glass)
        if self.terms.breaker is not None:
            needs += breaker_needs(self._breaker, Counted.ASKED)
        return needs

    def decide(self, facts: Facts, now: Instant) -> tuple[StepAnswer[Admission], Changes]:
        answer, changes = self._decide(facts, now)
        is_counted = changes.rows and (answer.value is not None or speaks_against(answer.decision))
        if not is_counted or self.terms.breaker is None:
            return answer, changes
        counted = count(facts, now, self._breaker, Counted.ASKED, is_bad=answer.value is None)
        return answer, Changes(rows=(*changes.rows, *counted.rows), entries=(*changes.entries, *counted.entries))

    def _decide(self, facts: Facts, now: Instant) -> tuple[StepAnswer[Admission], Changes]:
        earlier = facts.get(CallRow, self.tenant, self.call.admission_id)
        if earlier is not None:
            return self._answer_again(facts, earlier, now)
        if refusal := self._refuse(facts, now):
            return self._denied(facts, refusal)
        call = self._proposed_call
        match self._broken_glass or find_approval(call, facts, now):
            case Asking() as asking:
                return self._ask_people(facts, call, asking, now)
            case Decision() as refusal:
                return self._not_approved(facts, refusal)
            case approval:
                return self._charge(facts, now, approval)

    def _refuse(self, facts: Facts, now: Instant) -> Decision | None:
        """Checks 0 to 5. The first that says no is the answer."""
        run, policy, action, parent = self.run, self.policy_document, self.call.action, self.call.parent
        return (
            # 0: was this key seen before?
            self._refuse_repeat(facts)
            # 1: does the clock count?
            or (CLOCK_BEHIND if facts.clock_behind else None)
            # 2: is all above the call alive?
            or refuse_agent(run, self.glass)
            or refuse_chain(facts, self.chain, self._actions(facts), now, parent.admission_id if parent else "")
            or self._refuse_parent_call(facts, now)
            or self._refuse_not_fresh(now)
            or refuse_glass(facts, policy, self.glass, action, now)
            # 3 and 4: does every link grant it, and the live policy still allow it?
            or self.found_before
            or self._refuse_scope(now)
            or self._refuse_order(facts, now)
            # 5: has a write its key?
            or self._refuse_missing_key()
        )

    def _denied(self, facts: Facts, refusal: Decision) -> tuple[StepAnswer[Admission], Changes]:
        """The refusal, with an entry of its own while the run's denial budget lasts; after that it is only counted."""
        row, record = facts.get(RunRow, self.tenant, self.run.run_id), self._record
        return StepAnswer(refusal), list_denial(row, record.denied(refusal), record.counted())

    # 0: repeats

    def _answer_again(self, facts: Facts, row: CallRow, now: Instant) -> tuple[StepAnswer[Admission], Changes]:
        """A guard that lost the answer asks again with the same admission id: the same admission, while it is open."""
        admission = decode_admission(row.body)
        refusal = self._refuse_other_call(admission)
        if refusal is None and row.state != CallState.ADMITTED:
            refusal = deny(Reason.ALREADY_SETTLED, f"{row.admission_id} is {row.state}", check="call is open")
        if refusal is not None:
            return self._denied(facts, refusal)
        return StepAnswer(allow(), _with_time_left(admission, now)), Changes()

    def _refuse_other_call(self, admission: Admission) -> Decision | None:
        """An admission answers only the door, lease and call that it was made for."""
        if self.found_before is not None and self.found_before.reason is Reason.WRONG_TOOL:
            return self.found_before
        given = (admission.lease_id, admission.action, admission.arguments_digest, admission.key, admission.client)
        if given == (self.lease.lease_id, self.call.action, self.arguments_digest, self.key, self.client):
            return None
        return deny(Reason.CONFLICT, f"{admission.admission_id} was for another call", check="same lease and call")

    def _refuse_repeat(self, facts: Facts) -> Decision | None:
        """The same key was used before: the same call is not made twice (invariant I7)."""
        if self.key is None:
            return None
        row = facts.get(KeyRow, self.tenant, self.run.run_id, self.call.action, self.key)
        if row is None:
            return None
        return refuse_used_key(row, self.arguments_digest, idempotent=self.terms.rule.idempotent)

    # 2: life

    def _parent_row(self, facts: Facts) -> CallRow | None:
        """The call on whose behalf this one is made."""
        parent = self.call.parent
        return facts.get(CallRow, self.tenant, parent.admission_id) if parent is not None else None

    def _callers(self, facts: Facts) -> tuple[str, ...]:
        """The actions of the calls on whose behalf it is made, all the way up."""
        row = self._parent_row(facts)
        return decode_admission(row.body).stands_under if row is not None else ()

    def _actions(self, facts: Facts) -> tuple[str, ...]:
        """The action in hand, those of the calls that it is made for, and all they imply: what a stop may name."""
        return (*self.terms.actions, *with_implied(self.policy_document, self._callers(facts)))

    def _refuse_parent_call(self, facts: Facts, now: Instant) -> Decision | None:
        """A sub-call lives only while the call on whose behalf it is made is open, and does only what that declared."""
        if self.call.parent is None:
            return None
        row = self._parent_row(facts)
        if row is None or row.state != CallState.ADMITTED or now.reached(row.finish_by):
            return deny(
                Reason.PARENT_CALL_OVER,
                "the call on whose behalf this is made is over",
                check=f"{self.call.parent.admission_id} is open",
            )
        parent = decode_admission(row.body)
        if parent.lease_id != self.lease.lease_id or self.call.action not in parent.uses:
            return deny(
                Reason.NOT_GRANTED,
                f"{parent.action} does not declare that it uses {self.call.action}",
                rule=f"actions.{parent.action}.uses",
                check=f"{self.call.action} in {list(parent.uses)}",
            )
        return None

    def _refuse_not_fresh(self, now: Instant) -> Decision | None:
        """Critical actions need a lease issued within their own few seconds (requirement C2)."""
        most, issued_at = self.terms.fresh_seconds, self.lease.issued_at
        if most is None or not now.reached(issued_at + most):
            return None
        return deny(
            Reason.NOT_FRESH,
            f"{self.call.action} needs a lease issued within the last {most} s",
            rule=f"actions.{self.call.action}.fresh",
            check=f"now {now.seconds} < issued_at {issued_at} + {most}",
            enough="authority.escalate(run, action, ...), used at once",
        )

    # 3 and 4: what was granted, and what the live policy still allows

    def _refuse_scope(self, now: Instant) -> Decision | None:
        """Every link and the live route cover the whole call, a child has it delegated, and it is within the hours."""
        policy, run, route, action = self.policy_document, self.run, self.terms.route, self.call.action
        verdict = check_call(policy, run.route, action, self.attributes, self.links)
        if not verdict.is_allowed or route is None:
            return verdict
        return refuse_undelegated(route, run, (action,)) or refuse_time(
            policy, without_skipped(route, self.skips), action, now.seconds
        )

    def _refuse_order(self, facts: Facts, now: Instant) -> Decision | None:
        """What has to come before it in this run is done."""
        if Skippable.AFTER in self.skips:
            return None
        return refuse_order(facts, self.policy_document, self.run, self.call.action, now)

    # 5: writes have a key

    def _refuse_missing_key(self) -> Decision | None:
        effect = self.terms.rule.effect
        if self.key is not None or effect is Effect.READ:
            return None
        return deny(
            Reason.KEY_NEEDED,
            f"{self.call.action} is a {effect} and needs an idempotency key",
            rule=f"actions.{self.call.action}.effect",
            check="an idempotency key is given",
            enough="a key that names this one change: lease.once(KEY), --key KEY, or Idempotency-Key: KEY",
        )

    # 6: people

    @property
    def _broken_glass(self) -> Approval | None:
        """The word of the two who opened it, in the place of any other approval; None where that is not skipped."""
        if Skippable.APPROVE not in self.skips:
            return None
        nobody = replace(self.need, mode=ApprovalMode.NONE, quorum=0, approvers=())
        return Approval(nobody, self.lease.approved_by)

    @property
    def _proposed_call(self) -> ProposedCall:
        """The call as people are asked about it."""
        return ProposedCall(
            policy_document=self.policy_document,
            digester=self.digester,
            chain=self.chain,
            action=self.call.action,
            attributes=self.attributes,
            arguments=self.arguments,
            key=self.key,
            need=self.need,
            request_id=self.new_request,
            arguments_digest=self.arguments_digest,
            call_digest=self.call_digest,
            tool_schema=self.call.tool_schema,
            preview=self.call.preview,
            earlier_card=self.earlier_card,
        )

    def _ask_people(
        self, facts: Facts, call: ProposedCall, asking: Asking, now: Instant
    ) -> tuple[StepAnswer[Admission], Changes]:
        """Make a request for exactly this call, and refuse until it is answered."""
        run, route = self.run, self.terms.route
        row = facts.get(RunRow, self.tenant, run.run_id)
        if row is None or row.denials >= DENIALS_LISTED or route is None:
            return self._denied(facts, too_many_denials(run.run_id))
        if refusal := refuse_many_pending(facts, self.policy_document, run, now):
            return self._denied(facts, refusal)
        made = asking.ask(call, route, facts.next_index, now)
        counted = replace(row, denials=row.denials + 1)
        return StepAnswer(asking.refusal(self.new_request)), replace(made, rows=(counted, *made.rows))

    def _not_approved(self, facts: Facts, refusal: Decision) -> tuple[StepAnswer[Admission], Changes]:
        """A preview that is still missing is a question to the guard, not a refusal: it leaves nothing behind."""
        if refusal.reason is Reason.PREVIEW_NEEDED and self.call.preview is None:
            return StepAnswer(refusal), Changes()
        return self._denied(facts, refusal)

    # 7: budgets

    def _charge(self, facts: Facts, now: Instant, approval: Approval) -> tuple[StepAnswer[Admission], Changes]:
        """Reserve on all accounts, or refuse and change nothing, not even the approval."""
        reserved = reserve(facts, self.tenant, self.chain.accounts, self.terms.reserves, self.terms.budget)
        if isinstance(reserved, Decision):
            return self._denied(facts, reserved)
        amounts, accounts = reserved
        admission = self._admission(now, approval, amounts, self._callers(facts))
        rows = (
            *accounts,
            *opened_rows(facts, admission),
            *begin_milestone(facts, admission),
            *approval.use(admission),
        )
        intent = self._record.admitted(admission, approval.need, describe_use(self.glass, self.skips))
        return StepAnswer(allow(), admission), Changes(rows=rows, entries=(intent,))

    # 8: the answer

    def _admission(
        self, now: Instant, approval: Approval, reserved: dict[str, int], callers: tuple[str, ...]
    ) -> Admission:
        call, lease, run, chain, terms = self.call, self.lease, self.run, self.chain, self.terms
        start_within = min(START_WITHIN_MS, now.milliseconds_until(chain.ends_at))
        finish_by = -(-(int(now) + start_within) // 1000) + terms.finish_seconds + FINISH_GRACE_SECONDS
        return Admission(
            admission_id=call.admission_id,
            tenant=run.tenant,
            environment=run.environment,
            run_id=run.run_id,
            parent_run=run.parent_run,
            attempt=lease.attempt,
            request_id=lease.request_id,
            lease_id=lease.lease_id,
            agent=run.agent,
            requested_by=run.requested_by,
            route=run.route,
            action=call.action,
            effect=terms.rule.effect,
            grant=exact_grant(call.action, self.attributes),
            key=self.key,
            approval=approval.request_id,
            approved_by=approval.approved_by,
            capability=chain[-1].capability,
            arguments_digest=self.arguments_digest,
            lease_chain=chain.lease_ids,
            run_chain=chain.run_ids,
            request_chain=chain.request_ids,
            agents=chain.agents,
            reserved=reserved,
            ending=self._ending(),
            start_within_ms=start_within,
            finish_by=finish_by,
            finish_within_ms=now.milliseconds_until(finish_by),
            trace_id=call.trace_id,
            call_id=call.call_id,
            parent_admission=call.parent.admission_id if call.parent is not None else None,
            callers=callers,
            is_milestone=terms.is_milestone,
            uses=terms.rule.uses,
            client=self.client,
        )

    def _ending(self) -> tuple[RequestId, ...]:
        """The requests that this call ends: each link whose ending events name the action or one that it implies."""
        return tuple(
            link.lease.request_id for link in self.chain if not set(self.terms.actions).isdisjoint(link.lease.ends_on)
        )


def _with_time_left(admission: Admission, now: Instant) -> Admission:
    """An admission as it stands now: asking again wins no time, or a call could start after its expiry (I5)."""
    left = now.milliseconds_until(admission.finish_by)
    passed = max(0, (admission.finish_within_ms or 0) - left)
    return replace(admission, start_within_ms=max(0, admission.start_within_ms - passed), finish_within_ms=left)
