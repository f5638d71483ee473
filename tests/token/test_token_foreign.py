"""Tokens of other issuers: every shape that is taken, every single thing that makes one count for nothing."""

from __future__ import annotations

import hmac
import json
import warnings
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from joserfc.jwk import ECKey, RSAKey

from issuer import Key, key_set, make_key, sign
from leasehold.errors import InvalidError, TokenError
from leasehold.model.instant import Instant
from leasehold.token import base64url
from leasehold.token.codes import TokenCode
from leasehold.token.foreign import (
    ALGORITHMS,
    LONGEST_SECONDS,
    MAX_FOREIGN_CHARACTERS,
    SKEW_SECONDS,
    IssuerClaims,
    read_foreign_keys,
    unverified_header,
    unverified_issuer,
    verify_foreign,
)

NOW = 1_800_000_000
ISSUER = "https://issuer.example"
US = "https://lease.acme.example"
KEY = make_key()
CLAIMS: dict[str, Any] = {"iss": ISSUER, "sub": "repo:acme/app", "aud": US, "iat": NOW, "exp": NOW + 300}
TOKEN = sign(KEY, CLAIMS)
"""One for all drawn examples: a signature is another one each time it is made, and Hypothesis draws by what it is."""


def verify(token: str, *keys: Key, audience: str = US) -> IssuerClaims:
    known = read_foreign_keys(key_set(*(keys or (KEY,))))
    return verify_foreign(token, known, issuer=ISSUER, audience=audience, now=Instant(NOW * 1000))


def refused(token: str, *keys: Key) -> str:
    with pytest.raises(TokenError) as caught:
        verify(token, *keys)
    return caught.value.code


def changed(**claims: Any) -> str:
    """A good token but for these claims; None takes one out."""
    return sign(KEY, {name: value for name, value in {**CLAIMS, **claims}.items() if value is not None})


@pytest.mark.parametrize("algorithm", sorted(ALGORITHMS))
def test_a_token_signed_with_any_algorithm_on_the_list_is_taken(algorithm: str) -> None:
    key = make_key(algorithm)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the library that signs here warns of the older name of Ed25519
        token = sign(key, CLAIMS)
    found = verify(token, key)
    assert (found.issuer, found.subject, found.expires_at) == (ISSUER, "repo:acme/app", NOW + 300)
    assert found.claims == CLAIMS
    assert (unverified_issuer(token), unverified_header(token).kid) == (ISSUER, "one")


@pytest.mark.case(1)
def test_a_token_without_signature_or_signed_with_the_public_key_as_a_secret_is_refused() -> None:
    rsa = make_key("RS256")
    body = base64url.encode(json.dumps(CLAIMS).encode())
    head = base64url.encode(json.dumps({"alg": "HS256", "kid": "one"}).encode())
    stamp = hmac.digest(rsa.as_pem(private=False), f"{head}.{body}".encode(), "sha256")
    confused = f"{head}.{body}.{base64url.encode(stamp)}"
    assert refused(confused, rsa) == TokenCode.HEADER
    head = base64url.encode(json.dumps({"alg": "none"}).encode())
    assert refused(f"{head}.{body}.") == TokenCode.SHAPE
    assert refused(f"{head}.{body}.AA") == TokenCode.HEADER


@pytest.mark.parametrize("name", ["None", "NONE", "HS256", "HS512", "ES256K", "es256", "RS1", "", 5, ["ES256"]])
@pytest.mark.case(1)
def test_every_other_algorithm_and_spelling_is_refused(name: object) -> None:
    head, body, signature = changed().split(".")
    head = base64url.encode(json.dumps({"alg": name, "kid": "one"}).encode())
    assert refused(f"{head}.{body}.{signature}") == TokenCode.HEADER


@pytest.mark.case(3)
@pytest.mark.case(4)
@pytest.mark.parametrize("name", ["jwk", "jku", "x5u", "x5c", "crit", "b64"])
def test_a_header_that_brings_keys_or_extensions_along_is_refused(name: str) -> None:
    _, body, signature = changed().split(".")
    members = {"alg": "ES256", "kid": "one", name: "https://evil.example"}
    assert refused(f"{base64url.encode(json.dumps(members).encode())}.{body}.{signature}") == TokenCode.HEADER


@pytest.mark.case(9)
@pytest.mark.parametrize("kind", ["at+jwt", "dpop+jwt", "logout+jwt", "leasehold-person+jwt", 7])
def test_a_document_of_another_type_is_no_token_of_an_issuer(kind: object) -> None:
    _, body, signature = changed().split(".")
    members = base64url.encode(json.dumps({"alg": "ES256", "kid": "one", "typ": kind}).encode())
    assert refused(f"{members}.{body}.{signature}") == TokenCode.TYPE


@pytest.mark.case(9)
def test_a_document_that_says_what_happened_proves_nobody_though_it_names_no_type() -> None:
    """A logout token (OpenID Connect Back-Channel Logout) is for the same audience, by the same key, about a person."""
    assert refused(changed(events={"http://schemas.openid.net/event/backchannel-logout": {}})) == TokenCode.TYPE


@pytest.mark.parametrize("kind", ["JWT", "jwt", "JOSE", None])
def test_a_plain_type_or_none_is_taken(kind: str | None) -> None:
    assert verify(sign(KEY, CLAIMS, typ=kind)).subject == "repo:acme/app"


@pytest.mark.case(2)
def test_the_key_is_found_by_its_id_or_is_the_only_one_that_fits() -> None:
    other, same = make_key(kid="two"), make_key(kid="one")
    assert verify(sign(KEY, CLAIMS), KEY, other).subject
    assert verify(sign(KEY, CLAIMS, kid=None)).subject
    assert unverified_header(sign(KEY, CLAIMS, kid=None)).kid is None
    assert refused(sign(KEY, CLAIMS, kid=None), KEY, other) == TokenCode.HEADER
    assert refused(sign(KEY, CLAIMS), KEY, same) == TokenCode.HEADER
    assert refused(sign(KEY, CLAIMS, kid="../../etc/passwd")) == TokenCode.UNKNOWN_KEY
    assert refused(sign(KEY, CLAIMS), make_key("RS256")) == TokenCode.HEADER
    assert refused(sign(make_key(), CLAIMS)) == TokenCode.SIGNATURE
    _, body, signature = sign(KEY, CLAIMS).split(".")
    for kid in (7, "k" * 513):
        long = base64url.encode(json.dumps({"alg": "ES256", "kid": kid}).encode())
        assert refused(f"{long}.{body}.{signature}") == TokenCode.HEADER


@pytest.mark.parametrize(
    ("claims", "code"),
    [
        ({"iss": ISSUER + "/"}, TokenCode.ISSUER),
        ({"iss": ISSUER.upper()}, TokenCode.ISSUER),
        ({"iss": None}, TokenCode.ISSUER),
        ({"aud": None}, TokenCode.AUDIENCE),
        ({"aud": US + "/"}, TokenCode.AUDIENCE),
        ({"aud": []}, TokenCode.AUDIENCE),
        ({"aud": {US: 1}}, TokenCode.AUDIENCE),
        ({"aud": [US, 7]}, TokenCode.AUDIENCE),
        ({"aud": [US, 7], "azp": US}, TokenCode.AUDIENCE),
        ({"aud": [US, "https://other.example"]}, TokenCode.AUDIENCE),
        ({"aud": [US, "https://other.example"], "azp": "https://other.example"}, TokenCode.AUDIENCE),
        ({"exp": None}, TokenCode.CLAIMS),
        ({"exp": str(NOW + 300)}, TokenCode.CLAIMS),
        ({"exp": True}, TokenCode.CLAIMS),
        ({"exp": -1}, TokenCode.CLAIMS),
        ({"nbf": "now"}, TokenCode.CLAIMS),
        ({"iat": {}}, TokenCode.CLAIMS),
        ({"exp": NOW}, TokenCode.EXPIRED),
        ({"exp": NOW - 1}, TokenCode.EXPIRED),
        ({"iat": NOW + SKEW_SECONDS + 1}, TokenCode.NOT_YET),
        ({"nbf": NOW + SKEW_SECONDS + 1}, TokenCode.NOT_YET),
        ({"exp": NOW + LONGEST_SECONDS + 1}, TokenCode.LIFETIME),
        ({"iat": None, "exp": NOW + LONGEST_SECONDS + 1}, TokenCode.LIFETIME),
        ({"sub": None}, TokenCode.CLAIMS),
        ({"sub": ""}, TokenCode.CLAIMS),
        ({"sub": 7}, TokenCode.CLAIMS),
        ({"sub": "s" * 2049}, TokenCode.CLAIMS),
    ],
)
def test_a_claim_that_is_missing_wrong_or_for_others_is_refused(claims: dict[str, Any], code: str) -> None:
    assert refused(changed(**claims)) == code


def test_what_is_just_within_the_limits_is_taken() -> None:
    assert verify(changed(iat=NOW + SKEW_SECONDS, nbf=NOW + SKEW_SECONDS, exp=NOW + 300.5)).expires_at == NOW + 300
    assert verify(changed(iat=None)).subject
    assert verify(changed(exp=NOW + LONGEST_SECONDS)).subject
    assert verify(changed(aud=[US])).subject
    assert verify(changed(azp="1234")).subject
    assert verify(changed(aud=[US, "https://other.example"], azp=US)).subject


@pytest.mark.case(13)
@pytest.mark.case(17)
def test_what_two_readers_could_take_differently_or_is_no_token_is_refused() -> None:
    head, body, signature = changed().split(".")
    twice = base64url.encode(b'{"iss":"https://issuer.example","iss":"https://evil.example"}')
    assert refused(f"{head}.{twice}.{signature}") == TokenCode.ENCODING
    assert refused(f"{head}.{body}=.{signature}") == TokenCode.ENCODING
    assert refused(f"{head}.{base64url.encode(b'[]')}.{signature}") == TokenCode.SHAPE
    assert refused(f"{base64url.encode(b'[]')}.{body}.{signature}") == TokenCode.SHAPE
    assert refused(f"{head}.{body}") == TokenCode.SHAPE
    assert refused(f"{head}.{body}.\u00e9") == TokenCode.SHAPE
    assert refused("a" * (MAX_FOREIGN_CHARACTERS + 1)) == TokenCode.SIZE
    for claims in ({}, {"iss": ""}, {"iss": 7}):
        with pytest.raises(TokenError, match="does not say who"):
            unverified_issuer(sign(KEY, claims))


@given(st.data())
def test_a_token_with_any_character_changed_is_refused(data: st.DataObject) -> None:
    at = data.draw(st.integers(0, len(TOKEN) - 1))
    other = data.draw(st.sampled_from("ABab01-_.").filter(lambda character: character != TOKEN[at]))
    refused(TOKEN[:at] + other + TOKEN[at + 1 :])


@pytest.mark.case(7)
def test_a_signature_of_another_length_is_refused_and_so_is_one_in_the_form_of_other_protocols() -> None:
    head, body, signature = changed().split(".")
    good = base64url.decode(signature)
    padded = good[:32] + b"\0" + good[32:]  # the same two numbers
    for other in (good[:-1], padded, bytes(64), b"\x30\x06\x02\x01\x01\x02\x01\x01"):
        assert refused(f"{head}.{body}.{base64url.encode(other)}") == TokenCode.SIGNATURE


# Key sets.


def test_keys_that_cannot_verify_signatures_here_are_passed_over() -> None:
    good = KEY.as_dict(private=False)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the library that makes it warns too
        weak = RSAKey.generate_key(1024, {"kid": "weak"}).as_dict(private=False)
    others: list[dict[str, Any]] = [
        {"kty": "oct", "k": "c2VjcmV0", "kid": "secret"},
        {**good, "use": "enc"},
        {**good, "use": ["sig"]},
        {**good, "key_ops": ["sign"]},
        {**good, "key_ops": "verify"},
        {**good, "alg": "RS256"},
        {**good, "kid": 7},
        {**good, "crv": "P-257"},
        {**good, "x": good["y"]},
        {**good, "x": 7},
        {name: value for name, value in good.items() if name != "y"},
        ECKey.generate_key("secp256k1").as_dict(private=False),
        {"kty": "OKP", "crv": "Ed25519", "x": "AA"},
        {"kty": "OKP", "crv": "X25519", "x": base64url.encode(bytes(32))},
        {"kty": "RSA", "n": "AQ", "e": "AA"},
        weak,
        {},
    ]
    plain = {name: value for name, value in good.items() if name not in ("alg", "use", "key_ops")}
    assert read_foreign_keys(json.dumps({"keys": [plain]}).encode())[0].algorithms == {"ES256"}
    found = read_foreign_keys(json.dumps({"keys": [*others, good, {**good, "use": "jwt-svid", "kid": "two"}]}).encode())
    assert [key.kid for key in found] == ["one", "two"]
    with pytest.raises(InvalidError, match="holds no RSA, EC or Ed25519 key"):
        read_foreign_keys(json.dumps({"keys": others}).encode())


@pytest.mark.parametrize(
    ("document", "message"),
    [
        (b"[]", "no JSON Web Key set"),
        (b'{"keys": {}}', "no JSON Web Key set"),
        (b'{"keys": [7]}', "no JSON Web Key set"),
        (b"<html>", "not JSON"),
        (json.dumps({"keys": [{}] * 65}).encode(), "64 are allowed"),
        (json.dumps({"keys": [KEY.as_dict(private=True)]}).encode(), "private key"),
    ],
)
def test_a_document_that_is_no_key_set_or_shows_private_keys_is_refused(document: bytes, message: str) -> None:
    with pytest.raises(InvalidError, match=message):
        read_foreign_keys(document)
