"""Break-glass as text: two signatures over one document, one spelling, and never anything else than that."""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path
from types import ModuleType

import msgspec
import pytest
from msgspec.structs import replace

from leasehold.errors import InvalidError, TokenError
from leasehold.model.instant import Instant
from leasehold.model.proof import PasskeyProof, SessionProof, SignInMethod
from leasehold.model.request import Verdict
from leasehold.token import base64url
from leasehold.token.digest import sha256_digest
from leasehold.token.glass import (
    MAX_GLASS_CHARACTERS,
    GlassToken,
    UseStatement,
    VouchedGlass,
    Voucher,
    opening_bytes,
    parse_glass,
    sign_opening,
)
from leasehold.token.keys import DocumentType, KeyRing, PublicKey, SigningKey
from leasehold.token.person import AnswerStatement
from leasehold.token.verify import Verifier

VECTORS = Path(__file__).parent.parent / "vectors"
FILES = sorted((VECTORS / "break_glass").glob("*.json"))

pytestmark = [pytest.mark.requirement("P16")]


@pytest.fixture(scope="module")
def generator() -> ModuleType:
    spec = importlib.util.spec_from_file_location("make_break_glass_vectors", VECTORS / "make_break_glass_vectors.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


@pytest.mark.case(23)
def test_the_committed_vectors_are_what_the_seeded_keys_give(generator: ModuleType) -> None:
    written = {name: generator.text_of(members) for name, members in generator.vectors().items()}
    assert written == {file.name: file.read_text(encoding="ascii") for file in FILES}
    assert [int(file.name[:3]) for file in FILES] == list(range(1, len(FILES) + 1))


def outcome(vector: dict[str, str]) -> GlassToken | str:
    try:
        token = GlassToken.parse(vector["token"])
    except TokenError as error:
        return str(error.code)
    keys = [PublicKey.from_bytes(base64url.decode(vector[name])) for name in ("opener_key", "second_key")]
    return token if token.is_signed_by(*keys) else "unsigned"


@pytest.mark.case(5, 6, 9, 13, 15, 17, 18, 20)
@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_the_reader_does_what_the_vector_says(file: Path) -> None:
    vector = json.loads(file.read_text(encoding="ascii"))
    got = outcome(vector)
    if vector["expect"] != "accept":
        assert got == vector["expect"]
        return
    assert isinstance(got, GlassToken)
    assert json.loads(msgspec.json.encode(got.opening)) == vector["opening"]
    assert str(got) == vector["token"]


@pytest.mark.case(5)
def test_no_bit_of_it_can_be_flipped(generator: ModuleType) -> None:
    token, raw = generator.TOKEN, bytearray(opening_bytes(generator.OPENING))
    for place in range(8 * len(raw)):
        raw[place // 8] ^= 1 << place % 8
        text = f"glass1.{base64url.encode(bytes(raw))}.{token.signature}.{token.second_signature}"
        keys = {"opener_key": generator.ANA, "second_key": generator.BEN}
        vector = {name: base64url.encode(key.public().to_bytes()) for name, key in keys.items()}
        assert outcome({"token": text, **vector}) in ("type", "claims", "unsigned")
        raw[place // 8] ^= 1 << place % 8


@pytest.mark.case(9)
def test_it_is_no_lease_and_a_signature_in_it_no_answer(generator: ModuleType) -> None:
    ring = KeyRing(DocumentType.LEASE, (SigningKey.generate(b"l" * 32),))
    with pytest.raises(TokenError):
        Verifier("issuer", ring.public()).verify(
            str(generator.TOKEN), audience="ticket", environment="prod", now=Instant(1_778_068_800_000)
        )
    answer = AnswerStatement(
        request_id="req_01JZ8Q5X0M3V7K2N9B4C6D8E0F",  # type: ignore[arg-type]  # an id as text
        card_digest="hmac-sha256:" + "a" * 64,
        verdict=Verdict.APPROVE,
        answered_at=1_778_068_800,
        person="user:ana",
    )
    assert not answer.is_signed_by(generator.ANA.public(), generator.TOKEN.signature)
    marks = [
        body.partition(b"\n")[0] for body in (answer.to_bytes(), opening_bytes(generator.OPENING), used().to_bytes())
    ]
    assert len({*marks}) == 3


def used(**changes: str) -> UseStatement:
    given = {
        "glass_id": "glass_01JZ8Q5X0M3V7K2N9B4C6D8E0F",
        "admission_id": "adm_01JZ8Q5X0M3V7K2N9B4C6D8E0F",
        "action": "ticket.close",
        "arguments": sha256_digest(b"{}"),
    }
    return UseStatement(**{**given, **changes})


def test_the_openers_word_is_for_one_use_alone(generator: ModuleType) -> None:
    signature = used().sign(generator.ANA)
    assert used().is_signed_by(generator.ANA.public(), signature)
    assert not used().is_signed_by(generator.BEN.public(), signature)
    assert not used().is_signed_by(generator.ANA.public(), signature + "=")
    for change in (
        {"glass_id": "glass_01JZ8Q5X0M3V7K2N9B4C6D8E0G"},
        {"admission_id": "adm_01JZ8Q5X0M3V7K2N9B4C6D8E0G"},
        {"action": "ticket.update"},
        {"arguments": sha256_digest(b"{ }")},
    ):
        assert not used(**change).is_signed_by(generator.ANA.public(), signature)
    for wrong in ({"glass_id": "run_1"}, {"admission_id": "adm"}, {"action": "close"}, {"arguments": "sha1:00"}):
        with pytest.raises(InvalidError):
            used(**wrong)


def test_an_opening_is_made_of_what_it_claims(generator: ModuleType) -> None:
    for wrong in (
        {"opened_at": -1},
        {"opened_at": True},
        {"glass_id": "lease_01JZ8Q5X0M3V7K2N9B4C6D8E0F"},
        {"reason": "x" * 2001},
        {"tenant": ""},
    ):
        with pytest.raises(InvalidError):
            replace(generator.OPENING, **wrong)
    assert generator.OPENING.ends_at == generator.OPENING.opened_at + 600
    assert sign_opening(generator.OPENING, generator.ANA) == generator.TOKEN.signature


VOUCHED = VouchedGlass(
    opening=GlassToken.parse(json.loads(FILES[0].read_text())["token"]).opening,
    opener=Voucher(
        proof=SessionProof(
            sign_in="signin_01JZ8Q5X0M3V7K2N9B4C6D8E0F", method=SignInMethod.PASSWORD, authenticated_at=1
        )
    ),
    second=Voucher(
        proof=PasskeyProof(
            sign_in="signin_01JZ8Q5X0M3V7K2N9B4C6D8E0G", authenticator_data="a", client_data="c", signature="s"
        ),
        public_key="p",
    ),
)


@pytest.mark.case(6, 9, 13, 17, 18, 20, 23)
def test_what_vouches_for_both_has_one_spelling_and_is_no_lease() -> None:
    text = str(VOUCHED)
    assert parse_glass(text) == VOUCHED
    mark, body, first, second = text.split(".")
    odd = base64url.encode(b' {"proof":{}}')
    loose = base64url.encode(base64url.decode(first).replace(b'"public_key":""', b'"public_key": ""'))
    unknown = base64url.encode(base64url.decode(first).replace(b'"public_key"', b'"other":1,"public_key"'))
    for wrong, code in (
        (f"{mark}.{body}.{first}", "shape"),
        (f"{mark}.{body}.{first}.{second}.x", "shape"),
        (f"{mark}.{body}.{first}=.{second}", "encoding"),
        (f"{mark}.{body}.{odd}.{second}", "claims"),
        (f"{mark}.{body}.{loose}.{second}", "claims"),
        (f"{mark}.{body}.{unknown}.{second}", "claims"),
        (f"{mark}.{first}.{first}.{second}", "type"),
        (text.replace("glass2.", "glass1."), "encoding"),
        ("glass2." + "A" * MAX_GLASS_CHARACTERS, "size"),
        ("at+jwt", "type"),
    ):
        with pytest.raises(TokenError) as refused:
            parse_glass(wrong)
        assert str(refused.value.code) == code, wrong[:60]
