"""What the token tests share: one seeded authority, one lease, and a forger that signs whatever it is told."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest

from leasehold.model.grant import grants_from_json
from leasehold.model.ids import LeaseId, RequestId, RunId
from leasehold.model.instant import Instant
from leasehold.model.lease import Lease, Token
from leasehold.token import base64url
from leasehold.token.codec import lease_to_claims, sign_lease
from leasehold.token.keys import DocumentType, KeyRing, SigningKey
from leasehold.token.verify import VerifiedToken, Verifier

ISSUER = "urn:leasehold:authority:01JZ8Q5X0M3V7K2N9B4C6D8E0F"
ISSUED_AT = 1_778_068_800


@pytest.fixture(scope="session")
def issuer() -> str:
    return ISSUER


@pytest.fixture(scope="session")
def ring() -> KeyRing:
    return KeyRing(DocumentType.LEASE, (SigningKey.generate(bytes(range(32))),))


@pytest.fixture(scope="session")
def lease() -> Lease:
    return Lease(
        lease_id=LeaseId("lease_01JZ8Q5X0M3V7K2N9B4C6D8E0F"),
        run_id=RunId("run_01JZ8Q5X0M3V7K2N9B4C6D8E0G"),
        attempt=2,
        request_id=RequestId("req_01JZ8Q5X0M3V7K2N9B4C6D8E0H"),
        agent="release-bot",
        requested_by="user:ana",
        approved_by=("user:anirudh",),
        tenant="acme",
        environment="staging",
        route="ci/deploy",
        allow=grants_from_json(
            {
                "deploy.prod.release:create": {"service": ["payments-api"], "replicas": {"max": 3, "min": 0}},
                "deploy.prod.release:status": {"service": ["payments-api", "T-*", "src/**", 7, True]},
                "ticket.close": {"ticket": ["T-1"], "note": {"max_length": 2000}, "any": ["**"]},
            }
        ),
        deny=("secrets.*",),
        budget={"calls": 30_000_000, "tool_seconds": 600_000_000, "usd": 1_000_000},
        ends_on=("ticket.close",),
        delegation_depth=1,
        parents=(LeaseId("lease_01JZ8Q5X0M3V7K2N9B4C6D8E0A"), LeaseId("lease_01JZ8Q5X0M3V7K2N9B4C6D8E0B")),
        issued_at=ISSUED_AT,
        expires_at=ISSUED_AT + 300,
        reason="promote already-built artifact “v2” for smoke test\n\U0001f680",
        policy="sha256:" + "0" * 64,
        epoch=3,
    )


@pytest.fixture(scope="session")
def token(lease: Lease, ring: KeyRing) -> Token:
    return sign_lease(lease, "deploy.prod", ISSUER, ring)


@pytest.fixture(scope="session")
def verifier(ring: KeyRing) -> Verifier:
    return Verifier(ISSUER, ring.public())


@pytest.fixture(scope="session")
def verify(verifier: Verifier) -> Callable[[str], VerifiedToken]:
    """Present a token at the right door one second after its issue."""

    def present(token: str) -> VerifiedToken:
        now = Instant((ISSUED_AT + 1) * 1000)
        return verifier.verify(token, audience="deploy.prod", environment="staging", now=now)

    return present


@pytest.fixture(scope="session")
def claims(lease: Lease) -> dict[str, object]:
    return lease_to_claims(lease, "deploy.prod", ISSUER)


@pytest.fixture(scope="session")
def forge(ring: KeyRing) -> Callable[..., str]:
    """Sign any header and payload (bytes, or a value written as sorted compact JSON) with the authority's own key."""

    def text(part: object) -> bytes:
        if isinstance(part, bytes):
            return part
        return json.dumps(part, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()

    def sign(payload: object, header: object | None = None, key: SigningKey = ring.newest) -> str:
        members = {"alg": "Ed25519", "kid": key.kid, "typ": "at+jwt"} if header is None else header
        signing_input = f"{base64url.encode(text(members))}.{base64url.encode(text(payload))}"
        return f"{signing_input}.{base64url.encode(key.sign(signing_input.encode()))}"

    return sign
