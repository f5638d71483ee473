"""What a run puts to people: the same once, not without end, with what the ledger knows; and their words back."""

from __future__ import annotations

import pytest

from leasehold.errors import ApprovalNeeded, Denied, StoreError
from leasehold.ledger.entry import EntryKind
from leasehold.model.decision import Reason, deny
from leasehold.model.request import Verdict
from leasehold.model.run import RunAttempt
from leasehold.policy.diff import diff
from stage import AUDIT, BEN, CLOSE, GET, POLICY, UPDATE, Stage, changed, policy, reason_of

EXACT = {"ticket.close": {"ticket": ["T-1"]}}  # exact, so people agree to the lease
CAPPED = POLICY + "[defaults]\npending_per_run = 3\n"


def ask(stage: Stage, run: RunAttempt, ticket: str = "T-1", **rest: object) -> str:
    allow = {"ticket.close": {"ticket": [ticket]}}
    return stage.authority.request(run, allow, **{"reason": "customer asked", **rest}).request_id


@pytest.mark.requirement("F2")
@pytest.mark.case(87)
def test_the_same_question_of_a_run_is_put_to_people_once(stage: Stage) -> None:
    run = stage.start()
    first = ask(stage, run)
    entries = len(stage.entries())
    assert ask(stage, run) == first
    assert len(stage.entries()) == entries
    assert [request.request_id for request in stage.desk.pending()] == [first]
    others = [
        ask(stage, run, "T-2"),
        ask(stage, run, reason="the customer insists"),
        ask(stage, run, ttl_seconds=60),
        ask(stage, run, budget={"calls": 1}),
        ask(stage, run, tried=["ticket.update"]),
        ask(stage, run, delegation_depth=0),
        ask(stage, stage.start()),
        ask(stage, stage.authority.retry(run)),
    ]
    assert len({first, *others}) == 9


@pytest.mark.requirement("F2")
def test_a_question_that_was_answered_ran_out_or_was_stopped_is_put_anew(stage: Stage) -> None:
    run = stage.start()
    first = ask(stage, run)
    stage.people.deny(first, BEN)
    second = ask(stage, run)
    stage.pass_time(600)
    third = ask(stage, run)
    stage.revoke(f"request:{third}")
    assert len({first, second, third, ask(stage, run)}) == 4


def test_a_waiting_question_is_waited_on_by_all_who_asked_it(stage: Stage) -> None:
    run = stage.start()
    one, two = stage.authority.request(run, EXACT, reason="x"), stage.authority.request(run, EXACT, reason="x")
    assert one == two
    stage.people.approve(one, BEN)
    assert stage.authority.wait(two, 5).lease.request_id == one.request_id


@pytest.mark.requirement("F2")
@pytest.mark.case(87)
def test_a_run_may_have_only_so_many_questions_open_leases_and_calls_together() -> None:
    stage = Stage(CAPPED)
    run = stage.start()
    lease = stage.lease(CLOSE, run=run)
    ask(stage, run, "T-1")
    ask(stage, run, "T-2")
    waiting = stage.ask(lease, "ticket.close", key="a")
    assert reason_of(lambda: ask(stage, run, "T-3")) is Reason.TOO_MANY_PENDING
    assert stage.refusal(lease, "ticket.close", "T-2", key="b") is Reason.TOO_MANY_PENDING
    assert stage.ask(lease, "ticket.close", key="a") == waiting  # asking after the same is no new question
    assert stage.entries(EntryKind.REQUEST_DENIED)[-1].reason == "too_many_pending"
    ask(stage, stage.start())  # another run has its own
    assert stage.lease(UPDATE, run=run)  # what needs nobody waits for nobody
    stage.people.deny(waiting, BEN)
    ask(stage, run, "T-3")
    stage.pass_time(600)  # what ran out unanswered does not count, swept or not
    ask(stage, run, "T-4")
    stage.close()


@pytest.mark.case(87)
def test_hundreds_of_questions_of_one_run_are_a_few_dozen(stage: Stage) -> None:
    run = stage.start()
    told = []
    for number in range(100):
        try:
            told.append(ask(stage, run, f"T-{number}"))
        except Denied as denied:
            told.append(denied.decision.reason)
    assert told.count(Reason.TOO_MANY_PENDING) == 100 - 24
    assert len(stage.desk.pending()) == 24


# what the ledger says


@pytest.mark.requirement("B7")
def test_a_card_says_beside_the_agents_words_what_the_ledger_knows_of_the_run(stage: Stage) -> None:
    run = stage.start()
    lease = stage.lease(GET | UPDATE | AUDIT, run=run)
    stage.use(lease, "ticket.update", key="a")
    for ticket in ("X-1", "X-2"):
        stage.refusal(lease, "ticket.get", ticket)
    stage.refusal(lease, "ticket.tag", key="b")
    asked = stage.authority.request(run, EXACT, reason="x", tried=["I tried everything"])
    card = stage.desk.card(asked)
    assert card.facts == (
        "ticket.get was refused 2 times: out_of_range",
        "ticket.tag was refused 1 time: not_granted",
        "spent so far: calls 1 of 20",
    )
    assert card.tried == ("I tried everything",)


@pytest.mark.requirement("B7")
def test_a_child_shows_the_budget_that_it_draws_on(stage: Stage) -> None:
    parent = stage.lease(GET | CLOSE)
    stage.use(parent, "ticket.get")
    asked = stage.authority.request(stage.child(parent), EXACT, reason="x")
    assert stage.desk.card(asked).facts[0].startswith("spent so far: calls 1 of 20")


def test_a_run_that_did_nothing_yet_has_no_history(stage: Stage) -> None:
    assert stage.desk.card(stage.authority.request(stage.start(), EXACT, reason="x")).facts == ()


def test_more_refusals_than_a_card_has_room_for_are_counted(stage: Stage) -> None:
    run = stage.start()
    lease = stage.lease(GET, run=run)
    for number in range(14):
        stage.refusal(lease, f"ticket.nuke{number}", key="a")
    facts = stage.desk.card(stage.authority.request(run, EXACT, reason="x")).facts
    assert len(facts) == 13
    assert facts[-1] == "and 2 other refusals"


def test_a_lease_that_was_refused_is_told_as_such(stage: Stage) -> None:
    run = stage.start()
    stage.refusal(stage.lease(GET, run=run), "ticket.get", "X-1")
    reason_of(lambda: stage.authority.request(run, {"ticket.get": {"ticket": ["X-*"]}}, reason="x"))
    facts = stage.desk.card(stage.authority.request(run, EXACT, reason="x")).facts
    assert "a lease was refused 1 time: out_of_range" in facts


def test_an_index_that_cannot_be_read_keeps_nobody_from_asking(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    run = stage.start()
    stage.refusal(stage.lease(GET, run=run), "ticket.get", "X-1")

    def broken(*_: object) -> None:
        raise StoreError("the index is damaged")

    monkeypatch.setattr(stage.authority.engine.store.queries, "search", broken)
    facts = stage.desk.card(stage.authority.request(run, EXACT, reason="x")).facts
    assert facts == ("calls of this run were refused; which, cannot be looked up right now",)


# words of a denial


@pytest.mark.requirement("F1", "P12")
@pytest.mark.case(88)
def test_whoever_says_no_can_tell_the_agent_why(stage: Stage) -> None:
    run = stage.start()
    lease = stage.lease(CLOSE, run=run)
    call = stage.authority.find_request(stage.ask(lease, "ticket.close", key="a"))
    asked = stage.authority.request(run, EXACT, reason="x")
    ben = stage.people.signatory(BEN)
    for request in (call, asked):
        stage.desk.answer(request, Verdict.DENY, ben, reason="not before\u202e Monday")
        with pytest.raises(Denied) as denied:
            stage.authority.wait(request, 5)
    assert denied.value.decision.reason is Reason.APPROVAL_DENIED
    assert denied.value.decision.words == f"{BEN}: not before\u202e Monday"
    assert f"a person wrote: {BEN}: not before<U+202E> Monday" in str(denied.value)
    with pytest.raises(Denied) as denied:
        stage.admit(lease, "ticket.close", key="a")
    assert denied.value.decision.words == f"{BEN}: not before\u202e Monday"


def test_a_denial_without_words_and_a_time_out_carry_none(stage: Stage) -> None:
    run = stage.start()
    silent = stage.authority.request(run, EXACT, reason="x")
    stage.people.deny(silent, BEN)
    late = stage.authority.request(run, EXACT, reason="y")
    stage.pass_time(600)
    for request, reason in ((silent, Reason.APPROVAL_DENIED), (late, Reason.APPROVAL_EXPIRED)):
        with pytest.raises(Denied) as denied:
            stage.authority.wait(request, 5)
        assert (denied.value.decision.reason, denied.value.decision.words) == (reason, "")
    assert "a person wrote" not in deny(Reason.APPROVAL_DENIED, "x").describe()


def test_a_call_that_nobody_answered_in_time_may_be_asked_about_again(stage: Stage) -> None:
    lease = stage.lease(CLOSE)
    first = stage.ask(lease, "ticket.close", key="a")
    stage.pass_time(600)
    lease = stage.authority.renew(lease)
    with pytest.raises(ApprovalNeeded) as needed:
        stage.admit(lease, "ticket.close", key="a")
    assert needed.value.request != first


def test_the_cap_is_read_from_the_policy_and_raising_it_is_a_widening() -> None:
    assert policy().defaults.pending_per_run == 24
    assert policy(CAPPED).defaults.pending_per_run == 3
    (change,) = diff(policy(CAPPED), policy())
    assert (change.subject, change.before, change.after, change.widens) == ("defaults.pending_per_run", "3", "24", True)
    for wrong in ("0", "1001", '"many"'):
        with pytest.raises(Exception, match="pending_per_run must be"):
            policy(changed("pending_per_run = 3", f"pending_per_run = {wrong}", CAPPED))
