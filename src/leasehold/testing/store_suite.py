"""What every store must do: batches, order, the tree, time, faults, the anchor. One suite for all databases.

A test module of a database imports every name with a star and has a fixture `database` that gives a fresh
`leasehold.testing.store_steps.Database`. Those who wait for a store (`store_waiting_suite`) and the read side
(`store_queries_suite`) have suites of their own, used the same way.
"""

# ruff: noqa: S101 - a suite of tests
from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from threading import Event

import msgspec
import pytest

from leasehold.decide.facts import (
    ActiveStops,
    AllOpenCalls,
    Changes,
    Facts,
    Index,
    OpenCalls,
    Ref,
    RequestsOfCall,
    StepAnswer,
)
from leasehold.decide.rows import CallRow, DocumentRow, RunRow, SessionRow, StopRow
from leasehold.errors import StoreError, TransitionError, UnavailableError
from leasehold.ledger.entry import Entry, EntryKind, decode_entry
from leasehold.ledger.tree import (
    Frontier,
    TreeBuilder,
    consistency_proof,
    frontier_at,
    inclusion_proof,
    leaf_hash,
    verify_consistency,
    verify_inclusion,
)
from leasehold.model.call import CallState
from leasehold.model.decision import Reason, allow
from leasehold.model.instant import Instant
from leasehold.store.lane import Lane, RefusedError
from leasehold.store.protocol import Store
from leasehold.testing.clock import FrozenSystem
from leasehold.testing.store_steps import (
    TENANT,
    Database,
    FailingBackend,
    MemoryAnchor,
    ScriptedStep,
    account,
    call,
    lane_held,
    request,
    run,
    session,
    spend,
    take_out,
    write,
)

PATIENCE_SECONDS = 30


@pytest.fixture
def clock() -> FrozenSystem:
    """The clock of the store under test."""
    return FrozenSystem()


@pytest.fixture
def store(database: Database, clock: FrozenSystem) -> Iterator[Store]:
    """The database, open."""
    with closing(database.open(clock=clock)) as opened:
        yield opened


def settled(store: Store, account_id: str = "run_1") -> int:
    """What was settled on an account, by the read side."""
    rows = store.queries.accounts(TENANT, account_id)
    return rows[0].settled if rows else 0


def totals(store: Store) -> list[object]:
    """The totals that `spend` recorded, in the order of the ledger."""
    lines = store.queries.ledger(0, store.queries.control().size)
    return [entry.detail["total"] for line in lines if "total" in (entry := decode_entry(line.body)).detail]


# batches


def test_each_step_of_a_batch_sees_the_rows_of_those_before_it(store: Store) -> None:
    with lane_held(store):
        futures = [store.submit(spend()) for _ in range(50)]
    assert [future.result().value for future in futures] == list(range(1, 51))
    assert settled(store) == 50


def test_a_step_may_seek_a_row_that_it_could_not_name_and_sees_it_as_the_batch_left_it(store: Store) -> None:
    def seek(facts: Facts, _: Instant) -> tuple[StepAnswer[object], Changes]:
        return StepAnswer(allow(), facts.seek(CallRow, TENANT, "adm_1")), Changes()

    steps = [ScriptedStep([], seek), write(call("adm_1")), ScriptedStep([], seek)]
    with lane_held(store):
        together = [store.submit(step) for step in steps]
    assert [together[place].result().value for place in (0, 2)] == [None, call("adm_1")]
    assert store.submit(ScriptedStep([], seek)).result().value == call("adm_1")


def test_each_step_of_a_batch_sees_the_indexes_as_those_before_it_left_them(store: Store) -> None:
    def look(index: Index) -> ScriptedStep:
        def script(facts: Facts, _: Instant) -> tuple[StepAnswer[object], Changes]:
            return StepAnswer(allow(), facts.find(index)), Changes()

        return ScriptedStep([index], script)

    steps = [
        write(call("adm_1"), request("req_1"), stop()),
        look(OpenCalls((TENANT,))),
        look(AllOpenCalls(())),
        look(RequestsOfCall((TENANT, "sha256:call"))),
        look(ActiveStops((TENANT,))),
        write(call("adm_1", state=CallState.DONE), stop(is_active=0)),
        look(OpenCalls((TENANT,))),
        look(ActiveStops((TENANT,))),
        look(OpenCalls(("other",))),
    ]
    expected = [(call(),), (call(),), (request(),), (stop(),), (), (), ()]
    with lane_held(store):
        together = [store.submit(step) for step in steps]
    assert [found for future in together if isinstance(found := future.result().value, tuple)] == expected
    alone = [store.submit(step).result().value for step in steps]
    assert [found for found in alone if isinstance(found, tuple)] == expected


def stop(**changes: object) -> StopRow:
    """A hold of one tool."""
    row = StopRow(
        tenant=TENANT, scope="tool:t", kind="hold", is_active=1, recorded=0, at=0, by="user:ana", reason="fire"
    )
    return msgspec.structs.replace(row, **changes)


def test_step_that_raises_fails_alone_and_writes_nothing(store: Store) -> None:
    def script(_: Facts, __: Instant) -> tuple[StepAnswer[object], Changes]:
        raise RuntimeError("a fault of this step")

    with lane_held(store):
        first, failing, last = (store.submit(step) for step in (spend(), ScriptedStep([], script), spend()))
    assert (first.result().value, last.result().value) == (1, 2)
    with pytest.raises(RuntimeError, match="a fault of this step"):
        failing.result()
    assert totals(store) == [1, 2]


def test_step_that_names_its_facts_badly_fails_alone(store: Store) -> None:
    class Nameless(ScriptedStep):
        def keys(self) -> list[Ref]:
            raise RuntimeError("no names")

    def unnamed(facts: Facts, _: Instant) -> tuple[StepAnswer[object], Changes]:
        facts.get(RunRow, TENANT, "run_1")
        raise AssertionError("never reached")

    with lane_held(store):
        steps = (spend(), Nameless([], unnamed), ScriptedStep([], unnamed), spend())
        first, nameless, ignorant, last = (store.submit(step) for step in steps)
    assert (first.result().value, last.result().value) == (1, 2)
    with pytest.raises(RuntimeError, match="no names"):
        nameless.result()
    with pytest.raises(TransitionError, match="was not named"):
        ignorant.result()


@pytest.mark.case(70)
def test_row_that_the_database_refuses_fails_its_step_alone(store: Store) -> None:
    with lane_held(store):
        steps = (spend(), write(account("run_2", settled=-1)), write(account("run_3", settled=2**53)), spend())
        futures = [store.submit(step) for step in steps]
    assert (futures[0].result().value, futures[3].result().value) == (1, 2)
    for refused in futures[1:3]:
        with pytest.raises(RefusedError) as caught:
            refused.result()
        assert not caught.value.maybe_persisted
    assert totals(store) == [1, 2]
    assert store.submit(spend()).result().value == 3


def test_immutable_row_is_never_written_over(store: Store) -> None:
    for body in (b"first", b"second"):
        store.submit(write(DocumentRow(tenant=TENANT, id="doc_1", body=body))).result()
    assert store.queries.document(TENANT, "doc_1") == b"first"


def test_last_row_of_a_key_counts_when_a_step_writes_it_twice(store: Store) -> None:
    store.submit(write(account(settled=1), account(settled=2))).result()
    assert settled(store) == 2


def test_step_that_changes_nothing_leaves_the_log_as_it_is(store: Store) -> None:
    before = store.queries.control()
    store.submit(write(entries=0)).result()
    assert store.queries.control() == before


def test_step_built_with_another_policy_is_not_decided(store: Store) -> None:
    answer = store.submit(spend(policy="sha256:stale")).result()
    assert answer.active_policy == store.queries.control().policy
    assert answer.value is None
    assert settled(store) == 0


def test_step_cancelled_before_the_lane_takes_it_is_not_executed(store: Store) -> None:
    with lane_held(store):
        cancelled, other = store.submit(spend()), store.submit(spend())
        assert cancelled.cancel()
    assert other.result().value == 1


# the ledger


@pytest.mark.requirement("L11")
@pytest.mark.case(100)
def test_entries_stand_in_lane_order_without_a_gap(store: Store) -> None:
    with lane_held(store):
        futures = [store.submit(spend()) for _ in range(30)]
    for future in futures:
        future.result()
    lines = store.queries.ledger(0, 100)
    assert [line.index for line in lines] == list(range(30))
    assert [decode_entry(line.body).index for line in lines] == list(range(30))
    assert totals(store) == list(range(1, 31))


@pytest.mark.requirement("L12")
def test_tree_that_the_lane_grows_is_the_tree_over_the_entries(store: Store) -> None:
    sizes = [0]
    for entries in (1, 2, 1, 0, 5, 7, 16, 3):
        store.submit(write(entries=entries)).result()
        sizes.append(store.queries.control().size)
    bodies = [line.body for line in store.queries.ledger(0, 100)]
    tree = TreeBuilder(Frontier())
    for body in bodies:
        tree.append(leaf_hash(body))
    control = store.queries.control()
    assert (control.size, control.frontier) == (len(bodies), tree.frontier().to_bytes())
    root = tree.frontier().root()
    for line in store.queries.ledger(0, 100):
        proof = inclusion_proof(store.queries, line.index, control.size)
        verify_inclusion(line.leaf, line.index, control.size, proof, root)
    for size in sizes:
        old = frontier_at(store.queries, size).root()
        verify_consistency(size, old, control.size, root, consistency_proof(store.queries, size, control.size))


# time


def test_entries_carry_the_time_of_their_batch(store: Store, clock: FrozenSystem) -> None:
    store.submit(spend()).result()
    later = clock.advance(seconds=5)
    store.submit(spend()).result()
    times = [decode_entry(line.body).time_ms for line in store.queries.ledger(0, 2)]
    assert times == [later - 5000, later]
    assert store.queries.control().last_time_ms == later


@pytest.mark.case(47)
def test_clock_a_little_behind_counts_as_the_recorded_time(store: Store, clock: FrozenSystem) -> None:
    recorded = clock.now()
    store.submit(spend()).result()
    clock.jump(seconds=-2)
    assert store.submit(spend()).result().decision.is_allowed
    assert decode_entry(store.queries.ledger(1, 2)[0].body).time_ms == recorded


@pytest.mark.requirement("L7")
@pytest.mark.case(52)
def test_clock_further_behind_stops_all_but_what_must_always_work(store: Store, clock: FrozenSystem) -> None:
    recorded = clock.now()
    store.submit(spend()).result()
    clock.jump(seconds=-3)
    assert store.submit(spend()).result().decision.reason is Reason.CLOCK
    assert store.submit(spend(needs_clock=False)).result().value == 2
    assert decode_entry(store.queries.ledger(1, 2)[0].body).time_ms == recorded
    clock.jump(seconds=1)
    assert store.submit(spend()).result().value == 3


def test_step_may_set_the_recorded_time_back(store: Store, clock: FrozenSystem) -> None:
    clock.jump(seconds=3600)
    store.submit(spend()).result()
    right = clock.jump(seconds=-3600)

    def script(facts: Facts, _: Instant) -> tuple[StepAnswer[object], Changes]:
        control = msgspec.structs.replace(facts.control, last_time_ms=int(right))
        return StepAnswer(allow()), Changes((control,), (Entry(kind=EntryKind.CLOCK_CONFIRMED),))

    store.submit(ScriptedStep([], script, needs_clock=False)).result()
    assert store.queries.control().last_time_ms == right
    assert store.submit(spend()).result().value == 2


# closing and opening again


@pytest.mark.invariant("I8")
def test_everything_stands_when_the_database_is_opened_again(database: Database, clock: FrozenSystem) -> None:
    if not database.survives:
        pytest.skip("this database ends with its store")
    with closing(database.open(clock=clock)) as store:
        store.submit(write(call(), request(), run())).result()
        before = store.queries.control()
    with closing(database.open(clock=clock)) as store:
        refs = [Ref(type(row), key) for row, key in ((call(), (TENANT, "adm_1")), (run(), (TENANT, "run_1")))]
        assert store.queries.rows(refs) == (call(), run())
        assert store.queries.control() == before
        assert store.submit(spend()).result().value == 1


def test_closing_answers_what_was_submitted_and_refuses_the_rest(database: Database, clock: FrozenSystem) -> None:
    store = database.open(clock=clock)
    futures = [store.submit(spend()) for _ in range(300)]
    store.close()
    assert [future.result().value for future in futures] == list(range(1, 301))
    with pytest.raises(UnavailableError, match="closed") as caught:
        store.submit(spend()).result()
    assert not caught.value.maybe_persisted
    store.close()


def test_store_that_is_closed_cannot_be_read(database: Database, clock: FrozenSystem) -> None:
    store = database.open(clock=clock)
    store.close()
    with pytest.raises(UnavailableError, match="closed"):
        store.queries.control()


@pytest.mark.case(55, 65, 100)
def test_two_stores_on_one_database_make_one_sequence(database: Database, clock: FrozenSystem) -> None:
    if not database.survives:
        pytest.skip("nobody else can open this database")
    with closing(database.open(clock=clock)) as one, closing(database.open(clock=clock)) as other:
        with ThreadPoolExecutor(8) as pool:
            stores = [(one, other)[k % 2] for k in range(8)]
            list(pool.map(lambda store: [store.submit(spend()).result() for _ in range(25)], stores))
        assert totals(one) == totals(other) == list(range(1, 201))
        assert settled(one) == 200


# faults: each commit failing "not persisted" and "persisted"


@pytest.fixture
def backend(database: Database, clock: FrozenSystem) -> Iterator[FailingBackend]:
    """What the lane runs on, made to fail on command."""
    with database.backend(clock=clock) as bare:
        yield FailingBackend(bare)


@pytest.fixture
def lane(backend: FailingBackend) -> Iterator[Lane]:
    """A lane over the backend that fails on command."""
    with closing(Lane(backend, lambda: None)) as opened:
        yield opened


def total_of(lane: Lane) -> object:
    """What was settled, by a step that adds nothing."""
    return lane.submit(spend(0)).result().value


@pytest.mark.case(92)
def test_failure_before_the_commit_leaves_nothing_and_the_lane_goes_on(lane: Lane, backend: FailingBackend) -> None:
    assert lane.submit(spend()).result().value == 1
    backend.before = UnavailableError("full")
    with pytest.raises(UnavailableError, match="full") as caught:
        lane.submit(spend()).result()
    assert not caught.value.maybe_persisted
    assert total_of(lane) == 1


@pytest.mark.case(92)
def test_failure_after_the_commit_is_not_called_a_failure_and_stops_the_lane(
    lane: Lane, backend: FailingBackend
) -> None:
    backend.after = StoreError("the sync failed", maybe_persisted=True)
    with pytest.raises(StoreError, match="the sync failed") as caught:
        lane.submit(spend()).result()
    assert caught.value.maybe_persisted
    with pytest.raises(UnavailableError, match="until it is opened again: the sync failed") as refused:
        lane.submit(spend()).result()
    assert not refused.value.maybe_persisted
    lane.close()
    with closing(Lane(backend, lambda: None)) as again:
        assert total_of(again) == 1


def test_failure_while_resting_stops_the_lane(lane: Lane, backend: FailingBackend) -> None:
    backend.resting = StoreError("the checkpoint failed")
    assert lane.submit(spend()).result().value == 1
    lane.submit(spend()).exception()
    with pytest.raises(UnavailableError, match="the checkpoint failed"):
        lane.submit(spend()).result()


def test_caller_that_ran_its_step_goes_on_before_the_backend_rests(lane: Lane, backend: FailingBackend) -> None:
    backend.resting = StoreError("the checkpoint failed")
    assert [lane.carry_out(spend()).result().value for _ in range(3)] == [1, 2, 3]
    lane.rest()
    assert "checkpoint failed" in str(lane.carry_out(spend()).exception())
    lane.rest()


def test_fault_of_unknown_origin_is_tried_step_by_step(backend: FailingBackend) -> None:
    entered, released = Event(), Event()

    def hold(_: Facts, __: Instant) -> tuple[StepAnswer[object], Changes]:
        entered.set()
        released.wait()
        backend.before = ValueError("some row")
        return StepAnswer(allow()), Changes()

    with closing(Lane(backend, lambda: None)) as lane:
        held = lane.submit(ScriptedStep([], hold))
        entered.wait()
        futures = [lane.submit(spend()) for _ in range(5)]
        released.set()
        held.result()
        assert [future.result().value for future in futures] == [1, 2, 3, 4, 5]


def test_batch_that_finds_the_database_locked_is_told_so_at_once(backend: FailingBackend) -> None:
    entered, released = Event(), Event()

    def hold(_: Facts, __: Instant) -> tuple[StepAnswer[object], Changes]:
        entered.set()
        released.wait()
        backend.before = UnavailableError("locked")
        return StepAnswer(allow()), Changes()

    with closing(Lane(backend, lambda: None)) as lane:
        held = lane.submit(ScriptedStep([], hold))
        entered.wait()
        futures = [lane.submit(spend()) for _ in range(5)]
        released.set()
        held.result()
        assert [str(future.exception()) for future in futures] == ["locked"] * 5
        assert len({id(future.exception()) for future in futures}) == 5
        assert total_of(lane) == 0


# the anchor


def test_head_is_kept_outside_when_opened_on_demand_and_when_closed(database: Database, clock: FrozenSystem) -> None:
    anchor = MemoryAnchor()
    store = database.open(clock=clock, anchor=anchor)
    assert [head.size for head in anchor.heads] == [0]
    store.submit(spend()).result()
    store.anchor_now()
    assert anchor.heads[-1].size == 1
    futures: list[Future[StepAnswer[object]]] = [store.submit(spend()) for _ in range(5)]
    store.close()
    assert all(future.done() for future in futures)
    assert anchor.heads[-1].size == 6
    sizes = [head.size for head in anchor.heads]
    assert sizes == sorted(set(sizes))


def test_head_is_kept_outside_soon_after_a_commit(database: Database, clock: FrozenSystem) -> None:
    anchor = MemoryAnchor()
    with closing(database.open(clock=clock, anchor=anchor)) as store:
        anchor.kept.clear()
        store.submit(spend()).result()
        assert anchor.kept.wait(PATIENCE_SECONDS)
        head = anchor.heads[-1]
        assert (head.epoch, head.size) == (1, 1)
        assert head.root == Frontier.from_bytes(store.queries.control().frontier).root()


def test_no_open_call_is_lost_from_the_index_between_batches(store: Store) -> None:
    for number in range(20):
        store.submit(write(call(f"adm_{number:02}"))).result()
    for number in range(0, 20, 2):
        store.submit(write(call(f"adm_{number:02}", state=CallState.DONE))).result()

    def script(facts: Facts, _: Instant) -> tuple[StepAnswer[object], Changes]:
        found = [row.admission_id for row in facts.find(OpenCalls((TENANT,))) if isinstance(row, CallRow)]
        return StepAnswer(allow(), found), Changes()

    expected = [f"adm_{number:02}" for number in range(1, 20, 2)]
    assert store.submit(ScriptedStep([OpenCalls((TENANT,))], script)).result().value == expected
    assert [row.admission_id for row in store.queries.open_calls([TENANT])] == expected


def test_row_that_is_taken_out_is_gone_for_good_and_for_the_steps_after_it(store: Store) -> None:
    kept, over = session("kept"), session("over")
    store.submit(write(kept, over)).result()
    refs = [Ref(SessionRow, ("", name)) for name in ("kept", "over")]
    with lane_held(store):
        answers = [store.submit(step) for step in (take_out(over), take_out(over, kept), take_out(over))]
    assert [answer.result().value for answer in answers] == [1, 1, 0]
    assert store.queries.rows(refs) == (None, None)
    assert store.submit(take_out(kept)).result().value == 0
    assert store.queries.rows(refs) == (None, None)


def test_row_that_is_taken_out_and_put_in_again_in_one_batch_stands_as_it_was_put_in_last(store: Store) -> None:
    old, new = session("one", expires_at=1), session("one", expires_at=2)
    other = session("one", tenant="other")
    store.submit(write(old, other)).result()
    with lane_held(store):
        answers = [store.submit(step) for step in (take_out(old), write(new), take_out(session("two")))]
    for answer in answers:
        answer.result()
    refs = [Ref(SessionRow, (tenant, "one")) for tenant in ("", "other")]
    assert store.queries.rows(refs) == (new, other)
    with lane_held(store):
        answers = [store.submit(step) for step in (write(old), take_out(new))]
    assert [answer.result().decision.is_allowed for answer in answers] == [True, True]
    assert store.queries.rows(refs) == (None, other)


def test_sessions_are_due_to_be_forgotten_once_their_time_is_over(store: Store) -> None:
    rows = (session("a", expires_at=10), session("b", expires_at=11))
    store.submit(write(*rows)).result()
    assert store.queries.due(Instant(10_999)).sessions == (rows[0],)
