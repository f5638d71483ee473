"""Token misuse at a real door: altered, borrowed, outlived, or something else altogether presented as a lease."""

from __future__ import annotations

import base64
import json

import pytest

from leasehold.errors import Denied
from leasehold.ledger.entry import EntryKind
from leasehold.model.call import Call
from leasehold.model.decision import Reason
from leasehold.token.keys import DocumentType, SigningKey
from stage import ANA, BEN, GET, UPDATE, Stage, reason_of

pytestmark = pytest.mark.requirement("L2", "L9")


def _told(stage: Stage, token: str, call: Call | None = None) -> Reason:
    return reason_of(lambda: stage.door().admit(token, call or stage.call("ticket.get")))


@pytest.mark.case(5)
def test_a_token_altered_in_any_bit_opens_nothing(stage: Stage) -> None:
    """Every bit of every 13th character; the verifier's own tests flip them all."""
    token = stage.lease(GET).token_for("ticket")
    call = stage.call("ticket.get")
    tried = 0
    for place in range(0, len(token), 13):
        for bit in range(8):
            altered = token[:place] + chr(ord(token[place]) ^ 1 << bit) + token[place + 1 :]
            with pytest.raises(Denied) as denied:
                stage.door().admit(altered, call)
            assert denied.value.decision.reason is Reason.BAD_TOKEN
            tried += 1
    assert tried > 500
    assert stage.entries(EntryKind.CALL_ADMITTED) == []


@pytest.mark.case(1, 6)
@pytest.mark.parametrize(
    "spoil",
    [
        lambda token: token + "=",
        lambda token: token + "\n",
        lambda token: " " + token,
        lambda token: token + ".x",
        lambda token: token.replace(".", ".."),
        lambda token: token.rpartition(".")[0] + ".",
        lambda token: "",
        lambda token: "x" * 100_000,
        lambda token: token[:-1] + "é",
    ],
)
def test_another_spelling_of_a_token_is_no_token(stage: Stage, spoil: object) -> None:
    assert _told(stage, spoil(stage.lease(GET).token_for("ticket"))) is Reason.BAD_TOKEN


def _claims(token: str) -> dict[str, object]:
    payload = token.split(".")[1]
    return json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))


@pytest.mark.case(1, 8)
def test_claims_signed_by_anyone_else_are_nobodys(stage: Stage) -> None:
    token = stage.lease(GET).token_for("ticket")
    claims = _claims(token) | {"tenant": "globex"}
    body = base64.urlsafe_b64encode(json.dumps(claims, separators=(",", ":"), sort_keys=True).encode()).rstrip(b"=")
    signed = token.split(".")[0] + "." + body.decode()
    signature = base64.urlsafe_b64encode(SigningKey.generate(b"e" * 32).sign(signed.encode())).rstrip(b"=").decode()
    assert _told(stage, f"{signed}.{signature}") is Reason.BAD_TOKEN
    assert _told(stage, f"{signed}.{token.split('.')[2]}") is Reason.BAD_TOKEN


@pytest.mark.case(9)
def test_other_documents_of_the_same_authority_are_no_leases(stage: Stage) -> None:
    lease = stage.lease(GET)
    receipt = stage.authority.finish(stage.authority.run(lease.lease.run_id))
    head = stage.authority.receipts.head()
    signing_input, _, _ = lease.token_for("ticket").rpartition(".")
    forged = []
    for ring in (stage.authority.engine.identity.receipts, stage.authority.engine.identity.checkpoints):
        assert ring.document_type is not DocumentType.LEASE
        signature = base64.urlsafe_b64encode(ring.newest.sign(signing_input.encode())).rstrip(b"=").decode()
        forged.append(f"{signing_input}.{signature}")
    for text in (receipt.decode(), head.decode(), *forged):
        assert _told(stage, text) is Reason.BAD_TOKEN


@pytest.mark.requirement("B3", "P6")
@pytest.mark.invariant("I10")
@pytest.mark.case(10, 35)
def test_a_token_speaks_for_its_own_run_tenant_and_environment_only(stage: Stage) -> None:
    acme, globex = stage.lease(), stage.lease(run=stage.start(tenant="globex", by=BEN))
    first = stage.admit(acme, "ticket.update", key="a")
    second = stage.admit(globex, "ticket.update", key="a")
    assert (first.tenant, first.requested_by, second.tenant, second.requested_by) == ("acme", ANA, "globex", BEN)
    staging = stage.lease(GET, run=stage.start(route="staging", environment="staging"))
    assert (
        reason_of(lambda: stage.door().admit(staging.token_for("ticket"), stage.call("ticket.get")))
        is Reason.WRONG_ENVIRONMENT
    )
    assert stage.spent(globex.lease.request_id, tenant="globex") == (0, 1_000_000, 0)


@pytest.mark.requirement("L4")
@pytest.mark.case(11)
def test_a_stolen_token_dies_with_its_attempt_and_its_lease(stage: Stage) -> None:
    run = stage.start()
    stolen = stage.lease(UPDATE, run=run)
    stage.authority.retry(run)
    assert stage.refusal(stolen, "ticket.update", key="a") is Reason.STALE_ATTEMPT
    other = stage.lease()
    stage.pass_time(300)
    assert stage.refusal(other, "ticket.update", key="a") is Reason.EXPIRED
    assert stage.denials() == ["stale_attempt", "expired"]


@pytest.mark.case(12)
def test_a_token_is_judged_again_at_every_use_however_often_it_passed(stage: Stage) -> None:
    lease = stage.lease()
    for key in "abc":
        stage.use(lease, "ticket.update", key=key)
    stage.revoke(f"lease:{lease.lease.lease_id}")
    assert stage.refusal(lease, "ticket.update", key="d") is Reason.REVOKED
