"""A person's answer: bound to the request, the card, the word, the time and the person, and to nothing else."""

from __future__ import annotations

import json

import msgspec
import pytest

from leasehold.errors import InvalidError
from leasehold.model.lease import Token
from leasehold.model.request import Verdict
from leasehold.token import base64url
from leasehold.token.keys import KeyRing, SigningKey
from leasehold.token.person import AnswerStatement

ANA = SigningKey.generate(bytes([7]) * 32)
CARD = "hmac-sha256:" + "a" * 64


def statement(**changes: object) -> AnswerStatement:
    members: dict[str, object] = {
        "request_id": "req_01JZ8Q5X0M3V7K2N9B4C6D8E0F",
        "card_digest": CARD,
        "verdict": Verdict.APPROVE,
        "answered_at": 1_778_068_800,
        "person": "user:ana",
    }
    return AnswerStatement(**(members | changes))  # type: ignore[arg-type]  # wrong values are what is tested


@pytest.mark.requirement("P9", "L10")
def test_a_persons_answer_is_signed_by_their_own_key() -> None:
    signature = statement().sign(ANA)
    assert statement().is_signed_by(ANA.public(), signature)
    assert not statement().is_signed_by(SigningKey.generate(bytes([8]) * 32).public(), signature)


@pytest.mark.case(74, 75)
@pytest.mark.parametrize(
    "change",
    [
        {"request_id": "req_01JZ8Q5X0M3V7K2N9B4C6D8E0G"},
        {"card_digest": "hmac-sha256:" + "b" * 64},
        {"card_digest": "sha256:" + "a" * 64},
        {"verdict": Verdict.DENY},
        {"answered_at": 1_778_068_801},
        {"person": "user:ben"},
    ],
)
def test_an_answer_to_one_card_is_worth_nothing_for_another(change: dict[str, object]) -> None:
    assert not statement(**change).is_signed_by(ANA.public(), statement().sign(ANA))


@pytest.mark.case(6)
@pytest.mark.parametrize("around", ["{}=", "{}\n", " {}", "{}A", ""])
def test_a_signature_has_one_spelling(around: str) -> None:
    assert not statement().is_signed_by(ANA.public(), around.format(statement().sign(ANA)))


def test_the_signed_bytes_name_their_type_and_hold_the_members() -> None:
    header, _, body = statement().to_bytes().partition(b"\n")
    assert header == b"leasehold answer v1"
    assert json.loads(body) == {
        "request_id": "req_01JZ8Q5X0M3V7K2N9B4C6D8E0F",
        "card_digest": CARD,
        "verdict": "approve",
        "answered_at": 1_778_068_800,
        "person": "user:ana",
    }


@pytest.mark.case(9)
def test_no_other_signature_of_the_same_key_is_an_answer(ring: KeyRing, token: Token) -> None:
    key, body = ring.newest, statement().to_bytes().partition(b"\n")[2]
    envelope = b"DSSEv1 19 leasehold answer v1 %d %s" % (len(body), body)
    for message in (body, envelope, b"leasehold answer v2\n" + body, token.rsplit(".", 1)[0].encode()):
        assert not statement().is_signed_by(key.public(), base64url.encode(key.sign(message)))
    assert not statement().is_signed_by(key.public(), token.rsplit(".", 1)[1])


@pytest.mark.parametrize(
    "change",
    [
        {"request_id": "run_01JZ8Q5X0M3V7K2N9B4C6D8E0F"},
        {"card_digest": "a" * 64},
        {"verdict": "yes"},
        {"verdict": "APPROVE"},
        {"answered_at": 1.0},
        {"answered_at": True},
        {"answered_at": -1},
        {"person": ""},
        {"person": "user:ana\n"},
    ],
)
def test_an_answer_that_cannot_be_one_is_refused(change: dict[str, object]) -> None:
    with pytest.raises(InvalidError):
        statement(**change)
    with pytest.raises(InvalidError):
        msgspec.structs.replace(statement(), **change)
