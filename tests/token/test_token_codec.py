"""The lease as a JWT: what other readers see in it, and that nothing is lost on the way."""

from __future__ import annotations

import json

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from joserfc import jwt
from joserfc.jwk import KeySet

from leasehold.errors import InvalidError, TokenError
from leasehold.model import canonical
from leasehold.model.grant import Grant, MaxLength, OneOf, Prefix, Range
from leasehold.model.instant import Instant
from leasehold.model.lease import Lease, Token
from leasehold.token.codec import MAX_TOKEN_CHARACTERS, lease_to_claims, parse_claims, sign_lease
from leasehold.token.jwk import public_jwks
from leasehold.token.keys import DocumentType, KeyRing, SigningKey
from leasehold.token.verify import UnverifiedToken, VerifiedToken, Verifier

RENAMED = {"issuer", "audience", "kid", "cnf_jkt"}  # members of a verified token that no lease has

names = st.from_regex(r"[a-z][a-z0-9-]{0,9}", fullmatch=True)
texts = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=30)
integers = st.integers(-(2**53) + 1, 2**53 - 1)
values = st.one_of(names, integers, st.booleans(), st.just("payé/été"))
prefixes = st.one_of(
    names.map(Prefix), names.map(lambda name: Prefix(name + "/", deep=True)), st.just(Prefix("", True))
)
amounts = st.integers(0, 2**53 - 1)


@st.composite
def choices(draw: st.DrawFn) -> OneOf:
    exact = draw(st.lists(values, max_size=3, unique_by=lambda value: (type(value), value)))
    wide = draw(st.lists(prefixes, min_size=0 if exact else 1, max_size=2, unique=True))
    return OneOf(tuple(sorted(exact, key=lambda value: (type(value).__name__, value))), tuple(sorted(wide)))


ranges = st.tuples(integers, integers).map(sorted).map(lambda pair: Range(min=pair[0], max=pair[1]))
half_ranges = st.one_of(integers.map(lambda bound: Range(max=bound)), st.just(Range(min="0.05")))
constraints = st.one_of(choices(), ranges, half_ranges, st.integers(1, 2**53 - 1).map(MaxLength))


@st.composite
def grants(draw: st.DrawFn, tools: tuple[str, ...] = ("deploy.prod", "ticket")) -> dict[str, Grant]:
    verbs = draw(st.dictionaries(st.tuples(st.sampled_from(tools), names), st.none(), min_size=1, max_size=4))
    attributes = st.dictionaries(st.from_regex(r"[a-z]{1,8}", fullmatch=True), constraints, max_size=3)
    return {f"{tool}.{verb}": Grant(f"{tool}.{verb}", draw(attributes)) for tool, verb in verbs}


@st.composite
def leases(draw: st.DrawFn, base: Lease) -> Lease:
    issued_at = draw(st.integers(0, 2**40))
    return msgspec.structs.replace(
        base,
        attempt=draw(st.integers(1, 2**53 - 1)),
        agent=draw(names),
        approved_by=tuple(draw(st.lists(names, max_size=3))),
        allow=draw(grants()),
        deny=tuple(draw(st.lists(names, max_size=2))),
        budget=draw(st.dictionaries(st.sampled_from(["calls", "usd", "tool_seconds", "gpu_seconds"]), amounts)),
        ends_on=tuple(draw(st.lists(names, max_size=2))),
        delegation_depth=draw(st.integers(0, 8)),
        parents=base.parents[: draw(st.integers(0, 2))],
        issued_at=issued_at,
        expires_at=issued_at + draw(st.integers(1, 900)),
        reason=draw(texts),
        epoch=draw(st.integers(1, 2**53 - 1)),
        receipt=draw(st.booleans()),
    )


def same(constraint: object) -> object:
    """Equal grants compare equal by their JSON, type for type."""
    return json.dumps(constraint, sort_keys=True, ensure_ascii=False)


def as_json(allow: dict[str, Grant]) -> object:
    return {
        action: {name: same(entry.to_json()) for name, entry in grant.attributes.items()}
        for action, grant in allow.items()
    }


@pytest.mark.requirement("L1", "L2")
@pytest.mark.case(23)
@given(data=st.data())
def test_a_verified_token_says_what_its_lease_says_of_its_audience(
    data: st.DataObject, lease: Lease, ring: KeyRing, issuer: str
) -> None:
    drawn = data.draw(leases(lease))
    verifier = Verifier(issuer, ring.public())
    for audience in drawn.audiences:
        token = sign_lease(drawn, audience, issuer, ring)
        now = Instant(drawn.issued_at * 1000)
        verified = verifier.verify(token, audience=audience, environment=drawn.environment, now=now)
        assert as_json(verified.allow) == as_json(dict(drawn.grants_for(audience)))
        for member in VerifiedToken.__struct_fields__:
            if member not in RENAMED | {"allow"}:
                assert getattr(verified, member) == getattr(drawn, member), member


@pytest.mark.case(23)
@given(data=st.data())
def test_an_independent_library_verifies_our_token_and_reads_the_same_claims(
    data: st.DataObject, lease: Lease, ring: KeyRing, issuer: str
) -> None:
    drawn = data.draw(leases(lease))
    keys = KeySet.import_key_set(json.loads(public_jwks(ring.public())))
    for audience in drawn.audiences:
        decoded = jwt.decode(sign_lease(drawn, audience, issuer, ring), keys, algorithms=["Ed25519"])
        assert decoded.header == {"alg": "Ed25519", "kid": ring.newest.kid, "typ": "at+jwt"}
        assert decoded.claims == json.loads(json.dumps(lease_to_claims(drawn, audience, issuer)))


@pytest.mark.requirement("C7")
def test_the_claims_are_those_that_oauth_readers_know(
    claims: dict[str, object], lease: Lease, token: Token, ring: KeyRing
) -> None:
    keys = KeySet.import_key_set(json.loads(public_jwks(ring.public())))
    decoded = jwt.decode(token, keys, algorithms=["Ed25519"])
    registry = jwt.JWTClaimsRegistry(
        now=lambda: lease.issued_at + 1,
        iss={"essential": True, "value": str(claims["iss"])},
        aud={"essential": True, "value": "deploy.prod"},
        sub={"essential": True, "value": lease.run_id},
        client_id={"essential": True, "value": "release-bot"},
        jti={"essential": True, "value": lease.lease_id},
    )
    registry.validate(decoded.claims)
    details = decoded.claims["authorization_details"]
    assert [detail["actions"] for detail in details] == [["deploy.prod.release:create"], ["deploy.prod.release:status"]]
    assert {detail["type"] for detail in details} == {"urn:leasehold:grant:1"}
    assert details[0]["constraints"] == {"service": ["payments-api"], "replicas": {"max": 3, "min": 0}}


@pytest.mark.requirement("L1")
@pytest.mark.case(10)
def test_a_token_carries_its_audiences_grants_only(lease: Lease, ring: KeyRing, issuer: str) -> None:
    payload = UnverifiedToken.parse(sign_lease(lease, "ticket", issuer, ring)).payload
    assert b"deploy.prod.release" not in payload
    with pytest.raises(InvalidError, match=r"grants nothing at 'db'; it grants deploy\.prod, ticket"):
        sign_lease(lease, "db", issuer, ring)


@given(data=st.data())
def test_the_readers_spelling_is_the_canonical_one(data: st.DataObject, lease: Lease, issuer: str) -> None:
    drawn = data.draw(leases(lease))
    for audience in drawn.audiences:
        payload = canonical.encode(lease_to_claims(drawn, audience, issuer))
        parse_claims(payload)  # its writer is not the one that signs: both write the same bytes or this raises


@pytest.mark.case(13, 14, 15, 16, 18)
@given(data=st.data())
def test_a_payload_is_accepted_only_if_the_strict_reader_takes_it_and_it_is_canonical(
    data: st.DataObject, claims: dict[str, object]
) -> None:
    payload = canonical.encode(claims)
    at = data.draw(st.integers(0, len(payload)))
    piece = data.draw(
        st.one_of(
            st.binary(max_size=2),
            st.sampled_from(
                [b" ", b",", b".0", b"e0", b"0", b"-", b"\\u0000", b"\\u0041", b"\xed\xa0\x80", b'"iat":1,']
            ),
        )
    )
    altered = payload[:at] + piece + payload[at + data.draw(st.integers(0, 2)) :]
    try:
        parse_claims(altered)
    except TokenError:
        return
    assert canonical.encode(canonical.decode(altered)) == altered


@pytest.mark.requirement("L3")
@pytest.mark.case(50)
def test_a_lease_above_the_hard_maximum_is_not_signed(lease: Lease, ring: KeyRing, issuer: str) -> None:
    longest = msgspec.structs.replace(lease, expires_at=lease.issued_at + 900)
    sign_lease(longest, "ticket", issuer, ring)
    with pytest.raises(InvalidError, match="at most 900 s, not 901"):
        sign_lease(msgspec.structs.replace(lease, expires_at=lease.issued_at + 901), "ticket", issuer, ring)


@pytest.mark.case(50)
@pytest.mark.parametrize("ttl_seconds", [0, -1])
def test_a_lease_that_ends_before_it_begins_cannot_be_made(lease: Lease, ttl_seconds: int) -> None:
    with pytest.raises(InvalidError, match="expire after"):
        msgspec.structs.replace(lease, expires_at=lease.issued_at + ttl_seconds)


def test_a_lease_too_large_for_a_token_is_refused_when_it_is_signed(lease: Lease, ring: KeyRing, issuer: str) -> None:
    long = msgspec.structs.replace(lease, reason="r" * MAX_TOKEN_CHARACTERS)
    with pytest.raises(InvalidError, match="grant less"):
        sign_lease(long, "ticket", issuer, ring)


@pytest.mark.case(9)
@pytest.mark.parametrize("document_type", [t for t in DocumentType if t is not DocumentType.LEASE])
def test_a_ring_for_another_document_signs_no_lease(lease: Lease, issuer: str, document_type: DocumentType) -> None:
    ring = KeyRing(document_type, (SigningKey.generate(bytes(32)),))
    with pytest.raises(InvalidError, match="ring for leases"):
        sign_lease(lease, "ticket", issuer, ring)


@pytest.mark.case(11)
def test_a_bound_token_opens_nothing_without_proof_of_its_key(lease: Lease, ring: KeyRing, issuer: str) -> None:
    holder = SigningKey.generate(bytes([8]) * 32).kid
    token = sign_lease(lease, "ticket", issuer, ring, holder)
    verifier = Verifier(issuer, ring.public())
    now = Instant(lease.issued_at * 1000)
    verified = verifier.verify(token, audience="ticket", environment="staging", now=now, holder=holder)
    assert verified.cnf_jkt == holder
    for other in (None, ring.newest.kid, ""):
        with pytest.raises(TokenError) as caught:
            verifier.verify(token, audience="ticket", environment="staging", now=now, holder=other)
        assert caught.value.code == "holder"


def test_a_bearer_token_does_not_mind_a_proof(verifier: Verifier, token: Token, lease: Lease, ring: KeyRing) -> None:
    now = Instant(lease.issued_at * 1000)
    for proven in (None, ring.newest.kid):
        said = verifier.verify(token, audience="deploy.prod", environment="staging", now=now, holder=proven)
        assert said.cnf_jkt is None


def test_a_text_with_the_letters_of_an_escaped_nul_passes_and_nul_does_not(
    lease: Lease, ring: KeyRing, issuer: str, claims: dict[str, object]
) -> None:
    harmless = msgspec.structs.replace(lease, reason="write \\u0000 in JSON")
    parse_claims(UnverifiedToken.parse(sign_lease(harmless, "ticket", issuer, ring)).payload)
    with pytest.raises(TokenError):
        parse_claims(canonical.encode(claims | {"reason": "MARK"}).replace(b"MARK", b"\\u0000"))
    with pytest.raises(InvalidError):
        sign_lease(msgspec.structs.replace(lease, reason="\0"), "ticket", issuer, ring)
