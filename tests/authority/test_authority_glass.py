"""Break-glass: two people open it, it lasts minutes, skips what is listed and nothing else, and it is loud."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from msgspec.structs import replace

from glass import (
    AFTER,
    FREEZE,
    HOURS,
    TABLE,
    WITH_GLASS,
    break_glass,
    glass_id,
    human_door,
    opening,
    refusal,
    row,
    sign_and_open,
    signatory,
    use,
    wish,
    with_rule,
)
from leasehold.decide.glass import OpenGlass
from leasehold.errors import ApprovalNeeded, Denied, InvalidError, NotFoundError, StoreError
from leasehold.guard import Capability, Guard
from leasehold.ledger.entry import Entry, EntryKind
from leasehold.ledger.history import check_history
from leasehold.model.call import Call, ParentCall
from leasehold.model.canonical import encode
from leasehold.model.decision import Reason
from leasehold.model.glass import BREAK_GLASS, Opening
from leasehold.model.lease import HeldLease, Token
from leasehold.testing.fixtures import key_of_person
from leasehold.token.glass import GlassToken, sign_opening
from leasehold.token.keys import SigningKey
from stage import ANA, BEN, EVA, KIM, UPDATE, Stage, changed, reason_of

pytestmark = [pytest.mark.requirement("P16"), pytest.mark.case(117)]


def staged(text: str = WITH_GLASS) -> Iterator[Stage]:
    stage = Stage(text)
    yield stage
    assert check_history(stage.entries()) == []
    stage.close()


@pytest.fixture
def stage() -> Iterator[Stage]:
    """A stage whose policy lets Ana break glass, and whoever leads confirm it."""
    yield from staged()


def alarms(stage: Stage) -> list[Entry]:
    return [entry for entry in stage.entries() if entry.detail.get("alarm") == "break_glass"]


# Opening


def test_two_people_open_it_and_everybody_can_hear_it(stage: Stage) -> None:
    held = break_glass(stage)
    (alarm,) = alarms(stage)
    assert (alarm.kind, alarm.person, alarm.agent, alarm.approvals) == (
        EntryKind.GLASS_OPENED,
        ANA,
        BREAK_GLASS,
        (ANA, BEN),
    )
    assert alarm.detail["reason"] == "the disk is full and nobody who may approve answers"
    assert (alarm.detail["second"], alarm.detail["skips"], alarm.detail["minutes"]) == (BEN, ("approve",), 5)
    token = GlassToken.parse(str(alarm.detail["token"]))
    assert token.is_signed_by(key_of_person(ANA).public(), key_of_person(BEN).public())
    assert held.lease.expires_at == stage.system.now().seconds + 300
    assert (row(stage, held).state, row(stage, held).opener) == ("open", ANA)
    assert stage.authority.break_glass.all() == (row(stage, held),)


WRONG: dict[str, tuple[dict[str, object], Reason]] = {
    "a route without it": ({"route": "solo", "actions": ("ticket.update",)}, Reason.NOT_ENTITLED),
    "a route that is none": ({"route": "nowhere"}, Reason.NOT_ENTITLED),
    "an action that is not listed": ({"actions": ("ticket.erase", "ticket.pay")}, Reason.POLICY_DENIES),
    "more minutes than listed": ({"minutes": 11}, Reason.TTL_TOO_LONG),
    "another tenant": ({"tenant": "initech"}, Reason.POLICY_DENIES),
    "another environment": ({"environment": "staging"}, Reason.POLICY_DENIES),
    "an opener without the role": ({"opener": KIM}, Reason.NOT_ENTITLED),
    "a second without the role": ({"second": KIM}, Reason.NOT_ENTITLED),
    "roles the other way round": ({"opener": BEN, "second": ANA}, Reason.NOT_ENTITLED),
}


@pytest.mark.invariant("I4", "I10")
@pytest.mark.parametrize("what", WRONG)
def test_what_the_policy_does_not_list_is_not_opened_and_alarms(stage: Stage, what: str) -> None:
    fields, reason = WRONG[what]
    assert reason_of(lambda: break_glass(stage, **fields)) is reason
    (alarm,) = alarms(stage)
    assert (alarm.kind, alarm.decision, alarm.reason) == (EntryKind.GLASS_REFUSED, "deny", reason)
    assert stage.authority.break_glass.all() == ()


def test_a_rule_that_is_not_listed_cannot_be_skipped(stage: Stage) -> None:
    stage.accept(WITH_GLASS.replace('skips = ["after", "approve", "freeze", "hours"]', 'skips = ["hours"]'))
    assert reason_of(lambda: break_glass(stage)) is Reason.POLICY_DENIES


@pytest.mark.parametrize("minutes", [0, 16, -1])
def test_minutes_and_a_second_person_belong_to_the_document_itself(stage: Stage, minutes: int) -> None:
    with pytest.raises(InvalidError, match="1 to 15 minutes"):
        break_glass(stage, minutes=minutes)
    for fields in ({"second": ANA}, {"reason": " "}, {"actions": ()}, {"skips": ()}):
        with pytest.raises(InvalidError):
            break_glass(stage, **fields)


KEYS: dict[str, Callable[[Stage, Opening], object]] = {
    "the opener signs twice": lambda stage, document: sign_and_open(stage, document, second=key_of_person(ANA)),
    "the second signs twice": lambda stage, document: sign_and_open(stage, document, first=key_of_person(BEN)),
    "a stranger signs": lambda stage, document: sign_and_open(stage, document, second=SigningKey.generate(b"s" * 32)),
    "another reason was signed": lambda stage, document: stage.authority.break_glass.open(
        replace(document, reason="something else"),
        sign_opening(document, key_of_person(ANA)),
        sign_opening(document, key_of_person(BEN)),
    ),
    "no signature at all": lambda stage, document: stage.authority.break_glass.open(document, "", ""),
}


@pytest.mark.invariant("I4")
@pytest.mark.parametrize("how", KEYS)
def test_without_the_keys_of_both_it_does_not_open_and_alarms(stage: Stage, how: str) -> None:
    document = opening(stage)
    assert reason_of(lambda: KEYS[how](stage, document)) is Reason.BAD_SIGNATURE
    assert [entry.kind for entry in alarms(stage)] == [EntryKind.GLASS_REFUSED]


def test_who_has_no_key_or_lost_it_neither_opens_nor_confirms(stage: Stage) -> None:
    keyless = stage.authority.break_glass.propose(wish())
    assert reason_of(lambda: sign_and_open(stage, keyless)) is Reason.BAD_SIGNATURE
    document = opening(stage)
    stage.desk.remove_person(BEN, by="op")
    assert reason_of(lambda: sign_and_open(stage, document)) is Reason.BAD_SIGNATURE


def test_an_opening_is_for_now_and_for_once(stage: Stage) -> None:
    document = opening(stage)
    held = sign_and_open(stage, document)
    assert reason_of(lambda: sign_and_open(stage, document)) is Reason.CONFLICT
    stage.authority.break_glass.close(glass_id(held))
    assert reason_of(lambda: sign_and_open(stage, document)) is Reason.CONFLICT
    kept = opening(stage)
    stage.pass_time(300)
    assert reason_of(lambda: sign_and_open(stage, kept)) is Reason.EXPIRED
    ahead = replace(opening(stage), opened_at=stage.system.now().seconds + 60)
    assert reason_of(lambda: sign_and_open(stage, ahead)) is Reason.EXPIRED


@pytest.mark.invariant("I1")
@pytest.mark.parametrize(
    "scope", ["all", "tenant:acme", "environment:prod", "route:desk", f"person:{ANA}", f"agent:{BREAK_GLASS}"]
)
def test_nothing_opens_under_a_hold(stage: Stage, scope: str) -> None:
    stage.hold(scope)
    assert reason_of(lambda: break_glass(stage)) is Reason.HELD


@pytest.mark.case(52, 94)
def test_it_does_not_open_while_it_cannot_be_recorded_or_the_clock_is_wrong(stage: Stage) -> None:
    document = opening(stage)
    store = stage.meddle()
    store.lose(OpenGlass, persisted=False)
    with pytest.raises(StoreError):
        sign_and_open(stage, document)
    assert stage.authority.break_glass.all() == ()
    stage.lease()
    stage.system.jump(seconds=-60)
    assert reason_of(lambda: sign_and_open(stage, replace(document, opened_at=1))) is Reason.CLOCK


# Use


@pytest.mark.invariant("I4")
def test_a_use_skips_the_approval_and_nothing_else(stage: Stage) -> None:
    held = break_glass(stage)
    admission = use(stage, held)
    assert (admission.approval, admission.approved_by, admission.agent) == (None, (ANA, BEN), BREAK_GLASS)
    admitted = stage.entries(EntryKind.CALL_ADMITTED)[0]
    assert (admitted.detail["alarm"], admitted.detail["skipped"]) == ("break_glass", ("approve",))
    assert admitted.detail["glass"] == glass_id(held)
    stage.settle(admission)
    assert stage.spent(held.lease.run_id)[0] == 1_000_000
    assert refusal(stage, held).reason is Reason.ALREADY_DONE  # a key is used once
    assert refusal(stage, held, "ticket.update", key="u").reason is Reason.NOT_GRANTED  # it was opened for one action
    assert [entry.kind for entry in alarms(stage)] == [
        EntryKind.GLASS_OPENED,
        EntryKind.CALL_ADMITTED,
        EntryKind.CALL_DENIED,
        EntryKind.CALL_DENIED,
    ]


@pytest.mark.invariant("I4")
@pytest.mark.parametrize(("rule", "skip"), [(FREEZE, "freeze"), (HOURS, "hours"), (AFTER, "after")])
def test_each_rule_that_was_not_agreed_still_binds(rule: str, skip: str) -> None:
    for stage in staged(with_rule(rule)):
        binding = break_glass(stage, actions=("ticket.update",), skips=("approve",))
        reason = refusal(stage, binding, "ticket.update").reason
        assert reason in (Reason.FROZEN, Reason.OUTSIDE_HOURS, Reason.OUT_OF_ORDER)
        past = break_glass(stage, actions=("ticket.update",), skips=(skip,))
        use(stage, past, "ticket.update")


def test_of_two_closed_doors_both_have_to_be_named() -> None:
    for stage in staged(with_rule(FREEZE, HOURS)):
        for skips, reason in ((("hours",), Reason.FROZEN), (("freeze",), Reason.OUTSIDE_HOURS)):
            held = break_glass(stage, actions=("ticket.update",), skips=skips)
            assert refusal(stage, held, "ticket.update").reason is reason
        use(stage, break_glass(stage, actions=("ticket.update",), skips=("freeze", "hours")), "ticket.update")


def test_an_approval_that_was_not_skipped_is_asked_for(stage: Stage) -> None:
    held = break_glass(stage, skips=("hours",))
    with pytest.raises(ApprovalNeeded) as needed:
        use(stage, held)
    for person in (BEN, EVA):
        stage.people.approve(needed.value.request, person)
    assert use(stage, held).approval == needed.value.request


@pytest.mark.invariant("I1", "I5", "I8")
def test_stops_ends_and_the_clock_count_as_for_everything(stage: Stage) -> None:
    held = break_glass(stage)
    for scope in ("all", f"person:{ANA}", "tool:ticket", "action:ticket.erase", f"run:{held.lease.run_id}"):
        stage.hold(scope)
        assert refusal(stage, held).reason is Reason.HELD
        stage.lift(scope)
    stage.pass_time(300)
    assert refusal(stage, held).reason is Reason.EXPIRED
    stage.sweep()
    assert row(stage, held).state == "closed"
    again = break_glass(stage)
    stage.revoke(f"person:{ANA}")
    assert refusal(stage, again).reason is Reason.REVOKED
    assert row(stage, again).state == "closed"


@pytest.mark.invariant("I2")
def test_the_budget_of_the_route_is_never_skipped() -> None:
    for stage in staged(changed("calls = 20", "calls = 1", WITH_GLASS)):
        held = break_glass(stage)
        use(stage, held)
        assert refusal(stage, held, key="b").reason is Reason.BUDGET


def test_a_write_needs_its_key_and_the_grant_its_values(stage: Stage) -> None:
    held = break_glass(stage)
    door = human_door(stage)
    token = held.token_for("ticket")

    def ask(**fields: object) -> Reason:
        given = {"action": "ticket.erase", "arguments": encode({"ticket_id": "T-1"}), "key": "k", **fields}
        call = Call(admission_id=door.new_admission_id(), **given)  # type: ignore[arg-type]  # known names
        return reason_of(lambda: door.admit(token, call))

    assert ask(key=None) is Reason.KEY_NEEDED
    assert ask(arguments=encode({"ticket_id": "X-1"})) is Reason.OUT_OF_RANGE
    assert ask(action="mail.send", arguments=encode({"ticket_id": "T-1"})) is Reason.NOT_GRANTED


@pytest.mark.invariant("I4")
def test_the_live_policy_and_the_people_are_asked_at_each_use(stage: Stage) -> None:
    held = break_glass(stage, skips=("approve", "hours"))
    stage.accept(WITH_GLASS.replace("minutes = 10", "minutes = 1"))
    stage.pass_time(60)
    assert refusal(stage, held).reason is Reason.EXPIRED
    for old, new, reason in (
        ('actions = ["ticket.audit", "ticket.erase"', 'actions = ["ticket.audit"', Reason.NOT_GRANTED),
        ('openers = ["oncall"]', 'openers = ["dba"]', Reason.NOT_ENTITLED),
        ('confirmers = ["lead"]', 'confirmers = ["operator"]', Reason.NOT_ENTITLED),
        (TABLE, "", Reason.NOT_ENTITLED),
    ):
        stage.accept(WITH_GLASS.replace(old, new))
        assert refusal(stage, held).reason is reason
    stage.accept(WITH_GLASS.replace('skips = ["after", "approve", ', 'skips = ["after", '))
    with pytest.raises(ApprovalNeeded):
        use(stage, held)
    stage.accept(WITH_GLASS)
    stage.desk.remove_person(BEN, by="op")
    assert refusal(stage, held).reason is Reason.BAD_SIGNATURE


# Whose it is


@pytest.mark.case(9, 81)
def test_no_door_of_an_agent_takes_it_and_each_attempt_alarms(stage: Stage) -> None:
    held = break_glass(stage)
    before = len(alarms(stage))
    call = stage.call("ticket.erase", key="k")
    for _ in range(2):
        assert reason_of(lambda: stage.door().admit(held.token_for("ticket"), call)) is Reason.BAD_TOKEN
    denied = alarms(stage)[before:]
    assert {entry.kind for entry in denied} == {EntryKind.CALL_DENIED}
    assert len(denied) == 2
    guard = Guard("ticket", stage.authority, environment="prod")

    @guard.action("erase")
    def erase(capability: Capability, ticket_id: str) -> None:
        raise AssertionError("nothing may run")

    with pytest.raises(Denied, match="bad_token"):
        erase(held.once("k"), "T-1")


@pytest.mark.case(9, 10)
def test_its_door_takes_nothing_else(stage: Stage) -> None:
    lease, held = stage.lease(), break_glass(stage)
    door = human_door(stage)
    text = held.token_for("ticket")
    forged = [
        lease.token_for("ticket"),
        "",
        text + "A",
        text.replace("glass1.", "glass2."),
        text[:-1] + ("A" if text[-1] != "A" else "B"),
        str(replace(GlassToken.parse(text), second_signature=GlassToken.parse(text).signature)),
    ]
    for token in forged:
        call = stage.call("ticket.erase", key="k")
        assert reason_of(lambda token=token, call=call: door.admit(Token(token), call)) is Reason.BAD_TOKEN
    never = opening(stage)
    signatures = (sign_opening(never, key_of_person(ANA)), sign_opening(never, key_of_person(BEN)))
    unopened = str(GlassToken(opening=never, signature=signatures[0], second_signature=signatures[1]))
    for any_door in (door, stage.door()):
        call = stage.call("ticket.erase", key="k")
        assert reason_of(lambda door=any_door, call=call: door.admit(Token(unopened), call)) is Reason.BAD_TOKEN
    staging = human_door(stage, environment="staging")
    assert reason_of(lambda: staging.admit(text, stage.call("ticket.erase", key="k"))) is Reason.WRONG_ENVIRONMENT


def test_it_is_its_openers_alone_with_their_own_key(stage: Stage) -> None:
    held = break_glass(stage)
    assert refusal(stage, held, person=BEN).reason is Reason.NOT_ENTITLED
    stolen = replace(signatory(stage, ANA), key=SigningKey.generate(b"s" * 32))
    door = stage.authority.break_glass.doors(stolen).door("ticket", "prod")
    assert reason_of(lambda: door.admit(held.token_for("ticket"), stage.call("ticket.erase", key="k"))) is (
        Reason.BAD_SIGNATURE
    )


@pytest.mark.case(9)
def test_no_lease_of_it_is_made_nothing_is_asked_in_it_and_no_child_starts_under_it(stage: Stage) -> None:
    held = break_glass(stage)
    run = stage.authority.run(held.lease.run_id)
    assert reason_of(lambda: stage.authority.engine.held(held.lease)) is Reason.BAD_TOKEN
    assert reason_of(lambda: stage.authority.renew(held)) is Reason.BAD_TOKEN
    assert reason_of(lambda: stage.authority.request(run, UPDATE, reason="more")) is Reason.BAD_TOKEN
    assert reason_of(lambda: stage.child(held)) is Reason.NO_DELEGATION
    for parent in (None, stage.lease()):
        assert (
            reason_of(
                lambda parent=parent: stage.authority.start(
                    agent=BREAK_GLASS,
                    purpose="pretend",
                    parent=parent,
                    **(
                        {}
                        if parent
                        else {"route": "desk", "tenant": "acme", "environment": "prod", "requested_by": ANA}
                    ),
                )
            )
            is Reason.BAD_TOKEN
        )


def test_what_it_admits_hands_nothing_on() -> None:
    text = WITH_GLASS.replace('"ticket.update"]\nskips', '"ticket.notify", "ticket.update"]\nskips')
    stage = Stage(text)
    held = break_glass(stage, actions=("ticket.notify",))
    admission = use(stage, held, "ticket.notify")
    assert (admission.tokens, admission.sub_grants) == ({}, {})
    parent = ParentCall(admission_id=admission.admission_id, allow={})
    call = stage.call("mail.send", key="m", parent=parent)
    assert reason_of(lambda: stage.door("mail").admit(held.token_for("ticket"), call)) is Reason.BAD_TOKEN
    stage.close()


def test_a_guard_at_a_door_for_people_runs_functions_as_any(stage: Stage) -> None:
    held = stage.authority.break_glass.held(glass_id(break_glass(stage)))
    guard = Guard("ticket", stage.authority.break_glass.doors(signatory(stage)), environment="prod")

    @guard.action("erase")
    def erase(capability: Capability, ticket_id: str) -> str:
        capability.touched(ticket_id)
        return f"{capability.requested_by} erased {ticket_id}"

    assert erase(held.once("k"), "T-1") == f"{ANA} erased T-1"
    assert stage.entries(EntryKind.CALL_SETTLED)[0].detail["touched"] == ("T-1",)


# The end of it, and what is thought of it


def test_it_ends_loudly_and_another_person_reviews_it(stage: Stage) -> None:
    held = break_glass(stage)
    glass, name = stage.authority.break_glass, glass_id(held)
    reviewer = signatory(stage, EVA)
    assert reason_of(lambda: glass.review(name, reviewer, "too early")) is Reason.NOT_PENDING
    closed = glass.close(name)
    assert (closed.state, closed.review_by) == ("closed", stage.system.now().seconds + 86_400)
    assert alarms(stage)[-1].kind is EntryKind.GLASS_CLOSED
    assert refusal(stage, held).reason is Reason.COMPLETED
    assert glass.close(name) == closed
    for person in (ANA, BEN):
        assert (
            reason_of(lambda person=person: glass.review(name, signatory(stage, person), "fine")) is Reason.OWN_REQUEST
        )
    assert reason_of(lambda: glass.review(name, signatory(stage, KIM), "fine")) is Reason.NOT_ENTITLED
    stranger = replace(reviewer, key=SigningKey.generate(b"s" * 32))
    assert reason_of(lambda: glass.review(name, stranger, "fine")) is Reason.BAD_SIGNATURE
    assert glass.review(name, reviewer, "it was right").state == "reviewed"
    entry = stage.entries(EntryKind.GLASS_REVIEWED)[0]
    assert (entry.person, entry.detail["words"], entry.detail["glass"]) == (EVA, "it was right", name)
    assert reason_of(lambda: glass.review(name, reviewer, "again")) is Reason.NOT_PENDING


def test_whoever_may_lift_can_review_where_the_rule_is_gone(stage: Stage) -> None:
    name = glass_id(break_glass(stage))
    stage.authority.break_glass.close(name)
    stage.accept(WITH_GLASS.replace(TABLE, ""))
    assert (
        reason_of(lambda: stage.authority.break_glass.review(name, signatory(stage, BEN), "x")) is Reason.NOT_ENTITLED
    )
    assert stage.authority.break_glass.review(name, signatory(stage, EVA), "x").reviewed_by == EVA


def test_one_that_never_was_is_not_found(stage: Stage) -> None:
    stage.start()
    never = "glass_01JZ8Q5X0M3V7K2N9B4C6D8E0F"
    for act in (stage.authority.break_glass.close, stage.authority.break_glass.row, stage.authority.break_glass.held):
        with pytest.raises(NotFoundError):
            act(never)
    run = stage.start()
    with pytest.raises(NotFoundError):
        stage.authority.break_glass.token(f"glass_{run.run_id.partition('_')[2]}")
    with pytest.raises(NotFoundError):
        stage.authority.break_glass.row(f"glass_{run.run_id.partition('_')[2]}")


@pytest.mark.requirement("B10", "P16")
def test_the_receipt_tells_of_it(stage: Stage) -> None:
    held = break_glass(stage)
    stage.settle(use(stage, held))
    stage.authority.break_glass.close(glass_id(held))
    kinds = [entry.kind for entry in stage.authority.receipts.entries(stage.authority.run(held.lease.run_id).run)]
    assert kinds[:2] == [EntryKind.RUN_STARTED, EntryKind.GLASS_OPENED]
    assert kinds[-1] is EntryKind.GLASS_CLOSED


def test_offboarding_the_opener_ends_it(stage: Stage) -> None:
    held: HeldLease = break_glass(stage)
    stage.desk.offboard(ANA, by="op", reason="left")
    assert row(stage, held).state == "closed"
