"""What one person who is signed in may do and see: their inbox, their answers, the stops that a role of theirs can.

A desk around the desk, made for each request by the server. Whatever changes something is judged inside its step, by
the live policy. What a person may not see is not found (invariant I10).
"""

from __future__ import annotations

import hmac
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from typing import TypeVar

import msgspec

from leasehold.authority.batches import Item, ItemResult, answer_items
from leasehold.authority.desk import Desk, KeyHolder, LeaseStatus
from leasehold.authority.engine import Engine
from leasehold.authority.glass_desk import GlassDesk
from leasehold.authority.governing import Governing
from leasehold.authority.looking import look_at_answer, look_at_approvals
from leasehold.authority.receipts import Receipts
from leasehold.authority.runs import Runs
from leasehold.authority.sign_ins import SignedIn
from leasehold.authority.standing import Standing
from leasehold.decide.answer import Answered, request_need
from leasehold.decide.approvals import answers_of, refuse_proof
from leasehold.decide.documents import decode_admission
from leasehold.decide.proven import as_proven
from leasehold.decide.rows import AUTHORITY_WIDE, AccountRow, CallRow, LeaseRow, PersonRow, RequestRow, RunRow, StopRow
from leasehold.decide.stop import Stopped
from leasehold.decide.voices import sign_ins_of
from leasehold.errors import Denied, NotFoundError, StoreError
from leasehold.ledger.entry import Entry, decode_entry
from leasehold.model.call import Admission
from leasehold.model.canonical import Json
from leasehold.model.card import Card, card_sha256
from leasehold.model.decision import Decision, Reason, deny
from leasehold.model.effect import Effect
from leasehold.model.ids import check_id
from leasehold.model.instant import Instant
from leasehold.model.proof import SignIn
from leasehold.model.request import Answer, Request, Verdict
from leasehold.model.run import Run
from leasehold.model.scope import Scope, ScopeKind
from leasehold.policy.document import EVERYONE, Policy, Power
from leasehold.policy.evaluate import has_power, is_entitled
from leasehold.policy.excerpt import excerpt
from leasehold.store.queries import MAX_LISTED, LedgerQuery
from leasehold.token.passkey import Assertion
from leasehold.token.person import AnswerStatement

__all__ = ["PersonDesk", "PolicyShown", "PowerIn", "RunDetail", "Waiting"]

R = TypeVar("R", RunRow, LeaseRow)
L = TypeVar("L", bound=RequestRow | RunRow | LeaseRow)

_LOOK_AHEAD = 100
_NARROW: dict[ScopeKind, tuple[str, type[RequestRow] | type[RunRow] | type[LeaseRow]]] = {
    ScopeKind.LEASE: ("lease", LeaseRow),
    ScopeKind.REQUEST: ("req", RequestRow),
    ScopeKind.RUN: ("run", RunRow),
}


class PowerIn(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that a person may do, and in which tenants (`("*",)`: in all)."""

    power: Power
    tenants: tuple[str, ...]


class Waiting(msgspec.Struct, frozen=True, kw_only=True):
    """A request as this person meets it.

    `refusal` says why they may not answer it now, None that they may; `proof` what their approval needs besides the
    session as it is: a passkey, or to sign in again (`Reason.PASSKEY_NEEDED`, `SIGN_IN_TOO_OLD`). `approvals` are the
    people whose approval counts so far, `missing` how many more it takes. `card` is None once it was erased: nobody can
    approve unseen.
    """

    request: Request
    run: Run
    row: RequestRow
    card: Card | None
    refusal: Decision | None
    proof: Decision | None
    approvals: tuple[str, ...]
    missing: int


class RunDetail(msgspec.Struct, frozen=True, kw_only=True):
    """A run with what it asked for, holds and started, each the newest first.

    `accounts` are those of the root run, on which a child draws too; `entries` what the ledger has of the run, of every
    run under it and of the stops that reached them, oldest first.
    """

    run: Run
    row: RunRow
    parent: RunRow | None
    requests: tuple[RequestRow, ...]
    leases: tuple[LeaseRow, ...]
    children: tuple[RunRow, ...]
    accounts: tuple[AccountRow, ...]
    entries: tuple[Entry, ...]


class PolicyShown(msgspec.Struct, frozen=True, kw_only=True):
    """The active policy: its hash, and as much of the document as concerns the tenants that this person may see."""

    hash: str
    document: Policy


class PersonDesk:
    """The desk of one person who is signed in, or whose key signed what they ask. Threads may share it.

    They see what stands in tenants where a role of theirs can query; besides, requests and runs of routes whose
    approver they are, and runs that were started for them.
    """

    def __init__(
        self, engine: Engine, runs: Runs, receipts: Receipts, session: SignedIn | KeyHolder, *, origin: str = ""
    ) -> None:
        self._engine = engine
        self._receipts = receipts
        self._desk = Desk(engine, runs, voice=session.voice, origin=origin)
        self._session = session
        self._runs = runs
        self._origin = origin

    @property
    def person(self) -> str:
        """Whose desk this is."""
        return self._session.person

    @property
    def session(self) -> SignedIn:
        """How and since when they are signed in.

        Raises:
            Denied: they are not; their key alone says who they are.
        """
        if isinstance(self._session, KeyHolder):
            raise Denied(deny(Reason.NOT_SIGNED_IN, f"{self.person} is not signed in"))
        return self._session

    @property
    def governing(self) -> Governing:
        """What they may see of policies that wait, and say to them, while they are signed in."""
        return Governing(self._engine, self.session, self._origin)

    @property
    def glass(self) -> GlassDesk:
        """Their part in break-glass, while they are signed in."""
        return GlassDesk(self._engine, self._runs, self._receipts, self.session, origin=self._origin)

    def now(self) -> Instant:
        """The authority's clock, by which countdowns run."""
        return self._engine.system.now()

    # what I may do

    def policy(self) -> PolicyShown:
        """The active policy, as far as it concerns tenants that this person may see."""
        policy, tenants = self._engine.active_policy(), self._queried()
        if tenants is None:
            return PolicyShown(hash=policy.hash, document=policy)
        routes = [
            name
            for name, route in policy.routes.items()
            if not tenants.isdisjoint(route.tenants)
            or (route.tenants == (EVERYONE,) and tenants)
            or is_entitled(self._held(policy), self.person, name, "")
        ]
        return PolicyShown(hash=policy.hash, document=excerpt(policy, routes, tenants))

    def powers(self) -> tuple[PowerIn, ...]:
        """What the roles of this person can do, to offer no button that would be refused."""
        active = self._engine.active_policy()
        by_groups = self._held(active)
        found = [(power, self._tenants_of(active if power is Power.POLICY else by_groups, power)) for power in Power]
        return tuple(PowerIn(power=power, tenants=tuple(sorted(tenants))) for power, tenants in found if tenants)

    def _tenants_of(self, policy: Policy, power: Power) -> set[str]:
        held = [policy.roles[role] for role in policy.people.get(self.person, ()) if role in policy.roles]
        return {name for role in held if power in role.can for name in role.tenants}

    def may(self, power: Power, tenant: str) -> bool:
        """Whether a role of this person can do this in the tenant, or in every tenant where it is empty."""
        active = self._engine.active_policy()
        return has_power(active if power is Power.POLICY else self._held(active), self.person, power, tenant)

    # requests

    def inbox(self) -> tuple[Waiting, ...]:
        """The pending requests that this person may see, the oldest first."""
        queries = self._engine.store.queries
        rows = queries.pending_requests(queries.tenants())
        return tuple(self._waiting(row, run) for row in rows for run in [self._run_of(row)] if self._may_see(run))

    def waiting(self, request_id: str) -> Waiting:
        """One request in whatever state.

        Raises:
            NotFoundError: there is none that this person may see.
        """
        row = self._located(request_id, "req", RequestRow)
        return self._waiting(row, self._run_of(row))

    def card(self, request_id: str) -> Card:
        """The card of a request, exactly as its digest covers it.

        Raises:
            NotFoundError: there is none that this person may see, or it was erased.
        """
        row = self._located(request_id, "req", RequestRow)
        return self._desk.card(self._engine.request(row.tenant, row.request_id))

    def passkeys(self) -> tuple[SignIn, ...]:
        """The passkeys of this person."""
        row = self._engine.row(PersonRow, AUTHORITY_WIDE, self.person)
        return tuple(known for known in sign_ins_of(row) if known.credential) if row is not None else ()

    def answer(
        self,
        request_id: str,
        verdict: Verdict,
        *,
        card_digest: str,
        reason: str = "",
        assertion: Assertion | None = None,
    ) -> Answered:
        """Answer a request to the card with this digest, which is the one that was shown.

        `assertion` is what a passkey of this person signed for exactly this answer; without it the session vouches.

        Raises:
            NotFoundError: there is none that this person may see.
            Denied: it is not pending, the card is another one, or this person's word does not count for it.
        """
        row = self._located(request_id, "req", RequestRow)
        request = self._engine.request(row.tenant, row.request_id)
        if assertion is None:
            return self._desk.answer_signed_in(request, verdict, self.session, card_digest=card_digest, reason=reason)
        return self._desk.answer_with_passkey(
            request, verdict, self.session, assertion, card_digest=card_digest, reason=reason
        )

    def record_answer(self, statement: AnswerStatement, signature: str, *, shown: str, reason: str = "") -> Answered:
        """Record this person's answer, signed by their key over exactly what they were shown: `shown` is its SHA-256.

        Raises:
            NotFoundError: there is no such request that this person may see.
            Denied: it is not pending, the card is another one, or this person's word does not count for it.
        """
        request = self._find_request(statement.request_id)
        if statement.person != self.person:
            raise Denied(deny(Reason.BAD_SIGNATURE, f"this is not the signature of {self.person}"))
        if not hmac.compare_digest(card_sha256(self._desk.card(request)), shown):
            raise Denied(
                deny(
                    Reason.CARD_CHANGED,
                    f"{self.person} was shown another card than {request.request_id} has; find out who showed it",
                    check="the card that was shown is the request's own, byte for byte",
                )
            )
        return self._desk.record_answer(request, statement, signature, reason=reason, same_account=False)

    def answer_many(self, items: Sequence[Item], verdict: Verdict, *, reason: str = "") -> tuple[ItemResult, ...]:
        """Answer several requests to the cards that were looked at (`Desk.answer_many`). What is not seen is not found.

        Raises:
            InvalidError: there are none or too many, or one stands twice.
        """
        return answer_items(
            self._engine,
            items,
            verdict,
            self._find_request,
            lambda request, item: self._desk.answer_signed_in(
                request, verdict, self.session, card_digest=item.card_digest, reason=reason
            ),
        )

    def batchable(self, request_id: str) -> Decision:
        """Whether a request may be approved together with others, or why not (`Desk.batchable`).

        Raises:
            NotFoundError: there is none that this person may see.
        """
        return self._desk.batchable(self._find_request(request_id))

    def _find_request(self, request_id: str) -> Request:
        """A request that this person may see."""
        row = self._located(request_id, "req", RequestRow)
        return self._engine.request(row.tenant, row.request_id)

    def edit(
        self,
        request_id: str,
        *,
        arguments: Mapping[str, Json] | None = None,
        allow: Mapping[str, Mapping[str, object]] | None = None,
        reason: str = "",
    ) -> Request:
        """Put an edited request in the place of one that waits (`Desk.edit`).

        Raises:
            NotFoundError: there is none that this person may see.
            InvalidError, Denied: as `Desk.edit`.
        """
        request = self._find_request(request_id)
        return self._desk.edit(request, self.session, arguments=arguments, allow=allow, reason=reason)

    def _waiting(self, row: RequestRow, run: Run) -> Waiting:
        request = self._engine.request(row.tenant, row.request_id)
        policy = self._engine.active_policy()
        approvals = look_at_approvals(self._engine, policy, row, run, request)
        body = self._engine.store.queries.card(row.tenant, row.card_digest)
        return Waiting(
            request=request,
            run=run,
            row=row,
            card=self._desk.card(request) if body is not None else None,
            refusal=self._refuse_answer(policy, row, run, request),
            proof=self._refuse_proof(policy, request_need(policy, run, request).effect),
            approvals=approvals,
            missing=max(0, request_need(policy, run, request).quorum - len(approvals)),
        )

    def _held(self, policy: Policy) -> Policy:
        """The policy with the roles in it that groups of a provider prove of this person."""
        if not policy.sign_in:
            return policy
        return as_proven(policy, self._engine.row(PersonRow, AUTHORITY_WIDE, self.person), self.now())

    def _refuse_answer(self, policy: Policy, row: RequestRow, run: Run, request: Request) -> Decision | None:
        """Why an answer would be refused or change nothing, as far as can be told before it is given."""
        refusal = look_at_answer(self._engine, self._held(policy), row, run, request, self.person)
        if refusal is None and any(answer.person == self.person for answer in answers_of(row)):
            return deny(Reason.NOT_PENDING, "you have answered; others still have to")
        return refusal

    def _refuse_proof(self, policy: Policy, effect: Effect) -> Decision | None:
        """What an approval in this session would lack; one that a key signs lacks nothing."""
        if isinstance(self._session, KeyHolder):
            return None
        said = Answer(
            person=self.person, verdict=Verdict.APPROVE, answered_at=self.now().seconds, proof=self._session.proof
        )
        return refuse_proof(policy, said, effect)

    # runs and leases

    def runs(self, *, before: int | None = None, limit: int = 100) -> tuple[RunRow, ...]:
        """The runs that this person may see, the newest first; `before` is the `recorded` of the last one shown."""
        queries = self._engine.store.queries
        return self._seen(lambda end, count: queries.runs(queries.tenants(), before=end, limit=count), before, limit)

    def run(self, run_id: str) -> RunDetail:
        """All that is known of one run.

        Raises:
            NotFoundError: there is none that this person may see.
        """
        queries = self._engine.store.queries
        row = self._located(run_id, "run", RunRow)
        run = self._engine.run(row.tenant, run_id)
        root = (run.ancestors or (run,))[0].run_id
        return RunDetail(
            run=run,
            row=row,
            parent=self._engine.row(RunRow, row.tenant, row.parent_run) if row.parent_run else None,
            requests=queries.requests_of_run(row.tenant, run_id),
            leases=queries.leases_of_run(row.tenant, run_id),
            children=queries.children(row.tenant, run_id),
            accounts=queries.accounts(row.tenant, root),
            entries=self._receipts.entries(run),
        )

    def receipt(self, run_id: str) -> bytes:
        """The signed receipt of a run as of now.

        Raises:
            NotFoundError: there is none that this person may see.
        """
        row = self._located(run_id, "run", RunRow)
        return self._receipts.build(self._engine.run(row.tenant, run_id))

    def leases(self, *, before: int | None = None, limit: int = 100) -> tuple[LeaseRow, ...]:
        """The leases that this person may see, the newest first; `before` as for `runs`."""
        queries = self._engine.store.queries
        return self._seen(lambda end, count: queries.leases(queries.tenants(), before=end, limit=count), before, limit)

    def lease_status(self, lease_id: str) -> LeaseStatus:
        """A lease as every door would judge it now.

        Raises:
            NotFoundError: there is none that this person may see.
        """
        self._located(lease_id, "lease", LeaseRow)
        return self._desk.lease_status(lease_id)

    def open_calls(self) -> tuple[Admission, ...]:
        """Calls that are admitted and not settled, in the runs that this person may see, the one due first in front.

        What is in flight before something is stopped. A call whose stored admission is damaged is left out.
        """
        queries = self._engine.store.queries
        rows = queries.open_calls(queries.tenants())
        return tuple(_readable(row for row in rows if self._may_see(self._engine.run(row.tenant, row.run_id))))

    # ledger and stops

    def search(self, query: LedgerQuery) -> tuple[Entry, ...]:
        """Ledger entries of the tenants where this person can query, the newest first."""
        mine = self._queried()
        if mine is not None:
            wanted = mine if query.tenants is None else mine.intersection(query.tenants)
            query = msgspec.structs.replace(query, tenants=tuple(sorted(wanted)))
        return self._desk.search(query)

    def entry(self, index: int) -> Entry:
        """One ledger entry, whole.

        Raises:
            NotFoundError: there is none, or it is of a tenant where this person cannot query.
        """
        lines = self._engine.store.queries.ledger(index, index + 1)
        found = decode_entry(lines[0].body) if lines else None
        mine = self._queried()
        if found is None or (mine is not None and found.tenant not in mine):
            raise NotFoundError(f"there is no entry {index}")
        return found

    def _queried(self) -> set[str] | None:
        """The tenants where a role of this person can query, whether anything ran there or not; None is every one, with
        what belongs to the whole authority."""
        if self._has_everywhere(Power.QUERY):
            return None
        return self._tenants_of(self._held(self._engine.active_policy()), Power.QUERY)

    def stops(self) -> tuple[StopRow, ...]:
        """Wide revokes and holds, in force or not, of the tenants where this person can query; with those of every
        tenant, which reach theirs too."""
        seen = self._reached()
        return self._engine.store.queries.stops(None if seen is None else sorted(seen))

    def standing(self) -> tuple[Standing, ...]:
        """What is held or revoked now in the tenants where this person can query, and in every tenant at once; the
        newest first."""
        seen = self._reached()
        return tuple(stop for stop in self._desk.standing() if seen is None or stop.tenant in seen)

    def _reached(self) -> set[str] | None:
        """The tenants whose stops this person may see, with the empty one if there are any; None is all of them."""
        mine = self._queried()
        return {AUTHORITY_WIDE, *mine} if mine else mine

    def revoke(self, scope: Scope, *, reason: str, tenant: str = AUTHORITY_WIDE) -> Stopped:
        """Kill everything recorded so far in a scope, for good. Answers the calls in flight.

        Raises:
            NotFoundError: there is no such lease, request or run that this person may see.
            Denied: no role of theirs can revoke there.
        """
        self._check_scope(scope)
        return self._desk.revoke(scope, by=self.person, reason=reason, tenant=tenant)

    def hold(self, scope: Scope, *, reason: str, tenant: str = AUTHORITY_WIDE) -> Stopped:
        """Let nothing start in a scope until the hold is lifted. Answers the calls in flight.

        Raises:
            NotFoundError: there is no such lease, request or run that this person may see.
            Denied: no role of theirs can hold there.
        """
        self._check_scope(scope)
        return self._desk.hold(scope, by=self.person, reason=reason, tenant=tenant)

    def lift(self, scope: Scope, *, reason: str, tenant: str = AUTHORITY_WIDE) -> Scope:
        """Lift a hold.

        Raises:
            NotFoundError: there is no such lease, request or run that this person may see.
            Denied: it is not held, or no role of theirs can lift there.
        """
        self._check_scope(scope)
        return self._desk.lift(scope, self._session, reason=reason, tenant=tenant)

    # what I may see

    def _has_everywhere(self, power: Power) -> bool:
        return self.may(power, AUTHORITY_WIDE)

    def _may_see(self, run: Run) -> bool:
        policy = self._held(self._engine.active_policy())
        return (
            run.requested_by == self.person
            or is_entitled(policy, self.person, run.route, run.requested_by)
            or has_power(policy, self.person, Power.QUERY, run.tenant)
        )

    def _run_of(self, row: RequestRow | LeaseRow | RunRow) -> Run:
        return self._engine.run(row.tenant, row.run_id)

    def _located(self, row_id: str, prefix: str, row_type: type[L]) -> L:
        check_id(row_id, prefix)
        queries = self._engine.store.queries
        row = queries.locate(row_id, queries.tenants())
        if not isinstance(row, row_type) or not self._may_see(self._run_of(row)):
            raise NotFoundError(f"{row_id} is not in this ledger")
        return row

    def _check_scope(self, scope: Scope) -> None:
        if scope.kind in _NARROW:
            self._located(scope.value, *_NARROW[scope.kind])

    def _seen(self, read: Callable[[int | None, int], tuple[R, ...]], before: int | None, limit: int) -> tuple[R, ...]:
        """As many rows as asked for, of those that this person may see, read page by page."""
        found: list[R] = []
        count = min(MAX_LISTED, max(limit, _LOOK_AHEAD))
        while len(found) < limit:
            page = read(before, count)
            found.extend(row for row in page if self._may_see(self._run_of(row)))
            if len(page) < count:
                break
            before = page[-1].recorded
        return tuple(found[:limit])


def _readable(rows: Iterable[CallRow]) -> Iterator[Admission]:
    for row in rows:
        with suppress(StoreError):
            yield decode_admission(row.body)
