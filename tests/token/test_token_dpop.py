"""DPoP proofs (RFC 9449): who holds the key, for which request, and everything that is no proof."""

from __future__ import annotations

import base64
import hashlib
import json

import pytest
from joserfc import jws
from joserfc.jwk import ECKey, OctKey, OKPKey
from msgspec.structs import replace

from leasehold.errors import InvalidError
from leasehold.model.instant import Instant
from leasehold.token import base64url
from leasehold.token.dpop import DPOP_ALGORITHMS, PROOF_SECONDS, Nonces, Proof, check_proof

NOW = 1_778_068_800
URL = "https://lease.acme.example/oauth/token"
TOKEN = "header.payload.signature"
ED = OKPKey.generate_key("Ed25519")
EC = ECKey.generate_key("P-256")
CLAIMS = {"jti": "one", "htm": "POST", "htu": URL, "iat": NOW}
KEYS = {"Ed25519": ED, "EdDSA": ED, "ES256": EC}


def signed(alg: str = "Ed25519", *, header: dict[str, object] | None = None, **claims: object) -> str:
    """A proof with some members changed; None leaves one out."""
    key = KEYS[alg]
    members = {"typ": "dpop+jwt", "alg": alg, "jwk": key.as_dict(private=False)} | (header or {})
    said = {name: value for name, value in (CLAIMS | claims).items() if value is not None}
    return raw({name: value for name, value in members.items() if value is not None}, json.dumps(said).encode(), key)


def raw(header: dict[str, object], payload: bytes, key: OKPKey | ECKey) -> str:
    if isinstance(key, ECKey):
        return jws.serialize_compact(header, payload, key, algorithms=["ES256"])
    signing_input = f"{base64url.encode(json.dumps(header).encode())}.{base64url.encode(payload)}"
    return f"{signing_input}.{base64url.encode(key.private_key.sign(signing_input.encode()))}"


def proof(text: str, **changes: object) -> Proof:
    return replace(Proof(text=text, method="POST", url=URL), **changes)


def refusal(text: str, **changes: object) -> str:
    with pytest.raises(InvalidError) as error:
        check_proof(proof(text, **changes), now=Instant(NOW * 1000))
    return str(error.value)


@pytest.mark.parametrize("alg", DPOP_ALGORITHMS)
def test_a_proof_says_whose_key_it_is(alg: str) -> None:
    ath = base64.urlsafe_b64encode(hashlib.sha256(TOKEN.encode()).digest()).rstrip(b"=").decode()
    given = proof(signed(alg, ath=ath, nonce="n", more="said"), token=TOKEN)
    proven = check_proof(given, now=Instant(NOW * 1000))
    assert (proven.holder, proven.jti, proven.issued_at, proven.nonce) == (KEYS[alg].thumbprint(), "one", NOW, "n")


@pytest.mark.case(11)
@pytest.mark.parametrize(
    ("claims", "why"),
    [
        ({"htm": "GET"}, "not for POST"),
        ({"htm": "post"}, "not for POST"),
        ({"htu": "https://lease.acme.example/oauth/revoke"}, "not for POST"),
        ({"htu": "http://lease.acme.example/oauth/token"}, "not for POST"),
        ({"htu": "https://lease.acme.example.evil/oauth/token"}, "not for POST"),
        ({"htu": "https://lease.acme.example:8443/oauth/token"}, "not for POST"),
        ({"htu": "https://x@lease.acme.example/oauth/token"}, "no address"),
        ({"htu": "/oauth/token"}, "no address"),
        ({"htu": " https://lease.acme.example/oauth/token"}, "no address"),
        ({"htu": "https://lease.acme.example/oauth/to\tken"}, "no address"),
        ({"htu": "https://lease.acme.example/oauth/token\n"}, "no address"),
        ({"htu": "https://lease.acme.example./oauth/token"}, "not for POST"),
        ({"htu": "https://lease.acme.example/oauth/%74oken"}, "not for POST"),
        ({"htu": "https://lease.acme.example/x/../oauth/token"}, "not for POST"),
        ({"htu": "https://lease.acme.example\\oauth\\token"}, "not for POST"),
        ({"htu": "https://[/"}, "no address"),
        ({"htu": "https://a:b/"}, "no address"),
        ({"iat": NOW - PROOF_SECONDS - 1}, "within the last"),
        ({"iat": NOW + PROOF_SECONDS + 1}, "within the last"),
        ({"iat": str(NOW)}, "no DPoP proof"),
        ({"iat": None}, "no DPoP proof"),
        ({"jti": None}, "no DPoP proof"),
        ({"jti": ""}, "1 to 256"),
        ({"jti": "x" * 257}, "1 to 256"),
        ({"htm": None}, "no DPoP proof"),
        ({"htu": None}, "no DPoP proof"),
        ({"more": "x" * 4096}, "at most 4096"),
    ],
)
def test_a_proof_for_another_request_or_time_proves_nothing(claims: dict[str, object], why: str) -> None:
    assert why in refusal(signed(**claims))


@pytest.mark.case(11)
def test_a_proof_is_for_one_token() -> None:
    other = base64url.encode(hashlib.sha256(b"other").digest())
    assert "another token" in refusal(signed(), token=TOKEN)
    assert "another token" in refusal(signed(ath=other), token=TOKEN)


@pytest.mark.parametrize(
    "htu", [f"{URL}?a=b", f"{URL}#a", "HTTPS://Lease.Acme.example/oauth/token", URL.replace("example", "example:443")]
)
def test_the_same_address_may_be_written_as_libraries_write_it(htu: str) -> None:
    assert check_proof(proof(signed(htu=htu)), now=Instant(NOW * 1000)).holder == ED.thumbprint()


def test_an_address_without_a_path_is_that_of_the_root() -> None:
    given = proof(signed(htu="https://a.example"), url="https://a.example/")
    assert check_proof(given, now=Instant(NOW * 1000)).jti == "one"


@pytest.mark.case(1, 3, 4, 7, 9)
@pytest.mark.parametrize(
    ("header", "why"),
    [
        ({"typ": "at+jwt"}, "no DPoP proof"),
        ({"typ": None}, "no DPoP proof"),
        ({"jwk": None}, "no DPoP proof"),
        ({"jwk": ED.as_dict(private=True)}, "public key"),
        ({"jwk": EC.as_dict(private=False)}, "not what a key"),
        ({"jwk": EC.as_dict(private=False) | {"y": None}}, "not what a key"),
        ({"jwk": OctKey.generate_key(256).as_dict()}, "no DPoP proof"),
        ({"jwk": ED.as_dict(private=False) | {"crv": "Ed448"}}, "no DPoP proof"),
        ({"jwk": OKPKey.generate_key("Ed25519").as_dict(private=False)}, "not signed by"),
        ({"jwk": {"kty": "OKP", "crv": "Ed25519", "x": base64url.encode(bytes(32))}}, "small order"),
        ({"jwk": {"kty": "OKP", "crv": "Ed25519", "x": ED.as_dict(private=False)["x"] + "="}}, "not base64url"),
        ({"crit": ["b64"], "b64": True}, "extension"),
    ],
)
def test_a_header_that_is_no_proofs_is_refused(header: dict[str, object], why: str) -> None:
    members = {"typ": "dpop+jwt", "alg": "Ed25519", "jwk": ED.as_dict(private=False)} | header
    said = {name: value for name, value in members.items() if value is not None}
    head, body = json.dumps(said).encode(), json.dumps(CLAIMS).encode()
    signing_input = f"{base64url.encode(head)}.{base64url.encode(body)}"
    text = f"{signing_input}.{base64url.encode(ED.private_key.sign(signing_input.encode()))}"
    assert why in refusal(text)


@pytest.mark.case(1, 7)
def test_an_algorithm_that_is_not_the_keys_is_refused() -> None:
    good = signed("ES256")
    head, body, signature = good.split(".")
    for alg in ("none", "HS256", "RS256", "ES384", "Ed25519", "EdDSA", "es256"):
        members = json.loads(base64url.decode(head)) | {"alg": alg}
        text = f"{base64url.encode(json.dumps(members).encode())}.{body}.{signature}"
        assert refusal(text)
    wrong_point = EC.as_dict(private=False) | {"y": base64url.encode(bytes(32))}
    assert "no point" in refusal(
        raw({"typ": "dpop+jwt", "alg": "ES256", "jwk": wrong_point}, b"{}", EC).replace(base64url.encode(b"{}"), body)
    )
    for change in ({"x": base64url.encode(bytes(31))}, {"y": None}):
        lame = {name: value for name, value in (EC.as_dict(private=False) | change).items() if value is not None}
        head = {"typ": "dpop+jwt", "alg": "ES256", "jwk": lame}
        assert "two coordinates" in refusal(raw(head, json.dumps(CLAIMS).encode(), EC))
    stranger = {"typ": "dpop+jwt", "alg": "ES256", "jwk": EC.as_dict(private=False)}
    assert "not signed by" in refusal(raw(stranger, json.dumps(CLAIMS).encode(), ECKey.generate_key("P-256")))


@pytest.mark.case(6, 13)
def test_a_proof_has_one_spelling_and_each_member_once() -> None:
    good = signed()
    head, _, signature = good.split(".")
    twice = base64url.encode(b'{"jti":"one","jti":"two","htm":"POST","htu":"x","iat":1}')
    for text in (
        "",
        "a.b",
        f"{good}.x",
        f"{good}=",
        f"{good}\n",
        f"{head}.{twice}.{signature}",
        f"{head}.bm8.{signature}",
    ):
        assert refusal(text)


def test_a_nonce_is_good_for_two_periods_and_known_to_who_has_the_key() -> None:
    nonces, now = Nonces(bytes(32)), NOW // 120 * 120
    nonce = nonces.make(Instant(now * 1000))
    for later, is_good in ((0, True), (119, True), (239, True), (240, False), (-1, False)):
        assert Nonces(bytes(32)).is_valid(nonce, Instant((now + later) * 1000)) is is_good
    assert not nonces.is_valid(None, Instant(now * 1000))
    assert not nonces.is_valid("é", Instant(now * 1000))
    assert not Nonces(bytes(31) + b"x").is_valid(nonce, Instant(now * 1000))


def test_a_proof_is_the_same_however_its_address_is_written_and_another_for_another_request() -> None:
    def identity(text: str, **changes: object) -> str:
        return check_proof(proof(text, **changes), now=Instant(NOW * 1000)).identity

    one = identity(signed())
    assert identity(signed(htu=URL.replace("example", "EXAMPLE:443") + "?a=b")) == one
    other = URL + "/other"
    assert (
        len({one, identity(signed(jti="two")), identity(signed(htu=other), url=other), identity(signed("ES256"))}) == 4
    )


@pytest.mark.case(7)
def test_the_second_signature_that_es256_knows_for_the_same_words_is_the_same_proof() -> None:
    text = signed("ES256")
    body, _, signature = text.rpartition(".")
    raw_signature = base64url.decode(signature)
    order = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
    twin = raw_signature[:32] + (order - int.from_bytes(raw_signature[32:], "big")).to_bytes(32, "big")
    both = [check_proof(proof(one), now=Instant(NOW * 1000)) for one in (text, f"{body}.{base64url.encode(twin)}")]
    assert both[0].identity == both[1].identity
