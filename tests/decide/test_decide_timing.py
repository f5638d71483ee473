"""Hours and freezes at the door and when a lease is drawn: all calls of a route, reads too, by the database's clock."""

from __future__ import annotations

import pytest

from leasehold.errors import Denied
from leasehold.ledger.entry import EntryKind
from leasehold.model.decision import Reason
from stage import GET, UPDATE, Stage, changed, reason_of

# The stage's clock begins on Wednesday, 2026-05-06 at 12:00:00 UTC.
NOON = 'hours = { days = ["wed"], from = "12:00", to = "12:04", zone = "UTC" }\nrun_ttl'
LUNCH = 'freeze = [{ from = 2026-05-06T12:01:00Z, until = 2026-05-06T12:02:00Z, reason = "lunch" }]\nrun_ttl'
UPDATES = LUNCH.replace(" }]", ', actions = ["ticket.update"] }]')


@pytest.mark.requirement("F6")
def test_a_call_is_refused_in_a_freeze_and_admitted_with_its_last_second_under_the_same_lease(stage: Stage) -> None:
    stage.accept(changed("run_ttl", LUNCH))
    lease = stage.lease(GET | UPDATE)
    stage.pass_time(59)
    stage.use(lease, "ticket.get")
    stage.pass_time(1)
    assert stage.refusal(lease, "ticket.get") is Reason.FROZEN
    assert stage.refusal(lease, "ticket.update", key="a") is Reason.FROZEN
    stage.pass_time(60)
    stage.use(lease, "ticket.update", key="a")
    assert stage.denials() == ["frozen", "frozen"]


@pytest.mark.requirement("F6")
def test_the_last_minute_of_the_hours_is_whole_and_the_refusal_says_when_they_begin_again(stage: Stage) -> None:
    stage.accept(changed("run_ttl", NOON))
    lease = stage.lease(GET)
    stage.system.advance(milliseconds=239_999)
    stage.use(lease, "ticket.get")
    stage.system.advance(milliseconds=1)
    with pytest.raises(Denied) as refused:
        stage.admit(lease, "ticket.get")
    assert refused.value.decision.reason is Reason.OUTSIDE_HOURS
    assert refused.value.decision.rule == 'routes."desk".hours'
    assert "wed 2026-05-13 12:00:00 UTC" in refused.value.decision.enough


@pytest.mark.requirement("F6", "P5")
def test_a_rule_for_one_action_binds_what_implies_it_and_nothing_else(stage: Stage) -> None:
    stage.accept(changed("run_ttl", UPDATES))
    lease = stage.lease(GET | UPDATE | {"ticket.bulk": {"ticket": ["T-*"]}})
    stage.pass_time(60)
    stage.use(lease, "ticket.get")
    assert stage.refusal(lease, "ticket.update", key="a") is Reason.FROZEN
    assert reason_of(lambda: stage.admit(lease, "ticket.bulk", key="b", ticket_ids=["T-1"])) is Reason.FROZEN


@pytest.mark.requirement("F6")
def test_no_lease_is_drawn_while_all_of_it_is_closed(stage: Stage) -> None:
    stage.accept(changed("run_ttl", UPDATES))
    run = stage.start()
    both = stage.authority.request(run, GET | UPDATE, reason="x")
    only = stage.authority.request(run, UPDATE, reason="x")
    stage.pass_time(60)
    assert stage.authority.wait(both, 5).lease.allow.keys() == {"ticket.get", "ticket.update"}
    assert reason_of(lambda: stage.authority.wait(only, 5)) is Reason.FROZEN
    assert stage.entries(EntryKind.LEASE_DENIED)[-1].reason == "frozen"
    stage.pass_time(60)
    assert stage.authority.wait(only, 5)


@pytest.mark.requirement("F6", "L7")
def test_the_clock_of_the_database_decides_and_one_that_jumped_back_opens_nothing(stage: Stage) -> None:
    stage.accept(changed("run_ttl", LUNCH))
    lease = stage.lease(GET)
    stage.pass_time(60)
    assert stage.refusal(lease, "ticket.get") is Reason.FROZEN
    stage.system.jump(seconds=-1)
    assert stage.refusal(lease, "ticket.get") is Reason.FROZEN
    stage.system.jump(seconds=-30)
    assert stage.refusal(lease, "ticket.get") is Reason.CLOCK


@pytest.mark.requirement("F6")
def test_closed_is_told_after_what_the_policy_refuses_and_before_what_the_caller_lacks(stage: Stage) -> None:
    stage.accept(
        changed(
            "run_ttl",
            LUNCH,
            changed('"ticket.update" = { ticket = ["T-*"] }', '"ticket.update" = { ticket = ["T-1"] }'),
        )
    )
    lease = stage.lease({"ticket.update": {"ticket": ["T-1"]}})
    stage.accept(changed("run_ttl", LUNCH))
    wide = stage.lease(UPDATE)
    stage.accept(
        changed(
            "run_ttl",
            LUNCH,
            changed('"ticket.update" = { ticket = ["T-*"] }', '"ticket.update" = { ticket = ["T-1"] }'),
        )
    )
    stage.pass_time(60)
    assert stage.refusal(wide, "ticket.update", "T-2") is Reason.POLICY_DENIES
    assert stage.refusal(lease, "ticket.update") is Reason.FROZEN
    stage.pass_time(60)
    assert stage.refusal(lease, "ticket.update") is Reason.KEY_NEEDED
