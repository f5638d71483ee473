"""Reservations and settlements as arithmetic: nothing is spent twice, hidden, or given back without proof."""

from __future__ import annotations

from collections.abc import Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from leasehold.decide.accounts import (
    account_needs,
    open_accounts,
    refuse_overspend,
    remaining,
    reserve,
    settle_accounts,
)
from leasehold.decide.facts import Changes, Facts, Ref
from leasehold.decide.rows import AccountRow, ControlRow
from leasehold.model.budget import MAX_AMOUNT
from leasehold.model.call import CallState
from leasehold.model.decision import Decision, Reason

RUN, REQUEST = "run", "request"
ACCOUNTS = (RUN, REQUEST)
AMOUNTS = st.integers(0, 20)
PLENTY = {"calls": MAX_AMOUNT, "usd": MAX_AMOUNT}


def account(limit: int, *, name: str = RUN, unit: str = "usd", **spent: int) -> AccountRow:
    parts = {"settled": 0, "reserved": 0, "unknown": 0, **spent}
    return AccountRow(tenant="acme", account=name, unit=unit, limit=limit, **parts)


def facts_of(*rows: AccountRow, units: tuple[str, ...] = ("calls", "usd")) -> Facts:
    control = ControlRow(
        log="log", issuer="i", epoch=1, epoch_since=0, policy="p", policy_since=0, last_time_ms=0, size=0, frontier=b""
    )
    facts = Facts(control)
    for need in account_needs("acme", ACCOUNTS, units):
        assert isinstance(need, Ref)
        facts.load(need, next((row for row in rows if (row.tenant, row.account, row.unit) == need.key), None))
    return facts


def row_of(facts: Facts, name: str = RUN, unit: str = "usd") -> AccountRow:
    row = facts.get(AccountRow, "acme", name, unit)
    assert row is not None
    return row


def reserved(facts: Facts, wanted: Mapping[str, int | None], accounts: tuple[str, ...] = ACCOUNTS) -> dict[str, int]:
    answer = reserve(facts, "acme", accounts, wanted, PLENTY)
    assert not isinstance(answer, Decision)
    amounts, rows = answer
    facts.apply(Changes(rows=tuple(rows)))
    return amounts


def refused(facts: Facts, wanted: Mapping[str, int | None], live: Mapping[str, int] = PLENTY) -> Decision:
    answer = reserve(facts, "acme", ACCOUNTS, wanted, live)
    assert isinstance(answer, Decision)
    return answer


def settled(facts: Facts, held: Mapping[str, int], actual: Mapping[str, int], outcome: CallState) -> None:
    facts.apply(Changes(rows=tuple(settle_accounts(facts, "acme", ACCOUNTS, held, actual, outcome))))


@pytest.mark.requirement("B8")
def test_a_reservation_stands_in_every_account_of_the_chain() -> None:
    facts = facts_of(account(10), account(5, name=REQUEST))
    assert reserved(facts, {"usd": 4}) == {"usd": 4}
    assert (row_of(facts).reserved, row_of(facts, REQUEST).reserved) == (4, 4)


@pytest.mark.requirement("P13")
@pytest.mark.invariant("I2")
def test_the_live_policys_budget_counts_where_it_is_less_than_the_accounts() -> None:
    facts = facts_of(account(10, settled=3), account(8, name=REQUEST))
    for live, left in (({"usd": 5}, "0.000002 of 0.000005 left"), ({"usd": 2}, "0 of 0.000002 left"), ({}, "0 of 0 ")):
        refusal = refused(facts, {"usd": 3}, live)
        assert (refusal.reason, left in refusal.message) == (Reason.BUDGET, True), refusal.message
    assert refused(facts, {"usd": None}, {"usd": 3}).reason is Reason.BUDGET
    assert reserve(facts, "acme", ACCOUNTS, {"usd": None}, {"usd": 5})[0] == {"usd": 2}


@pytest.mark.requirement("B8")
@pytest.mark.invariant("I2")
def test_what_does_not_fit_one_account_is_refused_and_reserved_in_none() -> None:
    facts = facts_of(account(10), account(3, name=REQUEST))
    refusal = refused(facts, {"usd": 4})
    assert (refusal.reason, refusal.rule) == (Reason.BUDGET, "budget.usd")
    assert "request" in refusal.message
    assert row_of(facts) == account(10)


def test_a_unit_that_nobody_budgeted_is_refused() -> None:
    facts = facts_of(account(10))
    assert refused(facts, {"usd": 0}).check == "usd is budgeted"


def test_an_account_that_stands_twice_in_a_chain_is_charged_once() -> None:
    facts = facts_of(account(10))
    reserved(facts, {"usd": 4}, (RUN, RUN))
    assert row_of(facts).reserved == 4
    needs = account_needs("acme", (RUN, RUN), ("usd",))
    assert needs == [Ref(AccountRow, ("acme", RUN, "usd"))]


def test_all_that_is_left_is_the_least_of_what_the_accounts_have() -> None:
    facts = facts_of(account(10, settled=3), account(5, name=REQUEST, unknown=1))
    assert reserved(facts, {"usd": None}) == {"usd": 4}


def test_all_that_is_left_is_refused_where_nothing_is_left() -> None:
    facts = facts_of(account(10), account(5, name=REQUEST, reserved=5))
    assert refused(facts, {"usd": None}).reason is Reason.BUDGET


@pytest.mark.case(68, 71)
@pytest.mark.parametrize(
    ("outcome", "expected"),
    [
        (CallState.DONE, {"settled": 3}),
        (CallState.FAILED, {"settled": 3}),
        (CallState.UNKNOWN, {"unknown": 4}),
        (CallState.NOT_STARTED, {}),
    ],
)
def test_an_end_turns_the_reservation_into_what_it_cost(outcome: CallState, expected: dict[str, int]) -> None:
    facts = facts_of(account(10), account(10, name=REQUEST))
    held = reserved(facts, {"usd": 4})
    settled(facts, held, {"usd": 3}, outcome)
    assert row_of(facts) == account(10, **expected)
    assert row_of(facts, REQUEST) == account(10, name=REQUEST, **expected)


@pytest.mark.case(69)
def test_an_overrun_is_recorded_in_full_and_leaves_nothing() -> None:
    facts = facts_of(account(10), account(10, name=REQUEST))
    settled(facts, reserved(facts, {"usd": 4}), {"usd": 25}, CallState.DONE)
    assert row_of(facts).settled == 25
    assert remaining(row_of(facts), MAX_AMOUNT) == 0
    assert refused(facts, {"usd": 1}).reason is Reason.BUDGET
    assert refuse_overspend(row_of(facts), 0, MAX_AMOUNT) is None


def test_a_cost_in_a_unit_without_a_budget_is_written_down_all_the_same() -> None:
    facts = facts_of(account(10, unit="calls"), account(10, name=REQUEST, unit="calls"))
    settled(facts, reserved(facts, {"calls": 1}), {"calls": 1, "usd": 7}, CallState.DONE)
    assert row_of(facts) == account(0, settled=7)
    assert remaining(row_of(facts), MAX_AMOUNT) == 0


@pytest.mark.case(70)
def test_an_account_never_grows_past_the_largest_amount() -> None:
    facts = facts_of(account(10), account(10, name=REQUEST))
    settled(facts, {}, {"usd": MAX_AMOUNT}, CallState.DONE)
    settled(facts, {}, {"usd": MAX_AMOUNT}, CallState.DONE)
    assert row_of(facts).settled == MAX_AMOUNT


def test_new_accounts_have_their_limits_and_nothing_spent() -> None:
    assert open_accounts("acme", RUN, {"usd": 7, "calls": 2}) == [account(2, unit="calls"), account(7)]


CALLS = st.lists(
    st.tuples(AMOUNTS, AMOUNTS, st.sampled_from([CallState.DONE, CallState.NOT_STARTED, CallState.UNKNOWN, None])),
    max_size=12,
)


@pytest.mark.invariant("I2")
@given(limits=st.tuples(AMOUNTS, AMOUNTS), calls=CALLS)
def test_what_stands_in_an_account_is_what_its_calls_came_to_and_within_the_limit_but_for_overruns(
    limits: tuple[int, int], calls: list[tuple[int, int, CallState | None]]
) -> None:
    facts = facts_of(account(limits[0]), account(limits[1], name=REQUEST))
    came_to, overrun = 0, 0
    for wanted, cost, outcome in calls:
        answer = reserve(facts, "acme", ACCOUNTS, {"usd": wanted}, PLENTY)
        fits = wanted == 0 or came_to + wanted <= min(limits)
        assert isinstance(answer, Decision) != fits
        if isinstance(answer, Decision):
            continue
        facts.apply(Changes(rows=tuple(answer[1])))
        if outcome is not None:
            settled(facts, answer[0], {"usd": cost}, outcome)
        spent = {None: wanted, CallState.UNKNOWN: wanted, CallState.NOT_STARTED: 0}.get(outcome, cost)
        came_to += spent
        overrun += max(0, spent - wanted)
    for name, limit in zip(ACCOUNTS, limits, strict=True):
        row = row_of(facts, name)
        assert row.settled + row.reserved + row.unknown == came_to <= limit + overrun
        assert min(row.settled, row.reserved, row.unknown) >= 0
