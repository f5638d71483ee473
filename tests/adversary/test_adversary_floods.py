"""Too much of everything: denials, questions, sizes. The ledger stays small and people are left in peace."""

from __future__ import annotations

import pytest

from leasehold.errors import InvalidError
from leasehold.ledger.entry import EntryKind
from leasehold.model.call import Call
from leasehold.model.canonical import encode
from leasehold.model.decision import Reason
from leasehold.model.request import Verdict
from stage import BEN, GET, UPDATE, Stage, changed, reason_of


@pytest.mark.requirement("L11")
@pytest.mark.case(73)
def test_a_loop_of_ten_thousand_denials_keeps_the_ledger_small(stage: Stage) -> None:
    lease = stage.lease()
    door, token = stage.door(), lease.token_for("ticket")
    call = stage.call("ticket.update", "X-1", key="a")
    for _ in range(20):
        asked = [door.submit_admit(token, call) for _ in range(500)]
        assert {future.exception().decision.reason for future in asked} == {Reason.OUT_OF_RANGE}
    assert stage.authority.engine.store.queries.control().size == 4 + 200 + 1
    stage.authority.runs.end(stage.authority.run(lease.lease.run_id).run, "done")
    assert stage.entries(EntryKind.RUN_FINISHED)[0].detail["denials"] == 10_000


@pytest.mark.requirement("L11")
@pytest.mark.case(73)
def test_a_loop_of_refused_questions_and_draws_keeps_the_ledger_small_and_looking_writes_nothing(stage: Stage) -> None:
    run = stage.start()
    waiting = stage.authority.request(run, {"ticket.close": {"ticket": ["T-1"]}}, reason="close it")
    before = len(stage.entries())
    for _ in range(50):
        assert reason_of(lambda: stage.authority.runs.submit_draw(waiting).result()) is Reason.APPROVAL_NEEDED
    assert len(stage.entries()) == before
    for _ in range(110):
        assert reason_of(lambda: stage.authority.request(run, {"mail.purge": {}}, reason="x")) is Reason.BAD_ATTRIBUTE
    stage.desk.answer(waiting, Verdict.DENY, stage.people.signatory(BEN), reason="no")
    for _ in range(110):
        assert reason_of(lambda: stage.authority.runs.submit_draw(waiting).result()) is Reason.APPROVAL_DENIED
    assert len(stage.entries()) == before + 200 + 1 + 1  # what is listed, that the rest is counted, and the answer
    stage.authority.finish(run)
    assert stage.entries(EntryKind.RUN_FINISHED)[0].detail["denials"] == 1 + 110 + 110


@pytest.mark.requirement("L11", "P15")
@pytest.mark.invariant("I1")
@pytest.mark.case(73)
def test_a_breaker_stops_a_loop_of_denials_once_whoever_goes_on() -> None:
    rule = "breaker = { denials = { percent = 90, of = 50 } }"
    stage = Stage(changed('ends_on = ["ticket.close"]', f'ends_on = ["ticket.close"]\n{rule}'))
    leases = [stage.lease(), stage.lease()]
    before = len(stage.entries())
    for turn in range(40):
        for lease in leases:
            call = stage.call("ticket.update", "X-1", key="a")
            asked = [stage.door().submit_admit(lease.token_for("ticket"), call) for _ in range(50)]
            reasons = {future.exception().decision.reason for future in asked}
            assert reasons == (
                {Reason.OUT_OF_RANGE, Reason.HELD} if turn == 0 and lease is leases[0] else {Reason.HELD}
            )
    alarms = [entry for entry in stage.entries(EntryKind.HELD) if entry.detail["alarm"] == "breaker"]
    assert len(alarms) == 1
    assert len(stage.entries()) - before == 2 * (200 + 1) + 1  # each run's list of denials, its count, and one alarm
    stage.close()


@pytest.mark.requirement("L11")
def test_a_flood_of_forged_tokens_is_one_entry_a_minute(stage: Stage) -> None:
    stage.start()
    call = stage.call("ticket.get")
    for _ in range(2000):
        assert stage.door().submit_admit("forged", call).exception() is not None
    stage.sweep()
    assert [entry.detail["count"] for entry in stage.entries(EntryKind.FORGERIES_COUNTED)] == [2000]


@pytest.mark.requirement("L9")
@pytest.mark.case(17)
def test_arguments_that_are_too_large_too_deep_or_too_many_are_refused_before_anything_is_charged(
    stage: Stage,
) -> None:
    lease = stage.lease(GET | UPDATE)
    deep: object = "T-1"
    for _ in range(70):
        deep = [deep]
    for value in (deep, "x" * 2_000_000):
        with pytest.raises(InvalidError):
            encode({"ticket_id": value})
    raw = b'{"ticket_id":' + b"[" * 100_000 + b"]" * 100_000 + b"}"
    for arguments in (raw, b'{"ticket_id":"' + b"x" * 2_000_000 + b'"}'):
        call = Call(action="ticket.get", arguments=arguments, admission_id=stage.door().new_admission_id())
        with pytest.raises(InvalidError):
            stage.door().admit(lease.token_for("ticket"), call)
    many = {f"k{number}": number for number in range(20_000)}
    assert stage.admit(lease, "ticket.get", ticket_id="T-1", **many).reserved["calls"] == 1_000_000
    assert stage.refusal(lease, "ticket.get", "T-" + "x" * 3000) is Reason.BAD_ATTRIBUTE


@pytest.mark.case(43)
def test_a_key_or_name_of_any_length_is_refused(stage: Stage) -> None:
    for bad in ({"key": ""}, {"key": "x" * 201}, {"key": "a\u200b"}, {"key": " a"}):
        with pytest.raises(InvalidError):
            stage.call("ticket.update", **bad)
    for action in ("", "ticket", "ticket.", ".get", "ticket.g.et ", "x" * 300 + ".get"):
        with pytest.raises(InvalidError):
            Call(action=action, arguments=b"{}", admission_id=stage.door().new_admission_id())
    with pytest.raises(InvalidError):
        Call(action="ticket.get", arguments=b"{}", admission_id="adm_1")
