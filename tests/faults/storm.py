"""What is said in a storm: everything that anybody was answered, the ways to ask, and a call to be asked for.

Everybody notes what they were answered before they go on (`Told`), so that afterwards all that was ever said can be
held against the ledger. What lost its answer is asked again, of the next authority, under the same ids (`Reach`).
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Generic, TypeVar

from leasehold.authority import Authority
from leasehold.client.remote import RemoteAuthority
from leasehold.errors import Denied, UnavailableError
from leasehold.model.call import Admission, Call, Outcome, Settlement
from leasehold.model.canonical import encode
from leasehold.model.lease import HeldLease
from leasehold.model.request import Verdict

__all__ = ["BALANCED", "LOOK_SECONDS", "Reach", "Stop", "Told", "call_of", "tried"]

A = TypeVar("A")
P = TypeVar("P")

BALANCED = "asked for at the one address"
"""The purpose of runs whose hosts have one way to the fleet: what was lost, their client asked again by itself."""

LOOK_SECONDS = 2.0
"""How long anybody waits for people at one authority before they ask the next one."""

_TURNS = 100
"""Of each authority. Where all start anew at once on a loaded machine, they are away for half a minute."""


@dataclass(frozen=True)
class Stop:
    """A revoke or hold that was answered, with the calls that it said were in flight.

    `listing` is the scope whose entry lists them: a lease is stopped with its request, which is stopped first.
    """

    kind: str
    scope: str
    listing: str
    tenant: str
    in_flight: frozenset[str]


@dataclass
class Told:
    """What everybody was answered. `news` guards all of it."""

    runs: dict[str, str] = field(default_factory=dict)
    """Tenants by run; requests and leases as well."""
    requests: dict[str, str] = field(default_factory=dict)
    leases: dict[str, str] = field(default_factory=dict)
    admitted: dict[str, Admission] = field(default_factory=dict)
    settled: dict[str, tuple[Outcome, Settlement]] = field(default_factory=dict)
    done: set[str] = field(default_factory=set)
    """Admissions of calls that a guard let through and reported."""
    answers: dict[str, tuple[str, Verdict]] = field(default_factory=dict)
    """By request: who answered it and how."""
    denied: set[str] = field(default_factory=set)
    """Requests of which agents were told that a person had said no."""
    stops: list[Stop] = field(default_factory=list)
    receipts: dict[str, bytes] = field(default_factory=dict)
    executions: Counter[tuple[str, str]] = field(default_factory=Counter)
    """How often the tool really ran, by run and key."""
    after_stops: Counter[str] = field(default_factory=Counter)
    """What was answered to calls that were begun after a stop had been."""
    foreign: Counter[str] = field(default_factory=Counter)
    """What was answered to questions about another tenant."""
    wrong: list[str] = field(default_factory=list)
    """Answers that nobody may ever be given, and errors of the clients themselves."""
    asked_again: int = 0
    """How often a call that was done was asked for once more, and not made."""
    lost: int = 0
    """How often no answer came, and the next authority was asked the same."""
    count: int = 0
    is_over: bool = False
    failure: BaseException | None = None
    """Why somebody gave up first; what the others fail with comes of that."""
    live: dict[str, HeldLease] = field(default_factory=dict)
    """Leases of agents that are at work now, by run."""
    news: threading.Condition = field(default_factory=threading.Condition)

    def note(self, write: Callable[[Told], object]) -> None:
        """Write down what was answered."""
        with self.news:
            write(self)
            self.count += 1
            self.news.notify_all()

    def wait_for(self, more: int) -> None:
        """Return once so many more answers came, or somebody gave up.

        Raises:
            AssertionError: they do not come.
        """
        enough = self.count + more
        self.wait_until(lambda: self.count >= enough)

    def wait_until(self, is_so: Callable[[], bool]) -> None:
        """Return once something is so, or somebody gave up.

        Raises:
            AssertionError: it never is.
        """
        with self.news:
            assert self.news.wait_for(lambda: is_so() or self.is_over, timeout=100), f"{self.count} answers came"

    def give_up(self, failure: BaseException) -> None:
        """Let nobody wait any more: somebody failed, or could not get an answer from anywhere."""
        with self.news:
            self.is_over = True
            self.failure = self.failure or failure
            self.news.notify_all()


class Reach(Generic[P]):
    """The ways to the fleet that somebody has, taken in turn: who gets no answer asks the next one the same."""

    def __init__(self, told: Told, places: Sequence[P], chance: Random) -> None:
        self.told = told
        self.places = places
        self._turn = chance.randrange(len(places))

    def ask(self, question: Callable[[P], A]) -> A:
        """What the first authority that answers says to it."""
        for _ in range(_TURNS * len(self.places)):
            try:
                return question(self.places[self._turn % len(self.places)])
            except (UnavailableError, TimeoutError) as error:
                if self.told.is_over:
                    raise
                lost = error
                self._turn += 1
                self.told.note(lambda told: setattr(told, "lost", told.lost + 1))
        raise AssertionError(f"no authority ever answered: {lost}")

    def once(self, question: Callable[[P], A]) -> A:
        """What one authority says to it; whoever asks after it was lost asks the next one."""
        try:
            return question(self.places[self._turn % len(self.places)])
        except UnavailableError:
            self._turn += 1
            raise


def call_of(authority: RemoteAuthority | Authority, action: str, key: str) -> Call:
    """A call of the tool: the key says which ticket."""
    door = authority.door("ticket", "prod")
    return Call(
        action=action, arguments=encode({"ticket_id": f"T-{key}"}), admission_id=door.new_admission_id(), key=key
    )


def tried(doors: Sequence[RemoteAuthority | Authority], tokens: Sequence[str]) -> Counter[str]:
    """Have every door asked for a new call under each of these tokens, all at once; what was answered."""
    waiting = []
    for authority in doors:
        door = authority.door("ticket", "prod")
        for token in tokens:
            call = call_of(authority, "ticket.update", authority.door("ticket", "prod").new_admission_id()[4:])
            waiting.append(door.submit_admit(token, call))
    told: Counter[str] = Counter()
    for future in waiting:
        error = future.exception()
        if isinstance(error, Denied):
            told[str(error.decision.reason)] += 1
        else:
            told["admitted" if error is None else type(error).__name__] += 1
    return told
