"""Break-glass from two browsers: one person proposes it, the other sees exactly what will be skipped, and opens it.

Submitted by the desks of people who are signed in. What vouched for each, a passkey over exactly this opening or a
session of a moment ago, is judged in the step and stands in what is opened (decision 0026). Nothing that is shown to a
browser uses it: each use takes the opener's key, at a terminal, as ever.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar

import msgspec
from msgspec.structs import replace

from leasehold.decide.chain import stop_needs
from leasehold.decide.facts import Changes, Facts, Need, Ref, StepAnswer
from leasehold.decide.glass import CloseGlass
from leasehold.decide.glass_opening import CONFIRM_SECONDS, Making, describe_opening, glass_row
from leasehold.decide.glass_tries import refuse_tries, tries_need, with_try
from leasehold.decide.glass_use import refuse_glass_roles, refuse_vouchers
from leasehold.decide.lifecycles import GLASS_TABLE, GlassEvent, GlassState, PersonState, advance
from leasehold.decide.powers import refuse_power
from leasehold.decide.proven import as_proven
from leasehold.decide.proving import Word, refuse_weak
from leasehold.decide.rows import AUTHORITY_WIDE, DocumentRow, GlassRow, PersonRow, RunRow
from leasehold.decide.voices import Voice, refuse_voice, voice_needs
from leasehold.ledger.entry import Entry, EntryKind
from leasehold.model.decision import Decision, Reason, allow, deny
from leasehold.model.glass import Opening
from leasehold.model.instant import Instant
from leasehold.model.lease import Lease
from leasehold.policy.document import Policy, Power
from leasehold.token.glass import Voucher

__all__ = [
    "CloseOwn",
    "ConfirmGlass",
    "DeclineGlass",
    "GlassWish",
    "LapseGlass",
    "ProposeGlass",
    "answer_by",
    "decode_wish",
    "wish_id",
]


class GlassWish(msgspec.Struct, frozen=True, kw_only=True):
    """What somebody proposed, with what vouched for them: an immutable document beside the row."""

    opening: Opening
    voucher: Voucher


_DECODER = msgspec.json.Decoder(GlassWish)


def decode_wish(body: bytes) -> GlassWish:
    """The wish in the bytes of its document."""
    return _DECODER.decode(body)


def wish_id(glass_id: str) -> str:
    """Under which id the wish for a break-glass is kept."""
    return f"wish_{glass_id.partition('_')[2]}"


def answer_by(opening: Opening) -> int:
    """The Unix second at which a proposal is void."""
    return min(opening.opened_at + CONFIRM_SECONDS, opening.ends_at)


class ProposeGlass(msgspec.Struct, frozen=True, kw_only=True):
    """Ask a second person to open it. `public_key` is what verifies the opener's signature, where they signed."""

    policy_document: Policy
    opening: Opening
    word: Word
    public_key: str = ""

    needs_clock: ClassVar[bool] = True

    @property
    def policy(self) -> str:
        return self.policy_document.hash

    def keys(self) -> Sequence[Need]:
        opening = self.opening
        return [
            *stop_needs(opening.tenant),
            Ref(GlassRow, (opening.tenant, opening.glass_id)),
            *(Ref(PersonRow, (AUTHORITY_WIDE, name)) for name in (opening.opener, opening.second)),
            *self.word.needs(),
            tries_need(self.word.person),
        ]

    def decide(self, facts: Facts, now: Instant) -> tuple[StepAnswer[GlassRow], Changes]:
        if refusal := refuse_tries(facts, self.word.person, now):
            return StepAnswer(refusal), Changes()
        answer, changes = self._decide(facts, now)
        return answer, with_try(facts, self.word.person, now, changes)

    def _decide(self, facts: Facts, now: Instant) -> tuple[StepAnswer[GlassRow], Changes]:
        making = Making(policy_document=self.policy_document, opening=self.opening, token="")
        if refusal := self._refuse(facts, making, now):
            return StepAnswer(refusal), Changes(entries=(making.refused(refusal),))
        opening = self.opening
        row = glass_row(opening, GlassState.PROPOSED, facts.next_index)
        wish = GlassWish(opening=opening, voucher=Voucher(proof=self.word.proof, public_key=self.public_key))
        document = DocumentRow(tenant=opening.tenant, id=wish_id(opening.glass_id), body=msgspec.json.encode(wish))
        entry = _entry(
            EntryKind.GLASS_PROPOSED,
            opening,
            self.policy,
            person=opening.opener,
            detail={**describe_opening(opening), "answer_by": answer_by(opening), **self.word.detail(facts)},
        )
        return StepAnswer(allow(), row), Changes(rows=(document, row, *self.word.rows(facts)), entries=(entry,))

    def _refuse(self, facts: Facts, making: Making, now: Instant) -> Decision | None:
        opening, policy = self.opening, self.policy_document
        return (
            _refuse_other(self.word.person, opening.opener)
            or _refuse_repeat(facts.get(GlassRow, opening.tenant, opening.glass_id), opening)
            or making.refuse_stale(facts, now)
            or self.word.refuse(facts, self.policy_document, now)
            or refuse_weak(policy, self.word.proof, now)
            or _refuse_keyless(facts.get(PersonRow, AUTHORITY_WIDE, opening.opener), opening.opener)
            or _refuse_absent(facts.get(PersonRow, AUTHORITY_WIDE, opening.second), opening.second)
            or refuse_glass_roles(policy, opening)
            or making.refuse(facts, now)
        )


class ConfirmGlass(msgspec.Struct, frozen=True, kw_only=True):
    """Open what was proposed, as the second person. `token` is the whole text of what is opened."""

    policy_document: Policy
    wish: GlassWish
    word: Word
    token: str

    needs_clock: ClassVar[bool] = True

    @property
    def policy(self) -> str:
        return self.policy_document.hash

    def keys(self) -> Sequence[Need]:
        opening = self.wish.opening
        return [
            *stop_needs(opening.tenant),
            Ref(GlassRow, (opening.tenant, opening.glass_id)),
            Ref(PersonRow, (AUTHORITY_WIDE, opening.opener)),
            *self.word.needs(),
            tries_need(self.word.person),
        ]

    def decide(self, facts: Facts, now: Instant) -> tuple[StepAnswer[Lease], Changes]:
        if refusal := refuse_tries(facts, self.word.person, now):
            return StepAnswer(refusal), Changes()
        answer, changes = self._decide(facts, now)
        return answer, with_try(facts, self.word.person, now, changes)

    def _decide(self, facts: Facts, now: Instant) -> tuple[StepAnswer[Lease], Changes]:
        opening = self.wish.opening
        route, making = self.policy_document.route(opening.route), self._making
        refusal = self._refuse(facts, making, now)
        if refusal is not None or route is None:
            refusal = refusal or deny(Reason.UNKNOWN_ROUTE, f"there is no route {opening.route}")
            return StepAnswer(refusal), Changes(entries=(making.refused(refusal),))
        made = making.make(route, now, facts)
        rows = (*made.changes.rows, *self.word.rows(facts))
        return StepAnswer(allow(), made.lease), Changes(rows=rows, entries=made.changes.entries)

    @property
    def _making(self) -> Making:
        state = advance(GLASS_TABLE, GlassState.PROPOSED, GlassEvent.CONFIRM)
        return Making(policy_document=self.policy_document, opening=self.wish.opening, token=self.token, state=state)

    def _refuse(self, facts: Facts, making: Making, now: Instant) -> Decision | None:
        opening, proofs = self.wish.opening, (self.wish.voucher.proof, self.word.proof)
        row = facts.get(GlassRow, opening.tenant, opening.glass_id)
        return (
            _refuse_other(self.word.person, opening.second)
            or _refuse_over(facts, row, opening)
            or making.refuse_stale(facts, now)
            or self.word.refuse(facts, self.policy_document, now)
            or refuse_weak(self.policy_document, self.word.proof, now)
            or refuse_vouchers(facts, self.policy_document, opening, proofs)
            or making.refuse(facts, now, since=row.recorded if row is not None else None)
        )


class DeclineGlass(msgspec.Struct, frozen=True, kw_only=True):
    """Say no to a proposal, or take it back. A no needs only the voice."""

    policy_document: Policy
    opening: Opening
    voice: Voice

    needs_clock: ClassVar[bool] = True

    @property
    def policy(self) -> str:
        return self.policy_document.hash

    def keys(self) -> Sequence[Need]:
        return [Ref(GlassRow, (self.opening.tenant, self.opening.glass_id)), *voice_needs(self.voice)]

    def decide(self, facts: Facts, now: Instant) -> tuple[StepAnswer[GlassRow], Changes]:
        opening, row = self.opening, facts.get(GlassRow, self.opening.tenant, self.opening.glass_id)
        refusal = refuse_voice(facts, self.voice, now) or _refuse_over(facts, row, opening) or self._refuse_stranger()
        if refusal is not None or row is None:
            return StepAnswer(refusal or _refuse_over(facts, None, opening) or allow()), Changes()
        declined = replace(row, state=advance(GLASS_TABLE, GlassState(row.state), GlassEvent.DECLINE))
        entry = _entry(
            EntryKind.GLASS_DECLINED,
            opening,
            self.policy,
            person=self.voice.person,
            detail={"glass": opening.glass_id, "second": opening.second},
        )
        return StepAnswer(allow(), declined), Changes(rows=(declined,), entries=(entry,))

    def _refuse_stranger(self) -> Decision | None:
        if self.voice.person in (self.opening.opener, self.opening.second):
            return None
        return deny(Reason.NOT_ENTITLED, f"{self.opening.glass_id} waits for {self.opening.second}")


class LapseGlass(msgspec.Struct, frozen=True, kw_only=True):
    """Write down that the second person did not come in time. Answers whether this step did."""

    opening: Opening

    policy: ClassVar[None] = None
    needs_clock: ClassVar[bool] = True

    def keys(self) -> Sequence[Need]:
        return [Ref(GlassRow, (self.opening.tenant, self.opening.glass_id))]

    def decide(self, facts: Facts, now: Instant) -> tuple[StepAnswer[bool], Changes]:
        opening, row = self.opening, facts.get(GlassRow, self.opening.tenant, self.opening.glass_id)
        if row is None or row.state != GlassState.PROPOSED or not now.reached(answer_by(opening)):
            return StepAnswer(allow(), False), Changes()
        lapsed = replace(row, state=advance(GLASS_TABLE, GlassState(row.state), GlassEvent.LAPSE))
        detail = {"glass": opening.glass_id, "second": opening.second}
        entry = _entry(EntryKind.GLASS_LAPSED, opening, "", person=opening.opener, detail=detail)
        return StepAnswer(allow(), True), Changes(rows=(lapsed,), entries=(entry,))


class CloseOwn(msgspec.Struct, frozen=True, kw_only=True):
    """End one before its time, as somebody who is signed in: either of the two, or whoever can revoke there."""

    policy_document: Policy
    close: CloseGlass
    opening: Opening
    voice: Voice

    needs_clock: ClassVar[bool] = False

    @property
    def policy(self) -> str:
        return self.policy_document.hash

    def keys(self) -> Sequence[Need]:
        return [*voice_needs(self.voice), *self.close.keys()]

    def decide(self, facts: Facts, now: Instant) -> tuple[StepAnswer[RunRow], Changes]:
        refusal = refuse_voice(facts, self.voice, now) or self._refuse_stranger(facts, now)
        return (StepAnswer(refusal), Changes()) if refusal is not None else self.close.decide(facts, now)

    def _refuse_stranger(self, facts: Facts, now: Instant) -> Decision | None:
        person = self.voice.person
        if person in (self.opening.opener, self.opening.second):
            return None
        known = as_proven(self.policy_document, facts.get(PersonRow, AUTHORITY_WIDE, person), now)
        return refuse_power(known, person, Power.REVOKE, self.opening.tenant)


def _refuse_other(person: str, wanted: str) -> Decision | None:
    if person == wanted:
        return None
    return deny(Reason.NOT_ENTITLED, f"this is for {wanted} to say", check=f"{person} == {wanted}")


def _refuse_repeat(row: GlassRow | None, opening: Opening) -> Decision | None:
    if row is None:
        return None
    return deny(Reason.CONFLICT, f"{opening.glass_id} was proposed before", check="an opening is used once")


def _refuse_over(facts: Facts, row: GlassRow | None, opening: Opening) -> Decision | None:
    """Why a proposal waits for nobody."""
    if row is not None and row.state == GlassState.PROPOSED:
        if facts.control.is_of_this_epoch(row.recorded):
            return None
        return deny(Reason.STALE_EPOCH, f"{opening.glass_id} was proposed before a restore", enough="propose it again")
    state = row.state if row is not None else "not in this ledger"
    return deny(Reason.NOT_PENDING, f"{opening.glass_id} is {state}", check="state == proposed")


def _refuse_keyless(row: PersonRow | None, person: str) -> Decision | None:
    """It is used at a terminal, each use signed by its opener: without a key it would be open for nothing."""
    if row is not None and row.public_key:
        return None
    return deny(
        Reason.NOT_ENTITLED,
        f"{person} has no key here, and break-glass is used with one",
        check="the opener has a key",
        enough=f"leasehold person add {person}",
    )


def _refuse_absent(row: PersonRow | None, person: str) -> Decision | None:
    if row is not None and row.state == PersonState.ACTIVE:
        return None
    return deny(Reason.NOT_ENTITLED, f"{person} is not known here and cannot confirm it", check="a second person")


def _entry(
    kind: EntryKind, opening: Opening, policy: str, *, person: str, detail: Mapping[str, str | int | tuple[str, ...]]
) -> Entry:
    """What is written down of a proposal: there is no run yet to write it under."""
    return Entry(
        kind=kind,
        tenant=opening.tenant,
        environment=opening.environment,
        requested_by=opening.opener,
        route=opening.route,
        person=person,
        policy=policy,
        detail=dict(detail),
    )
