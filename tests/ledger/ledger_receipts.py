"""A journey worth a receipt, and the short way from a story to a verified receipt."""

from __future__ import annotations

from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from ledger_story import LOG_KEY, SeededSigner, Story
from msgspec.structs import replace

from leasehold.ledger.entry import EntryKind
from leasehold.ledger.extract import entries_of_run
from leasehold.ledger.receipt import VerifiedReceipt, build_receipt, sign_statement, verify_receipt

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
