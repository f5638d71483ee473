"""Amendments: what became known after a receipt, bound to it and to a ledger that extends its own."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from ledger_story import LOG_KEY, SeededSigner, Story
from msgspec.structs import replace

from leasehold.errors import InvalidError, VerificationError
from leasehold.ledger.amendment import build_amendment, verify_amendment
from leasehold.ledger.entry import Entry, EntryKind
from leasehold.ledger.extract import entries_of_run
from leasehold.ledger.receipt import VerifiedReceipt, build_receipt, sign_statement, verify_receipt
from leasehold.model import canonical

RECEIPTS = SeededSigner(2)
KEYS = {RECEIPTS.keyid: RECEIPTS.public_key}


def receipt_of(story: Story, run: str = "run_1") -> VerifiedReceipt:
    entries = entries_of_run(story.entries, "acme", run)
    payload = build_receipt(entries, story.note(), story.proofs(entries))
    return verify_receipt(sign_statement(payload, [RECEIPTS]), KEYS, [LOG_KEY])


def finished() -> tuple[Story, VerifiedReceipt, list[Entry]]:
    """A run that finished with one call in flight and one unknown, and what was learned of both later."""
    story = Story()
    run = story.start()
    lease = story.issue(story.ask(run))
    open_call, lost = story.admit(lease, "adm_1"), story.admit(lease, "adm_2")
    story.give_up(lost)
    story.finish(run)
    receipt = receipt_of(story)
    story.start("run_other")
    late = replace(lost, kind=EntryKind.CALL_LATE, decision="", attributes={}, outcome="done", approvals=())
    later = [story.settle(open_call), story.add(late, detail={"reserved": None, "touched": ("T-9",)})]
    return story, receipt, later


def amend(story: Story, receipt: VerifiedReceipt, entries: Sequence[Entry]) -> bytes:
    growth = story.growth(receipt.checkpoint.checkpoint.size)
    payload = build_amendment(receipt, entries, story.note(), story.proofs(tuple(entries)), growth)
    return sign_statement(payload, [RECEIPTS])


STORY, RECEIPT, LATER = finished()
AMENDMENT = amend(STORY, RECEIPT, LATER)


@pytest.mark.requirement("B10")
def test_amendment_names_its_receipt_and_tells_how_open_calls_ended() -> None:
    amendment = verify_amendment(AMENDMENT, RECEIPT, KEYS, [LOG_KEY])
    told: Any = amendment.predicate
    assert (told["amends"], told["run"]) == (RECEIPT.digest, "run_1")
    assert [(call["admission"], call["outcome"], call["lateOutcome"]) for call in told["calls"]] == [
        ("adm_1", "done", ""),
        ("adm_2", "unknown", "done"),
    ]
    assert told["calls"][1]["touched"] == ["T-9"]
    assert list(amendment.entries) == LATER
    assert amendment.checkpoint.checkpoint == STORY.head()
    assert len(amendment.digest) == 64


@pytest.mark.case(96)
def test_amendment_of_another_receipt_is_refused() -> None:
    other = finished()[0]
    receipt = receipt_of(other)
    with pytest.raises(VerificationError):
        verify_amendment(AMENDMENT, receipt, KEYS, [LOG_KEY])
    with pytest.raises(VerificationError, match="not of this receipt"):
        verify_amendment(AMENDMENT, replace(RECEIPT, digest="0" * 64), KEYS, [LOG_KEY])


@pytest.mark.invariant("I9")
@pytest.mark.case(96, 98)
def test_amendment_from_a_ledger_that_does_not_extend_the_receipts_is_refused() -> None:
    forked, _, later = finished()
    forked.entries[0] = replace(forked.entries[0], agent="another-bot")
    with pytest.raises(VerificationError):
        verify_amendment(amend(forked, RECEIPT, later), RECEIPT, KEYS, [LOG_KEY])


@pytest.mark.case(97)
@pytest.mark.parametrize(
    "change",
    [
        lambda predicate: predicate["calls"].pop(),
        lambda predicate: predicate.update(run="run_2"),
        lambda predicate: predicate.update(growth=[]),
        lambda predicate: predicate.update(growth=7),
        lambda predicate: predicate["growth"].append(7),
        lambda predicate: predicate["ledger"]["entries"].pop(),
        lambda predicate: predicate.pop("ledger"),
        lambda predicate: predicate.update(extra=1),
    ],
)
def test_amendment_that_was_altered_is_refused_also_when_signed_again(change: Callable[[Any], object]) -> None:
    statement = json.loads(_payload(AMENDMENT))
    change(statement["predicate"])
    with pytest.raises(VerificationError):
        verify_amendment(sign_statement(canonical.encode(statement), [RECEIPTS]), RECEIPT, KEYS, [LOG_KEY])


def test_receipt_is_no_amendment_and_the_reverse() -> None:
    entries = RECEIPT.entries
    size = RECEIPT.checkpoint.checkpoint.size
    payload = build_receipt(entries, STORY.note(size), STORY.proofs(entries, size))
    with pytest.raises(VerificationError, match="not 'urn:leasehold:receipt-amendment:1'"):
        verify_amendment(sign_statement(payload, [RECEIPTS]), RECEIPT, KEYS, [LOG_KEY])
    with pytest.raises(VerificationError, match="not 'urn:leasehold:receipt:1'"):
        verify_receipt(AMENDMENT, KEYS, [LOG_KEY])


def test_only_later_facts_about_calls_of_the_receipt_amend_it() -> None:
    story, receipt, later = finished()
    lease = next(entry for entry in story.entries if entry.kind is EntryKind.LEASE_ISSUED)
    stranger = story.add(replace(later[0], admission="adm_9"))
    foreign = story.add(replace(later[0], tenant="globex"))
    ended = story.end_lease(lease)
    for entry, words in (
        (ended, "amends no receipt"),
        (receipt.entries[-2], "amends no receipt"),
        (foreign, "another tenant"),
        (stranger, "does not follow"),
    ):
        with pytest.raises(VerificationError, match=words):
            amend(story, receipt, [entry])


def test_entries_with_integers_that_json_cannot_hold_make_no_amendment() -> None:
    story, receipt, later = finished()
    call = story.admit(receipt.entries[2], "adm_1", attributes={"ticket": (2**60,)})
    at = next(place for place, entry in enumerate(receipt.entries) if entry.admission == "adm_1")
    entries = (*receipt.entries[:at], replace(call, index=at), *receipt.entries[at + 1 :])
    forged = replace(receipt, entries=entries)
    with pytest.raises(InvalidError):
        amend(story, forged, later)
    with pytest.raises(VerificationError, match="make no amendment"):
        verify_amendment(amend(story, receipt, later), forged, KEYS, [LOG_KEY])


def _payload(envelope: bytes) -> bytes:
    return base64.b64decode(json.loads(envelope)["payload"])
