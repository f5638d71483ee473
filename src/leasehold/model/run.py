"""The envelope of one execution of one agent for one person's purpose (requirements B3, B4)."""

from __future__ import annotations

from enum import StrEnum

import msgspec

from leasehold.errors import InvalidError
from leasehold.model.ids import RequestId, RunId, check_id
from leasehold.model.text import check_identifier, check_unicode

__all__ = ["Link", "RequesterProof", "Run", "RunAttempt"]


class RequesterProof(StrEnum):
    """How it is known who asked: the launcher said so, or a subject token, a session or a key proved it."""

    ASSERTED = "asserted"
    PROVEN = "proven"


class Link(msgspec.Struct, frozen=True, kw_only=True):
    """One ancestor of a run: the run that delegated, and the request under whose leases it did so."""

    run_id: RunId
    request_id: RequestId
    attempt: int


class Run(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Who runs what for whom. Immutable; the newest attempt and the state stand in the run's row.

    Times are Unix seconds. `requester_proof` says how `requested_by` is known. `ancestors` are the delegating links,
    root first; empty for a run of its own. `epoch` is the authority's when it started: a restore begins a new one and
    voids the run.
    """

    run_id: RunId
    tenant: str
    environment: str
    agent: str
    requested_by: str
    route: str
    purpose: str
    started_at: int
    expires_at: int
    policy: str
    ancestors: tuple[Link, ...] = ()
    requester_proof: RequesterProof = RequesterProof.ASSERTED
    epoch: int = 1

    def __post_init__(self) -> None:
        check_id(self.run_id, "run")
        for what in ("tenant", "environment", "agent", "requested_by", "route"):
            check_identifier(getattr(self, what), what)
        if not check_unicode(self.purpose, "purpose").strip() or len(self.purpose) > 2000:
            raise InvalidError("a run needs a purpose of 1 to 2000 characters: what it is for, in a person's words")
        if self.expires_at <= self.started_at:
            raise InvalidError("a run must expire after it starts")
        if self.epoch < 1:
            raise InvalidError("epochs are counted from 1")
        if self.requester_proof not in list(RequesterProof):
            raise InvalidError(f"requester_proof is {' or '.join(RequesterProof)}, not {self.requester_proof!r}")

    @property
    def parent_run(self) -> RunId | None:
        """The run that delegated to this one, if any."""
        return self.ancestors[-1].run_id if self.ancestors else None


class RunAttempt(msgspec.Struct, frozen=True, kw_only=True):
    """One attempt of a run, as an agent host holds it. A retry gives a new one; what the older drew is dead."""

    run: Run
    attempt: int

    @property
    def run_id(self) -> RunId:
        """The run's id, the same for every attempt."""
        return self.run.run_id

    @property
    def tenant(self) -> str:
        """The run's tenant."""
        return self.run.tenant
