"""What a passkey signed: verified with its public key alone, and by another library alike."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace
from webauthn import verify_authentication_response
from webauthn.helpers.exceptions import WebAuthnException

from authenticator import Authenticator, PrivateKey
from leasehold.errors import InvalidError, VerificationError
from leasehold.model.ids import RequestId
from leasehold.model.request import Verdict
from leasehold.token import base64url
from leasehold.token.passkey import Assertion, answer_challenge, check_passkey_key, verify_assertion

ORIGIN = "https://lease.acme.example"
REQUEST = RequestId("req_01JZ8Q5X0M3V7K2N9B4C6D8E0F")
CARD = "hmac-sha256:" + "1" * 64
CHALLENGE = answer_challenge(REQUEST, CARD, Verdict.APPROVE, "user:ben")
P256 = Authenticator(ORIGIN)

KEYS: dict[str, Callable[[], PrivateKey]] = {
    "P-256": lambda: ec.generate_private_key(ec.SECP256R1()),
    "Ed25519": ed25519.Ed25519PrivateKey.generate,
    "RSA": lambda: rsa.generate_private_key(65537, 2048),
}


def is_refused(assertion: Assertion, origin: str | None = ORIGIN, challenge: bytes = CHALLENGE) -> bool:
    try:
        verify_assertion(assertion, P256.public_key, challenge, origin=origin)
    except VerificationError:
        return True
    return False


@pytest.mark.parametrize("kind", KEYS)
def test_assertion_of_each_kind_of_key_is_verified_and_counted(kind: str) -> None:
    passkey = Authenticator(ORIGIN, key=KEYS[kind](), count=6)
    assertion = passkey.sign(CHALLENGE)
    assert verify_assertion(assertion, passkey.public_key, CHALLENGE, origin=ORIGIN) == 7
    assert verify_assertion(assertion, passkey.public_key, CHALLENGE, origin=None) == 7
    with pytest.raises(VerificationError):
        verify_assertion(assertion, P256.public_key, CHALLENGE, origin=ORIGIN)


@pytest.mark.case(74, 75)
def test_challenge_is_of_one_person_verdict_card_and_request() -> None:
    other = RequestId("req_01JZ8Q5X0M3V7K2N9B4C6D8E0G")
    challenges = {
        CHALLENGE,
        answer_challenge(other, CARD, Verdict.APPROVE, "user:ben"),
        answer_challenge(REQUEST, "hmac-sha256:" + "2" * 64, Verdict.APPROVE, "user:ben"),
        answer_challenge(REQUEST, CARD, Verdict.DENY, "user:ben"),
        answer_challenge(REQUEST, CARD, Verdict.APPROVE, "user:eva"),
    }
    assert len(challenges) == 5
    assert {len(challenge) for challenge in challenges} == {32}
    assert (
        hashlib.sha256(
            b"leasehold passkey answer v1\n"
            b'{"card_digest":"%s","person":"user:ben","request_id":"%s","verdict":"approve"}'
            % (CARD.encode(), REQUEST.encode())
        ).digest()
        == CHALLENGE
    )


@pytest.mark.case(5)
@given(
    part=st.sampled_from(["authenticator_data", "client_data", "signature"]),
    place=st.integers(0, 10_000),
    bit=st.integers(0, 7),
)
def test_any_bit_flipped_is_refused(part: str, place: int, bit: int) -> None:
    good = P256.sign(CHALLENGE)
    data = bytearray(base64url.decode(getattr(good, part)))
    data[place % len(data)] ^= 1 << bit
    assert is_refused(replace(good, **{part: base64url.encode(bytes(data))}))


@pytest.mark.parametrize(
    "client",
    [
        {"type": "webauthn.create"},
        {"challenge": base64url.encode(b"x" * 32)},
        {"origin": "https://evil.example"},
        {"origin": 7},
        {"origin": 7, "is_offline": True},
        {"origin": "https://[", "is_offline": True},
        {"crossOrigin": True},
        {"crossOrigin": "no"},
    ],
)
def test_what_was_signed_elsewhere_or_of_something_else_is_refused(client: dict[str, object]) -> None:
    offline = bool(client.pop("is_offline", False))
    usual = json.loads(P256.client_data("webauthn.get", base64url.encode(CHALLENGE)))
    signed = P256.sign(CHALLENGE, json.dumps({**usual, **client}).encode())
    assert is_refused(signed, None if offline else ORIGIN)


def test_page_that_does_not_name_the_frame_is_taken() -> None:
    usual = json.loads(P256.client_data("webauthn.get", base64url.encode(CHALLENGE)))
    del usual["crossOrigin"]
    assert not is_refused(P256.sign(CHALLENGE, json.dumps(usual).encode()))


@pytest.mark.parametrize(
    "client_data",
    [b"[]", b"{", b'{"type":"webauthn.get","type":"webauthn.get"}', b"\xff", b'{"a":"' + b"x" * 5000 + b'"}'],
)
def test_client_data_that_readers_could_take_differently_is_refused(client_data: bytes) -> None:
    assert is_refused(P256.sign(CHALLENGE, client_data))


@pytest.mark.parametrize("flags", [0x00, 0x01, 0x04, 0x15])
def test_person_has_to_be_there_and_verified(flags: int) -> None:
    assert is_refused(Authenticator(ORIGIN, key=P256.key, flags=flags).sign(CHALLENGE))


def test_passkey_of_another_site_is_refused_offline_too() -> None:
    elsewhere = Authenticator("https://evil.example", key=P256.key)
    assert is_refused(elsewhere.sign(CHALLENGE))
    assert not is_refused(elsewhere.sign(CHALLENGE), None), "offline the page is as the browser wrote it"
    honest = json.loads(P256.client_data("webauthn.get", base64url.encode(CHALLENGE)))
    assert is_refused(elsewhere.sign(CHALLENGE, json.dumps(honest).encode()), None)
    good = P256.sign(CHALLENGE)
    data = base64url.decode(good.authenticator_data)
    for short in (b"short", data[:32], data[:-1]):
        assert is_refused(replace(good, authenticator_data=base64url.encode(short)))
    assert is_refused(replace(good, signature="not base64url!"))


def _spki(key: object) -> bytes:
    return key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)  # type: ignore[attr-defined]


@pytest.mark.case(7)
@pytest.mark.parametrize(
    "spki",
    [
        b"",
        b"\x30\x00",
        _spki(ec.generate_private_key(ec.SECP384R1())),
        _spki(rsa.generate_private_key(65537, 1024)),
    ],
)
def test_key_that_no_passkey_should_have_is_refused(spki: bytes) -> None:
    with pytest.raises(InvalidError):
        check_passkey_key(spki)


@pytest.mark.parametrize("kind", KEYS)
@given(flags=st.integers(0, 255), is_right=st.booleans())
def test_another_library_judges_alike(kind: str, flags: int, *, is_right: bool) -> None:
    passkey = Authenticator(ORIGIN, key=_ORACLE_KEYS[kind], count=None, flags=flags & 0b0001_1101)
    challenge = CHALLENGE if is_right else b"x" * 32
    assertion = passkey.sign(challenge)
    text = json.dumps(
        {
            "id": assertion.credential,
            "rawId": assertion.credential,
            "type": "public-key",
            "response": {
                "authenticatorData": assertion.authenticator_data,
                "clientDataJSON": assertion.client_data,
                "signature": assertion.signature,
            },
        }
    )
    theirs = ours = True
    try:
        verify_authentication_response(
            credential=text,
            expected_challenge=CHALLENGE,
            expected_rp_id="lease.acme.example",
            expected_origin=ORIGIN,
            credential_public_key=passkey._cose(),
            credential_current_sign_count=0,
            require_user_verification=True,
        )
    except WebAuthnException:
        theirs = False
    try:
        verify_assertion(assertion, passkey.public_key, CHALLENGE, origin=ORIGIN)
    except VerificationError:
        ours = False
    assert ours == theirs


_ORACLE_KEYS = {kind: make() for kind, make in KEYS.items()}
