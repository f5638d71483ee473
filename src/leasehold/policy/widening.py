"""Whether a policy widens, and the digest of all that does: what a second person has to have seen. Called by decide."""

from __future__ import annotations

import hashlib

import msgspec

from leasehold.policy.diff import diff
from leasehold.policy.document import Policy
from leasehold.policy.programs import client_gains
from leasehold.policy.reach import reach

__all__ = ["widened_keys", "widening_digest"]

_ENCODER = msgspec.json.Encoder(order="sorted")


def widened_keys(old: Policy, new: Policy) -> tuple[str, ...]:
    """The keys whose change widens, each once, as `policy diff` names them; none where nothing does."""
    changes = [change for change in diff(old, new) if change.widens]
    places = (" ".join(filter(None, (each.route, each.action, each.subject))) for each in changes)
    return tuple(dict.fromkeys(places))


def widening_digest(old: Policy, new: Policy) -> str:
    """`sha256:` and the hex digest of every change that widens and of everything that became reachable, or that clients
    gained."""
    changes = [change for change in diff(old, new) if change.widens]
    body = _ENCODER.encode({"changes": changes, "reach": reach(old, new), "clients": client_gains(old, new)})
    return f"sha256:{hashlib.sha256(body).hexdigest()}"
