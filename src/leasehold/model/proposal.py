"""A policy that waits for a second person: the words said about it, and where it stands. For desk, decide, terminal."""

from __future__ import annotations

from enum import StrEnum

__all__ = ["PolicyVerdict", "ProposalState"]


class PolicyVerdict(StrEnum):
    """What a person says about a policy that widens."""

    PROPOSE = "propose"
    CONFIRM = "confirm"
    REFUSE = "refuse"


class ProposalState(StrEnum):
    """Where a proposal stands. One that another policy overtook can never be confirmed, and expires like any other."""

    PENDING = "pending"
    CONFIRMED = "confirmed"
    REFUSED = "refused"
    EXPIRED = "expired"
