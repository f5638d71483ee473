"""The tool's door, embedded: token and call in, admission or refusal out. Guards, hooks and relays call it.

`Authenticator` takes what is presented, `AskedCall` makes the step that judges it, and `CallsUnderWay` knows what was
admitted. All that is decided is decided and recorded in one step.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from typing import TypeVar

from msgspec.structs import replace

from leasehold.authority.asked_call import AskedCall, read_arguments
from leasehold.authority.authenticator import Authenticator
from leasehold.authority.engine import Engine, refusal_error
from leasehold.authority.forgeries import ForgeryCounter
from leasehold.authority.rehearsal import Rehearsal
from leasehold.authority.sub_grants import with_sub_grants
from leasehold.authority.under_way import CallLook, CallsUnderWay
from leasehold.authority.waiting import Waiters
from leasehold.decide.ask_only import AskOnly
from leasehold.decide.chain import Chain
from leasehold.decide.facts import Step, StepAnswer
from leasehold.decide.holder import ProvenAdmit
from leasehold.decide.once import UseOnce
from leasehold.decide.settle import Settle
from leasehold.errors import LeaseholdError
from leasehold.model.call import Admission, Call, Outcome, Settlement
from leasehold.model.decision import Decision, Reason, deny
from leasehold.model.ids import AdmissionId, RequestId
from leasehold.model.text import check_identifier
from leasehold.policy.document import Policy

__all__ = ["EmbeddedDoor"]

A = TypeVar("A")


class EmbeddedDoor:
    """One tool in one environment. Holding it is the door's credential: nothing else proves which tool asks.

    `client` is whose door it is where that is a client's (`leasehold.authority.client_door`).
    """

    def __init__(
        self,
        engine: Engine,
        tool: str,
        environment: str,
        forgeries: ForgeryCounter,
        waiters: Waiters,
        *,
        client: str | None = None,
    ) -> None:
        self._engine = engine
        self._tool = check_identifier(tool, "tool")
        self._environment = check_identifier(environment, "environment")
        self._client = client
        self._authenticator = Authenticator(engine, tool, environment, forgeries)
        self._calls = CallsUnderWay(engine, waiters, client)

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

    # admit and settle

    def admit(self, token: str, call: Call) -> Admission:
        """Ask for leave to start one call, and wait for it. A bound token demands the proof that came with it.

        Raises:
            Denied: the call may not start; nothing was charged.
            ApprovalNeeded: people have to decide first.
            InvalidError: the arguments are not canonical JSON.
            StoreError: the authority cannot answer; nothing may be started.
        """
        build, chain = self._admit(token, call)
        return self._admitted(self._engine.ask(build), chain)

    def submit_admit(self, token: str, call: Call) -> Future[Admission]:
        """Ask for leave to start one call. As `admit`; the Future raises what that raises."""
        try:
            build, chain = self._admit(token, call)
        except LeaseholdError as error:
            return _failed(error)
        return self._engine.submit_then(build, lambda admission: self._admitted(admission, chain))

    def settle(self, admission_id: AdmissionId, outcome: Outcome) -> Settlement:
        """Report how an admitted call went, and wait until that is durable."""
        return self._engine.ask(self._settle(admission_id, outcome))

    def submit_settle(self, admission_id: AdmissionId, outcome: Outcome) -> Future[Settlement]:
        """Report how an admitted call went. Sending the same outcome again answers the same."""
        try:
            return self._engine.submit(self._settle(admission_id, outcome))
        except LeaseholdError as error:
            return _failed(error)

    def _admit(self, token: str, call: Call) -> tuple[Callable[[Policy], Step[Admission]], Chain]:
        """What judges a call under the active policy, and the lease that it is made under."""
        chain, proven = self._authenticator.authenticate(token, call.holder_proof)
        asked = self._asked(chain, call)
        if proven is None:
            return self._behind(asked.step), chain
        use = UseOnce(kind="dpop", value=proven.identity, at=proven.issued_at)
        return self._behind(lambda policy: ProvenAdmit(admit=asked.step(policy), use=use)), chain

    def _asked(self, chain: Chain, call: Call) -> AskedCall:
        return AskedCall(
            engine=self._engine,
            tool=self._tool,
            client=self._client or "",
            chain=chain,
            call=call,
            arguments=read_arguments(call),
            new_request=RequestId(self._engine.system.new_id("req")),
        )

    def _admitted(self, admission: Admission, chain: Chain) -> Admission:
        """The admission as its guard gets it."""
        self._calls.keep(admission)
        return with_sub_grants(self._engine, admission, chain[-1].lease)

    def _settle(self, admission_id: AdmissionId, outcome: Outcome) -> Callable[[Policy], Step[Settlement]]:
        admission = self._calls.find(admission_id)
        if outcome.result_digest:
            digester = self._engine.digester(admission.tenant)
            outcome = replace(outcome, result_digest=digester.digest("result", outcome.result_digest.encode()))
        step = Settle(admission=admission, outcome=outcome, tool=self._tool, environment=self._environment)
        return self._behind(lambda policy: replace(step, breaker=policy.breaker(admission.route)), admission.client)

    # calls under way

    def submit_settled(self, admission_id: AdmissionId, within_ms: int) -> Future[bool]:
        """Wait for the end of another call: true once it is not open any more, false when so many ms have passed.

        For a call that comes after one in flight; nobody polls, the commit that ends it wakes the waiter.
        """
        try:
            return self._calls.submit_settled(admission_id, within_ms)
        except LeaseholdError as error:
            return _failed(error)

    def submit_check(self, admission_id: AdmissionId) -> Future[None]:
        """Whether a call under way may go on: the Future raises `Denied` once its lease or anything above it ended.

        For tools that work long: what is asked here is read, not decided, and starts nothing.
        """
        try:
            self._calls.check(admission_id)
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
        self._check_asker()
        return self._calls.look(admission_id)

    def watch(self, admission_id: AdmissionId, ended: Callable[[Decision], None]) -> Callable[[], None]:
        """Have `ended` called once, from another thread, when a call or anything above it has ended; a hold is no end.

        Returns what stops watching, which has to be called. It is looked at after each commit; what ends by the clock
        is seen when the sweep writes it down.
        """
        return self._calls.watch(admission_id, ended)

    # for who has to answer quickly, and lets a thread ask where something has to be read first

    def is_at_hand(self, token: str) -> bool:
        """Whether a token like this was admitted with before, so that nothing has to be read before the step."""
        return self._authenticator.is_seen(token)

    def is_known(self, admission_id: AdmissionId) -> bool:
        """Whether an admission is at hand, so that nothing has to be read before it is settled."""
        return self._calls.is_kept(admission_id)

    # a call under a lease of which there is no token here

    def rehearse(self, chain: Chain, call: Call) -> StepAnswer[Admission]:
        """What `admit` would answer under a lease, without admitting anything. It starts nothing and writes nothing.

        Of who asks nothing is proven here: for a client that happens once, before it asks about many.

        Raises:
            InvalidError: the arguments are not canonical JSON.
        """
        if (refusal := self._refuse_elsewhere(chain)) is not None:
            return StepAnswer(refusal)
        step = self._asked(chain, call).step(self._engine.active_policy())
        return Rehearsal(self._engine, chain[-1].run.run_id).ask(step)[0]

    def ask_only(self, chain: Chain, call: Call) -> RequestId:
        """Have people asked about a call under a lease, without making it; answers the request that waits.

        Raises:
            Denied: it may not be made whoever agrees, or nobody has to be asked.
            InvalidError: the arguments are not canonical JSON.
        """
        if (refusal := self._refuse_elsewhere(chain)) is not None:
            raise refusal_error(refusal)
        asked = self._asked(chain, call)
        return self._engine.ask(self._behind(lambda policy: AskOnly(admit=asked.step(policy))))

    def _refuse_elsewhere(self, chain: Chain) -> Decision | None:
        """What the token says at the door itself, here of a lease without one."""
        lease = chain[-1].lease
        if lease.environment != self._environment:
            return deny(Reason.WRONG_ENVIRONMENT, f"{lease.lease_id} is for {lease.environment}")
        if self._tool not in lease.audiences:
            return deny(Reason.WRONG_TOOL, f"{lease.lease_id} grants nothing at {self._tool}")
        return None

    # who asks: here whoever holds the open state, so nothing is checked

    def _behind(
        self,
        build: Callable[[Policy], Step[A]],
        admitted_by: str | None = None,  # noqa: ARG002 - for clients
    ) -> Callable[[Policy], Step[A]]:
        """The same step, judged together with who asks; `admitted_by` is the client whose admission it ends."""
        return build

    def _check_asker(self) -> None:
        """Return if whoever asks may read what this door knows.

        Raises:
            Denied: they may not, or not any more.
        """


def _failed(error: Exception) -> Future[A]:
    future: Future[A] = Future()
    future.set_exception(error)
    return future
