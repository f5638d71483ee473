"""What a break-glass is made of once two people have agreed: a run for its opener, with a request, a lease and budgets.

Also why what they agreed on cannot be: too old, more than the policy lists, another place, under a hold. Asked by the
steps that open one, whether at a terminal or at two browsers.
"""

from __future__ import annotations

import msgspec

from leasehold.decide.accounts import open_accounts
from leasehold.decide.approvals import encode_answers
from leasehold.decide.bond import NO_BOND, encode_bond
from leasehold.decide.chain import refuse_new_run
from leasehold.decide.documents import encode_document
from leasehold.decide.entries import describe_grants, request_entry, run_entry
from leasehold.decide.facts import Changes, Facts
from leasehold.decide.issue import capability_digest, lease_rows
from leasehold.decide.lease_document import Drawing, compose_lease
from leasehold.decide.lifecycles import GlassState
from leasehold.decide.rows import DocumentRow, GlassRow, RequestRow, Row
from leasehold.decide.start import run_rows
from leasehold.ledger.entry import Entry, EntryKind
from leasehold.model.budget import CHILDREN, amounts_to_lines
from leasehold.model.decision import Decision, Reason, deny
from leasehold.model.effect import ApprovalMode
from leasehold.model.glass import BREAK_GLASS, BREAK_GLASS_ALARM, Opening
from leasehold.model.instant import Instant
from leasehold.model.lease import Lease
from leasehold.model.request import Request, RequestKind, RequestState
from leasehold.model.run import RequesterProof, Run
from leasehold.policy.document import GlassRule, Policy, Route
from leasehold.policy.evaluate import check_start

__all__ = ["CONFIRM_SECONDS", "GLASS_ALARM", "Made", "Making", "describe_opening", "glass_row"]

CONFIRM_SECONDS = 300
"""How long an opening that was signed may wait for its second signature."""

_AHEAD_SECONDS = 2

GLASS_ALARM = {"alarm": BREAK_GLASS_ALARM}


class Made(msgspec.Struct, frozen=True, kw_only=True):
    """A break-glass that is open: its lease, and what is written for it."""

    lease: Lease
    changes: Changes


class Making(msgspec.Struct, frozen=True, kw_only=True):
    """The making of one, of what was agreed. `token` is its whole text, with what vouches for both; `evidence` is what
    of that the entry holds besides, so that it can be verified alone; `state` the one in which it begins."""

    policy_document: Policy
    opening: Opening
    token: str
    evidence: dict[str, str] = {}
    state: GlassState = GlassState.OPEN

    @property
    def policy(self) -> str:
        """The hash of the live policy."""
        return self.policy_document.hash

    def make(self, route: Route, now: Instant, facts: Facts) -> Made:
        """The run, request and lease of it, with what the ledger says of each."""
        run = self.run(now, facts.control.epoch)
        request = self._request(route, now)
        lease = self._lease(run, request, now, facts.control.epoch)
        rows = (*self._rows(run, request, lease, route, facts.next_index), self._row(facts.next_index))
        return Made(lease=lease, changes=Changes(rows=rows, entries=self._entries(run, request, lease, route)))

    def refuse(self, facts: Facts, now: Instant, *, since: int | None = None) -> Decision | None:
        """Why what was agreed cannot be had here and now, whoever agreed. What was proposed earlier, at ledger index
        `since`, is dead if something above it was revoked in between (invariant I1)."""
        return (
            _refuse_more(self.opening, self.policy_document.break_glass.get(self.opening.route))
            or self._refuse_place()
            or refuse_new_run(facts, self.run(now, facts.control.epoch), since=since)
        )

    def refuse_stale(self, facts: Facts, now: Instant) -> Decision | None:
        """An opening is used when it is signed: one that was kept, or dated ahead, or may have been used before the
        database was put back, opens nothing."""
        opened_at = self.opening.opened_at
        if facts.control.may_be_forgotten(opened_at, ahead=_AHEAD_SECONDS):
            return deny(
                Reason.STALE_EPOCH,
                f"{self.opening.glass_id} was signed before a restore",
                enough="a new opening, signed by both",
            )
        if opened_at <= now.seconds + _AHEAD_SECONDS and not now.reached(
            min(opened_at + CONFIRM_SECONDS, self.opening.ends_at)
        ):
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

    def run(self, now: Instant, epoch: int) -> Run:
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
            requester_proof=RequesterProof.PROVEN,
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
        return glass_row(self.opening, self.state, recorded)

    # what is written down

    def refused(self, refusal: Decision) -> Entry:
        run = self.run(Instant(1000 * self.opening.opened_at), 1)
        return run_entry(
            EntryKind.GLASS_REFUSED,
            run,
            attempt=1,
            decision=refusal,
            person=self.opening.opener,
            policy=self.policy,
            detail={**GLASS_ALARM, **describe_opening(self.opening)},
        )

    def _entries(self, run: Run, request: Request, lease: Lease, route: Route) -> tuple[Entry, ...]:
        return (
            self._started(run, route),
            self._opened(run, request, lease),
            self._made(run, request),
            self._issued(run, request, lease),
        )

    def _opened(self, run: Run, request: Request, lease: Lease) -> Entry:
        return run_entry(
            EntryKind.GLASS_OPENED,
            run,
            attempt=1,
            lease=lease.lease_id,
            request=request.request_id,
            person=self.opening.opener,
            approvals=lease.approved_by,
            policy=self.policy,
            detail={**GLASS_ALARM, **describe_opening(self.opening), "token": self.token, **self.evidence},
        )

    def _started(self, run: Run, route: Route) -> Entry:
        return run_entry(
            EntryKind.RUN_STARTED,
            run,
            attempt=1,
            policy=self.policy,
            detail={
                "purpose": run.purpose,
                "requester": run.requester_proof,
                "expires_at": run.expires_at,
                "budget": amounts_to_lines({**route.budget, CHILDREN: 0}),
            },
        )

    def _made(self, run: Run, request: Request) -> Entry:
        return request_entry(
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

    def _issued(self, run: Run, request: Request, lease: Lease) -> Entry:
        return request_entry(
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


def describe_opening(opening: Opening) -> dict[str, str | int | tuple[str, ...]]:
    """What entries say of an opening."""
    return {
        "glass": opening.glass_id,
        "second": opening.second,
        "actions": opening.actions,
        "skips": opening.skips,
        "minutes": opening.minutes,
        "reason": opening.reason,
        "opened_at": opening.opened_at,
        "expires_at": opening.ends_at,
    }


def glass_row(opening: Opening, state: GlassState, recorded: int) -> GlassRow:
    """Where an opening stands, from the start of it."""
    return GlassRow(
        tenant=opening.tenant,
        glass_id=opening.glass_id,
        state=state,
        opener=opening.opener,
        second=opening.second,
        route=opening.route,
        ends_at=opening.ends_at,
        review_by=0,
        reviewed_by="",
        recorded=recorded,
    )


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
