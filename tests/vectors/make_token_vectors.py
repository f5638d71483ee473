"""Writes the numbered token vectors. Run by hand when the format grows; a test compares its output with the files."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeAlias

import msgspec

from leasehold.model import canonical
from leasehold.model.budget import amounts_to_json
from leasehold.model.grant import grants_from_json, grants_to_json
from leasehold.model.ids import LeaseId, RequestId, RunId
from leasehold.model.instant import Instant
from leasehold.model.lease import Lease
from leasehold.token import base64url
from leasehold.token.codec import lease_to_claims, sign_lease
from leasehold.token.jwk import public_jwks
from leasehold.token.keys import DocumentType, KeyRing, PublicKeys, SigningKey

FOLDER = Path(__file__).parent / "token"
ISSUER = "urn:leasehold:authority:01JZ8Q5X0M3V7K2N9B4C6D8E0F"
ISSUED_AT = 1_778_068_800
KEY = SigningKey.generate(bytes(range(32)))
OTHER_KEY = SigningKey.generate(bytes(range(32, 64)))
RING = KeyRing(DocumentType.LEASE, (KEY,))
PRIME = 2**255 - 19
ORDER = 2**252 + 27742317777372353535851937790883648493

LEASE = Lease(
    lease_id=LeaseId("lease_01JZ8Q5X0M3V7K2N9B4C6D8E0F"),
    run_id=RunId("run_01JZ8Q5X0M3V7K2N9B4C6D8E0G"),
    attempt=1,
    request_id=RequestId("req_01JZ8Q5X0M3V7K2N9B4C6D8E0H"),
    agent="release-bot",
    requested_by="user:ana",
    approved_by=("user:anirudh",),
    tenant="acme",
    environment="staging",
    route="ci/deploy",
    allow=grants_from_json(
        {
            "deploy.prod.release:create": {"service": ["payments-api"], "replicas": {"max": 3}},
            "deploy.prod.release:status": {"service": ["payments-api"]},
            "ticket.close": {"ticket": ["T-1", "T-2"]},
        }
    ),
    deny=("secrets.*",),
    budget={"calls": 30_000_000, "tool_seconds": 600_000_000, "usd": 1_000_000},
    ends_on=(),
    delegation_depth=0,
    parents=(),
    issued_at=ISSUED_AT,
    expires_at=ISSUED_AT + 720,
    reason="promote already-built artifact for smoke test",
    policy="sha256:" + "0" * 64,
    epoch=1,
)
CLAIMS = lease_to_claims(LEASE, "deploy.prod", ISSUER)
TOKEN = sign_lease(LEASE, "deploy.prod", ISSUER, RING)
HEADER: dict[str, object] = {"alg": "Ed25519", "kid": KEY.kid, "typ": "at+jwt"}


@dataclass(frozen=True)
class Vector:
    """One file, without its number."""

    name: str
    says: str
    cases: tuple[int, ...]
    expect: str
    token: str = TOKEN
    keys: str = public_jwks(RING.public())
    lease: Lease | None = None
    door: dict[str, object] = field(default_factory=dict)

    def to_json(self) -> dict[str, object]:
        """The members of the file."""
        members: dict[str, object] = {
            "says": self.says,
            "cases": list(self.cases),
            "token": self.token,
            "keys": json.loads(self.keys),
            "issuer": ISSUER,
            "audience": "deploy.prod",
            "environment": "staging",
            "now_milliseconds": (ISSUED_AT + 1) * 1000,
            "holder": None,
            "expect": self.expect,
        }
        members |= self.door
        if self.lease is not None:
            members["lease"] = lease_json(self.lease, str(members["audience"]))
        return members


def lease_json(lease: Lease, audience: str) -> dict[str, object]:
    """The lease document, with the grants of one audience."""
    members = {name: getattr(lease, name) for name in lease.__struct_fields__}
    return members | {"allow": grants_to_json(lease.grants_for(audience)), "budget": amounts_to_json(lease.budget)}


def join(header: bytes, payload: bytes, key: SigningKey = KEY) -> str:
    """A token of any header and payload bytes, signed."""
    signing_input = f"{base64url.encode(header)}.{base64url.encode(payload)}"
    return f"{signing_input}.{base64url.encode(key.sign(signing_input.encode()))}"


def with_header(**changes: object) -> str:
    """The lease's claims under a header with some members changed; None leaves a member out."""
    members = {name: value for name, value in (HEADER | changes).items() if value is not None}
    return join(canonical.encode(members), canonical.encode(CLAIMS))


def with_claims(**changes: object) -> str:
    """The lease with some claims changed."""
    return join(canonical.encode(HEADER), canonical.encode(CLAIMS | changes))


def with_payload(old: bytes, new: bytes) -> str:
    """The lease with some bytes of its payload replaced, signed again."""
    payload = canonical.encode(CLAIMS)
    if old not in payload:
        raise ValueError(old)
    return join(canonical.encode(HEADER), payload.replace(old, new, 1))


def with_signature(change: bytes) -> str:
    """The lease with another signature."""
    return f"{TOKEN.rpartition('.')[0]}.{base64url.encode(change)}"


def keys_of(x: bytes) -> str:
    """A key set whose one key has these raw bytes; the kid is their thumbprint."""
    text = base64url.encode(x)
    kid = base64url.encode(hashlib.sha256(f'{{"crv":"Ed25519","kty":"OKP","x":"{text}"}}'.encode()).digest())
    key = {"alg": "Ed25519", "crv": "Ed25519", "kid": kid, "kty": "OKP", "use": "sig", "x": text}
    return json.dumps({"document": "lease", "keys": [key]})


def rich_lease() -> Lease:
    """A lease with every kind of constraint and every kind of escape in it."""
    return msgspec.structs.replace(
        LEASE,
        allow=grants_from_json(
            {
                "deploy.prod.x": {
                    "exact": ["a", "payé", 7, -7, True],
                    "prefix": ["T-*", "src/**"],
                    "any": ["**"],
                    "number": {"min": -1, "max": 9007199254740991},
                    "decimal": {"min": "0", "max": "10.50"},
                    "text": {"max_length": 2000},
                },
                "deploy.prod.y": {},
            }
        ),
        reason="“quotes”, \\ and \t\n\u001f, \u2028 and \U0001f680",
        budget={"calls": 1_500_000, "usd": 50_000},
        ends_on=("deploy.prod.x",),
        parents=(LeaseId("lease_01JZ8Q5X0M3V7K2N9B4C6D8E0A"), LeaseId("lease_01JZ8Q5X0M3V7K2N9B4C6D8E0B")),
        delegation_depth=2,
        receipt=False,
    )


def accepted() -> Iterator[Vector]:
    """Tokens that open their door."""
    yield Vector("plain", "an authentic lease at its door is accepted", (23,), "accept", lease=LEASE)
    yield Vector(
        "other-audience", "the same lease has another token for another tool, with that tool's grants only", (10,),
        "accept", sign_lease(LEASE, "ticket", ISSUER, RING), lease=LEASE, door={"audience": "ticket"},
    )  # fmt: skip
    rich = rich_lease()
    yield Vector(
        "rich", "every kind of constraint and every escape survives", (18, 23), "accept",
        sign_lease(rich, "deploy.prod", ISSUER, RING), lease=rich,
    )  # fmt: skip
    longest = msgspec.structs.replace(LEASE, expires_at=ISSUED_AT + 900)
    yield Vector(
        "longest", "a lease of exactly the hard maximum is accepted", (50,), "accept",
        sign_lease(longest, "deploy.prod", ISSUER, RING), lease=longest,
    )  # fmt: skip
    for name, says, now in (
        ("earliest", "a verifier whose clock lags by the published two seconds accepts", (ISSUED_AT - 2) * 1000),
        ("last-millisecond", "a lease lives until its expiry", (ISSUED_AT + 720) * 1000 - 1),
    ):
        yield Vector(name, says, (46,), "accept", lease=LEASE, door={"now_milliseconds": now})
    yield Vector(
        "bound", "a bound token is accepted with proof of its key", (11,), "accept",
        sign_lease(LEASE, "deploy.prod", ISSUER, RING, OTHER_KEY.kid), lease=LEASE, door={"holder": OTHER_KEY.kid},
    )  # fmt: skip
    rotated = RING.rotate(OTHER_KEY, now=Instant(ISSUED_AT * 1000)).public()
    yield Vector(
        "retired-key-in-overlap", "a key retired a moment ago still verifies", (12,), "accept",
        keys=public_jwks(rotated), lease=LEASE,
    )  # fmt: skip


def doors() -> Iterator[Vector]:
    """Authentic tokens at the wrong door or time."""
    bound = sign_lease(LEASE, "deploy.prod", ISSUER, RING, OTHER_KEY.kid)
    table: tuple[tuple[str, str, int, str, str, dict[str, object]], ...] = (
        ("wrong-audience", "a lease for one tool is refused by another", 10, "audience", TOKEN, {"audience": "ticket"}),
        ("audience-prefix", "an audience is exact", 10, "audience", TOKEN, {"audience": "deploy"}),
        ("audience-case", "an audience keeps its case", 28, "audience", TOKEN, {"audience": "Deploy.prod"}),
        ("wrong-environment", "a lease is for one environment", 8, "environment", TOKEN, {"environment": "prod"}),
        ("wrong-issuer", "another authority's lease is refused, even with the same key", 10, "issuer", TOKEN,
         {"issuer": ISSUER + "x"}),
        ("at-expiry", "a lease is dead at its expiry", 50, "expired", TOKEN,
         {"now_milliseconds": (ISSUED_AT + 720) * 1000}),
        ("long-expired", "a lease stays dead", 47, "expired", TOKEN, {"now_milliseconds": 4_102_444_800_000}),
        ("too-early", "a lease from the future is refused", 46, "not_yet", TOKEN,
         {"now_milliseconds": (ISSUED_AT - 2) * 1000 - 1}),
        ("bound-without-proof", "a stolen bound token is worth nothing", 11, "holder", bound, {}),
        ("bound-with-other-proof", "another key's proof does not help", 11, "holder", bound, {"holder": KEY.kid}),
    )  # fmt: skip
    for name, says, case, expect, token, door in table:
        yield Vector(name, says, (case,), expect, token, door=door)


def spellings() -> Iterator[Vector]:
    """The same bytes spelled otherwise."""
    header, payload, signature = TOKEN.split(".")
    data = base64url.decode(payload)
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    spare = signature[:-1] + alphabet[alphabet.index(signature[-1]) + 1]
    standard = base64.b64encode(base64url.decode(signature)).decode().rstrip("=")
    for name, says, expect, token in (
        ("padding", "padding is refused", "encoding", TOKEN + "=="),
        ("payload-padding", "padding inside is refused", "encoding",
         f"{header}.{base64.urlsafe_b64encode(data + b' ').decode()}=.{signature}"),
        ("spare-bits", "set bits behind the last byte are refused", "encoding", f"{header}.{payload}.{spare}"),
        ("newline", "a trailing newline is refused", "encoding", TOKEN + "\n"),
        ("inner-newline", "a newline inside is refused", "encoding", TOKEN[:50] + "\n" + TOKEN[50:]),
        ("foreign-character", "a character of no alphabet is refused", "encoding", TOKEN[:50] + "!" + TOKEN[50:]),
        ("standard-alphabet", "the standard alphabet is refused", "encoding", f"{header}.{payload}.+{standard[1:]}"),
        ("leading-space", "a leading space is refused", "encoding", " " + TOKEN),
        ("not-ascii", "text outside ASCII is refused", "shape", TOKEN + "é"),
        ("four-parts", "a fourth part is refused", "shape", TOKEN + ".AA"),
        ("two-parts", "a token without signature part is refused", "shape", f"{header}.{payload}"),
        ("empty", "no text is no token", "shape", ""),
        ("too-long", "a text above 8 KiB is refused unread", "size", TOKEN + "A" * 8192),
        ("short-signature", "a signature has 64 bytes", "encoding", f"{header}.{payload}.{signature[:84]}"),
        ("no-signature", "an unsigned token is refused", "encoding", f"{header}.{payload}."),
    ):  # fmt: skip
        yield Vector(name, says, (6,), expect, token)


def headers() -> Iterator[Vector]:
    """Headers that a lease does not have."""
    for algorithm in ("none", "HS256", "EdDSA", "ES256"):
        yield Vector(f"alg-{algorithm}", "any other algorithm is refused", (1,), "header", with_header(alg=algorithm))
    for name, algorithm in (("none-capital", "None"), ("ed25519-small", "ed25519")):
        says = "an algorithm's name keeps its case"
        yield Vector(f"alg-{name}", says, (1,), "header", with_header(alg=algorithm))
    yield Vector(
        "alg-none-unknown-kid", "the algorithm is judged before a key is looked for", (1,), "header",
        with_header(alg="none", kid="unknown"),
    )  # fmt: skip
    jwk = {"crv": "Ed25519", "kty": "OKP", "x": base64url.encode(OTHER_KEY.public().to_bytes())}
    further: dict[str, object] = {
        "jwk": jwk, "jku": "https://attacker.example/keys", "x5u": "https://attacker.example/chain", "x5c": ["AAAA"],
        "crit": ["exp"], "b64": False, "cty": "JWT", "zip": "DEF",
    }  # fmt: skip
    for name, value in further.items():
        says = "a header brings no key, no address and no extension"
        yield Vector(f"header-{name}", says, (3, 4), "header", with_header(**{name: value}))
    yield Vector("header-crit-empty", "an empty crit is refused as well", (4,), "header", with_header(crit=[]))
    for name in ("alg", "kid", "typ"):
        yield Vector(f"header-no-{name}", "every header member is needed", (8,), "header", with_header(**{name: None}))
    plain, payload = canonical.encode(HEADER), canonical.encode(CLAIMS)
    for name, header in (
        ("twice", plain[:-1] + b',"alg":"Ed25519"}'),
        ("space", plain.replace(b":", b": ", 1)),
        ("order", json.dumps(dict(reversed(HEADER.items())), separators=(",", ":")).encode()),
        ("escape", plain.replace(b"at+jwt", b"at\\u002bjwt")),
        ("not-json", b"{"),
        ("deep", b"[" * 2000),
    ):
        yield Vector(f"header-{name}", "a header has one spelling", (13,), "header", join(header, payload))
    for typ in ("JWT", "AT+JWT", "application/at+jwt", "dpop+jwt", DocumentType.RECEIPT.typ, DocumentType.ANSWER.typ):
        name = "type-" + "".join(letter if letter.isalnum() else "-" for letter in typ.lower())
        name += "-upper" if typ.isupper() and typ != "JWT" else ""
        yield Vector(name, "a document of another type is no lease", (9,), "type", with_header(typ=typ))


def kids() -> Iterator[Vector]:
    """Key ids that name no key."""
    plain, payload = canonical.encode(HEADER), canonical.encode(CLAIMS)
    for name, kid in (
        ("path", "../../../etc/passwd"), ("url", "https://attacker.example/k"), ("sql", "' OR 1=1 --"),
        ("empty", ""), ("long", "k" * 3000), ("stranger", OTHER_KEY.kid),
    ):  # fmt: skip
        says = "a kid is a word to look up and nothing else"
        yield Vector(f"kid-{name}", says, (2,), "unknown_key", with_header(kid=kid))
    yield Vector(
        "kid-nul", "NUL is no text", (2, 16), "header", join(plain.replace(KEY.kid.encode(), b"k\\u0000"), payload)
    )


def signatures() -> Iterator[Vector]:
    """Signatures and keys that a lax verifier takes."""
    raw = base64url.decode(TOKEN.rpartition(".")[2])
    s = int.from_bytes(raw[32:], "little")
    says = "S is below the group order"
    yield Vector("s-plus-order", says, (7,), "signature", with_signature(raw[:32] + (s + ORDER).to_bytes(32, "little")))
    for name, changed in (
        ("flipped-bit", bytes([raw[0] ^ 1]) + raw[1:]),
        ("zero-signature", bytes(64)),
        ("neutral-r", (1).to_bytes(32, "little") + bytes(32)),
        ("non-canonical-r", (PRIME + 1).to_bytes(32, "little") + raw[32:]),
    ):
        yield Vector(name, "a signature fits or does not", (5, 7), "signature", with_signature(changed))
    stranger = join(canonical.encode(HEADER), canonical.encode(CLAIMS), OTHER_KEY)
    yield Vector("strangers-key", "another key under our kid does not verify", (5,), "signature", stranger)
    for name, y in (
        ("zero", 0), ("neutral", 1), ("order-2", PRIME - 1), ("negative-zero", 1 | 1 << 255),
        ("order-8", 0x05FC536D880238B13933C6D305ACDFD5F098EFF289F4C345B027B2C28F95E826),
        ("order-8-other", 0x7A03AC9277FDC74EC6CC392CFA53202A0F67100D760B3CBA4FD84D3D706A17C7),
        ("not-canonical", PRIME + 3), ("not-on-curve", 2),
    ):  # fmt: skip
        keys = keys_of(y.to_bytes(32, "little"))
        yield Vector(f"key-{name}", "an unfit key is refused when it is imported", (7,), "keys_refused", keys=keys)
    receipts = public_jwks(KeyRing(DocumentType.RECEIPT, (KEY,)).public())
    yield Vector("key-of-receipts", "keys of receipts verify no lease", (9,), "keys_refused", keys=receipts)
    retired = RING.rotate(OTHER_KEY, now=Instant((ISSUED_AT - 899) * 1000)).public()
    yield Vector(
        "key-retired", "a key that was retired a maximal lifetime ago verifies nothing", (12,), "key_retired",
        keys=public_jwks(retired),
    )  # fmt: skip
    only_new = PublicKeys.of(DocumentType.LEASE, [OTHER_KEY.public()])
    yield Vector("key-dropped", "a key that is gone is unknown", (12,), "unknown_key", keys=public_jwks(only_new))


def claims() -> Iterator[Vector]:
    """Claims that no lease has, signed with the authority's own key."""
    for name in sorted(CLAIMS):
        members = {key: value for key, value in CLAIMS.items() if key != name}
        token = join(canonical.encode(HEADER), canonical.encode(members))
        says = f"a lease without {name} is refused; there is no default"
        yield Vector(f"no-{name.replace('_', '-')}", says, (8,), "claims", token)
    for name, says, case, token in (*foreign_spellings(), *impossible_values()):
        yield Vector(f"claims-{name}", says, (case,), "claims", token)
    for name, ttl_seconds in (("zero", 0), ("negative", -1), ("too-long", 901)):
        token = with_claims(exp=ISSUED_AT + ttl_seconds)
        yield Vector(f"lifetime-{name}", "a lease lives 1 to 900 seconds", (50,), "lifetime", token)


Row: TypeAlias = tuple[str, str, int, str]
"""Name, behaviour, threat case, token."""


def foreign_spellings() -> tuple[Row, ...]:
    """Payloads that say what a lease could say in bytes that no lease has."""
    end = b'"exp":1778069520'
    with_mark = join(canonical.encode(HEADER), b"\xef\xbb\xbf" + canonical.encode(CLAIMS))
    return (
        ("claim-twice", "a claim that stands twice is refused", 13, with_payload(b'"exp":', b'"exp":9,"exp":')),
        ("grant-member-twice", "also deep inside", 13, with_payload(b'"max":3', b'"max":9,"max":3')),
        ("whitespace", "a payload has one spelling", 18, with_payload(b'"iss":', b'"iss": ')),
        ("escape", "an escape that is not needed is refused", 18, with_payload(b"acme", b"\\u0061cme")),
        ("float", "a float is no time", 14, with_payload(end, end + b".0")),
        ("exponent", "an exponent is no time", 14, with_payload(end, b'"exp":1.77806952e9')),
        ("overflow", "an integer beyond 2**53 is refused", 14, with_payload(end, b'"exp":9223372036854775808')),
        ("lone-surrogate", "a lone surrogate is refused", 16, with_payload(b"promote", b"\\ud800")),
        ("invalid-utf8", "text is UTF-8", 16, with_payload(b"promote", b"\xff")),
        ("overlong-utf8", "overlong UTF-8 is refused", 16, with_payload(b"promote", b"\xc0\xae")),
        ("byte-order-mark", "a byte order mark is refused", 16, with_mark),
        ("nul", "NUL is no text", 16, with_payload(b"promote", b"\\u0000")),
        ("deep", "deep nesting is refused", 17, join(canonical.encode(HEADER), b"[" * 4000)),
    )


def impossible_values() -> tuple[Row, ...]:
    """Claims in their one spelling that no lease has."""
    foreign = with_payload(b"deploy.prod.release:create", b"ticket.close")
    newer = with_payload(b"urn:leasehold:grant:1", b"urn:leasehold:grant:2")
    pattern = with_payload(b'["payments-api"]', b'["pay*api"]')
    return (
        ("unknown", "an unknown claim is refused", 20, with_claims(scope="all")),
        ("string-time", "a string is no time", 49, with_claims(exp="1778069520")),
        ("negative-time", "time is not negative", 50, with_claims(iat=-1, nbf=-1)),
        ("true-attempt", "true is not 1", 15, with_payload(b'"attempt":1', b'"attempt":true')),
        ("zero-attempt", "attempts start at 1", 15, with_claims(attempt=0)),
        ("null-tenant", "null is no tenant", 8, with_claims(tenant=None)),
        ("two-audiences", "a token has one audience", 10, with_claims(aud=["deploy.prod", "ticket"])),
        ("foreign-grant", "a token carries its audience's grants only", 10, foreign),
        ("no-grants", "a token grants something", 8, with_claims(authorization_details=[])),
        ("other-grant-type", "a grant of another version is refused", 21, newer),
        ("pattern-in-value", "a pattern that computes is refused", 30, pattern),
        ("true-in-range", "true is no bound", 15, with_payload(b'"max":3', b'"max":true')),
        ("bad-lease-id", "an id is of its kind", 8, with_claims(jti="run_01JZ8Q5X0M3V7K2N9B4C6D8E0F")),
        ("nbf-apart", "nbf is the time of issue", 8, with_claims(nbf=ISSUED_AT - 1)),
    )


def vectors() -> dict[str, dict[str, object]]:
    """Every vector by the name of its file."""
    listed = [*accepted(), *doors(), *spellings(), *headers(), *kids(), *signatures(), *claims()]
    return {f"{number:03d}-{vector.name.lower()}.json": vector.to_json() for number, vector in enumerate(listed, 1)}


def text_of(members: dict[str, object]) -> str:
    """The text of one file."""
    return json.dumps(members, indent=2, sort_keys=True) + "\n"


if __name__ == "__main__":
    for name, members in vectors().items():
        (FOLDER / name).write_text(text_of(members), encoding="ascii")
