"""Receipts and exports of real runs, verified as an auditor does: from the bytes and the public keys alone."""

from __future__ import annotations

import json
from itertools import pairwise

import pytest

from leasehold.authority.receipts import checkpoint_keys
from leasehold.errors import Denied, NotFoundError, VerificationError
from leasehold.ledger.entry import EntryKind
from leasehold.ledger.export import verify_export, verify_part
from leasehold.ledger.history import check_history
from leasehold.ledger.receipt import VerifiedReceipt, check_complete, verify_receipt
from leasehold.model.call import OutcomeStatus
from leasehold.model.decision import Reason
from stage import AUDIT, BEN, CLOSE, GET, UPDATE, Stage, reason_of

pytestmark = [pytest.mark.requirement("B10", "L12"), pytest.mark.invariant("L3")]


def _verified(stage: Stage, receipt: bytes) -> VerifiedReceipt:
    identity = stage.authority.engine.identity
    keys = {key.keyid: key.public().public for key in identity.receipts.keys}
    return verify_receipt(receipt, keys, checkpoint_keys(identity.issuer, identity.checkpoints))


def _log_keys(stage: Stage) -> tuple:
    identity = stage.authority.engine.identity
    return checkpoint_keys(identity.issuer, identity.checkpoints)


def test_a_run_ends_in_a_receipt_of_everything_it_did(stage: Stage) -> None:
    run = stage.start()
    lease = stage.lease(CLOSE | UPDATE | GET, run=run)
    stage.use(lease, "ticket.get")
    stage.refusal(lease, "ticket.get", "X-1")
    child = stage.lease(run=stage.child(lease))
    stage.settle(stage.admit(child, "ticket.update", key="a"), touched=("ticket:T-1",), contacted=("zendesk",))
    stage.people.approve(stage.ask(lease, "ticket.close", key="b"), BEN)
    lost = stage.admit(lease, "ticket.close", key="b")
    stage.lease()  # of another run
    receipt = _verified(stage, stage.authority.finish(run))
    assert receipt.run == run.run_id
    assert {entry.run for entry in receipt.entries} == {run.run_id, child.lease.run_id}
    kinds = [entry.kind for entry in receipt.entries]
    for kind in (EntryKind.CALL_ADMITTED, EntryKind.CALL_DENIED, EntryKind.REQUEST_ANSWERED, EntryKind.RUN_FINISHED):
        assert kind in kinds
    text = json.dumps(receipt.predicate)
    for told in (lost.admission_id, "in_flight", "ticket:T-1", "zendesk", BEN, "out_of_range", "customer asked"):
        assert told in text, told
    check_complete(receipt, verify_export(stage.authority.receipts.export(), _log_keys(stage)))


def test_a_receipt_altered_anywhere_or_of_another_authority_is_refused(stage: Stage) -> None:
    run = stage.start()
    stage.use(stage.lease(run=run), "ticket.update", key="a")
    receipt = stage.authority.finish(run)
    for place in range(0, len(receipt), 97):
        altered = receipt[:place] + bytes([receipt[place] ^ 1]) + receipt[place + 1 :]
        with pytest.raises(VerificationError):
            _verified(stage, altered)
    with pytest.raises(VerificationError):
        verify_receipt(receipt, {}, _log_keys(stage))


def test_finishing_again_gives_a_receipt_of_the_same_run(stage: Stage) -> None:
    run = stage.start()
    first = _verified(stage, stage.authority.finish(run))
    assert _verified(stage, stage.authority.finish(run)).entries == first.entries


def test_a_run_that_goes_on_has_an_account_too(stage: Stage) -> None:
    run = stage.start()
    stage.admit(stage.lease(run=run), "ticket.update", key="a")
    receipt = _verified(stage, stage.authority.receipts.build(run.run))
    assert EntryKind.RUN_FINISHED not in {entry.kind for entry in receipt.entries}


def test_what_became_known_after_a_receipt_stands_in_a_later_one(stage: Stage) -> None:
    run = stage.start()
    admitted = stage.admit(stage.lease(run=run), "ticket.update", key="a")
    receipt = stage.authority.finish(run)
    stage.settle(admitted, OutcomeStatus.FAILED, error="boom")
    later = _verified(stage, stage.authority.receipts.build(run.run))
    assert "boom" in json.dumps(later.predicate)
    assert "boom" not in json.dumps(_verified(stage, receipt).predicate)


@pytest.mark.requirement("L6")
def test_a_receipt_says_what_was_revoked(stage: Stage) -> None:
    run = stage.start()
    lease = stage.lease(AUDIT, run=run)
    stage.ask(lease, "ticket.audit")
    stage.revoke("route:desk")
    receipt = _verified(stage, stage.authority.finish(run))
    stops = [entry for entry in receipt.entries if entry.kind is EntryKind.REVOKED]
    assert [entry.scope for entry in stops] == ["route:desk"]
    with pytest.raises(Denied):
        stage.authority.renew(lease)


@pytest.mark.case(97, 103)
def test_the_whole_ledger_and_a_part_of_it_are_verified_from_their_lines(stage: Stage) -> None:
    run = stage.start()
    stage.use(stage.lease(run=run), "ticket.update", key="a")
    stage.lease()
    whole = list(stage.authority.receipts.export())
    ledger = verify_export(whole, _log_keys(stage))
    assert list(ledger.entries) == list(stage.entries())
    assert check_history(ledger.entries) == []
    part = verify_part(stage.authority.receipts.export_run(run.run), _log_keys(stage))
    assert part.entries == stage.authority.receipts.entries(run.run)
    assert {entry.run for entry in part.entries} == {run.run_id}
    with pytest.raises(VerificationError):
        verify_export(whole[:-1], _log_keys(stage))


@pytest.mark.case(96)
def test_each_head_of_the_log_extends_the_ones_before(stage: Stage) -> None:
    heads = [stage.authority.receipts.tree_head()]
    for _ in range(3):
        stage.lease()
        heads.append(stage.authority.receipts.tree_head())
    assert all(later.is_ahead_of(earlier) for earlier, later in pairwise(heads))
    assert b"\n" in stage.authority.receipts.head()


def test_a_run_of_another_ledger_has_no_receipt_here(stage: Stage) -> None:
    other = Stage()
    run = other.start()
    with pytest.raises(NotFoundError):
        stage.authority.finish(run)
    other.close()


def test_a_worker_that_was_fenced_off_gets_no_receipt(stage: Stage) -> None:
    run = stage.start()
    stage.authority.retry(run)
    assert reason_of(lambda: stage.authority.finish(run)) is Reason.STALE_ATTEMPT
    assert stage.entries(EntryKind.RUN_FINISHED) == []
