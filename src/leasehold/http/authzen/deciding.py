"""Questions of AuthZEN as calls under leases, answered by admit's own decision without its effect.

Called by the handlers in a thread. The door that asks is the tool; the subject says under which lease: a lease, a run,
or a person, of whose open runs in the door's environment the newest leases are looked at. The arguments of the call are
the tool's own where the context has them (`context.arguments`), else the question itself, so that a policy reads
`resource.id`, `resource.properties.status`, `action.properties.soft`. No answer of these is ever an admission.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from itertools import islice

import msgspec

from leasehold.authority import Authority
from leasehold.authority.door import EmbeddedDoor
from leasehold.decide.chain import Chain
from leasehold.decide.lifecycles import LeaseState
from leasehold.decide.rows import RunRow
from leasehold.errors import InvalidError, NotFoundError
from leasehold.http.authzen.documents import AccessRequest, Batch, Entity, Evaluation, Semantic
from leasehold.model.call import Admission, Call
from leasehold.model.canonical import encode, prepare
from leasehold.model.decision import WAITING, Decision, Reason, deny
from leasehold.model.grant import split_action
from leasehold.model.ids import check_id
from leasehold.model.lease import Lease
from leasehold.model.request import Request, RequestState
from leasehold.token.digest import derive_purpose_key, sha256_digest
from leasehold.token.sealed import open_note, seal_note

__all__ = ["AccessQuestions"]

_MOST_LEASES = 100
"""How many leases are looked at for one question, and of how many runs, whoever has more."""
_MOST_LOOKED_AT = 1000
"""How often a lease is looked at for one request, however many questions it asks: each time is a decision."""
_TOO_MUCH = deny(
    Reason.TOO_LARGE,
    f"this request would look at leases more than {_MOST_LOOKED_AT} times",
    enough="fewer questions at once, or about a run or a lease",
)
_SEVERAL_TENANTS = deny(
    Reason.NOT_FOUND,
    "this subject has leases in several tenants, and what is asked about is of one",
    enough="the tenant, as context.tenant",
)
_BINDING_SECONDS = 600
_STATES = {
    RequestState.PENDING: "pending",
    RequestState.APPROVED: "approved",
    RequestState.USED: "approved",
    RequestState.COMPLETED: "approved",
    RequestState.DENIED: "denied",
    RequestState.EXPIRED: "expired",
    RequestState.LAPSED: "expired",
    RequestState.WITHDRAWN: "cancelled",
    RequestState.SUPERSEDED: "cancelled",
}


class _Binding(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a refusal was about, sealed: the access request has to be about the same."""

    tool: str
    environment: str
    lease: str
    action: str
    arguments: str
    key: str
    expires_at: int


prepare(_Binding)


class AccessQuestions:
    """The questions of one door: that of the client that asks. Made for each request."""

    def __init__(self, authority: Authority, door: EmbeddedDoor, origin: str) -> None:
        self._engine = authority.engine
        self._door = door
        self._origin = origin
        self._key = derive_purpose_key(self._engine.identity.digest_key, "access request")
        self._known: dict[tuple[str, str], Sequence[Chain]] = {}
        self._left = _MOST_LOOKED_AT

    def evaluate(self, question: Evaluation) -> dict[str, object]:
        """The decision, with why not, and whether people can be asked.

        Raises:
            InvalidError: what is asked about cannot be a call.
        """
        call = self._call(question)
        refusal, lease = deny(Reason.NOT_FOUND, "no lease of this subject is alive at this door"), ""
        chains = self._in_one_tenant(question)
        if chains is None:
            return {"decision": False, "context": _why(_SEVERAL_TENANTS)}
        for chain in chains:
            if not self._left:
                return self._refused(call, _TOO_MUCH, "")
            self._left -= 1
            answer = self._door.rehearse(chain, call)
            if answer.value is not None:
                return self._allowed(question, answer.value)
            if refusal.reason not in WAITING:  # what people could lift is what is told
                refusal, lease = answer.decision, chain[-1].lease.lease_id
        return self._refused(call, refusal, lease)

    def evaluate_all(self, batch: Batch) -> dict[str, object]:
        """The decisions of a batch, as far as its semantic goes.

        Raises:
            InvalidError: as `evaluate`.
        """
        if batch.is_single:
            return self.evaluate(batch.items[0])
        decisions: list[dict[str, object]] = []
        for item in batch.items:
            decisions.append(self.evaluate(item))
            is_allowed = decisions[-1]["decision"]
            if batch.semantic is Semantic.DENY_ON_FIRST_DENY and not is_allowed:
                break
            if batch.semantic is Semantic.PERMIT_ON_FIRST_PERMIT and is_allowed:
                break
        return {"evaluations": decisions}

    def ask(self, question: AccessRequest) -> dict[str, object]:
        """Have people asked about what was refused; the task that stands for it.

        Raises:
            InvalidError: the binding is not that of a refusal of exactly this, or not any more.
            Denied: it may not be done whoever agrees.
        """
        call, binding = self._call(question), self._opened(question.denial.binding_token)
        if binding != self._binding(call, binding.lease, binding.expires_at):
            raise InvalidError("this binding_token is of another refusal")
        if self._engine.system.now().reached(binding.expires_at):
            raise InvalidError("this binding_token is too old; evaluate again")
        chain = self._engine.chain(self._engine.locate(binding.lease), binding.lease)
        request_id = self._door.ask_only(chain, call)
        return self._task(self._engine.request(chain[-1].run.tenant, request_id))

    def task(self, request_id: str) -> dict[str, object]:
        """How it stands with what was asked, for the door that asked.

        Raises:
            NotFoundError: there is no such task of this door.
        """
        try:
            request = self._engine.request(self._engine.locate(check_id(request_id, "req")), request_id)
        except InvalidError:
            raise NotFoundError("there is no such task") from None
        chain = self._engine.chain(request.tenant, request.lease_id) if request.lease_id else Chain()
        tools = {split_action(action)[0] for action in request.allow}
        if not chain or tools != {self._door.tool} or chain[-1].run.environment != self._door.environment:
            raise NotFoundError("there is no such task")
        return self._task(request)

    def _in_one_tenant(self, question: Evaluation) -> Sequence[Chain] | None:
        """The leases to look at, of the tenant that the question names; None where it names none and there are several.

        A resource of one name may be another one in another tenant: nobody's lease there counts for it here.
        """
        tenant, chains = question.context.get("tenant"), self._chains(question.subject)
        if tenant is not None:
            return [chain for chain in chains if chain[-1].run.tenant == tenant]
        return chains if len({chain[-1].run.tenant for chain in chains}) <= 1 else None

    def _chains(self, subject: Entity) -> Sequence[Chain]:
        """The leases that a subject may act under at this door, those of the newest run in front; read once a batch."""
        known = self._known.get((subject.type, subject.id))
        if known is None:
            found = (self._engine.chain(*place) for place in islice(self._leases(subject), _MOST_LEASES))
            known = self._known[subject.type, subject.id] = [chain for chain in found if self._is_here(chain[-1].lease)]
        return known

    def _is_here(self, lease: Lease) -> bool:
        """Whether a lease is for this door. Of others nothing is told, not where they are for either."""
        is_for_tool = any(split_action(action)[0] == self._door.tool for action in lease.allow)
        return is_for_tool and lease.environment == self._door.environment

    def _leases(self, subject: Entity) -> Iterator[tuple[str, str]]:
        if subject.type == "lease":
            found = self._lease(subject.id)
            yield from () if found is None else (found,)
        elif subject.type == "run":
            yield from self._leases_of_run(subject.id)
        else:
            names = {subject.id, f"{subject.type}:{subject.id}"}
            for row in heapq.merge(*map(self._runs_for, names), key=lambda row: -row.recorded):
                yield from self._active(row.tenant, row.run_id)

    def _runs_for(self, person: str) -> Sequence[RunRow]:
        return self._engine.store.queries.open_runs_for(person, self._door.environment, limit=_MOST_LEASES)

    def _lease(self, lease_id: str) -> tuple[str, str] | None:
        try:
            return self._engine.locate(check_id(lease_id, "lease")), lease_id
        except (InvalidError, NotFoundError):
            return None

    def _leases_of_run(self, run_id: str) -> Sequence[tuple[str, str]]:
        try:
            return self._active(self._engine.locate(check_id(run_id, "run")), run_id)
        except (InvalidError, NotFoundError):
            return ()

    def _active(self, tenant: str, run_id: str) -> Sequence[tuple[str, str]]:
        rows = self._engine.store.queries.leases_of_run(tenant, run_id, limit=_MOST_LEASES)
        return [(row.tenant, row.lease_id) for row in rows if row.state == LeaseState.ACTIVE]

    def _call(self, question: Evaluation) -> Call:
        given = question.context.get("arguments")
        arguments = given if isinstance(given, dict) else _entities(question)
        key = question.context.get("idempotency_key")
        if key is not None and not isinstance(key, str):
            raise InvalidError("an idempotency_key is text")
        name = question.action.name
        prefix = f"{self._door.tool}."
        return Call(
            action=name if name.startswith(prefix) else prefix + name,
            arguments=encode(arguments),
            admission_id=self._door.new_admission_id(),
            key=key,
        )

    def _allowed(self, question: Evaluation, admission: Admission) -> dict[str, object]:
        """Yes; but a PEP that says by which approval is told no where another one, or none, was what counted."""
        approval = question.context.get("approval")
        if approval is not None and not (isinstance(approval, dict) and approval.get("id") == admission.approval):
            words = "this approval is not that of exactly this"
            return {"decision": False, "context": _why(deny(Reason.APPROVAL_NEEDED, words))}
        return {"decision": True}

    def _refused(self, call: Call, refusal: Decision, lease: str) -> dict[str, object]:
        context: dict[str, object] = _why(refusal)
        if refusal.reason in WAITING and lease:
            expires_at = self._engine.system.now().seconds + _BINDING_SECONDS
            # What was rehearsed asked nobody, so the request that it speaks of may not be there.
            context["message"] = refusal.message.removesuffix(f": {refusal.request_id}")
            context["enough"] = "to ask for it with access_request, and a yes"
            context["access_request"] = {
                "endpoint": f"{self._origin}/access/v1/requests",
                "expires_at": _shown(expires_at),
                "binding_token": seal_note(self._binding(call, lease, expires_at), self._key),
            }
        return {"decision": False, "context": context}

    def _binding(self, call: Call, lease: str, expires_at: int) -> _Binding:
        return _Binding(
            tool=self._door.tool,
            environment=self._door.environment,
            lease=lease,
            action=call.action,
            arguments=sha256_digest(call.arguments),
            key=call.key or "",
            expires_at=expires_at,
        )

    def _opened(self, text: str) -> _Binding:
        try:
            return open_note(text, _Binding, self._key)
        except InvalidError:
            raise InvalidError("this is no binding_token of ours") from None

    def _task(self, request: Request) -> dict[str, object]:
        row = self._engine.request_row(request.tenant, request.request_id)
        state = RequestState(row.state)
        if state is RequestState.PENDING and self._engine.system.now().reached(row.answer_by):
            state = RequestState.EXPIRED
        task = {
            "id": request.request_id,
            "status": "cancelled" if row.revoked else _STATES[state],
            "status_endpoint": f"{self._origin}/access/v1/requests/{request.request_id}",
            "expires_at": _shown(row.use_by),
        }
        if task["status"] != "approved":
            return {"task": task}
        approval = {"id": request.request_id, "approved_until": _shown(row.use_by)}
        return {"task": task, "result": {"mode": "reevaluate", "approval": approval}}


def _entities(question: Evaluation) -> dict[str, object]:
    """The question as arguments, without its context."""
    value: dict[str, object] = msgspec.to_builtins(question)
    return {name: value[name] for name in ("subject", "action", "resource")}


def _why(refusal: Decision) -> dict[str, object]:
    said = {"reason": str(refusal.reason), "message": refusal.message, "rule": refusal.rule, "enough": refusal.enough}
    return {name: text for name, text in said.items() if text}


def _shown(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
