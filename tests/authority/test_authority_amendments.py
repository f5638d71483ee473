"""What becomes known of a run after its receipt was made is signed as an amendment that names the receipt."""

from __future__ import annotations

import pytest

from leasehold.authority.receipts import checkpoint_keys
from leasehold.errors import InvalidError, VerificationError
from leasehold.ledger.amendment import verify_amendment
from leasehold.ledger.receipt import verify_receipt
from stage import UPDATE, Stage


def keys_of(stage: Stage) -> tuple[dict[str, object], tuple[object, ...]]:
    identity = stage.authority.engine.identity
    receipts = {key.keyid: key.public().public for key in identity.receipts.keys}
    return receipts, checkpoint_keys(identity.issuer, identity.checkpoints)


@pytest.mark.requirement("B10")
@pytest.mark.invariant("L3")
@pytest.mark.case(95)
def test_a_call_that_was_in_flight_is_amended_once_it_has_ended(stage: Stage) -> None:
    run = stage.start()
    lease = stage.lease(UPDATE, run=run)
    open_call, late_call = (stage.admit(lease, "ticket.update", key=key) for key in "ab")
    receipt = stage.authority.finish(run)
    stage.settle(open_call)
    stage.system.advance(seconds=120)
    stage.authority.sweep.run_once()
    stage.settle(late_call)
    receipt_keys, log_keys = keys_of(stage)
    made = verify_receipt(receipt, receipt_keys, log_keys)
    amendment = verify_amendment(stage.authority.receipts.amend(receipt), made, receipt_keys, log_keys)
    told = [(entry.kind, entry.admission) for entry in amendment.entries]
    assert told == [
        ("call.settled", open_call.admission_id),
        ("call.unknown", late_call.admission_id),
        ("call.late_evidence", late_call.admission_id),
    ]


def test_a_receipt_that_nothing_was_added_to_is_not_amended(stage: Stage) -> None:
    run = stage.start()
    stage.use(stage.lease(UPDATE, run=run), "ticket.update", key="a")
    with pytest.raises(InvalidError, match="nothing became known"):
        stage.authority.receipts.amend(stage.authority.finish(run))


def test_what_is_no_receipt_of_this_authority_is_not_amended(stage: Stage) -> None:
    with pytest.raises(VerificationError):
        stage.authority.receipts.amend(b"{}")
