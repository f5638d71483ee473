"""DSSE envelopes: side by side with securesystemslib, and every envelope that must be refused."""

from __future__ import annotations

import base64
import json

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from hypothesis import given
from hypothesis import strategies as st
from securesystemslib import dsse as peer
from securesystemslib.exceptions import VerificationError as PeerVerificationError
from securesystemslib.signer import CryptoSigner, SSlibKey

from leasehold.errors import InvalidError, VerificationError
from leasehold.ledger.dsse import MAX_SIGNATURES, Envelope, EnvelopeSignature, encode_to_sign, parse, sign, verify

TYPE = "application/vnd.in-toto+json"
PAYLOAD = b'{"_type":"https://in-toto.io/Statement/v1"}'
GROUP_ORDER = 2**252 + 27742317777372353535851937790883648493


class SeededSigner:
    def __init__(self, seed: int) -> None:
        self.private_key = Ed25519PrivateKey.from_private_bytes(seed.to_bytes(32, "big"))
        self.public_key = self.private_key.public_key()
        self.keyid = f"seed-{seed}"

    def sign(self, data: bytes) -> bytes:
        return self.private_key.sign(data)

    def peer_key(self) -> SSlibKey:
        return SSlibKey.from_crypto(self.public_key, keyid=self.keyid)


ANA, BEN, EVA = SeededSigner(1), SeededSigner(2), SeededSigner(3)
TRUSTED = {signer.keyid: signer.public_key for signer in (ANA, BEN)}


def encoded(*signers: SeededSigner) -> bytes:
    return sign(PAYLOAD, TYPE, signers or (ANA,)).encode()


def altered(**members: object) -> bytes:
    """A valid envelope with some members replaced."""
    return json.dumps({**json.loads(encoded()), **members}).encode()


def signature(**members: object) -> dict[str, object]:
    """The signature of a valid envelope with some members replaced."""
    whole: dict[str, object] = json.loads(encoded())["signatures"][0]
    return {**whole, **members}


def test_signed_bytes_are_those_of_the_protocol() -> None:
    assert encode_to_sign("http://example.com/HelloWorld", b"hello world") == (
        b"DSSEv1 29 http://example.com/HelloWorld 11 hello world"
    )
    assert encode_to_sign("é", b"") == b"DSSEv1 2 \xc3\xa9 0 "


@pytest.mark.requirement("B10")
@given(st.binary(max_size=200), st.text(st.characters(exclude_categories=["Cc", "Cs"]), min_size=1, max_size=40))
def test_our_envelope_verifies_with_the_other_library(payload: bytes, payload_type: str) -> None:
    theirs = peer.Envelope.from_dict(json.loads(sign(payload, payload_type, [ANA, BEN]).encode()))
    assert theirs.verify([ANA.peer_key(), BEN.peer_key()], 2).keys() == {ANA.keyid, BEN.keyid}
    assert (theirs.payload, theirs.payload_type) == (payload, payload_type)
    theirs.payload += b"!"
    with pytest.raises(PeerVerificationError):
        theirs.verify([ANA.peer_key()], 1)


@pytest.mark.requirement("B10")
@given(st.binary(max_size=200), st.text(st.characters(exclude_categories=["Cc", "Cs"]), min_size=1, max_size=40))
def test_envelope_of_the_other_library_verifies_here(payload: bytes, payload_type: str) -> None:
    theirs = peer.Envelope(payload, payload_type, {})
    for signer in (ANA, BEN):
        theirs.sign(CryptoSigner(signer.private_key, signer.peer_key()))
    data = json.dumps(theirs.to_dict()).encode()
    assert verify(data, TRUSTED, payload_type, threshold=2) == payload


@given(st.binary(max_size=200))
def test_envelope_reads_back_as_written(payload: bytes) -> None:
    envelope = sign(payload, TYPE, [ANA, BEN])
    assert parse(envelope.encode()) == envelope
    assert verify(envelope.encode(), TRUSTED, TYPE) == payload


@pytest.mark.requirement("B10")
@pytest.mark.case(97)
def test_flipping_any_bit_of_an_envelope_makes_it_fail() -> None:
    valid = encoded()
    for bit in range(len(valid) * 8):
        flipped = bytearray(valid)
        flipped[bit // 8] ^= 1 << bit % 8
        with pytest.raises(VerificationError):
            verify(bytes(flipped), TRUSTED, TYPE)


@pytest.mark.case(9)
def test_payload_of_another_type_is_refused_also_when_its_type_is_rewritten() -> None:
    with pytest.raises(VerificationError, match="not 'application/other'"):
        verify(encoded(), TRUSTED, "application/other")
    with pytest.raises(VerificationError, match="does not verify"):
        verify(altered(payloadType="application/other"), TRUSTED, "application/other")


def test_signatures_of_strangers_are_passed_over_and_count_for_nothing() -> None:
    assert verify(encoded(EVA, ANA), TRUSTED, TYPE) == PAYLOAD
    with pytest.raises(VerificationError, match="0 of the trusted keys"):
        verify(encoded(EVA), TRUSTED, TYPE)
    with pytest.raises(VerificationError, match="1 of the trusted keys"):
        verify(encoded(EVA, ANA), TRUSTED, TYPE, threshold=2)
    with pytest.raises(VerificationError, match="0 of the trusted keys"):
        verify(encoded(), {}, TYPE)


def test_key_listed_under_two_names_counts_once() -> None:
    message = encode_to_sign(TYPE, PAYLOAD)
    twice = tuple(EnvelopeSignature(keyid=keyid, signature=ANA.sign(message)) for keyid in ("one", "two"))
    data = Envelope(payload_type=TYPE, payload=PAYLOAD, signatures=twice).encode()
    trusted: dict[str, Ed25519PublicKey] = {"one": ANA.public_key, "two": ANA.public_key}
    assert verify(data, trusted, TYPE) == PAYLOAD
    with pytest.raises(VerificationError, match="1 of the trusted keys"):
        verify(data, trusted, TYPE, threshold=2)


def test_one_false_signature_in_a_trusted_name_refuses_the_envelope() -> None:
    false = EnvelopeSignature(keyid=BEN.keyid, signature=EVA.sign(encode_to_sign(TYPE, PAYLOAD)))
    valid = sign(PAYLOAD, TYPE, [ANA]).signatures
    data = Envelope(payload_type=TYPE, payload=PAYLOAD, signatures=(*valid, false)).encode()
    with pytest.raises(VerificationError, match="'seed-2' does not verify"):
        verify(data, TRUSTED, TYPE)


@pytest.mark.case(7)
def test_second_spelling_of_a_valid_ed25519_signature_is_refused() -> None:
    value = sign(PAYLOAD, TYPE, [ANA]).signatures[0].signature
    shifted = int.from_bytes(value[32:], "little") + GROUP_ORDER
    twin = EnvelopeSignature(keyid=ANA.keyid, signature=value[:32] + shifted.to_bytes(32, "little"))
    data = Envelope(payload_type=TYPE, payload=PAYLOAD, signatures=(twin,)).encode()
    with pytest.raises(VerificationError, match="does not verify"):
        verify(data, TRUSTED, TYPE)


@pytest.mark.parametrize("length", [0, 63, 65])
def test_signature_of_the_wrong_length_is_refused(length: int) -> None:
    data = altered(signatures=[signature(sig=base64.b64encode(bytes(length)).decode())])
    with pytest.raises(VerificationError, match="does not verify"):
        verify(data, TRUSTED, TYPE)


@pytest.mark.parametrize("threshold", [0, -1])
def test_threshold_that_nobody_need_meet_is_refused(threshold: int) -> None:
    with pytest.raises(InvalidError, match="nobody signed"):
        verify(encoded(), TRUSTED, TYPE, threshold=threshold)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"[]",
        b"null",
        b"{}",
        b"\xff",
        encoded() + b"x",
        encoded()[:-1],
        encoded()[:-1] + b',"payload":"e30="}',
        altered(extra=1),
        altered(payload=None),
        altered(payload="e30"),
        altered(payload="e31="),
        altered(payload="e30=\n"),
        altered(payload="-_8="),
        altered(payloadType=7),
        altered(payloadType=""),
        altered(signatures=[]),
        altered(signatures={}),
        altered(signatures="none"),
        altered(signatures=["none"]),
        altered(signatures=[signature(extra=1)]),
        altered(signatures=[signature(keyid="")]),
        altered(signatures=[signature(keyid=None)]),
        altered(signatures=[signature(sig=7)]),
        altered(signatures=[signature(sig="not base64")]),
        altered(signatures=[{"sig": signature()["sig"]}]),
        altered(signatures=[signature(), signature()]),
        altered(signatures=[signature(keyid=str(number)) for number in range(MAX_SIGNATURES + 1)]),
    ],
)
def test_bytes_that_are_not_an_envelope_are_refused(data: bytes) -> None:
    with pytest.raises(VerificationError):
        parse(data)


def test_envelope_is_not_made_without_a_signer_or_with_one_twice() -> None:
    with pytest.raises(InvalidError):
        sign(PAYLOAD, TYPE, [])
    with pytest.raises(InvalidError, match="signs twice"):
        sign(PAYLOAD, TYPE, [ANA, ANA])


@pytest.mark.case(17)
def test_envelope_is_as_long_as_the_caller_allows_and_no_longer() -> None:
    envelope = sign(bytes(2_000_000), TYPE, [ANA])
    with pytest.raises(InvalidError, match="1048576 are allowed"):
        envelope.encode()
    data = envelope.encode(max_bytes=3_000_000)
    with pytest.raises(VerificationError, match="1048576 are allowed"):
        verify(data, TRUSTED, TYPE)
    assert verify(data, TRUSTED, TYPE, max_bytes=3_000_000) == bytes(2_000_000)
