"""Runs and requests before the step that makes them: all that is asked for, and nothing yet that the step sets.

Made by Runs, and by who rehearses what Runs would do. A draft's times, policy and card mean nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from leasehold.errors import InvalidError
from leasehold.model.api import ALL_DEPTH
from leasehold.model.budget import amounts_from_json
from leasehold.model.grant import grants_from_json
from leasehold.model.ids import RequestId, RunId
from leasehold.model.request import Request, RequestKind
from leasehold.model.run import Link, RequesterProof, Run, RunAttempt
from leasehold.system import System

__all__ = ["draft_request", "draft_run"]


def draft_run(
    system: System,
    *,
    agent: str,
    route: str,
    tenant: str,
    environment: str,
    requested_by: str,
    purpose: str,
    requester_proof: RequesterProof,
    ancestors: tuple[Link, ...] = (),
) -> Run:
    """A run to be started, under an id of its own."""
    return Run(
        run_id=RunId(system.new_id("run")),
        tenant=tenant,
        environment=environment,
        agent=agent,
        requested_by=requested_by,
        route=route,
        purpose=purpose,
        started_at=0,
        expires_at=1,
        policy="",
        ancestors=ancestors,
        requester_proof=requester_proof,
    )


def draft_request(
    system: System,
    run: RunAttempt,
    allow: Mapping[str, Mapping[str, object]],
    *,
    reason: str,
    ttl_seconds: int,
    budget: Mapping[str, object] | None = None,
    delegation_depth: int = ALL_DEPTH,
    tried: Sequence[str] = (),
) -> Request:
    """A request for a lease, under an id of its own.

    Raises:
        InvalidError: a grant or amount cannot be read, or the depth is less than none.
    """
    if delegation_depth < ALL_DEPTH:  # or one step too far down would be as far as the route lets
        raise InvalidError(f"delegation_depth {delegation_depth} is none; leave it out for all that the route allows")
    return Request(
        request_id=RequestId(system.new_id("req")),
        kind=RequestKind.LEASE,
        tenant=run.tenant,
        run_id=run.run_id,
        attempt=run.attempt,
        reason=reason,
        made_at=0,
        answer_by=1,
        policy="",
        card_digest="",
        allow=grants_from_json(allow),
        budget=amounts_from_json(budget or {}),
        ttl_seconds=ttl_seconds,
        delegation_depth=delegation_depth,
        tried=tuple(tried),
    )
