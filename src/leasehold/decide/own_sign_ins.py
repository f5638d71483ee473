"""What a signed-in person changes of their own ways to sign in, judged in the same breath as the change.

Whoever changes that has proven who they are a moment ago: a browser left open must not become a way in.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import msgspec

from leasehold.decide.facts import Changes, Facts, Need, StepAnswer
from leasehold.decide.sign_ins import AddSignIn, RemoveSignIn
from leasehold.decide.voices import SessionVoice, refuse_stale, refuse_voice, voice_needs
from leasehold.model.decision import Decision
from leasehold.model.instant import Instant
from leasehold.model.proof import SignIn

__all__ = ["RECENT_SECONDS", "RemoveOwnSignIn", "SetOwnSignIn"]

RECENT_SECONDS = 600
"""How long ago somebody may have proven who they are, to change by what they sign in."""


class SetOwnSignIn(msgspec.Struct, frozen=True, kw_only=True):
    """Give oneself a way to sign in: a passkey, or a new password in the place of the old one, whose sessions end."""

    voice: SessionVoice
    sign_in: SignIn

    policy: ClassVar[None] = None
    needs_clock: ClassVar[bool] = True

    @property
    def _add(self) -> AddSignIn:
        return AddSignIn(person=self.voice.person, sign_in=self.sign_in, by=self.voice.person)

    def keys(self) -> Sequence[Need]:
        return [*voice_needs(self.voice), *self._add.keys()]

    def decide(self, facts: Facts, now: Instant) -> tuple[StepAnswer[str], Changes]:
        refusal = _refuse(facts, self.voice, now)
        return (StepAnswer(refusal), Changes()) if refusal is not None else self._add.decide(facts, now)


class RemoveOwnSignIn(msgspec.Struct, frozen=True, kw_only=True):
    """Take one of one's own ways to sign in away. If the session rests on it, it is over."""

    voice: SessionVoice
    sign_in: str

    policy: ClassVar[None] = None
    needs_clock: ClassVar[bool] = True

    @property
    def _remove(self) -> RemoveSignIn:
        return RemoveSignIn(person=self.voice.person, sign_in=self.sign_in, by=self.voice.person)

    def keys(self) -> Sequence[Need]:
        return [*voice_needs(self.voice), *self._remove.keys()]

    def decide(self, facts: Facts, now: Instant) -> tuple[StepAnswer[str], Changes]:
        refusal = _refuse(facts, self.voice, now)
        return (StepAnswer(refusal), Changes()) if refusal is not None else self._remove.decide(facts, now)


def _refuse(facts: Facts, voice: SessionVoice, now: Instant) -> Decision | None:
    return refuse_voice(facts, voice, now) or refuse_stale(facts, voice, now, RECENT_SECONDS)
