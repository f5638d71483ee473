"""What a caller may present to a guarded function, and what a guard makes of it. Called by `Guard`."""

from __future__ import annotations

import dataclasses
from typing import TypeAlias

from leasehold.errors import Denied
from leasehold.guard.capability import Capability, sub_call
from leasehold.model.call import HolderProof, ParentCall, check_key
from leasehold.model.decision import Reason, deny
from leasehold.model.lease import HeldLease, KeyedLease, Token

__all__ = ["Claim", "Permit", "ProvenToken", "claim_of"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class ProvenToken:
    """A token that came with a proof of possession (RFC 9449), as adapters present it. The authority checks it."""

    token: Token = dataclasses.field(repr=False)
    proof: HolderProof = dataclasses.field(repr=False)


Permit: TypeAlias = HeldLease | KeyedLease | Capability | Token | ProvenToken
"""The first argument of a guarded function: a lease, `lease.once(key)`, a caller's own capability, or a token."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Claim:
    """What is sent to the door besides the call itself. The token never shows."""

    token: Token = dataclasses.field(repr=False)
    key: str | None = None
    parent: ParentCall | None = None
    call_id: str = ""
    proof: HolderProof | None = dataclasses.field(default=None, repr=False)


def claim_of(permit: object, tool: str) -> Claim:
    """Return what a permit claims at one tool.

    Raises:
        TypeError: it is no permit.
        Denied: the lease or capability holds nothing for this tool, or the capability is over.
        InvalidError: the idempotency key is none.
    """
    match permit:
        case HeldLease():
            return Claim(token=_token_of(permit, tool))
        case KeyedLease():
            return Claim(token=_token_of(permit.held, tool), key=check_key(permit.key))
        case Capability():
            token, parent, key = sub_call(permit, tool)
            return Claim(token=token, parent=parent, key=key)
        case ProvenToken():
            return Claim(token=permit.token, proof=permit.proof)
        case str():
            return Claim(token=Token(permit))
    raise TypeError(f"a lease, lease.once(key), a capability or a token is needed first, not {type(permit).__name__}")


def _token_of(held: HeldLease, tool: str) -> Token:
    """The token for one tool; the other tools' tokens are never shown to this door."""
    if tool in held.tokens:
        return held.tokens[tool]
    raise Denied(
        deny(
            Reason.NOT_GRANTED,
            f"{held.lease.lease_id} grants nothing at {tool}",
            check=f"{tool} in {sorted(held.tokens)}",
            enough=f"a request for an action of {tool}",
        )
    )
