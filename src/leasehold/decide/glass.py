"""Break-glass: two people open it together, it ends in minutes, and another person writes what they think of it.

Submitted by the authority's break-glass face, never by a protocol that agents speak. An opening is a run of its own for
the opener, so every stop, budget and entry that there is for runs is there for it (decision 0014).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import msgspec
from msgspec.structs import replace

from leasehold.decide.chain import stop_needs
from leasehold.decide.entries import run_entry
from leasehold.decide.facts import Changes, Facts, Need, Ref, StepAnswer
from leasehold.decide.finish import FinishRun
from leasehold.decide.glass_opening import GLASS_ALARM, Making
from leasehold.decide.glass_use import refuse_people
from leasehold.decide.lifecycles import GLASS_TABLE, GlassEvent, GlassState, RunState, advance
from leasehold.decide.rows import AUTHORITY_WIDE, GlassRow, PersonRow, RunRow
from leasehold.decide.voices import Voice, refuse_voice, voice_needs
from leasehold.ledger.entry import Entry, EntryKind
from leasehold.model.decision import Decision, Reason, allow, deny
from leasehold.model.glass import BREAK_GLASS, Opening, glass_of_run
from leasehold.model.instant import Instant
from leasehold.model.lease import Lease
from leasehold.policy.document import Policy, Power
from leasehold.policy.evaluate import has_power

__all__ = ["REVIEW_SECONDS", "CloseGlass", "OpenGlass", "ReviewGlass", "refuse_reviewer"]

REVIEW_SECONDS = 86_400
"""Within what time after its end somebody has to write what they think of it."""


class OpenGlass(msgspec.Struct, frozen=True, kw_only=True):
    """Open it at a terminal, where both have their keys. Both signatures over the opening were verified before, with
    these keys; `token` is its whole text."""

    policy_document: Policy
    opening: Opening
    token: str
    opener_key: bytes
    second_key: bytes

    needs_clock: ClassVar[bool] = True

    @property
    def policy(self) -> str:
        return self.policy_document.hash

    def keys(self) -> Sequence[Need]:
        opening = self.opening
        return [
            *stop_needs(opening.tenant),
            Ref(GlassRow, (opening.tenant, opening.glass_id)),
            Ref(PersonRow, (AUTHORITY_WIDE, opening.opener)),
            Ref(PersonRow, (AUTHORITY_WIDE, opening.second)),
        ]

    def decide(self, facts: Facts, now: Instant) -> tuple[StepAnswer[Lease], Changes]:
        route, making = self.policy_document.route(self.opening.route), self._making
        refusal = self._refuse(facts, making, now)
        if refusal is not None or route is None:
            refusal = refusal or deny(Reason.UNKNOWN_ROUTE, f"there is no route {self.opening.route}")
            return StepAnswer(refusal), Changes(entries=(making.refused(refusal),))
        made = making.make(route, now, facts)
        return StepAnswer(allow(), made.lease), made.changes

    @property
    def _making(self) -> Making:
        evidence = {"opener_key": self.opener_key.hex(), "second_key": self.second_key.hex()}
        return Making(policy_document=self.policy_document, opening=self.opening, token=self.token, evidence=evidence)

    def _refuse(self, facts: Facts, making: Making, now: Instant) -> Decision | None:
        opening = self.opening
        return (
            _refuse_repeat(facts.get(GlassRow, opening.tenant, opening.glass_id), opening)
            or making.refuse_stale(facts, now)
            or refuse_people(facts, self.policy_document, opening, self.opener_key, self.second_key)
            or making.refuse(facts, now)
        )


def _refuse_repeat(row: GlassRow | None, opening: Opening) -> Decision | None:
    if row is None:
        return None
    return deny(Reason.CONFLICT, f"{opening.glass_id} was opened before", check="an opening is used once")


class CloseGlass(msgspec.Struct, frozen=True, kw_only=True):
    """The end of a break-glass: of its run, by a person, the clock or a stop. It alarms, and wants a review."""

    finish: FinishRun

    policy: ClassVar[None] = None

    @property
    def needs_clock(self) -> bool:
        return self.finish.needs_clock

    def keys(self) -> Sequence[Need]:
        run = self.finish.run
        return [*self.finish.keys(), Ref(GlassRow, (run.tenant, glass_of_run(run.run_id)))]

    def decide(self, facts: Facts, now: Instant) -> tuple[StepAnswer[RunRow], Changes]:
        answer, changes = self.finish.decide(facts, now)
        run = self.finish.run
        row = facts.get(GlassRow, run.tenant, glass_of_run(run.run_id))
        is_over = answer.value is None or answer.value.state == RunState.FINISHED
        if row is None or row.state != GlassState.OPEN or not is_over:
            return answer, changes
        state = advance(GLASS_TABLE, GlassState(row.state), GlassEvent.CLOSE)
        closed = replace(row, state=state, review_by=now.seconds + REVIEW_SECONDS)
        entry = run_entry(
            EntryKind.GLASS_CLOSED,
            run,
            attempt=1,
            lease=f"lease_{run.run_id.partition('_')[2]}",
            person=row.opener,
            outcome=self.finish.why,
            detail={**GLASS_ALARM, "glass": row.glass_id, "review_by": closed.review_by},
        )
        return answer, Changes(rows=(*changes.rows, closed), entries=(*changes.entries, entry))


class ReviewGlass(msgspec.Struct, frozen=True, kw_only=True):
    """Another person writes what they think of a break-glass that is over."""

    policy_document: Policy
    opening: Opening
    voice: Voice
    words: str

    needs_clock: ClassVar[bool] = True

    @property
    def policy(self) -> str:
        return self.policy_document.hash

    def keys(self) -> Sequence[Need]:
        return [*voice_needs(self.voice), Ref(GlassRow, (self.opening.tenant, self.opening.glass_id))]

    def decide(self, facts: Facts, now: Instant) -> tuple[StepAnswer[GlassRow], Changes]:
        row = facts.get(GlassRow, self.opening.tenant, self.opening.glass_id)
        refusal = (
            refuse_voice(facts, self.voice, now)
            or refuse_reviewer(self.policy_document, self.opening, self.voice.person)
            or self._refuse_state(row)
        )
        if refusal is not None or row is None:
            return StepAnswer(refusal or deny(Reason.NOT_FOUND, "no such break-glass")), Changes()
        state = advance(GLASS_TABLE, GlassState(row.state), GlassEvent.REVIEW)
        reviewed = replace(row, state=state, reviewed_by=self.voice.person)
        entry = Entry(
            kind=EntryKind.GLASS_REVIEWED,
            tenant=row.tenant,
            environment=self.opening.environment,
            run=self.opening.run_id,
            lease=self.opening.lease_id,
            agent=BREAK_GLASS,
            requested_by=row.opener,
            route=row.route,
            person=self.voice.person,
            policy=self.policy,
            detail={"glass": row.glass_id, "words": self.words},
        )
        return StepAnswer(allow(), reviewed), Changes(rows=(reviewed,), entries=(entry,))

    def _refuse_state(self, row: GlassRow | None) -> Decision | None:
        if row is not None and row.state == GlassState.CLOSED:
            return None
        return deny(
            Reason.NOT_PENDING,
            f"{self.opening.glass_id} is {row.state if row is not None else 'not in this ledger'}",
            check="state == closed",
        )


def refuse_reviewer(policy: Policy, opening: Opening, person: str) -> Decision | None:
    """Why this person may not review it. Who opened it with the opener vouched for it; they judge it only where the
    policy names nobody else who could."""
    if person == opening.opener:
        return deny(Reason.OWN_REQUEST, f"{person} opened it; somebody else reviews it", check="reviewer != opener")
    able = _reviewers(policy, opening)
    if person not in able:
        return deny(
            Reason.NOT_ENTITLED,
            f"{person} may not review break-glass on {opening.route}",
            rule=f'break_glass."{opening.route}".confirmers',
            check=f"a role of {person} confirms there, or can lift",
        )
    if person != opening.second or able <= {opening.opener, opening.second}:
        return None
    return deny(
        Reason.OWN_REQUEST,
        f"{person} confirmed it; somebody who had no part in it reviews it",
        check="reviewer is neither of the two",
        enough="the words of another person who confirms there, or can lift",
    )


def _reviewers(policy: Policy, opening: Opening) -> frozenset[str]:
    """The people of the policy who may review, but for their own part in it."""
    rule = policy.break_glass.get(opening.route)
    confirming = frozenset(rule.confirmers if rule is not None else ())
    return frozenset(
        person
        for person, roles in policy.people.items()
        if not confirming.isdisjoint(roles) or has_power(policy, person, Power.LIFT, opening.tenant)
    )
