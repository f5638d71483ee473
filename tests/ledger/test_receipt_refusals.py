"""Receipts that must be refused, and entries that make none; receipts held against the whole ledger."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from typing import Any

import pytest
from ledger_receipts import KEYS, RECEIPTS, journey, receipt_of, statement_of
from ledger_story import LOG, LOG_KEY, ORIGIN, SeededSigner, Story
from msgspec.structs import replace

from leasehold.errors import InvalidError, VerificationError
from leasehold.ledger import dsse
from leasehold.ledger.entry import Entry, EntryKind, encode_entry
from leasehold.ledger.export import verify_export, write_export
from leasehold.ledger.extract import entries_of_run
from leasehold.ledger.note import NoteKey
from leasehold.ledger.receipt import (
    PAYLOAD_TYPE,
    build_receipt,
    check_complete,
    sign_statement,
    verify_receipt,
)
from leasehold.model import canonical

STORY = journey()
PAYLOAD = statement_of(STORY)
ENVELOPE = sign_statement(PAYLOAD, [RECEIPTS])


def altered(change: Callable[[Any], object]) -> bytes:
    """The receipt with something else in its statement, signed again by the right key."""
    statement = json.loads(PAYLOAD)
    change(statement)
    return sign_statement(canonical.encode(statement), [RECEIPTS])


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
    story = Story()
    lost = story.give_up(story.admit(story.issue(story.ask(story.start()))))
    story.add(replace(lost, kind=EntryKind.CALL_LATE, outcome="failed", detail={}))
    statement_of(story)
    story.add(replace(lost, kind=EntryKind.CALL_LATE, outcome="done", detail={}))  # its last word in place of the first
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
    whole = verify_export(write_export(STORY.bodies, STORY.note()), [LOG_KEY])
    renamed = replace(whole.checkpoint.checkpoint, origin="other.example/log")
    with pytest.raises(VerificationError, match="does not reach"):
        check_complete(receipt_of(STORY), replace(whole, checkpoint=replace(whole.checkpoint, checkpoint=renamed)))
    short = verify_export(write_export(STORY.bodies, STORY.note(9)), [LOG_KEY])
    with pytest.raises(VerificationError, match="does not reach"):
        check_complete(receipt_of(STORY), short)
    other = Story()
    for number in range(len(STORY.entries)):
        other.start(f"run_of_others_{number}")
    elsewhere = verify_export(write_export(other.bodies, other.note()), [LOG_KEY])
    with pytest.raises(VerificationError, match="of two histories"):
        check_complete(receipt_of(STORY), elsewhere)


@pytest.mark.invariant("I9")
@pytest.mark.case(96, 98, 99)
@pytest.mark.parametrize("shared", [len(STORY.entries), len(STORY.entries) - 1, 2])
def test_receipt_of_one_history_is_not_taken_for_complete_beside_an_export_of_another(shared: int) -> None:
    """A split view: who got the receipt was shown another ledger than who got the export, both of them signed. The
    entries of the run may be the same in both, or those that somebody would rather not show left out of one."""
    shown, hidden = journey(), journey()
    shown.start("run_of_others")
    del hidden.entries[shared:]
    for number in range(len(shown.entries) - shared + 3):
        hidden.start(f"run_that_never_was_{number}")
    export = verify_export(write_export(hidden.bodies, hidden.note()), [LOG_KEY])
    with pytest.raises(VerificationError, match="Keep both: they prove it"):
        check_complete(receipt_of(shown), export)


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
