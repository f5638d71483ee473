"""The lease: an inspectable contract, minutes long, for one run and one attempt (DESIGN §6, requirements L1-L4)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NewType

import msgspec

from leasehold.errors import InvalidError
from leasehold.model.grant import Grant, Grants, split_action
from leasehold.model.ids import LeaseId, RequestId, RunId, check_id
from leasehold.model.instant import Instant

__all__ = ["DEFAULT_TTL_SECONDS", "HARD_MAX_TTL_SECONDS", "HeldLease", "KeyedLease", "Lease", "Token"]

DEFAULT_TTL_SECONDS = 300
HARD_MAX_TTL_SECONDS = 900

Token = NewType("Token", str)
"""The unverified signed bytes of a lease for one audience: all that a guard accepts."""


class Lease(msgspec.Struct, frozen=True, kw_only=True):
    """What was granted, to whom, why and until when. Times are Unix seconds; budgets are millionths.

    `parents` are the ids of the leases above it, root first. `policy` is the hash of the policy it was drawn under.
    """

    lease_id: LeaseId
    run_id: RunId
    attempt: int
    request_id: RequestId
    agent: str
    requested_by: str
    approved_by: tuple[str, ...]
    tenant: str
    environment: str
    route: str
    allow: dict[str, Grant]
    deny: tuple[str, ...]
    budget: dict[str, int]
    ends_on: tuple[str, ...]
    delegation_depth: int
    parents: tuple[LeaseId, ...]
    issued_at: int
    expires_at: int
    reason: str
    policy: str
    epoch: int
    receipt: bool = True

    def __post_init__(self) -> None:
        check_id(self.lease_id, "lease")
        check_id(self.run_id, "run")
        check_id(self.request_id, "req")
        if self.expires_at <= self.issued_at:
            raise InvalidError("a lease must expire after it is issued")
        if self.attempt < 1 or self.delegation_depth < 0 or self.epoch < 1:
            raise InvalidError("attempt and epoch start at 1, delegation_depth at 0")
        if not self.allow:
            raise InvalidError("a lease that allows nothing is no lease")

    def is_expired(self, now: Instant) -> bool:
        """Whether its time is over."""
        return now.reached(self.expires_at)

    @property
    def audiences(self) -> tuple[str, ...]:
        """The tools that it names, sorted: one token for each."""
        return tuple(sorted({split_action(action)[0] for action in self.allow}))

    def grants_for(self, audience: str) -> Grants:
        """The grants of one tool: all that its token carries."""
        return {action: grant for action, grant in self.allow.items() if split_action(action)[0] == audience}


class HeldLease(msgspec.Struct, frozen=True, kw_only=True):
    """A lease with its tokens, as an agent host holds it; without a guard's own credential it opens no door."""

    lease: Lease
    tokens: Mapping[str, Token]

    def __repr__(self) -> str:
        """Without the tokens: hosts print and log what they hold."""
        return f"<HeldLease {self.lease.lease_id} at {', '.join(self.tokens)}>"

    def token_for(self, tool: str) -> Token:
        """The token of one tool.

        Raises:
            InvalidError: the lease grants nothing there.
        """
        if tool not in self.tokens:
            raise InvalidError(f"{self.lease.lease_id} grants nothing at {tool!r}; it grants {', '.join(self.tokens)}")
        return self.tokens[tool]

    def once(self, key: str) -> KeyedLease:
        """The same lease with an idempotency key for one write: the same key never executes twice."""
        return KeyedLease(held=self, key=key)


class KeyedLease(msgspec.Struct, frozen=True, kw_only=True):
    """A lease to be used for one call under an idempotency key (requirement P14)."""

    held: HeldLease
    key: str
