"""What people may do: answer, revoke, hold, lift, and look. The Desk protocol, embedded.

An answer carries the signature of the person's own key over exactly what they were shown, or says in which session
they gave it. Stopping is open to whoever holds the open state, because it is the safe side, and to a person whom the
desk speaks for if a role of theirs can; lifting needs a person with the power to lift.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import msgspec

from leasehold.authority.batches import Item, ItemResult, answer_items, refuse_in_batch
from leasehold.authority.edits import edit_call, edit_lease
from leasehold.authority.engine import Engine
from leasehold.authority.looking import look_at_answer, look_at_chain, look_at_footer
from leasehold.authority.runs import Runs
from leasehold.authority.sign_ins import SignedIn, passkey_proof
from leasehold.authority.standing import Standing, standing_stops
from leasehold.decide.answer import Answered, AnswerRequest
from leasehold.decide.chain import Chain
from leasehold.decide.facts import Step
from leasehold.decide.govern import AcceptPolicy, AddPerson, ConfirmClock, ConfirmRevocations, RaiseEpoch, RemovePerson
from leasehold.decide.lifecycles import PersonState
from leasehold.decide.offboard import Offboard, Offboarded
from leasehold.decide.powers import Empowered
from leasehold.decide.proven import as_proven
from leasehold.decide.rows import AUTHORITY_WIDE, AccountRow, PersonRow, RequestRow, RunRow, StopRow
from leasehold.decide.stop import Lift, Stop, Stopped, covers_run
from leasehold.decide.voices import KeyVoice, Voice
from leasehold.errors import Denied, InvalidError, NotFoundError
from leasehold.ledger.entry import Entry, decode_entry
from leasehold.model.canonical import Json
from leasehold.model.card import Card, Footer, decode_card
from leasehold.model.decision import Decision, Reason, allow, deny
from leasehold.model.grant import grants_from_json
from leasehold.model.ids import check_id
from leasehold.model.proof import KeyProof
from leasehold.model.request import Answer, Request, Verdict
from leasehold.model.scope import Scope, ScopeKind, StopKind
from leasehold.policy.document import Policy, Power
from leasehold.store.queries import LedgerQuery
from leasehold.token.keys import PublicKey, SigningKey
from leasehold.token.passkey import Assertion, answer_challenge
from leasehold.token.person import AnswerStatement

__all__ = ["Desk", "KeyHolder", "LeaseStatus", "Signatory"]

_POWERS = {StopKind.REVOKE: Power.REVOKE, StopKind.HOLD: Power.HOLD}


class Signatory(msgspec.Struct, frozen=True, kw_only=True):
    """A person with their key in hand. `same_account` says that the authority runs under the same account."""

    person: str
    key: SigningKey
    same_account: bool = False

    @property
    def voice(self) -> KeyVoice:
        """Who speaks, for a step."""
        return KeyVoice(person=self.person, public_key=self.key.public().to_bytes())


class KeyHolder(msgspec.Struct, frozen=True, kw_only=True):
    """A person who is not signed in, and whose key, held elsewhere, signed the request in hand."""

    person: str
    voice: KeyVoice


class LeaseStatus(msgspec.Struct, frozen=True, kw_only=True):
    """A lease as it stands now: `status` is `active` or why it is not, `accounts` the budget of its request."""

    chain: Chain
    status: str
    decision: Decision
    accounts: tuple[AccountRow, ...]
    seconds_left: int


class Desk:
    """Answers, stops and queries. Threads may share it.

    `voice` is the one person for whom this desk stops things, by their powers; None is whoever holds the open state.
    `origin` is that of the pages on which passkeys are used; without one no passkey counts.
    """

    def __init__(self, engine: Engine, runs: Runs, *, voice: Voice | None = None, origin: str = "") -> None:
        self._engine = engine
        self._runs = runs
        self._voice = voice
        self._origin = origin

    # answers

    def card(self, request: Request) -> Card:
        """The card of a request, exactly as its digest covers it.

        Raises:
            NotFoundError: it was erased.
        """
        card = self.kept_card(request)
        if card is None:
            raise NotFoundError(f"the card of {request.request_id} was erased; nobody can approve unseen")
        return card

    def kept_card(self, request: Request) -> Card | None:
        """The card of a request, or None if it was erased."""
        stored = self._engine.request(request.tenant, request.request_id)
        body = self._engine.store.queries.card(stored.tenant, stored.card_digest)
        return None if body is None else decode_card(body)

    def footer(self, request: Request) -> Footer:
        """How it stands with a request's card now: who has approved, how many have to, who may.

        Raises:
            NotFoundError: there is no such request.
        """
        return look_at_footer(self._engine, self._engine.request_row(request.tenant, request.request_id))

    def refuse_answer(self, request: Request, person: str) -> Decision | None:
        """Why an answer of this person would be refused, as far as can be told before they have read the card.

        Raises:
            NotFoundError: there is no such request.
        """
        stored = self._engine.request(request.tenant, request.request_id)
        run, row = self._engine.run(stored.tenant, stored.run_id), self.request_row(stored)
        policy = self._engine.active_policy()
        known = as_proven(policy, self._engine.row(PersonRow, AUTHORITY_WIDE, person), self._engine.system.now())
        return look_at_answer(self._engine, known, row, run, stored, person)

    def answer(self, request: Request, verdict: Verdict, signatory: Signatory, *, reason: str = "") -> Answered:
        """Sign and record one person's answer to a request's card.

        Raises:
            Denied: the request is not pending, or this person's word does not count for it.
        """
        stored = self._engine.request(request.tenant, request.request_id)
        statement = AnswerStatement(
            request_id=stored.request_id,
            card_digest=stored.card_digest,
            verdict=verdict,
            answered_at=self._engine.system.now().seconds,
            person=signatory.person,
        )
        return self.record_answer(
            request,
            statement,
            statement.sign(signatory.key),
            reason=reason,
            same_account=signatory.same_account,
        )

    def record_answer(
        self, request: Request, statement: AnswerStatement, signature: str, *, reason: str, same_account: bool
    ) -> Answered:
        """Record an answer that was signed elsewhere, after checking the signature against the person's key.

        Raises:
            Denied: the signature is not theirs, or their word does not count.
        """
        key = self._person_key(statement.person)
        if statement.request_id != request.request_id or not statement.is_signed_by(key, signature):
            raise Denied(deny(Reason.BAD_SIGNATURE, f"this is not the signature of {statement.person}"))
        answer = Answer(
            person=statement.person,
            verdict=statement.verdict,
            answered_at=statement.answered_at,
            proof=KeyProof(key_id=key.kid, signature=signature),
            reason=reason,
            same_account=same_account,
        )
        voice = KeyVoice(person=statement.person, public_key=key.to_bytes())
        return self._record(request, answer, statement.card_digest, voice)

    def answer_signed_in(
        self, request: Request, verdict: Verdict, signed_in: SignedIn, *, card_digest: str, reason: str = ""
    ) -> Answered:
        """Record the answer of a person who is signed in, to the card with this digest, which they were shown.

        Raises:
            Denied: the session is over, the card is another one, or this person's word does not count for it.
        """
        answer = Answer(
            person=signed_in.person,
            verdict=verdict,
            answered_at=self._engine.system.now().seconds,
            proof=signed_in.proof,
            reason=reason,
        )
        return self._record(request, answer, card_digest, signed_in.voice)

    def answer_with_passkey(
        self,
        request: Request,
        verdict: Verdict,
        signed_in: SignedIn,
        assertion: Assertion,
        *,
        card_digest: str,
        reason: str = "",
    ) -> Answered:
        """Record the answer of a signed-in person whose passkey signed it, on a page of this desk's origin.

        Raises:
            Denied: it is not the signature of a passkey of theirs over this answer, or their word does not count.
        """
        row = self._engine.row(PersonRow, AUTHORITY_WIDE, signed_in.person)
        stored = self._engine.request(request.tenant, request.request_id)
        challenge = answer_challenge(stored.request_id, card_digest, verdict, signed_in.person)
        answer = Answer(
            person=signed_in.person,
            verdict=verdict,
            answered_at=self._engine.system.now().seconds,
            proof=passkey_proof(row, assertion, challenge, self._origin),
            reason=reason,
        )
        return self._record(stored, answer, card_digest, signed_in.voice)

    def _record(self, request: Request, answer: Answer, card_digest: str, voice: Voice) -> Answered:
        stored = self._engine.request(request.tenant, request.request_id)
        run = self._engine.run(stored.tenant, stored.run_id)
        return self._engine.ask(
            lambda policy: AnswerRequest(
                policy_document=policy, run=run, request=stored, answer=answer, card_digest=card_digest, voice=voice
            )
        )

    def answer_many(
        self, items: Sequence[Item], verdict: Verdict, signatory: Signatory, *, reason: str = ""
    ) -> tuple[ItemResult, ...]:
        """Answer several requests to the cards that were looked at, each by itself, and tell what became of each.

        A yes is never given in a batch to what is destructive, takes two people, or is about another place than the
        first: another tenant, environment or tool.

        Raises:
            InvalidError: there are none or too many, or one stands twice.
        """
        return answer_items(
            self._engine,
            items,
            verdict,
            self._runs.find_request,
            lambda request, _: self.answer(request, verdict, signatory, reason=reason),
        )

    def batchable(self, request: Request) -> Decision:
        """Whether a request may be approved together with others, or why not."""
        stored = self._engine.request(request.tenant, request.request_id)
        return refuse_in_batch(self._engine, stored) or allow()

    def edit(
        self,
        request: Request,
        editor: Signatory | SignedIn,
        *,
        arguments: Mapping[str, Json] | None = None,
        allow: Mapping[str, Mapping[str, object]] | None = None,
        reason: str = "",
    ) -> Request:
        """Put an edited request in the place of one that waits, and return it: judged by policy as if asked like that.

        Of a call give the `arguments` that change, of a lease request what it may `allow` instead; the action stays.
        Who edited counts as a requester: somebody else has to approve. The agent is told at its next step.

        Raises:
            InvalidError: nothing changes, an action is new, or what is given cannot be read.
            Denied: it does not wait any more, this person may not edit it, or the policy refuses the edited one.
            NotFoundError: its card was erased.
        """
        stored = self._engine.request(request.tenant, request.request_id)
        if (arguments is None) == (allow is None):
            raise InvalidError("give the arguments of a call or the grants of a lease, one of them")
        if arguments is not None:
            new_id = edit_call(self._engine, stored, self.card(stored), editor.voice, arguments, reason)
        else:
            above = self._runs.grants_above(self._engine.run(stored.tenant, stored.run_id))
            new_id = edit_lease(self._engine, stored, editor.voice, grants_from_json(allow or {}), above, reason)
        return self._engine.request(stored.tenant, new_id)

    def pending(self) -> tuple[Request, ...]:
        """Requests that wait for people, the oldest first."""
        queries = self._engine.store.queries
        rows = queries.pending_requests(queries.tenants())
        return tuple(self._engine.request(row.tenant, row.request_id) for row in rows)

    def request_row(self, request: Request) -> RequestRow:
        """State and answers of a request.

        Raises:
            NotFoundError: there is no such request.
        """
        return self._engine.request_row(request.tenant, request.request_id)

    # stops

    def revoke(self, scope: Scope, *, by: str, reason: str, tenant: str = AUTHORITY_WIDE) -> Stopped:
        """Kill everything recorded so far in a scope, for good. Answers the calls in flight; runs in it are finished.

        A lease is revoked together with the request it was drawn from: else its holder would just draw the next one
        (decision 0006).

        Raises:
            NotFoundError: there is no such lease, request or run.
        """
        stopped = self._stop(scope, StopKind.REVOKE, by, reason, tenant)
        self._end_runs(scope, tenant)
        return stopped

    def hold(self, scope: Scope, *, by: str, reason: str, tenant: str = AUTHORITY_WIDE) -> Stopped:
        """Let nothing start in a scope until the hold is lifted: the kill switch. Answers the calls in flight."""
        return self._stop(scope, StopKind.HOLD, by, reason, tenant)

    def lift(
        self, scope: Scope, who: Signatory | SignedIn | KeyHolder, *, reason: str, tenant: str = AUTHORITY_WIDE
    ) -> Scope:
        """Lift a hold.

        Raises:
            Denied: it is not held, or this person has no power to lift.
        """
        if scope.kind is ScopeKind.LEASE:
            self._lift_one(scope, who.voice, reason, tenant)
            self._lift_one(self._source_of(scope), who.voice, reason, tenant)
            return scope
        return self._lift_one(scope, who.voice, reason, tenant)

    def standing(self) -> tuple[Standing, ...]:
        """What is held or revoked now, in every tenant, with who did it and why; the newest first."""
        return standing_stops(self._engine)

    def _lift_one(self, scope: Scope, voice: Voice, reason: str, tenant: str) -> Scope:
        place = self._tenant_of(scope, tenant)
        return self._engine.ask(
            lambda policy: Lift(policy_document=policy, tenant=place, scope=scope, voice=voice, reason=reason)
        )

    def _stop(self, scope: Scope, kind: StopKind, by: str, reason: str, tenant: str) -> Stopped:
        if scope.kind is ScopeKind.LEASE:
            source = self._stop(self._source_of(scope), kind, by, reason, tenant)
            self._stop_one(scope, kind, by, reason, tenant)
            return Stopped(scope, source.in_flight, source.unreadable)
        return self._stop_one(scope, kind, by, reason, tenant)

    def _source_of(self, lease: Scope) -> Scope:
        """The scope of the request that a lease was drawn from."""
        chain = self._engine.chain(self._engine.locate(lease.value), lease.value)
        return Scope(ScopeKind.REQUEST, chain[-1].lease.request_id)

    def _stop_one(self, scope: Scope, kind: StopKind, by: str, reason: str, tenant: str) -> Stopped:
        place = self._tenant_of(scope, tenant)

        def build(policy: Policy) -> Step[Stopped]:
            step = Stop(policy_document=policy, tenant=place, scope=scope, kind=kind, by=by, reason=reason)
            if self._voice is None:
                return step
            power = _POWERS[kind]
            return Empowered(step=step, policy_document=policy, voice=self._voice, power=power, tenant=place)

        return self._engine.ask(build)

    def _tenant_of(self, scope: Scope, tenant: str) -> str:
        if scope.kind is ScopeKind.TENANT:
            found = scope.value
        elif scope.kind in (ScopeKind.LEASE, ScopeKind.REQUEST, ScopeKind.RUN):
            found = self._engine.locate(scope.value)
        else:
            return tenant
        if tenant not in (AUTHORITY_WIDE, found):
            raise NotFoundError(f"{scope.value} is not in this ledger")
        return found

    def _end_runs(self, scope: Scope, tenant: str) -> None:
        for row in self._runs_in(scope, tenant):
            self._runs.end(self._engine.run(row.tenant, row.run_id), "revoked")

    def _runs_in(self, scope: Scope, tenant: str) -> Iterable[RunRow]:
        """Open runs that a revoke has ended: whole runs only, a revoked tool or action leaves the rest alive.

        A run that began after a wide revoke is not among them.
        """
        queries = self._engine.store.queries
        stop = self._engine.row(StopRow, self._tenant_of(scope, tenant), str(scope), StopKind.REVOKE)
        for row in queries.open_runs([tenant] if tenant else queries.tenants()):
            is_older = stop is None or row.recorded < stop.recorded
            if is_older and covers_run(scope, row):
                yield row

    # people and policy

    def people(self) -> tuple[PersonRow, ...]:
        """The people who are known here, by a key or a sign-in."""
        rows = self._engine.store.queries.people([AUTHORITY_WIDE])
        return tuple(row for row in rows if row.state != PersonState.KEY)

    def add_person(self, person: str, key: PublicKey, *, by: str) -> str:
        """Add the public half of a person's key.

        Raises:
            Denied: the person has another key, or the key was brought before.
        """
        return self._engine.ask(lambda _: AddPerson(person=person, public_key=key.to_bytes(), key_id=key.kid, by=by))

    def remove_person(self, person: str, *, by: str) -> str:
        """Remove a person's key and sign-ins; their sessions end, their earlier answers count no more.

        Raises:
            Denied: they have none.
        """
        return self._engine.ask(lambda _: RemovePerson(person=person, by=by))

    def offboard(self, person: str, *, by: str, reason: str) -> Offboarded:
        """Let a person go: everything of theirs ends in every tenant, and their word counts no more.

        Their runs are closed one by one after it; where that was cut short, doing it again goes on, and so does the
        sweep. Adding them again lets runs be started for them again.
        """
        done = self._engine.ask(lambda policy: Offboard(policy_document=policy, person=person, by=by, reason=reason))
        self._end_runs(done.stopped.scope, AUTHORITY_WIDE)
        return done

    def accept_policy(
        self, policy: Policy, *, by: str, widened: Sequence[str] = (), replaces: str | None = None
    ) -> str:
        """Make a policy the active one, and answer its hash. `replaces` is the hash of the one it was compared with.

        Raises:
            Denied: another policy became active in between.
        """
        step = AcceptPolicy(policy_document=policy, by=by, widened=tuple(widened), replaces=replaces)
        if self._engine.store.queries.control().policy:
            return self._engine.ask(lambda active: msgspec.structs.replace(step, active=active))
        # Not through `ask`, which builds steps under the active policy: a fresh state has none yet.
        reply = self._engine.store.carry_out(step).result()
        if not reply.decision.is_allowed or reply.value is None:
            raise Denied(reply.decision)
        return reply.value

    def confirm_clock(self, *, by: str) -> int:
        """Say that the clock, though it reads earlier than the last recorded time, is right. Begins a new epoch.

        It is the database's own, where it has one: whoever says so may sit at a machine whose clock is wrong as well.
        """
        clock = self._engine.store.clock()
        counting = int(self._engine.system.now() if clock is None else clock)
        return self._engine.ask(lambda _: ConfirmClock(clock_ms=counting, by=by))

    def raise_epoch(self, *, by: str, reason: str, at_least: int = 0) -> int:
        """Begin a new epoch: every lease, request and run from before is void."""
        return self._engine.ask(lambda _: RaiseEpoch(by=by, reason=reason, at_least=at_least))

    def confirm_revocations(self, *, by: str, reason: str) -> int:
        """Say that credentials may be revoked at their sources again, which a restore paused (`ConfirmRevocations`)."""
        return self._engine.ask(lambda _: ConfirmRevocations(by=by, reason=reason))

    def _person_key(self, person: str) -> PublicKey:
        row = self._engine.row(PersonRow, AUTHORITY_WIDE, person)
        if row is None or row.state != PersonState.ACTIVE or not row.public_key:
            raise Denied(
                deny(Reason.NOT_ENTITLED, f"{person} has no key here", enough="leasehold person add " + person)
            )
        return PublicKey.from_bytes(row.public_key)

    # looking

    def lease_status(self, lease_id: str) -> LeaseStatus:
        """A lease as every door would judge it now.

        Raises:
            InvalidError: this is no id of a lease.
            NotFoundError: there is no such lease.
        """
        check_id(lease_id, "lease")
        queries = self._engine.store.queries
        chain = self._engine.chain(self._engine.locate(lease_id), lease_id)
        lease, now = chain[-1].lease, self._engine.system.now()
        decision = look_at_chain(self._engine, chain) or allow()
        return LeaseStatus(
            chain=chain,
            status="active" if decision.is_allowed else str(decision.reason),
            decision=decision,
            accounts=queries.accounts(lease.tenant, lease.request_id),
            seconds_left=max(0, lease.expires_at - now.seconds),
        )

    def search(self, query: LedgerQuery) -> tuple[Entry, ...]:
        """Ledger entries that meet a query, the newest first."""
        return tuple(decode_entry(line.body) for line in self._engine.store.queries.search(query))
