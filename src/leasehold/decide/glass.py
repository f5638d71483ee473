"""Break-glass: two people open it together, it ends in minutes, and another person writes what they think of it.

Submitted by the authority's break-glass face, never by a protocol that agents speak. An opening is a run of its own for
the opener, so every stop, budget and entry that there is for runs is there for it (decision 0014).
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
from msgspec.structs import replace

from leasehold.decide.accounts import open_accounts
from leasehold.decide.approvals import encode_answers
from leasehold.decide.bond import NO_BOND, encode_bond
from leasehold.decide.chain import refuse_new_run, stop_needs
from leasehold.decide.documents import encode_document
from leasehold.decide.entries import describe_grants, request_entry, run_entry
from leasehold.decide.facts import Changes, Facts, Need, Ref, StepAnswer
from leasehold.decide.finish import FinishRun
from leasehold.decide.glass_use import refuse_people
from leasehold.decide.issue import capability_digest, lease_rows
from leasehold.decide.lease_document import Drawing, compose_lease
from leasehold.decide.lifecycles import GLASS_TABLE, GlassEvent, GlassState, advance
from leasehold.decide.rows import AUTHORITY_WIDE, DocumentRow, GlassRow, PersonRow, RequestRow, Row, RunRow
from leasehold.decide.start import run_rows
from leasehold.decide.voices import Voice, refuse_voice, voice_needs
from leasehold.ledger.entry import Entry, EntryKind
from leasehold.model.budget import CHILDREN, amounts_to_lines
from leasehold.model.decision import Decision, Reason, allow, deny
from leasehold.model.effect import ApprovalMode
from leasehold.model.glass import BREAK_GLASS, BREAK_GLASS_ALARM, Opening, glass_of_run
from leasehold.model.instant import Instant
from leasehold.model.lease import Lease
from leasehold.model.request import Request, RequestKind, RequestState
from leasehold.model.run import Run
from leasehold.policy.document import GlassRule, Policy, Power, Route
from leasehold.policy.evaluate import check_start, has_power

__all__ = ["REVIEW_SECONDS", "CloseGlass", "OpenGlass", "ReviewGlass"]

CONFIRM_SECONDS = 300
"""How long an opening that was signed may wait for its second signature."""

REVIEW_SECONDS = 86_400
"""Within what time after its end somebody has to write what they think of it."""

_ALARM = {"alarm": BREAK_GLASS_ALARM}


class OpenGlass(msgspec.Struct, frozen=True, kw_only=True):
    """Open it. Both signatures over the opening were verified before, with these keys; `token` is its whole text."""

    policy_document: Policy
    opening: Opening
    token: str
    opener_key: bytes
    second_key: bytes

    @property
    def policy(self) -> str:
        return self.policy_document.hash

    @property
    def needs_clock(self) -> bool:
        return True

    def keys(self) -> Sequence[Need]:
        opening = self.opening
        return [
            *stop_needs(opening.tenant),
            Ref(GlassRow, (opening.tenant, opening.glass_id)),
            Ref(PersonRow, (AUTHORITY_WIDE, opening.opener)),
            Ref(PersonRow, (AUTHORITY_WIDE, opening.second)),
        ]

    def decide(self, facts: Facts, now: Instant) -> tuple[StepAnswer[Lease], Changes]:
        route = self.policy_document.route(self.opening.route)
        rule = self.policy_document.break_glass.get(self.opening.route)
        refusal = self._refuse(facts, rule, now)
        if refusal is not None or route is None:
            refusal = refusal or deny(Reason.UNKNOWN_ROUTE, f"there is no route {self.opening.route}")
            return StepAnswer(refusal), Changes(entries=(self._refused(refusal),))
        run = self._run(now, facts.control.epoch)
        request = self._request(route, now)
        lease = self._lease(run, request, now, facts.control.epoch)
        rows = (*self._rows(run, request, lease, route, facts.next_index), self._row(facts.next_index))
        return StepAnswer(allow(), lease), Changes(rows=rows, entries=self._entries(run, request, lease, route))

    def _refuse(self, facts: Facts, rule: GlassRule | None, now: Instant) -> Decision | None:
        opening = self.opening
        return (
            _refuse_repeat(facts.get(GlassRow, opening.tenant, opening.glass_id), opening)
            or self._refuse_stale(now)
            or refuse_people(facts, self.policy_document, opening, self.opener_key, self.second_key)
            or _refuse_more(opening, rule)
            or self._refuse_place()
            or refuse_new_run(facts, self._run(now, facts.control.epoch))
        )

    def _refuse_stale(self, now: Instant) -> Decision | None:
        """An opening is used when it is signed: one that was kept, or dated ahead, opens nothing."""
        opened_at = self.opening.opened_at
        if opened_at <= now.seconds + 2 and not now.reached(min(opened_at + CONFIRM_SECONDS, self.opening.ends_at)):
            return None
        return deny(
            Reason.EXPIRED,
            f"{self.opening.glass_id} was not confirmed in time",
            check=f"opened_at {opened_at} <= now {now.seconds} < opened_at + {CONFIRM_SECONDS}",
            enough="a new opening, signed by both within five minutes",
        )

    def _refuse_place(self) -> Decision | None:
        """Tenant and environment are those that the route is for; nothing skips that (requirement P6)."""
        route = self.policy_document.route(self.opening.route)
        agent = route.agents[0] if route is not None else BREAK_GLASS
        verdict = check_start(
            self.policy_document,
            route=self.opening.route,
            agent=agent,
            tenant=self.opening.tenant,
            environment=self.opening.environment,
        )
        return None if verdict.is_allowed else verdict

    # what it is made of

    def _run(self, now: Instant, epoch: int) -> Run:
        opening = self.opening
        return Run(
            run_id=opening.run_id,
            tenant=opening.tenant,
            environment=opening.environment,
            agent=BREAK_GLASS,
            requested_by=opening.opener,
            route=opening.route,
            purpose=opening.reason,
            started_at=now.seconds,
            expires_at=max(opening.ends_at, now.seconds + 1),
            policy=self.policy,
            requester_proof="proven",
            epoch=epoch,
        )

    def _request(self, route: Route, now: Instant) -> Request:
        opening = self.opening
        return Request(
            request_id=opening.request_id,
            kind=RequestKind.LEASE,
            tenant=opening.tenant,
            run_id=opening.run_id,
            attempt=1,
            reason=opening.reason,
            made_at=now.seconds,
            answer_by=now.seconds,
            policy=self.policy,
            card_digest="",
            allow={action: route.allow[action] for action in opening.actions},
            deny=route.deny,
            budget=dict(route.budget),
            ttl_seconds=opening.ends_at - now.seconds,
        )

    def _lease(self, run: Run, request: Request, now: Instant, epoch: int) -> Lease:
        opening = self.opening
        drawing = Drawing(
            lease_id=opening.lease_id,
            approved_by=(opening.opener, opening.second),
            parents=(),
            delegation_depth=0,
            issued_at=now.seconds,
            expires_at=opening.ends_at,
            policy=self.policy,
            epoch=epoch,
        )
        return compose_lease(run, request, drawing)

    def _rows(self, run: Run, request: Request, lease: Lease, route: Route, recorded: int) -> tuple[Row, ...]:
        tenant = run.tenant
        return (
            DocumentRow(tenant=tenant, id=self.opening.glass_id, body=self.token.encode()),
            *run_rows(run, recorded),
            *open_accounts(tenant, run.run_id, {**route.budget, CHILDREN: 0}),
            DocumentRow(tenant=tenant, id=request.request_id, body=encode_document(request)),
            RequestRow(
                tenant=tenant,
                request_id=request.request_id,
                run_id=run.run_id,
                kind=request.kind,
                state=RequestState.USED,
                attempt=1,
                answer_by=request.answer_by,
                use_by=run.expires_at,
                recorded=recorded,
                call_digest="",
                card_digest="",
                answers=encode_answers(()),
                used_by="",
                ending="",
                bond=encode_bond(NO_BOND),
                revoked=0,
                held=0,
            ),
            *open_accounts(tenant, request.request_id, request.budget),
            *lease_rows(lease, recorded),
        )

    def _row(self, recorded: int) -> GlassRow:
        opening = self.opening
        return GlassRow(
            tenant=opening.tenant,
            glass_id=opening.glass_id,
            state=GlassState.OPEN,
            opener=opening.opener,
            second=opening.second,
            route=opening.route,
            ends_at=opening.ends_at,
            review_by=0,
            reviewed_by="",
            recorded=recorded,
        )

    # what is written down

    def _described(self) -> dict[str, str | int | tuple[str, ...]]:
        opening = self.opening
        return {
            **_ALARM,
            "glass": opening.glass_id,
            "second": opening.second,
            "actions": opening.actions,
            "skips": opening.skips,
            "minutes": opening.minutes,
            "reason": opening.reason,
            "opened_at": opening.opened_at,
            "expires_at": opening.ends_at,
        }

    def _refused(self, refusal: Decision) -> Entry:
        run = self._run(Instant(1000 * self.opening.opened_at), 1)
        return run_entry(
            EntryKind.GLASS_REFUSED,
            run,
            attempt=1,
            decision=refusal,
            person=self.opening.opener,
            policy=self.policy,
            detail=self._described(),
        )

    def _entries(self, run: Run, request: Request, lease: Lease, route: Route) -> tuple[Entry, ...]:
        limits = {**route.budget, CHILDREN: 0}
        opened = run_entry(
            EntryKind.GLASS_OPENED,
            run,
            attempt=1,
            lease=lease.lease_id,
            request=request.request_id,
            person=self.opening.opener,
            approvals=lease.approved_by,
            policy=self.policy,
            detail={**self._described(), "token": self.token},
        )
        started = run_entry(
            EntryKind.RUN_STARTED,
            run,
            attempt=1,
            policy=self.policy,
            detail={
                "purpose": run.purpose,
                "requester": run.requester_proof,
                "expires_at": run.expires_at,
                "budget": amounts_to_lines(limits),
            },
        )
        made = request_entry(
            EntryKind.REQUEST_MADE,
            request,
            run,
            policy=self.policy,
            outcome=RequestState.APPROVED,
            detail={
                "kind": request.kind,
                "reason": request.reason,
                "allow": describe_grants(request.allow),
                "budget": amounts_to_lines(request.budget),
                "approval": ApprovalMode.NONE,
            },
        )
        issued = request_entry(
            EntryKind.LEASE_ISSUED,
            request,
            run,
            lease=lease.lease_id,
            capability=capability_digest(lease),
            approvals=lease.approved_by,
            policy=self.policy,
            detail={
                "allow": describe_grants(lease.allow),
                "deny": lease.deny,
                "approval": ApprovalMode.NONE,
                "quorum": 0,
                "expires_at": lease.expires_at,
                "reason": lease.reason,
            },
        )
        return (started, opened, made, issued)


def _refuse_repeat(row: GlassRow | None, opening: Opening) -> Decision | None:
    if row is None:
        return None
    return deny(Reason.CONFLICT, f"{opening.glass_id} was opened before", check="an opening is used once")


def _refuse_more(opening: Opening, rule: GlassRule | None) -> Decision | None:
    """What the policy does not list cannot be skipped, done or had for longer."""
    allowed = rule or GlassRule(route="", openers=(), confirmers=(), actions=(), skips=(), minutes=0)
    where = f'break_glass."{opening.route}"'
    for key, wanted, listed in (
        ("actions", opening.actions, allowed.actions),
        ("skips", opening.skips, allowed.skips),
    ):
        for name in wanted:
            if name not in listed:
                return deny(
                    Reason.POLICY_DENIES,
                    f"{name} is nothing that break-glass on {opening.route} may {_DOES[key]}",
                    rule=f"{where}.{key}",
                    check=f"{name} in {list(listed)}",
                )
    if opening.minutes > allowed.minutes:
        return deny(
            Reason.TTL_TOO_LONG,
            f"{opening.minutes} minutes were asked for",
            rule=f"{where}.minutes",
            check=f"{opening.minutes} <= {allowed.minutes}",
        )
    return None


_DOES = {"actions": "do", "skips": "skip"}


class CloseGlass(msgspec.Struct, frozen=True, kw_only=True):
    """The end of a break-glass: of its run, by a person, the clock or a stop. It alarms, and wants a review."""

    finish: FinishRun

    policy: None = None
    needs_clock: bool = False

    def keys(self) -> Sequence[Need]:
        run = self.finish.run
        return [*self.finish.keys(), Ref(GlassRow, (run.tenant, glass_of_run(run.run_id)))]

    def decide(self, facts: Facts, now: Instant) -> tuple[StepAnswer[RunRow], Changes]:
        answer, changes = self.finish.decide(facts, now)
        run = self.finish.run
        row = facts.get(GlassRow, run.tenant, glass_of_run(run.run_id))
        if row is None or row.state != GlassState.OPEN:
            return answer, changes
        state = advance(GLASS_TABLE, GlassState(row.state), GlassEvent.CLOSE)
        closed = replace(row, state=state, review_by=now.seconds + REVIEW_SECONDS)
        entry = run_entry(
            EntryKind.GLASS_CLOSED,
            run,
            attempt=1,
            lease=f"lease_{run.run_id.partition('_')[2]}",
            person=row.opener,
            outcome=self.finish.why,
            detail={**_ALARM, "glass": row.glass_id, "review_by": closed.review_by},
        )
        return answer, Changes(rows=(*changes.rows, closed), entries=(*changes.entries, entry))


class ReviewGlass(msgspec.Struct, frozen=True, kw_only=True):
    """Another person writes what they think of a break-glass that is over."""

    policy_document: Policy
    opening: Opening
    voice: Voice
    words: str

    @property
    def policy(self) -> str:
        return self.policy_document.hash

    @property
    def needs_clock(self) -> bool:
        return True

    def keys(self) -> Sequence[Need]:
        return [*voice_needs(self.voice), Ref(GlassRow, (self.opening.tenant, self.opening.glass_id))]

    def decide(self, facts: Facts, now: Instant) -> tuple[StepAnswer[GlassRow], Changes]:
        row = facts.get(GlassRow, self.opening.tenant, self.opening.glass_id)
        refusal = refuse_voice(facts, self.voice, now) or self._refuse_reviewer() or self._refuse_state(row)
        if refusal is not None or row is None:
            return StepAnswer(refusal or deny(Reason.NOT_FOUND, "no such break-glass")), Changes()
        state = advance(GLASS_TABLE, GlassState(row.state), GlassEvent.REVIEW)
        reviewed = replace(row, state=state, reviewed_by=self.voice.person)
        entry = Entry(
            kind=EntryKind.GLASS_REVIEWED,
            tenant=row.tenant,
            environment=self.opening.environment,
            run=self.opening.run_id,
            lease=self.opening.lease_id,
            agent=BREAK_GLASS,
            requested_by=row.opener,
            route=row.route,
            person=self.voice.person,
            policy=self.policy,
            detail={"glass": row.glass_id, "words": self.words},
        )
        return StepAnswer(allow(), reviewed), Changes(rows=(reviewed,), entries=(entry,))

    def _refuse_reviewer(self) -> Decision | None:
        person, rule = self.voice.person, self.policy_document.break_glass.get(self.opening.route)
        if person == self.opening.opener:
            return deny(
                Reason.OWN_REQUEST,
                f"{person} opened it; somebody else reviews it",
                check="reviewer != opener",
            )
        roles = set(self.policy_document.people.get(person, ()))
        confirms = rule is not None and not roles.isdisjoint(rule.confirmers)
        if confirms or has_power(self.policy_document, person, Power.LIFT, self.opening.tenant):
            return None
        return deny(
            Reason.NOT_ENTITLED,
            f"{person} may not review break-glass on {self.opening.route}",
            rule=f'break_glass."{self.opening.route}".confirmers',
            check=f"a role of {person} confirms there, or can lift",
        )

    def _refuse_state(self, row: GlassRow | None) -> Decision | None:
        if row is not None and row.state == GlassState.CLOSED:
            return None
        return deny(
            Reason.NOT_PENDING,
            f"{self.opening.glass_id} is {row.state if row is not None else 'not in this ledger'}",
            check="state == closed",
        )
