"""The Desk of a person whose authority is elsewhere: see what waits, answer it, stop things; signed by their own key.

Made by `connect_desk`, for programs with which people decide. Each request is signed for itself, so nothing that is
heard on the way can be used again; an answer is signed besides, over exactly the card that was shown.
"""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

from leasehold.client.place import find_place
from leasehold.client.remote import DEADLINE_SECONDS, open_line
from leasehold.config import read_key_ring
from leasehold.errors import UnavailableError
from leasehold.model.api import (
    AnswerBody,
    AnsweredAnswer,
    CardAnswer,
    EntriesAnswer,
    InboxAnswer,
    LeaseAnswer,
    StopBody,
    StoppedAnswer,
    StopsAnswer,
)
from leasehold.model.card import card_sha256
from leasehold.model.endpoints import EndpointName
from leasehold.model.ids import RequestId
from leasehold.model.request import Verdict
from leasehold.model.scope import Scope
from leasehold.model.text import check_identifier
from leasehold.system import RealSystem, System
from leasehold.token.keys import DocumentType, SigningKey
from leasehold.token.person import AnswerStatement
from leasehold.token.person_call import MAX_CALL_SECONDS, PersonCall, body_digest

if TYPE_CHECKING:
    from leasehold.client.api import Api
    from leasehold.client.transport import Question

__all__ = ["PersonKey", "RemoteDesk", "connect_desk", "read_person_key"]


class PersonKey:
    """A person's key, which signs each try of each request for itself. `authority` is the authority's id."""

    def __init__(self, person: str, key: SigningKey, authority: str, system: System) -> None:
        self.person = check_identifier(person, "person")
        self._key = key
        self._authority = authority
        self._system = system

    def __repr__(self) -> str:
        return f"<PersonKey of {self.person}>"

    def authorize(self, question: Question) -> str:
        """The value of `Authorization`: a JWT that counts once, for this request."""
        now = self._system.now().seconds
        call = PersonCall(
            person=self.person,
            authority=self._authority,
            issued_at=now,
            expires_at=now + MAX_CALL_SECONDS,
            jti=self._system.random_bytes(16).hex(),
            method=question.method,
            target=question.target,
            body=body_digest(question.body),
        )
        return f"Bearer {call.sign(self._key)}"

    def sign_answer(self, shown: CardAnswer, verdict: Verdict, reason: str) -> AnswerBody:
        """The person's word on one card."""
        now = self._system.now().seconds
        statement = AnswerStatement(
            request_id=RequestId(shown.card.request_id),
            card_digest=shown.footer.card_digest,
            verdict=verdict,
            answered_at=now,
            person=self.person,
        )
        return AnswerBody(
            verdict=verdict,
            card_digest=shown.footer.card_digest,
            shown=card_sha256(shown.card),
            answered_at=now,
            signature=statement.sign(self._key),
            reason=reason,
        )


def read_person_key(path: Path) -> SigningKey:
    """The key in the file that `leasehold person add` wrote.

    Raises:
        ConfigError: it is not private, or holds no key of a person.
    """
    return read_key_ring(path, DocumentType.ANSWER).newest


def connect_desk(
    url: str,
    person: str,
    key: SigningKey,
    *,
    authority: str,
    trust: ssl.SSLContext | None = None,
    deadline_seconds: float = DEADLINE_SECONDS,
    system: System | None = None,
) -> RemoteDesk:
    """Connect a person to the authority at a URL, as `leasehold.connect` does. `authority` is its id.

    The id is that of its checkpoint key (`leasehold keys export`): a server that is another authority learns nothing
    that it could use at this one.

    Raises:
        InvalidError: the address is plain http to another machine, or the person's name cannot be one.
        ConfigError: the extra `client` is not installed.
    """
    own = system or RealSystem()
    line = open_line(find_place(url, trust), own, deadline_seconds)
    who = PersonKey(person, key, authority, own)
    return RemoteDesk(line.as_caller(who), who)


class RemoteDesk:
    """What one person may see and do at the desk. Threads may share it; close it when done."""

    def __init__(self, api: Api, who: PersonKey) -> None:
        self._api = api
        self._who = who

    def __repr__(self) -> str:
        return f"<RemoteDesk of {self._who.person} at {self._api.place}>"

    def inbox(self, *, after: str = "", limit: int = 50) -> InboxAnswer:
        """The requests that wait, the oldest first; `next` of a page is `after` of the one that follows."""
        answer: InboxAnswer = self._ask(EndpointName.INBOX, query={"after": after, "limit": str(limit)})
        return answer

    def card(self, request_id: str) -> CardAnswer:
        """A card, and how it stands with it now; its `footer.card_digest` is what an answer names.

        Raises:
            NotFoundError: there is none that this person may see.
        """
        answer: CardAnswer = self._ask(EndpointName.CARD, request_id)
        self._check(answer.card.request_id == request_id)
        return answer

    def answer(self, shown: CardAnswer, verdict: Verdict, *, reason: str = "") -> AnsweredAnswer:
        """Answer the card that was shown.

        Raises:
            Denied: the word does not count: the request has another card than was shown, they may not, or nothing is
                pending.
            UnavailableError: nobody can tell whether it was heard (`maybe_persisted`); look at the card again.
        """
        body = self._who.sign_answer(shown, verdict, reason)
        answered: AnsweredAnswer = self._ask(EndpointName.ANSWER, shown.card.request_id, body=body)
        return answered

    def revoke(self, scope: Scope, *, reason: str, tenant: str = "") -> StoppedAnswer:
        """Kill everything recorded so far in a scope, for good; answers the calls in flight.

        Raises:
            Denied: the person's roles do not let them.
        """
        return self._stop(EndpointName.REVOKE, scope, reason, tenant)

    def hold(self, scope: Scope, *, reason: str, tenant: str = "") -> StoppedAnswer:
        """Let nothing start in a scope until the hold is lifted; answers the calls in flight."""
        return self._stop(EndpointName.HOLD, scope, reason, tenant)

    def lift(self, scope: Scope, *, reason: str, tenant: str = "") -> StoppedAnswer:
        """Lift a hold."""
        return self._stop(EndpointName.LIFT, scope, reason, tenant)

    def stops(self) -> StopsAnswer:
        """What is held or revoked now."""
        answer: StopsAnswer = self._ask(EndpointName.STOPS)
        return answer

    def entries(self, **conditions: str | int) -> EntriesAnswer:
        """Ledger entries that meet every condition, the newest first; the conditions are those of `EntriesQuery`."""
        query = {name: str(value) for name, value in conditions.items()}
        answer: EntriesAnswer = self._ask(EndpointName.ENTRIES, query=query)
        return answer

    def lease(self, lease_id: str) -> LeaseAnswer:
        """A lease as every door would judge it now."""
        answer: LeaseAnswer = self._ask(EndpointName.LEASE, lease_id)
        self._check(answer.lease.lease_id == lease_id)
        return answer

    def close(self) -> None:
        """End what is under way and let the connections go."""
        self._api.close()

    def __enter__(self) -> RemoteDesk:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _stop(self, name: EndpointName, scope: Scope, reason: str, tenant: str) -> StoppedAnswer:
        answer: StoppedAnswer = self._ask(name, body=StopBody(scope=str(scope), reason=reason, tenant=tenant))
        self._check(answer.scope == str(scope))
        return answer

    def _check(self, is_answer: bool) -> None:
        if not is_answer:
            raise UnavailableError(
                f"{self._api.place} answered another question than was asked; look again before you do anything",
                maybe_persisted=True,
            )

    def _ask(
        self,
        name: EndpointName,
        *ids: str,
        body: AnswerBody | StopBody | None = None,
        query: Mapping[str, str] | None = None,
    ) -> Any:
        return self._api.submit(lambda: self._api.ask(name, *ids, body=body, query=query)).result()
