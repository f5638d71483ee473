"""What agent hosts may ask: start, retry, request, wait, renew, escalate, finish. The Runs protocol, embedded.

Holding the open state is the launcher's credential here; `requested_by` is recorded as asserted (DESIGN §2).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from contextlib import suppress
from typing import Generic, TypeVar

import msgspec
from msgspec.structs import replace

from leasehold.authority.drafts import draft_request, draft_run
from leasehold.authority.engine import Engine, then
from leasehold.authority.so_far import run_so_far
from leasehold.authority.waiting import Waiters
from leasehold.decide.answer import Withdraw
from leasehold.decide.chain import Chain
from leasehold.decide.draw_first import DrawFirst
from leasehold.decide.facts import Step
from leasehold.decide.finish import FinishRun
from leasehold.decide.glass import CloseGlass
from leasehold.decide.issue import DrawLease, refuse_draw
from leasehold.decide.lifecycles import LeaseState, RunState
from leasehold.decide.previews import is_previewed
from leasehold.decide.request import Asked, AskLease
from leasehold.decide.retry import Retry
from leasehold.decide.rows import RunRow
from leasehold.decide.start import Start
from leasehold.errors import Denied, InvalidError, LeaseholdError
from leasehold.model.api import ALL_DEPTH
from leasehold.model.budget import CALLS
from leasehold.model.decision import Reason, deny
from leasehold.model.glass import BREAK_GLASS
from leasehold.model.grant import Grants, grants_from_json
from leasehold.model.ids import LeaseId, RequestId, RunId, check_id
from leasehold.model.lease import HARD_MAX_TTL_SECONDS, HeldLease, Lease
from leasehold.model.request import Request, RequestKind, RequestState, not_decided
from leasehold.model.run import Link, RequesterProof, Run, RunAttempt
from leasehold.policy.document import Policy

__all__ = ["About", "Runs"]

A = TypeVar("A")


class About(msgspec.Struct, Generic[A], frozen=True, kw_only=True):
    """What a step has to do with: the run that it goes on with, the one that it would start.

    `name` is the id of what it makes, by which `find` gives the same value again; neither where sending it again is
    harmless by itself.
    """

    works_on: Run | None = None
    starts: Run | None = None
    name: Callable[[A], str] | None = None
    find: Callable[[str], A] | None = None


class Runs:
    """Start runs and get leases for them. Threads may share it.

    Of a run, request or lease that a caller hands in, only the ids count: the rest is read from the store.
    """

    def __init__(self, engine: Engine, waiters: Waiters) -> None:
        self._engine = engine
        self._waiters = waiters

    # who asks: here whoever holds the open state, so nothing is checked

    @property
    def client(self) -> str:
        """The client whose runs these are; empty here."""
        return ""

    def _ask(self, build: Callable[[Policy], Step[A]], about: About[A]) -> A:  # noqa: ARG002 - for clients
        return self._engine.ask(build)

    def _submit(self, build: Callable[[Policy], Step[A]], about: About[A]) -> Future[A]:  # noqa: ARG002 - the same
        return self._engine.submit(build)

    def _check_mine(self, run: Run, row: RunRow) -> None:
        """Return if whoever asks may read this run.

        Raises:
            NotFoundError: it is not theirs.
        """

    # starting and ending

    def start(
        self,
        *,
        agent: str,
        route: str = "",
        tenant: str = "",
        environment: str = "",
        requested_by: str = "",
        purpose: str,
        parent: HeldLease | Lease | None = None,
        requester_proof: RequesterProof = RequesterProof.ASSERTED,
    ) -> RunAttempt:
        """Start a run, or with `parent` a child run under a lease that may be delegated.

        A child has its parent's tenant, environment, requester and route; naming others is an error. `requester_proof`
        is `proven` where the caller has verified a token that says who asks; a child has its parent's.

        Raises:
            Denied: the policy does not let this agent run here, or the lease may not be delegated.
        """
        chain = Chain()
        if parent is not None:
            lease = parent.lease if isinstance(parent, HeldLease) else parent
            chain = self._engine.chain(lease.tenant, lease.lease_id)
            given = (route, tenant, environment, requested_by)
            route, tenant, environment, requested_by = _inherited(given, chain[-1].run)
            requester_proof = chain[-1].run.requester_proof
        run = draft_run(
            self._engine.system,
            agent=agent,
            route=route,
            tenant=tenant,
            environment=environment,
            requested_by=requested_by,
            purpose=purpose,
            requester_proof=requester_proof,
            ancestors=_ancestors(chain),
        )
        started = self._ask(
            lambda policy: Start(policy_document=policy, run=run, parent=chain, client=self.client),
            About(
                works_on=chain[-1].run if chain else None,
                starts=run,
                name=lambda made: made.run_id,
                find=lambda run_id: self._engine.run(run.tenant, run_id),
            ),
        )
        return RunAttempt(run=started, attempt=1)

    def retry(self, run: RunAttempt) -> RunAttempt:
        """Begin the next attempt: what older attempts hold is dead from here on.

        Raises:
            Denied: the run is over, stopped, or this is not its newest attempt.
        """
        stored = self._engine.run(run.tenant, run.run_id)
        attempt = self._ask(
            lambda _: Retry(run=stored, from_attempt=run.attempt), About(works_on=stored, name=str, find=int)
        )
        return RunAttempt(run=stored, attempt=attempt)

    def resume(self, run_id: str) -> RunAttempt:
        """The newest attempt of a run, in whatever process it is asked for.

        Raises:
            NotFoundError: there is no such run.
        """
        run, row = self.look(run_id)
        return RunAttempt(run=run, attempt=row.attempt)

    def look(self, run_id: str) -> tuple[Run, RunRow]:
        """A run and how it stands.

        Raises:
            NotFoundError: there is no such run.
        """
        tenant = self._engine.locate(check_id(run_id, "run"))
        row, run = self._engine.run_row(tenant, run_id), self._engine.run(tenant, run_id)
        self._check_mine(run, row)
        return run, row

    def request(
        self,
        run: RunAttempt,
        allow: Mapping[str, Mapping[str, object]],
        *,
        reason: str,
        budget: Mapping[str, object] | None = None,
        ttl_seconds: int = 0,
        delegation_depth: int = ALL_DEPTH,
        tried: Sequence[str] = (),
    ) -> Request:
        """Ask for a lease: actions with what their attributes may be, and why.

        Answers at once; where people have to agree, `wait` waits for them. `budget` and `ttl_seconds` default to the
        route's. `tried` says what the run already tried, for an escalation; the card has beside it what the ledger
        says. What was asked in the same words and still waits is not asked twice.

        Raises:
            Denied: the route does not offer this.
            InvalidError: a grant or amount cannot be read.
        """
        if not 0 <= ttl_seconds <= HARD_MAX_TTL_SECONDS:
            raise InvalidError(f"a lease lives at most {HARD_MAX_TTL_SECONDS} s; ask for less and renew")
        draft = draft_request(
            self._engine.system,
            run,
            allow,
            reason=reason,
            ttl_seconds=ttl_seconds,
            budget=budget,
            delegation_depth=delegation_depth,
            tried=tried,
        )
        return self._ask_lease(draft)

    def _ask_lease(self, draft: Request) -> Request:
        stored = self._engine.run(draft.tenant, draft.run_id)
        parent, facts = self._parent_chain(stored), run_so_far(self._engine, stored)
        asked = self._ask(
            lambda policy: AskLease(
                policy_document=policy,
                digester=self._engine.digester(draft.tenant),
                run=stored,
                request=draft,
                above=tuple(link.lease.allow for link in parent),
                facts=facts,
            ),
            About(
                works_on=stored,
                name=lambda made: made.request.request_id,
                find=lambda made: Asked(self._engine.request(draft.tenant, made), RequestState.PENDING),
            ),
        )
        if asked.request.request_id == draft.request_id:
            return asked.request
        return self._engine.request(draft.tenant, asked.request.request_id)  # the same question, which waits already

    def find_request(self, request_id: str) -> Request:
        """A request by its id, in whatever process it is asked for.

        Raises:
            NotFoundError: there is no such request.
        """
        request = self._engine.request(self._engine.locate(check_id(request_id, "req")), request_id)
        run = self._engine.run(request.tenant, request.run_id)
        self._check_mine(run, self._engine.run_row(request.tenant, request.run_id))
        return request

    def find_lease(self, lease_id: str) -> Lease:
        """A lease by its id, in whatever process it is asked for.

        Raises:
            NotFoundError: there is no such lease.
        """
        tenant = self._engine.locate(check_id(lease_id, "lease"))
        lease = self._engine.chain(tenant, lease_id)[-1].lease
        self._check_mine(self._engine.run(tenant, lease.run_id), self._engine.run_row(tenant, lease.run_id))
        return lease

    def request_state(self, request: Request) -> RequestState:
        """Where a request stands now."""
        row = self._engine.request_row(request.tenant, request.request_id)
        is_late = row.state == RequestState.PENDING and self._engine.system.now().reached(row.answer_by)
        return RequestState.EXPIRED if is_late else RequestState(row.state)

    def submit_state(self, request: Request, within_ms: int) -> Future[RequestState]:
        """A Future of where a request stands, once it is not pending any more or so many ms have passed.

        It never blocks a thread of its own. Cancelling it leaves nothing behind.
        """
        found: Future[RequestState] = Future()
        until_ms = self._engine.system.boot_milliseconds() + within_ms
        self._waiters.add(lambda: found.cancelled() or self._has_state(request, until_ms, found), until_ms=until_ms)
        return found

    def _has_state(self, request: Request, until_ms: int, found: Future[RequestState]) -> bool:
        """Look once; answers the Future where there is something to say."""
        failure: LeaseholdError | None = None
        state, is_stopped = RequestState.PENDING, False
        try:
            state = self.request_state(request)
            is_stopped = self._engine.request_row(request.tenant, request.request_id).revoked == 1
        except LeaseholdError as error:
            failure = error
        is_waiting = failure is None and state is RequestState.PENDING and not is_stopped
        if is_waiting and self._engine.system.boot_milliseconds() < until_ms:
            return False
        if not found.set_running_or_notify_cancel():
            return True
        if failure is not None:
            found.set_exception(failure)
        else:
            found.set_result(state)
        return True

    def withdraw(self, request: Request) -> RequestState:
        """Take a pending request back.

        Raises:
            Denied: it is not pending any more.
        """
        stored = self._engine.request(request.tenant, request.request_id)
        run = self._engine.run(stored.tenant, stored.run_id)
        return self._ask(lambda _: Withdraw(run=run, request=stored), About(works_on=run))

    def submit_wait(self, request: Request | str) -> Future[HeldLease]:
        """A Future of a live lease, once people have decided. It never blocks a thread of its own.

        On a call request it is a lease of the lease request behind it. The Future raises `Denied` when the answer is
        no, or when nobody answered in time. Cancelling it draws nothing and leaves nothing behind.
        """
        asked = self.find_request(request) if isinstance(request, str) else request
        decided: Future[Request] = Future()
        result: Future[HeldLease] = Future()

        def ready(done: Future[Request]) -> None:
            if not result.set_running_or_notify_cancel():
                return
            try:
                self.submit_draw(done.result()).add_done_callback(lambda drawn: _copy(drawn, result))
            except Exception as error:  # noqa: BLE001 - whatever goes wrong belongs to the one who waits
                result.set_exception(error)

        decided.add_done_callback(ready)
        self._waiters.add(lambda: result.cancelled() or self._is_decided(asked, decided))
        return result

    def wait(self, request: Request | str, timeout: float | None = None) -> HeldLease:
        """Wait until people have decided, then draw a live lease.

        Raises:
            Denied: the answer is no, or nobody answered in time.
            TimeoutError: `timeout` seconds passed first; the request goes on, wait again whenever you like.
        """
        waiting = self.submit_wait(request)
        try:
            return waiting.result(timeout)
        except TimeoutError:
            waiting.cancel()
            raise TimeoutError(not_decided(request)) from None

    def submit_draw(self, request: Request) -> Future[HeldLease]:
        """A Future of the next lease of an approved request. What it grants is what was asked for under that id."""
        return self._submit_draw(request, lambda draw: draw)

    def submit_first_draw(self, request: Request) -> Future[HeldLease]:
        """The same for who may have one lease of it and no other; it raises `Denied` where one was drawn before."""
        return self._submit_draw(request, lambda draw: DrawFirst(draw=draw))

    def _submit_draw(self, request: Request, judged: Callable[[DrawLease], Step[Lease]]) -> Future[HeldLease]:
        source = self._engine.request(request.tenant, request.request_id)
        if source.kind is RequestKind.CALL:
            source = self._engine.request(source.tenant, source.lease_request or "")
        run = self._engine.run(source.tenant, source.run_id)
        parent = self._parent_chain(run)
        lease_id = LeaseId(self._engine.system.new_id("lease"))
        drawn = self._submit(
            lambda policy: judged(
                DrawLease(policy_document=policy, run=run, request=source, lease_id=lease_id, parent=parent)
            ),
            About(
                works_on=run,
                name=lambda lease: lease.lease_id,
                find=lambda made: self._engine.chain(run.tenant, made)[-1].lease,
            ),
        )
        return then(drawn, self._engine.held)

    def renew(self, lease: HeldLease) -> HeldLease:
        """Draw the next lease of the same request, after a new policy check; the older one runs to its own end.

        Raises:
            Denied: the request, the run or the policy does not allow another.
        """
        return self.submit_draw(self._engine.request(lease.lease.tenant, lease.lease.request_id)).result()

    def escalate(
        self,
        run: RunAttempt,
        action: str,
        attributes: Mapping[str, object],
        *,
        reason: str,
        seconds: int = 60,
        timeout: float | None = None,
        tried: Sequence[str] = (),
    ) -> HeldLease:
        """A lease for one operation, dead after `seconds`: one line to ask for, nothing left behind (requirement C1).

        Raises:
            Denied: the route does not offer it, or people said no.
            TimeoutError: nobody answered within `timeout` seconds; the question is withdrawn.
        """
        request = self.ask_escalation(run, action, attributes, reason=reason, seconds=seconds, tried=tried)
        try:
            return self.wait(request, timeout)
        except TimeoutError:
            with suppress(Denied):  # they answered in this very moment; what they granted lapses with the run
                self.withdraw(request)
            raise TimeoutError(f"nobody decided {request.request_id} in time; it was taken back") from None

    def ask_escalation(
        self,
        run: RunAttempt,
        action: str,
        attributes: Mapping[str, object],
        *,
        reason: str,
        seconds: int = 60,
        tried: Sequence[str] = (),
    ) -> Request:
        """The request behind `escalate`: one action, one call, `seconds` long, not to be delegated.

        Where people see a preview of the call, there is room for that too: once when they are asked, once at the use.
        """
        if seconds < 1:
            raise InvalidError("an escalation lasts at least a second; 0 would be the route's whole ttl")
        policy = self._engine.active_policy()
        looks = is_previewed(policy, run.run.route, action, [grants_from_json({action: attributes})])
        return self.request(
            run,
            {action: attributes},
            reason=reason,
            budget={CALLS: 3 if looks else 1},
            ttl_seconds=seconds,
            delegation_depth=0,
            tried=tried,
        )

    def end(self, run: Run, why: str, *, attempt: int | None = None) -> RunRow:
        """Finish a run and every run under it, root first, and keep the ledger's head outside the database.

        `attempt` is that of the agent host which asks; operators and the sweep finish whichever is the newest.

        Raises:
            Denied: a newer attempt has begun.
        """
        row = self._finish_one(run, why, attempt)
        for child in self._engine.store.queries.children(run.tenant, run.run_id):
            if child.state == RunState.OPEN:
                self.end(self._engine.run(run.tenant, child.run_id), "parent" if why == "done" else why)
        self._engine.store.anchor_now()
        return row

    def _finish_one(self, run: Run, why: str, attempt: int | None) -> RunRow:
        if run.agent == BREAK_GLASS:
            closing = self.closing(run, why)
            return self._ask(lambda _: closing, About(works_on=closing.finish.run))
        step = self._finishing(run, why, attempt)
        return self._ask(lambda _: step, About(works_on=step.run))

    def _finishing(self, run: Run, why: str, attempt: int | None) -> FinishRun:
        queries = self._engine.store.queries
        leases = tuple(
            LeaseId(row.lease_id)
            for row in queries.leases_of_run(run.tenant, run.run_id)
            if row.state == LeaseState.ACTIVE
        )
        requests = tuple(
            RequestId(row.request_id)
            for row in queries.requests_of_run(run.tenant, run.run_id)
            if row.state in (RequestState.PENDING, RequestState.APPROVED)
        )
        stored = self._engine.run(run.tenant, run.run_id)
        return FinishRun(run=stored, why=why, attempt=attempt, leases=leases, requests=requests)

    def closing(self, run: Run, why: str) -> CloseGlass:
        """The step that ends the run of a break-glass. It has none under it."""
        return CloseGlass(finish=self._finishing(run, why, None))

    def grants_above(self, run: Run) -> tuple[Grants, ...]:
        """What each lease grants that a child run was delegated from, root first."""
        return tuple(link.lease.allow for link in self._parent_chain(run))

    def _parent_chain(self, run: Run) -> Chain:
        """The chain of the newest lease of the request that a child run was delegated from."""
        if not run.ancestors:
            return Chain()
        rows = self._engine.store.queries.leases_of_request(run.tenant, run.ancestors[-1].request_id)
        if not rows:
            raise Denied(deny(Reason.NOT_FOUND, "the lease that this run was delegated from is gone"))
        return self._engine.chain(run.tenant, rows[0].lease_id)

    def _is_decided(self, request: Request, decided: Future[Request]) -> bool:
        """Look once whether people have decided; if so, or if they never will, resolve the Future."""
        try:
            row = self._engine.request_row(request.tenant, request.request_id)
        except Exception as error:  # noqa: BLE001 - whatever goes wrong belongs to the one who waits
            decided.set_exception(error)
            return True
        if row.state == RequestState.PENDING and not row.revoked:
            if not self._engine.system.now().reached(row.answer_by):
                return False
            row = replace(row, state=RequestState.EXPIRED)  # whether or not a sweep has come by
        refusal = refuse_draw(row, request)
        if refusal is None:
            decided.set_result(request)
        else:
            decided.set_exception(self._engine.refusal_error(refusal))
        return True


def _inherited(given: tuple[str, str, str, str], parent: Run) -> tuple[str, str, str, str]:
    """Route, tenant, environment and requester of a child run: its parent's, whether or not they were named."""
    theirs = (parent.route, parent.tenant, parent.environment, parent.requested_by)
    if any(one and one != other for one, other in zip(given, theirs, strict=True)):
        raise InvalidError("a child run has its parent's route, tenant, environment and requester; name none")
    return theirs


def _ancestors(chain: Chain) -> tuple[Link, ...]:
    return tuple(
        Link(
            run_id=RunId(link.run.run_id),
            request_id=RequestId(link.lease.request_id),
            attempt=link.lease.attempt,
        )
        for link in chain
    )


def _copy(done: Future[HeldLease], result: Future[HeldLease]) -> None:
    if (error := done.exception()) is not None:
        result.set_exception(error)
    else:
        result.set_result(done.result())
