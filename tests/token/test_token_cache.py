"""Verifying again is cheap and forgives nothing: all that time and place can change is asked each time."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import msgspec
import pytest

from leasehold.errors import InvalidError, TokenError
from leasehold.model.instant import Instant
from leasehold.model.lease import Lease, Token
from leasehold.token.cache import VerifiedCache
from leasehold.token.codec import sign_lease
from leasehold.token.keys import DocumentType, KeyRing, PublicKeys, SigningKey
from leasehold.token.verify import VerifiedToken, Verifier

Cache = VerifiedCache[VerifiedToken]


def present(verifier: Verifier, token: str, seconds: int, *, audience: str = "deploy.prod") -> VerifiedToken:
    return verifier.verify(token, audience=audience, environment="staging", now=Instant(seconds * 1000))


def code_of(verifier: Verifier, token: str, seconds: int, *, audience: str = "deploy.prod") -> str:
    with pytest.raises(TokenError) as caught:
        present(verifier, token, seconds, audience=audience)
    return str(caught.value.code)


def test_a_token_seen_before_is_not_parsed_again(ring: KeyRing, token: Token, lease: Lease, issuer: str) -> None:
    verifier = Verifier(issuer, ring.public(), Cache(8))
    assert present(verifier, token, lease.issued_at) is present(verifier, str(token), lease.issued_at)


@pytest.mark.case(12, 46, 50)
def test_time_place_and_keys_are_checked_again_for_a_token_seen_before(
    ring: KeyRing, token: Token, lease: Lease, issuer: str
) -> None:
    cache = Cache(8)
    verifier = Verifier(issuer, ring.public(), cache)
    present(verifier, token, lease.issued_at)
    assert code_of(verifier, token, lease.expires_at) == "expired"
    assert code_of(verifier, token, lease.issued_at - 3) == "not_yet"
    assert code_of(verifier, token, lease.issued_at, audience="ticket") == "audience"
    assert code_of(Verifier("other", ring.public(), cache), token, lease.issued_at) == "issuer"
    stranger = SigningKey.generate(bytes([2]) * 32)
    old = replace(ring.newest.public(), retired_at=lease.issued_at - 900)
    retired = PublicKeys.of(DocumentType.LEASE, [old, stranger.public()])
    assert code_of(Verifier(issuer, retired, cache), token, lease.issued_at) == "key_retired"
    dropped = PublicKeys.of(DocumentType.LEASE, [stranger.public()])
    assert code_of(Verifier(issuer, dropped, cache), token, lease.issued_at) == "unknown_key"


def test_what_was_refused_is_not_remembered_as_good(ring: KeyRing, token: Token, lease: Lease, issuer: str) -> None:
    cache = Cache(8)
    verifier = Verifier(issuer, ring.public(), cache)
    for text, expected in ((token[:-8] + "AAAAAAAA", "signature"), (token + "=", "encoding"), ("é", "shape")):
        assert [code_of(verifier, text, lease.issued_at) for _ in range(2)] == [expected] * 2
    assert code_of(verifier, token + "A" * 8192, lease.issued_at) == "size"
    assert len(cache) == 0


def test_the_cache_stays_within_its_capacity_and_keeps_what_is_used(
    ring: KeyRing, token: Token, lease: Lease, issuer: str
) -> None:
    cache = Cache(6)
    verifier = Verifier(issuer, ring.public(), cache)
    kept = present(verifier, token, lease.issued_at)
    for number in range(1, 20):
        other = sign_lease(msgspec.structs.replace(lease, attempt=number), "deploy.prod", issuer, ring)
        assert present(verifier, other, lease.issued_at).attempt == number
        assert present(verifier, token, lease.issued_at) is kept
        assert len(cache) <= 6
    for number in range(20, 30):
        other = sign_lease(msgspec.structs.replace(lease, attempt=number), "deploy.prod", issuer, ring)
        present(verifier, other, lease.issued_at)
    assert present(verifier, token, lease.issued_at) is not kept


def test_a_cache_of_nothing_cannot_be_made() -> None:
    with pytest.raises(InvalidError, match="at least 2"):
        VerifiedCache(1)


def test_threads_may_share_a_cache(ring: KeyRing, lease: Lease, issuer: str) -> None:
    cache = Cache(4)
    verifier = Verifier(issuer, ring.public(), cache)
    tokens = [
        sign_lease(msgspec.structs.replace(lease, attempt=number), "deploy.prod", issuer, ring)
        for number in range(1, 9)
    ]

    def check(number: int) -> bool:
        return present(verifier, tokens[number % 8], lease.issued_at).attempt == number % 8 + 1

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(check, range(400)))
    assert len(cache) <= 4
