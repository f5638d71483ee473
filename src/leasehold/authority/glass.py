"""Break-glass, embedded: two people open it, the opener uses it with their key in hand, another person reviews it.

The console asks the same of two people who are signed in (`glass_desk`); here they have their keys at a terminal.
"""

from __future__ import annotations

import msgspec

from leasehold.authority.desk import Signatory
from leasehold.authority.engine import Engine
from leasehold.authority.forgeries import ForgeryCounter
from leasehold.authority.human_door import HumanDoor, person_key
from leasehold.authority.runs import Runs
from leasehold.authority.waiting import Waiters
from leasehold.decide.glass import OpenGlass, ReviewGlass
from leasehold.decide.rows import GlassRow
from leasehold.decide.voices import KeyVoice
from leasehold.errors import NotFoundError
from leasehold.model.glass import GlassId, Opening, Skippable
from leasehold.model.ids import check_id
from leasehold.model.lease import HeldLease, Lease, Token
from leasehold.system import System
from leasehold.token.glass import GlassToken, VouchedGlass, parse_glass

__all__ = ["BreakGlass", "HumanDoors", "Wish", "draft_opening"]


class Wish(msgspec.Struct, frozen=True, kw_only=True):
    """What somebody wants to open, before it has an id and a time."""

    opener: str
    second: str
    tenant: str
    environment: str
    route: str
    actions: tuple[str, ...]
    skips: tuple[Skippable, ...]
    minutes: int
    reason: str


def draft_opening(system: System, wish: Wish) -> Opening:
    """The opening of a wish, as of now.

    Raises:
        InvalidError: a member cannot be what it claims to be, or one person is both.
    """
    fields = msgspec.structs.asdict(wish)
    fields |= {"actions": tuple(sorted(set(wish.actions))), "skips": tuple(sorted(set(wish.skips)))}
    return Opening(glass_id=GlassId(system.new_id("glass")), opened_at=system.now().seconds, **fields)


class BreakGlass:
    """Open, use, close, review. Threads may share it."""

    def __init__(self, engine: Engine, runs: Runs, forgeries: ForgeryCounter, waiters: Waiters) -> None:
        self._engine = engine
        self._runs = runs
        self._forgeries = forgeries
        self._waiters = waiters

    def propose(self, wish: Wish) -> Opening:
        """The opening that both have to sign, as of now. Nothing is recorded yet.

        Raises:
            InvalidError: a member cannot be what it claims to be, or one person is both.
        """
        return draft_opening(self._engine.system, wish)

    def open(self, opening: Opening, signature: str, second_signature: str) -> HeldLease:
        """Open it, and answer what the opener uses it with. It alarms; so does a refusal.

        Raises:
            Denied: a signature is not theirs, a role does not open this, or something that stops runs stops it.
            StoreError: it cannot be recorded, so it is not open.
        """
        token = GlassToken(opening=opening, signature=signature, second_signature=second_signature)
        opener, second = person_key(self._engine, opening.opener), person_key(self._engine, opening.second)
        is_signed = opener is not None and second is not None and token.is_signed_by(opener, second)
        lease = self._engine.ask(
            lambda policy: OpenGlass(
                policy_document=policy,
                opening=opening,
                token=str(token),
                opener_key=opener.to_bytes() if opener is not None and is_signed else b"",
                second_key=second.to_bytes() if second is not None and is_signed else b"?",
            )
        )
        self._engine.store.anchor_now()
        return _held(lease, str(token))

    def held(self, glass_id: str) -> HeldLease:
        """What the opener uses an open one with, taken up again in another process.

        Raises:
            NotFoundError: there is no such break-glass.
        """
        token = self.token(glass_id)
        opening = token.opening
        lease = self._engine.chain(opening.tenant, opening.lease_id)[-1].lease
        return _held(lease, str(token))

    def token(self, glass_id: str) -> GlassToken | VouchedGlass:
        """The opening with both signatures, or with what vouched for both in the console.

        Raises:
            NotFoundError: there is no such break-glass.
        """
        body = self._engine.store.queries.document(self._tenant(glass_id), glass_id)
        if body is None:
            raise NotFoundError(f"{glass_id} is not in this ledger")
        return parse_glass(body.decode())

    def doors(self, signatory: Signatory) -> HumanDoors:
        """Where guards take the doors of a person who uses their own break-glass, with their key in hand."""
        return HumanDoors(self._engine, self._forgeries, self._waiters, signatory)

    def close(self, glass_id: str) -> GlassRow:
        """End it before its time. It alarms, and wants a review from here on.

        Raises:
            NotFoundError: there is no such break-glass.
        """
        opening = self.token(glass_id).opening
        self._runs.end(self._engine.run(opening.tenant, opening.run_id), "done")
        return self.row(glass_id)

    def review(self, glass_id: str, signatory: Signatory, words: str) -> GlassRow:
        """Write down what another person thinks of one that is over.

        Raises:
            Denied: it is not over, was reviewed, or this person opened it or may not review it.
        """
        opening = self.token(glass_id).opening
        voice = KeyVoice(person=signatory.person, public_key=signatory.key.public().to_bytes())
        return self._engine.ask(
            lambda policy: ReviewGlass(policy_document=policy, opening=opening, voice=voice, words=words)
        )

    def row(self, glass_id: str) -> GlassRow:
        """Where one stands.

        Raises:
            NotFoundError: there is no such break-glass.
        """
        row = self._engine.row(GlassRow, self._tenant(glass_id), glass_id)
        if row is None:
            raise NotFoundError(f"{glass_id} is not in this ledger")
        return row

    def _tenant(self, glass_id: str) -> str:
        return self._engine.locate(f"run_{check_id(glass_id, 'glass').partition('_')[2]}")

    def all(self) -> tuple[GlassRow, ...]:
        """Every one that there was, the newest first."""
        return self._engine.store.queries.glasses(None)


class HumanDoors:
    """What a guard takes the doors of one person from."""

    def __init__(self, engine: Engine, forgeries: ForgeryCounter, waiters: Waiters, person: Signatory) -> None:
        self._engine = engine
        self._forgeries = forgeries
        self._waiters = waiters
        self._person = person

    def door(self, tool: str, environment: str) -> HumanDoor:
        """The person's door of one tool in one environment."""
        return HumanDoor(self._engine, tool, environment, self._forgeries, self._waiters, person=self._person)


def _held(lease: Lease, token: str) -> HeldLease:
    """A lease whose tokens are the opening itself: only a door for people takes them."""
    return HeldLease(lease=lease, tokens=dict.fromkeys(lease.audiences, Token(token)))
