"""Key rings: who signs, who verifies, for how long, and which bytes are no key at all."""

from __future__ import annotations

import copy
import hashlib
import json
import pickle

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from hypothesis import given
from hypothesis import strategies as st

from leasehold.errors import InvalidError
from leasehold.model.instant import Instant
from leasehold.token import base64url
from leasehold.token.ed25519 import SMALL_ORDER_Y, check_public_key
from leasehold.token.jwk import (
    private_jwks,
    public_jwks,
    read_private_jwks,
    read_public_jwks,
    served_jwks,
)
from leasehold.token.keys import (
    SPREAD_SECONDS,
    DocumentType,
    KeyRing,
    PublicKey,
    PublicKeys,
    SigningKey,
    Trust,
    raw_thumbprint,
)

P = 2**255 - 19
L = 2**252 + 27742317777372353535851937790883648493
D = -121665 * pow(121666, -1, P) % P
ALL_TYPES = list(DocumentType)


def at(seconds: int) -> Instant:
    return Instant(seconds * 1000)


def key(number: int, created_at: int = 0) -> SigningKey:
    return SigningKey.generate(bytes([number]) * 32, created_at=created_at)


def ring(*numbers: int, document_type: DocumentType = DocumentType.LEASE) -> KeyRing:
    return KeyRing(document_type, tuple(map(key, numbers)))


# --- curve arithmetic of the test's own, to make bad keys and signatures ---


def add(p: tuple[int, int], q: tuple[int, int]) -> tuple[int, int]:
    (x1, y1), (x2, y2) = p, q
    product = D * x1 * x2 * y1 * y2
    x = (x1 * y2 + x2 * y1) * pow(1 + product, -1, P)
    return x % P, (y1 * y2 + x1 * x2) * pow(1 - product, -1, P) % P


def multiply(scalar: int, point: tuple[int, int]) -> tuple[int, int]:
    result = (0, 1)
    while scalar:
        if scalar & 1:
            result = add(result, point)
        point, scalar = add(point, point), scalar >> 1
    return result


def x_of(y: int) -> int | None:
    square = (y * y - 1) * pow(D * y * y + 1, -1, P) % P
    root = pow(square, (P + 3) // 8, P)
    if (root * root - square) % P:
        root = root * pow(2, (P - 1) // 4, P) % P
    return None if (root * root - square) % P else root


def encode_y(y: int, sign: int = 0) -> bytes:
    return (y | sign << 255).to_bytes(32, "little")


def test_the_listed_small_order_points_are_all_of_them() -> None:
    found = set()
    for y in SMALL_ORDER_Y:
        x = x_of(y)
        assert x is not None
        points = {(x, y), (-x % P, y)}
        assert all(multiply(8, point) == (0, 1) for point in points)
        found |= points
    assert len(found) == 8  # the torsion subgroup of the curve has eight elements


@pytest.mark.case(7)
@pytest.mark.parametrize("sign", [0, 1])
@pytest.mark.parametrize("y", sorted(SMALL_ORDER_Y))
def test_a_small_order_key_is_refused_with_either_sign(y: int, sign: int) -> None:
    with pytest.raises(InvalidError, match="small order"):
        PublicKey.from_bytes(encode_y(y, sign))


@pytest.mark.case(7)
@pytest.mark.parametrize("sign", [0, 1])
@pytest.mark.parametrize("y", range(P, 2**255))
def test_every_non_canonical_key_is_refused(y: int, sign: int) -> None:
    with pytest.raises(InvalidError, match="canonical"):
        PublicKey.from_bytes(encode_y(y, sign))


@pytest.mark.case(7)
def test_the_all_zero_key_is_refused_also_as_a_library_object() -> None:
    zero = Ed25519PublicKey.from_public_bytes(bytes(32))
    with pytest.raises(InvalidError, match="small order"):
        PublicKey("any", zero)


@given(st.integers(2, P - 2))
def test_a_key_is_accepted_exactly_if_its_point_exists(y: int) -> None:
    exists = x_of(y) is not None and y not in SMALL_ORDER_Y
    try:
        check_public_key(encode_y(y))
        accepted = True
    except InvalidError:
        accepted = False
    assert accepted is exists


@pytest.mark.parametrize("size", [0, 31, 33])
def test_a_key_of_another_length_is_refused(size: int) -> None:
    with pytest.raises(InvalidError, match="32 bytes"):
        PublicKey.from_bytes(bytes([9]) * size)


@pytest.mark.case(7)
def test_a_signature_with_the_group_order_added_to_s_is_refused() -> None:
    signer = key(1)
    signature = signer.sign(b"message")
    s = int.from_bytes(signature[32:], "little")
    assert signer.public().is_signature(signature, b"message")
    for factor in range(1, 8):
        twin = signature[:32] + (s + factor * L).to_bytes(32, "little")
        assert not signer.public().is_signature(twin, b"message")


def _signature_with(r_point: bytes, secret: int, public: bytes, message: bytes) -> bytes:
    """S for R = neutral element: S = k·a, which fits [S]B = R + [k]A."""
    k = int.from_bytes(hashlib.sha512(r_point + public + message).digest(), "little")
    return r_point + (k * secret % L).to_bytes(32, "little")


@pytest.mark.case(7)
def test_a_non_canonical_r_is_refused_though_the_equation_holds() -> None:
    seed = bytes([1]) * 32
    private = Ed25519PrivateKey.from_private_bytes(seed)
    digest = hashlib.sha512(seed).digest()
    secret = int.from_bytes(digest[:32], "little") & ((1 << 254) - 8) | (1 << 254)
    public = PublicKey.from_bytes(private.public_key().public_bytes_raw())
    canonical = _signature_with(encode_y(1), secret, public.to_bytes(), b"m")
    assert public.is_signature(canonical, b"m")  # the construction is right: only the spelling differs below
    for r_bytes in (encode_y(1, 1), encode_y(P + 1), encode_y(P + 1, 1)):
        assert not public.is_signature(_signature_with(r_bytes, secret, public.to_bytes(), b"m"), b"m")


@pytest.mark.parametrize("size", [0, 63, 65])
def test_a_signature_of_another_length_does_not_fit(size: int) -> None:
    assert not key(1).public().is_signature(bytes(size), b"m")


def test_the_kid_is_the_thumbprint_of_rfc_7638() -> None:
    # RFC 8037 appendix A.3 gives this key and this thumbprint.
    raw = base64url.decode("11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo")
    assert PublicKey.from_bytes(raw).kid == "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k"
    assert raw_thumbprint(raw) == "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k"


@pytest.mark.requirement("L2")
@pytest.mark.case(12)
@pytest.mark.parametrize(
    ("retire_at", "signers"),
    [(None, [2, 2, 2]), (1300, [1, 1, 2]), (100, [2, 2, 2])],
    ids=["at once", "after a while", "leaked"],
)
def test_a_new_key_is_known_before_it_signs_and_one_key_signs_at_a_time(
    retire_at: int | None, signers: list[int]
) -> None:
    keys = KeyRing(DocumentType.LEASE, (key(1, created_at=50),)).rotate(key(2), now=at(1000), retire_at=retire_at)
    found = [keys.signer(now) for now in (at(1000), Instant(1_299_999), at(1300))]
    assert [signer.kid for signer in found] == [key(number).kid for number in signers]
    assert [keys.public().trust(each, at(1000)) for each in (key(2).kid, key(3).kid)] == [Trust.TRUSTED, Trust.UNKNOWN]
    assert keys.public().keys[found[0].keyid].is_signature(found[0].sign(b"m"), b"m")


@pytest.mark.case(12)
def test_what_a_leaked_key_signed_is_not_believed_any_more_and_the_ring_is_still_known_by_it() -> None:
    first = KeyRing(DocumentType.LEASE, (key(1, created_at=50),)).rotate(key(2), now=at(1000), retire_at=1300)
    leaked = first.rotate(key(3), now=at(1000), retire_at=100)
    assert [k.retired_at for k in leaked.keys] == [100, 100, None]
    assert [leaked.public().trust(k.kid, at(1000)) for k in leaked.keys] == [Trust.RETIRED] * 2 + [Trust.TRUSTED]
    assert first.is_followed_by(leaked)
    young = KeyRing(DocumentType.LEASE, (key(1, created_at=1000),)).rotate(key(2), now=at(1000), retire_at=100)
    assert young.public().trust(key(1).kid, at(1000)) is Trust.RETIRED


@pytest.mark.case(12)
@given(st.lists(st.integers(1, 2000), max_size=6), st.data())
def test_no_lease_is_refused_while_files_spread_and_none_is_believed_longer_than_it_may_live(
    pauses: list[int], data: st.DataObject
) -> None:
    """Any process signs and any verifies, each with a ring as old as files may take to spread."""
    rings, times = [ring(1)], [0]
    for number, pause in enumerate(pauses, start=2):
        times.append(times[-1] + pause)
        rings.append(rings[-1].rotate(key(number), now=at(times[-1]), retire_at=times[-1] + SPREAD_SECONDS))
    known = [*zip(rings, times, [*(ended + SPREAD_SECONDS for ended in times[1:]), 10**9], strict=True)]

    def ring_at(now: int) -> KeyRing:
        return data.draw(st.sampled_from([ring for ring, since, ended in known if since <= now < ended]))

    issued = data.draw(st.integers(0, times[-1] + 2000))
    signer = ring_at(issued).signer(at(issued)).kid
    used = issued + data.draw(st.integers(0, 899))
    assert ring_at(used).public().trust(signer, at(used)) is Trust.TRUSTED
    for retired in {each.retired_at for ring in rings for each in ring.keys if each.kid == signer} - {None}:
        late = retired + 900 + data.draw(st.integers(0, 2000))
        assert ring_at(late).public().trust(signer, at(late)) is not Trust.TRUSTED


def test_a_ring_is_followed_by_itself_rotated_and_by_nothing_else() -> None:
    mine = ring(1).rotate(key(2), now=at(5))
    later = mine.rotate(key(3), now=at(6))
    assert mine.is_followed_by(later)
    assert mine.is_followed_by(later.rotate(key(4), now=at(7)))
    for other in (mine, ring(1), ring(2), ring(3), ring(1).rotate(key(3), now=at(5))):
        assert not mine.is_followed_by(other)


@pytest.mark.requirement("L2")
def test_a_private_key_does_not_show_and_cannot_be_pickled() -> None:
    keys = ring(1)
    secret = base64url.encode(bytes([1]) * 32)
    assert secret in private_jwks(keys)
    assert secret not in repr(keys)
    assert bytes([1]) * 32 not in repr(keys).encode()
    with pytest.raises(TypeError):
        pickle.dumps(keys)
    assert copy.copy(keys) == keys


@pytest.mark.case(12)
def test_rotation_retires_the_former_key_and_drops_the_one_whose_leases_are_dead() -> None:
    first = ring(1).rotate(key(2), now=at(1000))
    assert [k.retired_at for k in first.keys] == [1000, None]
    second = first.rotate(key(3), now=at(1899))
    assert [k.kid for k in second.keys] == [key(n).kid for n in (1, 2, 3)]
    assert [k.retired_at for k in second.keys] == [1000, 1899, None]
    third = first.rotate(key(3), now=at(1900))
    assert [k.kid for k in third.keys] == [key(n).kid for n in (2, 3)]


def test_keys_of_evidence_verify_for_ever() -> None:
    keys = ring(1, document_type=DocumentType.RECEIPT).rotate(key(2), now=at(1000)).rotate(key(3), now=at(10**9))
    assert [keys.public().trust(key(n).kid, at(10**10)) for n in (1, 2, 3)] == [Trust.TRUSTED] * 3


@pytest.mark.case(12)
def test_a_retired_lease_key_is_trusted_until_its_last_lease_is_dead_and_not_a_millisecond_longer() -> None:
    keys = ring(1).rotate(key(2), now=at(1000)).public()
    old = key(1).kid
    assert keys.trust(old, Instant(1_899_999)) is Trust.TRUSTED
    assert keys.trust(old, Instant(1_900_000)) is Trust.RETIRED
    assert keys.trust(key(2).kid, at(10**9)) is Trust.TRUSTED
    assert keys.trust(key(3).kid, at(0)) is Trust.UNKNOWN
    assert keys.get(key(3).kid) is None


def test_a_ring_needs_a_newest_key_that_is_not_retired_and_none_twice() -> None:
    retired = ring(1).rotate(key(2), now=at(5)).keys[0]
    for keys in ((), (retired,), (retired, key(1)), (key(1), key(2))):
        with pytest.raises(InvalidError):
            KeyRing(DocumentType.LEASE, keys)
    with pytest.raises(InvalidError, match="twice"):
        ring(1).rotate(key(1), now=at(5))
    with pytest.raises(InvalidError, match="twice"):
        PublicKeys.of(DocumentType.LEASE, (key(1).public(), key(1).public()))
    with pytest.raises(InvalidError, match="own kid"):
        PublicKeys(DocumentType.LEASE, {"another": key(1).public()})


def test_a_key_is_made_from_exactly_32_bytes_and_bears_its_own_thumbprint() -> None:
    with pytest.raises(InvalidError, match="32 random bytes"):
        SigningKey.generate(bytes(31))
    with pytest.raises(InvalidError, match="created at 0 or later"):
        key(1, created_at=-1)
    with pytest.raises(InvalidError, match="thumbprint"):
        SigningKey("other", key(1).private)
    with pytest.raises(InvalidError, match="thumbprint"):
        PublicKey("other", key(1).public().public)
    with pytest.raises(InvalidError, match="retired at most"):
        SigningKey(key(1).kid, key(1).private, 1000, 99)


@pytest.mark.parametrize("document_type", ALL_TYPES)
def test_rings_and_key_sets_survive_the_way_through_text(document_type: DocumentType) -> None:
    keys = KeyRing(document_type, (key(1, created_at=3),)).rotate(key(2), now=at(1000))
    keys = keys.rotate(key(3, created_at=1000), now=at(1000))
    again = read_private_jwks(private_jwks(keys).encode(), document_type)
    assert private_jwks(again) == private_jwks(keys)
    assert again.newest.sign(b"m") == keys.newest.sign(b"m")
    assert [k.created_at for k in again.keys] == [3, 0, 1000]
    text = public_jwks(keys.public())
    assert read_public_jwks(text.encode(), document_type) == keys.public()
    assert '"d"' not in text


@pytest.mark.case(9)
@pytest.mark.parametrize("wrong", [t for t in ALL_TYPES if t is not DocumentType.LEASE])
def test_keys_of_one_document_type_are_refused_as_those_of_another(wrong: DocumentType) -> None:
    with pytest.raises(InvalidError, match="another document"):
        read_private_jwks(private_jwks(ring(1)).encode(), wrong)
    with pytest.raises(InvalidError, match="another document"):
        read_public_jwks(public_jwks(ring(1).public()).encode(), wrong)


def test_each_document_type_has_its_own_mark() -> None:
    assert len({t.typ for t in ALL_TYPES}) == len(ALL_TYPES)
    assert DocumentType.LEASE.typ == "at+jwt"


@pytest.mark.parametrize(
    ("member", "value"),
    [
        ("kty", "EC"),
        ("crv", "X25519"),
        ("alg", "EdDSA"),
        ("use", "enc"),
        ("kid", "other"),
        ("d", "AA"),
        ("d", base64url.encode(bytes([2]) * 32)),
        ("d", base64url.encode(bytes([1]) * 32) + "="),
        ("x", base64url.encode(bytes(32))),
        ("x", 7),
        ("retired_at", -1),
        ("retired_at", True),
        ("created_at", 1.0),
        ("unknown", 1),
    ],
)
def test_a_private_key_text_with_one_wrong_member_is_refused_without_showing_it(member: str, value: object) -> None:
    keys = json.loads(private_jwks(ring(1)))
    keys["keys"][0][member] = value
    with pytest.raises(InvalidError) as caught:
        read_private_jwks(json.dumps(keys).encode(), DocumentType.LEASE)
    assert base64url.encode(bytes([1]) * 32) not in str(caught.value)


@pytest.mark.case(7)
def test_an_unfit_or_private_key_in_a_public_set_is_refused() -> None:
    keys = json.loads(public_jwks(ring(1).public()))
    for change in ({"x": base64url.encode(encode_y(P))}, {"d": "AA"}, {"x": "AA"}, {"x": "*"}, {"kid": "other"}):
        text = json.dumps(keys | {"keys": [keys["keys"][0] | change]}).encode()
        with pytest.raises(InvalidError):
            read_public_jwks(text, DocumentType.LEASE)
    with pytest.raises(InvalidError):
        read_public_jwks(b'{"document":"lease","document":"lease","keys":[]}', DocumentType.LEASE)
    with pytest.raises(InvalidError):
        read_public_jwks(b"[]", DocumentType.LEASE)


@pytest.mark.case(12)
def test_strangers_are_served_a_retired_key_until_two_seconds_after_its_last_lease() -> None:
    keys = ring(1).rotate(key(2), now=at(1000)).public()
    for moment, kids in ((1_901_999, [key(1).kid, key(2).kid]), (1_902_000, [key(2).kid])):
        served = json.loads(served_jwks(keys, Instant(moment)))
        assert [jwk["kid"] for jwk in served["keys"]] == kids
        assert all(set(jwk) == {"kty", "crv", "alg", "use", "kid", "x"} for jwk in served["keys"])


@pytest.mark.case(9)
def test_strangers_are_served_no_keys_of_evidence() -> None:
    with pytest.raises(InvalidError, match="not a receipt"):
        served_jwks(ring(1, document_type=DocumentType.RECEIPT).public(), at(0))
