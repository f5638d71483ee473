"""The door: tokens that are not for it, arguments that cannot be read, outcomes, and whether a call may go on."""

from __future__ import annotations

import pytest

from leasehold.authority.forgeries import ForgeryCounter
from leasehold.errors import ApprovalNeeded, InvalidError, NotFoundError, StoreError
from leasehold.ledger.entry import EntryKind
from leasehold.model.call import Call, CallState, Outcome, OutcomeStatus, ParentCall
from leasehold.model.decision import Reason
from leasehold.testing.clock import FrozenSystem
from leasehold.token.codec import sign_lease
from leasehold.token.keys import DocumentType, KeyRing, SigningKey
from stage import BEN, CLOSE, GET, UPDATE, Stage, changed, reason_of

DONE = Outcome(status=OutcomeStatus.DONE)


def _with_bytes(stage: Stage, arguments: bytes) -> Call:
    return Call(action="ticket.get", arguments=arguments, admission_id=stage.door().new_admission_id())


# Tokens


@pytest.mark.requirement("L9", "L2")
@pytest.mark.case(5, 9, 10)
def test_what_is_no_token_for_this_door_never_reaches_a_step_and_is_counted_by_the_minute(stage: Stage) -> None:
    lease = stage.lease(GET | {"mail.send": {"ticket": ["T-*"]}})
    token, call = lease.token_for("ticket"), stage.call("ticket.get")
    flipped = token[:-3] + ("A" if token[-3] != "A" else "B") + token[-2:]
    attacks = {
        (stage.door(), flipped): Reason.BAD_TOKEN,
        (stage.door(), "not a token"): Reason.BAD_TOKEN,
        (stage.door(), lease.token_for("mail")): Reason.WRONG_TOOL,
        (stage.door("mail"), token): Reason.WRONG_TOOL,
        (stage.door("ticket", "staging"), token): Reason.WRONG_ENVIRONMENT,
    }
    for (door, text), reason in attacks.items():
        assert reason_of(lambda door=door, text=text: door.admit(text, call)) is reason
        assert reason_of(lambda door=door, text=text: door.submit_admit(text, call).result()) is reason
    assert stage.denials() == []
    stage.pass_time(60)
    assert reason_of(lambda: stage.door().admit("x", call)) is Reason.BAD_TOKEN
    stage.sweep()
    counted = stage.entries(EntryKind.FORGERIES_COUNTED)
    minute = stage.system.now().seconds // 60
    assert sorted(
        (entry.detail["tool"], entry.environment, entry.detail["minute"], entry.detail["count"]) for entry in counted
    ) == [
        ("mail", "prod", minute - 1, 2),
        ("ticket", "prod", minute - 1, 6),
        ("ticket", "prod", minute, 1),
        ("ticket", "staging", minute - 1, 2),
    ]
    stage.sweep()
    assert len(stage.entries(EntryKind.FORGERIES_COUNTED)) == 4


@pytest.mark.requirement("L9")
@pytest.mark.invariant("I10")
def test_an_authentic_lease_that_this_ledger_does_not_have_opens_nothing_and_is_counted(stage: Stage) -> None:
    other = Stage()
    lease = other.lease()
    token = stage.authority.engine.token(lease.lease, "ticket")  # the same keys, another ledger
    assert reason_of(lambda: stage.door().admit(token, stage.call("ticket.update", key="a"))) is Reason.NOT_FOUND
    assert stage.authority.engine.store.queries.control().size == 1
    stage.sweep()
    assert stage.entries(EntryKind.FORGERIES_COUNTED)[0].detail["count"] == 1
    other.close()


@pytest.mark.requirement("L2")
@pytest.mark.case(10)
def test_another_authoritys_lease_is_no_lease_here(stage: Stage) -> None:
    other = Stage(system=FrozenSystem(seed=7))
    lease = other.lease()
    assert reason_of(lambda: stage.admit(lease, "ticket.update", key="a")) is Reason.BAD_TOKEN
    other.close()


# Arguments


@pytest.mark.requirement("L9")
@pytest.mark.case(13, 14, 17)
@pytest.mark.parametrize(
    "arguments",
    [
        b'{"ticket_id":"T-1","ticket_id":"T-2"}',
        b'{"ticket_id": "T-1"}',
        b'{"ticket_id":"T-1","n":1.0}',
        b'{"ticket_id":"T-1","n":NaN}',
        b'["T-1"]',
        b"null",
        b"{",
        b"\xff",
        b'{"a":' + b"[" * 100 + b"]" * 100 + b"}",
        b'{"a":"' + b"x" * 1_048_576 + b'"}',
    ],
)
def test_arguments_that_are_not_canonical_are_an_error_and_nothing_is_charged(stage: Stage, arguments: bytes) -> None:
    lease = stage.lease(GET)
    before = stage.authority.engine.store.queries.control().size
    with pytest.raises(InvalidError):
        stage.door().admit(lease.token_for("ticket"), _with_bytes(stage, arguments))
    with pytest.raises(InvalidError):
        stage.door().submit_admit(lease.token_for("ticket"), _with_bytes(stage, arguments)).result()
    assert stage.authority.engine.store.queries.control().size == before


@pytest.mark.requirement("L9", "P1")
@pytest.mark.case(15, 30)
@pytest.mark.parametrize(
    "ticket", [None, "", [], ["T-1"], {"x": "T-1"}, "T-*", "*", 1.5, True, 7, "T-1/../T-2", "T-1 ", "T-\u200b1"]
)
def test_missing_null_empty_and_odd_attributes_never_pass(stage: Stage, ticket: object) -> None:
    lease = stage.lease(GET)
    assert stage.refusal(lease, "ticket.get", ticket) in (Reason.BAD_ATTRIBUTE, Reason.OUT_OF_RANGE)
    assert len(stage.denials()) == 1


@pytest.mark.requirement("P1")
def test_an_argument_that_an_attribute_is_read_from_must_be_there(stage: Stage) -> None:
    lease = stage.lease(GET | {"ticket.bulk": {"ticket": ["T-*"]}})
    assert stage.refusal(lease, "ticket.get", other="T-1") is Reason.BAD_ATTRIBUTE
    for ticket_ids in ([], None, "T-1", [None], [""], ["T-1", "X-1"]):
        told = stage.refusal(lease, "ticket.bulk", key="a", ticket_ids=ticket_ids)
        assert told is (Reason.OUT_OF_RANGE if ticket_ids == ["T-1", "X-1"] else Reason.BAD_ATTRIBUTE)


@pytest.mark.requirement("P6")
@pytest.mark.case(35)
def test_a_tenant_or_environment_in_the_arguments_changes_nothing(stage: Stage) -> None:
    lease = stage.lease(GET)
    admitted = stage.admit(lease, "ticket.get", ticket_id="T-1", tenant="globex", environment="dev")
    assert (admitted.tenant, admitted.environment) == ("acme", "prod")
    assert stage.entries(EntryKind.CALL_ADMITTED)[0].tenant == "acme"


def test_an_action_of_another_tool_is_refused_at_this_door(stage: Stage) -> None:
    lease = stage.lease(GET | {"mail.send": {"ticket": ["T-*"]}})
    call = stage.call("mail.send", key="a")
    assert reason_of(lambda: stage.door().admit(lease.token_for("ticket"), call)) is Reason.WRONG_TOOL
    assert stage.denials() == ["wrong_tool"]


# Futures, ids, clocks


def test_asking_in_the_background_answers_the_same(stage: Stage) -> None:
    lease = stage.lease(UPDATE | CLOSE)
    call = stage.call("ticket.update", key="a")
    admitted = stage.door().submit_admit(lease.token_for("ticket"), call).result(5)
    assert admitted == stage.door().admit(lease.token_for("ticket"), call)
    assert stage.door().submit_settle(admitted.admission_id, DONE).result(5).charged["calls"] == 1_000_000
    with pytest.raises(ApprovalNeeded):
        stage.door().submit_admit(lease.token_for("ticket"), stage.call("ticket.close", key="a")).result(5)
    with pytest.raises(InvalidError):
        stage.door().submit_settle("adm_1", DONE).result(5)
    with pytest.raises(NotFoundError):
        stage.door().submit_settle(stage.door().new_admission_id(), DONE).result(5)


def test_a_door_names_its_tool_its_environment_and_its_clock(stage: Stage) -> None:
    door = stage.door("mail", "staging")
    assert (door.tool, door.environment) == ("mail", "staging")
    assert door.boot_milliseconds() == 0
    stage.pass_time(3)
    assert door.boot_milliseconds() == 3000
    assert door.new_admission_id() != door.new_admission_id()
    for tool, environment in (("", "prod"), ("mail", "pr od")):
        with pytest.raises(InvalidError):
            stage.authority.door(tool, environment)


@pytest.mark.requirement("L6")
@pytest.mark.case(53)
def test_a_call_under_way_can_ask_whether_it_may_go_on(stage: Stage) -> None:
    lease = stage.lease(CLOSE | GET)
    stage.people.approve(stage.ask(lease, "ticket.close", key="a"), BEN)
    admitted = stage.admit(lease, "ticket.close", key="a")
    stage.door().submit_check(admitted.admission_id).result(5)
    stage.hold("action:ticket.get")
    stage.door().submit_check(admitted.admission_id).result(5)
    stage.hold("action:ticket.update")
    assert reason_of(lambda: stage.door().submit_check(admitted.admission_id).result(5)) is Reason.HELD
    stage.lift("action:ticket.update")
    stage.revoke(f"lease:{lease.lease.lease_id}")
    assert reason_of(lambda: stage.door().submit_check(admitted.admission_id).result(5)) is Reason.REVOKED
    with pytest.raises(InvalidError):
        stage.door().submit_check("adm_1").result(5)


@pytest.mark.requirement("C5", "B2")
def test_a_sub_call_may_go_on_while_its_parent_ends_their_request() -> None:
    stage = Stage(changed('ends_on = ["ticket.close"]', 'ends_on = ["ticket.notify"]'))
    lease = stage.lease({"ticket.notify": {"ticket": ["T-*"]}, "mail.send": {"ticket": ["T-*"]}})
    first = stage.admit(lease, "mail.send", key="m")
    parent = stage.admit(lease, "ticket.notify", key="a")
    link = ParentCall(admission_id=parent.admission_id, allow=parent.sub_grants)
    sub = stage.admit(lease, "mail.send", key="n", parent=link)
    for admission in (parent, sub):
        stage.door().submit_check(admission.admission_id).result(5)
    assert reason_of(lambda: stage.door().submit_check(first.admission_id).result(5)) is Reason.ENDING
    stage.close()


def test_counting_forgeries_starts_again_once_they_were_taken() -> None:
    counter = ForgeryCounter()
    counter.add("ticket", "prod", 1)
    counter.add("ticket", "prod", 1)
    assert counter.take() == {("ticket", "prod", 1): 2}
    assert counter.take() == {}


@pytest.mark.requirement("L2")
def test_a_lease_signed_with_a_key_that_is_not_the_authoritys_is_refused(stage: Stage) -> None:
    lease = stage.lease()
    ring = KeyRing(DocumentType.LEASE, (SigningKey.generate(b"x" * 32),))
    forged = sign_lease(lease.lease, "ticket", stage.authority.engine.identity.issuer, ring)
    call = stage.call("ticket.update", key="a")
    assert reason_of(lambda: stage.door().admit(forged, call)) is Reason.BAD_TOKEN


# Looking at calls


def test_an_embedded_door_looks_at_its_calls_with_no_client_to_ask_about(stage: Stage) -> None:
    admitted = stage.admit(stage.lease(UPDATE), "ticket.update", key="a")
    assert stage.door().look(admitted.admission_id) == (CallState.ADMITTED, None, None)
    stage.hold("tool:ticket")
    looked = stage.door().look(admitted.admission_id)
    assert looked.refusal is not None
    assert (looked.state, looked.refusal.reason, looked.end) == (CallState.ADMITTED, Reason.HELD, None)
    stage.settle(admitted, OutcomeStatus.DONE)
    assert stage.door().look(admitted.admission_id).state is CallState.DONE


# Waiting for the end of another call


@pytest.mark.requirement("F6")
def test_the_end_of_a_call_is_told_by_the_commit_that_ends_it(stage: Stage) -> None:
    admitted = stage.admit(stage.lease(UPDATE), "ticket.update", key="a")
    ended = stage.door().submit_settled(admitted.admission_id, 60_000)
    assert not ended.done()
    stage.settle(admitted)
    assert ended.result(10)
    assert stage.door("mail").submit_settled(admitted.admission_id, 60_000).result(10)


@pytest.mark.requirement("F6")
def test_who_waits_for_the_end_of_a_call_waits_so_long_and_no_longer(stage: Stage) -> None:
    lease = stage.lease(UPDATE)
    admitted = stage.admit(lease, "ticket.update", key="a")
    assert stage.door().submit_settled(admitted.admission_id, 0).result(10) is False
    ended = stage.door().submit_settled(admitted.admission_id, 1_000)
    left = stage.door().submit_settled(admitted.admission_id, 1_000)
    assert left.cancel()
    stage.system.advance(milliseconds=1_000)
    stage.admit(lease, "ticket.update", key="b")
    assert ended.result(10) is False


def test_what_cannot_be_waited_for_is_an_error(stage: Stage) -> None:
    never = stage.door().new_admission_id()
    assert isinstance(stage.door().submit_settled(never, 1_000).exception(10), NotFoundError)
    assert isinstance(stage.door().submit_settled("T-1", 1_000).exception(10), InvalidError)
    admitted = stage.admit(stage.lease(UPDATE), "ticket.update", key="a")

    def gone() -> None:
        raise StoreError("the disk is gone")

    stage.meddle().reading = gone
    assert isinstance(stage.door().submit_settled(admitted.admission_id, 60_000).exception(10), StoreError)
