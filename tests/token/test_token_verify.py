"""Attacks on the token, each refused with its own code (threat cases 1-12 and 50)."""

from __future__ import annotations

import base64
import hmac
import json
import subprocess
import sys
import textwrap
from collections.abc import Callable

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from leasehold.errors import InvalidError, TokenError
from leasehold.model import canonical
from leasehold.model.instant import Instant
from leasehold.model.lease import Lease, Token
from leasehold.token import base64url
from leasehold.token.codec import sign_lease
from leasehold.token.jwk import public_jwks
from leasehold.token.keys import DocumentType, KeyRing, PublicKeys, SigningKey
from leasehold.token.verify import SKEW_SECONDS, TokenCode, UnverifiedToken, VerifiedToken, Verifier

Verify = Callable[[str], VerifiedToken]
Forge = Callable[..., str]
Claims = dict[str, object]

CLAIM_NAMES = [
    "aud", "approved_by", "attempt", "authorization_details", "budget", "client_id", "delegation_depth", "deny",
    "ends_on", "environment", "epoch", "exp", "iat", "iss", "jti", "nbf", "parents", "policy", "reason", "receipt",
    "request_id", "requested_by", "route", "sub", "tenant",
]  # fmt: skip
HEADER = {"alg": "Ed25519", "typ": "at+jwt"}


def code_of(verify: Verify, token: str) -> str:
    with pytest.raises(TokenError) as caught:
        verify(token)
    assert caught.value.code in list(TokenCode)
    return str(caught.value.code)


@pytest.mark.requirement("L2", "L9")
def test_an_authentic_token_at_its_door_is_accepted(verify: Verify, token: Token, lease: Lease) -> None:
    assert verify(token).lease_id == lease.lease_id


def test_the_tests_know_every_claim(claims: Claims) -> None:
    assert sorted(claims) == sorted(CLAIM_NAMES)


# ---- bits and spellings ----


@pytest.mark.case(5)
@pytest.mark.requirement("L2")
def test_every_single_bit_flip_of_the_token_is_refused(verify: Verify, token: Token) -> None:
    data = token.encode("ascii")
    codes: dict[str, int] = {}
    for bit in range(len(data) * 8):
        flipped = bytearray(data)
        flipped[bit // 8] ^= 1 << bit % 8
        code = code_of(verify, flipped.decode("latin-1"))
        codes[code] = codes.get(code, 0) + 1
    print(f"{len(data) * 8} bits flipped one at a time, all refused: {codes}")
    assert sum(codes.values()) == len(data) * 8


@pytest.mark.case(5)
def test_every_single_bit_flip_of_the_decoded_parts_is_refused(verify: Verify, token: Token) -> None:
    parts = [base64url.decode(part) for part in token.split(".")]
    flips = 0
    for number, part in enumerate(parts):
        for bit in range(len(part) * 8):
            flipped = bytearray(part)
            flipped[bit // 8] ^= 1 << bit % 8
            altered = [*parts[:number], bytes(flipped), *parts[number + 1 :]]
            code_of(verify, ".".join(map(base64url.encode, altered)))
            flips += 1
    print(f"{flips} bits of the decoded parts flipped one at a time, all refused")


@pytest.mark.case(6)
def test_every_other_spelling_of_the_same_bytes_is_refused(verify: Verify, token: Token) -> None:
    parts = token.split(".")
    for number, part in enumerate(parts):
        data = base64url.decode(part)
        spellings = {
            base64.urlsafe_b64encode(data).decode(),
            part + "=",
            part + "==",
            part + "\n",
            part + " ",
            "\n" + part,
            part[:4] + "\n" + part[4:],
            part[:4] + " " + part[4:],
            part[:4] + "!" + part[4:],
            base64.b64encode(data).decode().rstrip("="),
            part.replace("-", "+").replace("_", "/"),
        }
        if len(data) % 3:  # spare bits behind the last byte
            alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
            spare = 4 if len(data) % 3 == 1 else 2
            last = alphabet.index(part[-1])
            spellings |= {part[:-1] + alphabet[last + extra] for extra in range(1, 1 << spare)}
        for spelling in spellings - {part}:
            altered = ".".join([*parts[:number], spelling, *parts[number + 1 :]])
            assert code_of(verify, altered) == "encoding"


@pytest.mark.case(6)
@pytest.mark.parametrize("around", ["{} ", " {}", "{}\n", "{}.", ".{}", "{}..", "Bearer {}", "\ufeff{}", "{}\0", "é{}"])
def test_anything_around_the_token_is_refused(verify: Verify, token: Token, around: str) -> None:
    assert code_of(verify, around.format(token)) in ("shape", "encoding")


@pytest.mark.parametrize("text", ["", ".", "..", "a.b", "a.b.c.d", "{}", "\ud800.a.b", "☃"])
def test_text_of_another_shape_is_refused(verify: Verify, text: str) -> None:
    assert code_of(verify, text) in ("shape", "encoding")


@pytest.mark.case(17)
def test_a_long_text_is_refused_before_it_is_looked_at(verify: Verify, token: Token) -> None:
    assert code_of(verify, token + "A" * 8192) == "size"
    assert code_of(verify, "☃" * 8193) == "size"
    assert code_of(verify, f"{base64url.encode(b'k' * 10_000)}.e30.AA") == "size"
    assert code_of(verify, "A" * 8192) == "shape"


@pytest.mark.parametrize("size", [0, 32, 63, 65])
def test_a_signature_of_another_length_is_refused(verify: Verify, token: Token, size: int) -> None:
    head = token.rsplit(".", 1)[0]
    assert code_of(verify, f"{head}.{base64url.encode(bytes(size))}") == "encoding"


# ---- the header ----


@pytest.mark.case(1)
@pytest.mark.parametrize(
    "algorithm", ["none", "None", "", "HS256", "EdDSA", "ed25519", "ED25519", "Ed448", "ES256", None, 1]
)
@pytest.mark.parametrize("known", [True, False])
def test_any_other_algorithm_is_refused_before_a_key_is_looked_for(
    verify: Verify, forge: Forge, claims: Claims, ring: KeyRing, algorithm: object, known: bool
) -> None:
    kid = ring.newest.kid if known else "unknown"
    assert code_of(verify, forge(claims, HEADER | {"alg": algorithm, "kid": kid})) == "header"


@pytest.mark.case(1)
def test_the_public_key_as_a_shared_secret_signs_nothing(verify: Verify, claims: Claims, ring: KeyRing) -> None:
    public = ring.newest.public().to_bytes()
    for algorithm, expected in (("HS256", "header"), ("Ed25519", "signature")):
        header = canonical.encode(HEADER | {"alg": algorithm, "kid": ring.newest.kid})
        signing_input = f"{base64url.encode(header)}.{base64url.encode(canonical.encode(claims))}"
        mac = hmac.digest(public, signing_input.encode(), "sha512")
        assert code_of(verify, f"{signing_input}.{base64url.encode(mac)}") == expected


@pytest.mark.case(1)
def test_an_unsigned_token_is_refused(verify: Verify, claims: Claims) -> None:
    header, payload = canonical.encode({"alg": "none"}), canonical.encode(claims)
    assert code_of(verify, f"{base64url.encode(header)}.{base64url.encode(payload)}.") == "encoding"


@pytest.mark.case(3, 4)
@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("jwk", {"kty": "OKP", "crv": "Ed25519", "x": "AAAA"}),
        ("jku", "https://attacker.example/keys"),
        ("x5u", "https://attacker.example/chain"),
        ("x5c", ["AAAA"]),
        ("x5t", "AAAA"),
        ("crit", []),
        ("crit", ["exp"]),
        ("crit", "b64"),
        ("crit", None),
        ("b64", False),
        ("cty", "JWT"),
        ("zip", "DEF"),
        ("enc", "A256GCM"),
        ("x", 1),
    ],
)
def test_every_further_header_member_is_refused(
    verify: Verify, forge: Forge, claims: Claims, ring: KeyRing, name: str, value: object
) -> None:
    assert code_of(verify, forge(claims, HEADER | {"kid": ring.newest.kid, name: value})) == "header"


@pytest.mark.parametrize("name", ["alg", "kid", "typ"])
def test_every_header_member_is_needed(verify: Verify, forge: Forge, claims: Claims, ring: KeyRing, name: str) -> None:
    header = HEADER | {"kid": ring.newest.kid}
    del header[name]
    assert code_of(verify, forge(claims, header)) == "header"


@pytest.mark.case(13)
@pytest.mark.parametrize(
    "text",
    [
        '{"alg":"none","alg":"Ed25519","kid":"KID","typ":"at+jwt"}',
        '{"alg":"Ed25519","alg":"Ed25519","kid":"KID","typ":"at+jwt"}',
        '{"alg":"Ed25519","kid":"x","kid":"KID","typ":"at+jwt"}',
        '{ "alg":"Ed25519","kid":"KID","typ":"at+jwt"}',
        '{"kid":"KID","alg":"Ed25519","typ":"at+jwt"}',
        '{"alg":"Ed25519","kid":"KID","typ":"at\\u002bjwt"}',
        '{"alg":"Ed25519","kid":"KID","typ":"at+jwt"}\n',
        '\ufeff{"alg":"Ed25519","kid":"KID","typ":"at+jwt"}',
        '{"alg":"Ed25519","kid":7,"typ":"at+jwt"}',
        '{"alg":"Ed25519","kid":"KID","typ":null}',
        '["alg","kid","typ"]',
        '"at+jwt"',
        "",
        "{",
        "[" * 3000,
    ],
)
def test_a_header_in_any_other_spelling_is_refused(
    verify: Verify, forge: Forge, claims: Claims, ring: KeyRing, text: str
) -> None:
    assert code_of(verify, forge(claims, text.replace("KID", ring.newest.kid).encode())) == "header"


@pytest.mark.case(16)
def test_a_header_that_is_not_utf_8_is_refused(verify: Verify, forge: Forge, claims: Claims) -> None:
    assert code_of(verify, forge(claims, b'{"alg":"\xff"}')) == "header"


@pytest.mark.case(9)
@pytest.mark.parametrize("typ", ["JWT", "AT+JWT", "application/at+jwt", "", "dpop+jwt", *map(str, DocumentType)])
def test_a_document_of_another_type_is_refused_though_the_lease_key_signed_it(
    verify: Verify, forge: Forge, claims: Claims, ring: KeyRing, typ: str
) -> None:
    assert code_of(verify, forge(claims, {"alg": "Ed25519", "kid": ring.newest.kid, "typ": typ})) == "type"


JUNK_KIDS = [
    "../../../../etc/passwd",
    "/dev/stdin",
    "file:///etc/passwd",
    "https://attacker.example/key",
    "' OR 1=1 --",
    "kid\0.pem",
    "k" * 3000,
    "",
    "☃",
    "__class__",
]


@pytest.mark.case(2)
@pytest.mark.parametrize("kid", JUNK_KIDS)
def test_a_junk_kid_is_only_ever_unknown(verify: Verify, forge: Forge, claims: Claims, kid: str) -> None:
    expected = "header" if "\0" in kid else "unknown_key"
    assert code_of(verify, forge(claims, HEADER | {"kid": kid})) == expected


@pytest.mark.case(2)
@given(kid=st.text(max_size=40))
def test_any_text_as_kid_is_refused(verify: Verify, forge: Forge, claims: Claims, kid: str) -> None:
    header = json.dumps(HEADER | {"kid": kid}, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    assert code_of(verify, forge(claims, header.encode())) in ("unknown_key", "header")


@pytest.mark.case(2)
def test_a_junk_kid_opens_no_file_no_socket_and_no_process(forge: Forge, claims: Claims, ring: KeyRing) -> None:
    """The interpreter's own audit events are the witness: none may be raised while tokens are refused."""
    tokens = [forge(claims, HEADER | {"kid": kid}) for kid in JUNK_KIDS]
    program = """
        import json, sys
        from leasehold.errors import TokenError
        from leasehold.model.instant import Instant
        from leasehold.token.jwk import read_public_jwks
        from leasehold.token.keys import DocumentType
        from leasehold.token.verify import Verifier
        keys, tokens = json.loads(sys.stdin.read())
        verifier = Verifier("i", read_public_jwks(keys.encode(), DocumentType.LEASE))
        def present():
            refused = 0
            for token in tokens:
                try:
                    verifier.verify(token, audience="a", environment="e", now=Instant(0))
                except TokenError as error:
                    refused += error.code in ("unknown_key", "header")
            return refused
        present()
        seen = []
        sys.addaudithook(lambda event, arguments: seen.append(event))
        refused = present()
        events = list(seen)
        print(json.dumps([refused, [e for e in events if e.split(".")[0] not in ("object", "sys", "builtins")]]))
    """
    result = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program)],
        input=json.dumps([public_jwks(ring.public()), tokens]),
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert json.loads(result.stdout) == [len(JUNK_KIDS), []]


# ---- the claims ----


@pytest.mark.case(8)
@pytest.mark.parametrize("name", CLAIM_NAMES)
def test_every_claim_is_needed_and_none_has_a_default(verify: Verify, forge: Forge, claims: Claims, name: str) -> None:
    assert code_of(verify, forge({key: value for key, value in claims.items() if key != name})) == "claims"


@pytest.mark.case(8)
@pytest.mark.parametrize("name", ["type", "actions", "constraints"])
def test_every_member_of_a_grant_is_needed(verify: Verify, forge: Forge, claims: Claims, name: str) -> None:
    altered = json.loads(json.dumps(claims))
    del altered["authorization_details"][0][name]
    assert code_of(verify, forge(altered)) == "claims"


@pytest.mark.case(20)
@pytest.mark.parametrize("name", ["scope", "act", "version", "EXP", "exp "])
def test_an_unknown_claim_is_refused(verify: Verify, forge: Forge, claims: Claims, name: str) -> None:
    assert code_of(verify, forge(claims | {name: 1})) == "claims"


@pytest.mark.case(13)
@pytest.mark.parametrize("name", CLAIM_NAMES)
@pytest.mark.parametrize("first", [True, False])
def test_a_claim_that_stands_twice_is_refused(
    verify: Verify, forge: Forge, claims: Claims, name: str, first: bool
) -> None:
    payload = canonical.encode(claims)
    member = canonical.encode({name: claims[name]})[1:-1]
    twice = b"{" + member + b"," + payload[1:] if first else payload[:-1] + b"," + member + b"}"
    assert code_of(verify, forge(twice)) == "claims"


@pytest.mark.case(13)
def test_a_member_that_stands_twice_further_in_is_refused(verify: Verify, forge: Forge, claims: Claims) -> None:
    payload = canonical.encode(claims)
    for once, twice in (
        (b'"service":["payments-api"]', b'"service":["payments-api"],"service":["payments-api"]'),
        (b'"max":3', b'"max":9,"max":3'),
        (b'"calls":30', b'"calls":30,"calls":30'),
    ):
        assert once in payload
        assert code_of(verify, forge(payload.replace(once, twice, 1))) == "claims"


@pytest.mark.case(14, 15, 49)
@pytest.mark.parametrize("name", ["iat", "nbf", "exp", "attempt", "epoch", "delegation_depth"])
@pytest.mark.parametrize(
    "text",
    ["1.0", "1e9", "-1", "-0", "true", "null", '"1778068800"', "9007199254740992", "9223372036854775808", "1" * 400],
)
def test_a_number_that_is_no_plain_whole_number_is_refused(
    verify: Verify, forge: Forge, claims: Claims, name: str, text: str
) -> None:
    payload = canonical.encode(claims | {name: "MARK"}).replace(b'"MARK"', text.encode())
    assert code_of(verify, forge(payload)) == "claims"


@pytest.mark.parametrize("name", ["attempt", "epoch"])
def test_attempt_and_epoch_start_at_one(verify: Verify, forge: Forge, claims: Claims, name: str) -> None:
    assert code_of(verify, forge(claims | {name: 0})) == "claims"


@pytest.mark.case(15)
@pytest.mark.parametrize("name", [name for name in CLAIM_NAMES if name != "receipt"])
@pytest.mark.parametrize("value", [None, False, 1.5])
def test_a_claim_of_another_type_is_refused(
    verify: Verify, forge: Forge, claims: Claims, name: str, value: object
) -> None:
    assert code_of(verify, forge(claims | {name: value})) == "claims"


@pytest.mark.parametrize(
    "change",
    [
        {"receipt": 1},
        {"receipt": "true"},
        {"aud": ["deploy.prod"]},
        {"aud": ["deploy.prod", "ticket"]},
        {"jti": "lease_01"},
        {"jti": "run_01JZ8Q5X0M3V7K2N9B4C6D8E0F"},
        {"jti": "lease_01JZ8Q5X0M3V7K2N9B4C6D8E0F\n"},
        {"sub": "lease_01JZ8Q5X0M3V7K2N9B4C6D8E0F"},
        {"request_id": ""},
        {"parents": ["run_01JZ8Q5X0M3V7K2N9B4C6D8E0F"]},
        {"nbf": 1_778_068_799},
        {"budget": {"calls": "-1"}},
        {"budget": {"calls": "1e3"}},
        {"budget": {"Calls": 1}},
        {"authorization_details": []},
        {"cnf": {"jkt": "short"}},
        {"cnf": {"jkt": "A" * 43 + "\n"}},
        {"cnf": {"jwk": {}}},
        {"cnf": None},
    ],
)
def test_a_claim_with_a_value_it_cannot_have_is_refused(
    verify: Verify, forge: Forge, claims: Claims, change: Claims
) -> None:
    assert code_of(verify, forge(claims | change)) == "claims"


@pytest.mark.parametrize(
    "change",
    [
        {"type": "urn:leasehold:grant:2"},
        {"type": "openid_credential"},
        {"actions": []},
        {"actions": ["deploy.prod.release:create", "deploy.prod.release:status"]},
        {"actions": ["ticket.close"]},
        {"actions": ["deploy.prod"]},
        {"actions": ["deploy.prod.*"]},
        {"actions": ["deploy.prod.release:status"]},
        {"constraints": {"service": []}},
        {"constraints": {"service": ["a*b"]}},
        {"constraints": {"service": [["x"]]}},
        {"constraints": {"service": [1.5]}},
        {"constraints": {"service": [None]}},
        {"constraints": {"service": "payments-api"}},
        {"constraints": {"service": {}}},
        {"constraints": {"service": {"max": True}}},
        {"constraints": {"service": {"max": 1, "most": 1}}},
        {"constraints": {"service": {"max": {"max": 1}}}},
        {"constraints": {"se rvice": ["x"]}},
        {"locations": ["https://example.org"]},
    ],
)
def test_a_grant_that_no_lease_can_hold_is_refused(
    verify: Verify, forge: Forge, claims: Claims, change: Claims
) -> None:
    altered = json.loads(json.dumps(claims))
    altered["authorization_details"][0] |= change
    assert code_of(verify, forge(altered)) == "claims"


@pytest.mark.parametrize("payload", [b"", b"{}", b"[]", b"null", b"1", b'"x"', b"\xff", b"[" * 2000, b'{"iss":' * 500])
def test_a_payload_that_is_no_lease_is_refused(verify: Verify, forge: Forge, payload: bytes) -> None:
    assert code_of(verify, forge(payload)) == "claims"


@pytest.mark.case(18)
def test_a_payload_in_another_spelling_is_refused(verify: Verify, forge: Forge, claims: Claims) -> None:
    payload = canonical.encode(claims)
    for other in (
        payload + b"\n",
        b" " + payload,
        payload.replace(b'"aud":', b'"aud": '),
        payload.replace(b"acme", b"\\u0061cme"),
        payload.replace(b"\\n", b"\\u000a"),
        json.dumps(dict(reversed(claims.items())), separators=(",", ":"), ensure_ascii=False).encode(),
        json.dumps(claims, sort_keys=True, separators=(",", ":")).encode(),
        b"\xef\xbb\xbf" + payload,
    ):
        assert other != payload
        assert code_of(verify, forge(other)) == "claims"


# ---- keys and other documents ----


@pytest.mark.case(9)
def test_a_lease_signed_by_the_key_of_another_document_is_refused(verify: Verify, forge: Forge, claims: Claims) -> None:
    receipts = KeyRing(DocumentType.RECEIPT, (SigningKey.generate(bytes([5]) * 32),))
    assert code_of(verify, forge(claims, HEADER | {"kid": receipts.newest.kid}, receipts.newest)) == "unknown_key"


def test_a_lease_signed_by_another_key_under_our_kid_is_refused(
    verify: Verify, forge: Forge, claims: Claims, ring: KeyRing
) -> None:
    stranger = SigningKey.generate(bytes([6]) * 32)
    assert code_of(verify, forge(claims, HEADER | {"kid": ring.newest.kid}, stranger)) == "signature"


@pytest.mark.case(9)
@pytest.mark.parametrize("document_type", [t for t in DocumentType if t is not DocumentType.LEASE])
def test_a_verifier_of_leases_takes_no_keys_of_other_documents(ring: KeyRing, document_type: DocumentType) -> None:
    with pytest.raises(InvalidError, match="keys for leases"):
        Verifier("i", PublicKeys.of(document_type, [ring.newest.public()]))


@pytest.mark.case(9)
@pytest.mark.parametrize("payload_type", ["application/vnd.in-toto+json", "at+jwt", ""])
def test_what_a_key_signed_for_an_envelope_is_no_lease(
    verify: Verify, ring: KeyRing, token: Token, payload_type: str
) -> None:
    head, payload, _ = token.split(".")
    body = f"{head}.{payload}".encode()
    envelope = b"DSSEv1 %d %s %d %s" % (len(payload_type), payload_type.encode(), len(body), body)
    signature = base64url.encode(ring.newest.sign(envelope))
    assert code_of(verify, f"{head}.{payload}.{signature}") == "signature"


# ---- the door ----


@pytest.mark.requirement("L9")
@pytest.mark.case(10)
def test_a_token_is_refused_at_every_door_but_its_own(token: Token, ring: KeyRing, issuer: str, lease: Lease) -> None:
    now = Instant(lease.issued_at * 1000)
    ours, others = Verifier(issuer, ring.public()), Verifier(issuer + "x", ring.public())
    for verifier, audience, environment, expected in (
        (ours, "ticket", "staging", "audience"),
        (ours, "deploy", "staging", "audience"),
        (ours, "deploy.prod.", "staging", "audience"),
        (ours, "Deploy.prod", "staging", "audience"),
        (ours, "", "staging", "audience"),
        (ours, "deploy.prod", "prod", "environment"),
        (ours, "deploy.prod", "Staging", "environment"),
        (ours, "deploy.prod", "", "environment"),
        (others, "deploy.prod", "staging", "issuer"),
    ):
        with pytest.raises(TokenError) as caught:
            verifier.verify(token, audience=audience, environment=environment, now=now)
        assert caught.value.code == expected


@pytest.mark.requirement("L3", "L7")
@pytest.mark.case(46, 50)
def test_a_lease_lives_from_its_issue_less_the_published_skew_until_its_expiry(
    verifier: Verifier, token: Token, lease: Lease
) -> None:
    def at(milliseconds: int) -> str:
        try:
            verifier.verify(token, audience="deploy.prod", environment="staging", now=Instant(milliseconds))
        except TokenError as error:
            return str(error.code)
        return "ok"

    first, last = (lease.issued_at - SKEW_SECONDS) * 1000, lease.expires_at * 1000
    assert [at(first - 1), at(first), at(last - 1), at(last), at(last + 10**12)] == [
        "not_yet", "ok", "ok", "expired", "expired",
    ]  # fmt: skip


@pytest.mark.requirement("L3")
@pytest.mark.case(50)
@pytest.mark.parametrize("ttl_seconds", [0, -1, 901, 10**9])
def test_a_lifetime_above_the_hard_maximum_or_of_nothing_is_refused(
    verify: Verify, forge: Forge, claims: Claims, lease: Lease, ttl_seconds: int
) -> None:
    assert code_of(verify, forge(claims | {"exp": lease.issued_at + ttl_seconds})) == "lifetime"


@pytest.mark.case(50)
def test_the_longest_and_the_shortest_lifetime_pass(verify: Verify, forge: Forge, claims: Claims, lease: Lease) -> None:
    for ttl_seconds in (2, 900):
        expires_at = lease.issued_at + ttl_seconds
        assert verify(forge(claims | {"exp": expires_at})).expires_at == expires_at


# ---- rotation ----


@pytest.mark.case(12)
def test_no_valid_lease_is_refused_while_keys_overlap(ring: KeyRing, lease: Lease, issuer: str) -> None:
    """The longest lease, signed in the last second before the rotation, lives to its end and not longer."""
    rotated_at = lease.issued_at
    longest = msgspec.structs.replace(lease, expires_at=lease.issued_at + 900)
    old = sign_lease(longest, "ticket", issuer, ring)
    rotated = ring.rotate(SigningKey.generate(bytes([2]) * 32), now=Instant(rotated_at * 1000))
    new = sign_lease(longest, "ticket", issuer, rotated)
    verifier = Verifier(issuer, rotated.public())
    for now in (rotated_at * 1000, rotated_at * 1000 + 899_999):
        for token in (old, new):
            verifier.verify(token, audience="ticket", environment="staging", now=Instant(now))
    with pytest.raises(TokenError) as caught:
        Verifier(issuer, ring.public()).verify(new, audience="ticket", environment="staging", now=Instant(now))
    assert caught.value.code == "unknown_key"  # a verifier that has not heard of the rotation yet


@pytest.mark.case(12)
def test_nothing_that_a_retired_key_signs_later_is_accepted(ring: KeyRing, lease: Lease, issuer: str) -> None:
    rotated = ring.rotate(SigningKey.generate(bytes([2]) * 32), now=Instant((lease.issued_at - 600) * 1000))
    late = sign_lease(lease, "ticket", issuer, ring)  # a thief of the old key
    verifier = Verifier(issuer, rotated.public())
    end = (lease.issued_at + 300) * 1000
    assert verifier.verify(late, audience="ticket", environment="staging", now=Instant(end - 1)).kid == ring.newest.kid
    later = msgspec.structs.replace(lease, expires_at=lease.issued_at + 900)
    with pytest.raises(TokenError) as caught:
        verifier.verify(
            sign_lease(later, "ticket", issuer, ring), audience="ticket", environment="staging", now=Instant(end)
        )
    assert caught.value.code == "key_retired"


# ---- what refusals say ----


def test_no_refusal_shows_the_token_or_its_signature(verify: Verify, token: Token) -> None:
    head, payload, signature = token.split(".")
    for text in (f"{head}.{payload}.{signature[:-2]}AA", f"{head}.{payload[:-4]}.{signature}", f"x{token}"):
        with pytest.raises(TokenError) as caught:
            verify(text)
        assert signature[:20] not in str(caught.value)
        assert payload[:20] not in str(caught.value)


def test_parsing_gives_an_unverified_token_which_is_another_type(token: Token) -> None:
    parsed = UnverifiedToken.parse(token)
    assert not isinstance(parsed, VerifiedToken)
    assert json.loads(parsed.payload)["aud"] == "deploy.prod"
    assert f"{parsed.signing_input.decode()}.{base64url.encode(parsed.signature)}" == token
