"""Receipts: what they say of a run follows from its entries."""

from __future__ import annotations

import json
from typing import Any

import pytest
from google.protobuf import json_format
from in_toto_attestation.v1 import statement_pb2
from in_toto_attestation.v1.statement import Statement
from ledger_receipts import KEYS, RECEIPTS, journey, receipt_of, said, statement_of
from ledger_story import LOG_KEY, ORIGIN, Story
from msgspec.structs import replace
from securesystemslib.dsse import Envelope as PeerEnvelope
from securesystemslib.signer import SSlibKey

from leasehold.ledger.entry import EntryKind
from leasehold.ledger.receipt import (
    PREDICATE_TYPE,
    sign_statement,
    verify_receipt,
)

STORY = journey()
PAYLOAD = statement_of(STORY)
ENVELOPE = sign_statement(PAYLOAD, [RECEIPTS])
PREDICATE: Any = verify_receipt(ENVELOPE, KEYS, [LOG_KEY]).predicate


@pytest.mark.requirement("B10", "L12")
def test_receipt_verifies_with_two_public_keys_and_nothing_else() -> None:
    receipt = verify_receipt(ENVELOPE, KEYS, [LOG_KEY])
    assert receipt.run == "run_1"
    assert receipt.checkpoint.checkpoint == STORY.head()
    assert list(receipt.entries) == [entry for entry in STORY.entries if entry.index in _OF_RUN]
    assert "run_other" not in PAYLOAD.decode()


_OF_RUN = {*range(28)} - {0, 2, 22, 23, 24, 25}


@pytest.mark.requirement("B10")
def test_receipt_is_an_in_toto_statement_to_other_libraries() -> None:
    envelope = PeerEnvelope.from_dict(json.loads(ENVELOPE))
    key = SSlibKey.from_crypto(RECEIPTS.public_key, keyid=RECEIPTS.keyid)
    assert envelope.verify([key], 1).keys() == {RECEIPTS.keyid}
    parsed = json_format.Parse(envelope.payload, statement_pb2.Statement())
    statement = Statement.copy_from_pb(parsed)
    statement.validate()
    assert statement.pb.predicate_type == PREDICATE_TYPE
    assert [subject.name for subject in statement.pb.subject] == ["run_1", f"{ORIGIN} at {len(STORY.entries)}"]
    assert statement.pb.subject[1].digest["sha256"] == STORY.head().root.hex()


def test_receipt_holds_no_float_and_only_camel_case_members() -> None:
    def check(value: object, *, names_are_ours: bool = True) -> None:
        assert not isinstance(value, float)
        if isinstance(value, dict):
            for name, member in value.items():
                assert not names_are_ours or "_" not in name.removeprefix("_")
                check(member, names_are_ours=names_are_ours and name not in {"allow", "attributes"})
        if isinstance(value, list):
            for member in value:
                check(member, names_are_ours=names_are_ours)

    check(json.loads(PAYLOAD))


@pytest.mark.requirement("B3", "B4", "B10")
def test_receipt_tells_whose_run_it_was_and_how_it_ended() -> None:
    assert PREDICATE["run"] == {
        "agent": "support-bot",
        "attempts": 1,
        "environment": "prod",
        "expiresAt": "2026-05-06T12:30:00.000Z",
        "lease": "",
        "parentRun": "",
        "policy": "sha256:p",
        "purpose": "answer T-1",
        "requestedBy": "user:ana",
        "requesterProof": "asserted",
        "route": "support/close",
        "run": "run_1",
        "startedAt": "2026-05-06T12:00:01.000Z",
        "tenant": "acme",
    }
    assert PREDICATE["ended"] == {"at": "2026-05-06T12:00:27.000Z", "why": "done"}
    assert PREDICATE["assertedBy"]["requestedBy"] == "the launcher"


@pytest.mark.requirement("B10", "P19")
def test_receipt_tells_what_was_used_and_how_each_call_went() -> None:
    used = {call["admission"]: call for call in PREDICATE["used"]}
    assert list(used) == ["adm_1", "adm_3", "adm_4", "adm_5"]
    assert used["adm_1"] == {
        "action": "ticket.update",
        "admission": "adm_1",
        "approval": "",
        "approvedBy": ["policy"],
        "argumentsDigest": "hmac-sha256:a",
        "at": "2026-05-06T12:00:05.000Z",
        "attributes": {"ticket": ["T-1"]},
        "callId": "",
        "charged": [
            {"amount": "1", "micros": 1_000_000, "unit": "calls"},
            {"amount": "0.02", "micros": 20_000, "unit": "usd"},
        ],
        "contacted": ["zendesk"],
        "durationMicros": 1500,
        "effect": "write",
        "endedAt": "2026-05-06T12:00:06.000Z",
        "error": "",
        "files": ["src/a.py"],
        "index": 5,
        "key": "key of adm_1",
        "lateOutcome": "",
        "lease": "lease_1",
        "noEffect": False,
        "outcome": "done",
        "overrun": [],
        "parentCall": "",
        "reserved": [
            {"amount": "1", "micros": 1_000_000, "unit": "calls"},
            {"amount": "0.05", "micros": 50_000, "unit": "usd"},
        ],
        "resultDigest": "hmac-sha256:r",
        "run": "run_1",
        "toolAuthority": False,
        "touched": ["T-1"],
        "trace": "",
    }
    assert [call["outcome"] for call in used.values()] == ["done", "in_flight", "unknown", "not_started"]
    assert [call["toolAuthority"] for call in used.values()] == [False, False, True, False]
    assert (PREDICATE["inFlight"], PREDICATE["unknown"]) == (["adm_3"], ["adm_4"])


@pytest.mark.requirement("B10", "B9")
def test_receipt_accounts_for_child_runs_and_sums_them_up() -> None:
    (child,) = PREDICATE["children"]
    assert child["run"]["parentRun"] == "run_1"
    assert child["run"]["lease"] == "lease_1"
    assert [call["error"] for call in child["used"]] == ["502"]
    assert child["ended"]["why"] == "revoked"
    assert child["spend"][0] == {
        "unit": "calls",
        "charged": "1",
        "chargedMicros": 1_000_000,
        "uncertain": "0",
        "uncertainMicros": 0,
    }
    assert PREDICATE["spend"] == [
        {
            "unit": "calls",
            "charged": "4",
            "chargedMicros": 4_000_000,
            "uncertain": "2",
            "uncertainMicros": 2_000_000,
            "budget": "10",
            "budgetMicros": 10_000_000,
        },
        {
            "unit": "children",
            "charged": "0",
            "chargedMicros": 0,
            "uncertain": "0",
            "uncertainMicros": 0,
            "budget": "2",
            "budgetMicros": 2_000_000,
        },
        {
            "unit": "usd",
            "charged": "0.14",
            "chargedMicros": 140_000,
            "uncertain": "0.1",
            "uncertainMicros": 100_000,
            "budget": "1",
            "budgetMicros": 1_000_000,
        },
    ]
    assert PREDICATE["resources"] == ["T-1"]
    assert PREDICATE["files"] == ["src/a.py"]
    assert PREDICATE["contacted"] == ["zendesk"]


@pytest.mark.requirement("B10", "P12")
def test_receipt_tells_what_was_asked_granted_and_by_whom() -> None:
    lease_request, call_request = PREDICATE["asked"]
    assert (lease_request["kind"], lease_request["state"], lease_request["answers"]) == ("lease", "used", [])
    assert (call_request["kind"], call_request["state"]) == ("call", "used")
    assert call_request["answers"] == [
        {
            "at": "2026-05-06T12:00:16.000Z",
            "key": "key-1",
            "method": "",
            "ownRequest": True,
            "person": "user:ana",
            "proof": "key",
            "sameAccount": True,
            "signIn": "",
            "verdict": "approve",
            "words": "go on",
        }
    ]
    (granted,) = PREDICATE["granted"]
    assert granted["allow"] == {"ticket.close": {"ticket": ["T-1"]}, "ticket.update": {"ticket": ["T-*"]}}
    assert granted["deny"] == ["secrets.*"]
    assert granted["approvedBy"] == ["policy"]
    assert granted["expiresAt"] == "2026-05-06T12:05:00.000Z"
    assert granted["ended"] == {"at": "2026-05-06T12:00:26.000Z", "why": "completed"}


@pytest.mark.requirement("B10", "L11")
def test_receipt_lists_what_was_denied_and_counts_the_rest() -> None:
    (denied,) = PREDICATE["denied"]["listed"]
    assert (denied["action"], denied["reason"], denied["check"]) == ("db.query", "not_granted", "granted")
    assert PREDICATE["denied"]["more"] == 5


@pytest.mark.requirement("B10", "L6")
def test_receipt_tells_what_was_stopped_and_what_was_in_flight() -> None:
    (stop,) = PREDICATE["stops"]
    assert (stop["scope"], stop["kind"], stop["by"], stop["reason"]) == (
        "run:run_2",
        "stop.revoked",
        "user:eva",
        "a leak",
    )
    assert stop["inFlight"] == []


@pytest.mark.requirement("B10")
def test_receipt_suggests_the_narrowest_grants_that_would_have_been_enough() -> None:
    assert PREDICATE["narrower"]["allow"] == {
        "ticket.close": {"ticket": ["T-1"]},
        "ticket.update": {"ticket": ["T-1", "T-2"]},
    }
    assert PREDICATE["children"][0]["narrower"]["allow"] == {"ticket.update": {"ticket": ["T-2"]}}
    assert PREDICATE["neverUsed"] == []


def test_actions_that_were_granted_and_never_ran_are_named() -> None:
    story = Story()
    lease = story.issue(story.ask(story.start()))
    story.settle(story.admit(lease), "not_started")
    assert said(story)["neverUsed"] == ["ticket.close", "ticket.update"]
    assert said(story)["narrower"] == {"allow": {}, "budget": []}
    assert said(story)["ended"] == {"at": "", "why": ""}


@pytest.mark.requirement("B9")
def test_child_run_has_a_receipt_of_its_own() -> None:
    receipt = receipt_of(STORY, "run_2")
    assert receipt.run == "run_2"
    assert {entry.run for entry in receipt.entries} == {"run_2", ""}


@pytest.mark.requirement("B10")
def test_receipt_claims_a_signature_only_where_something_was_signed() -> None:
    signed_in = {"proof": "session", "sign_in": "signin_1", "method": "password", "key": None}
    signed_in |= {"signature": None, "public_key": None}
    story = Story()
    request = story.ask(story.start())
    story.answer(request, detail=signed_in)
    [asked] = said(story)["asked"]
    assert asked["answers"][0] | {"at": ""} == {
        "at": "",
        "key": "",
        "method": "password",
        "ownRequest": False,
        "person": "user:ben",
        "proof": "session",
        "sameAccount": False,
        "signIn": "signin_1",
        "verdict": "approve",
        "words": "",
    }
    assert "nothing was signed" in said(story)["assertedBy"]["answers"]
    assert "signature" not in said(story)["assertedBy"]["answers"]


@pytest.mark.requirement("L4")
def test_receipt_counts_attempts() -> None:
    story = Story()
    run = story.start(detail={"requester": "proven"})
    story.retry(run)
    assert said(story)["run"]["attempts"] == 2
    assert said(story)["assertedBy"]["requestedBy"] == "a subject token"


@pytest.mark.requirement("F1")
@pytest.mark.parametrize(
    ("kind", "state"),
    [
        (EntryKind.REQUEST_EXPIRED, "expired"),
        (EntryKind.REQUEST_WITHDRAWN, "withdrawn"),
        (EntryKind.REQUEST_LAPSED, "lapsed"),
        (EntryKind.REQUEST_COMPLETED, "completed"),
    ],
)
def test_receipt_says_how_each_request_ended(kind: EntryKind, state: str) -> None:
    story = Story()
    run = story.start()
    story.ask(run, "req_0")
    story.add(replace(story.ask(run), kind=kind, detail={}))
    assert [asked["state"] for asked in said(story)["asked"]] == ["approved", state]


def test_denied_request_and_refused_answer_are_told_apart() -> None:
    story = Story()
    request = story.ask(story.start(), outcome="pending")
    story.answer(request, person="user:ana", decision="deny", reason="own_request", outcome="pending")
    story.answer(request, verdict="deny")
    (asked,) = said(story)["asked"]
    assert (asked["state"], [answer["verdict"] for answer in asked["answers"]]) == ("denied", ["deny"])
    assert [denied["reason"] for denied in said(story)["denied"]["listed"]] == ["own_request"]


def test_lease_names_the_approvals_that_were_given_before_it() -> None:
    story = Story()
    request = story.ask(story.start(), outcome="pending")
    story.answer(request)
    story.issue(request, approvals=("user:ben",))
    story.answer(request, person="user:late")
    (granted,) = said(story)["granted"]
    assert [answer["person"] for answer in granted["approvals"]] == ["user:ben"]


@pytest.mark.requirement("B9")
def test_refused_child_is_told_by_its_parents_receipt() -> None:
    story = Story()
    run = story.start()
    refused = replace(run, kind=EntryKind.START_DENIED, run="run_9", parent_run="run_1", decision="deny")
    story.add(refused, reason="no_delegation")
    (denied,) = said(story)["denied"]["listed"]
    assert (denied["kind"], denied["reason"]) == ("run.denied", "no_delegation")


@pytest.mark.requirement("L6")
def test_wide_stops_are_told_where_they_reach_the_run_or_its_calls() -> None:
    story = Story()
    story.stop("tenant:acme")
    run = story.start()
    lease = story.issue(story.ask(run))
    call = story.admit(lease)
    for scope in ("all", "tool:ticket", "action:ticket.close", "action:db.query", "tool:db"):
        story.stop(scope, EntryKind.HELD)
        story.stop(scope, EntryKind.LIFTED, tenant="" if scope == "all" else "acme")
    story.stop("all", tenant="globex")
    story.finish(run)
    story.stop("agent:support-bot")
    story.stop("environment:prod", detail={"in_flight": (call.admission, "adm_of_others")})
    assert [stop["scope"] for stop in said(story)["stops"]] == [
        *("all", "all", "tool:ticket", "tool:ticket", "action:ticket.close", "action:ticket.close"),
        "environment:prod",
    ]
    assert said(story)["stops"][-1]["inFlight"] == ["adm_1"]


@pytest.mark.case(82, 83)
def test_hidden_characters_in_agent_text_are_written_out_and_never_stop_a_receipt() -> None:
    story = Story()
    run = story.start(detail={"purpose": "pay\u202eyap\x00\x1b[2J"})
    story.ask(run, detail={"reason": "\u3164 line\nline"})
    predicate = said(story)
    assert predicate["run"]["purpose"] == "pay<U+202E>yap<U+0000><U+001B>[2J"
    assert predicate["asked"][0]["reason"] == "<U+3164> line<U+000A>line"


@pytest.mark.case(70)
def test_amounts_beyond_what_json_can_hold_stand_as_the_largest() -> None:
    story = Story()
    lease = story.issue(story.ask(story.start()))
    for number in range(2):
        call = story.admit(lease, f"adm_{number}")
        story.settle(call, cost={"usd": 2**53 - 1}, duration_micros=2**60, detail={"overrun": ("usd",)})
    assert said(story)["spend"][-1]["chargedMicros"] == 2**53 - 1
    assert said(story)["used"][0]["durationMicros"] == 2**53 - 1
    assert said(story)["used"][0]["overrun"] == ["usd"]
