"""A person's signed call: one spelling, closed claims, one key, a minute."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from leasehold.errors import InvalidError, TokenError
from leasehold.model import canonical
from leasehold.model.instant import Instant
from leasehold.testing.fixtures import key_of_person
from leasehold.token import base64url
from leasehold.token.codes import TokenCode
from leasehold.token.person_call import PersonCall, SignedCall, body_digest

NOW = 1_778_068_800
CALL = PersonCall(
    person="user:ana",
    authority="urn:leasehold:x",
    issued_at=NOW,
    expires_at=NOW + 60,
    jti="0123456789abcdef",
    method="POST",
    target="/v1/desk/hold?x=1",
    body=body_digest(b"{}"),
)
KEY = key_of_person("user:ana")


def refused(token: str) -> str:
    with pytest.raises(TokenError) as error:
        SignedCall.parse(token)
    return error.value.code


def test_call_is_read_back_and_verified_with_its_key() -> None:
    read = SignedCall.parse(CALL.sign(KEY))
    assert read.call == CALL
    assert read.is_signed_by(KEY.public())
    assert not read.is_signed_by(key_of_person("user:ben").public())
    assert not replace(read, signature=bytes(64)).is_signed_by(KEY.public())


@pytest.mark.parametrize(
    ("changed", "code"),
    [
        ({"iss": "user:ben"}, TokenCode.CLAIMS),
        ({"sub": 1, "iss": 1}, TokenCode.CLAIMS),
        ({"iat": "x"}, TokenCode.CLAIMS),
        ({"iat": True}, TokenCode.CLAIMS),
        ({"exp": NOW + 61}, TokenCode.CLAIMS),
        ({"exp": NOW}, TokenCode.CLAIMS),
        ({"jti": "short"}, TokenCode.CLAIMS),
        ({"jti": None}, TokenCode.CLAIMS),
        ({"more": 1}, TokenCode.CLAIMS),
    ],
)
def test_claims_that_make_no_sense_are_refused(changed: dict[str, object], code: TokenCode) -> None:
    header, claims, signature = CALL.sign(KEY).split(".")
    value = canonical.decode(base64url.decode(claims))
    assert isinstance(value, dict)
    body = base64url.encode(canonical.encode({**value, **changed}))
    assert refused(f"{header}.{body}.{signature}") == code


@pytest.mark.parametrize(
    ("token", "code"),
    [
        ("", TokenCode.SHAPE),
        ("a.b", TokenCode.SHAPE),
        ("a.b.c.d", TokenCode.SHAPE),
        ("ä.b.c", TokenCode.SHAPE),
        ("x" * 9000, TokenCode.SHAPE),
        ("!.e30.e30", TokenCode.ENCODING),
        ("e30.e30.e30", TokenCode.HEADER),
        ("W10.e30.e30", TokenCode.HEADER),
    ],
)
def test_what_is_no_such_jwt_is_refused(token: str, code: TokenCode) -> None:
    assert refused(token) == code


@pytest.mark.parametrize(
    "header",
    [
        {"alg": "EdDSA", "kid": "x", "typ": "leasehold-person+jwt"},
        {"alg": "Ed25519", "kid": "x", "typ": "at+jwt"},
        {"alg": "Ed25519", "kid": 1, "typ": "leasehold-person+jwt"},
    ],
)
def test_other_header_is_refused(header: dict[str, object]) -> None:
    _, claims, signature = CALL.sign(KEY).split(".")
    assert refused(f"{base64url.encode(canonical.encode(header))}.{claims}.{signature}") == TokenCode.TYPE


def test_claims_that_are_no_object_are_refused() -> None:
    header, _, signature = CALL.sign(KEY).split(".")
    assert refused(f"{header}.{base64url.encode(b'[]')}.{signature}") == TokenCode.CLAIMS


def test_member_twice_is_refused() -> None:
    header, claims, signature = CALL.sign(KEY).split(".")
    twice = base64url.decode(claims)[:-1] + b',"aud":"urn:leasehold:y"}'
    assert refused(f"{header}.{base64url.encode(twice)}.{signature}") == TokenCode.ENCODING


def test_call_is_for_one_authority_and_request_and_time() -> None:
    good = {"authority": "urn:leasehold:x", "method": "POST", "target": "/v1/desk/hold?x=1", "now": Instant(NOW * 1000)}
    assert CALL.refuse(**good) is None  # type: ignore[arg-type]
    for changed, code in (
        ({"authority": "urn:leasehold:y"}, TokenCode.AUDIENCE),
        ({"method": "GET"}, TokenCode.CLAIMS),
        ({"target": "/v1/desk/hold"}, TokenCode.CLAIMS),
        ({"now": Instant((NOW + 60) * 1000)}, TokenCode.EXPIRED),
        ({"now": Instant((NOW + 61) * 1000)}, TokenCode.NOT_YET),
        ({"now": Instant((NOW - 61) * 1000)}, TokenCode.NOT_YET),
    ):
        error = CALL.refuse(**(good | changed))  # type: ignore[arg-type]
        assert error is not None
        assert error.code == code


def test_call_of_nobody_is_not_made() -> None:
    with pytest.raises(InvalidError):
        replace(CALL, person="user ana")
