"""Who approved what, and what providers had proven of them, as a ledger tells it from its first entry on.

It keeps the approvals of runs that are open and the last sign-ins of people at providers, so a ledger of any length can
be read through it. Called by `backtest`.
"""

from __future__ import annotations

from collections.abc import Callable

from msgspec.structs import replace

from leasehold.ledger.detail import number, text, texts
from leasehold.ledger.entry import Entry, EntryKind
from leasehold.model.request import Verdict
from leasehold.policy.document import Policy
from leasehold.policy.past_word import PastWord, Proven, Vouching

__all__ = ["PastPeople"]


class PastPeople:
    """What was known at the entry that was seen last. Owned by the one who reads the ledger; `policy` finds one by its
    hash."""

    def __init__(self, policy: Callable[[str], Policy]) -> None:
        self._policy = policy
        self._proven: dict[str, dict[str, Proven]] = {}
        self._words: dict[tuple[str, str], dict[str, list[PastWord]]] = {}

    def see(self, entry: Entry) -> None:
        """Take in the next entry."""
        match entry.kind:
            case EntryKind.SIGNED_IN if text(entry, "provider"):
                self._proven.setdefault(entry.person, {})[text(entry, "sign_in")] = self._sign_in(entry)
            case EntryKind.SIGN_IN_REMOVED:
                self._proven.get(entry.person, {}).pop(text(entry, "sign_in"), None)
            case EntryKind.PERSON_REMOVED | EntryKind.PERSON_OFFBOARDED:
                self._proven.pop(entry.person, None)
            case EntryKind.REQUEST_ANSWERED if entry.decision != "deny" and text(entry, "verdict") == Verdict.APPROVE:
                of_run = self._words.setdefault((entry.tenant, entry.run), {})
                of_run.setdefault(entry.request, []).append(self._word(entry))
            case EntryKind.RUN_FINISHED:
                self._words.pop((entry.tenant, entry.run), None)
            case _:
                pass

    def words(self, entry: Entry) -> tuple[PastWord, ...]:
        """The approvals by which a call was admitted. Of who is not known to have answered only the name."""
        given = self._words.get((entry.tenant, entry.run), {}).get(entry.approval or entry.request, [])
        known = {word.person for word in given}
        words = [word for word in given if word.person in entry.approvals]
        words += [PastWord(person=person) for person in entry.approvals if person not in known]
        return tuple(replace(word, proven_when_used=self._known(word.person)) for word in words)

    def _known(self, person: str) -> tuple[Proven, ...]:
        return tuple(self._proven.get(person, {}).values())

    def _sign_in(self, entry: Entry) -> Proven:
        """What the sign-in proved. Its provider stands in the policy that it was judged by, else it was refused."""
        rule = self._policy(entry.policy).sign_in[text(entry, "provider")]
        return Proven(
            provider=rule.name,
            issuer=rule.issuer,
            groups=frozenset(texts(entry, "groups")),
            named=frozenset(rule.roles),
            at=entry.time_ms // 1000,
        )

    def _word(self, entry: Entry) -> PastWord:
        return PastWord(
            person=entry.person,
            vouching=Vouching(text(entry, "proof") or Vouching.KEY),
            said_at=number(entry, "answered_at"),
            heard_at=entry.time_ms // 1000,
            authenticated_at=number(entry, "authenticated_at"),
            account=self._proven.get(entry.person, {}).get(text(entry, "sign_in")),
            channel=text(entry, "channel"),
            speaker=text(entry, "speaker"),
            proven_when_said=self._known(entry.person),
        )
