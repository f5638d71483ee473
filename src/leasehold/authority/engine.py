"""What Runs, Door and Desk share: documents read by id, steps built under the active policy, answers as values.

Documents are immutable, so they are kept decoded; rows are not, so none is ever kept (DESIGN §3).
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Generic, NamedTuple, TypeVar

from leasehold.authority.followed_ring import LOOK_MS, FollowedRing
from leasehold.authority.lease_keys import LeaseKeys
from leasehold.decide.chain import Chain, ChainLink
from leasehold.decide.documents import decode_lease, decode_request, decode_run
from leasehold.decide.facts import Ref, Step, StepAnswer
from leasehold.decide.issue import capability_digest
from leasehold.decide.rows import AUTHORITY_WIDE, RequestRow, Row, RunRow
from leasehold.errors import ApprovalNeeded, Denied, Edited, NotFoundError, StoreError, UnavailableError
from leasehold.model.call import Admission
from leasehold.model.canonical import decode as decode_json
from leasehold.model.card import decode_card
from leasehold.model.decision import WAITING, Decision, Reason, deny
from leasehold.model.glass import BREAK_GLASS
from leasehold.model.lease import HeldLease, Lease, Token
from leasehold.model.request import Request
from leasehold.model.run import Run
from leasehold.policy.document import Policy
from leasehold.store.protocol import Store
from leasehold.system import System
from leasehold.token.cache import VerifiedCache
from leasehold.token.digest import Digester, derive_tenant_key
from leasehold.token.keys import KeyRing
from leasehold.token.verify import VerifiedToken

__all__ = ["Engine", "Identity", "refusal_error", "then"]

A = TypeVar("A")
B = TypeVar("B")
R = TypeVar("R", bound=Row)
V = TypeVar("V")

MAX_REBUILDS = 8
MAX_DOCUMENTS = 50_000
MAX_TOKENS = 50_000


@dataclass(frozen=True, kw_only=True)
class Identity:
    """Who an authority is: its issuer id and its keys, one ring per type of document. Never leaves the process."""

    issuer: str
    lease_ring: FollowedRing
    receipt_ring: FollowedRing
    checkpoint_ring: FollowedRing
    digest_key: bytes = field(repr=False)

    @property
    def leases(self) -> KeyRing:
        """The keys of leases, as they are known now."""
        return self.lease_ring.ring

    @property
    def receipts(self) -> KeyRing:
        """The keys of receipts."""
        return self.receipt_ring.ring

    @property
    def checkpoints(self) -> KeyRing:
        """The keys of the ledger's heads. The first made the issuer id."""
        return self.checkpoint_ring.ring

    def follow_keys(self) -> None:
        """Have each ring look into its file, unless somebody has shortly before."""
        for ring in (self.lease_ring, self.receipt_ring, self.checkpoint_ring):
            ring.follow(not_within_ms=LOOK_MS)


class Kept(Generic[V]):
    """A bounded memory of immutable values, the least recently used going first. Owns its lock."""

    def __init__(self, capacity: int) -> None:
        self._capacity = capacity
        self._values: OrderedDict[tuple[str, ...], V] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, key: tuple[str, ...]) -> V | None:
        """The value, if it is still kept."""
        with self._lock:
            if key in self._values:
                self._values.move_to_end(key)
            return self._values.get(key)

    def put(self, key: tuple[str, ...], value: V) -> V:
        """Keep a value and return it."""
        with self._lock:
            self._values[key] = value
            while len(self._values) > self._capacity:
                self._values.popitem(last=False)
        return value


class _Asked(NamedTuple, Generic[A, B]):
    """A step on its way: how it is built, what is made of its value, and who waits for that."""

    build: Callable[[Policy], Step[A]]
    convert: Callable[[A], B]
    answer: Future[B]


class Engine:
    """One log's store with the identity that signs for it. Threads may share it."""

    def __init__(self, store: Store, system: System, identity: Identity) -> None:
        self.store = store
        self.system = system
        self.identity = identity
        self.lease_keys = LeaseKeys(identity.issuer, identity.lease_ring, VerifiedCache[VerifiedToken](MAX_TOKENS))
        self.admissions: Kept[Admission] = Kept(MAX_DOCUMENTS)
        self.tokens_seen: Kept[bool] = Kept(MAX_TOKENS)
        self._policies: Kept[Policy] = Kept(64)
        self._runs: Kept[Run] = Kept(MAX_DOCUMENTS)
        self._requests: Kept[Request] = Kept(MAX_DOCUMENTS)
        self._chains: Kept[Chain] = Kept(MAX_DOCUMENTS)
        self._tokens: Kept[Token] = Kept(MAX_TOKENS)
        self._digesters: Kept[Digester] = Kept(10_000)
        self._active = store.queries.control().policy

    # steps

    def ask(self, build: Callable[[Policy], Step[A]]) -> A:
        """Build a step under the active policy, submit it, and wait for its value. As `submit`, without its Futures.

        Raises:
            Denied: the step refused.
            StoreError: what the store raised.
        """
        for _ in range(MAX_REBUILDS + 1):
            reply = self.store.carry_out(build(self.current_policy())).result()
            if not reply.active_policy:
                return self._value(reply)
            self._active = reply.active_policy
        raise _too_fast()

    def submit(self, build: Callable[[Policy], Step[A]]) -> Future[A]:
        """Build a step under the active policy, submit it, and answer its value.

        When the active policy changed in between, the step is built again. The Future raises `Denied` where the step
        refused, else what the store raised.
        """
        return self.submit_then(build, lambda value: value)

    def submit_then(self, build: Callable[[Policy], Step[A]], convert: Callable[[A], B]) -> Future[B]:
        """As `submit`, with something made of the value. `convert` is called in the store's thread: be brief."""
        answer: Future[B] = Future()
        self._try(_Asked(build, convert, answer), MAX_REBUILDS)
        return answer

    def _try(self, asked: _Asked[A, B], left: int) -> None:
        try:
            submitted = self.store.submit(asked.build(self.current_policy()))
        except Exception as error:  # noqa: BLE001 - whatever goes wrong belongs to the one who waits for the answer
            asked.answer.set_exception(error)
            return
        submitted.add_done_callback(lambda done: self._answered(asked, left, done))

    def _answered(self, asked: _Asked[A, B], left: int, done: Future[StepAnswer[A]]) -> None:
        try:
            reply = done.result()
            if not reply.active_policy:
                asked.answer.set_result(asked.convert(self._value(reply)))
                return
        except Exception as error:  # noqa: BLE001 - as above
            asked.answer.set_exception(error)
            return
        self._active = reply.active_policy
        if left:
            self._try(asked, left - 1)
        else:
            asked.answer.set_exception(_too_fast())

    def current_policy(self) -> Policy:
        """The policy that was active when something was asked last; a step is built again where it has changed."""
        return self.policy(self._active) if self._active else self.active_policy()

    def _value(self, reply: StepAnswer[A]) -> A:
        if not reply.decision.is_allowed:
            raise self.refusal_error(reply.decision)
        return reply.value  # type: ignore[return-value]  # an allowed step answers its value

    def refusal_error(self, decision: Decision) -> Denied:
        """The exception that carries a refusal; of what people edited with what it is now."""
        if decision.reason is not Reason.EDITED:
            return refusal_error(decision)
        row = self.store.queries.locate(decision.request_id, self.store.queries.tenants())
        card = self.store.queries.card(row.tenant, row.card_digest) if isinstance(row, RequestRow) else None
        arguments = decode_card(card).exact_arguments if card is not None else ""
        return Edited(decision, decision.request_id, arguments or None)

    # documents

    def policy(self, digest: str) -> Policy:
        """A policy by its hash.

        Raises:
            StoreError: no policy is active, or its document is damaged.
        """
        kept = self._policies.get((digest,))
        if kept is not None:
            return kept
        body = self.store.queries.document(AUTHORITY_WIDE, digest) if digest else None
        if body is None:
            raise StoreError("no policy is active in this state; run: leasehold policy accept")
        policy = Policy.from_json(decode_json(body))
        if policy.hash != digest:
            raise StoreError("the active policy's document is damaged; run: leasehold policy accept")
        return self._policies.put((digest,), policy)

    def active_policy(self) -> Policy:
        """The policy that is active now."""
        self._active = self.store.queries.control().policy
        return self.policy(self._active)

    def run(self, tenant: str, run_id: str) -> Run:
        """A run's envelope.

        Raises:
            NotFoundError: the tenant has no such run.
        """
        kept = self._runs.get((tenant, run_id))
        return kept or self._runs.put((tenant, run_id), decode_run(self._document(tenant, run_id)))

    def request(self, tenant: str, request_id: str) -> Request:
        """A request as it was made.

        Raises:
            NotFoundError: the tenant has no such request.
        """
        kept = self._requests.get((tenant, request_id))
        return kept or self._requests.put((tenant, request_id), decode_request(self._document(tenant, request_id)))

    def chain(self, tenant: str, lease_id: str) -> Chain:
        """A lease with all above it, root first, each with its run.

        Raises:
            NotFoundError: one of them is not in this ledger.
        """
        kept = self._chains.get((tenant, lease_id))
        if kept is not None:
            return kept
        leaf = decode_lease(self._document(tenant, lease_id))
        above = [decode_lease(self._document(tenant, parent)) for parent in leaf.parents]
        return self._chains.put((tenant, lease_id), Chain(map(self._link, (*above, leaf))))

    def _link(self, lease: Lease) -> ChainLink:
        return ChainLink(lease, self.run(lease.tenant, lease.run_id), capability_digest(lease))

    def _document(self, tenant: str, document_id: str) -> bytes:
        body = self.store.queries.document(tenant, document_id)
        if body is None:
            raise NotFoundError(f"{document_id} is not in this ledger")
        return body

    def locate(self, row_id: str) -> str:
        """The tenant of a run, request or lease, for operators who name it by its id alone.

        Raises:
            NotFoundError: there is no such thing.
        """
        row = self.store.queries.locate(row_id, self.store.queries.tenants())
        if row is None:
            raise NotFoundError(f"{row_id} is not in this ledger")
        return row.tenant

    # rows

    def row(self, row_type: type[R], *key: str) -> R | None:
        """One row as it is committed now, or None if there is none."""
        row = self.store.queries.rows([Ref(row_type, key)])[0]  # type: ignore[arg-type]  # R is one of the rows
        return row if isinstance(row, row_type) else None

    def run_row(self, tenant: str, run_id: str) -> RunRow:
        """State and newest attempt of a run.

        Raises:
            NotFoundError: the tenant has no such run.
        """
        row = self.row(RunRow, tenant, run_id)
        if row is None:
            raise NotFoundError(f"{run_id} is not in this ledger")
        return row

    def request_row(self, tenant: str, request_id: str) -> RequestRow:
        """State and answers of a request.

        Raises:
            NotFoundError: the tenant has no such request.
        """
        row = self.row(RequestRow, tenant, request_id)
        if row is None:
            raise NotFoundError(f"{request_id} is not in this ledger")
        return row

    # keys

    def digester(self, tenant: str) -> Digester:
        """What makes a tenant's keyed digests (threat case 102)."""
        kept = self._digesters.get((tenant,))
        return kept or self._digesters.put((tenant,), Digester(derive_tenant_key(self.identity.digest_key, tenant)))

    def token(self, lease: Lease, audience: str, holder: str = "") -> Token:
        """The token of a lease for one tool; `holder` is the thumbprint of the key that it is bound to, if to any.

        Raises:
            Denied: it is that of a break-glass, which agents' doors do not take.
        """
        if lease.agent == BREAK_GLASS:
            raise Denied(
                deny(Reason.BAD_TOKEN, f"{lease.lease_id} is a break-glass; no token of a lease is made for it")
            )
        key = (lease.lease_id, audience, holder)
        kept = self._tokens.get(key)
        return kept or self._tokens.put(key, self.lease_keys.sign(lease, audience, holder or None))

    def held(self, lease: Lease) -> HeldLease:
        """A lease with all its tokens."""
        return HeldLease(lease=lease, tokens={audience: self.token(lease, audience) for audience in lease.audiences})


def _too_fast() -> UnavailableError:
    return UnavailableError("the active policy changes faster than steps are built; try again")


def refusal_error(decision: Decision) -> Denied:
    """The exception that carries a refusal."""
    if decision.reason in WAITING and decision.request_id:
        return ApprovalNeeded(decision, decision.request_id)
    return Denied(decision)


def then(inner: Future[A], convert: Callable[[A], B]) -> Future[B]:
    """A Future of the converted value; failures pass through."""
    outer: Future[B] = Future()

    def finish(done: Future[A]) -> None:
        try:
            outer.set_result(convert(done.result()))
        except Exception as error:  # noqa: BLE001 - whatever goes wrong belongs to the one who waits for the answer
            outer.set_exception(error)

    inner.add_done_callback(finish)
    return outer
