"""The document of a lease, put together from its run and request. Called when one is asked for and when one is drawn.

A lease that would not fit a token is refused by name before anybody is asked to approve it, and again before it is
recorded: what the ledger says was issued can be carried to every door it names.
"""

from __future__ import annotations

import msgspec

from leasehold.model.decision import Decision, Reason, deny
from leasehold.model.ids import LeaseId
from leasehold.model.lease import Lease
from leasehold.model.request import Request
from leasehold.model.run import Run
from leasehold.policy.document import Policy
from leasehold.policy.evaluate import ApprovalNeed, is_entitled
from leasehold.token.codec import MAX_TOKEN_CHARACTERS, token_characters

__all__ = ["APPROVED_BY_POLICY", "Drawing", "compose_lease", "largest_drawing", "refuse_large"]

APPROVED_BY_POLICY = "policy"


class Drawing(msgspec.Struct, frozen=True, kw_only=True):
    """What a lease has that neither its run nor its request knows. Times are Unix seconds."""

    lease_id: LeaseId
    approved_by: tuple[str, ...]
    parents: tuple[LeaseId, ...]
    delegation_depth: int
    issued_at: int
    expires_at: int
    policy: str
    epoch: int


def compose_lease(run: Run, request: Request, drawing: Drawing) -> Lease:
    """The lease that a drawing makes of a request."""
    return Lease(
        run_id=run.run_id,
        attempt=request.attempt,
        request_id=request.request_id,
        agent=run.agent,
        requested_by=run.requested_by,
        tenant=run.tenant,
        environment=run.environment,
        route=run.route,
        allow=request.allow,
        deny=request.deny,
        budget=request.budget,
        ends_on=request.ends_on,
        reason=request.reason,
        **msgspec.structs.asdict(drawing),
    )


def largest_drawing(policy: Policy, run: Run, request: Request, need: ApprovalNeed, epoch: int) -> Drawing:
    """A drawing as long as any that this request can lead to under this policy: for measuring, never for recording."""
    some_id = LeaseId(f"lease_{request.request_id.removeprefix('req_')}")
    names = (
        name for name in {*policy.people, run.requested_by} if is_entitled(policy, name, run.route, run.requested_by)
    )
    return Drawing(
        lease_id=some_id,
        approved_by=tuple(sorted(names, key=len, reverse=True)[: need.quorum]) or (APPROVED_BY_POLICY,),
        parents=(some_id,) * len(run.ancestors),
        delegation_depth=request.delegation_depth,
        issued_at=request.made_at,
        expires_at=run.expires_at,
        policy=policy.hash,
        epoch=epoch,
    )


def refuse_large(lease: Lease, issuer: str) -> Decision | None:
    """Why a lease cannot be carried: the token for one of its tools would be longer than any verifier reads."""
    for audience in lease.audiences:
        size = token_characters(lease, audience, issuer)
        if size > MAX_TOKEN_CHARACTERS:
            return deny(
                Reason.TOO_LARGE,
                f"the token for {audience} would take {size} characters",
                check=f"{size} <= {MAX_TOKEN_CHARACTERS}",
                enough="fewer values, a prefix in their place, a shorter reason, or a request of its own for some",
            )
    return None
