"""Reading the ledger for what people are to be told: from the cursor on, entry by entry, into rows to deliver.

Used by the outbox. Nothing that decides waits for it. Each entry is told over the channels of the policy that was in
force there, so that accepting a policy without a channel is still told over it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping

from leasehold.authority.engine import Engine, Kept
from leasehold.decide.documents import decode_admission
from leasehold.decide.lifecycles import DeliveryState
from leasehold.decide.notices import CURSOR, Enqueue
from leasehold.decide.rows import AUTHORITY_WIDE, CallRow, CursorRow, DeliveryRow, RequestRow
from leasehold.ledger.entry import Entry, EntryKind, decode_entry
from leasehold.model.instant import Instant
from leasehold.model.notice import ChannelKind, NoticeEvent
from leasehold.notices.events import FOLLOWS, Event, glance, low_budget_events, notice_events
from leasehold.policy.document import NoticeRule, Policy
from leasehold.store.queries import MAX_LISTED
from leasehold.system import make_id

__all__ = ["LedgerReader"]

_SAVE_EVERY = 1000
_MOST_REQUESTS = 10_000


class LedgerReader:
    """Where one process is in the ledger. Owned by the outbox's thread.

    It may be ahead of the stored cursor by entries that told nothing; those are read again after a crash.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._cursor: CursorRow | None = None
        self._position = 0
        self._policy: Policy | None = None
        self._accounts: Kept[tuple[str, ...]] = Kept(_MOST_REQUESTS)

    def take_up(self) -> CursorRow | None:
        """The stored cursor, from which reading goes on; None while no policy from there on names a channel."""
        cursor = self._engine.row(CursorRow, AUTHORITY_WIDE, CURSOR)
        if cursor is None or cursor.is_parked:
            self._cursor = None
            return None
        if cursor != self._cursor:
            self._cursor, self._position = cursor, cursor.position
            self._policy = self._engine.policy(cursor.policy) if cursor.policy else None
        return cursor

    def forget(self) -> None:
        """Take up again where the stored cursor stands: what was read may not have been written down."""
        self._cursor = None

    def read(self, cursor: CursorRow) -> Enqueue | None:
        """Read a slice of entries on from what `take_up` answered; answers a step if there is something to write down.

        None where nothing told anything; `is_at_end` says whether there is more.
        """
        lines = self._engine.store.queries.ledger(self._position, self._position + MAX_LISTED)
        rows: list[DeliveryRow] = []
        ended: dict[tuple[str, str], tuple[str, int]] = {}
        for line in lines:
            seen = glance(line.body)
            if seen.ends_a_call:
                ended[(seen.tenant, seen.request)] = (seen.admission, line.index)
            if seen.may_be_told:
                entry = decode_entry(line.body)
                rows += self._rows_of(entry)
                if entry.kind is EntryKind.POLICY_ACCEPTED:
                    self._policy = self._engine.policy(entry.policy)
        rows += self._low_budgets(ended)
        self._position += len(lines)
        read = self._position - cursor.position
        is_silent = self._policy is None or not self._policy.notices
        if not rows and read < _SAVE_EVERY and not (is_silent and self.is_at_end()):
            return None
        made = {row.delivery_id: row for row in rows}
        return Enqueue(
            base=cursor.position,
            position=self._position,
            policy_there=self._policy,
            deliveries=tuple(made.values()),
        )

    def is_at_end(self) -> bool:
        """Whether every committed entry was read."""
        return self._position >= self._engine.store.queries.control().size

    # from entries to rows

    def _rows_of(self, entry: Entry) -> Iterator[DeliveryRow]:
        rules = list(self._rules(entry))
        if not rules:
            return
        for event in self._events(entry):
            for rule, policy in rules:
                if _wants(rule, event):
                    yield self._row(event, rule, policy)

    def _rules(self, entry: Entry) -> Iterator[tuple[NoticeRule, str]]:
        """The channels in force at an entry, each with the policy that names it; a policy that begins adds its own."""
        before = self._policy.notices if self._policy is not None else {}
        yield from ((rule, self._policy.hash if self._policy else "") for rule in before.values())
        if entry.kind is EntryKind.POLICY_ACCEPTED:
            after = self._engine.policy(entry.policy)
            yield from ((rule, after.hash) for name, rule in after.notices.items() if name not in before)

    def _events(self, entry: Entry) -> tuple[Event, ...]:
        requests: tuple[RequestRow, ...] = ()
        if entry.kind is EntryKind.RUN_FINISHED:
            requests = self._engine.store.queries.requests_of_run(entry.tenant, entry.run)
        return notice_events(entry, requests)

    def _low_budgets(self, ended: Mapping[tuple[str, str], tuple[str, int]]) -> Iterator[DeliveryRow]:
        """What the calls of a slice used up: looked at once for each request, however many calls it made."""
        policy = self._policy
        if policy is None or not any(NoticeEvent.BUDGET_LOW in rule.events for rule in policy.notices.values()):
            return
        queries = self._engine.store.queries
        for (tenant, request), (admission, index) in ended.items():
            names = self._account_names(tenant, request, admission)
            accounts = [account for name in names for account in queries.accounts(tenant, name)]
            for event in low_budget_events(index, accounts):
                for rule in policy.notices.values():
                    if _wants(rule, event):
                        yield self._row(event, rule, policy.hash)

    def _account_names(self, tenant: str, request: str, admission: str) -> tuple[str, ...]:
        """The accounts that a request's calls draw on: its own, those of the requests above it, the root run's."""
        names = self._accounts.get((tenant, request))
        if names is None:
            call = self._engine.row(CallRow, tenant, admission)
            names = tuple(dict.fromkeys(decode_admission(call.body).accounts)) if call is not None else ()
            self._accounts.put((tenant, request), names)
        return names

    def _row(self, event: Event, rule: NoticeRule, policy: str) -> DeliveryRow:
        return DeliveryRow(
            tenant=event.tenant,
            delivery_id=_stable_id(self._engine.identity.issuer, rule.name, event.identity),
            channel=rule.name,
            event=event.event,
            subject=event.subject,
            entry=event.entry,
            policy=policy,
            state=DeliveryState.WAITING,
            attempts=0,
            due_ms=int(self._engine.system.now()),
            claim="",
            reference="",
            fault="",
        )


def _wants(rule: NoticeRule, event: Event) -> bool:
    """Whether a channel is told: it asks for the event, or shows copies that the event makes untrue."""
    if not rule.is_for(event.tenant) or event.subject == f"channel {rule.name}":
        return False
    rewrites = rule.kind is ChannelKind.SLACK and FOLLOWS.get(event.event, frozenset()) & set(rule.events)
    return event.event in rule.events or bool(rewrites)


def _stable_id(issuer: str, channel: str, identity: str) -> str:
    """The id by which receivers know a notice again: it follows from what is told, not from who tells it or when."""
    digest = hashlib.sha256(f"{issuer}\n{channel}\n{identity}".encode()).digest()
    return make_id("ntc", Instant(int.from_bytes(digest[:6], "big")), digest[6:16])
