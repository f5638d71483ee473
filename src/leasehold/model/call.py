"""One proposed use of a lease, the admission that answers it, and how it went. For guard, authority, decide."""

from __future__ import annotations

from enum import StrEnum

import msgspec

from leasehold.errors import InvalidError
from leasehold.model.budget import CHILDREN, MAX_AMOUNT, check_amounts
from leasehold.model.effect import Effect
from leasehold.model.grant import Grant, check_action
from leasehold.model.ids import AdmissionId, LeaseId, RequestId, RunId, check_id
from leasehold.model.lease import Token
from leasehold.model.preview import PreviewMade
from leasehold.model.text import check_text, check_unicode

__all__ = [
    "MAX_KEY",
    "MAX_REPORT_BYTES",
    "Admission",
    "Call",
    "CallState",
    "HolderProof",
    "Outcome",
    "OutcomeStatus",
    "ParentCall",
    "Settlement",
    "check_key",
]

MAX_KEY = 200
MAX_REPORT_BYTES = 16_384


class CallState(StrEnum):
    """Where an admitted call stands."""

    ADMITTED = "admitted"
    DONE = "done"
    FAILED = "failed"
    NOT_STARTED = "not_started"
    UNKNOWN = "unknown"


class OutcomeStatus(StrEnum):
    """What a guard may report; `unknown` is never reported, it is concluded."""

    DONE = "done"
    FAILED = "failed"
    NOT_STARTED = "not_started"


class ParentCall(msgspec.Struct, frozen=True, kw_only=True):
    """The open call on whose behalf a sub-call is made, and what it was narrowed to: one more link to be judged."""

    admission_id: AdmissionId
    allow: dict[str, Grant]


class HolderProof(msgspec.Struct, frozen=True, kw_only=True):
    """The proof of possession that came with a bound token (RFC 9449), and the request that it came with.

    `url` is where that request went, as its sender wrote it, without query.
    """

    jwt: str
    method: str
    url: str


class Call(msgspec.Struct, frozen=True, kw_only=True):
    """One proposed use: the action, the canonical JSON bytes of its arguments, and the ids that make a retry safe.

    `admission_id` is made by the guard for each try; only re-sending that id returns the same admission. `key` is the
    idempotency key of a write. `call_id` is the caller's own name for the call, recorded and never decided on.
    `tool_authority` says that the function takes no capability and so holds whatever authority it has by itself.
    `tool_schema` is the digest of the function's schema and description, where the guard knows them: what people
    approved is a call of this function. `preview` is what the tool's own preview said just now. `holder_proof` came
    with the token; it is no part of what is called.
    """

    action: str
    arguments: bytes
    admission_id: AdmissionId
    key: str | None = None
    call_id: str = ""
    trace_id: str = ""
    parent: ParentCall | None = None
    tool_authority: bool = False
    tool_schema: str = ""
    preview: PreviewMade | None = None
    holder_proof: HolderProof | None = None

    def __post_init__(self) -> None:
        check_action(self.action)
        check_id(self.admission_id, "adm")
        if self.key is not None:
            check_key(self.key)
        for name in ("call_id", "trace_id", "tool_schema"):
            if len(check_unicode(getattr(self, name), name)) > MAX_KEY:
                raise InvalidError(f"{name} has more than {MAX_KEY} characters")


def check_key(key: str) -> str:
    """Return `key` if it may be an idempotency key: 1 to 200 visible characters.

    Raises:
        InvalidError: it may not.
    """
    if not isinstance(key, str) or not 1 <= len(key) <= MAX_KEY:
        raise InvalidError(f"an idempotency key has 1 to {MAX_KEY} characters")
    return check_text(key, "idempotency key")


class Admission(msgspec.Struct, frozen=True, kw_only=True):
    """The authority's leave to start one call, once.

    `start_within_ms` counts on the guard's boot-time clock from before it asked, and so does `finish_within_ms`
    where it is given; `finish_by` is a Unix second after which an unsettled call is `unknown`. `grant` is the
    lease's grant narrowed to this call's attributes. `reserved` is in millionths. The chains run from the root to
    this call's own lease. `is_milestone` says that other actions of its run may wait for it. `client` is the guard that
    was admitted over the network, empty where it held the open state. `callers` are the actions of the calls on whose
    behalf it is made, the nearest first. `uses` are the sub-actions that the action declares. What the lease grants of
    them, narrowed to this call where attributes have equal names, and the tokens of their tools are attached when
    answering and never stored: `sub_grants` by action, `tokens` by tool.
    """

    admission_id: AdmissionId
    tenant: str
    environment: str
    run_id: RunId
    parent_run: RunId | None
    attempt: int
    request_id: RequestId
    lease_id: LeaseId
    agent: str
    requested_by: str
    action: str
    effect: Effect
    grant: Grant
    key: str | None
    approval: RequestId | None
    approved_by: tuple[str, ...]
    capability: str
    arguments_digest: str
    lease_chain: tuple[LeaseId, ...]
    run_chain: tuple[RunId, ...]
    request_chain: tuple[RequestId, ...]
    agents: tuple[str, ...]
    reserved: dict[str, int]
    ending: tuple[RequestId, ...]
    start_within_ms: int
    finish_by: int
    finish_within_ms: int | None = None
    trace_id: str = ""
    call_id: str = ""
    route: str = ""
    parent_admission: AdmissionId | None = None
    callers: tuple[str, ...] = ()
    is_milestone: bool = False
    uses: tuple[str, ...] = ()
    client: str = ""
    sub_grants: dict[str, Grant] = {}
    tokens: dict[str, Token] = {}

    def __repr__(self) -> str:
        """Without the tokens of `uses`."""
        return f"<Admission {self.admission_id} of {self.action} under {self.lease_id}>"

    @property
    def stands_under(self) -> tuple[str, ...]:
        """Its action and those of its callers: what a stop may name, with all that these imply."""
        return (self.action, *self.callers)

    @property
    def accounts(self) -> tuple[str, ...]:
        """The accounts that it draws on: the root run, and each request of its chain."""
        return (self.run_chain[0], *self.request_chain)


class Outcome(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What the guard saw. Durations and costs are in millionths; digests are never of secrets, values never stored.

    `no_effect` is the tool's own word that a failed call changed nothing. All names and words together take at most
    16384 bytes as JSON: they stand in an entry, several times in the receipt, and no tool may make that too large.
    """

    status: OutcomeStatus
    duration_micros: int = 0
    cost: dict[str, int] = {}
    touched: tuple[str, ...] = ()
    files: tuple[str, ...] = ()
    contacted: tuple[str, ...] = ()
    result_digest: str = ""
    error: str = ""
    no_effect: bool = False

    def __post_init__(self) -> None:
        if not 0 <= self.duration_micros <= MAX_AMOUNT:
            raise InvalidError(f"a duration is 0 to {MAX_AMOUNT} microseconds")
        if self.cost:
            check_amounts(self.cost, "cost")
            if CHILDREN in self.cost:
                raise InvalidError(f"{CHILDREN} are counted when they start; report other units")
        if (size := self._size_of_words()) > MAX_REPORT_BYTES:
            raise InvalidError(f"an outcome says {size} bytes; {MAX_REPORT_BYTES} are allowed")

    def _size_of_words(self) -> int:
        try:
            return len(_WORDS.encode((self.touched, self.files, self.contacted, self.result_digest, self.error)))
        except UnicodeEncodeError:
            raise InvalidError("an outcome holds a lone surrogate, which is no Unicode text") from None


_WORDS = msgspec.json.Encoder()


class Settlement(msgspec.Struct, frozen=True, kw_only=True):
    """The answer to a settle: where the call stands now, what was charged, and which units went over."""

    state: CallState
    charged: dict[str, int]
    overrun: tuple[str, ...] = ()
    late: bool = False
