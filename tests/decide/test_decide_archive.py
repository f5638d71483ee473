"""Erasing cards: only of finished runs without a call in flight, all of a run's or none, and written down."""

from __future__ import annotations

import pytest

from leasehold.authority.archive import FinishedRun, archive_digest
from leasehold.authority.receipts import checkpoint_keys
from leasehold.decide.archive import EraseCards, KeptCard
from leasehold.decide.govern import REVOCATIONS
from leasehold.decide.rows import AUTHORITY_WIDE, CardRow, CursorRow
from leasehold.errors import Denied, NotFoundError
from leasehold.ledger.entry import EntryKind
from leasehold.ledger.receipt import verify_receipt
from leasehold.model.decision import Reason
from leasehold.model.ids import RequestId, RunId
from leasehold.model.instant import Instant
from leasehold.model.run import RunAttempt
from stage import AUDIT, UPDATE, Stage, reason_of

NEVER = Instant(2**52)


def finished(stage: Stage) -> RunAttempt:
    """A run that asked twice and is over."""
    run = stage.start()
    stage.lease(UPDATE, run=run)
    stage.lease(AUDIT, run=run)
    stage.authority.finish(run)
    return run


def archivable(stage: Stage, before: Instant = NEVER) -> list[FinishedRun]:
    return list(stage.authority.archive.finished_before(before))


def erase(stage: Stage, found: FinishedRun) -> tuple[str, ...]:
    return stage.authority.archive.erase(found, by="op", reason="kept long enough")


def test_cards_of_a_finished_run_go_and_the_ledger_says_so(stage: Stage) -> None:
    run = finished(stage)
    (found,) = archivable(stage)
    assert (found.run_id, len(found.cards)) == (run.run_id, 2)
    assert set(erase(stage, found)) == {card.digest for card in found.cards}
    entries = stage.entries(EntryKind.CARD_ERASED)
    assert [(entry.tenant, entry.run, entry.request, entry.detail) for entry in entries] == [
        ("acme", run.run_id, card.request, {"card": card.digest, "reason": "kept long enough"}) for card in found.cards
    ]
    queries = stage.authority.engine.store.queries
    assert [queries.card("acme", card.digest) for card in found.cards] == [None, None]
    assert archivable(stage) == []
    with pytest.raises(NotFoundError, match="was erased"):
        stage.desk.card(stage.authority.find_request(found.cards[0].request))


@pytest.mark.requirement("L12")
def test_receipts_from_before_and_after_verify_and_only_the_later_one_says_that_cards_went(stage: Stage) -> None:
    run = finished(stage)
    before = stage.authority.receipts.build(run)
    erase(stage, archivable(stage)[0])
    after = stage.authority.receipts.build(run)
    identity = stage.authority.engine.identity
    keys = {key.keyid: key.public().public for key in identity.receipts.keys}
    told = [
        [bool(asked.get("cardErased")) for asked in made.predicate["asked"]]
        for receipt in (before, after)
        for made in [verify_receipt(receipt, keys, checkpoint_keys(identity.issuer, identity.checkpoints))]
    ]
    assert told == [[False, False], [True, True]]


def test_run_that_finished_at_the_moment_or_later_is_left_alone(stage: Stage) -> None:
    finished(stage)
    now = stage.system.now()
    assert archivable(stage, now) == []
    assert len(archivable(stage, Instant(now + 1))) == 1
    stage.start()
    stage.lease()
    assert len(archivable(stage)) == 1


def test_what_is_not_finished_is_refused_whatever_the_caller_believes(stage: Stage) -> None:
    run = stage.start()
    lease = stage.lease(run=run)
    row = stage.authority.engine.store.queries.requests_of_run("acme", run.run_id)[0]
    believed = FinishedRun("acme", run.run_id, Instant(0), (KeptCard(RequestId(row.request_id), row.card_digest),))
    assert reason_of(lambda: _erase(stage, believed)) is Reason.CONFLICT
    assert erase(stage, believed) == ()
    call = stage.admit(lease, "ticket.update", key="a")
    stage.authority.finish(run)
    assert reason_of(lambda: _erase(stage, believed)) is Reason.IN_FLIGHT
    assert erase(stage, believed) == ()
    stage.settle(call)
    assert erase(stage, believed) == (row.card_digest,)
    assert erase(stage, believed) == ()


def _erase(stage: Stage, run: FinishedRun) -> tuple[str, ...]:
    step = EraseCards(tenant=run.tenant, run_id=run.run_id, cards=run.cards, by="op", reason="x")
    return stage.authority.engine.ask(lambda _: step)


def test_without_its_guard_the_card_of_an_open_run_would_go(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    run = stage.start()
    stage.lease(run=run)
    row = stage.authority.engine.store.queries.requests_of_run("acme", run.run_id)[0]
    believed = FinishedRun("acme", run.run_id, Instant(0), (KeptCard(RequestId(row.request_id), row.card_digest),))
    monkeypatch.setattr(EraseCards, "_refuse_run", lambda *_: None)
    assert erase(stage, believed) == (row.card_digest,)


@pytest.mark.case(57)
@pytest.mark.invariant("I10")
def test_card_of_another_run_or_tenant_is_not_reached_through_a_finished_one(stage: Stage) -> None:
    over = finished(stage)
    open_run, elsewhere = stage.start(), stage.start(tenant="globex")
    for run in (open_run, elsewhere):
        stage.lease(run=run)
    queries = stage.authority.engine.store.queries
    theirs = tuple(
        KeptCard(RequestId(row.request_id), row.card_digest)
        for run in (open_run, elsewhere)
        for row in queries.requests_of_run(run.tenant, run.run_id)
    )
    mine = archivable(stage)[0].cards
    swapped = (KeptCard(mine[0].request, theirs[0].digest), KeptCard(theirs[0].request, mine[0].digest))
    assert _erase(stage, FinishedRun("acme", over.run_id, Instant(0), (*theirs, *swapped))) == ()
    assert [queries.card("acme", card.digest) is None for card in (*mine, theirs[0])] == [False, False, False]
    assert reason_of(lambda: _erase(stage, FinishedRun("globex", over.run_id, Instant(0), mine))) is Reason.NOT_FOUND


def test_without_its_guard_cards_of_other_runs_would_go(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(EraseCards, "_card", lambda step, facts, kept: facts.get(CardRow, step.tenant, kept.digest))
    with pytest.raises(AssertionError):
        test_card_of_another_run_or_tenant_is_not_reached_through_a_finished_one(stage)


def test_finish_is_found_behind_a_page_of_later_entries(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    run = stage.start()
    lease = stage.lease(run=run)
    calls = [stage.admit(lease, "ticket.update", key=str(number)) for number in range(5)]
    stage.authority.finish(run)
    for call in calls:
        stage.settle(call)
    monkeypatch.setattr("leasehold.authority.archive.MAX_LISTED", 2)
    assert [found.run_id for found in archivable(stage)] == [run.run_id]


def test_run_that_finished_without_an_entry_is_left_alone(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    finished(stage)
    monkeypatch.setattr(type(stage.authority.engine.store.queries), "search", lambda *_: ())
    assert archivable(stage) == []


def test_clock_that_is_behind_erases_nothing(stage: Stage) -> None:
    finished(stage)
    found = archivable(stage)[0]
    stage.system.jump(seconds=-3600)
    with pytest.raises(Denied) as refused:
        erase(stage, found)
    assert refused.value.decision.reason is Reason.CLOCK


def test_digest_names_every_card_whatever_their_order() -> None:
    one, two = (
        FinishedRun("acme", RunId("run_1"), Instant(0), (KeptCard(RequestId("req_1"), digest),)) for digest in "ab"
    )
    assert archive_digest([one, two]) == archive_digest([two, one]) != archive_digest([one])


# revocations after a restore


@pytest.mark.case(62)
def test_restore_pauses_revocations_at_sources_until_somebody_confirms(stage: Stage) -> None:
    def paused() -> CursorRow | None:
        return stage.authority.engine.row(CursorRow, AUTHORITY_WIDE, REVOCATIONS)

    assert paused() is None
    assert reason_of(lambda: stage.desk.confirm_revocations(by="op", reason="compared")) is Reason.NOT_FOUND
    stage.desk.raise_epoch(by="op", reason="disk lost")
    raised = stage.entries(EntryKind.EPOCH_RAISED)[0]
    row = paused()
    assert row is not None
    assert (row.is_parked, row.position) == (1, raised.index)
    assert stage.desk.confirm_revocations(by="op", reason="compared") == raised.index
    row = paused()
    assert row is not None
    assert (row.is_parked, row.position) == (0, raised.index)
    (entry,) = stage.entries(EntryKind.REVOCATIONS_CONFIRMED)
    assert (entry.person, entry.detail) == ("op", {"since": raised.index, "reason": "compared"})
    assert reason_of(lambda: stage.desk.confirm_revocations(by="op", reason="again")) is Reason.NOT_FOUND
