"""The tool's door, embedded: token and call in, admission or refusal out. Guards, hooks and relays call it.

Tokens that are not authentic, or of a lease that this ledger never had, never reach a step; they are counted by door
and minute. Everything after that is decided and recorded in one step.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from typing import NamedTuple, TypeVar

from msgspec.structs import replace

from leasehold.authority.clients import check_client
from leasehold.authority.engine import Engine, refusal_error
from leasehold.authority.looking import find_end, look_at_chain
from leasehold.authority.opening import read_opening
from leasehold.authority.rehearsal import Rehearsal
from leasehold.authority.waiting import Waiters
from leasehold.decide.admit import Admit
from leasehold.decide.ask_only import AskOnly
from leasehold.decide.call_request import call_digest
from leasehold.decide.chain import Chain
from leasehold.decide.clients import ClientVoice, ForDoor, refuse_door_of
from leasehold.decide.documents import decode_admission
from leasehold.decide.facts import Step, StepAnswer
from leasehold.decide.glass_use import GlassUse
from leasehold.decide.holder import ProvenAdmit
from leasehold.decide.once import UseOnce
from leasehold.decide.rows import CallRow
from leasehold.decide.settle import Settle
from leasehold.errors import InvalidError, LeaseholdError, NotFoundError, TokenError
from leasehold.model.call import Admission, Call, CallState, Outcome, Settlement, check_key
from leasehold.model.canonical import Json, decode_canonical
from leasehold.model.card import Card, decode_card
from leasehold.model.decision import Decision, Reason, deny
from leasehold.model.effect import Effect
from leasehold.model.grant import Attributes, Grant, split_action
from leasehold.model.ids import AdmissionId, RequestId, check_id
from leasehold.model.instant import Instant
from leasehold.model.request import RequestState
from leasehold.model.text import check_identifier
from leasehold.policy.client_rule import DoorRight
from leasehold.policy.document import ActionRule, Policy
from leasehold.policy.evaluate import attributes_of, key_of
from leasehold.token.codes import TokenCode
from leasehold.token.dpop import Proof, Proven, check_proof
from leasehold.token.glass import GLASS_PREFIXES
from leasehold.token.verify import VerifiedToken

__all__ = ["CallLook", "EmbeddedDoor", "ForgeryCounter", "narrow_to"]

A = TypeVar("A")

_REASONS = {
    TokenCode.AUDIENCE: Reason.WRONG_TOOL,
    TokenCode.ENVIRONMENT: Reason.WRONG_ENVIRONMENT,
}


_SIGNATURE_CHARACTERS = 86
"""Of an Ed25519 signature in base64url, with which a token ends."""


class CallLook(NamedTuple):
    """Where an admitted call stands: why it would not be let go on now, holds included, and what is over for good."""

    state: CallState
    refusal: Decision | None
    end: Decision | None


class ForgeryCounter:
    """How many tokens each door turned away as not authentic, by minute. Owns its lock; emptied by the sweep."""

    def __init__(self) -> None:
        self._counts: Counter[tuple[str, str, int]] = Counter()
        self._lock = threading.Lock()

    def add(self, tool: str, environment: str, minute: int) -> None:
        """Count one."""
        with self._lock:
            self._counts[(tool, environment, minute)] += 1

    def take(self) -> dict[tuple[str, str, int], int]:
        """What was counted since the last time, and start again."""
        with self._lock:
            counts, self._counts = self._counts, Counter()
        return dict(counts)


class EmbeddedDoor:
    """One tool in one environment. Holding it is the door's credential: nothing else proves which tool asks.

    With `voice` it is the door of a client, whose proof and right to it are judged in every step. Calls that another
    client's guard was admitted for look like what never was.
    """

    def __init__(
        self,
        engine: Engine,
        tool: str,
        environment: str,
        forgeries: ForgeryCounter,
        waiters: Waiters,
        *,
        voice: ClientVoice | None = None,
    ) -> None:
        self._engine = engine
        self._voice = voice
        self._client = voice.client if voice is not None else ""
        self._waiters = waiters
        self._tool = check_identifier(tool, "tool")
        self._environment = check_identifier(environment, "environment")
        self._forgeries = forgeries

    @property
    def tool(self) -> str:
        """The tool's id."""
        return self._tool

    @property
    def environment(self) -> str:
        """The environment that it serves."""
        return self._environment

    def new_admission_id(self) -> AdmissionId:
        """A fresh random id for one try of one call."""
        return AdmissionId(self._engine.system.new_id("adm"))

    def boot_milliseconds(self) -> int:
        """The clock that `start_within_ms` counts on."""
        return self._engine.system.boot_milliseconds()

    def admit(self, token: str, call: Call) -> Admission:
        """Ask for leave to start one call, and wait for it. A bound token demands the proof that came with it.

        Raises:
            Denied: the call may not start; nothing was charged.
            ApprovalNeeded: people have to decide first.
            InvalidError: the arguments are not canonical JSON.
            StoreError: the authority cannot answer; nothing may be started.
        """
        build, chain = self._prepare(token, call)
        return self._with_tokens(self._engine.ask(build), chain)

    def settle(self, admission_id: AdmissionId, outcome: Outcome) -> Settlement:
        """Report how an admitted call went, and wait until that is durable."""
        return self._engine.ask(self._settlement(admission_id, outcome))

    def submit_admit(self, token: str, call: Call) -> Future[Admission]:
        """Ask for leave to start one call. As `admit`; the Future raises what that raises."""
        try:
            build, chain = self._prepare(token, call)
        except LeaseholdError as error:
            return _failed(error)
        return self._engine.submit_then(build, lambda admission: self._with_tokens(admission, chain))

    def rehearse(self, chain: Chain, call: Call) -> StepAnswer[Admission]:
        """What `admit` would answer under a lease, without admitting anything. It starts nothing and writes nothing.

        Of who asks nothing is proven here: for a client that happens once, before it asks about many.

        Raises:
            InvalidError: the arguments are not canonical JSON.
        """
        if (refusal := self._refuse_elsewhere(chain)) is not None:
            return StepAnswer(refusal)
        step = self._building(chain, call)(self._engine.active_policy(), None)
        return Rehearsal(self._engine, chain[-1].run.run_id).ask(step)[0]

    def ask_only(self, chain: Chain, call: Call) -> RequestId:
        """Have people asked about a call under a lease, without making it; answers the request that waits.

        Raises:
            Denied: it may not be made whoever agrees, or nobody has to be asked.
            InvalidError: the arguments are not canonical JSON.
        """
        if (refusal := self._refuse_elsewhere(chain)) is not None:
            raise refusal_error(refusal)
        build = self._building(chain, call)
        return self._engine.ask(self._behind(lambda policy: AskOnly(admit=build(policy, None))))

    def _check_voice(self) -> None:
        """Of what is read, with no step that would ask: whether the client's proof and right count now."""
        if self._voice is None:
            return
        policy = check_client(self._engine, self._voice)
        door = DoorRight(tool=self._tool, environment=self._environment)
        if (refusal := refuse_door_of(policy, self._client, door)) is not None:
            raise refusal_error(refusal)

    def _refuse_elsewhere(self, chain: Chain) -> Decision | None:
        """What the token says at the door itself, here of a lease without one."""
        lease = chain[-1].lease
        if lease.environment != self._environment:
            return deny(Reason.WRONG_ENVIRONMENT, f"{lease.lease_id} is for {lease.environment}")
        if self._tool not in lease.audiences:
            return deny(Reason.WRONG_TOOL, f"{lease.lease_id} grants nothing at {self._tool}")
        return None

    def submit_settle(self, admission_id: AdmissionId, outcome: Outcome) -> Future[Settlement]:
        """Report how an admitted call went. Sending the same outcome again answers the same."""
        try:
            return self._engine.submit(self._settlement(admission_id, outcome))
        except LeaseholdError as error:
            return _failed(error)

    def submit_settled(self, admission_id: AdmissionId, within_ms: int) -> Future[bool]:
        """Wait for the end of another call: true once it is not open any more, false when so many ms have passed.

        For a call that comes after one in flight; nobody polls, the commit that ends it wakes the waiter.
        """
        ended: Future[bool] = Future()
        until_ms = self.boot_milliseconds() + within_ms
        try:
            tenant = self._admission(check_id(admission_id, "adm")).tenant
        except LeaseholdError as error:
            return _failed(error)
        self._waiters.add(lambda: self._has_ended(tenant, admission_id, until_ms, ended), until_ms=until_ms)
        return ended

    def _has_ended(self, tenant: str, admission_id: AdmissionId, until_ms: int, ended: Future[bool]) -> bool:
        """Look once; answers the Future where there is something to say. A waiter that left is looked for no more."""
        failure = None
        try:
            row = self._engine.row(CallRow, tenant, admission_id)
        except LeaseholdError as error:
            row, failure = None, error
        is_open = row is not None and row.state == CallState.ADMITTED
        if is_open and self.boot_milliseconds() < until_ms:
            return False
        if not ended.set_running_or_notify_cancel():
            return True
        if failure is not None:
            ended.set_exception(failure)
        else:
            ended.set_result(not is_open)
        return True

    def submit_check(self, admission_id: AdmissionId) -> Future[None]:
        """Whether a call under way may go on: the Future raises `Denied` once its lease or anything above it ended.

        For tools that work long: what is asked here is read, not decided, and starts nothing.
        """
        try:
            self._check(self._admission(check_id(admission_id, "adm")))
        except LeaseholdError as error:
            return _failed(error)
        done: Future[None] = Future()
        done.set_result(None)
        return done

    def look(self, admission_id: AdmissionId) -> CallLook:
        """Where an admitted call stands, as read now.

        Raises:
            NotFoundError: it was never admitted here.
            Denied: this is a client's door, and its proof or its right counts no more.
        """
        self._check_voice()
        admission = self._admission(check_id(admission_id, "adm"))
        chain = self._engine.chain(admission.tenant, admission.lease_id)
        row = self._engine.row(CallRow, admission.tenant, admission_id)
        return CallLook(
            state=CallState(row.state) if row is not None else CallState.UNKNOWN,
            refusal=look_at_chain(self._engine, chain, admission),
            end=find_end(self._engine, chain, admission),
        )

    def is_at_hand(self, token: str) -> bool:
        """Whether a token like this was admitted with before, so that nothing has to be read before the step.

        A guess that decides nothing: who has to answer quickly lets a thread ask where it is not.
        """
        return self._engine.tokens_seen.get((token[-_SIGNATURE_CHARACTERS:],)) is not None

    def is_known(self, admission_id: AdmissionId) -> bool:
        """Whether an admission is at hand, so that nothing has to be read before it is settled."""
        return self._engine.admissions.get((self._client, admission_id)) is not None

    def watch(self, admission_id: AdmissionId, ended: Callable[[Decision], None]) -> Callable[[], None]:
        """Have `ended` called once, from another thread, when a call or anything above it has ended; a hold is no end.

        Returns what stops watching, which has to be called. It is looked at after each commit; what ends by the clock
        is seen when the sweep writes it down.
        """
        admission = self._admission(check_id(admission_id, "adm"))
        return self._waiters.add(lambda: self._is_over(admission, ended))

    def _is_over(self, admission: Admission, ended: Callable[[Decision], None]) -> bool:
        try:
            decision = find_end(self._engine, self._engine.chain(admission.tenant, admission.lease_id), admission)
        except LeaseholdError:
            return False  # nobody can tell now; what runs is not ended on a guess, and the next commit asks again
        if decision is not None:
            ended(decision)
        return decision is not None

    def _check(self, admission: Admission) -> None:
        decision = look_at_chain(self._engine, self._engine.chain(admission.tenant, admission.lease_id), admission)
        if decision is not None:
            raise refusal_error(decision)

    def _prepare(self, token: str, call: Call) -> tuple[Callable[[Policy], Step[Admission]], Chain]:
        try:
            proven = self._proven(token, call)
            chain = self._chain(token, proven.holder if proven is not None else None)
        except TokenError as error:
            raise refusal_error(self._turned_away(error)) from None
        except NotFoundError as error:
            self._count()
            raise refusal_error(deny(Reason.NOT_FOUND, str(error), check="the lease is in this ledger")) from None
        build = self._building(chain, call)
        self._engine.tokens_seen.put((token[-_SIGNATURE_CHARACTERS:],), True)
        if proven is None:
            return self._behind(lambda policy: build(policy, None)), chain
        use = UseOnce(kind="dpop", value=proven.identity, at=proven.issued_at)
        return self._behind(lambda policy: ProvenAdmit(admit=build(policy, None), use=use)), chain

    def _proven(self, token: str, call: Call) -> Proven | None:
        """What the presenter proved to hold, None where nothing came with the token."""
        given = call.holder_proof
        if given is None:
            return None
        proof = Proof(text=given.jwt, method=given.method, url=given.url, token=token)
        try:
            return check_proof(proof, now=self._engine.system.now())
        except InvalidError as error:
            raise TokenError(TokenCode.HOLDER, str(error)) from None

    def _behind(
        self, build: Callable[[Policy], Step[A]], admitted_by: str | None = None
    ) -> Callable[[Policy], Step[A]]:
        """The same step behind the client's proof and right, where this is a client's door."""
        voice = self._voice
        if voice is None:
            return build
        door = DoorRight(tool=self._tool, environment=self._environment)
        return lambda policy: ForDoor(
            step=build(policy), policy_document=policy, voice=voice, door=door, admitted_by=admitted_by
        )

    def _chain(self, token: str, holder: str | None) -> Chain:
        """What the token stands for. A break-glass that is really one goes on to the step, which refuses and alarms."""
        if token.startswith(GLASS_PREFIXES):
            opening = read_opening(self._engine, token).opening
            return self._engine.chain(opening.tenant, opening.lease_id)
        verified = self._verify(token, holder)
        if holder is not None and verified.cnf_jkt is None:
            raise TokenError(TokenCode.HOLDER, "a proof came with a token that is bound to no key")
        return self._engine.chain(verified.tenant, verified.lease_id)

    def _building(self, chain: Chain, call: Call) -> Callable[[Policy, GlassUse | None], Admit]:
        arguments = _arguments(call)
        request_id = RequestId(self._engine.system.new_id("req"))

        def build(policy: Policy, use: GlassUse | None) -> Admit:
            step = self._step(policy, chain, call, arguments, request_id)
            return step if use is None else replace(step, glass=use)

        return build

    def _settlement(self, admission_id: AdmissionId, outcome: Outcome) -> Callable[[Policy], Step[Settlement]]:
        admission = self._admission(check_id(admission_id, "adm"))
        if outcome.result_digest:
            digester = self._engine.digester(admission.tenant)
            outcome = replace(outcome, result_digest=digester.digest("result", outcome.result_digest.encode()))
        step = Settle(admission=admission, outcome=outcome, tool=self._tool, environment=self._environment)
        return self._behind(lambda policy: replace(step, breaker=policy.breaker(admission.route)), admission.client)

    def _verify(self, token: str, holder: str | None) -> VerifiedToken:
        """Step 0 of admit: authentic, of this type, for this door. Whether it is in time the step decides.

        Where this clock reads earlier than the token's issue, the recorded time counts, as it does in the step.
        """
        now = self._engine.system.now()
        try:
            return self._authenticate(token, holder, now)
        except TokenError as error:
            recorded = Instant(self._engine.store.queries.control().last_time_ms)
            if error.code != TokenCode.NOT_YET or recorded <= now:
                raise
            return self._authenticate(token, holder, recorded)

    def _authenticate(self, token: str, holder: str | None, now: Instant) -> VerifiedToken:
        return self._engine.lease_keys.authenticate(
            token, audience=self._tool, environment=self._environment, now=now, holder=holder
        )

    def _turned_away(self, error: TokenError) -> Decision:
        self._count()
        reason = _REASONS.get(TokenCode(error.code), Reason.BAD_TOKEN)
        return deny(reason, str(error), check=f"token: {error.code}")

    def _count(self) -> None:
        """There is no run to write it down for: the ledger says how many there were, by door and minute."""
        self._forgeries.add(self._tool, self._environment, self._engine.system.now().seconds // 60)

    def _step(
        self, policy: Policy, chain: Chain, call: Call, arguments: Mapping[str, Json], request_id: RequestId
    ) -> Admit:
        digester = self._engine.digester(chain[-1].run.tenant)
        rule = policy.action(call.action)
        attributes: Attributes = {}
        found = None
        if split_action(call.action)[0] != self._tool:
            found = deny(Reason.WRONG_TOOL, f"{call.action} is no action of {self._tool}", check="same tool")
        else:
            try:
                attributes = attributes_of(rule, arguments)
            except InvalidError as error:
                found = deny(Reason.BAD_ATTRIBUTE, str(error), rule=f"actions.{call.action}.args")
        key = _key(rule, attributes if found is None else None, call)
        arguments_digest = digester.digest("arguments", call.arguments)
        digest = call_digest(digester, chain, call.action, rule.effect, arguments_digest, key, call.tool_schema)
        return Admit(
            policy_document=policy,
            digester=digester,
            chain=chain,
            call=call,
            arguments=arguments,
            attributes=attributes,
            found_before=found,
            key=key,
            new_request=request_id,
            arguments_digest=arguments_digest,
            call_digest=digest,
            earlier_card=self._earlier_card(chain, digest) if call.preview is not None else None,
            client=self._client,
        )

    def _earlier_card(self, chain: Chain, digest: str) -> Card | None:
        """The newest card of a call that waits or was approved, to say on the next one what moved since then."""
        run, queries = chain[-1].run, self._engine.store.queries
        rows = [
            row
            for row in queries.requests_of_run(run.tenant, run.run_id)
            if row.call_digest == digest and row.state in (RequestState.PENDING, RequestState.APPROVED)
        ]
        body = queries.card(run.tenant, max(rows, key=lambda row: row.recorded).card_digest) if rows else None
        return decode_card(body) if body is not None else None

    def _with_tokens(self, admission: Admission, chain: Chain) -> Admission:
        """Attach what the action may use of other tools: the grants, narrowed to this call, and their tokens."""
        self._engine.admissions.put((self._client, admission.admission_id), admission)
        lease = chain[-1].lease
        offered = {action: lease.allow[action] for action in admission.uses if action in lease.allow}
        narrowed = {action: narrow_to(grant, admission.grant) for action, grant in offered.items()}
        grants = {action: grant for action, grant in narrowed.items() if grant is not None}
        tools = sorted({split_action(action)[0] for action in grants})
        if not tools:
            return admission
        return replace(admission, sub_grants=grants, tokens={tool: self._engine.token(lease, tool) for tool in tools})

    def _admission(self, admission_id: str) -> Admission:
        kept = self._engine.admissions.get((self._client, admission_id))
        if kept is not None:
            return kept
        for tenant in self._engine.store.queries.tenants():
            row = self._engine.row(CallRow, tenant, admission_id)
            admission = decode_admission(row.body) if row is not None else None
            if admission is not None and (self._voice is None or admission.client == self._client):
                return admission
        raise NotFoundError(f"{admission_id} was never admitted")


def _key(rule: ActionRule, attributes: Attributes | None, call: Call) -> str | None:
    """The idempotency key of a write: the action's own rule, else the caller's. Reads have none; repeat them freely."""
    if rule.effect is Effect.READ:
        return None
    own = key_of(rule, attributes) if attributes is not None else None
    return call.key if own is None else check_key(own)


def narrow_to(grant: Grant, call: Grant) -> Grant | None:
    """A sub-action's grant with the call's own values wherever attributes have equal names; None if they do not fit."""
    shared = {name: entry for name, entry in call.attributes.items() if name in grant.attributes}
    if any(not entry.within(grant.attributes[name]) for name, entry in shared.items()):
        return None
    return Grant(grant.action, {**grant.attributes, **shared})


def _arguments(call: Call) -> Mapping[str, Json]:
    value = decode_canonical(call.arguments)
    if not isinstance(value, dict):
        raise InvalidError("arguments are the canonical JSON (RFC 8785) of one object")
    return value


def _failed(error: Exception) -> Future[A]:
    future: Future[A] = Future()
    future.set_exception(error)
    return future
