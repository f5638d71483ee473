"""A run that takes each of its questions back and asks the next wears people out as well as one that piles them up."""

from __future__ import annotations

import base64

import msgspec
import pytest

from leasehold.decide.pending import DENIALS_LISTED
from leasehold.errors import Denied
from leasehold.ledger.entry import EntryKind
from leasehold.model.decision import Reason
from stage import CLOSE, UPDATE, Stage


@pytest.mark.requirement("F2")
@pytest.mark.case(87)
def test_questions_that_are_taken_back_are_not_asked_without_end(stage: Stage) -> None:
    run = stage.start()
    told: list[object] = []
    for number in range(DENIALS_LISTED + 50):
        try:
            stage.authority.escalate(run, "ticket.close", {"ticket": [f"T-{number}"]}, reason="now", timeout=0)
        except TimeoutError:
            told.append("asked")
        except Denied as denied:
            told.append(denied.decision.reason)
    assert told == ["asked"] * DENIALS_LISTED + [Reason.POLICY_DENIES] * 50
    assert len(stage.entries(EntryKind.REQUEST_MADE)) == DENIALS_LISTED
    assert stage.lease(UPDATE, run=run)  # what needs nobody wears nobody out
    assert stage.authority.request(stage.start(), CLOSE, reason="another run has its own")


@pytest.mark.case(73)
def test_receipt_counts_no_question_as_a_call_that_was_refused(stage: Stage) -> None:
    run = stage.start()
    stage.authority.request(run, {"ticket.close": {"ticket": ["T-1"]}}, reason="tidy")
    stage.refusal(stage.lease(UPDATE, run=run), "ticket.update", "X-1", key="a")
    envelope = msgspec.json.decode(stage.authority.finish(run))
    denied = msgspec.json.decode(base64.b64decode(envelope["payload"]))["predicate"]["denied"]
    assert (len(denied["listed"]), denied["more"]) == (1, 0)
