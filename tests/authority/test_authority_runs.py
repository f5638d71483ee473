"""Runs: start, fence, ask, wait, draw, renew, escalate, end. Through the face that agent hosts use."""

from __future__ import annotations

import pytest

from leasehold.errors import InvalidError, NotFoundError
from leasehold.ledger.entry import EntryKind
from leasehold.model.decision import Reason
from leasehold.model.request import RequestState
from meddling import raw
from stage import ANA, AUDIT, BEN, ERASE, EVA, GET, POLICY, UPDATE, Stage, changed, reason_of

# Starting


@pytest.mark.requirement("B3", "B4")
def test_a_run_carries_the_envelope_that_it_was_started_with(stage: Stage) -> None:
    run = stage.start().run
    assert (run.agent, run.route, run.tenant, run.environment, run.requested_by) == ("bot", "desk", "acme", "prod", ANA)
    assert run.expires_at - run.started_at == 1800
    assert run.requester_proof == "asserted"
    entry = stage.entries(EntryKind.RUN_STARTED)[0]
    assert (entry.requested_by, entry.agent, entry.detail["purpose"]) == (ANA, "bot", "answer T-1")


@pytest.mark.requirement("P1", "P3")
@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"route": "nowhere"}, Reason.UNKNOWN_ROUTE),
        ({"tenant": "initech"}, Reason.POLICY_DENIES),
        ({"environment": "dev"}, Reason.POLICY_DENIES),
    ],
)
def test_a_run_that_no_route_is_for_does_not_start_and_is_written_down(
    stage: Stage, changes: dict[str, str], reason: Reason
) -> None:
    assert reason_of(lambda: stage.start(**changes)) is reason
    assert stage.entries(EntryKind.START_DENIED)[0].reason == reason


def test_a_run_needs_a_purpose_in_words(stage: Stage) -> None:
    with pytest.raises(InvalidError, match="purpose"):
        stage.authority.start(
            agent="bot", route="desk", tenant="acme", environment="prod", requested_by=ANA, purpose=" "
        )


@pytest.mark.requirement("L4")
def test_a_run_is_taken_up_again_by_its_id_with_its_newest_attempt(stage: Stage) -> None:
    run = stage.start()
    again = stage.authority.retry(run)
    assert stage.authority.run(run.run_id) == again
    assert again.attempt == 2
    with pytest.raises(NotFoundError):
        stage.authority.run(run.run_id[:-1] + "0")
    with pytest.raises(InvalidError):
        stage.authority.run("run_x")


# Attempts


@pytest.mark.requirement("L4")
def test_a_retry_fences_off_everything_that_older_attempts_hold(stage: Stage) -> None:
    run = stage.start()
    request = stage.authority.request(run, UPDATE, reason="first")
    lease = stage.authority.wait(request, 5)
    newer = stage.authority.retry(run)
    assert stage.refusal(lease, "ticket.update", key="a") is Reason.STALE_ATTEMPT
    assert reason_of(lambda: stage.authority.renew(lease)) is Reason.STALE_ATTEMPT
    assert reason_of(lambda: stage.authority.wait(request, 5)) is Reason.STALE_ATTEMPT
    assert reason_of(lambda: stage.authority.request(run, UPDATE, reason="zombie")) is Reason.STALE_ATTEMPT
    assert reason_of(lambda: stage.authority.retry(run)) is Reason.STALE_ATTEMPT
    assert reason_of(lambda: stage.child(stage.lease(run=newer)) and stage.child(lease)) is Reason.STALE_ATTEMPT
    assert stage.use(stage.lease(run=newer), "ticket.update", key="a").charged
    stage.sweep()
    assert stage.entries(EntryKind.LEASE_ENDED) == []  # the old lease is dead already; it is written down when it ends


@pytest.mark.requirement("L4")
def test_a_lease_of_an_older_attempt_ends_as_superseded(stage: Stage) -> None:
    run = stage.start()
    lease = stage.lease(run=run)
    stage.authority.retry(run)
    stage.pass_time(300)
    stage.sweep()
    ended = stage.entries(EntryKind.LEASE_ENDED)[0]
    assert (ended.lease, ended.outcome) == (lease.lease.lease_id, "superseded")
    assert stage.refusal(lease, "ticket.update", key="a") is Reason.STALE_ATTEMPT


@pytest.mark.requirement("L4")
def test_a_worker_of_an_older_attempt_cannot_finish_the_run_under_the_newer_one(stage: Stage) -> None:
    run = stage.start()
    newer = stage.authority.retry(run)
    lease = stage.lease(run=newer)
    assert reason_of(lambda: stage.authority.finish(run)) is Reason.STALE_ATTEMPT
    assert stage.use(lease, "ticket.update", key="a").charged


def test_an_idempotency_key_counts_for_the_run_whatever_its_attempt(stage: Stage) -> None:
    run = stage.start()
    stage.use(stage.lease(run=run), "ticket.update", key="a")
    newer = stage.authority.retry(run)
    assert stage.refusal(stage.lease(run=newer), "ticket.update", key="a") is Reason.ALREADY_DONE


# Asking


@pytest.mark.requirement("L1", "L3", "L5", "B1")
def test_a_lease_says_everything_that_was_agreed(stage: Stage) -> None:
    run = stage.start()
    lease = stage.lease(UPDATE | GET, run=run).lease
    assert lease.run_id == run.run_id
    assert (lease.attempt, lease.agent, lease.requested_by, lease.tenant) == (1, "bot", ANA, "acme")
    assert (lease.environment, lease.route, lease.reason) == ("prod", "desk", "customer asked")
    assert sorted(lease.allow) == ["ticket.get", "ticket.update"]
    assert lease.deny == ("mail.purge",)
    assert lease.approved_by == ("policy",)
    assert lease.budget == {"calls": 20_000_000, "tool_seconds": 600_000_000, "usd": 1_000_000}
    assert lease.expires_at - lease.issued_at == 300
    assert lease.receipt
    entry = stage.entries(EntryKind.LEASE_ISSUED)[0]
    assert (entry.lease, entry.request, entry.requested_by) == (lease.lease_id, lease.request_id, ANA)


@pytest.mark.requirement("L3")
@pytest.mark.case(50)
def test_a_lease_lives_no_longer_than_fifteen_minutes(stage: Stage) -> None:
    lease = stage.lease(ttl_seconds=900).lease
    assert lease.expires_at - lease.issued_at == 900
    for ttl in (901, -1):
        with pytest.raises(InvalidError, match="900"):
            stage.lease(ttl_seconds=ttl)


@pytest.mark.requirement("L3", "P13")
def test_a_route_may_allow_less_than_the_hard_maximum() -> None:
    stage = Stage(changed('run_ttl = "30m"', 'run_ttl = "30m"\nttl = "1m"'))
    assert reason_of(lambda: stage.lease(ttl_seconds=61)) is Reason.TTL_TOO_LONG
    assert stage.entries(EntryKind.REQUEST_DENIED)[0].reason == "ttl_too_long"
    stage.close()


@pytest.mark.requirement("P1", "P3")
@pytest.mark.parametrize(
    ("allow", "reason"),
    [
        ({"ticket.nuke": {}}, Reason.UNKNOWN_ACTION),
        ({"ticket.update": {"ticket": ["X-1"]}}, Reason.OUT_OF_RANGE),
        ({"ticket.update": {"ticket": ["**"]}}, Reason.OUT_OF_RANGE),
        ({"ticket.update": {}}, Reason.BAD_ATTRIBUTE),
        ({"ticket.update": {"ticket": ["T-1"], "note": ["x"]}}, Reason.BAD_ATTRIBUTE),
        ({"mail.purge": {"folder": ["in/a"]}}, Reason.ACTION_DENIED),
    ],
)
def test_what_the_route_does_not_offer_is_refused_and_written_down(
    stage: Stage, allow: dict[str, dict[str, object]], reason: Reason
) -> None:
    assert reason_of(lambda: stage.lease(allow)) is reason
    assert stage.entries(EntryKind.REQUEST_DENIED)[0].reason == reason


def test_a_request_for_nothing_is_an_error(stage: Stage) -> None:
    with pytest.raises(InvalidError, match="nothing"):
        stage.lease({})


@pytest.mark.requirement("P13")
def test_a_request_may_ask_for_less_budget_than_the_route_has_and_never_for_more(stage: Stage) -> None:
    budget = stage.lease(budget={"calls": 2, "usd": "5.00"}).lease.budget
    assert budget == {"calls": 2_000_000, "tool_seconds": 600_000_000, "usd": 1_000_000}


def test_a_request_in_a_run_whose_route_is_gone_is_refused(stage: Stage) -> None:
    run = stage.start(route="staging", environment="staging")
    stage.accept(POLICY[: POLICY.index('[routes."staging"]')])
    assert reason_of(lambda: stage.lease(GET, run=run)) is Reason.UNKNOWN_ROUTE
    assert stage.entries(EntryKind.REQUEST_DENIED)[0].reason == "unknown_route"


# People, and waiting for them


@pytest.mark.requirement("P9", "F1")
def test_a_withdrawn_request_cannot_be_approved_or_drawn(stage: Stage) -> None:
    request = stage.authority.request(stage.start(), {"ticket.close": {"ticket": ["T-1"]}}, reason="fixed")
    assert stage.authority.runs.request_state(request) is RequestState.PENDING
    assert stage.authority.runs.withdraw(request) is RequestState.WITHDRAWN
    assert reason_of(lambda: stage.people.approve(request, BEN)) is Reason.NOT_PENDING
    assert reason_of(lambda: stage.authority.wait(request, 5)) is Reason.NOT_PENDING
    assert reason_of(lambda: stage.authority.runs.withdraw(request)) is Reason.NOT_PENDING
    assert stage.entries(EntryKind.REQUEST_WITHDRAWN)[0].request == request.request_id


@pytest.mark.requirement("F1")
def test_an_unanswered_request_expires_which_is_no_denial(stage: Stage) -> None:
    request = stage.authority.request(stage.start(), {"ticket.close": {"ticket": ["T-1"]}}, reason="fixed")
    stage.pass_time(600)
    assert reason_of(lambda: stage.authority.wait(request, 5)) is Reason.APPROVAL_EXPIRED  # no sweep was needed
    assert reason_of(lambda: stage.people.approve(request, BEN)) is Reason.NOT_PENDING
    stage.sweep()
    assert stage.authority.runs.request_state(request) is RequestState.EXPIRED
    assert stage.entries(EntryKind.REQUEST_EXPIRED)[0].request == request.request_id
    assert reason_of(lambda: stage.authority.wait(request, 5)) is Reason.APPROVAL_EXPIRED


@pytest.mark.requirement("P12")
def test_a_denied_request_draws_nothing(stage: Stage) -> None:
    request = stage.authority.request(stage.start(), {"ticket.close": {"ticket": ["T-1"]}}, reason="fixed")
    assert stage.people.deny(request, BEN).state is RequestState.DENIED
    assert reason_of(lambda: stage.authority.wait(request, 5)) is Reason.APPROVAL_DENIED
    assert reason_of(lambda: stage.people.approve(request, EVA)) is Reason.NOT_PENDING


@pytest.mark.requirement("L6")
def test_who_waits_for_a_request_that_is_revoked_hears_of_it_at_once(stage: Stage) -> None:
    request = stage.authority.request(stage.start(), {"ticket.close": {"ticket": ["T-1"]}}, reason="fixed")
    waiting = stage.authority.runs.submit_wait(request)
    stage.revoke(f"request:{request.request_id}")
    assert reason_of(lambda: waiting.result(5)) is Reason.REVOKED


def test_waiting_ends_with_a_time_out_and_may_be_taken_up_again(stage: Stage) -> None:
    request = stage.authority.request(stage.start(), {"ticket.close": {"ticket": ["T-1"]}}, reason="fixed")
    with pytest.raises(TimeoutError, match=f"people have not decided {request.request_id} yet"):
        stage.authority.wait(request, 0.01)
    stage.people.approve(request, BEN)
    assert stage.authority.wait(request.request_id, 5).lease.approved_by == (BEN,)


def test_a_request_is_found_by_its_id_alone(stage: Stage) -> None:
    request = stage.authority.request(stage.start(), UPDATE, reason="x")
    assert stage.authority.find_request(request.request_id) == request
    unknown = request.request_id[:-4] + "0000"
    with pytest.raises(NotFoundError):
        stage.authority.find_request(unknown)
    with pytest.raises(InvalidError):
        stage.authority.find_request("req_1")
    waiting = stage.authority.runs.submit_wait(request)
    assert waiting.result(5).lease.request_id == request.request_id


# Drawing and renewing


@pytest.mark.requirement("L15")
def test_a_task_longer_than_a_lease_renews_until_its_run_is_over(stage: Stage) -> None:
    run = stage.start()
    lease = first = stage.lease(run=run)
    for _ in range(6):
        stage.pass_time(299)
        stage.use(lease, "ticket.update", key=lease.lease.lease_id)
        lease = stage.authority.renew(lease)
    assert stage.refusal(first, "ticket.update", key="z") is Reason.EXPIRED
    assert lease.lease.request_id == first.lease.request_id
    assert lease.lease.expires_at == run.run.expires_at
    stage.pass_time(6)
    assert reason_of(lambda: stage.authority.renew(lease)) is Reason.EXPIRED
    assert stage.entries(EntryKind.LEASE_DENIED)[0].reason == "expired"


@pytest.mark.requirement("L15")
def test_the_older_lease_runs_to_its_own_end_beside_the_renewed_one(stage: Stage) -> None:
    lease = stage.lease()
    stage.pass_time(100)
    newer = stage.authority.renew(lease)
    stage.use(lease, "ticket.update", key="a")
    stage.use(newer, "ticket.update", key="b")
    assert stage.spent(lease.lease.request_id) == (2_000_000, 0, 0)


@pytest.mark.requirement("L15", "P4")
@pytest.mark.invariant("I6")
def test_a_renewal_is_judged_by_the_policy_of_its_own_moment(stage: Stage) -> None:
    lease = stage.lease()
    stage.accept(
        changed('allow."ticket.update" = { ticket = ["T-*"] }', 'allow."ticket.update" = { ticket = ["T-1"] }')
    )
    assert reason_of(lambda: stage.authority.renew(lease)) is Reason.OUT_OF_RANGE


@pytest.mark.requirement("P4")
def test_a_renewal_waits_for_people_that_the_policy_has_come_to_demand(stage: Stage) -> None:
    lease = stage.lease({"ticket.update": {"ticket": ["T-1"]}})
    stage.accept(changed('approve."ticket.update" = "none"', 'approve."ticket.update" = "lease"'))
    assert reason_of(lambda: stage.authority.renew(lease)) is Reason.APPROVAL_NEEDED


@pytest.mark.requirement("L8", "B9")
def test_a_renewed_lease_of_a_finished_run_is_refused(stage: Stage) -> None:
    run = stage.start()
    lease = stage.lease(run=run)
    stage.authority.runs.end(run.run, "done")
    assert reason_of(lambda: stage.authority.renew(lease)) is Reason.RUN_FINISHED
    assert reason_of(lambda: stage.authority.retry(run)) is Reason.RUN_FINISHED
    assert stage.refusal(lease, "ticket.update", key="a") is Reason.COMPLETED


@pytest.mark.requirement("B9")
@pytest.mark.case(61)
def test_a_child_whose_parents_leases_are_gone_gets_none(stage: Stage) -> None:
    child = stage.child(stage.lease())
    raw(stage.authority.engine.store).execute("DELETE FROM leases")
    assert reason_of(lambda: stage.lease(run=child)) is Reason.NOT_FOUND


def test_a_child_that_was_finished_before_stays_as_it_was(stage: Stage) -> None:
    run = stage.start()
    child = stage.child(stage.lease(run=run))
    stage.authority.runs.end(child.run, "done")
    stage.authority.runs.end(run.run, "done")
    assert [entry.run for entry in stage.entries(EntryKind.RUN_FINISHED)] == [child.run_id, run.run_id]


# Escalation and freshness


@pytest.mark.requirement("C1", "B7")
def test_an_escalation_is_one_operation_dead_after_a_minute(stage: Stage) -> None:
    run = stage.start()
    tried = ("ticket.get", "ticket.audit")
    lease = stage.authority.escalate(run, "ticket.update", {"ticket": ["T-1"]}, reason="stuck", tried=tried)
    assert lease.lease.expires_at - lease.lease.issued_at == 60
    assert lease.lease.budget["calls"] == 1_000_000
    assert lease.lease.delegation_depth == 0
    stage.use(lease, "ticket.update", key="a")
    assert stage.refusal(lease, "ticket.update", key="b") is Reason.BUDGET
    request = stage.authority.find_request(lease.lease.request_id)
    assert stage.desk.card(request).tried == tried
    stage.pass_time(60)
    assert stage.refusal(lease, "ticket.update", key="b") is Reason.EXPIRED
    assert stage.sweep() == 1
    assert stage.entries(EntryKind.LEASE_ENDED)[0].outcome == "exhausted"


@pytest.mark.requirement("C1")
def test_an_escalation_that_nobody_answers_in_time_leaves_no_question_behind(stage: Stage) -> None:
    run = stage.start()
    with pytest.raises(TimeoutError, match="it was taken back"):
        stage.authority.escalate(run, "ticket.close", {"ticket": ["T-1"]}, reason="stuck", timeout=0.01)
    assert stage.desk.pending() == ()
    assert [entry.outcome for entry in stage.entries(EntryKind.REQUEST_WITHDRAWN)] == ["withdrawn"]


@pytest.mark.requirement("C2")
def test_a_critical_action_needs_a_lease_issued_just_now(stage: Stage) -> None:
    run = stage.start()
    lease = stage.lease({"ticket.unlock": {"ticket": ["T-1"]}}, run=run)
    stage.pass_time(9)
    stage.use(lease, "ticket.unlock", key="a")
    stage.pass_time(1)
    assert stage.refusal(lease, "ticket.unlock", key="b") is Reason.NOT_FRESH
    stage.use(stage.authority.renew(lease), "ticket.unlock", key="b")
    fresh = stage.authority.escalate(run, "ticket.unlock", {"ticket": ["T-1"]}, reason="now")
    stage.use(fresh, "ticket.unlock", key="c")
    assert stage.denials() == ["not_fresh"]


# Ending


@pytest.mark.requirement("B2")
def test_a_finished_run_takes_everything_under_it_along(stage: Stage) -> None:
    run = stage.start()
    lease = stage.lease(UPDATE | AUDIT | ERASE, run=run)
    pending = stage.ask(lease, "ticket.audit")
    approved = stage.ask(lease, "ticket.erase", key="a")
    stage.people.approve(approved, BEN, EVA)
    row = stage.authority.runs.end(run.run, "done")
    assert row.state == "finished"
    states = [stage.authority.runs.request_state(stage.authority.find_request(name)) for name in (pending, approved)]
    assert states == [RequestState.WITHDRAWN, RequestState.LAPSED]
    assert stage.entries(EntryKind.LEASE_ENDED)[0].outcome == "completed"
    assert stage.authority.runs.end(run.run, "done") == row  # twice is harmless
    assert len(stage.entries(EntryKind.RUN_FINISHED)) == 1


@pytest.mark.requirement("B2")
@pytest.mark.case(68)
def test_a_call_that_is_open_when_its_run_finishes_may_still_be_settled(stage: Stage) -> None:
    run = stage.start()
    lease = stage.lease(run=run)
    admitted = stage.admit(lease, "ticket.update", key="a")
    stage.authority.runs.end(run.run, "done")
    assert stage.refusal(lease, "ticket.update", key="b") is Reason.COMPLETED
    assert stage.settle(admitted).charged["calls"] == 1_000_000
