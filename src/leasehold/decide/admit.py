"""The one question at every door: may this call start? All or nothing, in the order of DESIGN §3. The heart.

Each check is a function of its own, so that each has a mutant that a named test must catch. Nothing here reads a clock,
a file or a stale view: every call is judged on the facts of its own batch.
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
from leasehold.decide.call_request import ProposedCall, exact_grant
from leasehold.decide.chain import Chain, refuse_chain
from leasehold.decide.documents import decode_admission, encode_document
from leasehold.decide.entries import chain_entry, run_entry
from leasehold.decide.facts import Changes, Facts, Need, Ref, RequestsOfCall, StepAnswer
from leasehold.decide.glass_use import GlassUse, describe_use, glass_needs, refuse_agent, refuse_glass, skipped
from leasehold.decide.keys import refuse_used_key
from leasehold.decide.lifecycles import REQUEST_TABLE, RequestEvent, advance
from leasehold.decide.order import begin_milestone, order_needs, refuse_order
from leasehold.decide.pending import DENIALS_LISTED, list_denial, pending_need, refuse_many_pending, too_many_denials
from leasehold.decide.request import refuse_undelegated
from leasehold.decide.rows import AccountRow, CallRow, KeyRow, RequestRow, Row, RunRow
from leasehold.ledger.entry import Entry, EntryKind
from leasehold.model.budget import MICROS, TOOL_SECONDS, amounts_to_lines
from leasehold.model.call import Admission, Call, CallState
from leasehold.model.canonical import Json
from leasehold.model.card import Card
from leasehold.model.decision import Decision, Reason, allow, deny
from leasehold.model.effect import ApprovalMode, Effect
from leasehold.model.glass import BREAK_GLASS, BREAK_GLASS_ALARM, Skippable
from leasehold.model.grant import Attributes
from leasehold.model.ids import RequestId
from leasehold.model.instant import Instant
from leasehold.model.request import RequestState
from leasehold.policy.document import ActionRule, Policy
from leasehold.policy.evaluate import (
    ApprovalNeed,
    check_call,
    finish_seconds,
    fresh_seconds,
    implied,
    need_for_call,
    reservation,
)
from leasehold.policy.order import is_milestone
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
        return False  # `_refuse_life` asks for the clock, so that repeats come first and the refusal has an entry

    @cached_property
    def rule(self) -> ActionRule:
        """What the policy says of the action."""
        return self.policy_document.action(self.call.action)

    @property
    def tenant(self) -> str:
        """The run's tenant; never from arguments (requirement P6)."""
        return self.chain[-1].run.tenant

    def keys(self) -> Sequence[Need]:
        tenant, leaf = self.tenant, self.chain[-1]
        needs = list(self.chain.needs)
        needs.append(Ref(CallRow, (tenant, self.call.admission_id)))
        needs.append(RequestsOfCall((tenant, self.call_digest)))
        needs += account_needs(tenant, self.chain.accounts, self._wanted)
        if self.key is not None:
            needs.append(Ref(KeyRow, (tenant, leaf.run.run_id, self.call.action, self.key)))
        if self.call.parent is not None:
            needs.append(Ref(CallRow, (tenant, self.call.parent.admission_id)))
        if self.call.preview is not None:
            needs.append(Ref(CallRow, (tenant, self.call.preview.admission_id)))
        if self._has_order:
            needs += order_needs(self.policy_document, leaf.run, self.call.action)
        needs += glass_needs(self.glass)
        if self._need.mode is not ApprovalMode.NONE:
            needs += approver_needs(self.policy_document, leaf.run.route, leaf.run.requested_by)
            needs.append(pending_need(leaf.run))
        return [*needs, *breaker_needs(self._breaker, Counted.ASKED)] if self._breaker.breaker else needs

    @property
    def _live_budget(self) -> Mapping[str, int]:
        """What the active policy gives a run of this route."""
        route = self.policy_document.route(self.chain[-1].run.route)
        return route.budget if route is not None else {}

    @cached_property
    def _breaker(self) -> BreakerPlace:
        """What counts the denials of this route in this tenant, if the route declares it."""
        route = self.chain[-1].run.route
        return BreakerPlace(tenant=self.tenant, route=route, breaker=self.policy_document.breaker(route))

    def decide(self, facts: Facts, now: Instant) -> tuple[StepAnswer[Admission], Changes]:
        answer, changes = self._decide(facts, now)
        is_counted = changes.rows and (answer.value is not None or speaks_against(answer.decision))
        if not is_counted or not self._breaker.breaker:
            return answer, changes
        counted = count(facts, now, self._breaker, Counted.ASKED, is_bad=answer.value is None)
        return answer, Changes(rows=(*changes.rows, *counted.rows), entries=(*changes.entries, *counted.entries))

    def _decide(self, facts: Facts, now: Instant) -> tuple[StepAnswer[Admission], Changes]:
        earlier = facts.get(CallRow, self.tenant, self.call.admission_id)
        if earlier is not None:
            return self._answer_again(facts, earlier, now)
        refusal = self._refuse_repeat(facts) or self._refuse_life(facts, now) or self._refuse_scope(now)
        refusal = refusal or self._refuse_order(facts, now) or self._refuse_missing_key()
        if refusal is not None:
            return self._denied(facts, refusal)
        call = self._proposed_call
        approval = self._broken_glass or find_approval(call, facts, now)
        if isinstance(approval, Asking):
            return self._ask_people(facts, call, approval, now)
        if isinstance(approval, Decision):
            # A preview that is still missing is a question to the guard, not a refusal: it leaves nothing behind.
            is_question = approval.reason is Reason.PREVIEW_NEEDED and self.call.preview is None
            return (StepAnswer(approval), Changes()) if is_question else self._denied(facts, approval)
        reserved = reserve(facts, self.tenant, self.chain.accounts, self._wanted, self._live_budget)
        if isinstance(reserved, Decision):
            return self._denied(facts, reserved)
        return self._admitted(facts, now, approval, *reserved)

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
        if given == (self.chain[-1].lease.lease_id, self.call.action, self.arguments_digest, self.key, self.client):
            return None
        return deny(Reason.CONFLICT, f"{admission.admission_id} was for another call", check="same lease and call")

    def _refuse_repeat(self, facts: Facts) -> Decision | None:
        """The same key was used before: the same call is not made twice (invariant I7)."""
        if self.key is None:
            return None
        row = facts.get(KeyRow, self.tenant, self.chain[-1].run.run_id, self.call.action, self.key)
        return None if row is None else refuse_used_key(row, self.arguments_digest, idempotent=self.rule.idempotent)

    # 1 and 2: time and life

    def _refuse_life(self, facts: Facts, now: Instant) -> Decision | None:
        if facts.clock_behind:
            return CLOCK_BEHIND
        parent = self.call.parent
        ending = parent.admission_id if parent is not None else ""
        return (
            refuse_agent(self.chain[-1].run, self.glass)
            or refuse_chain(facts, self.chain, self._actions_at_work(facts), now, ending)
            or self._refuse_parent_call(facts, now)
            or self._refuse_not_fresh(now)
            or refuse_glass(facts, self.policy_document, self.glass, self.call.action, now)
        )

    def _actions_at_work(self, facts: Facts) -> tuple[str, ...]:
        """The action in hand, that of the call on whose behalf it is made, and all they imply: what a stop may name."""
        actions = [self.call.action]
        parent = self.call.parent
        row = facts.get(CallRow, self.tenant, parent.admission_id) if parent is not None else None
        if row is not None:
            actions.append(decode_admission(row.body).action)
        return tuple(name for action in actions for name in (action, *implied(self.policy_document, action)))

    def _refuse_parent_call(self, facts: Facts, now: Instant) -> Decision | None:
        """A sub-call lives only while the call on whose behalf it is made is open, and does only what that declared."""
        if self.call.parent is None:
            return None
        row = facts.get(CallRow, self.tenant, self.call.parent.admission_id)
        if row is None or row.state != CallState.ADMITTED or now.reached(row.finish_by):
            return deny(
                Reason.PARENT_CALL_OVER,
                "the call on whose behalf this is made is over",
                check=f"{self.call.parent.admission_id} is open",
            )
        parent = decode_admission(row.body)
        if parent.lease_id != self.chain[-1].lease.lease_id or self.call.action not in parent.uses:
            return deny(
                Reason.NOT_GRANTED,
                f"{parent.action} does not declare that it uses {self.call.action}",
                rule=f"actions.{parent.action}.uses",
                check=f"{self.call.action} in {list(parent.uses)}",
            )
        return None

    def _refuse_not_fresh(self, now: Instant) -> Decision | None:
        """Critical actions need a lease issued within their own few seconds (requirement C2)."""
        strictest = fresh_seconds(self.policy_document, self.call.action)
        lease = self.chain[-1].lease
        if strictest is None or not now.reached(lease.issued_at + strictest):
            return None
        return deny(
            Reason.NOT_FRESH,
            f"{self.call.action} needs a lease issued within the last {strictest} s",
            rule=f"actions.{self.call.action}.fresh",
            check=f"now {now.seconds} < issued_at {lease.issued_at} + {strictest}",
            enough="authority.escalate(run, action, ...), used at once",
        )

    # 3 and 4: what was granted, and what the live policy still allows

    def _refuse_scope(self, now: Instant) -> Decision | None:
        if self.found_before is not None:
            return self.found_before
        links = [link.policy_link for link in self.chain]
        if self.call.parent is not None:
            links.append((self.call.parent.allow, ()))
        run = self.chain[-1].run
        verdict = check_call(self.policy_document, run.route, self.call.action, self.attributes, links)
        route = self.policy_document.route(run.route)
        if not verdict.is_allowed or route is None:
            return verdict
        if self._skipped:
            hours = () if Skippable.HOURS in self._skipped else route.hours
            route = replace(route, hours=hours, freeze=() if Skippable.FREEZE in self._skipped else route.freeze)
        return refuse_undelegated(route, run, (self.call.action,)) or refuse_time(
            self.policy_document, route, self.call.action, now.seconds
        )

    def _refuse_order(self, facts: Facts, now: Instant) -> Decision | None:
        if Skippable.AFTER in self._skipped:
            return None
        if not self._has_order:
            return None
        return refuse_order(facts, self.policy_document, self.chain[-1].run, self.call.action, now)

    @cached_property
    def _has_order(self) -> bool:
        """Whether the route has a rule of order at all, which few have: without one nothing is looked up for it."""
        route = self.policy_document.route(self.chain[-1].run.route)
        return route is not None and bool(route.after)

    @cached_property
    def _skipped(self) -> frozenset[Skippable]:
        """The route rules that do not bind this call, because two people said so and the policy lists them."""
        return skipped(self.policy_document, self.glass, self.call.action)

    @property
    def _broken_glass(self) -> Approval | None:
        """The word of the two who opened it, in the place of any other approval; None where that is not skipped."""
        if Skippable.APPROVE not in self._skipped:
            return None
        nobody = replace(self._need, mode=ApprovalMode.NONE, quorum=0, approvers=())
        return Approval(nobody, self.chain[-1].lease.approved_by)

    # 5: writes have a key

    def _refuse_missing_key(self) -> Decision | None:
        if self.key is not None or self.rule.effect is Effect.READ:
            return None
        return deny(
            Reason.KEY_NEEDED,
            f"{self.call.action} is a {self.rule.effect} and needs an idempotency key",
            rule=f"actions.{self.call.action}.effect",
            check="an idempotency key is given",
            enough="a key that names this one change: lease.once(KEY), --key KEY, or Idempotency-Key: KEY",
        )

    # 6: people

    @cached_property
    def _need(self) -> ApprovalNeed:
        """Who has to agree, which `keys` and `decide` both ask."""
        links = [link.lease.allow for link in self.chain]
        if self.call.parent is not None:
            links.append(self.call.parent.allow)
        return need_for_call(self.policy_document, self.chain[-1].run.route, self.call.action, links)

    def _ask_people(
        self, facts: Facts, call: ProposedCall, asking: Asking, now: Instant
    ) -> tuple[StepAnswer[Admission], Changes]:
        """Make a request for exactly this call, and refuse until it is answered."""
        run = self.chain[-1].run
        run_row = facts.get(RunRow, self.tenant, run.run_id)
        route = self.policy_document.route(run.route)
        if run_row is None or run_row.denials >= DENIALS_LISTED or route is None:
            return self._denied(facts, too_many_denials(run.run_id))
        if refusal := refuse_many_pending(facts, self.policy_document, run, now):
            return self._denied(facts, refusal)
        rows: list[Row] = [replace(run_row, denials=run_row.denials + 1)]
        entries: list[Entry] = []
        if asking.over is not None:
            over, entry = self._replace(asking.over, asking.reason)
            rows.append(over)
            entries.append(entry)
        call = replace(call, edited=asking.edited_from)
        made = call.ask(route, facts.next_index + len(entries), now, asking.moved)
        return StepAnswer(asking.refusal(self.new_request)), Changes(
            rows=(*rows, *made.rows), entries=(*entries, *made.entries)
        )

    def _replace(self, row: RequestRow, why: Reason) -> tuple[RequestRow, Entry]:
        """An earlier request out of the way of the new one: an approval lapses, what nobody saw yet is superseded."""
        event = RequestEvent.LAPSE if row.state == RequestState.APPROVED else RequestEvent.SUPERSEDE
        state = advance(REQUEST_TABLE, RequestState(row.state), event)
        entry = run_entry(
            _REPLACED[event],
            self.chain[-1].run,
            attempt=row.attempt,
            request=row.request_id,
            action=self.call.action,
            policy=self.policy,
            outcome=state,
            detail={"why": why, "successor": self.new_request},
        )
        return replace(row, state=state, used_by=self.new_request), entry

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
            need=self._need,
            request_id=self.new_request,
            arguments_digest=self.arguments_digest,
            call_digest=self.call_digest,
            tool_schema=self.call.tool_schema,
            preview=self.call.preview,
            earlier_card=self.earlier_card,
        )

    # 7: budgets

    @cached_property
    def _wanted(self) -> Mapping[str, int | None]:
        """What is reserved, in millionths: the declared costs, one call, and the time that the action may take."""
        wanted = dict(reservation(self.policy_document, self.call.action))
        wanted.setdefault(TOOL_SECONDS, finish_seconds(self.policy_document, self.call.action) * MICROS)
        return wanted

    # 8: the answer

    def _admitted(
        self, facts: Facts, now: Instant, approval: Approval, reserved: dict[str, int], accounts: list[AccountRow]
    ) -> tuple[StepAnswer[Admission], Changes]:
        admission = self._admission(now, approval, reserved)
        rows: list[Row] = [*accounts, self._call_row(admission)]
        if admission.is_milestone:
            rows += begin_milestone(facts, admission)
        if self.key is not None:
            rows.append(self._key_row())
        if approval.request is not None:
            state = advance(REQUEST_TABLE, RequestState(approval.request.state), RequestEvent.USE)
            rows.append(replace(approval.request, state=state, used_by=admission.admission_id))
        for request_id in admission.ending:
            row = facts.get(RequestRow, self.tenant, request_id)
            if row is not None and not row.ending:
                rows.append(replace(row, ending=admission.admission_id))
        return StepAnswer(allow(), admission), Changes(
            rows=tuple(rows), entries=(self._entry(admission, approval.need),)
        )

    def _admission(self, now: Instant, approval: Approval, reserved: dict[str, int]) -> Admission:
        leaf = self.chain[-1]
        start_within = min(START_WITHIN_MS, now.milliseconds_until(self.chain.ends_at))
        timeout = finish_seconds(self.policy_document, self.call.action)
        finish_by = -(-(int(now) + start_within) // 1000) + timeout + FINISH_GRACE_SECONDS
        return Admission(
            admission_id=self.call.admission_id,
            tenant=self.tenant,
            environment=leaf.run.environment,
            run_id=leaf.run.run_id,
            parent_run=leaf.run.parent_run,
            attempt=leaf.lease.attempt,
            request_id=leaf.lease.request_id,
            lease_id=leaf.lease.lease_id,
            agent=leaf.run.agent,
            requested_by=leaf.run.requested_by,
            route=leaf.run.route,
            action=self.call.action,
            effect=self.rule.effect,
            grant=exact_grant(self.call.action, self.attributes),
            key=self.key,
            approval=RequestId(approval.request.request_id) if approval.request is not None else None,
            approved_by=approval.approved_by,
            capability=leaf.capability,
            arguments_digest=self.arguments_digest,
            lease_chain=self.chain.lease_ids,
            run_chain=self.chain.run_ids,
            request_chain=self.chain.request_ids,
            agents=self.chain.agents,
            reserved=reserved,
            ending=self._ending(),
            start_within_ms=start_within,
            finish_by=finish_by,
            finish_within_ms=now.milliseconds_until(finish_by),
            trace_id=self.call.trace_id,
            call_id=self.call.call_id,
            parent_admission=self.call.parent.admission_id if self.call.parent is not None else None,
            is_milestone=self._has_order and is_milestone(self.policy_document, leaf.run.route, self.call.action),
            uses=self.rule.uses,
            client=self.client,
        )

    def _ending(self) -> tuple[RequestId, ...]:
        """The requests that this call ends: each link whose ending events name the action or one that it implies."""
        names = {self.call.action, *implied(self.policy_document, self.call.action)}
        return tuple(link.lease.request_id for link in self.chain if names & set(link.lease.ends_on))

    def _call_row(self, admission: Admission) -> CallRow:
        return CallRow(
            tenant=self.tenant,
            admission_id=admission.admission_id,
            run_id=admission.run_id,
            state=CallState.ADMITTED,
            finish_by=admission.finish_by,
            body=encode_document(admission),
        )

    def _key_row(self) -> KeyRow:
        return KeyRow(
            tenant=self.tenant,
            run_id=self.chain[-1].run.run_id,
            action=self.call.action,
            key=self.key or "",
            digest=self.arguments_digest,
            admission_id=self.call.admission_id,
            state=CallState.ADMITTED,
        )

    def _entry(self, admission: Admission, need: ApprovalNeed) -> Entry:
        implies = implied(self.policy_document, self.call.action)
        return chain_entry(
            EntryKind.CALL_ADMITTED,
            self.chain,
            decision=allow(),
            **self._described(),
            approval=admission.approval or "",
            approvals=admission.approved_by,
            detail={
                "run_chain": admission.run_chain,
                "request_chain": admission.request_chain,
                "reserved": amounts_to_lines(admission.reserved),
                "approval": need.mode,
                "quorum": need.quorum,
                **({"implies": implies} if implies else {}),
                "finish_by": admission.finish_by,
                "expires_at": self.chain.expires_at,
                **({"call_id": admission.call_id} if admission.call_id else {}),
                **({"client": self.client} if self.client else {}),
                **({"parent_call": admission.parent_admission} if admission.parent_admission else {}),
                **({"ending": admission.ending} if admission.ending else {}),
                **({"tool_authority": "the tool holds its own"} if self.call.tool_authority else {}),
                **({"idempotent": "declared"} if self.rule.idempotent else {}),
                **describe_use(self.glass, self._skipped),
            },
        )

    def _denied(self, facts: Facts, refusal: Decision) -> tuple[StepAnswer[Admission], Changes]:
        """The refusal, with an entry of its own while the run's denial budget lasts; after that it is only counted."""
        row = facts.get(RunRow, self.tenant, self.chain[-1].run.run_id)
        counted = chain_entry(EntryKind.DENIALS_COUNTED, self.chain, detail={"listed": DENIALS_LISTED})
        return StepAnswer(refusal), list_denial(row, self._denial(refusal), counted)

    def _denial(self, refusal: Decision) -> Entry:
        """Of a break-glass each attempt alarms, whoever makes it."""
        alarm = {"alarm": BREAK_GLASS_ALARM} if self.chain[-1].run.agent == BREAK_GLASS else {}
        return chain_entry(EntryKind.CALL_DENIED, self.chain, decision=refusal, detail=alarm, **self._described())

    def _described(self) -> dict[str, object]:
        """What every entry about this call says of it."""
        return {
            "capability": self.chain[-1].capability,
            "admission": self.call.admission_id,
            "action": self.call.action,
            "effect": str(self.rule.effect),
            "attributes": dict(self.attributes),
            "arguments_digest": self.arguments_digest,
            "key": self.key or "",
            "trace": self.call.trace_id,
            "policy": self.policy,
        }


_REPLACED = {
    RequestEvent.LAPSE: EntryKind.REQUEST_LAPSED,
    RequestEvent.SUPERSEDE: EntryKind.REQUEST_SUPERSEDED,
}


def _with_time_left(admission: Admission, now: Instant) -> Admission:
    """An admission as it stands now: asking again wins no time, or a call could start after its expiry (I5)."""
    left = now.milliseconds_until(admission.finish_by)
    passed = max(0, (admission.finish_within_ms or 0) - left)
    return replace(admission, start_within_ms=max(0, admission.start_within_ms - passed), finish_within_ms=left)
