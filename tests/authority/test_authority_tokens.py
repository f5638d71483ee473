"""What a token is worth now, for whoever asks; and tokens that are bound to a key, at the door."""

from __future__ import annotations

import pytest
from joserfc.jwk import OKPKey
from msgspec.structs import replace

from leasehold.authority.tokens import LiveToken, Tokens
from leasehold.decide.holder import ProvenAdmit
from leasehold.ledger.entry import EntryKind
from leasehold.model.call import Admission, HolderProof
from leasehold.model.decision import Reason
from leasehold.model.lease import HeldLease
from leasehold.testing.clock import FrozenSystem
from leasehold.token.codec import sign_lease
from leasehold.token.keys import DocumentType, KeyRing, SigningKey
from proving import make_proof
from stage import CLOSE, GET, UPDATE, Stage, changed, reason_of

BOTH = GET | UPDATE
KEY, OTHER = OKPKey.generate_key("Ed25519"), OKPKey.generate_key("Ed25519")
URL = "https://tickets.example/close"


def proof(stage: Stage, token: str, key: OKPKey = KEY, **claims: object) -> HolderProof:
    """What came with a token, for a request to the tool."""
    return HolderProof(
        jwt=make_proof(key, token=token, **({"htm": "POST", "htu": URL, "iat": stage.system.now().seconds} | claims)),
        method="POST",
        url=URL,
    )


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


def test_a_lease_and_an_admission_that_are_printed_show_no_token(stage: Stage) -> None:
    lease = stage.lease(BOTH)
    admission = replace(stage.admit(lease, "ticket.get"), tokens=dict(lease.tokens))
    shown = f"{lease} {lease.once('k')!r} {admission}"
    assert lease.lease.lease_id in shown
    assert admission.admission_id in shown
    assert lease.token_for("ticket") not in shown


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
    bound = stage.authority.engine.token(lease, "ticket", KEY.thumbprint())
    plain = stage.authority.engine.token(lease, "ticket")
    assert bound != plain

    def admit(token: str, given: HolderProof | None, **call: object) -> Admission:
        return stage.door().admit(token, replace(stage.call("ticket.get", **call), holder_proof=given))

    for token, given in (
        (bound, None),
        (bound, proof(stage, bound, OTHER)),
        (bound, proof(stage, plain)),
        (bound, proof(stage, bound, htm="GET")),
        (bound, proof(stage, bound, htu="https://elsewhere.example/")),
        (bound, proof(stage, bound, iat=1)),
        (bound, replace(proof(stage, bound), jwt="x")),
        (plain, proof(stage, plain)),
    ):
        assert reason_of(lambda token=token, given=given: admit(token, given)) is Reason.BAD_TOKEN
    assert stage.entries(EntryKind.CALL_DENIED) == []
    given = proof(stage, bound)
    admission_id = stage.door().new_admission_id()
    admission = admit(bound, given, admission_id=admission_id)
    assert admission.lease_id == lease.lease_id
    assert admit(bound, given, admission_id=admission_id).admission_id == admission_id
    for _ in range(2):
        assert reason_of(lambda: admit(bound, given)) is Reason.REPLAYED
    later = replace(stage.call("ticket.get"), holder_proof=proof(stage, bound, jti="two"))
    assert stage.door().submit_admit(bound, later).result().lease_id == lease.lease_id
    assert stage.entries(EntryKind.CALL_DENIED) == []


@pytest.mark.case(11)
def test_a_proof_is_used_up_with_a_call_that_is_refused_too(stage: Stage) -> None:
    lease = stage.lease(GET).lease
    bound = stage.authority.engine.token(lease, "ticket", KEY.thumbprint())
    given = proof(stage, bound)
    refused = replace(stage.call("ticket.update", key="k"), holder_proof=given)
    assert reason_of(lambda: stage.door().admit(bound, refused)) is Reason.NOT_GRANTED
    again = replace(stage.call("ticket.get"), holder_proof=given)
    assert reason_of(lambda: stage.door().admit(bound, again)) is Reason.REPLAYED


def test_what_the_token_of_a_bound_lease_says_is_read_without_its_key(stage: Stage) -> None:
    bound = stage.authority.engine.token(stage.lease(GET).lease, "ticket", KEY.thumbprint())
    found = Tokens(stage.authority.engine).read(bound)
    assert found is not None
    assert found.verified.cnf_jkt == KEY.thumbprint()


def test_without_the_guard_a_proof_would_admit_two_calls(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ProvenAdmit, "decide", lambda step, facts, now: step.admit.decide(facts, now))
    with pytest.raises(AssertionError, match="not refused"):
        test_a_token_that_is_bound_to_a_key_opens_the_door_only_with_proof_of_it(stage)
