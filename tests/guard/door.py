"""A door in memory that keeps the protocol's promises: what it answered it stands by, and it can lose its answers.

Its clock stands still unless a test moves it. It admits what carries the right token and (for writes) a key.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

from leasehold.errors import Denied, UnavailableError
from leasehold.model.call import Admission, Call, CallState, Outcome, OutcomeStatus, Settlement
from leasehold.model.decision import Decision, Reason, deny
from leasehold.model.effect import Effect
from leasehold.model.grant import Grant, grants_from_json, split_action
from leasehold.model.ids import AdmissionId, LeaseId, RequestId, RunId
from leasehold.model.lease import HeldLease, Lease, Token

LEASE = Lease(
    lease_id=LeaseId("lease_01JZ8Q5X0M3V7K2N9B4C6D8E0F"),
    run_id=RunId("run_01JZ8Q5X0M3V7K2N9B4C6D8E0F"),
    attempt=1,
    request_id=RequestId("req_01JZ8Q5X0M3V7K2N9B4C6D8E0F"),
    agent="support-bot",
    requested_by="user:ana",
    approved_by=(),
    tenant="acme",
    environment="prod",
    route="support/close",
    allow=grants_from_json({"ticket.close": {"ticket": ["T-*"]}, "ticket.read": {"ticket": ["T-*"]}}),
    deny=(),
    budget={"calls": 25_000_000},
    ends_on=(),
    delegation_depth=0,
    parents=(),
    issued_at=1_778_068_800,
    expires_at=1_778_069_100,
    reason="answer ticket T-1",
    policy="sha256:0",
    epoch=1,
)

SECRET_TOKEN = Token("secret-token-of-ticket")
HELD = HeldLease(lease=LEASE, tokens={"ticket": SECRET_TOKEN})


class MemoryDoor:
    """One door of one tool in one environment. `_lock` guards all that changes."""

    def __init__(self, tool: str = "ticket", environment: str = "prod") -> None:
        self.tool = tool
        self.environment = environment
        self.now_ms = 1_000_000
        self.answer_takes_ms = 0
        self.start_within_ms = 5_000
        self.finish_within_ms: int | None = None
        self.effects = {"ticket.read": Effect.READ}
        self.sub_grants: dict[str, Grant] = {}
        self.sub_tokens: dict[str, Token] = {}
        self.refusal: Decision | None = None
        self.first_refusals: list[Decision] = []
        self.waited: list[tuple[AdmissionId, int]] = []
        self.wait_takes_ms = 0
        self.lost: list[tuple[str, bool]] = []
        self.fault: Exception | None = None
        self.is_slow = False
        self.asked: list[tuple[str, Call]] = []
        self.admitted: dict[AdmissionId, Admission] = {}
        self.settled: dict[AdmissionId, Outcome] = {}
        self._answers: list[tuple[Future[Any], object]] = []
        self._made = 0
        self._lock = threading.RLock()

    def door(self, tool: str, environment: str) -> MemoryDoor:
        """Itself: an authority with one door."""
        assert (tool, environment) == (self.tool, self.environment)
        return self

    @property
    def outcome(self) -> Outcome:
        """The outcome of the only call that was settled."""
        (outcome,) = self.settled.values()
        return outcome

    @property
    def call(self) -> Call:
        """The only call that was asked for."""
        ((_, call),) = self.asked
        return call

    def lose(self, what: str, *, performed: bool) -> None:
        """Lose the next answer to `admit` or `settle`, after or before it was carried out."""
        self.lost.append((what, performed))

    def release(self) -> None:
        """Give all answers that a slow door held back."""
        answers, self._answers = self._answers, []
        for future, answer in answers:
            _answer(future, answer)

    def new_admission_id(self) -> AdmissionId:
        with self._lock:
            self._made += 1
            return AdmissionId(f"adm_{self._made:026d}")

    def boot_milliseconds(self) -> int:
        return self.now_ms

    def submit_admit(self, token: str, call: Call) -> Future[Admission]:
        return self._submit("admit", lambda: self._admit(token, call))

    def submit_settle(self, admission_id: AdmissionId, outcome: Outcome) -> Future[Settlement]:
        return self._submit("settle", lambda: self._settle(admission_id, outcome))

    def submit_settled(self, admission_id: AdmissionId, within_ms: int) -> Future[bool]:
        self.waited.append((admission_id, within_ms))
        self.now_ms += self.wait_takes_ms
        future: Future[bool] = Future()
        future.set_result(self.wait_takes_ms < within_ms)
        return future

    def _submit(self, what: str, carry_out: Callable[[], object]) -> Future[Any]:
        future: Future[Any] = Future()
        with self._lock:
            if self.fault is not None:
                raise self.fault
            lost = self.lost.pop(0) if self.lost and self.lost[0][0] == what else None
            answer = None if lost == (what, False) else _outcome_of(carry_out)
            answer = answer if lost is None else UnavailableError("the answer was lost")
            if what == "admit":
                self.now_ms += self.answer_takes_ms
            if self.is_slow:
                self._answers.append((future, answer))
                return future
        _answer(future, answer)
        return future

    def _admit(self, token: str, call: Call) -> Admission:
        self.asked.append((token, call))
        if call.admission_id in self.settled:
            raise Denied(deny(Reason.ALREADY_SETTLED, "settled"))
        if call.admission_id in self.admitted:
            return self.admitted[call.admission_id]
        early = self.first_refusals.pop(0) if self.first_refusals else None
        refusal = early or self.refusal or self._judge(token, call)
        if refusal is not None:
            raise Denied(refusal)
        admission = self._admission(call)
        self.admitted[call.admission_id] = admission
        return admission

    def _judge(self, token: str, call: Call) -> Decision | None:
        if token != f"secret-token-of-{self.tool}" or split_action(call.action)[0] != self.tool:
            return deny(Reason.BAD_TOKEN, "not this door's")
        if self._effect(call.action) is not Effect.READ and call.key is None:
            return deny(Reason.KEY_NEEDED, "a write needs a key")
        if call.parent is not None and call.action not in call.parent.allow:
            return deny(Reason.NOT_GRANTED, "not in the capability")
        return None

    def _effect(self, action: str) -> Effect:
        return self.effects.get(action, Effect.WRITE)

    def _admission(self, call: Call) -> Admission:
        return Admission(
            admission_id=call.admission_id,
            tenant=LEASE.tenant,
            environment=self.environment,
            run_id=LEASE.run_id,
            parent_run=None,
            attempt=1,
            request_id=LEASE.request_id,
            lease_id=LEASE.lease_id,
            agent=LEASE.agent,
            requested_by=LEASE.requested_by,
            action=call.action,
            effect=self._effect(call.action),
            grant=grants_from_json({call.action: {"ticket": ["T-1", "T-2"]}})[call.action],
            key=call.key,
            approval=None,
            approved_by=(),
            capability="sha256:1",
            arguments_digest="sha256:2",
            lease_chain=(LEASE.lease_id,),
            run_chain=(LEASE.run_id,),
            request_chain=(LEASE.request_id,),
            agents=(LEASE.agent,),
            reserved={"calls": 1_000_000},
            ending=(),
            start_within_ms=self.start_within_ms,
            finish_by=LEASE.expires_at,
            finish_within_ms=self.finish_within_ms,
            uses=tuple(self.sub_grants),
            sub_grants=self.sub_grants,
            tokens=self.sub_tokens,
        )

    def _settle(self, admission_id: AdmissionId, outcome: Outcome) -> Settlement:
        if admission_id not in self.admitted:
            raise Denied(deny(Reason.NOT_FOUND, "no such admission"))
        if self.settled.setdefault(admission_id, outcome) != outcome:
            raise Denied(deny(Reason.ALREADY_SETTLED, "settled otherwise"))
        return Settlement(state=_STATES[outcome.status], charged={})


class CheckedDoor(MemoryDoor):
    """A door that also tells whether a call is still open."""

    def __init__(self) -> None:
        super().__init__()
        self.is_revoked = False

    def submit_check(self, admission_id: AdmissionId) -> Future[None]:
        future: Future[None] = Future()
        over = self.is_revoked or admission_id in self.settled
        _answer(future, Denied(deny(Reason.ENDED, "revoked")) if over else None)
        return future


_STATES = {
    OutcomeStatus.DONE: CallState.DONE,
    OutcomeStatus.FAILED: CallState.FAILED,
    OutcomeStatus.NOT_STARTED: CallState.NOT_STARTED,
}


def _outcome_of(carry_out: Callable[[], object]) -> object:
    try:
        return carry_out()
    except Denied as error:
        return error


def _answer(future: Future[Any], answer: object) -> None:
    if isinstance(answer, BaseException):
        future.set_exception(answer)
    else:
        future.set_result(answer)
