"""Approver load: what people were asked, how they answered, and where they have stopped looking."""

from __future__ import annotations

import pytest

from leasehold.authority.load import read_load
from leasehold.errors import Denied
from leasehold.ledger.load import MIN_DECIDED, Load, Tally
from leasehold.model.instant import Instant
from stage import BEN, CLOSE, ERASE, EVA, Stage

WEEK_MS = 7 * 86_400_000


def load(stage: Stage, since_ms: int = 0) -> Load:
    return read_load(
        stage.authority.engine.store.queries, since=Instant(since_ms), until=Instant(stage.system.now() + 1)
    )


def ask(stage: Stage, ticket: str = "T-1") -> str:
    """A call of `ticket.close` that waits for a lead."""
    lease = stage.lease(CLOSE)
    return stage.ask(lease, "ticket.close", ticket, key="k")


@pytest.mark.requirement("F2")
@pytest.mark.case(87)
def test_requests_are_counted_by_rule_and_by_person_with_the_median_seconds_to_decision(stage: Stage) -> None:
    for seconds in (1, 4, 10):
        request = ask(stage)
        stage.pass_time(seconds)
        stage.people.approve(request, BEN)
    denied = ask(stage)
    stage.pass_time(30)
    stage.people.deny(denied, EVA)
    ask(stage)
    found = load(stage)
    rule = Tally(subject="desk: ticket.close (call)", asked=5, approved=3, denied=1, open=1, median_ms=7000)
    assert found.rules == (rule,)
    assert found.total == Tally(subject="all", asked=5, approved=3, denied=1, open=1, median_ms=7000)
    assert found.approvers == (
        Tally(subject=BEN, asked=3, approved=3, denied=0, median_ms=4000),
        Tally(subject=EVA, asked=1, approved=0, denied=1, median_ms=30_000),
    )
    assert found.rules[0].approved_percent == 75


def test_a_request_that_nobody_answered_is_neither_open_nor_decided(stage: Stage) -> None:
    ask(stage)
    stage.pass_time(700)
    stage.sweep()
    (rule,) = load(stage).rules
    assert (rule.asked, rule.decided, rule.open, rule.median_ms, rule.approved_percent) == (1, 0, 0, None, None)


def test_requests_that_waited_for_nobody_and_words_that_do_not_count_are_left_out(stage: Stage) -> None:
    request = ask(stage)
    with pytest.raises(Denied):
        stage.people.approve(request, "user:kim")
    found = load(stage)
    assert [rule.subject for rule in found.rules] == ["desk: ticket.close (call)"], "the lease itself needed nobody"
    assert found.approvers == ()


def test_with_a_quorum_the_request_is_decided_by_the_last_word_and_each_person_has_a_time(stage: Stage) -> None:
    request = stage.ask(stage.lease(ERASE), "ticket.erase", key="k")
    stage.pass_time(5)
    stage.people.approve(request, BEN)
    stage.pass_time(15)
    stage.people.approve(request, EVA)
    found = load(stage)
    assert [(rule.approved, rule.median_ms) for rule in found.rules] == [(1, 20_000)]
    assert {tally.subject: tally.median_ms for tally in found.approvers} == {BEN: 5000, EVA: 20_000}


def test_what_was_asked_before_the_window_is_left_out_with_its_answers(stage: Stage) -> None:
    early = ask(stage)
    stage.pass_time(60)
    since = int(stage.system.now())
    stage.people.approve(early, BEN)
    assert load(stage, since).total.asked == 0
    assert load(stage, since).approvers == ()
    ask(stage, "T-2")
    found = load(stage, since)
    assert found.total.asked == 1
    stage.pass_time(3600)
    assert round(load(stage, since).per_hour, 3) == 1.0


def test_a_long_ledger_is_read_back_only_as_far_as_the_window_reaches(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    request = ask(stage)
    stage.people.approve(request, BEN)
    for number in range(20):
        stage.use(stage.lease(), "ticket.update", f"T-{number}", key=f"k{number}")
    stage.pass_time(3600)
    ask(stage, "T-2")
    monkeypatch.setattr("leasehold.authority.load.MAX_LISTED", 20)
    reads: list[tuple[int, int]] = []
    queries = stage.authority.engine.store.queries
    real = queries.ledger
    monkeypatch.setattr(queries, "ledger", lambda begin, end: (reads.append((begin, end)), real(begin, end))[1])
    size = queries.control().size
    assert load(stage, int(stage.system.now()) - 1000).total.asked == 1
    assert reads[0] == (size - 20, size)
    assert min(begin for begin, _ in reads) > 0, "what is older than the window was not read"


@pytest.mark.requirement("F2")
@pytest.mark.parametrize(
    ("approved", "denied", "median_ms", "is_habit"),
    [
        (MIN_DECIDED, 0, 2999, True),
        (MIN_DECIDED, 0, 3000, False),
        (MIN_DECIDED - 1, 0, 1000, False),
        (95, 5, 1000, False),
        (96, 4, 1000, True),
        (0, 0, None, False),
    ],
)
def test_a_habit_is_more_than_95_percent_in_under_3_seconds_with_enough_answers(
    approved: int, denied: int, median_ms: int | None, *, is_habit: bool
) -> None:
    tally = Tally(subject="x", asked=approved + denied, approved=approved, denied=denied, median_ms=median_ms)
    assert tally.is_rubber_stamp is is_habit


@pytest.mark.requirement("F2")
def test_a_rule_that_is_always_approved_at_once_is_found(stage: Stage) -> None:
    for number in range(MIN_DECIDED):
        stage.people.approve(ask(stage, f"T-{number}"), BEN)
    (rule,) = load(stage, int(stage.system.now()) - WEEK_MS).rules
    assert rule.is_rubber_stamp
