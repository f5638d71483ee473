"""The working set of a batch: only what was named, and always with what the batch itself changed."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from leasehold.decide.batch import decide_batch
from leasehold.decide.facts import (
    INDEXES,
    ActiveStops,
    AllOpenCalls,
    Changes,
    Facts,
    Index,
    Need,
    OpenCalls,
    Ref,
    RequestsOfCall,
    StepAnswer,
    key_of,
)
from leasehold.decide.rows import TABLES, CallRow, ControlRow, KeyRow, RequestRow, Row, StopRow
from leasehold.errors import StoreError, TransitionError
from leasehold.ledger.entry import Entry, EntryKind
from leasehold.model.call import CallState
from leasehold.model.decision import allow
from leasehold.model.instant import Instant

CONTROL = ControlRow(
    log="log", issuer="i", epoch=1, epoch_since=0, policy="p", policy_since=0, last_time_ms=0, size=7, frontier=b""
)


def call(name: str, state: str = CallState.ADMITTED, tenant: str = "acme") -> CallRow:
    return CallRow(tenant=tenant, admission_id=name, run_id="r", state=state, finish_by=1, late="", body=b"")


def stop(scope: str, is_active: int = 1, tenant: str = "acme") -> StopRow:
    return StopRow(
        tenant=tenant, scope=scope, kind="hold", is_active=is_active, recorded=1, at=1, by="eva", reason="because"
    )


def request(name: str, digest: str, tenant: str = "acme") -> RequestRow:
    return RequestRow(
        tenant=tenant,
        request_id=name,
        run_id="r",
        kind="call",
        state="pending",
        attempt=1,
        answer_by=1,
        use_by=1,
        recorded=1,
        call_digest=digest,
        card_digest="c",
        answers=b"[]",
        used_by="",
        ending="",
        bond=b"{}",
        revoked=0,
        held=0,
    )


def test_a_fact_that_was_not_named_is_a_fault_of_the_step() -> None:
    facts = Facts(CONTROL)
    with pytest.raises(TransitionError, match=r"CallRow .* was not named"):
        facts.get(CallRow, "acme", "a")
    with pytest.raises(TransitionError, match="was not named"):
        facts.find(OpenCalls(("acme",)))


def test_a_row_that_was_named_and_is_not_there_is_none() -> None:
    facts = Facts(CONTROL)
    facts.load(Ref(CallRow, ("acme", "a")), None)
    assert facts.get(CallRow, "acme", "a") is None


def test_a_row_that_is_sought_is_read_once_and_seen_as_the_batch_left_it() -> None:
    facts, asked = Facts(CONTROL), []
    assert facts.seek(CallRow, "acme", "a") is None

    def read(ref: Ref) -> CallRow:
        asked.append(ref.key)
        return call("a")

    facts.reader = read
    assert [facts.seek(CallRow, "acme", "a") for _ in range(2)] == [call("a")] * 2
    assert asked == [("acme", "a")]
    facts.apply(Changes(rows=(call("a", CallState.DONE),)))
    assert facts.seek(CallRow, "acme", "a") == call("a", CallState.DONE)
    assert facts.now == CONTROL.last_time_ms


def test_a_database_that_fails_while_a_row_is_sought_ends_the_batch() -> None:
    def fail(_: Ref) -> None:
        raise StoreError("the disk is gone")

    class Seek:
        policy = None
        needs_clock = False

        def keys(self) -> list[Need]:
            return []

        def decide(self, facts: Facts, now: Instant) -> tuple[StepAnswer[object], Changes]:
            return StepAnswer(allow(), facts.seek(CallRow, "acme", "a")), Changes()

    facts = Facts(CONTROL)
    facts.reader = fail
    with pytest.raises(StoreError, match="the disk is gone"):
        decide_batch([Seek()], facts, Instant(1))


@pytest.mark.invariant("I10")
def test_a_row_is_found_only_under_its_own_tenant_and_table() -> None:
    facts = Facts(CONTROL)
    facts.load(Ref(CallRow, ("acme", "a")), call("a"))
    with pytest.raises(TransitionError):
        facts.get(CallRow, "globex", "a")
    with pytest.raises(TransitionError):
        facts.get(RequestRow, "acme", "a")


def test_rows_of_an_index_are_in_the_order_of_their_keys_and_can_be_asked_for_by_key() -> None:
    facts = Facts(CONTROL)
    facts.load_index(OpenCalls(("acme",)), [call("b"), call("a")])
    assert facts.find(OpenCalls(("acme",))) == (call("a"), call("b"))
    assert facts.get(CallRow, "acme", "a") == call("a")


def test_a_row_that_was_loaded_twice_is_one_row() -> None:
    facts = Facts(CONTROL)
    facts.load(Ref(CallRow, ("acme", "a")), call("a"))
    facts.load_index(OpenCalls(("acme",)), [call("a")])
    facts.apply(Changes(rows=(call("a", CallState.DONE),)))
    assert facts.find(OpenCalls(("acme",))) == ()
    assert facts.get(CallRow, "acme", "a") == call("a", CallState.DONE)


def test_a_change_of_a_row_that_no_index_holds_is_seen_by_key() -> None:
    facts = Facts(CONTROL)
    row = KeyRow(tenant="acme", run_id="r", action="a.b", key="k", digest="d", admission_id="x", state="admitted")
    facts.apply(Changes(rows=(row,)))
    assert facts.get(KeyRow, "acme", "r", "a.b", "k") == row


def test_the_control_row_and_the_next_index_move_with_the_changes() -> None:
    facts = Facts(CONTROL)
    later = ControlRow(
        log="log", issuer="i", epoch=2, epoch_since=0, policy="q", policy_since=0, last_time_ms=0, size=7, frontier=b""
    )
    facts.apply(Changes(rows=(later,), entries=(Entry(kind=EntryKind.EPOCH_RAISED), Entry(kind=EntryKind.HELD))))
    assert facts.control == later
    assert facts.next_index == 9


CALLS = st.builds(
    call, st.sampled_from("ab"), st.sampled_from([CallState.ADMITTED, CallState.DONE]), st.sampled_from(["acme", "x"])
)
STOPS = st.builds(stop, st.sampled_from(["all", "tool:desk"]), st.integers(0, 1), st.sampled_from(["acme", ""]))
REQUESTS = st.builds(request, st.sampled_from("ab"), st.sampled_from(["", "d", "e"]), st.sampled_from(["acme", "x"]))
ROWS = st.lists(st.one_of(CALLS, STOPS, REQUESTS), max_size=6)
BUCKETS: list[Index] = [
    OpenCalls(("acme",)),
    OpenCalls(("x",)),
    AllOpenCalls(()),
    ActiveStops(("acme",)),
    ActiveStops(("",)),
    RequestsOfCall(("acme", "d")),
    RequestsOfCall(("x", "e")),
]


def in_bucket(rows: Sequence[Row], index: Index) -> tuple[Row, ...]:
    """What stands in a bucket, looked up row by row; of rows of one key the last counts."""
    newest = {(type(row), key_of(row)): row for row in rows}
    members = [row for row in newest.values() if isinstance(row, index.ROW) and index.bucket_of(row) == index.bucket]
    return tuple(sorted(members, key=key_of))


@given(stored=ROWS, changes=st.lists(ROWS, max_size=4))
def test_an_index_shows_the_stored_rows_with_all_changes_of_the_batch(
    stored: list[Row], changes: list[list[Row]]
) -> None:
    facts = Facts(CONTROL)
    for index in BUCKETS:
        facts.load_index(index, in_bucket(stored, index))
    newest = {(type(row), key_of(row)): row for row in stored}
    for (row_type, key), row in newest.items():
        facts.load(Ref(row_type, key), row)
    so_far = list(stored)
    for rows in changes:
        facts.apply(Changes(rows=tuple(rows)))
        so_far += rows
        for index in BUCKETS:
            assert facts.find(index) == in_bucket(so_far, index)


@pytest.mark.parametrize("index", INDEXES, ids=lambda index: index.__name__)
def test_an_index_holds_rows_of_its_own_table_only(index: type[Index]) -> None:
    for row in (call("a"), stop("all"), request("r", "d")):
        assert (index.bucket_of(row) is not None) == isinstance(row, index.ROW)


def test_a_bare_index_has_no_buckets() -> None:
    with pytest.raises(NotImplementedError):
        Index.bucket_of(call("a"))


@pytest.mark.parametrize("table", TABLES, ids=lambda table: table.__name__)
@pytest.mark.invariant("I10")
def test_the_tenant_is_the_first_part_of_every_key(table: type[Row]) -> None:
    assert table.KEY[0] == "tenant" or table is ControlRow
    fields = {name: f"<{name}>" for name in table.__struct_fields__}
    assert key_of(table(**fields)) == tuple(f"<{name}>" for name in table.KEY)
