"""Any step, behind what one person may do. Submitted by the person's desk; the step itself knows nothing of it.

The power is judged by the live policy in the same breath as the change, so a role that was taken away a moment ago
does nothing any more. Embedded, who holds the open state submits the steps themselves.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Generic, TypeVar

import msgspec

from leasehold.decide.facts import Changes, Facts, Need, Step, StepAnswer
from leasehold.decide.proven import as_proven
from leasehold.decide.rows import AUTHORITY_WIDE, PersonRow
from leasehold.decide.voices import Voice, refuse_voice, voice_needs
from leasehold.model.decision import Decision, Reason, deny
from leasehold.model.instant import Instant
from leasehold.policy.document import Policy, Power
from leasehold.policy.evaluate import has_power

__all__ = ["Empowered", "refuse_power"]

A = TypeVar("A")


class Empowered(msgspec.Struct, Generic[A], frozen=True, kw_only=True):
    """A step for one person: decided only if they are who they say, and may do this in the tenant (empty: in all)."""

    step: Step[A]
    policy_document: Policy
    voice: Voice
    power: Power
    tenant: str

    @property
    def policy(self) -> str:
        return self.policy_document.hash

    @property
    def needs_clock(self) -> bool:
        return self.step.needs_clock

    def keys(self) -> Sequence[Need]:
        return [*voice_needs(self.voice), *self.step.keys()]

    def decide(self, facts: Facts, now: Instant) -> tuple[StepAnswer[A], Changes]:
        person = facts.get(PersonRow, AUTHORITY_WIDE, self.voice.person)
        refusal = refuse_voice(facts, self.voice, now) or refuse_power(
            as_proven(self.policy_document, person, now), self.voice.person, self.power, self.tenant
        )
        if refusal is not None:
            return StepAnswer(refusal), Changes()
        return self.step.decide(facts, now)


def refuse_power(policy: Policy, person: str, power: Power, tenant: str) -> Decision | None:
    """Why a person may not do this in a tenant, or in every tenant where it is empty."""
    if has_power(policy, person, power, tenant):
        return None
    return deny(
        Reason.NOT_ENTITLED,
        f"{person} may not {power} in {tenant or 'every tenant'}",
        rule="roles",
        check=f"a role of {person} can {power} in {tenant or 'every tenant'}",
        enough=f'a role with can = ["{power}"] in the policy',
    )
