"""What programs may do that call over the network: the proof of a client, its rights, and what it sent before.

Any step can be put behind a client without changing it. The key, the rule and the run's own client are judged in the
same breath as the change, so a key that was removed or a rule that was narrowed a moment ago does nothing any more.
Embedded, who holds the open state submits the steps themselves.
"""

from __future__ import annotations

import hmac
from collections.abc import Callable, Sequence
from typing import ClassVar, Generic, TypeVar

import msgspec
from msgspec.structs import replace

from leasehold.decide.facts import Changes, Facts, Need, Ref, Step, StepAnswer
from leasehold.decide.lifecycles import ClientKeyState
from leasehold.decide.rows import AUTHORITY_WIDE, ClientKeyRow, RunRow, SentRow
from leasehold.ledger.entry import Entry, EntryKind
from leasehold.model.decision import Decision, Reason, allow, deny
from leasehold.model.instant import Instant
from leasehold.model.run import Run
from leasehold.policy.client_rule import DoorRight, RunsRight, WorkloadIdentity
from leasehold.policy.document import Policy

__all__ = [
    "AddClientKey",
    "ClientVoice",
    "ForDoor",
    "ForRun",
    "ForgetSent",
    "RememberSent",
    "Remembered",
    "RemoveClientKey",
    "Sending",
    "client_needs",
    "refuse_client",
    "refuse_door_of",
    "refuse_key",
    "refuse_run_of",
]

A = TypeVar("A")

SENT_SECONDS = 7 * 86_400
"""How long a client may send the same request again. Its own tries end within minutes, those of people within days."""


class ClientVoice(msgspec.Struct, frozen=True, kw_only=True):
    """Which client asks and by what it is known: an API key, a verified token that has this identity, or `redirect`.

    `digest` is the SHA-256 of the key's secret as it was presented. `redirect` is the address to which a person who
    consented is sent back: it says nothing about who asks, so it stands only for what that person let it ask.
    """

    client: str
    key_id: str = ""
    digest: bytes = b""
    identity: WorkloadIdentity | None = None
    redirect: str = ""


class Sending(msgspec.Struct, frozen=True, kw_only=True):
    """The caller's own name for one request, and the digest of all that it says: sent again, both are the same."""

    key: str
    digest: str


class Remembered(msgspec.Struct, Generic[A], frozen=True, kw_only=True):
    """What a step came to: its value, or None where it was sent before, and the id of what was made then or now."""

    subject: str
    value: A | None


def client_needs(voice: ClientVoice) -> list[Need]:
    """The facts that `refuse_client` asks for."""
    return [Ref(ClientKeyRow, (AUTHORITY_WIDE, voice.key_id))] if voice.key_id else []


def refuse_client(facts: Facts, policy: Policy, voice: ClientVoice, now: Instant) -> Decision | None:
    """Why whoever asks is not this client, or not any more."""
    row = facts.get(ClientKeyRow, AUTHORITY_WIDE, voice.key_id) if voice.key_id else None
    return refuse_key(row, policy, voice, now)


def refuse_key(row: ClientKeyRow | None, policy: Policy, voice: ClientVoice, now: Instant) -> Decision | None:
    """The same of a row that was read: one answer for every way to be nobody, so that nothing can be learned of it."""
    rule = policy.clients.get(voice.client)
    if voice.key_id:
        is_known = row is not None and row.client == voice.client and hmac.compare_digest(row.digest, voice.digest)
        is_live = row is not None and row.state == ClientKeyState.ACTIVE and not now.reached(row.expires_at)
    elif voice.redirect:
        is_known = is_live = rule is not None and voice.redirect in rule.redirects
    else:
        is_known = is_live = rule is not None and rule.identity is not None and rule.identity == voice.identity
    if rule is not None and is_known and is_live:
        return None
    return deny(
        Reason.UNKNOWN_CLIENT,
        "this credential is none of a client of the active policy, or it counts no more",
        check="the key is known, not removed and not expired, and the policy names its client",
    )


def refuse_run_of(rule: RunsRight | None, client: str, run: Run) -> Decision | None:
    """Why a client has no right to a run like this one."""
    failing = "runs"
    if rule is not None:
        values = {
            "agents": run.agent,
            "routes": run.route,
            "tenants": run.tenant,
            "environments": run.environment,
        }
        found = rule.failing(values)
        if found is None:
            return None
        failing = f"runs.{found}"
    return deny(
        Reason.CLIENT_MAY_NOT,
        f"{client} has no right to runs of {run.agent} on {run.route} in {run.tenant}, {run.environment}",
        rule=f'clients."{client}".{failing}',
        check=f"{failing} names it",
    )


def refuse_door_of(policy: Policy, client: str, door: DoorRight) -> Decision | None:
    """Why a client of the policy does not stand at a door."""
    if policy.clients[client].door == door:
        return None
    return deny(
        Reason.CLIENT_MAY_NOT,
        f"{client} does not stand at the door of {door.tool} in {door.environment}",
        rule=f'clients."{client}".door',
    )


class ForRun(msgspec.Struct, Generic[A], frozen=True, kw_only=True):
    """A step of a client that has to do with runs. `works_on` is the run that it goes on with, which has to be its
    own; `starts` the one that the step would start."""

    step: Step[A]
    policy_document: Policy
    voice: ClientVoice
    works_on: Run | None = None
    starts: Run | None = None

    @property
    def policy(self) -> str:
        return self.policy_document.hash

    @property
    def needs_clock(self) -> bool:
        return self.step.needs_clock

    def keys(self) -> Sequence[Need]:
        run = self.works_on
        own = [Ref(RunRow, (run.tenant, run.run_id))] if run is not None else []
        return [*client_needs(self.voice), *own, *self.step.keys()]

    def decide(self, facts: Facts, now: Instant) -> tuple[StepAnswer[A], Changes]:
        refusal = refuse_client(facts, self.policy_document, self.voice, now) or self._refuse_runs(facts)
        return (StepAnswer(refusal), Changes()) if refusal is not None else self.step.decide(facts, now)

    def _refuse_runs(self, facts: Facts) -> Decision | None:
        client = self.voice.client
        if self.works_on is not None:
            row = facts.get(RunRow, self.works_on.tenant, self.works_on.run_id)
            if row is None or row.client != client:
                return deny(Reason.NOT_FOUND, f"{self.works_on.run_id} is not in this ledger")
        right = self.policy_document.clients[client].runs
        for run in (self.works_on, self.starts):
            if run is not None and (refusal := refuse_run_of(right, client, run)) is not None:
                return refusal
        return None


class ForDoor(msgspec.Struct, Generic[A], frozen=True, kw_only=True):
    """A step of a guard at one door. `admitted_by` is the client whose admission it ends; None where it ends none."""

    step: Step[A]
    policy_document: Policy
    voice: ClientVoice
    door: DoorRight
    admitted_by: str | None = None

    @property
    def policy(self) -> str:
        return self.policy_document.hash

    @property
    def needs_clock(self) -> bool:
        return self.step.needs_clock

    def keys(self) -> Sequence[Need]:
        return [*client_needs(self.voice), *self.step.keys()]

    def decide(self, facts: Facts, now: Instant) -> tuple[StepAnswer[A], Changes]:
        refusal = refuse_client(facts, self.policy_document, self.voice, now) or self._refuse_door()
        return (StepAnswer(refusal), Changes()) if refusal is not None else self.step.decide(facts, now)

    def _refuse_door(self) -> Decision | None:
        client = self.voice.client
        if (refusal := refuse_door_of(self.policy_document, client, self.door)) is not None:
            return refusal
        if self.admitted_by not in (None, client):
            return deny(Reason.NOT_FOUND, "this call was never admitted here")
        return None


class RememberSent(msgspec.Struct, Generic[A], frozen=True, kw_only=True):
    """A step that a client may send again under the same key: then nothing is decided anew, and what came of it the
    first time is named. Of a refusal nothing is remembered. `name` is the id of what a value is about."""

    step: Step[A]
    client: str
    sending: Sending
    name: Callable[[A], str]

    @property
    def policy(self) -> str | None:
        return self.step.policy

    @property
    def needs_clock(self) -> bool:
        return self.step.needs_clock

    @property
    def _key(self) -> tuple[str, str, str]:
        return (AUTHORITY_WIDE, self.client, self.sending.key)

    def keys(self) -> Sequence[Need]:
        return [Ref(SentRow, self._key), *self.step.keys()]

    def decide(self, facts: Facts, now: Instant) -> tuple[StepAnswer[Remembered[A]], Changes]:
        row = facts.get(SentRow, *self._key)
        if row is not None and now.reached(row.kept_until):
            row = None
        if row is not None and row.digest != self.sending.digest:
            refusal = deny(
                Reason.CONFLICT,
                "this Idempotency-Key was used for another request",
                check="same key, same request",
                enough="a key of its own for each request, kept only for sending that one again",
            )
            return StepAnswer(refusal), Changes()
        if row is not None:
            return StepAnswer(allow(), Remembered(subject=row.subject, value=None)), Changes()
        answer, changes = self.step.decide(facts, now)
        if answer.value is None:
            return StepAnswer(answer.decision), changes
        subject = self.name(answer.value)
        tenant, client, key = self._key
        kept = SentRow(
            tenant=tenant,
            client=client,
            key=key,
            digest=self.sending.digest,
            subject=subject,
            kept_until=now.seconds + SENT_SECONDS,
        )
        value = Remembered(subject=subject, value=answer.value)
        return StepAnswer(answer.decision, value), replace(changes, rows=(*changes.rows, kept))


class ForgetSent(msgspec.Struct, frozen=True, kw_only=True):
    """Take out what clients sent so long ago that nobody sends it again; by client and key. Answers how many."""

    sent: tuple[tuple[str, str], ...]

    policy: ClassVar[None] = None
    needs_clock: ClassVar[bool] = True

    def keys(self) -> Sequence[Need]:
        return [Ref(SentRow, (AUTHORITY_WIDE, *name)) for name in self.sent]

    def decide(self, facts: Facts, now: Instant) -> tuple[StepAnswer[int], Changes]:
        rows = (facts.get(SentRow, AUTHORITY_WIDE, *name) for name in self.sent)
        over = [row for row in rows if row is not None and now.reached(row.kept_until)]
        gone = tuple(Ref(SentRow, (AUTHORITY_WIDE, row.client, row.key)) for row in over)
        return StepAnswer(allow(), len(over)), Changes(gone=gone)


class AddClientKey(msgspec.Struct, frozen=True, kw_only=True):
    """Give a client of the active policy an API key. Only the SHA-256 of its secret is kept."""

    policy_document: Policy
    client: str
    key_id: str
    digest: bytes
    ttl_seconds: int
    by: str

    needs_clock: ClassVar[bool] = True

    @property
    def policy(self) -> str:
        return self.policy_document.hash

    def keys(self) -> Sequence[Need]:
        return [Ref(ClientKeyRow, (AUTHORITY_WIDE, self.key_id))]

    def decide(self, facts: Facts, now: Instant) -> tuple[StepAnswer[ClientKeyRow], Changes]:
        if self.client not in self.policy_document.clients:
            refusal = deny(
                Reason.NOT_FOUND,
                f"the active policy names no client {self.client}",
                enough=f'[clients."{self.client}"] in the policy, accepted',
            )
            return StepAnswer(refusal), Changes()
        if facts.get(ClientKeyRow, AUTHORITY_WIDE, self.key_id) is not None:
            return StepAnswer(deny(Reason.CONFLICT, "there is a key of this id; make another")), Changes()
        row = ClientKeyRow(
            tenant=AUTHORITY_WIDE,
            key_id=self.key_id,
            client=self.client,
            digest=self.digest,
            state=ClientKeyState.ACTIVE,
            made_at=now.seconds,
            expires_at=now.seconds + self.ttl_seconds,
        )
        detail: dict[str, str | int | tuple[str, ...]] = {
            "client": self.client,
            "key": self.key_id,
            "expires_at": row.expires_at,
            "by": self.by,
        }
        return StepAnswer(allow(), row), Changes(
            rows=(row,), entries=(Entry(kind=EntryKind.CLIENT_KEY_ADDED, policy=self.policy, detail=detail),)
        )


class RemoveClientKey(msgspec.Struct, frozen=True, kw_only=True):
    """Take an API key away: it opens nothing from here on."""

    key_id: str
    by: str

    policy: ClassVar[None] = None
    needs_clock: ClassVar[bool] = False

    def keys(self) -> Sequence[Need]:
        return [Ref(ClientKeyRow, (AUTHORITY_WIDE, self.key_id))]

    def decide(self, facts: Facts, now: Instant) -> tuple[StepAnswer[ClientKeyRow], Changes]:
        row = facts.get(ClientKeyRow, AUTHORITY_WIDE, self.key_id)
        if row is None or row.state == ClientKeyState.REMOVED:
            return StepAnswer(deny(Reason.NOT_FOUND, f"there is no key {self.key_id}")), Changes()
        gone = replace(row, state=ClientKeyState.REMOVED)
        entry = Entry(
            kind=EntryKind.CLIENT_KEY_REMOVED, detail={"client": row.client, "key": row.key_id, "by": self.by}
        )
        return StepAnswer(allow(), gone), Changes(rows=(gone,), entries=(entry,))
