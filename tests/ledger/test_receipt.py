"""Receipts: what they say follows from their entries, and nothing else passes."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from google.protobuf import json_format
from in_toto_attestation.v1 import statement_pb2
from in_toto_attestation.v1.statement import Statement
from msgspec.structs import replace
from securesystemslib.dsse import Envelope as PeerEnvelope
from securesystemslib.signer import SSlibKey
from story import LOG, LOG_KEY, ORIGIN, SeededSigner, Story

from leasehold.errors import InvalidError, VerificationError
from leasehold.ledger import dsse
from leasehold.ledger.entry import Entry, EntryKind, encode_entry
from leasehold.ledger.export import verify_export, write_export
from leasehold.ledger.extract import entries_of_run
from leasehold.ledger.note import NoteKey
from leasehold.ledger.receipt import (
    PAYLOAD_TYPE,
    PREDICATE_TYPE,
    VerifiedReceipt,
    build_receipt,
    check_complete,
    sign_statement,
    verify_receipt,
)
from leasehold.model import canonical

RECEIPTS = SeededSigner(2)
KEYS: dict[str, Ed25519PublicKey] = {RECEIPTS.keyid: RECEIPTS.public_key}


def journey() -> Story:
    """Two runs side by side; the first delegates, asks people, is refused, stopped in part, and finishes."""
    story = Story()
    story.event(EntryKind.PERSON_ADDED, person="user:ben", detail={"key": "key-1"})
    run = story.start()
    other = story.start("run_other")
    lease = story.issue(story.ask(run))
    story.settle(story.admit(lease, "adm_1"), detail={"files": ("src/a.py",), "result_digest": "hmac-sha256:r"})
    story.refuse(lease)
    child = story.start("run_2", parent=lease)
    child_lease = story.issue(story.ask(child, "req_2"), "lease_2", above=lease, detail={"allow": _UPDATE_ONLY})
    story.settle(story.admit(child_lease, "adm_2", attributes={"ticket": ("T-2",)}), "failed", detail={"error": "502"})
    story.stop("run:run_2", detail={"in_flight": ("adm_9",)})
    story.finish(child, "revoked")
    call = story.ask_for_call(replace(lease, arguments_digest="hmac-sha256:b", action="ticket.close", effect="write"))
    story.answer(call, person="user:ana", detail={"own_request": "yes", "same_account": "yes", "words": "go on"})
    story.admit(lease, "adm_3", approval=call.request, approvals=("user:ana",), action="ticket.close")
    story.give_up(story.admit(lease, "adm_4", detail={"tool_authority": "the tool holds its own"}))
    story.settle(story.admit(lease, "adm_5"), "not_started", detail={"touched": None, "contacted": None})
    story.refuse(story.issue(story.ask(other, "req_other"), "lease_other"))
    story.stop("agent:another-bot")
    story.end_lease(lease, "completed")
    story.finish(run, detail={"denials": 7})
    return story


_UPDATE_ONLY = ('ticket.update {"ticket":["T-*"]}',)


def statement_of(story: Story, run: str = "run_1") -> bytes:
    entries = entries_of_run(story.entries, "acme", run)
    return build_receipt(entries, story.note(), story.proofs(entries))


def receipt_of(story: Story, run: str = "run_1") -> VerifiedReceipt:
    return verify_receipt(sign_statement(statement_of(story, run), [RECEIPTS]), KEYS, [LOG_KEY])


def said(story: Story, run: str = "run_1") -> Any:
    """The predicate of a run's receipt, verified."""
    return receipt_of(story, run).predicate


STORY = journey()
PAYLOAD = statement_of(STORY)
ENVELOPE = sign_statement(PAYLOAD, [RECEIPTS])
PREDICATE: Any = verify_receipt(ENVELOPE, KEYS, [LOG_KEY]).predicate


def altered(change: Callable[[Any], object]) -> bytes:
    """The receipt with something else in its statement, signed again by the right key."""
    statement = json.loads(PAYLOAD)
    change(statement)
    return sign_statement(canonical.encode(statement), [RECEIPTS])


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
            "ownRequest": True,
            "person": "user:ana",
            "sameAccount": True,
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


@pytest.mark.requirement("B10")
@pytest.mark.case(97)
@pytest.mark.parametrize(
    "change",
    [
        lambda statement: statement["predicate"]["used"].pop(),
        lambda statement: statement["predicate"]["spend"][0].update(charged="1"),
        lambda statement: statement["predicate"].pop("denied"),
        lambda statement: statement["predicate"].update(extra=1),
        lambda statement: statement["predicate"]["ledger"].update(lastIndex=1),
        lambda statement: statement["predicate"]["ledger"].pop("size"),
        lambda statement: statement["predicate"]["ledger"]["entries"][0].update(index=7),
        lambda statement: statement["subject"].pop(),
        lambda statement: statement["subject"][0].update(name="run_2"),
        lambda statement: statement.update(extra=1),
    ],
)
def test_receipt_that_says_something_else_than_its_entries_is_refused(change: Callable[[Any], object]) -> None:
    with pytest.raises(VerificationError, match="something else than its entries"):
        verify_receipt(altered(change), KEYS, [LOG_KEY])


def test_difference_is_named() -> None:
    with pytest.raises(VerificationError, match="than its entries: spend"):
        verify_receipt(altered(lambda statement: statement["predicate"]["spend"].pop()), KEYS, [LOG_KEY])


def edit_entry(statement: Any) -> None:
    entry = statement["predicate"]["ledger"]["entries"][3]
    entry["body"] = entry["body"].replace("ticket.update", "ticket.erase")


@pytest.mark.requirement("B10")
@pytest.mark.case(97)
@pytest.mark.parametrize(
    "change",
    [
        edit_entry,
        lambda statement: statement["predicate"]["ledger"]["entries"].reverse(),
        lambda statement: statement["predicate"]["ledger"]["entries"].insert(
            0, statement["predicate"]["ledger"]["entries"][0]
        ),
        lambda statement: statement["predicate"]["ledger"]["entries"].pop(0),
        lambda statement: statement["predicate"]["ledger"].update(entries=[]),
        lambda statement: statement["predicate"]["ledger"].update(entries=[1]),
        lambda statement: statement["predicate"]["ledger"].update(checkpoint=STORY.note(9).decode()),
        lambda statement: statement["predicate"]["ledger"].update(checkpoint="no note"),
        lambda statement: statement["predicate"]["ledger"]["entries"][3].update(proof=[]),
        lambda statement: statement["predicate"]["ledger"]["entries"][3].update(proof=[7]),
        lambda statement: statement["predicate"]["ledger"]["entries"][3].update(body="{}"),
        lambda statement: statement["predicate"].pop("ledger"),
        lambda statement: statement.update(predicate=[]),
        lambda statement: statement.update(predicateType="urn:leasehold:receipt:2"),
        lambda statement: statement.update(_type="https://in-toto.io/Statement/v0.1"),
    ],
)
def test_receipt_whose_entries_do_not_hold_is_refused(change: Callable[[Any], object]) -> None:
    with pytest.raises(VerificationError):
        verify_receipt(altered(change), KEYS, [LOG_KEY])


@pytest.mark.case(9)
def test_signed_bytes_that_are_no_statement_are_refused() -> None:
    for payload in (b"{}", b"not json", b"[]"):
        with pytest.raises(VerificationError):
            verify_receipt(sign_statement(payload, [RECEIPTS]), KEYS, [LOG_KEY])
    with pytest.raises(VerificationError, match="holds 'application/other'"):
        verify_receipt(dsse.sign(PAYLOAD, "application/other", [RECEIPTS]).encode(), KEYS, [LOG_KEY])


@pytest.mark.requirement("B10")
@pytest.mark.case(98)
def test_key_never_comes_from_the_receipt() -> None:
    stranger = SeededSigner(9)
    with pytest.raises(VerificationError):
        verify_receipt(sign_statement(PAYLOAD, [stranger]), KEYS, [LOG_KEY])
    with pytest.raises(VerificationError):
        verify_receipt(ENVELOPE, {}, [LOG_KEY])
    with pytest.raises(VerificationError):
        verify_receipt(ENVELOPE, KEYS, [NoteKey(name=ORIGIN, public_key=stranger.public_key)])
    with pytest.raises(VerificationError):
        verify_receipt(ENVELOPE, {LOG.keyid: LOG.public_key}, [LOG_KEY])


@pytest.mark.case(97)
def test_flipping_a_bit_of_a_receipt_makes_it_fail() -> None:
    story = Story()
    story.start()
    valid = sign_statement(statement_of(story), [RECEIPTS])
    for place in range(len(valid)):
        flipped = bytearray(valid)
        flipped[place] ^= 1 << place % 7
        with pytest.raises(VerificationError):
            verify_receipt(bytes(flipped), KEYS, [LOG_KEY])


def test_second_spelling_of_a_receipt_is_refused() -> None:
    payload = json.dumps(json.loads(PAYLOAD), indent=1).encode()
    with pytest.raises(VerificationError, match=r"something else than its entries$"):
        verify_receipt(sign_statement(payload, [RECEIPTS]), KEYS, [LOG_KEY])


@pytest.mark.parametrize(
    "choose",
    [
        lambda entries: entries[1:],
        lambda entries: [*entries, STORY.entries[2]],
        lambda entries: [*entries[:2], STORY.entries[25]],
        lambda entries: [entry for entry in entries if entry.kind is not EntryKind.CALL_ADMITTED],
    ],
)
def test_entries_that_are_not_those_of_one_run_make_no_receipt(choose: Callable[[list[Entry]], list[Entry]]) -> None:
    entries = sorted(choose(list(entries_of_run(STORY.entries, "acme", "run_1"))), key=lambda entry: entry.index)
    with pytest.raises(VerificationError):
        build_receipt(entries, STORY.note(), STORY.proofs(entries))


def test_calls_that_end_twice_or_out_of_order_make_no_receipt() -> None:
    for tell in (
        lambda story, call: story.settle(call),
        lambda story, call: story.add(replace(call, kind=EntryKind.CALL_LATE, outcome="done", detail={})),
        lambda story, call: story.add(replace(call)),
    ):
        story = Story()
        call = story.admit(story.issue(story.ask(story.start())))
        story.settle(call)
        tell(story, call)
        with pytest.raises(VerificationError, match="does not follow"):
            statement_of(story)


@pytest.mark.parametrize(
    "fields",
    [
        {"time_ms": -1},
        {"time_ms": 2**60},
        {"detail": {"purpose": 7}},
        {"detail": {"expires_at": "soon"}},
        {"detail": {"budget": "calls=1"}},
        {"detail": {"budget": ("calls=1", "calls=2")}},
        {"detail": {"budget": ("calls=1.5",)}},
    ],
)
def test_entries_that_leasehold_never_wrote_make_no_receipt(fields: dict[str, object]) -> None:
    story = Story()
    story.start(**fields)
    with pytest.raises(VerificationError):
        statement_of(story)


@pytest.mark.parametrize(
    "lines", [("ticket.close {}", "ticket.close {}"), ("ticket.close",), ("not an action {}",), ("a.b []",)]
)
def test_grants_that_leasehold_never_wrote_make_no_receipt(lines: tuple[str, ...]) -> None:
    story = Story()
    story.ask(story.start(), detail={"allow": lines})
    with pytest.raises(VerificationError, match=r"detail\.allow of entry 1"):
        statement_of(story)


def test_entries_with_integers_that_json_cannot_hold_make_no_receipt() -> None:
    story = Story()
    lease = story.issue(story.ask(story.start()))
    story.admit(lease, attributes={"ticket": (2**60,)})
    entries = entries_of_run(story.entries, "acme", "run_1")
    with pytest.raises(InvalidError):
        build_receipt(entries, story.note(), story.proofs(entries))
    honest = json.loads(PAYLOAD)
    bodies = zip(entries, story.proofs(entries), strict=True)
    honest["predicate"]["ledger"] = {
        "checkpoint": story.note().decode(),
        "entries": [
            {"body": encode_entry(entry).decode(), "proof": [base64.b64encode(step).decode() for step in proof]}
            for entry, proof in bodies
        ],
    }
    with pytest.raises(VerificationError, match="make no receipt"):
        verify_receipt(sign_statement(canonical.encode(honest), [RECEIPTS]), KEYS, [LOG_KEY])


def test_entries_and_proofs_must_belong_together() -> None:
    entries = entries_of_run(STORY.entries, "acme", "run_1")
    with pytest.raises(InvalidError, match="come with"):
        build_receipt(entries, STORY.note(), STORY.proofs(entries)[1:])
    with pytest.raises(InvalidError, match="come with 0 proofs"):
        build_receipt([], STORY.note(), [])


def test_large_runs_have_receipts_too() -> None:
    story = Story()
    lease = story.issue(story.ask(story.start()))
    for number in range(700):
        story.settle(story.admit(lease, f"adm_{number}", attributes={"ticket": (f"T-{number}",)}))
    receipt = receipt_of(story)
    assert len(json.dumps(receipt.predicate)) > canonical.MAX_BYTES
    assert receipt.predicate["narrower"]["allow"] == {"ticket.update": {"ticket": ["T-*"]}}  # type: ignore[index, call-overload]


@pytest.mark.requirement("B10", "L12")
def test_whole_export_shows_whether_a_receipt_leaves_something_out() -> None:
    ledger = verify_export(write_export(STORY.bodies, STORY.note()), [LOG_KEY])
    check_complete(receipt_of(STORY), ledger)
    entries = [entry for entry in entries_of_run(STORY.entries, "acme", "run_1") if entry.kind != EntryKind.CALL_DENIED]
    payload = build_receipt(entries, STORY.note(), STORY.proofs(entries))
    partial = verify_receipt(sign_statement(payload, [RECEIPTS]), KEYS, [LOG_KEY])
    with pytest.raises(VerificationError, match="differ at entry 7") as caught:
        check_complete(partial, ledger)
    assert caught.value.index == 7


def test_receipt_is_compared_with_an_export_of_the_same_history_that_reaches_its_head() -> None:
    short = verify_export(write_export(STORY.bodies, STORY.note(9)), [LOG_KEY])
    with pytest.raises(VerificationError, match="does not reach"):
        check_complete(receipt_of(STORY), short)
    other = Story()
    for number in range(len(STORY.entries)):
        other.start(f"run_of_others_{number}")
    elsewhere = verify_export(write_export(other.bodies, other.note()), [LOG_KEY])
    with pytest.raises(VerificationError, match="differ at entry 1"):
        check_complete(receipt_of(STORY), elsewhere)


def test_later_entries_of_the_run_do_not_make_its_receipt_incomplete() -> None:
    story = journey()
    receipt = receipt_of(story)
    story.give_up(next(entry for entry in story.entries if entry.admission == "adm_3"))
    check_complete(receipt, verify_export(write_export(story.bodies, story.note()), [LOG_KEY]))


def test_run_that_was_never_started_has_no_entries() -> None:
    assert entries_of_run(STORY.entries, "acme", "run_missing") == ()
    assert entries_of_run(STORY.entries, "globex", "run_1") == ()


def test_payload_type_is_that_of_in_toto() -> None:
    assert json.loads(ENVELOPE)["payloadType"] == PAYLOAD_TYPE == "application/vnd.in-toto+json"
