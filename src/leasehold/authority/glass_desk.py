"""Break-glass on the desk of somebody who is signed in: proposed by one person, opened by another, closed, reviewed.

Part of the person's desk. What is opened here is used at a terminal, each use signed with its opener's key; nothing
that a browser is shown uses it (decision 0026).
"""

from __future__ import annotations

import msgspec

from leasehold.authority.engine import Engine
from leasehold.authority.glass import Wish, draft_opening
from leasehold.authority.opening import read_wish
from leasehold.authority.receipts import Receipts
from leasehold.authority.runs import Runs
from leasehold.authority.sign_ins import SignedIn, passkey_of, passkey_proof
from leasehold.decide.glass import ReviewGlass, refuse_reviewer
from leasehold.decide.glass_wish import CloseOwn, ConfirmGlass, DeclineGlass, ProposeGlass, answer_by
from leasehold.decide.lifecycles import GlassState
from leasehold.decide.proven import as_proven
from leasehold.decide.proving import Word, refuse_weak
from leasehold.decide.rows import AUTHORITY_WIDE, GlassRow, PersonRow
from leasehold.errors import NotFoundError
from leasehold.ledger.entry import Entry
from leasehold.model.decision import Decision
from leasehold.model.glass import Opening
from leasehold.model.ids import check_id
from leasehold.model.proof import Proof
from leasehold.policy.document import GlassRule, Policy, Power, Route
from leasehold.policy.evaluate import has_power
from leasehold.token.glass import VouchedGlass, Voucher, parse_glass
from leasehold.token.passkey import Assertion, opening_challenge

__all__ = ["GlassDesk", "GlassGlance", "GlassSeen", "Openable"]


_NEVER_OPENED = frozenset({GlassState.PROPOSED, GlassState.DECLINED, GlassState.LAPSED})


class Openable(msgspec.Struct, frozen=True, kw_only=True):
    """A route whose rules this person may ask somebody to skip with them, and who that could be."""

    route: Route
    rule: GlassRule
    seconds: tuple[str, ...]


class GlassGlance(msgspec.Struct, frozen=True, kw_only=True):
    """What is open now, what waits for this person's word, and whether there is any that they may see."""

    open: tuple[GlassRow, ...]
    waiting: tuple[GlassRow, ...]
    is_known: bool


class GlassSeen(msgspec.Struct, frozen=True, kw_only=True):
    """A break-glass as this person meets it.

    `state` is as of now, whether or not a sweep has written it down. `entries` is what the ledger has of its run,
    oldest first. `may_confirm` and `may_review` say what is theirs to do; `proof` what their confirmation needs besides
    the session as it is.
    """

    row: GlassRow
    opening: Opening
    state: GlassState
    entries: tuple[Entry, ...]
    may_confirm: bool
    may_decline: bool
    may_close: bool
    may_review: bool
    proof: Decision | None


class GlassDesk:
    """One person's part in break-glass. Threads may share it."""

    def __init__(self, engine: Engine, runs: Runs, receipts: Receipts, session: SignedIn, *, origin: str) -> None:
        self._engine = engine
        self._runs = runs
        self._receipts = receipts
        self._session = session
        self._origin = origin

    # looking

    def openable(self) -> tuple[Openable, ...]:
        """The routes whose rules this person may propose to skip, by name."""
        policy = self._engine.active_policy()
        return tuple(
            Openable(route=policy.routes[name], rule=rule, seconds=self._who(policy, rule.confirmers))
            for name, rule in sorted(policy.break_glass.items())
            if name in policy.routes and self._session.person in _holders(policy, rule.openers)
        )

    def all(self) -> tuple[GlassRow, ...]:
        """Every break-glass that this person may see, the newest first."""
        policy = self._engine.active_policy()
        return tuple(row for row in self._engine.store.queries.glasses(None) if self._may_see(policy, row))

    def glance(self) -> GlassGlance:
        """What every page says of it, read once."""
        rows, now = self.all(), self._engine.system.now()
        mine = (row for row in rows if row.state == GlassState.PROPOSED and row.second == self._session.person)
        return GlassGlance(
            open=tuple(row for row in rows if row.state == GlassState.OPEN and not now.reached(row.ends_at)),
            waiting=tuple(row for row in mine if not self._is_late(row)),
            is_known=bool(rows),
        )

    def open(self) -> tuple[GlassRow, ...]:
        """Those that are open now."""
        return self.glance().open

    def waiting(self) -> tuple[GlassRow, ...]:
        """Those that wait for this person's word."""
        return self.glance().waiting

    def look(self, glass_id: str) -> GlassSeen:
        """One of them.

        Raises:
            NotFoundError: there is none that this person may see.
        """
        row = self._row(glass_id)
        opening, policy, state = self._opening(row), self._engine.active_policy(), self._state(row)
        person, is_open = self._session.person, state is GlassState.OPEN
        is_part = person in (row.opener, row.second)
        waits = state is GlassState.PROPOSED
        return GlassSeen(
            row=row,
            opening=opening,
            state=state,
            entries=self._entries(row, opening),
            may_confirm=waits and person == row.second,
            may_decline=waits and is_part,
            may_close=is_open and (is_part or has_power(self._held(policy), person, Power.REVOKE, row.tenant)),
            may_review=row.state == GlassState.CLOSED and refuse_reviewer(policy, opening, person) is None,
            proof=self.lacks(),
        )

    def lacks(self) -> Decision | None:
        """What this person's part in opening one needs besides the session as it is."""
        return refuse_weak(self._engine.active_policy(), self._session.proof, self._engine.system.now())

    # doing

    def draft(self, wish: Wish) -> Opening:
        """What would be proposed, as of now. Nothing is recorded yet.

        Raises:
            InvalidError: a member cannot be what it claims to be, or one person is both.
        """
        return draft_opening(self._engine.system, wish)

    def propose(self, opening: Opening, assertion: Assertion | None = None) -> GlassRow:
        """Ask the second person to open it. `assertion` is what a passkey of the opener signed; without it the session
        vouches.

        Raises:
            Denied: the session is over or too old, a passkey is needed, or the policy does not list this.
        """
        voucher = self._voucher(opening, assertion)
        word = Word(voice=self._session.voice, proof=voucher.proof)
        return self._engine.ask(
            lambda policy: ProposeGlass(
                policy_document=policy, opening=opening, word=word, public_key=voucher.public_key
            )
        )

    def confirm(self, glass_id: str, assertion: Assertion | None = None) -> None:
        """Open it as its second person. It alarms; so does a refusal.

        Raises:
            NotFoundError: there is none that this person may see.
            Denied: it is not theirs to confirm, too late, not proven well enough, held, or not listed any more.
            StoreError: it cannot be recorded, so it is not open.
        """
        wish = read_wish(self._engine, self._row(glass_id))
        voucher = self._voucher(wish.opening, assertion)
        word = Word(voice=self._session.voice, proof=voucher.proof)
        token = str(VouchedGlass(opening=wish.opening, opener=wish.voucher, second=voucher))
        self._engine.ask(lambda policy: ConfirmGlass(policy_document=policy, wish=wish, word=word, token=token))
        self._engine.store.anchor_now()

    def decline(self, glass_id: str) -> None:
        """Say no to it, or take it back.

        Raises:
            NotFoundError: there is none that this person may see.
            Denied: it does not wait any more, or is not theirs to decline.
        """
        opening = read_wish(self._engine, self._row(glass_id)).opening
        self._engine.ask(
            lambda policy: DeclineGlass(policy_document=policy, opening=opening, voice=self._session.voice)
        )

    def close(self, glass_id: str) -> None:
        """End it before its time.

        Raises:
            NotFoundError: there is none that this person may see, or it was never opened.
            Denied: it is not theirs to close.
        """
        row = self._row(glass_id)
        if row.state in _NEVER_OPENED:
            raise NotFoundError(f"{glass_id} was never opened")
        opening = self._opening(row)
        close = self._runs.closing(self._engine.run(opening.tenant, opening.run_id), "done")
        self._engine.ask(
            lambda policy: CloseOwn(policy_document=policy, close=close, opening=opening, voice=self._session.voice)
        )
        self._engine.store.anchor_now()

    def review(self, glass_id: str, words: str) -> None:
        """Write down what this person thinks of one that is over.

        Raises:
            NotFoundError: there is none that this person may see.
            Denied: it is not over, was reviewed, or is not theirs to review.
        """
        opening = self._opening(self._row(glass_id))
        self._engine.ask(
            lambda policy: ReviewGlass(policy_document=policy, opening=opening, voice=self._session.voice, words=words)
        )

    # inside

    def _voucher(self, opening: Opening, assertion: Assertion | None) -> Voucher:
        if assertion is None:
            return Voucher(proof=self._session.proof)
        row = self._engine.row(PersonRow, AUTHORITY_WIDE, self._session.person)
        challenge = opening_challenge(opening, self._session.person)
        proof: Proof = passkey_proof(row, assertion, challenge, self._origin)
        return Voucher(proof=proof, public_key=passkey_of(row, assertion.credential).public_key)

    def _row(self, glass_id: str) -> GlassRow:
        check_id(glass_id, "glass")
        found = next((row for row in self.all() if row.glass_id == glass_id), None)
        if found is None:
            raise NotFoundError(f"{glass_id} is not in this ledger")
        return found

    def _opening(self, row: GlassRow) -> Opening:
        body = self._engine.store.queries.document(row.tenant, row.glass_id)
        return parse_glass(body.decode()).opening if body is not None else read_wish(self._engine, row).opening

    def _entries(self, row: GlassRow, opening: Opening) -> tuple[Entry, ...]:
        if row.state in _NEVER_OPENED:
            return ()
        return self._receipts.entries(self._engine.run(opening.tenant, opening.run_id))

    def _state(self, row: GlassRow) -> GlassState:
        state = GlassState(row.state)
        if state is GlassState.PROPOSED and self._is_late(row):
            return GlassState.LAPSED
        is_over = state is GlassState.OPEN and self._engine.system.now().reached(row.ends_at)
        return GlassState.CLOSED if is_over else state

    def _is_late(self, row: GlassRow) -> bool:
        is_void = not self._engine.store.queries.control().is_of_this_epoch(row.recorded)
        return is_void or self._engine.system.now().reached(answer_by(self._opening(row)))

    def _may_see(self, policy: Policy, row: GlassRow) -> bool:
        is_part = self._session.person in (row.opener, row.second)
        can_query = has_power(self._held(policy), self._session.person, Power.QUERY, row.tenant)
        return is_part or can_query or self._confirms(policy, row)

    def _held(self, policy: Policy) -> Policy:
        """The policy with the roles that groups prove of this person: they let look and stop, and open nothing."""
        if not policy.sign_in:
            return policy
        row = self._engine.row(PersonRow, AUTHORITY_WIDE, self._session.person)
        return as_proven(policy, row, self._engine.system.now())

    def _confirms(self, policy: Policy, row: GlassRow) -> bool:
        """Whether a role of theirs confirms break-glass on its route."""
        rule = policy.break_glass.get(row.route)
        return rule is not None and self._session.person in _holders(policy, rule.confirmers)

    def _who(self, policy: Policy, roles: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(person for person in sorted(_holders(policy, roles)) if person != self._session.person)


def _holders(policy: Policy, roles: tuple[str, ...]) -> frozenset[str]:
    """The people with one of these roles."""
    return frozenset(person for person, held in policy.people.items() if not set(roles).isdisjoint(held))
