"""A person's word on a policy: bound to proposal, policies, what widens, the word, time and person, no more."""

from __future__ import annotations

import pytest

from leasehold.errors import InvalidError
from leasehold.model.proposal import PolicyVerdict
from leasehold.token.keys import SigningKey
from leasehold.token.person import AnswerStatement
from leasehold.token.proposal import PolicyStatement

EVA = SigningKey.generate(bytes([7]) * 32)
DIGESTS = tuple("sha256:" + letter * 64 for letter in "abcd")


def statement(**changes: object) -> PolicyStatement:
    members: dict[str, object] = {
        "proposal_id": "prop_01JZ8Q5X0M3V7K2N9B4C6D8E0F",
        "policy": DIGESTS[0],
        "replaces": DIGESTS[1],
        "widening": DIGESTS[2],
        "verdict": PolicyVerdict.CONFIRM,
        "said_at": 1_778_068_800,
        "person": "user:eva",
    }
    return PolicyStatement(**(members | changes))  # type: ignore[arg-type]  # wrong values are what is tested


@pytest.mark.requirement("P7")
@pytest.mark.parametrize(
    "change",
    [
        {"proposal_id": "prop_01JZ8Q5X0M3V7K2N9B4C6D8E0G"},
        {"policy": DIGESTS[3]},
        {"replaces": DIGESTS[3]},
        {"widening": DIGESTS[3]},
        {"verdict": PolicyVerdict.PROPOSE},
        {"said_at": 1_778_068_801},
        {"person": "user:ben"},
    ],
)
def test_a_word_on_one_policy_is_worth_nothing_for_another(change: dict[str, object]) -> None:
    signature = statement().sign(EVA)
    assert statement().is_signed_by(EVA.public(), signature)
    assert not statement(**change).is_signed_by(EVA.public(), signature)
    assert not statement().is_signed_by(EVA.public(), signature + "=")


@pytest.mark.case(9)
def test_a_word_on_a_policy_is_no_answer_to_a_request() -> None:
    assert not statement().to_bytes().startswith(AnswerStatement.__module__.encode())
    assert statement().to_bytes().startswith(b'leasehold policy v1\n{"person":')


@pytest.mark.parametrize(
    "change",
    [
        {"proposal_id": "req_01JZ8Q5X0M3V7K2N9B4C6D8E0F"},
        {"policy": "sha256:0"},
        {"person": "user eva"},
        {"verdict": "maybe"},
        {"said_at": -1},
        {"said_at": True},
    ],
)
def test_what_cannot_be_a_word_is_refused(change: dict[str, object]) -> None:
    with pytest.raises(InvalidError):
        statement(**change)
