"""The replay of `leasehold policy diff --backtest`: calls out of the ledger, read beside whoever writes it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from leasehold.assemble import open_reader
from leasehold.cli.past_people import PastPeople
from leasehold.cli.session import Session
from leasehold.decide.rows import AUTHORITY_WIDE
from leasehold.errors import StoreError
from leasehold.ledger.entry import Entry, EntryKind, decode_entry
from leasehold.model.canonical import decode
from leasehold.model.effect import ApprovalMode
from leasehold.model.instant import Instant
from leasehold.model.plain import escape
from leasehold.policy.backtest import Backtest, PastCall, Replayed
from leasehold.policy.document import Policy
from leasehold.policy.past_word import PastWord
from leasehold.store.queries import Queries

__all__ = ["LIMITS", "Past", "backtest_lines", "backtest_value", "open_past"]

_SLICE = 2_000
_PROGRESS = 100_000
_CALLS = frozenset({EntryKind.CALL_ADMITTED, EntryKind.CALL_DENIED})

LIMITS = (
    "of a call the ledger has the attributes that its policy named then, no other values",
    "calls that still wait for people, and denials past a run's 200th, which are only counted, are not among these",
    "leases, expiry, stops and budgets are left out: only what the policies themselves say is compared",
)


class Past:
    """The ledger and the policies of one state, only read."""

    def __init__(self, queries: Queries) -> None:
        self._queries = queries
        self._policies: dict[str, Policy] = {}

    def active(self) -> Policy:
        """The policy that is active now."""
        return self.policy(self._queries.control().policy)

    def policy(self, digest: str) -> Policy:
        """A policy by its hash.

        Raises:
            StoreError: the state does not have it.
        """
        if digest not in self._policies:
            body = self._queries.document(AUTHORITY_WIDE, digest) if digest else None
            if body is None:
                raise StoreError(f"this state has no policy {digest or 'yet'}")
            self._policies[digest] = Policy.from_json(decode(body))
        return self._policies[digest]

    def replay(self, session: Session, new: Policy, since: Instant | None) -> Backtest:
        """Judge every recorded call anew, slice by slice; on a long ledger stderr says how far."""
        backtest, people, size = Backtest(new), PastPeople(self.policy), self._queries.control().size
        for begin in range(0, size, _SLICE):
            if begin and begin % _PROGRESS == 0:
                session.say(f"{begin} of {size} entries")
            for line in self._queries.ledger(begin, min(begin + _SLICE, size)):
                entry = decode_entry(line.body)
                people.see(entry)
                if entry.kind in _CALLS and (since is None or entry.time_ms >= since):
                    old = self.policy(entry.policy)
                    backtest.add(_past_call(entry, old, people.words(entry)), old)
        return backtest


@contextmanager
def open_past(session: Session) -> Iterator[Past]:
    """The state's database for reading alone.

    Raises:
        ConfigError: there is no state.
        StoreError: the database cannot be read.
    """
    reader = open_reader(session.files())
    try:
        yield Past(reader.queries)
    finally:
        reader.close()


def _past_call(entry: Entry, old: Policy, words: tuple[PastWord, ...]) -> PastCall:
    is_admitted = entry.kind is EntryKind.CALL_ADMITTED
    has_values = entry.attributes.keys() == old.action(entry.action).args.keys()
    above = entry.detail.get("run_chain", ())
    quorum = entry.detail.get("quorum", 0)
    return PastCall(
        index=entry.index,
        is_admitted=is_admitted,
        route=entry.route,
        agent=entry.agent,
        tenant=entry.tenant,
        environment=entry.environment,
        action=entry.action,
        attributes=entry.attributes if has_values else None,
        made_at=entry.time_ms // 1000,
        requested_by=entry.requested_by,
        depth=len(above) - 1 if is_admitted and isinstance(above, tuple) else len(entry.parents),
        mode=ApprovalMode(str(entry.detail.get("approval", ApprovalMode.NONE))),
        quorum=quorum if isinstance(quorum, int) else 0,
        words=words,
    )


def backtest_lines(backtest: Backtest) -> list[str]:
    """What would fare differently, a line for each group, then the totals and what could not be told."""
    return [
        *map(_group_words, backtest.groups()),
        f"{backtest.calls} calls replayed, {backtest.same} would fare as they did",
        *(f"not told: {limit}" for limit in LIMITS),
    ]


def _group_words(group: Replayed) -> str:
    examples = ", ".join(map(str, group.examples))
    return escape(
        f"{group.was} -> {group.now}: {group.count} x {group.route} {group.action}; {group.rule}; entries {examples}"
    )


def backtest_value(backtest: Backtest) -> dict[str, object]:
    """The same as data."""
    return {
        "calls": backtest.calls,
        "same": backtest.same,
        "groups": backtest.groups(),
        "not_told": list(LIMITS),
    }
