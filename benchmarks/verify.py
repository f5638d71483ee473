"""Verifying a lease token, seen before and new, beside one raw Ed25519 verification and beside joserfc.

The peer does what ours does: signature, header, claims. It is given its registries and key ready made.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

from joserfc import jwt
from joserfc.jwk import OKPKey

from benchmarks.report import Line, Table, Target
from benchmarks.rounds import interleave, per_operation
from benchmarks.stage import Stage
from leasehold.system import RealSystem
from leasehold.token.cache import VerifiedCache
from leasehold.token.verify import UnverifiedToken, VerifiedToken, Verifier

_PEER_ALGORITHM = "Ed25519"


def run(folder: Path, *, quick: bool) -> Table:
    """Measure, and answer the table."""
    stage = Stage(folder / "verify.db")
    try:
        token = stage.lease().token_for("ticket")
        identity = stage.identity
    finally:
        stage.close()
    keys = identity.leases.public()
    now = RealSystem().now()
    parsed = UnverifiedToken.parse(token)
    public = identity.leases.newest.public().public
    peer_key = OKPKey.import_key(public)
    warm = Verifier(identity.issuer, keys, VerifiedCache[VerifiedToken](1000))
    cold = Verifier(identity.issuer, keys)
    claims = _claims_registry(identity.issuer)

    def peer() -> None:
        claims.validate(jwt.decode(token, peer_key, algorithms=[_PEER_ALGORITHM]).claims)

    count = 20 if quick else 500
    operations: dict[str, Callable[[], object]] = {
        "raw": lambda: public.verify(parsed.signature, parsed.signing_input),
        "warm": lambda: warm.verify(token, audience="ticket", environment="prod", now=now),
        "cold": lambda: cold.verify(token, audience="ticket", environment="prod", now=now),
        "joserfc": peer,
    }
    cases = {name: partial(per_operation, one, count) for name, one in operations.items()}
    found = interleave("verify", cases, 3 if quick else 21)
    yardstick = "raw Ed25519"
    return Table(
        f"Verify a lease token ({len(token)} characters)",
        [
            Line("raw Ed25519 verification (cryptography)", found.seconds("raw")),
            Line("seen before", found.seconds("warm"), found.quotient("warm", "raw"), yardstick,
                 Target(0.1)),
            Line("new", found.seconds("cold"), found.quotient("cold", "raw"), yardstick, Target(1.4)),
            Line("joserfc: decode and validate", found.seconds("joserfc"),
                 found.quotient("joserfc", "raw"), yardstick),
        ],
    )  # fmt: skip


def _claims_registry(issuer: str) -> jwt.JWTClaimsRegistry:
    return jwt.JWTClaimsRegistry(
        iss={"essential": True, "value": issuer},
        aud={"essential": True, "value": "ticket"},
        exp={"essential": True},
        iat={"essential": True},
    )
