"""What the read side of every store must answer. Used like `leasehold.testing.store_suite`."""

# ruff: noqa: S101 - a suite of tests
from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import closing

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from leasehold.decide.facts import Changes, Facts, Ref, StepAnswer, key_of
from leasehold.decide.rows import (
    AUTHORITY_WIDE,
    TABLES,
    BreakerRow,
    CardRow,
    ClientKeyRow,
    ControlRow,
    DocumentRow,
    GlassRow,
    PersonRow,
    ProposalRow,
    RequestRow,
    Row,
    StopRow,
)
from leasehold.errors import VerificationError
from leasehold.ledger.entry import Entry, EntryKind, decode_entry
from leasehold.ledger.extract import STOPS, entries_of_run
from leasehold.model.call import CallState
from leasehold.model.decision import allow
from leasehold.model.instant import Instant
from leasehold.model.request import RequestState
from leasehold.store.protocol import Store
from leasehold.store.queries import MAX_LISTED, LedgerQuery, Tally
from leasehold.testing.clock import FrozenSystem
from leasehold.testing.store_steps import (
    TENANT,
    Database,
    ScriptedStep,
    account,
    call,
    delivery,
    lease,
    request,
    run,
    write,
)

OTHER = "other"


@pytest.fixture
def clock() -> FrozenSystem:
    """The clock of the store under test."""
    return FrozenSystem()


@pytest.fixture
def store(database: Database, clock: FrozenSystem) -> Iterator[Store]:
    """The database, open."""
    with closing(database.open(clock=clock)) as opened:
        yield opened


def fields(row_type: type[Row]) -> st.SearchStrategy[Row]:
    """Any row of a type that the schema takes. No text holds a NUL: PostgreSQL keeps none, and no step writes one."""
    characters = st.characters(exclude_characters="\x00", codec="utf-8")
    names = st.text(characters, min_size=1, max_size=12)
    small = st.integers(0, 1)
    special: dict[str, st.SearchStrategy[object]] = dict.fromkeys((*row_type.KEY, "person", "kid"), names)
    special |= dict.fromkeys(("revoked", "held", "is_active", "is_done", "is_parked"), small)
    special["attempt"] = st.integers(1, 9)
    if row_type is BreakerRow:
        special |= dict.fromkeys(("settled", "asked"), st.text("01", max_size=12))
    kinds: dict[object, st.SearchStrategy[object]] = {
        str: st.text(characters, max_size=12),
        int: st.integers(0, 2**53 - 1),
        bytes: st.binary(max_size=40),
    }
    columns = [special.get(field.name, kinds[field.type]) for field in msgspec.structs.fields(row_type)]
    return st.tuples(*columns).map(lambda values: msgspec.convert(values, row_type))


# rows


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow], max_examples=60)
@given(rows=st.lists(st.sampled_from([kind for kind in TABLES if kind is not ControlRow]).flatmap(fields), max_size=8))
def test_every_row_comes_back_as_it_was_written(store: Store, rows: list[Row]) -> None:
    tenant = f"tenant {store.queries.control().size}"
    rows = [msgspec.structs.replace(row, tenant=tenant) for row in rows]
    last = {(type(row), key_of(row)): row for row in rows if not row.IMMUTABLE}
    first = {(type(row), key_of(row)): row for row in reversed(rows) if row.IMMUTABLE}
    expected = {**last, **first}
    for row in rows:
        store.submit(write(row)).result()
    refs = [Ref(row_type, key) for row_type, key in expected]

    def script(facts: Facts, _: Instant) -> tuple[StepAnswer[object], Changes]:
        return StepAnswer(allow(), [facts.get(ref.row_type, *ref.key) for ref in refs]), Changes()

    assert store.submit(ScriptedStep(refs, script)).result().value == list(expected.values())
    assert store.queries.rows(refs) == tuple(expected.values())


def test_rows_answer_none_for_what_is_not_there(store: Store) -> None:
    store.submit(write(run())).result()
    refs = [Ref(type(run()), (TENANT, name)) for name in ("run_0", "run_1", "run_0")]
    assert store.queries.rows(refs) == (None, run(), None)
    assert store.queries.rows([]) == ()


def test_documents_are_answered_by_tenant_and_id(store: Store) -> None:
    store.submit(write(DocumentRow(tenant=TENANT, id="doc", body=b"text"))).result()
    assert [store.queries.document(TENANT, "doc") for _ in range(2)] == [b"text", b"text"]
    assert store.queries.document(OTHER, "doc") is None
    assert store.queries.document(TENANT, "no") is None


def test_erased_card_is_answered_as_none(store: Store) -> None:
    store.submit(
        write(CardRow(tenant=TENANT, digest="a", body=b"card"), CardRow(tenant=TENANT, digest="b", body=b"other"))
    ).result()
    store.submit(write(CardRow(tenant=TENANT, digest="b", body=b""))).result()
    assert [store.queries.card(TENANT, digest) for digest in "abc"] == [b"card", None, None]


@pytest.mark.invariant("I10")
def test_cards_that_may_be_erased_are_those_of_finished_runs_that_are_still_kept(store: Store) -> None:
    def asked(number: int, run_id: str, tenant: str = TENANT) -> tuple[RequestRow, CardRow]:
        name = f"req_{number}"
        row = msgspec.structs.replace(
            request(), tenant=tenant, request_id=name, run_id=run_id, card_digest=name, state="used"
        )
        return row, CardRow(tenant=tenant, digest=name, body=b"card")

    over = [
        msgspec.structs.replace(run(), tenant=tenant, run_id="run_o", state="finished") for tenant in (TENANT, OTHER)
    ]
    rows = [asked(1, "run_o"), asked(2, "run_o"), asked(3, "run_1"), asked(4, "run_o"), asked(5, "run_o", OTHER)]
    store.submit(write(run(), *over, *(row for pair in rows for row in pair))).result()
    store.submit(write(CardRow(tenant=TENANT, digest="req_2", body=b""))).result()
    queries = store.queries
    assert [row.request_id for row in queries.kept_cards(TENANT)] == ["req_1", "req_4"]
    assert [row.request_id for row in queries.kept_cards(TENANT, limit=1)] == ["req_1"]
    assert [row.request_id for row in queries.kept_cards(TENANT, after="req_1")] == ["req_4"]
    assert [row.request_id for row in queries.kept_cards(OTHER)] == ["req_5"]


# by tenant


def test_api_keys_that_were_not_removed_are_listed_by_client_and_id(store: Store) -> None:
    made = [client_key("k2", "a"), client_key("k1", "a"), client_key("k3", "A"), client_key("k4", "a", "removed")]
    store.submit(write(*made)).result()
    assert [row.key_id for row in store.queries.client_keys()] == ["k3", "k1", "k2"]
    assert store.queries.client_keys()[0] == made[2]
    assert [row.key_id for row in store.queries.keys_of_client("a")] == ["k1", "k2", "k4"]
    assert store.queries.keys_of_client("b") == ()


@pytest.mark.case(57)
@pytest.mark.invariant("I10")
def test_nothing_of_another_tenant_is_answered(store: Store) -> None:
    mine = (run(), request(), lease(), call(), account(), stop(), person(), delivery())
    theirs = tuple(msgspec.structs.replace(row, tenant=OTHER) for row in mine)
    store.submit(write(*mine, *theirs)).result()
    queries = store.queries
    for listed in (
        queries.runs([TENANT]),
        queries.open_runs([TENANT]),
        queries.leases([TENANT]),
        queries.pending_requests([TENANT]),
        queries.requests_of_run(TENANT, "run_1"),
        queries.leases_of_run(TENANT, "run_1"),
        queries.leases_of_request(TENANT, "req_1"),
        queries.accounts(TENANT, "run_1"),
        queries.open_calls([TENANT]),
        queries.stops([TENANT]),
        queries.people([TENANT]),
        queries.deliveries([TENANT]),
        queries.deliveries_about(TENANT, "hold all", "hook"),
    ):
        assert [row.tenant for row in listed] == [TENANT]
    assert (queries.runs([]), queries.open_calls([]), queries.people([])) == ((), (), ())
    assert sorted(row.tenant for row in queries.runs([TENANT, OTHER])) == [TENANT, OTHER]
    assert queries.tenants() == (TENANT, OTHER)


def test_stops_and_notices_of_every_tenant_are_found_also_where_nothing_ever_ran(store: Store) -> None:
    stops = (stop(tenant=""), stop(), stop(tenant=OTHER))
    notices = (delivery(tenant="", entry=1), delivery(entry=2), delivery(tenant=OTHER, entry=3))
    store.submit(write(*stops, *notices)).result()
    assert store.queries.tenants() == ()
    assert sorted(row.tenant for row in store.queries.stops(None)) == sorted(("", TENANT, OTHER))
    assert store.queries.deliveries(None) == notices[::-1]
    assert store.queries.deliveries(None, limit=1) == notices[2:]


@pytest.mark.case(57)
@pytest.mark.invariant("I10")
def test_id_is_located_only_in_the_tenants_one_may_see(store: Store) -> None:
    store.submit(write(run(), request(), lease())).result()
    for row_id, row in (("run_1", run()), ("req_1", request()), ("lease_1", lease())):
        assert store.queries.locate(row_id, [OTHER, TENANT]) == row
        assert store.queries.locate(row_id, [OTHER]) is None
        assert store.queries.locate(row_id, []) is None
    assert store.queries.locate("run_", [TENANT]) is None


def stop(**changes: object) -> StopRow:
    """A hold of one tool."""
    row = StopRow(tenant=TENANT, scope="tool:t", kind="hold", is_active=1, recorded=0, at=0, by="user:ana", reason="")
    return msgspec.structs.replace(row, **changes)


def client_key(key_id: str, client: str, state: str = "active") -> ClientKeyRow:
    """An API key."""
    return ClientKeyRow(
        tenant="", key_id=key_id, client=client, digest=bytes(range(32)), state=state, made_at=1, expires_at=2
    )


def person() -> PersonRow:
    """A person with a key."""
    return PersonRow(tenant=TENANT, person="user:ana", public_key=b"key", state="active", recorded=0)


# listings


def test_runs_and_leases_are_listed_newest_first_and_page_by_page(store: Store) -> None:
    for number in range(7):
        tenant = (TENANT, OTHER)[number % 2]
        rows = (
            run(f"run_{number}", tenant=tenant, recorded=number),
            lease(f"lease_{number}", tenant=tenant, recorded=number),
        )
        store.submit(write(*rows)).result()
    both = [TENANT, OTHER]
    assert [row.recorded for row in store.queries.runs(both, limit=3)] == [6, 5, 4]
    assert [row.recorded for row in store.queries.runs(both, before=4, limit=3)] == [3, 2, 1]
    assert [row.recorded for row in store.queries.leases(both, before=1)] == [0]
    assert [row.recorded for row in store.queries.leases([OTHER])] == [5, 3, 1]
    assert store.queries.runs(both, limit=0) == ()


def test_somebodys_open_runs_in_an_environment_are_listed_newest_first(store: Store) -> None:
    runs = (
        run("run_1", recorded=1),
        run("run_2", recorded=2, state="finished"),
        run("run_3", recorded=3, environment="dev"),
        run("run_4", recorded=4, requested_by="user:ben"),
        run("run_5", recorded=5, tenant=OTHER),
    )
    store.submit(write(*runs, *(lease(f"lease_{number}", recorded=number) for number in range(3)))).result()
    queries = store.queries
    assert [row.recorded for row in queries.open_runs_for("user:ana", "prod")] == [5, 1]
    assert [row.recorded for row in queries.open_runs_for("user:ana", "prod", limit=1)] == [5]
    assert queries.open_runs_for("user:eva", "prod") == queries.open_runs_for("user:ana", "prod", limit=0) == ()
    assert [row.recorded for row in queries.leases_of_run(TENANT, "run_1", limit=2)] == [2, 1]


def test_children_are_listed_under_their_parent(store: Store) -> None:
    rows = (run(), run("run_2", parent_run="run_1", recorded=2), run("run_3", parent_run="run_1", recorded=1))
    store.submit(write(*rows)).result()
    assert [row.run_id for row in store.queries.children(TENANT, "run_1")] == ["run_3", "run_2"]
    assert store.queries.children(TENANT, "run_2") == store.queries.children(TENANT, "") == ()


def test_listings_are_complete_however_long(store: Store) -> None:
    calls = [call(f"adm_{number:05}") for number in range(MAX_LISTED + 200)]
    store.submit(write(*calls)).result()
    assert list(store.queries.open_calls([TENANT])) == calls


def test_what_has_not_ended_is_counted_over_all_tenants(store: Store) -> None:
    assert store.queries.tally() == Tally(
        open_runs=0, pending_requests=0, active_leases=0, open_calls=0, waiting_notices=0
    )
    mine = (run(), request(), lease(), call(), delivery())
    theirs = tuple(msgspec.structs.replace(row, tenant=OTHER) for row in mine)
    over = (
        *(run("run_2", state="finished"), request("req_2", state=RequestState.DENIED)),
        *(lease("lease_2", state="expired"), call("adm_2", state="done")),
    )
    store.submit(write(*mine, *theirs, *over)).result()
    assert store.queries.tally() == Tally(
        open_runs=2, pending_requests=2, active_leases=2, open_calls=2, waiting_notices=2
    )


def test_held_are_those_that_are_held_each_by_itself_and_are_not_over(store: Store) -> None:
    rows = (
        *(run("run_1", held=1), run("run_2"), run("run_3", held=1, state="finished")),
        *(request("req_1", held=1), request("req_2"), request("req_3", held=1, state=RequestState.DENIED)),
        *(lease("lease_1", held=1), lease("lease_2"), lease("lease_3", held=1, state="revoked")),
        run("run_4", tenant=OTHER, held=1),
    )
    store.submit(write(*rows)).result()
    assert list(store.queries.held([TENANT])) == [rows[0], rows[3], rows[6]]
    assert store.queries.held([]) == ()


def test_notices_are_found_when_they_are_due_and_by_what_they_are_about(store: Store) -> None:
    rows = (
        delivery("ntc_c", entry=3, due_ms=30),
        delivery("ntc_a", entry=1, due_ms=20),
        delivery("ntc_b", entry=2, due_ms=10, channel="other"),
        delivery("ntc_d", entry=4, due_ms=1, state="delivered", subject="hold tool:x"),
        delivery("ntc_e", tenant=OTHER, entry=5, due_ms=15),
    )
    store.submit(write(*rows)).result()
    third, first, second, done, theirs = rows
    queries = store.queries
    assert queries.undelivered(Instant(20)) == (second, theirs, first)
    assert queries.undelivered(Instant(30), limit=1) == (second,)
    assert queries.undelivered(Instant(30), but_not=["hook"]) == (second,)
    assert queries.deliveries([TENANT]) == (done, third, second, first)
    assert queries.deliveries([TENANT, OTHER], limit=2) == (theirs, done)
    assert queries.deliveries_about(TENANT, "hold all", "hook") == (first, third)
    assert queries.deliveries_about(TENANT, "hold all", "nobody") == ()


def test_glasses_are_all_that_were_opened_the_newest_first(store: Store) -> None:
    rows = [
        GlassRow(
            tenant=tenant,
            glass_id=f"glass_{number}",
            state="open",
            opener="user:ana",
            second="user:ben",
            route="desk",
            ends_at=1,
            review_by=0,
            reviewed_by="",
            recorded=number,
        )
        for number, tenant in enumerate((TENANT, OTHER, TENANT))
    ]
    store.submit(write(*rows)).result()
    assert list(store.queries.glasses([TENANT])) == [rows[2], rows[0]]
    assert store.queries.glasses([]) == ()
    assert list(store.queries.glasses(None)) == rows[::-1]
    assert store.queries.wishes() == ()
    waits = msgspec.structs.replace(rows[1], state="proposed")
    store.submit(write(waits)).result()
    assert store.queries.wishes() == (waits,)


def test_proposals_are_all_the_newest_first_and_due_once_their_time_has_come(store: Store) -> None:
    rows = [
        ProposalRow(
            tenant=AUTHORITY_WIDE,
            policy=f"sha256:{number}",
            proposal_id=f"prop_{number}",
            state=state,
            replaces="sha256:old",
            widening="sha256:what",
            person="user:ana",
            key_id="key",
            proposed_at=1,
            answer_by=answer_by,
            recorded=number,
        )
        for number, (state, answer_by) in enumerate((("pending", 10), ("pending", 11), ("refused", 9)))
    ]
    store.submit(write(*rows)).result()
    assert list(store.queries.proposals()) == rows[::-1]
    assert store.queries.due(Instant(10_999)).proposals == (rows[0],)


def test_due_is_what_stands_over_past_its_time_and_nothing_else(store: Store) -> None:
    late, soon = {"expires_at": 10}, {"expires_at": 11}
    rows = (
        *(run("run_1", **late), run("run_2", **soon), run("run_3", state="finished", **late)),
        *(lease("lease_1", **late), lease("lease_2", **soon), lease("lease_3", state="expired", **late)),
        *(call("adm_1", finish_by=10), call("adm_2", finish_by=11), call("adm_3", state=CallState.DONE, finish_by=1)),
        *(request("req_1", answer_by=10, use_by=5), request("req_2", answer_by=11)),
        request("req_3", state=RequestState.APPROVED, answer_by=1, use_by=10),
        request("req_4", state=RequestState.APPROVED, answer_by=1, use_by=11),
        request("req_5", state=RequestState.DENIED, answer_by=1, use_by=1),
    )
    store.submit(write(*rows)).result()
    due = store.queries.due(Instant(10_999))
    assert [row.run_id for row in due.runs] == ["run_1"]
    assert [row.lease_id for row in due.leases] == ["lease_1"]
    assert [row.admission_id for row in due.calls] == ["adm_1"]
    assert [row.request_id for row in due.unanswered] == ["req_1"]
    assert [row.request_id for row in due.unused] == ["req_3"]


# the ledger


def test_ledger_is_read_by_range_as_far_as_it_goes(store: Store) -> None:
    store.submit(write(entries=5)).result()
    assert [line.index for line in store.queries.ledger(2, 4)] == [2, 3]
    assert [line.index for line in store.queries.ledger(4, 9)] == [4]
    assert store.queries.ledger(5, 9) == store.queries.ledger(3, 3) == ()


def test_tree_has_no_node_that_is_not_complete(store: Store) -> None:
    store.submit(write(entries=5)).result()
    assert [len(digest) for digest in store.queries.nodes([(2, 0), (0, 4), (1, 1)])] == [32, 32, 32]
    assert store.queries.nodes([(1, 1), (1, 0)]) == store.queries.nodes([(1, 0), (1, 1)])[::-1]
    for level, position in ((0, 5), (1, 2), (2, 1), (3, 0)):
        with pytest.raises(VerificationError):
            store.queries.nodes([(0, 0), (level, position)])


_WORDS = {
    "person": ("", "user:ana", "user:ben"),
    "agent": ("", "bot"),
    "run": ("", "run_1", "run_2"),
    "lease": ("", "lease_1", "lease_2"),
    "capability": ("", "sha256:c"),
    "action": ("", "ticket.close", "ticket.update"),
    "key": ("", "k"),
    "admission": ("", "adm_1"),
    "decision": ("", "allow", "deny"),
}
_TENANTS = ("", TENANT, OTHER)
_values = st.sampled_from([1, 2, "1", True, "x"])
_attributes = st.dictionaries(st.sampled_from("ab"), st.lists(_values, min_size=1, max_size=3).map(tuple), max_size=2)
_entries = st.builds(
    Entry,
    kind=st.just(EntryKind.CALL_ADMITTED),
    tenant=st.sampled_from(_TENANTS),
    attributes=_attributes,
    **{"requested_by" if name == "person" else name: st.sampled_from(words) for name, words in _WORDS.items()},
)
_times = st.none() | st.integers(0, 40)
_queries = st.fixed_dictionaries(
    {
        "tenants": st.none() | st.lists(st.sampled_from(_TENANTS), unique=True),
        "attribute": st.none() | st.tuples(st.sampled_from("ab"), _values),
        "since": _times,
        "until": _times,
        "before": st.none() | st.integers(0, 60),
        "limit": st.sampled_from([0, 1, 3, 100]),
        **{name: st.sampled_from(("", *words)) for name, words in _WORDS.items()},
    }
)


@pytest.mark.requirement("C8", "B4")
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow], max_examples=80)
@given(
    entries=st.lists(_entries, max_size=4), pause=st.integers(0, 3), asked=st.lists(_queries, min_size=1, max_size=4)
)
def test_search_answers_exactly_the_entries_that_meet_the_query(
    store: Store, clock: FrozenSystem, entries: list[Entry], pause: int, asked: list[dict[str, object]]
) -> None:
    start = FrozenSystem().now()
    clock.advance(seconds=pause)
    store.submit(ScriptedStep([], lambda _, __: (StepAnswer(allow()), Changes((), tuple(entries))))).result()
    known = [decode_entry(line.body) for line in store.queries.ledger(0, store.queries.control().size)]
    for given_query in asked:
        times = {
            name: None if given_query[name] is None else Instant(start + 1000 * given_query[name])  # type: ignore[operator]  # drawn as integers
            for name in ("since", "until")
        }
        query = msgspec.convert({**given_query, **times}, LedgerQuery)
        assert [line.index for line in store.queries.search(query)] == _expected(known, query)


def _expected(known: Sequence[Entry], query: LedgerQuery) -> list[int]:
    """What a reader of the whole ledger would pick."""
    found = [entry for entry in known if _meets(entry, query)]
    found.sort(key=lambda entry: (entry.time_ms, entry.index), reverse=True)
    if query.before is not None:
        time = next((entry.time_ms for entry in known if entry.index == query.before), 0)
        found = [entry for entry in found if (entry.time_ms, entry.index) < (time, query.before)]
    return [entry.index for entry in found[: query.limit]]


def _meets(entry: Entry, query: LedgerQuery) -> bool:
    named = {"person": entry.requested_by, **{name: getattr(entry, name) for name in _WORDS if name != "person"}}
    if any(getattr(query, name) not in ("", value) for name, value in named.items()):
        return False
    if query.attribute is not None:
        name, wanted = query.attribute
        if not any(type(value) is type(wanted) and value == wanted for value in entry.attributes.get(name, ())):
            return False
    return (
        (query.tenants is None or entry.tenant in query.tenants)
        and (query.since is None or entry.time_ms >= query.since)
        and (query.until is None or entry.time_ms < query.until)
    )


_KINDS = (EntryKind.RUN_STARTED, EntryKind.START_DENIED, EntryKind.CALL_ADMITTED, EntryKind.RUN_FINISHED, *STOPS)
_RUNS = ("", "run_1", "run_2", "run_3")
_SCOPES = ("", "all", "run:run_1", "run:run_2", "agent:bot")
_told = st.builds(
    Entry,
    kind=st.sampled_from(_KINDS),
    tenant=st.sampled_from(_TENANTS),
    run=st.sampled_from(_RUNS),
    parent_run=st.sampled_from(_RUNS),
    agent=st.sampled_from(("", "bot")),
    scope=st.sampled_from(_SCOPES),
).filter(lambda entry: entry.run or entry.kind is not EntryKind.RUN_STARTED)  # whatever starts has an id


@pytest.mark.requirement("L12")
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow], max_examples=80)
@given(entries=st.lists(_told, max_size=12))
def test_account_of_a_run_lacks_nothing_that_the_whole_ledger_tells(store: Store, entries: list[Entry]) -> None:
    begin = store.queries.control().size
    store.submit(ScriptedStep([], lambda _, __: (StepAnswer(allow()), Changes((), tuple(entries))))).result()
    end = store.queries.control().size
    whole = [decode_entry(line.body) for line in store.queries.ledger(begin, end)]
    for run_id in _RUNS[1:]:
        told = [decode_entry(line.body) for line in store.queries.telling(TENANT, run_id, begin, end)]
        assert entries_of_run(told, TENANT, run_id) == entries_of_run(whole, TENANT, run_id)
        assert [entry.index for entry in told] == sorted({entry.index for entry in told})
