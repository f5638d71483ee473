"""The history checker about life: stops, expiry and ends that are final, one lie at a time."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from ledger_histories import approved_call, broken, close, family, one_run
from ledger_story import BEGIN, Story
from msgspec.structs import replace

from leasehold.ledger.entry import Entry, EntryKind


@pytest.mark.invariant("I1")
@pytest.mark.requirement("L6", "P15")
@pytest.mark.parametrize("kind", [EntryKind.REVOKED, EntryKind.HELD])
@pytest.mark.parametrize(
    "scope",
    [
        *("all", "tenant:acme", "environment:prod", "route:support/close", "person:user:ana", "tool:ticket"),
        *("agent:support-bot", "run:run_1", "request:req_1", "lease:lease_1", "action:ticket.update"),
        *("agent:sub-bot", "run:run_2", "request:req_2", "lease:lease_2"),
    ],
)
def test_call_below_a_stopped_scope_is_a_violation(scope: str, kind: EntryKind) -> None:
    for tenant in ("acme", ""):
        story, *_, lease = family()
        story.stop(scope, kind, tenant=tenant)
        story.admit(lease)
        assert broken(story) == [("I1", 7)]


@pytest.mark.invariant("I1")
@pytest.mark.parametrize("scope", ["tenant:globex", "agent:other", "action:ticket.close", "tool:tick", "run:run_3"])
def test_stop_of_something_else_stops_nothing(scope: str) -> None:
    story, *_, lease = family()
    story.stop(scope)
    story.stop("all", tenant="globex")
    story.admit(lease)
    assert broken(story) == []


@pytest.mark.invariant("I1")
def test_stop_of_an_implied_action_or_of_the_approval_stops_the_call() -> None:
    for scope, detail in (("action:ticket.log", {"implies": ("ticket.log",)}), ("request:req_call", {})):
        story, lease, request = approved_call()
        story.stop(scope)
        close(story, lease, request, detail=detail)
        assert broken(story) == [("I1", 6)]


@pytest.mark.invariant("I1")
def test_revoke_kills_what_is_older_and_a_hold_lasts_until_it_is_lifted() -> None:
    story = Story()
    story.stop("agent:support-bot")
    story.stop("action:ticket.update")
    story.stop("all", EntryKind.HELD)
    story.stop("all", EntryKind.LIFTED)
    story.admit(story.issue(story.ask(story.start())))
    assert broken(story) == []
    story.stop("all", EntryKind.HELD, detail={"in_flight": ("adm_1",)})
    story.start("run_2")
    assert broken(story) == [("I1", 9)]


@pytest.mark.invariant("I1")
def test_lease_or_child_run_below_a_stopped_scope_is_a_violation() -> None:
    story, _, request, lease = one_run()
    story.stop("run:run_1")
    story.issue(request, "lease_9")
    story.start("run_2", parent=lease)
    assert broken(story) == [("I1", 4), ("I1", 5)]


@pytest.mark.invariant("I1")
@pytest.mark.case(53)
def test_stop_must_name_every_open_call_that_it_reaches() -> None:
    story, *_, lease = family()
    story.admit(lease)
    story.settle(story.admit(lease, "adm_2"))
    story.stop("run:run_1")
    story.stop("tool:ticket", EntryKind.HELD, tenant="", detail={"in_flight": ("adm_1",)})
    story.stop("all", tenant="globex")
    assert broken(story) == [("I1", 9)]


@pytest.mark.invariant("I1")
@pytest.mark.requirement("B4")
def test_run_for_somebody_who_was_let_go_is_a_violation_until_they_are_back() -> None:
    story = Story()
    story.event(EntryKind.PERSON_OFFBOARDED, person="user:ana")
    story.start()
    story.event(EntryKind.PERSON_ADDED, person="user:ana")
    story.start("run_2")
    assert broken(story) == [("I1", 1)]


@pytest.mark.invariant("I5")
@pytest.mark.requirement("L3")
@pytest.mark.case(50)
def test_call_at_the_expiry_of_any_link_is_a_violation() -> None:
    for at_place in (0, 2, 3, 5):
        story, *_, lease = family()
        entry = story.entries[at_place]
        story.entries[at_place] = replace(entry, detail=entry.detail | {"expires_at": BEGIN + 60})
        story.now_ms = (BEGIN + 60) * 1000 - 1
        story.admit(lease)
        assert ("I5", 6) not in broken(story)
        story.now_ms = (BEGIN + 60) * 1000
        story.admit(lease, "adm_2")
        assert ("I5", 7) in broken(story)


@pytest.mark.invariant("I5")
@pytest.mark.requirement("B9")
@pytest.mark.case(45)
def test_lease_or_run_that_outlives_what_is_above_it_is_a_violation() -> None:
    story, _, lease, child, child_lease = family()
    late = {"detail": {"expires_at": BEGIN + 301}}
    request = story.ask(child, "req_3", detail={"allow": child_lease.detail["allow"]})
    story.issue(request, "lease_3", above=lease, **late)
    story.start("run_3", parent=lease, detail={"expires_at": BEGIN + 1801})
    story.issue(story.ask(story.entries[0], "req_4"), "lease_4", detail={"expires_at": BEGIN + 1801})
    assert broken(story) == [("I5", 7), ("I5", 8), ("I5", 10)]


@pytest.mark.invariant("I8")
@pytest.mark.case(53)
def test_nothing_starts_in_what_has_ended() -> None:
    for end in (
        lambda story, run, lease: story.end_lease(lease),
        lambda story, run, lease: story.finish(run),
        lambda story, run, lease: story.retry(run),
        lambda story, run, lease: story.event(EntryKind.EPOCH_RAISED),
        lambda story, run, lease: story.event(EntryKind.CLOCK_CONFIRMED, detail={"confirmed_ms": story.now_ms}),
        lambda story, run, lease: story.add(replace(story.entries[1], kind=EntryKind.REQUEST_COMPLETED, detail={})),
    ):
        story, run, lease, _, child_lease = family()
        end(story, run, lease)
        story.admit(child_lease)
        story.start("run_3", parent=lease)
        assert broken(story) == [("I8", 7), ("I8", 8)]


@pytest.mark.invariant("I8")
@pytest.mark.requirement("L4")
@pytest.mark.case(62)
def test_no_lease_is_drawn_and_no_request_made_in_what_has_ended() -> None:
    for end in (
        lambda story, run: story.finish(run),
        lambda story, run: story.retry(run),
        lambda story, run: story.event(EntryKind.EPOCH_RAISED),
    ):
        story, run, request, _ = one_run()
        end(story, run)
        story.issue(request, "lease_2")
        story.ask(run, "req_2")
        assert broken(story) == [("I8", 4), ("I8", 5)]


@pytest.mark.invariant("I8")
@pytest.mark.case(47, 52)
def test_confirmed_clock_voids_leases_and_leaves_runs_and_requests() -> None:
    story, _, request, _ = one_run()
    story.event(EntryKind.CLOCK_CONFIRMED, detail={"confirmed_ms": story.now_ms})
    story.admit(story.issue(request, "lease_2"))
    assert broken(story) == []


@pytest.mark.invariant("I8")
@pytest.mark.parametrize("state", ["pending", "denied", "expired", "withdrawn", "lapsed", "completed"])
def test_lease_is_drawn_only_from_a_request_that_is_approved_and_not_over(state: str) -> None:
    story = Story()
    story.issue(story.ask(story.start(), outcome=state))
    assert broken(story) == [("I8", 2)]


@pytest.mark.invariant("I8")
def test_lease_is_not_drawn_from_a_request_for_a_call() -> None:
    story, lease, request = approved_call()
    story.issue(request, "lease_2", detail={"allow": lease.detail["allow"][1:]})  # type: ignore[index]
    assert ("I8", 5) in broken(story)


@pytest.mark.invariant("I8")
@pytest.mark.requirement("B2")
def test_request_that_is_being_ended_takes_nothing_but_the_sub_calls_of_what_ends_it() -> None:
    story, _, request, lease = one_run()
    story.admit(lease, detail={"ending": ("req_1", "req_none")})
    story.admit(lease, "adm_2", detail={"parent_call": "adm_1"})
    assert broken(story) == []
    story.admit(lease, "adm_3")
    story.issue(request, "lease_2")
    assert broken(story) == [("I8", 5), ("I8", 6)]


@pytest.mark.invariant("I8")
@pytest.mark.requirement("B2")
@pytest.mark.parametrize(
    ("end", "is_over"),
    [
        (lambda story, call: story.settle(call), True),
        (lambda story, call: story.settle(call, detail={"no_effect": "said"}), True),
        (lambda story, call: story.give_up(call), True),
        (lambda story, call: story.settle(call, "failed"), True),
        (lambda story, call: story.settle(call, "failed", detail={"no_effect": "said"}), False),
        (lambda story, call: story.settle(call, "not_started"), False),
    ],
)
def test_ending_action_ends_its_request_unless_nothing_can_have_happened(
    end: Callable[[Story, Entry], object], is_over: bool
) -> None:
    story, _, request, lease = one_run()
    end(story, story.admit(lease, detail={"ending": ("req_1",)}))
    story.admit(lease, "adm_2")
    assert broken(story) == ([("I8", 5)] if is_over else [])
    assert is_over or story.add(replace(request, kind=EntryKind.REQUEST_COMPLETED, detail={}))


@pytest.mark.invariant("I8")
@pytest.mark.case(69)
def test_overrun_ends_the_request() -> None:
    story, _, _, lease = one_run()
    story.settle(story.admit(lease), cost={"calls": 1_000_000, "usd": 60_000}, detail={"overrun": ("usd",)})
    story.admit(lease, "adm_2")
    assert broken(story) == [("I8", 5)]


@pytest.mark.invariant("I8")
def test_second_ending_action_does_not_end_what_the_first_is_ending() -> None:
    story, _, _, lease = one_run()
    story.admit(lease, detail={"ending": ("req_1",)})
    second = story.admit(lease, "adm_2", detail={"ending": ("req_1",), "parent_call": "adm_1"})
    story.settle(second)
    story.admit(lease, "adm_3", detail={"parent_call": "adm_1"})
    assert broken(story) == []


@pytest.mark.invariant("I8")
@pytest.mark.parametrize(
    "kind",
    [
        EntryKind.REQUEST_ANSWERED,
        EntryKind.REQUEST_EXPIRED,
        EntryKind.REQUEST_WITHDRAWN,
        EntryKind.REQUEST_LAPSED,
        EntryKind.REQUEST_COMPLETED,
    ],
)
def test_request_moves_only_from_the_states_that_lead_there(kind: EntryKind) -> None:
    leads = {
        EntryKind.REQUEST_LAPSED: {"approved"},
        EntryKind.REQUEST_COMPLETED: {"used", "completed"},
    }.get(kind, {"pending"})
    for state in ("pending", "approved", "used", "denied", "expired", "withdrawn", "lapsed", "completed"):
        story = Story()
        request = story.ask(story.start(), outcome=state)
        story.add(
            replace(request, kind=kind, detail={"key": "k", "signature": "s", "public_key": "p"}, outcome="approved")
        )
        assert broken(story) == ([] if state in leads else [("I8", 2)])


@pytest.mark.invariant("I8")
def test_what_ends_a_request_that_was_never_made_is_a_violation() -> None:
    story = Story()
    run = story.start()
    story.add(replace(run, kind=EntryKind.REQUEST_EXPIRED, request="req_none", detail={}))
    story.answer(replace(run, request="req_none"))
    assert broken(story) == [("I8", 1), ("I8", 2)]


@pytest.mark.invariant("I8")
def test_ids_come_to_be_once() -> None:
    story, run, request, _ = one_run()
    story.start()
    story.ask(run)
    story.issue(request)
    assert {("I8", 3), ("I8", 4), ("I8", 5)} <= set(broken(story))


@pytest.mark.invariant("I8")
def test_what_was_never_there_does_not_end_and_nothing_belongs_to_it() -> None:
    story, run, _, lease = one_run()
    story.finish(replace(run, run="run_none"))
    story.retry(replace(run, run="run_none"))
    story.end_lease(replace(lease, lease="lease_none"))
    story.ask(replace(run, run="run_none"), "req_2")
    call = story.admit(lease)
    story.give_up(call)
    for kind in (EntryKind.CALL_UNKNOWN, EntryKind.CALL_LATE):
        story.add(replace(call, kind=kind, decision="", outcome="done", detail={}, admission="adm_none"))
    assert broken(story) == [*(("I8", index) for index in (3, 4, 5, 6)), ("I3", 9), ("I3", 10)]


@pytest.mark.invariant("I8")
@pytest.mark.requirement("L4")
def test_runs_and_leases_end_once_and_attempts_follow_each_other() -> None:
    story, run, _, lease = one_run()
    story.retry(run, attempt=3)
    story.end_lease(lease)
    story.end_lease(lease)
    story.finish(run)
    story.finish(run)
    story.retry(run)
    assert broken(story) == [("I8", 3), ("I8", 5), ("I8", 7), ("I8", 8)]


@pytest.mark.invariant("I8")
@pytest.mark.parametrize(
    ("first", "then", "is_fine"),
    [
        ("done", "done", False),
        ("failed", "unknown", False),
        ("unknown", "done", False),
        ("unknown", "unknown", False),
        ("unknown", "late", True),
        ("unknown", "late late", False),
        ("done", "late", False),
        ("", "late", False),
    ],
)
def test_calls_end_once_and_late_evidence_follows_only_unknown_ones(first: str, then: str, is_fine: bool) -> None:
    story, _, _, lease = one_run()
    call = story.admit(lease)
    for end in (*first.split(), *then.split()):
        match end:
            case "unknown":
                story.give_up(call)
            case "late":
                story.add(replace(call, kind=EntryKind.CALL_LATE, decision="", outcome="done", detail={}))
            case _:
                story.settle(call, end)
    assert broken(story) == ([] if is_fine else [("I8", len(story.entries) - 1)])
