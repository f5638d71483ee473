"""What Runs, Door and Desk share: steps built under the active policy, documents by id, damaged ones refused."""

from __future__ import annotations

from concurrent.futures import Future

import msgspec
import pytest
from msgspec.structs import replace

from leasehold.authority.engine import Engine, Kept, refusal_error, then
from leasehold.decide.retry import Retry
from leasehold.decide.rows import AUTHORITY_WIDE
from leasehold.decide.start import Start
from leasehold.errors import ApprovalNeeded, Denied, NotFoundError, StoreError, UnavailableError
from leasehold.ledger.entry import EntryKind
from leasehold.model.decision import Reason, deny
from leasehold.store.sqlite import open_sqlite
from meddling import raw
from stage import AUDIT, BEN, UPDATE, Stage, changed, policy, reason_of

# Steps and policies


@pytest.mark.requirement("P4")
@pytest.mark.case(64)
def test_a_step_built_under_a_policy_that_was_replaced_is_built_again(stage: Stage) -> None:
    lease = stage.lease()
    elsewhere = stage.beside()
    elsewhere.accept(changed('deny = ["mail.purge"]', 'deny = ["ticket.update"]'))
    assert stage.refusal(lease, "ticket.update", key="a") is Reason.ACTION_DENIED
    elsewhere.accept(changed("calls = 20", "calls = 21"))
    call = stage.call("ticket.update", key="a")
    admitted = stage.door().submit_admit(lease.token_for("ticket"), call).result(5)
    assert stage.entries(EntryKind.CALL_ADMITTED)[0].admission == admitted.admission_id


def test_a_policy_that_changes_under_every_step_ends_in_a_plain_error(stage: Stage) -> None:
    run = stage.start()
    stage.meddle().is_fickle = True
    step = Retry(run=run.run, from_attempt=1)
    with pytest.raises(UnavailableError, match="faster"):
        stage.authority.engine.ask(lambda _: step)
    with pytest.raises(UnavailableError, match="faster"):
        stage.authority.engine.submit(lambda _: step).result(5)


def test_whatever_goes_wrong_while_building_belongs_to_who_waits(stage: Stage) -> None:
    def build(_: object) -> Start:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        stage.authority.engine.submit(build).result(5)
    with pytest.raises(ZeroDivisionError):
        stage.authority.engine.ask(build)


def test_what_the_store_raises_reaches_who_waits(stage: Stage) -> None:
    run = stage.start()
    stage.meddle().lose(Retry, persisted=False)
    step = Retry(run=run.run, from_attempt=1)
    with pytest.raises(StoreError, match="disk"):
        stage.authority.engine.submit(lambda _: step).result(5)
    assert stage.authority.engine.submit(lambda _: step).result(5) == 2


def test_without_an_active_policy_nothing_is_decided() -> None:
    stage = Stage()
    identity = stage.authority.engine.identity
    store = open_sqlite(":memory:", clock=stage.system, issuer=identity.issuer)
    engine = Engine(store, stage.system, identity)
    with pytest.raises(StoreError, match="policy accept"):
        engine.active_policy()
    with pytest.raises(StoreError, match="policy accept"):
        engine.ask(lambda active: Start(policy_document=active, run=stage.start().run))
    store.close()
    stage.close()


# Documents


def _damage(stage: Stage, tenant: str, document_id: str) -> Stage:
    """Damage a document behind the authority's back, and look at it with fresh eyes."""
    engine = stage.authority.engine
    raw(engine.store).execute("UPDATE documents SET body = ? WHERE tenant = ? AND id = ?", (b"{", tenant, document_id))
    engine.store.queries._documents.clear()
    return stage.beside()


@pytest.mark.case(61)
def test_a_damaged_lease_is_refused_alone_and_the_rest_goes_on(stage: Stage) -> None:
    bad, good = stage.lease(), stage.lease()
    fresh = _damage(stage, "acme", bad.lease.lease_id)
    for act in (
        lambda: fresh.admit(bad, "ticket.update", key="a"),
        lambda: fresh.door().submit_admit(bad.token_for("ticket"), fresh.call("ticket.update", key="a")).result(5),
    ):
        with pytest.raises(StoreError, match="damaged"):
            act()
    fresh.use(good, "ticket.update", key="a")
    fresh.pass_time(300)
    with pytest.raises(StoreError, match="damaged"):
        fresh.sweep()
    ended = [entry.lease for entry in fresh.entries(EntryKind.LEASE_ENDED)]
    assert ended == [good.lease.lease_id]  # what is whole was swept all the same


@pytest.mark.case(61)
def test_a_damaged_policy_document_decides_nothing(stage: Stage) -> None:
    lease = stage.lease()
    engine = stage.authority.engine
    fresh = _damage(stage, AUTHORITY_WIDE, engine.store.queries.control().policy)
    with pytest.raises((StoreError, ValueError)):
        fresh.admit(lease, "ticket.update", key="a")


def test_a_policy_stored_under_another_hash_is_refused(stage: Stage) -> None:
    lease = stage.lease()
    engine = stage.authority.engine
    other = policy(changed("calls = 20", "calls = 99"))
    active = engine.store.queries.control().policy
    raw(engine.store).execute(
        "UPDATE documents SET body = ? WHERE id = ?", (msgspec.json.encode(other.to_json()), active)
    )
    engine.store.queries._documents.clear()
    with pytest.raises(StoreError, match="damaged"):
        stage.beside().admit(lease, "ticket.update", key="a")


def test_what_is_not_in_the_ledger_is_not_found(stage: Stage) -> None:
    lease = stage.lease()
    engine = stage.beside().authority.engine
    for look in (engine.run, engine.request, engine.chain):
        with pytest.raises(NotFoundError):
            look("globex", lease.lease.lease_id)
    with pytest.raises(NotFoundError):
        engine.locate(lease.lease.lease_id[:-1] + "0")
    assert engine.locate(lease.lease.lease_id) == "acme"


def test_a_run_of_another_ledger_has_no_receipt_here(stage: Stage) -> None:
    stranger = replace(stage.start().run, run_id=stage.authority.engine.system.new_id("run"))
    with pytest.raises(NotFoundError, match="is not in this ledger"):
        stage.authority.receipts.build(stranger)


@pytest.mark.requirement("F1")
def test_an_admission_is_settled_by_a_process_that_did_not_admit_it(stage: Stage) -> None:
    admitted = stage.admit(stage.lease(), "ticket.update", key="a")
    assert stage.beside().settle(admitted).charged["calls"] == 1_000_000


def test_kept_values_leave_in_the_order_in_which_they_were_last_used() -> None:
    kept: Kept[int] = Kept(2)
    kept.put(("a",), 1)
    kept.put(("b",), 2)
    assert kept.get(("a",)) == 1
    kept.put(("c",), 3)
    assert [kept.get((name,)) for name in "abc"] == [1, None, 3]


def test_a_refusal_that_waits_for_people_names_the_request_to_wait_on(stage: Stage) -> None:
    needed = replace(deny(Reason.APPROVAL_NEEDED, "x"), request_id="req_1")
    error = refusal_error(needed)
    assert isinstance(error, ApprovalNeeded)
    assert error.request == "req_1"
    assert type(refusal_error(deny(Reason.APPROVAL_NEEDED, "x"))) is Denied
    lease = stage.lease(AUDIT | UPDATE)
    request = stage.ask(lease, "ticket.audit")
    stage.people.approve(request, BEN)
    assert reason_of(lambda: stage.admit(lease, "ticket.audit", "X-1")) is Reason.OUT_OF_RANGE


def test_a_converted_future_fails_where_the_conversion_does() -> None:
    inner: Future[int] = Future()
    outer = then(inner, lambda number: 1 // number)
    inner.set_result(0)
    with pytest.raises(ZeroDivisionError):
        outer.result(1)
