"""The mutable facts, one frozen struct per table. Stores map them column by column, in the order of the fields; the
structs are array-like so that a store turns the columns it read into checked rows in one call.

Counters stand apart from documents: a document is immutable and may be cached for ever, a row never is. The tenant is
the first column of every key (invariant I10).
"""

from __future__ import annotations

from collections.abc import Collection
from typing import ClassVar, TypeAlias

import msgspec

__all__ = [
    "AUTHORITY_WIDE",
    "TABLES",
    "AccountRow",
    "BreakerRow",
    "CallRow",
    "CardRow",
    "ClientKeyRow",
    "ControlRow",
    "CursorRow",
    "DeliveryRow",
    "DocumentRow",
    "GlassRow",
    "KeyRow",
    "LeaseRow",
    "MilestoneRow",
    "PersonRow",
    "ProposalRow",
    "RequestRow",
    "Row",
    "RunRow",
    "SeenRow",
    "SentRow",
    "SessionRow",
    "SigningKeyRow",
    "StopRow",
]

AUTHORITY_WIDE = ""
"""The tenant of rows that stand above tenants: people, policies, holds of everything."""


class ControlRow(msgspec.Struct, frozen=True, kw_only=True, array_like=True):
    """The one row of a log: epoch, active policy, last recorded time, tree size and its right edge.

    `epoch_since` and `policy_since` are the ledger indexes from which epoch and policy count: what waited for people
    or vouched for them before is of another time, also where an earlier policy is active again. `epoch_at` is when the
    epoch began (Unix seconds; 0 is the first). `last_time_ms`, `size` and `frontier` are advanced by the lane with
    every commit; the rest by steps.
    """

    TABLE: ClassVar[str] = "control"
    KEY: ClassVar[tuple[str, ...]] = ("log",)
    IMMUTABLE: ClassVar[bool] = False

    log: str
    issuer: str
    epoch: int
    epoch_since: int
    policy: str
    policy_since: int
    last_time_ms: int
    size: int
    frontier: bytes
    epoch_at: int = 0

    def is_of_this_epoch(self, recorded: int) -> bool:
        """Whether what was recorded at this index is of the current epoch: a restore revives nothing older."""
        return recorded >= self.epoch_since

    def may_be_forgotten(self, at: int, *, ahead: int) -> bool:
        """Whether what is dated `at`, and may be used so many seconds before its time, can have been used before this
        epoch: a database that was put back does not remember, and what counts once would count again."""
        return self.epoch_at > 0 and at <= self.epoch_at + ahead

    def is_of_this_policy(self, recorded: int) -> bool:
        """Whether what was recorded at this index was so since the active policy became active."""
        return recorded >= max(self.epoch_since, self.policy_since)


class DocumentRow(msgspec.Struct, frozen=True, kw_only=True, array_like=True):
    """An immutable document by id or hash: run, request, lease, policy. Written once, never changed."""

    TABLE: ClassVar[str] = "documents"
    KEY: ClassVar[tuple[str, ...]] = ("tenant", "id")
    IMMUTABLE: ClassVar[bool] = True

    tenant: str
    id: str
    body: bytes


class CardRow(msgspec.Struct, frozen=True, kw_only=True, array_like=True):
    """A card exactly as it was shown, by digest; the one document that may be erased. Its body is empty then."""

    TABLE: ClassVar[str] = "cards"
    KEY: ClassVar[tuple[str, ...]] = ("tenant", "digest")
    IMMUTABLE: ClassVar[bool] = False

    tenant: str
    digest: str
    body: bytes


class RunRow(msgspec.Struct, frozen=True, kw_only=True, array_like=True):
    """State and newest attempt of a run; `recorded` is the ledger index it was started at.

    `revoked` and `held` are 0 or 1, here and in requests and leases: a stop of exactly this thing. `denials` counts
    every refused call, question and draw, also past the denial budget, and every question that was put to people.
    `client` is the program that started it over the network (empty: whoever held the open state), and goes on with it.
    """

    TABLE: ClassVar[str] = "runs"
    KEY: ClassVar[tuple[str, ...]] = ("tenant", "run_id")
    IMMUTABLE: ClassVar[bool] = False

    tenant: str
    run_id: str
    state: str
    attempt: int
    expires_at: int
    recorded: int
    denials: int
    revoked: int
    held: int
    agent: str
    requested_by: str
    environment: str
    route: str
    parent_run: str
    client: str = ""


class RequestRow(msgspec.Struct, frozen=True, kw_only=True, array_like=True):
    """State of a request. `answers` is the JSON of the answers; `used_by` the admission of a used call request, or
    what took the place of a superseded one; `ending` the admission that is ending it (empty: none); `bond` the JSON of
    what an approval is bound to besides the call itself (`leasehold.decide.bond`)."""

    TABLE: ClassVar[str] = "requests"
    KEY: ClassVar[tuple[str, ...]] = ("tenant", "request_id")
    IMMUTABLE: ClassVar[bool] = False

    tenant: str
    request_id: str
    run_id: str
    kind: str
    state: str
    attempt: int
    answer_by: int
    use_by: int
    recorded: int
    call_digest: str
    card_digest: str
    answers: bytes
    used_by: str
    ending: str
    bond: bytes
    revoked: int
    held: int


class LeaseRow(msgspec.Struct, frozen=True, kw_only=True, array_like=True):
    """The recorded end of a lease: `active` until a sweep or a step wrote down why it ended."""

    TABLE: ClassVar[str] = "leases"
    KEY: ClassVar[tuple[str, ...]] = ("tenant", "lease_id")
    IMMUTABLE: ClassVar[bool] = False

    tenant: str
    lease_id: str
    run_id: str
    request_id: str
    state: str
    issued_at: int
    expires_at: int
    recorded: int
    revoked: int
    held: int


class AccountRow(msgspec.Struct, frozen=True, kw_only=True, array_like=True):
    """What one run or request may spend of one unit, and where it stands, in millionths."""

    TABLE: ClassVar[str] = "accounts"
    KEY: ClassVar[tuple[str, ...]] = ("tenant", "account", "unit")
    IMMUTABLE: ClassVar[bool] = False

    tenant: str
    account: str
    unit: str
    limit: int
    settled: int
    reserved: int
    unknown: int


class CallRow(msgspec.Struct, frozen=True, kw_only=True, array_like=True):
    """An admitted call and how it went. `body` is the JSON of its admission.

    `late` is what its guard reported after the call was concluded to be unknown; empty where it reported nothing then.
    """

    TABLE: ClassVar[str] = "calls"
    KEY: ClassVar[tuple[str, ...]] = ("tenant", "admission_id")
    IMMUTABLE: ClassVar[bool] = False

    tenant: str
    admission_id: str
    run_id: str
    state: str
    finish_by: int
    late: str
    body: bytes


class KeyRow(msgspec.Struct, frozen=True, kw_only=True, array_like=True):
    """The idempotency key of one write: what it was first used for and how that went."""

    TABLE: ClassVar[str] = "keys"
    KEY: ClassVar[tuple[str, ...]] = ("tenant", "run_id", "action", "key")
    IMMUTABLE: ClassVar[bool] = False

    tenant: str
    run_id: str
    action: str
    key: str
    digest: str
    admission_id: str
    state: str


class MilestoneRow(msgspec.Struct, frozen=True, kw_only=True, array_like=True):
    """Whether a run has done an action that others come after. `open` is the JSON of its calls in flight: id, end."""

    TABLE: ClassVar[str] = "milestones"
    KEY: ClassVar[tuple[str, ...]] = ("tenant", "run_id", "action")
    IMMUTABLE: ClassVar[bool] = False

    tenant: str
    run_id: str
    action: str
    is_done: int
    open: bytes


class StopRow(msgspec.Struct, frozen=True, kw_only=True, array_like=True):
    """A stop of a scope wider than one lease, request or run; `kind` is `revoke` or `hold`.

    A revoke kills everything recorded before `recorded`; it goes inactive once nothing that old is open any more. A
    hold lets nothing start until it is lifted. The active ones are few, so an admission reads all of its tenant's.
    """

    TABLE: ClassVar[str] = "stops"
    KEY: ClassVar[tuple[str, ...]] = ("tenant", "scope", "kind")
    IMMUTABLE: ClassVar[bool] = False

    tenant: str
    scope: str
    kind: str
    is_active: int
    recorded: int
    at: int
    by: str
    reason: str


class BreakerRow(msgspec.Struct, frozen=True, kw_only=True, array_like=True):
    """How the newest calls of one route in one tenant went, the newest last: `1` speaks against it, `0` does not.

    `settled` are ended calls, `asked` those that were asked for. Only of routes that declare a breaker.
    """

    TABLE: ClassVar[str] = "breakers"
    KEY: ClassVar[tuple[str, ...]] = ("tenant", "route")
    IMMUTABLE: ClassVar[bool] = False

    tenant: str
    route: str
    settled: str
    asked: str


class CursorRow(msgspec.Struct, frozen=True, kw_only=True, array_like=True):
    """How far a reader of the ledger has come: entries before `position` are dealt with.

    `policy` is the hash of the policy that was in force there. `is_parked` is 1 while that reader has nothing to do:
    whoever gives it something again sets the position anew.
    """

    TABLE: ClassVar[str] = "cursors"
    KEY: ClassVar[tuple[str, ...]] = ("tenant", "name")
    IMMUTABLE: ClassVar[bool] = False

    tenant: str
    name: str
    position: int
    policy: str
    is_parked: int


class DeliveryRow(msgspec.Struct, frozen=True, kw_only=True, array_like=True):
    """One notice on its way over one channel. `subject` is what it is about; copies of one subject follow each other.

    `entry` is the ledger index of what happened, `policy` the hash of the policy in force there. While it is `waiting`
    nobody tries before `due_ms`; who tries puts its own random `claim` there and `due_ms` to when the claim is void.
    `reference` names the posted copy where the channel can change it later; `fault` says why the last try failed.
    """

    TABLE: ClassVar[str] = "deliveries"
    KEY: ClassVar[tuple[str, ...]] = ("tenant", "delivery_id")
    IMMUTABLE: ClassVar[bool] = False

    tenant: str
    delivery_id: str
    channel: str
    event: str
    subject: str
    entry: int
    policy: str
    state: str
    attempts: int
    due_ms: int
    claim: str
    reference: str
    fault: str


class GlassRow(msgspec.Struct, frozen=True, kw_only=True, array_like=True):
    """Where a break-glass stands. `review_by` is 0 until it is closed, `reviewed_by` empty until it was reviewed."""

    TABLE: ClassVar[str] = "glasses"
    KEY: ClassVar[tuple[str, ...]] = ("tenant", "glass_id")
    IMMUTABLE: ClassVar[bool] = False

    tenant: str
    glass_id: str
    state: str
    opener: str
    second: str
    route: str
    ends_at: int
    review_by: int
    reviewed_by: str
    recorded: int


class PersonRow(msgspec.Struct, frozen=True, kw_only=True, array_like=True):
    """By what a person is known: the public half of their key (empty: none), and the JSON of their sign-ins."""

    TABLE: ClassVar[str] = "people"
    KEY: ClassVar[tuple[str, ...]] = ("tenant", "person")
    IMMUTABLE: ClassVar[bool] = False

    tenant: str
    person: str
    public_key: bytes
    state: str
    recorded: int
    sign_ins: bytes = b"[]"


class SessionRow(msgspec.Struct, frozen=True, kw_only=True, array_like=True):
    """A person who is signed in, under the digest of an id that only their browser has.

    It counts while its sign-in stands in the person's row, until `expires_at`, not too long after `seen_at`, and in the
    epoch that it was recorded in.
    """

    TABLE: ClassVar[str] = "sessions"
    KEY: ClassVar[tuple[str, ...]] = ("tenant", "session")
    IMMUTABLE: ClassVar[bool] = False

    tenant: str
    session: str
    person: str
    sign_in: str
    method: str
    state: str
    authenticated_at: int
    seen_at: int
    expires_at: int
    recorded: int


class SeenRow(msgspec.Struct, frozen=True, kw_only=True, array_like=True):
    """What was used in one second and counts once: digests with spaces between. The slots are a ring (`once`). Beside
    them, how often somebody tried at break-glass since a second (`glass_tries`), and who edited a call (`edited`)."""

    TABLE: ClassVar[str] = "seen"
    KEY: ClassVar[tuple[str, ...]] = ("tenant", "slot")
    IMMUTABLE: ClassVar[bool] = False

    tenant: str
    slot: str
    second: int
    seen: str


class ClientKeyRow(msgspec.Struct, frozen=True, kw_only=True, array_like=True):
    """One API key of a client: the SHA-256 of its 256 random bits, and how long it counts (Unix seconds)."""

    TABLE: ClassVar[str] = "client_keys"
    KEY: ClassVar[tuple[str, ...]] = ("tenant", "key_id")
    IMMUTABLE: ClassVar[bool] = False

    tenant: str
    key_id: str
    client: str
    digest: bytes
    state: str
    made_at: int
    expires_at: int


class SentRow(msgspec.Struct, frozen=True, kw_only=True, array_like=True):
    """What a client sent under a key of its own: the digest of the request, and the id of what came of it.

    From `kept_until` (Unix seconds) on it is as if it had never been sent, whether or not it was swept away.
    """

    TABLE: ClassVar[str] = "sent"
    KEY: ClassVar[tuple[str, ...]] = ("tenant", "client", "key")
    IMMUTABLE: ClassVar[bool] = False

    tenant: str
    client: str
    key: str
    digest: str
    subject: str
    kept_until: int


class ProposalRow(msgspec.Struct, frozen=True, kw_only=True, array_like=True):
    """A policy that waits for a second person, by its hash; the newest proposal of it. `widening` is a digest.

    It is void at `answer_by` (Unix seconds), whether or not anybody has written that down.
    """

    TABLE: ClassVar[str] = "policy_proposals"
    KEY: ClassVar[tuple[str, ...]] = ("tenant", "policy")
    IMMUTABLE: ClassVar[bool] = False

    tenant: str
    policy: str
    proposal_id: str
    state: str
    replaces: str
    widening: str
    person: str
    key_id: str
    proposed_at: int
    answer_by: int
    recorded: int


class SigningKeyRow(msgspec.Struct, frozen=True, kw_only=True, array_like=True):
    """The newest key with which a process of this authority signs one type of document, or soon will.

    Keys stand in files that each machine has a copy of. This row is how a machine that lacks the newest is told so, and
    nothing else: no key is trusted or distrusted for it.
    """

    TABLE: ClassVar[str] = "signing_keys"
    KEY: ClassVar[tuple[str, ...]] = ("tenant", "document")
    IMMUTABLE: ClassVar[bool] = False

    tenant: str
    document: str
    kid: str
    made_at: int

    def is_ahead_of(self, kids: Collection[str], made_at: int) -> bool:
        """Whether it came after a ring of these keys, whose newest was made then.

        A ring from which it was lost is not behind any more once it was rotated.
        """
        return self.kid not in kids and self.made_at >= made_at


Row: TypeAlias = (
    ControlRow
    | DocumentRow
    | CardRow
    | RunRow
    | RequestRow
    | LeaseRow
    | AccountRow
    | CallRow
    | KeyRow
    | MilestoneRow
    | StopRow
    | BreakerRow
    | CursorRow
    | DeliveryRow
    | GlassRow
    | PersonRow
    | ProposalRow
    | SeenRow
    | ClientKeyRow
    | SentRow
    | SessionRow
    | SigningKeyRow
)

TABLES: tuple[type[Row], ...] = (
    ControlRow,
    DocumentRow,
    CardRow,
    RunRow,
    RequestRow,
    LeaseRow,
    AccountRow,
    CallRow,
    KeyRow,
    MilestoneRow,
    StopRow,
    BreakerRow,
    CursorRow,
    DeliveryRow,
    GlassRow,
    PersonRow,
    ProposalRow,
    SeenRow,
    ClientKeyRow,
    SentRow,
    SessionRow,
    SigningKeyRow,
)
