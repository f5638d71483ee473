"""What a small world is made of: policies, people, scripted calls, and things that may happen once.

The names, keys and times are fixed, so that a search always finds the same states.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from hashlib import sha256

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from explorer.world import World
from leasehold.decide.facts import Step
from leasehold.model.call import CallState
from leasehold.model.canonical import encode
from leasehold.policy.document import Policy
from leasehold.policy.load import Source, load_policy
from leasehold.token.keys import PublicKey

ANA, BEN, EVA = "user:ana", "user:ben", "user:eva"
"""Ana is the requester of every run; all three hold the role that approves."""

BEGIN_MS = 1_800_000_000_000
"""The true time at which every world begins."""

THE_END_MS = 60_000
"""When all runs of every world are over; all that can happen then is that calls are settled or written off."""

_POLICY = """
version = 1
authority = "explorer"
[people]
{people}
[roles]
operator = {{ can = ["lift"], tenants = ["acme"] }}
[actions]
"desk.update" = {{ effect = "write", args = {{ ticket = "ticket" }}, timeout = "2s" }}
"desk.close" = {{ effect = "write", args = {{ ticket = "ticket" }}, timeout = "2s"{implies} }}
"desk.read" = {{ effect = "read", args = {{ ticket = "ticket" }}, timeout = "2s" }}
"desk.pay" = {{ effect = "write", args = {{ ticket = "ticket" }}, timeout = "2s", cost = {{ usd = "0.05" }} }}
"desk.sync" = {{ effect = "write", args = {{ ticket = "ticket" }}, timeout = "2s", idempotent = true }}
"desk.erase" = {{ effect = "destructive", args = {{ ticket = "ticket" }}, timeout = "2s" }}
"desk.look" = {{ effect = "read", args = {{ ticket = "ticket" }}, timeout = "2s" }}
"desk.move" = {{ effect = "write", args = {{ ticket = "ticket" }}, timeout = "2s", preview = "desk.look" }}
"desk.audit" = {{ effect = "write", args = {{ ticket = "ticket" }}, timeout = "2s", uses = ["desk.update"] }}
[routes.work]
for = {{ agents = ["bot"], tenants = ["*"], environments = ["prod"] }}
approvers = ["lead"]
ttl = "7s"
run_ttl = "20s"
answer_within = "15s"
"""
_PEOPLE = {ANA: ["lead"], BEN: ["lead"], EVA: ["lead", "operator"]}


def policy(route: str, *, people: Mapping[str, Sequence[str]] = _PEOPLE, implies: Sequence[str] = ()) -> Policy:
    """One policy of a small world: fixed actions, and a route `work` with these lines."""
    listed = "\n".join(f'"{person}" = {list(roles)}' for person, roles in people.items())
    implied = f", implies = {list(implies)}" if implies else ""
    text = _POLICY.format(people=listed, implies=implied) + route
    return load_policy([Source("explorer.toml", text.replace("'", '"'))])


@cache
def key_of_person(person: str) -> PublicKey:
    """The public half of a person's key."""
    private = Ed25519PrivateKey.from_private_bytes(sha256(person.encode()).digest())
    return PublicKey.from_bytes(private.public_key().public_bytes_raw())


def ident(prefix: str, number: int) -> str:
    """The id of one thing of a small world."""
    return f"{prefix}_{number:026d}"


GLASS, GLASS_RUN, GLASS_LEASE = ident("glass", 7), ident("run", 7), ident("lease", 7)
RUN, CHILD, OTHER = ident("run", 1), ident("run", 2), ident("run", 3)
REQUEST, CHILD_REQUEST, OTHER_REQUEST = ident("req", 1), ident("req", 2), ident("req", 3)
LEASE, CHILD_LEASE, OTHER_LEASE, NEXT_LEASE = (ident("lease", number) for number in (1, 2, 3, 4))


@dataclasses.dataclass(frozen=True)
class Script:
    """One call that a guard will try to make, and what the outside knows about it.

    `quorum` is how many people have to approve this exact call; `ends` the request that it ends; `refused_by` the
    policies (their positions in the scenario) under which it must not be admitted; `parent` the script on whose
    behalf it is made, `follows` the script of which a call has to be done before; `cost` what it really spends
    beyond one call, in millionths; `by_person` that a person makes it, at a door for people; `shows` the script whose
    answer its guard presents as the preview of it.
    """

    name: str
    action: str = "desk.update"
    ticket: str = "T-1"
    key: str | None = "k"
    lease: str = LEASE
    tenant: str = "acme"
    tries: int = 1
    quorum: int = 0
    ends: str = ""
    is_idempotent: bool = False
    refused_by: frozenset[int] = frozenset()
    parent: int | None = None
    follows: int | None = None
    cost: tuple[tuple[str, int], ...] = ()
    outcomes: tuple[str, ...] = (CallState.DONE,)
    by_person: bool = False
    shows: int | None = None

    @property
    def arguments(self) -> bytes:
        """The canonical bytes of its arguments."""
        return encode({"ticket": self.ticket})

    @property
    def identity(self) -> tuple[object, ...]:
        """What an approval of it has to be about, besides run, attempt and lease request."""
        return self.action, self.arguments, self.key


Build = Callable[[World, Policy], "Step[object] | None"]


@dataclasses.dataclass(frozen=True)
class Event:
    """Something that may happen once, at any moment at which its step can be built.

    With `is_foreign` it is an attempt from another tenant, which must be refused. `after` names events that must have
    happened before.
    """

    name: str
    build: Build
    is_foreign: bool = False
    after: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True)
class Scenario:
    """A small world: how it is set up, what may happen in it, and what its outside knows.

    `losses` lets answers get lost, `crashes` guards die, `late` dead guards come back and settle, `pairs` two questions
    arrive in one batch. With `skew_ms` the database's clock may jump by so much, with `backups` the database may be
    copied. Nothing may be admitted from the first of `closed_ms` until the second. `breaker` says what the route's
    breaker counts (errors or denials), how many are too many, and of how many. What calls work on may move once where
    it `moves`. A run may have `most_pending` questions open, and ask as often as it has `questions_left`; the policies
    `by_two` take two people. `goals` are labels that the search must come across, so that no world is explored in vain.
    """

    name: str
    policies: tuple[Policy, ...]
    setup: tuple[Event, ...]
    scripts: tuple[Script, ...]
    events: tuple[Event, ...] = ()
    ticks_ms: tuple[int, ...] = ()
    people: tuple[str, ...] = ()
    lease_quorum: int = 0
    losses: bool = False
    crashes: bool = False
    late: bool = False
    pairs: bool = False
    backups: bool = False
    skew_ms: int = 0
    closed_ms: tuple[int, int] = (0, 0)
    breaker: tuple[str, int, int] | None = None
    moves: bool = False
    most_pending: int = 0
    questions_left: int | None = None
    by_two: frozenset[int] = frozenset()
    goals: frozenset[str] = frozenset()
    states: int = 0

    def policy_of(self, world: World) -> Policy:
        """The policy that is active in a world."""
        return next(each for each in self.policies if each.hash == world.control.policy)

    def position_of(self, world: World) -> int:
        """The place of the active policy in the scenario's list."""
        return next(i for i, each in enumerate(self.policies) if each.hash == world.control.policy)
