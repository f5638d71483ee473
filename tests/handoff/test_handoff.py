"""Another team's door: two programs without Leasehold read its leases and refuse what it would refuse."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest
from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import KeySet

from leasehold.errors import InvalidError
from leasehold.model.grant import check_attributes, grants_from_json
from leasehold.model.ids import LeaseId, RequestId, RunId
from leasehold.model.instant import Instant
from leasehold.model.lease import Lease
from leasehold.token.codec import sign_lease
from leasehold.token.jwk import read_public_jwks, served_jwks
from leasehold.token.keys import DocumentType, KeyRing, SigningKey
from node import HANDOFF, ROOT, lines_of, run_script

FILES = sorted((ROOT / "tests/vectors/token").glob("*.json"))
ISSUER = "urn:leasehold:1IG2tMH7J2wbJZnOf8LJzQitKf7LMvoAElsuDMVM54Y"
ISSUED_AT = 1_778_068_800
RING = KeyRing(DocumentType.LEASE, (SigningKey.generate(bytes(range(32))),))

SERVER_ONLY = {"086-key-of-receipts.json", "087-key-retired.json"}
"""Refusals of keys that no JWKS address gives out; see the test of that name."""


def vector_of(file: Path) -> dict[str, object]:
    return json.loads(file.read_text(encoding="ascii"))


def verdict(foreign: ModuleType, vector: dict[str, object]) -> str | None:
    """Why the Python program refuses a vector, or None."""
    try:
        keys = KeySet.import_key_set(vector["keys"])
    except (JoseError, ValueError) as error:
        return str(error)
    door = foreign.Door(keys, vector["issuer"], vector["audience"], vector["environment"])
    try:
        foreign.verify_lease(
            vector["token"], door, now=int(str(vector["now_milliseconds"])) / 1000, holder=vector["holder"]
        )
    except foreign.RefusedError as error:
        return str(error)
    return None


def wrong(refused: dict[str, bool]) -> set[str]:
    """The vectors of which a program says something else than they do."""
    return {file.name for file in FILES if refused[file.name] == (vector_of(file)["expect"] == "accept")}


@pytest.mark.requirement("C7")
@pytest.mark.case(1, 3, 6, 9, 10, 13, 50)
def test_a_program_in_python_without_leasehold_accepts_and_refuses_every_vector_as_we_do(foreign: ModuleType) -> None:
    assert wrong({file.name: verdict(foreign, vector_of(file)) is not None for file in FILES}) == SERVER_ONLY


@pytest.mark.requirement("C7")
@pytest.mark.case(1, 3, 6, 9, 10, 13, 50)
def test_a_program_in_javascript_accepts_and_refuses_every_vector_as_we_do() -> None:
    told = lines_of(run_script(HANDOFF / "over_vectors.mjs", *map(str, FILES)))
    assert [line["file"] for line in told] == list(map(str, FILES))
    assert wrong({Path(str(line["file"])).name: "refused" in line for line in told}) == SERVER_ONLY


@pytest.mark.case(9, 12)
def test_the_two_keys_that_a_foreign_program_cannot_judge_are_never_served(foreign: ModuleType) -> None:
    retired = vector_of(next(file for file in FILES if file.name == "087-key-retired.json"))
    keys = read_public_jwks(json.dumps(retired["keys"]).encode(), DocumentType.LEASE)
    for late, refused in ((0, True), (-3, False)):
        at = Instant(int(str(retired["now_milliseconds"])) + late * 1000 + 2000)
        served = json.loads(served_jwks(keys, at))
        assert (verdict(foreign, retired | {"keys": served}) is not None) is refused
    receipts = vector_of(next(file for file in FILES if file.name == "086-key-of-receipts.json"))
    other = read_public_jwks(json.dumps(receipts["keys"]).encode(), DocumentType.RECEIPT)
    with pytest.raises(InvalidError, match="strangers verify leases"):
        served_jwks(other, Instant(0))


def generic_accepts(vector: dict[str, object]) -> bool:
    """What a JWT library does with its usual options: signature, algorithm, type, issuer, audience, times."""
    now = int(str(vector["now_milliseconds"])) // 1000
    essential = {name: {"essential": True} for name in ("exp", "iat", "nbf", "sub", "jti")}
    exact = {name: {"essential": True, "value": vector[of]} for name, of in (("iss", "issuer"), ("aud", "audience"))}
    try:
        keys = KeySet.import_key_set(vector["keys"])
        token = jwt.decode(str(vector["token"]), keys, algorithms=["Ed25519"])
        jwt.JWTClaimsRegistry(now=lambda: now, leeway=0, **essential, **exact).validate(token.claims)
    except (JoseError, ValueError, RecursionError):
        return False
    return token.header.get("typ") == "at+jwt"


def test_the_page_lists_exactly_what_a_jwt_library_alone_lets_through() -> None:
    page = (ROOT / "docs/handoff.md").read_text()
    rows = re.findall(r"^\| [^|]+ \| ([0-9, –]+) \| [^|]+ \|$", page, re.MULTILINE)
    listed: set[int] = set()
    for part in ", ".join(rows).split(", "):
        first, _, last = part.partition("–")
        listed |= set(range(int(first), int(last or first) + 1))
    told = lines_of(run_script(HANDOFF / "over_vectors.mjs", *map(str, FILES)))
    in_javascript = {int(Path(str(line["file"])).name[:3]) for line in told if line["generic"]}
    bad = {int(file.name[:3]): vector_of(file) for file in FILES if vector_of(file)["expect"] != "accept"}
    assert listed == {number for number, vector in bad.items() if generic_accepts(vector) or number in in_javascript}


GRANTS = {
    "reports.read": {"name": ["q3", "2026/**", "T-*"], "page": {"min": 1, "max": 9}},
    "reports.spend": {"usd": {"max": "10.50"}, "flag": [True, 7]},
    "reports.note": {"text": {"max_length": 3}, "any": ["**"]},
    "reports.list": {},
}
CALLS: list[tuple[str, dict[str, object]]] = [
    *(("reports.read", {"name": name, "page": 1}) for name in (
        "q3", "q4", "Q3", "T-", "T-1", "T-1/2", "2026/a/b", "2026", "2026/", "2026/../q4", "2026/./a", "2026//a", "",
        "T-%2e", "T-\u200b", "T-\t1", "T-e\u0301", "T-é", "T-a;b", "T-a\\b", "T-*", " T-1", "T-1 ", 3, True,
    )),
    *(("reports.read", {"name": "q3", "page": page}) for page in (0, 1, 9, 10, "1", True, 2**53)),
    *(("reports.spend", {"usd": usd, "flag": True}) for usd in (
        "10.50", "10.500001", "-1", "10.5000001", "1e1", "01", "9", 9, "",
    )),
    *(("reports.spend", {"usd": "1", "flag": flag}) for flag in (True, False, 1, 7, "7")),
    *(("reports.note", {"text": text, "any": any_value}) for text, any_value in (
        ("abc", 1), ("abcd", 1), ("\U0001f680\U0001f680\U0001f680", "x/y"), ("a", "a/../b"), (1, 1),
    )),
    ("reports.list", {}), ("reports.list", {"page": 1}), ("reports.read", {"name": "q3"}), ("reports.read", {}),
    ("reports.read", {"name": "q3", "page": 1, "toString": "x"}), ("reports", {}), ("reports.drop", {}),
]  # fmt: skip


def handed_over() -> dict[str, object]:
    """A lease of every kind of constraint for another team's tool, as a vector, with calls that it is asked about."""
    lease = Lease(
        lease_id=LeaseId("lease_01JZ8Q5X0M3V7K2N9B4C6D8E0F"),
        run_id=RunId("run_01JZ8Q5X0M3V7K2N9B4C6D8E0G"),
        attempt=1,
        request_id=RequestId("req_01JZ8Q5X0M3V7K2N9B4C6D8E0H"),
        agent="release-bot",
        requested_by="user:ana",
        approved_by=(),
        tenant="acme",
        environment="prod",
        route="reports/read",
        allow=grants_from_json(GRANTS),
        deny=(),
        budget={"calls": 30_000_000},
        ends_on=(),
        delegation_depth=0,
        parents=(),
        issued_at=ISSUED_AT,
        expires_at=ISSUED_AT + 300,
        reason="read the third quarter",
        policy="sha256:" + "0" * 64,
        epoch=1,
    )
    return {
        "token": sign_lease(lease, "reports", ISSUER, RING),
        "keys": json.loads(served_jwks(RING.public(), Instant(ISSUED_AT * 1000))),
        "issuer": ISSUER,
        "audience": "reports",
        "environment": "prod",
        "now_milliseconds": ISSUED_AT * 1000,
        "holder": None,
        "calls": CALLS,
    }


def ours(action: str, attributes: dict[str, object]) -> bool:
    try:
        values = check_attributes(attributes)
    except InvalidError:
        return False
    grant = grants_from_json(GRANTS).get(action)
    return grant is not None and grant.covers(values)


@pytest.mark.requirement("C7")
def test_both_programs_judge_a_read_as_the_authority_would(foreign: ModuleType, tmp_path: Path) -> None:
    vector = handed_over()
    expected = [ours(action, attributes) for action, attributes in CALLS]
    assert 10 < sum(expected) < len(expected) - 10
    door = foreign.Door(KeySet.import_key_set(vector["keys"]), ISSUER, "reports", "prod")
    claims = foreign.verify_lease(vector["token"], door, now=ISSUED_AT)
    assert [foreign.allows(claims, action, attributes) for action, attributes in CALLS] == expected
    file = tmp_path / "handed-over.json"
    file.write_text(json.dumps(vector))
    (told,) = lines_of(run_script(HANDOFF / "over_vectors.mjs", str(file)))
    assert told["allowed"] == expected


@pytest.mark.requirement("C7")
def test_the_program_in_python_runs_without_leasehold_and_prints_what_was_granted(tmp_path: Path) -> None:
    (tmp_path / "jwks.json").write_text(json.dumps(handed_over()["keys"]))
    code = (
        "import sys; sys.modules['leasehold'] = None; sys.argv[:1] = []; import runpy, time; time.time = lambda: "
        f"{ISSUED_AT}; runpy.run_path(sys.argv[0], run_name='__main__')"
    )
    for stdin, status, said in ((str(handed_over()["token"]) + "\n", 0, '"reports.read"'), ("no", 3, "refused: ")):
        done = subprocess.run(
            [sys.executable, "-c", code, HANDOFF / "verify.py", tmp_path / "jwks.json", ISSUER, "reports", "prod"],
            input=stdin,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert (done.returncode, said in done.stdout + done.stderr) == (status, True)


def test_the_program_in_javascript_refuses_an_old_lease_from_the_command_line(tmp_path: Path) -> None:
    (tmp_path / "jwks.json").write_text(json.dumps(handed_over()["keys"]))
    arguments = (str(tmp_path / "jwks.json"), ISSUER, "reports", "prod")
    done = run_script(HANDOFF / "verify.mjs", *arguments, stdin=f"{handed_over()['token']}\n")
    assert (done.returncode, done.stdout, done.stderr.partition(":")[0]) == (3, "", "refused")
