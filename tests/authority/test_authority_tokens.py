"""What a token is worth now, for whoever asks; and tokens that are bound to a key, at the door."""

from __future__ import annotations

import pytest

from leasehold.authority.tokens import LiveToken, Tokens
from leasehold.model.decision import Reason
from leasehold.model.lease import HeldLease
from leasehold.testing.clock import FrozenSystem
from leasehold.token.codec import sign_lease
from leasehold.token.keys import DocumentType, KeyRing, SigningKey
from stage import CLOSE, GET, UPDATE, Stage, changed, reason_of

BOTH = GET | UPDATE
JKT = "1IG2tMH7J2wbJZnOf8LJzQitKf7LMvoAElsuDMVM54Y"


def live(stage: Stage, lease: HeldLease, tool: str = "ticket") -> LiveToken:
    found = Tokens(stage.authority.engine).read(lease.token_for(tool))
    assert found is not None
    return found


def why(stage: Stage, lease: HeldLease) -> Reason | None:
    refusal = live(stage, lease).refusal
    return None if refusal is None else refusal.reason


def test_a_live_token_says_what_may_be_done_and_spent(stage: Stage) -> None:
    lease = stage.lease(BOTH)
    stage.use(lease, "ticket.get")
    found = live(stage, lease)
    assert (found.is_active, sorted(found.grants), found.actors) == (True, ["ticket.get", "ticket.update"], ("bot",))
    assert found.left["calls"] == 19_000_000
    assert (found.verified.lease_id, found.verified.audience) == (lease.lease.lease_id, "ticket")


@pytest.mark.requirement("L6", "L9")
@pytest.mark.case(53)
@pytest.mark.parametrize("scope", ["lease", "request", "run", "tenant:acme", "all", "agent:bot", "person:user:ana"])
def test_a_lease_revoked_a_moment_ago_is_worth_nothing(stage: Stage, scope: str) -> None:
    lease = stage.lease(BOTH).lease
    ids = {"lease": lease.lease_id, "request": lease.request_id, "run": lease.run_id}
    held = stage.authority.engine.held(lease)
    stage.revoke(f"{scope}:{ids[scope]}" if scope in ids else scope)
    assert why(stage, held) is Reason.REVOKED or why(stage, held) is Reason.RUN_FINISHED
    assert live(stage, held).grants == {}


def test_a_hold_takes_away_what_it_holds_until_it_is_lifted(stage: Stage) -> None:
    lease = stage.lease(BOTH)
    stage.hold("action:ticket.update")
    assert sorted(live(stage, lease).grants) == ["ticket.get"]
    stage.hold("tool:ticket")
    assert why(stage, lease) is Reason.POLICY_DENIES
    stage.lift("tool:ticket")
    stage.lift("action:ticket.update")
    assert sorted(live(stage, lease).grants) == ["ticket.get", "ticket.update"]


def test_what_implies_a_held_action_is_held_with_it(stage: Stage) -> None:
    text = changed(
        'approve."ticket.update" = "none"', 'approve."ticket.update" = "none"\napprove."ticket.close" = "none"'
    )
    stage.accept(text)
    lease = stage.lease(CLOSE)
    stage.hold("action:ticket.update")
    assert why(stage, lease) is Reason.POLICY_DENIES


def test_the_live_policy_counts_where_it_is_narrower(stage: Stage) -> None:
    lease = stage.lease(BOTH)
    stage.accept(changed('"ticket.get"    = { ticket = ["T-*"] }', '"ticket.get"    = { ticket = ["T-1"] }'))
    assert sorted(live(stage, lease).grants) == ["ticket.update"]


@pytest.mark.parametrize(("passed", "reason"), [(299, None), (300, Reason.EXPIRED)])
def test_a_lease_is_worth_nothing_at_its_expiry(stage: Stage, passed: int, reason: Reason | None) -> None:
    lease = stage.lease(BOTH)
    stage.pass_time(passed)
    assert why(stage, lease) is reason


def test_an_older_attempts_lease_is_worth_nothing(stage: Stage) -> None:
    run = stage.start()
    lease = stage.lease(BOTH, run=run)
    stage.authority.retry(run)
    assert why(stage, lease) is Reason.STALE_ATTEMPT


def test_a_childs_lease_names_who_acts_for_whom_and_dies_with_its_parents(stage: Stage) -> None:
    parent = stage.lease(BOTH)
    child = stage.lease(UPDATE, run=stage.child(parent))
    assert live(stage, child).actors == ("helper", "bot")
    assert live(stage, child).left["calls"] == 20_000_000
    stage.use(parent, "ticket.get")
    assert live(stage, child).left["calls"] == 19_000_000
    stage.revoke(f"lease:{parent.lease.lease_id}")
    assert not live(stage, child).is_active


@pytest.mark.case(5, 9, 10)
def test_what_is_no_token_of_this_authority_is_not_read(stage: Stage) -> None:
    lease = stage.lease(BOTH)
    identity = stage.authority.engine.identity
    stranger = KeyRing(DocumentType.LEASE, (SigningKey.generate(bytes(32)),))
    elsewhere = Stage(system=FrozenSystem(seed=1))
    token = lease.token_for("ticket")
    texts = [
        "",
        "no token",
        token[:-9] + ("A" if token[-9] != "A" else "B") + token[-8:],
        sign_lease(lease.lease, "ticket", identity.issuer, stranger),
        sign_lease(lease.lease, "ticket", "urn:leasehold:other", identity.leases),
        elsewhere.lease(BOTH).token_for("ticket"),
    ]
    elsewhere.close()
    fresh = Stage(system=FrozenSystem(seed=2))
    theirs = fresh.authority.engine.identity
    signed_for_nothing = sign_lease(lease.lease, "ticket", theirs.issuer, theirs.leases)
    assert [Tokens(stage.authority.engine).read(text) for text in texts] == [None] * len(texts)
    assert Tokens(fresh.authority.engine).read(signed_for_nothing) is None
    fresh.close()


@pytest.mark.case(11)
def test_a_token_that_is_bound_to_a_key_opens_the_door_only_with_proof_of_it(stage: Stage) -> None:
    lease = stage.lease(GET).lease
    bound = stage.authority.engine.token(lease, "ticket", JKT)
    assert bound != stage.authority.engine.token(lease, "ticket")
    for holder in (None, "", JKT[:-1] + "Z"):
        call = stage.call("ticket.get")
        assert (
            reason_of(lambda call=call, holder=holder: stage.door().admit(bound, call, holder=holder))
            is Reason.BAD_TOKEN
        )
    assert stage.door().admit(bound, stage.call("ticket.get"), holder=JKT).lease_id == lease.lease_id
    assert stage.door().submit_admit(bound, stage.call("ticket.get"), holder=JKT).result().lease_id == lease.lease_id
    found = Tokens(stage.authority.engine).read(bound)
    assert found is not None
    assert found.verified.cnf_jkt == JKT
