"""Steps over facts that a working authority never has: rows that are gone, or that moved on before the step came.

Stores lose rows when they are damaged and sweeps come late. No step may take a missing fact for a good one.
"""

from __future__ import annotations

from collections.abc import Iterable

import pytest
from msgspec.structs import replace

from leasehold.decide.answer import AnswerRequest, Withdraw
from leasehold.decide.batch import CLOCK_BEHIND, decide_batch
from leasehold.decide.documents import decode_admission, decode_lease, decode_request, decode_run
from leasehold.decide.facts import Facts, Ref, Step, StepAnswer
from leasehold.decide.finish import EXPIRED, CloseRequest, EndLease, FinishRun, RetireStop
from leasehold.decide.issue import DrawLease
from leasehold.decide.request import AskLease
from leasehold.decide.retry import Retry
from leasehold.decide.rows import AccountRow, CallRow, KeyRow, LeaseRow, PersonRow, RequestRow, Row, RunRow
from leasehold.decide.settle import ConcludeUnknown, Settle
from leasehold.decide.start import Start
from leasehold.decide.stop import Lift, Stop
from leasehold.decide.voices import KeyVoice
from leasehold.errors import StoreError
from leasehold.ledger.entry import Entry, EntryKind, decode_entry
from leasehold.model.budget import CHILDREN
from leasehold.model.call import Admission, CallState, Outcome, OutcomeStatus
from leasehold.model.decision import Reason
from leasehold.model.lease import HeldLease
from leasehold.model.proof import KeyProof
from leasehold.model.request import Answer, Request, Verdict
from leasehold.model.run import Run
from leasehold.model.scope import Scope
from leasehold.testing.fixtures import key_of_person
from meddling import raw
from stage import AUDIT, BEN, CLOSE, UPDATE, Stage

DONE = Outcome(status=OutcomeStatus.DONE)
NOT_STARTED = Outcome(status=OutcomeStatus.NOT_STARTED)


class Desk:
    """Documents of one lease, one pending call request and one open call, and a lane in miniature to run steps in."""

    def __init__(self, stage: Stage) -> None:
        self.engine = stage.authority.engine
        self.stage = stage
        self.lease: HeldLease = stage.lease(AUDIT | UPDATE | CLOSE)
        self.run: Run = self.engine.run("acme", self.lease.lease.run_id)
        self.request: Request = stage.authority.find_request(stage.ask(self.lease, "ticket.audit"))
        self.admission: Admission = stage.admit(self.lease, "ticket.update", key="a")
        self.policy = self.engine.active_policy()

    def decide(self, step: Step[object], *gone: type[Row], change: Row | None = None) -> tuple[StepAnswer, list[Entry]]:
        """Decide over the stored facts, without the rows of some tables, or with one row changed."""
        queries = self.engine.store.queries
        facts = Facts(queries.control())
        needs = list(step.keys())
        refs = [need for need in needs if isinstance(need, Ref)]
        for ref, row in zip(refs, queries.rows(refs), strict=True):
            is_changed = change is not None and type(change) is ref.row_type
            facts.load(ref, change if is_changed else None if ref.row_type in gone else row)
        for need in needs:
            if not isinstance(need, Ref):
                facts.load_index(need, ())
        batch = decide_batch([step], facts, self.stage.system.now())
        assert not isinstance(batch.answers[0], Exception)
        return batch.answers[0], [decode_entry(body) for body in batch.entries]

    def row(self, row_type: type[Row], *key: str) -> Row:
        found = self.engine.store.queries.rows([Ref(row_type, ("acme", *key))])[0]
        assert found is not None
        return found


@pytest.fixture
def desk(stage: Stage) -> Desk:
    return Desk(stage)


def _steps(desk: Desk) -> Iterable[tuple[Step[object], tuple[type[Row], ...]]]:
    """Steps with the tables whose loss each has to survive."""
    run, request, lease = desk.run, desk.request, desk.lease.lease
    source = desk.engine.request("acme", lease.request_id)
    yield (
        AnswerRequest(
            policy_document=desk.policy,
            run=run,
            request=request,
            answer=Answer(
                person=BEN, verdict=Verdict.APPROVE, answered_at=1, proof=KeyProof(key_id="k", signature="s")
            ),
            card_digest=request.card_digest,
            voice=KeyVoice(person=BEN, public_key=key_of_person(BEN).public().to_bytes()),
        ),
        (RequestRow, RunRow, PersonRow),
    )
    yield Withdraw(run=run, request=request), (RequestRow,)
    yield DrawLease(policy_document=desk.policy, run=run, request=source, lease_id=lease.lease_id), (RequestRow, RunRow)
    yield Retry(run=run, from_attempt=1), (RunRow,)
    yield FinishRun(run=run, why="done"), (RunRow,)
    yield CloseRequest(run=run, request=request), (RequestRow,)
    yield (
        AskLease(policy_document=desk.policy, digester=desk.engine.digester("acme"), run=run, request=source),
        (RunRow,),
    )
    yield Settle(admission=desk.admission, outcome=DONE, tool="ticket", environment="prod"), (CallRow,)
    for kind, name in (("lease", lease.lease_id), ("request", lease.request_id), ("run", run.run_id)):
        scope = Scope.parse(f"{kind}:{name}")
        yield (
            Stop(policy_document=desk.policy, tenant="acme", scope=scope, kind="revoke", by="op", reason=""),
            (LeaseRow, RequestRow, RunRow),
        )


@pytest.mark.case(61)
def test_a_step_refuses_where_a_row_that_it_needs_is_gone(desk: Desk) -> None:
    asked = 0
    for step, tables in _steps(desk):
        needed = {need.row_type for need in step.keys() if isinstance(need, Ref)}  # noqa: SIM118 - a step is no mapping
        for table in needed & set(tables):
            answer, _ = desk.decide(step, table)
            assert answer.decision.reason in (Reason.NOT_FOUND, Reason.BAD_SIGNATURE), (step, table)
            asked += 1
    assert asked == 14


@pytest.mark.requirement("L9")
@pytest.mark.case(61)
@pytest.mark.parametrize("table", [LeaseRow, RequestRow, RunRow])
def test_a_call_under_a_lease_whose_rows_are_gone_is_refused_and_written_down(stage: Stage, table: type[Row]) -> None:
    lease = stage.lease()
    name = {LeaseRow: "leases", RequestRow: "requests", RunRow: "runs"}[table]
    raw(stage.authority.engine.store).execute(f"DELETE FROM {name}")
    assert stage.refusal(lease, "ticket.update", key="a") is Reason.NOT_FOUND
    assert stage.denials() == ["not_found"]


def test_what_sweeps_find_gone_or_over_they_leave_alone(desk: Desk) -> None:
    lease, run = desk.lease.lease, desk.run
    end = EndLease(lease=lease, run=run)
    assert desk.decide(end, LeaseRow)[0].value is None
    assert desk.decide(end)[0].value == "active"
    conclude = ConcludeUnknown(admission=desk.admission)
    assert desk.decide(conclude)[0].value is False
    assert desk.decide(conclude, CallRow)[0].value is False
    assert desk.decide(CloseRequest(run=run, request=desk.request))[0].value == "pending"
    finish = FinishRun(run=run, why="done", leases=(lease.lease_id,), requests=(desk.request.request_id,))
    for gone in ((LeaseRow, RequestRow), ()):
        answer, entries = desk.decide(finish, *gone)
        assert answer.value.state == "finished"
        kinds = [entry.kind for entry in entries]
        assert kinds == [EntryKind.RUN_FINISHED] if gone else [EntryKind.LEASE_ENDED, EntryKind.RUN_FINISHED]
    ended = replace(desk.row(LeaseRow, lease.lease_id), state="expired")
    assert len(desk.decide(finish, change=ended)[1]) == 1
    used = replace(desk.row(RequestRow, desk.request.request_id), state="used")
    desk.decide(finish, change=used)


@pytest.mark.requirement("L3")
@pytest.mark.case(52)
def test_a_run_that_is_said_to_be_expired_goes_on_until_it_is(desk: Desk) -> None:
    finish = FinishRun(run=desk.run, why=EXPIRED)
    assert finish.needs_clock
    desk.stage.pass_time(desk.run.expires_at - 1 - desk.stage.system.now().seconds)
    answer, entries = desk.decide(finish)
    assert (answer.value.state, entries) == ("open", [])
    desk.stage.pass_time(1)
    answer, entries = desk.decide(finish)
    assert (answer.value.state, [entry.kind for entry in entries]) == ("finished", [EntryKind.RUN_FINISHED])


@pytest.mark.parametrize(
    ("table", "row"), [(RequestRow, None), (RunRow, None), (RequestRow, "completed"), (LeaseRow, "revoked")]
)
def test_a_lease_ends_for_the_strongest_reason_that_its_facts_give(
    desk: Desk, table: type[Row], row: str | None
) -> None:
    lease = desk.lease.lease
    desk.stage.pass_time(300)
    end = EndLease(lease=lease, run=desk.run)
    if row is None:
        assert desk.decide(end, table)[0].value == "expired"
    elif row == "completed":
        changed = replace(desk.row(RequestRow, lease.request_id), state=row)
        assert desk.decide(end, change=changed)[0].value == "completed"
    else:
        assert desk.decide(end, change=replace(desk.row(LeaseRow, lease.lease_id), revoked=1))[0].value == "revoked"


def test_a_settlement_does_what_it_can_where_rows_are_gone(desk: Desk) -> None:
    settle = Settle(admission=desk.admission, outcome=DONE, tool="ticket", environment="prod")
    answer, _ = desk.decide(settle, KeyRow, AccountRow, RequestRow)
    assert answer.value.state is CallState.DONE
    other = replace(desk.row(KeyRow, desk.run.run_id, "ticket.update", "a"), admission_id="adm_other")
    assert desk.decide(settle, change=other)[0].value.state is CallState.DONE
    ending = replace(desk.admission, approval=desk.request.request_id, ending=(desk.admission.request_id,))
    for gone in ((RequestRow,), ()):
        undo = Settle(admission=ending, outcome=NOT_STARTED, tool="ticket", environment="prod")
        assert desk.decide(undo, *gone)[0].value.state is CallState.NOT_STARTED
    dear = Outcome(status=OutcomeStatus.DONE, cost={"usd": 5})
    over = Settle(admission=desk.admission, outcome=dear, tool="ticket", environment="prod")
    assert desk.decide(over, RequestRow)[0].value.overrun == ("usd",)


def test_a_child_of_a_tree_without_an_account_of_children_does_not_start(desk: Desk) -> None:
    chain = desk.engine.chain("acme", desk.lease.lease.lease_id)
    step = Start(policy_document=desk.policy, run=desk.run, parent=chain)
    assert CHILDREN in {need.key[2] for need in step.keys() if isinstance(need, Ref) and need.row_type is AccountRow}  # noqa: SIM118
    assert desk.decide(step, AccountRow)[0].decision.reason is Reason.NO_DELEGATION


def test_a_lease_request_that_was_never_used_has_no_lease_alive(stage: Stage) -> None:
    lease = stage.lease()
    raw(stage.authority.engine.store).execute("UPDATE requests SET state = 'approved'")
    assert stage.refusal(lease, "ticket.update", key="a") is Reason.NOT_FOUND


def test_a_stop_that_is_gone_or_lifted_is_not_retired_again(desk: Desk) -> None:
    answer, _ = desk.decide(RetireStop(tenant="", scope="all", oldest_open=9))
    assert answer.value is False


@pytest.mark.case(52)
def test_every_step_says_whether_a_wrong_clock_stops_it(desk: Desk) -> None:
    lease = desk.lease.lease
    stop = Stop(policy_document=desk.policy, tenant="", scope=Scope.parse("all"), kind="hold", by="op", reason="")
    lift = Lift(
        policy_document=desk.policy,
        tenant="",
        scope=Scope.parse("all"),
        voice=KeyVoice(person=BEN, public_key=b""),
        reason="",
    )
    waits = {type(step): step.needs_clock for step, _ in _steps(desk)} | {Lift: lift.needs_clock}
    waits |= {EndLease: EndLease(lease=lease, run=desk.run).needs_clock, Stop: stop.needs_clock}
    assert {kind for kind, is_stopped in waits.items() if not is_stopped} == {Settle, Stop, FinishRun}
    assert CLOCK_BEHIND.reason is Reason.CLOCK


@pytest.mark.case(61)
def test_a_stored_document_that_is_damaged_is_an_error_of_the_store() -> None:
    for decode in (decode_run, decode_request, decode_lease, decode_admission):
        for body in (b"", b"{}", b"\xff", b"[]"):
            with pytest.raises(StoreError, match="db check"):
                decode(body)
