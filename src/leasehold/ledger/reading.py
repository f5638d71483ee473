"""A receipt's summary as typed values, for whoever shows it: `receipt inspect`, the demo, the console.

The names are those of the summary (`summary.summarise`) in snake case; times are RFC 3339, amounts decimal text.
Members that nobody shows are left out here; the summary itself is verified elsewhere.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeAlias

import msgspec

from leasehold.errors import VerificationError
from leasehold.model.canonical import prepare

__all__ = [
    "AmountTold",
    "AnswerTold",
    "AskedTold",
    "CallTold",
    "DenialTold",
    "DenialsTold",
    "EndTold",
    "GrantTable",
    "GrantedTold",
    "NarrowerTold",
    "RunTold",
    "SpendTold",
    "StopTold",
    "StoryTold",
    "SummaryTold",
    "read_summary",
]

GrantTable: TypeAlias = dict[str, dict[str, Any]]
"""Action to attribute to constraint, as JSON."""


class _Member(msgspec.Struct, frozen=True, rename="camel"):
    """A member of the summary."""


class AmountTold(_Member, frozen=True):
    """So much of one unit."""

    amount: str
    unit: str


class RunTold(_Member, frozen=True):
    """The envelope of a run."""

    agent: str
    attempts: int
    environment: str
    policy: str
    purpose: str
    requested_by: str
    requester_proof: str
    route: str
    run: str
    started_at: str
    tenant: str


class EndTold(_Member, frozen=True):
    """When and why something ended; empty while it goes on."""

    at: str
    why: str


class AnswerTold(_Member, frozen=True):
    """One person's word."""

    person: str
    verdict: str
    proof: str
    method: str
    same_account: bool
    own_request: bool
    words: str
    channel: str = ""
    speaker: str = ""


class AskedTold(_Member, frozen=True):
    """A request and what became of it."""

    allow: GrantTable
    answers: list[AnswerTold]
    kind: str
    reason: str
    request: str
    state: str
    card_erased: str = ""


class GrantedTold(_Member, frozen=True):
    """A lease."""

    allow: GrantTable
    approved_by: list[str]
    ended: EndTold
    expires_at: str
    lease: str


class CallTold(_Member, frozen=True):
    """A call that was admitted."""

    action: str
    admission: str
    approved_by: list[str]
    at: str
    attributes: dict[str, list[str | int | bool]]
    charged: list[AmountTold]
    error: str
    outcome: str
    overrun: list[str]
    tool_authority: bool


class DenialTold(_Member, frozen=True):
    """A refusal."""

    action: str
    at: str
    check: str
    kind: str
    message: str
    reason: str


class DenialsTold(_Member, frozen=True):
    """The refusals with entries of their own, and how many more there were."""

    listed: list[DenialTold]
    more: int


class SpendTold(_Member, frozen=True):
    """What was spent of one unit, and what of that is uncertain."""

    charged: str
    uncertain: str
    unit: str
    budget: str = ""


class NarrowerTold(_Member, frozen=True):
    """The narrower lease that would have been enough."""

    allow: GrantTable
    budget: list[AmountTold]


class StopTold(_Member, frozen=True):
    """A revoke, hold or lift that reached the run."""

    at: str
    by: str
    in_flight: list[str]
    kind: str
    reason: str
    scope: str


class StoryTold(_Member, frozen=True):
    """One run: asked, granted, used, denied, spent."""

    asked: list[AskedTold]
    contacted: list[str]
    denied: DenialsTold
    ended: EndTold
    files: list[str]
    granted: list[GrantedTold]
    in_flight: list[str]
    narrower: NarrowerTold
    never_used: list[str]
    resources: list[str]
    run: RunTold
    spend: list[SpendTold]
    unknown: list[str]
    used: list[CallTold]


class SummaryTold(StoryTold, frozen=True):
    """The run of the receipt, with its children, what stopped them, and whose word each part is."""

    asserted_by: dict[str, str]
    children: list[StoryTold]
    stops: list[StopTold]


prepare(SummaryTold)


def read_summary(predicate: Mapping[str, object]) -> SummaryTold:
    """Return the summary of a receipt's predicate.

    Raises:
        VerificationError: it is no summary of this version.
    """
    try:
        return msgspec.convert(predicate, SummaryTold)
    except msgspec.ValidationError as error:
        raise VerificationError(f"this receipt's summary cannot be read: {error}") from None
