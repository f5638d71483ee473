"""Leases, runs and requests cannot be built wrong: what makes no sense is refused by the constructor."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from leasehold.errors import InvalidError
from leasehold.model.grant import Grant
from leasehold.model.ids import LeaseId, RequestId, RunId
from leasehold.model.lease import HeldLease, Lease, Token
from leasehold.model.request import Request, RequestKind
from leasehold.model.run import Run

ULID = "01JZ8Q5X0M3V7K2N9B4C6D8E0F"
GRANTS = {"ticket.get": Grant("ticket.get")}
LEASE = Lease(
    lease_id=LeaseId(f"lease_{ULID}"),
    run_id=RunId(f"run_{ULID}"),
    attempt=1,
    request_id=RequestId(f"req_{ULID}"),
    agent="bot",
    requested_by="user:ana",
    approved_by=("policy",),
    tenant="acme",
    environment="prod",
    route="desk",
    allow=GRANTS,
    deny=(),
    budget={},
    ends_on=(),
    delegation_depth=0,
    parents=(),
    issued_at=100,
    expires_at=400,
    reason="",
    policy="sha256:0",
    epoch=1,
)
RUN = Run(
    run_id=RunId(f"run_{ULID}"),
    tenant="acme",
    environment="prod",
    agent="bot",
    requested_by="user:ana",
    route="desk",
    purpose="to see",
    started_at=100,
    expires_at=400,
    policy="sha256:0",
)
REQUEST = Request(
    request_id=RequestId(f"req_{ULID}"),
    kind=RequestKind.LEASE,
    tenant="acme",
    run_id=RunId(f"run_{ULID}"),
    attempt=1,
    reason="to see",
    made_at=100,
    answer_by=400,
    policy="sha256:0",
    card_digest="",
    allow=GRANTS,
)


@pytest.mark.requirement("L1", "L3")
@pytest.mark.case(50)
@pytest.mark.parametrize(
    "change",
    [
        {"expires_at": 100},
        {"attempt": 0},
        {"delegation_depth": -1},
        {"epoch": 0},
        {"allow": {}},
        {"lease_id": "lease_1"},
        {"run_id": "agent-run-88421"},
        {"request_id": LEASE.lease_id},
    ],
    ids=str,
)
def test_a_lease_that_makes_no_sense_cannot_be_built(change: dict[str, object]) -> None:
    with pytest.raises(InvalidError):
        replace(LEASE, **change)


def test_a_held_lease_has_tokens_only_for_what_it_grants() -> None:
    held = HeldLease(lease=LEASE, tokens={"ticket": Token("t")})
    assert held.token_for("ticket") == "t"
    with pytest.raises(InvalidError, match="grants nothing at 'deploy'"):
        held.token_for("deploy")


@pytest.mark.requirement("B3")
@pytest.mark.parametrize(
    "change",
    [
        {"purpose": " "},
        {"purpose": "x" * 2001},
        {"expires_at": 100},
        {"epoch": 0},
        {"requester_proof": "believed"},
        {"tenant": ""},
        {"agent": "a/../b"},
        {"run_id": "run_1"},
    ],
    ids=lambda change: str(change)[:40],
)
def test_a_run_that_makes_no_sense_cannot_be_built(change: dict[str, object]) -> None:
    with pytest.raises(InvalidError):
        replace(RUN, **change)


@pytest.mark.parametrize(
    "change", [{"reason": "x" * 2001}, {"allow": {}}, {"run_id": "run_1"}], ids=lambda change: str(change)[:40]
)
def test_a_request_that_makes_no_sense_cannot_be_built(change: dict[str, object]) -> None:
    with pytest.raises(InvalidError):
        replace(REQUEST, **change)
