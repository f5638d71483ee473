"""The history checker: silent about honest histories; lies about spending, people and grants each named."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from ledger_histories import CALLS_ONLY, approved_call, broken, call_like, close, family, one_run
from ledger_story import BEGIN, LOG_KEY, ORIGIN, Story
from msgspec.structs import replace

from leasehold.errors import VerificationError
from leasehold.ledger.checkpoint import Checkpoint
from leasehold.ledger.entry import Entry, EntryKind
from leasehold.ledger.export import verify_export, write_export
from leasehold.ledger.history import check_checkpoints, check_history


@pytest.mark.invariant("I1", "I2", "I3", "I4", "I5", "I7", "I8")
def test_honest_history_breaks_nothing() -> None:
    story, run, lease, child, child_lease = family()
    like = call_like(lease)
    request = story.ask_for_call(like)
    story.answer(request, verdict="approve", outcome="pending")
    story.answer(request, person="user:eva", decision="deny", reason="not_entitled", outcome="pending")
    story.answer(request, person="user:eva")
    first = story.admit(lease, "adm_1", key="k")
    story.settle(first, "not_started")
    story.settle(story.admit(lease, "adm_2", key="k"))
    story.refuse(lease)
    unknown = story.give_up(story.admit(child_lease, "adm_3"))
    story.add(replace(unknown, kind=EntryKind.CALL_LATE, outcome="done"))
    open_call = story.admit(child_lease, "adm_4", **CALLS_ONLY)
    story.stop("run:run_2", detail={"in_flight": ("adm_4",)})
    story.settle(open_call, "failed", cost={"calls": 1_000_000, "usd": 9_000_000}, detail={"overrun": ("usd",)})
    story.end_lease(child_lease, "revoked")
    story.finish(child, "revoked")
    story.stop("tool:db", EntryKind.HELD)
    story.stop("all", EntryKind.HELD, tenant="globex")
    not_begun = close(
        story, lease, request, "adm_5", approvals=("user:ben", "user:eva"), detail={"quorum": 2, **_NO_USD}
    )
    story.settle(not_begun, "not_started")
    story.settle(close(story, lease, request, "adm_6", approvals=("user:ben", "user:eva"), detail=_NO_USD), cost={})
    story.end_lease(lease, "completed")
    retried = story.retry(run)
    story.issue(story.ask(retried, "req_3"), "lease_3", detail={"expires_at": BEGIN + 600})
    story.event(EntryKind.DENIALS_COUNTED, tenant="acme", run="run_1")
    story.finish(retried)
    assert check_history(story.entries) == []
    ledger = verify_export(write_export(story.bodies, story.note()), [LOG_KEY])
    assert check_history(ledger.entries) == []


_NO_USD = {"reserved": ("calls=1000000",)}


def test_only_a_whole_ledger_has_a_history() -> None:
    story, *_ = one_run()
    with pytest.raises(VerificationError, match="no whole ledger"):
        check_history(story.entries[1:])
    assert check_history([]) == []


def test_violation_reads_as_one_line() -> None:
    story, _, _, lease = one_run()
    story.stop("lease:lease_1")
    story.admit(lease)
    (found,) = check_history(story.entries)
    assert str(found) == "I1 at 4: call.admitted: it starts although lease:lease_1 was revoked at 3"


@pytest.mark.invariant("I2")
@pytest.mark.requirement("B8")
def test_reservation_beyond_what_is_left_of_a_request_or_a_run_is_a_violation() -> None:
    story, run, _, lease = one_run()
    for number in range(5):
        story.admit(lease, f"adm_{number}", **CALLS_ONLY)
    story.admit(lease, "adm_5", **CALLS_ONLY)
    assert broken(story) == [("I2", 8)]
    other = story.issue(story.ask(run, "req_2"), "lease_2")
    for number in range(6, 10):
        story.admit(other, f"adm_{number}", **CALLS_ONLY)
    assert broken(story) == [("I2", 8)]
    story.admit(other, "adm_10", **CALLS_ONLY)
    assert broken(story) == [("I2", 8), ("I2", 15)]


@pytest.mark.invariant("I2")
@pytest.mark.case(66)
def test_child_spends_from_the_accounts_above_it() -> None:
    story, _, lease, _, child_lease = family()
    for number in range(5):
        story.admit(child_lease, f"adm_{number}", **CALLS_ONLY)
    story.admit(lease, "adm_5", **CALLS_ONLY)
    assert broken(story) == [("I2", 11)]


@pytest.mark.invariant("I2")
@pytest.mark.case(68, 71)
def test_unknown_calls_keep_their_charge_and_calls_that_never_started_give_it_back() -> None:
    for end, found in ((Story.give_up, [("I2", 5)]), (lambda story, call: story.settle(call, "not_started"), [])):
        story, _, _, lease = one_run()
        end(story, story.admit(lease, detail={"reserved": ("calls=1000000", "usd=500000")}))
        story.admit(lease, "adm_2")
        assert broken(story) == found


@pytest.mark.invariant("I2")
def test_call_without_a_reservation_or_in_a_unit_without_a_budget_is_a_violation() -> None:
    for reserved in (None, (), ("emails=1",)):
        story, _, _, lease = one_run()
        story.admit(lease, detail={"reserved": reserved})
        assert broken(story) == [("I2", 3)]


@pytest.mark.invariant("I2")
@pytest.mark.case(69)
def test_overrun_that_is_not_reported_is_a_violation() -> None:
    for overrun, found in ((None, [("I2", 4)]), (("usd",), []), (("calls", "usd"), [("I2", 4)])):
        story, _, _, lease = one_run()
        call = story.admit(lease)
        story.settle(call, cost={"calls": 1_000_000, "usd": 50_001}, detail={"overrun": overrun})
        assert broken(story) == found


@pytest.mark.invariant("I2")
def test_charge_for_a_call_that_never_started_is_a_violation() -> None:
    story, _, _, lease = one_run()
    story.settle(story.admit(lease), "not_started", cost={"calls": 1_000_000})
    assert broken(story) == [("I2", 4)]


@pytest.mark.invariant("I2")
@pytest.mark.case(43)
def test_tree_with_more_sub_agents_than_its_budget_is_a_violation() -> None:
    story, _, _, lease = one_run()
    for number in (2, 3, 4):
        story.start(f"run_{number}", parent=lease)
    assert broken(story) == [("I2", 5)]


@pytest.mark.invariant("I3")
@pytest.mark.case(95)
def test_outcome_without_an_earlier_intent_is_a_violation() -> None:
    for tell in (Story.settle, Story.give_up):
        story, _, _, lease = one_run()
        call = story.admit(lease)
        story.entries.pop()
        tell(story, call)
        assert broken(story) == [("I3", 3)]


@pytest.mark.invariant("I3")
@pytest.mark.parametrize("name", ["run", "lease", "action", "arguments_digest", "key"])
def test_outcome_of_another_call_than_was_admitted_is_a_violation(name: str) -> None:
    story, _, _, lease = one_run()
    story.settle(story.admit(lease), **{name: "another"})
    assert broken(story) == [("I3", 4)]


@pytest.mark.invariant("I3")
def test_admission_must_be_new_and_name_its_call() -> None:
    story, _, _, lease = one_run()
    story.admit(lease, key="a")
    story.admit(lease, key="b")
    story.admit(lease, "adm_2", arguments_digest="")
    assert broken(story) == [("I3", 4), ("I3", 5)]


@pytest.mark.invariant("I4")
@pytest.mark.requirement("P11")
@pytest.mark.case(76)
def test_approval_that_is_used_twice_is_a_violation() -> None:
    story, lease, request = approved_call()
    story.settle(close(story, lease, request))
    close(story, lease, request, "adm_2", key="close")
    assert ("I4", 7) in broken(story)


@pytest.mark.invariant("I4")
@pytest.mark.requirement("P9", "P11")
@pytest.mark.case(74)
@pytest.mark.parametrize(
    "fields",
    [
        {"action": "ticket.update"},
        {"arguments_digest": "hmac-sha256:other"},
        {"key": "another"},
        {"effect": "destructive"},
        {"approvals": ("user:eva",)},
        {"approvals": ()},
        {"detail": {"quorum": 2}},
        {"detail": {"approval": "unheard of"}},
        {"approval": ""},
        {"approval": "req_1"},
        {"approval": "req_none"},
    ],
)
def test_call_without_the_approval_of_exactly_itself_is_a_violation(fields: dict[str, object]) -> None:
    story, lease, request = approved_call()
    close(story, lease, request, **fields)
    assert broken(story) == [("I4", 5)]


@pytest.mark.invariant("I4")
def test_approval_under_another_lease_request_is_a_violation() -> None:
    story, _, request = approved_call()
    again = story.issue(story.ask(story.entries[0], "req_2"), "lease_2")
    close(story, again, request)
    assert broken(story) == [("I4", 7)]


@pytest.mark.invariant("I4")
@pytest.mark.parametrize(
    "answer", [{"verdict": "deny"}, {"outcome": "pending"}, {"decision": "deny", "reason": "not_entitled"}]
)
def test_call_whose_request_is_not_approved_is_a_violation(answer: dict[str, object]) -> None:
    story, lease, request = approved_call(**answer)
    close(story, lease, request)
    assert broken(story) == [("I4", 5)]


@pytest.mark.invariant("I4")
@pytest.mark.requirement("P12")
@pytest.mark.case(80)
def test_own_approval_is_a_violation_but_for_confirmed_writes() -> None:
    for answer, found in (({}, [("I4", 4)]), ({"detail": {"own_request": "yes"}}, [])):
        story, *_ = approved_call(person="user:ana", **answer)
        assert broken(story) == found


@pytest.mark.invariant("I4")
@pytest.mark.requirement("P12")
def test_own_word_never_counts_for_what_is_destructive() -> None:
    story, _, _, lease = one_run()
    request = story.ask_for_call(replace(call_like(lease), effect="destructive"))
    story.answer(request, person="user:ana", detail={"own_request": "yes"})
    close(story, lease, request, effect="destructive", approvals=("user:ana",))
    assert broken(story) == [("I4", 4), ("I4", 5)]


@pytest.mark.invariant("I4")
@pytest.mark.case(76)
def test_one_person_approving_twice_is_a_violation() -> None:
    story, *_ = one_run()
    waiting = story.ask(story.entries[0], "req_2", outcome="pending")
    story.answer(waiting, outcome="pending")
    story.answer(waiting)
    assert broken(story) == [("I4", 5)]


NO_KEY = {"key": None, "public_key": None, "signature": None}
SIGNED_IN = {**NO_KEY, "proof": "session", "sign_in": "signin_1", "method": "password"}
IN_A_CHAT = {**NO_KEY, "proof": "chat", "channel": "desk", "speaker": "T024BE7LH/U0BEN", "delivery": "sha256:aa"}
WITH_PASSKEY = {
    "proof": "passkey",
    "sign_in": "signin_1",
    "key": None,
    "authenticator_data": "a",
    "client_data": "c",
}


@pytest.mark.parametrize(
    ("detail", "is_whole"),
    [
        ({}, True),
        ({"proof": "key"}, True),
        ({"signature": None}, False),
        ({"sign_in": "signin_1"}, False),
        ({"proof": "session"}, False),
        (SIGNED_IN, True),
        (SIGNED_IN | {"public_key": "aa"}, False),
        (WITH_PASSKEY, True),
        (WITH_PASSKEY | {"signature": None}, False),
        (WITH_PASSKEY | {"method": "password"}, False),
        ({"proof": "session", "sign_in": "signin_1", "method": "password", "key": None}, False),
        (IN_A_CHAT, True),
        (IN_A_CHAT | {"delivery": None}, False),
        (IN_A_CHAT | {"signature": "aa"}, False),
        (SIGNED_IN | {"speaker": "T024BE7LH/U0BEN"}, False),
        ({"proof": "word of mouth"}, False),
    ],
)
def test_answer_that_does_not_say_how_it_was_given_is_a_violation(detail: dict[str, object], is_whole: bool) -> None:
    story = Story()
    story.answer(story.ask(story.start(), outcome="pending"), detail=detail)
    assert broken(story) == ([] if is_whole else [("I4", 2)])


@pytest.mark.invariant("I4")
@pytest.mark.requirement("P9")
def test_lease_or_call_under_it_that_needs_people_needs_those_of_its_request() -> None:
    needs_people = {"approvals": ("user:ben",), "detail": {"approval": "lease", "quorum": 1}}
    for people, found in ((("user:ben",), []), ((), [("I4", 3), ("I4", 4)])):
        story = Story()
        request = story.ask(story.start(), outcome="pending")
        story.answer(request)
        lease = story.issue(request, **{**needs_people, "approvals": people})
        story.admit(lease, detail={"approval": "lease", "quorum": 1})
        assert broken(story) == found
    story, _, _, lease = one_run()
    story.admit(lease, detail={"approval": "lease", "quorum": 1})
    story.admit(lease, "adm_2", detail={"approval": None})
    story.issue(replace(lease, request="req_none"), "lease_2", detail={"approval": "lease"})
    assert broken(story) == [("I4", 3), ("I4", 4), ("I4", 5), ("I6", 5)]


@pytest.mark.invariant("I6")
@pytest.mark.requirement("B9")
@pytest.mark.case(37, 39)
def test_lease_that_is_wider_than_its_request_or_than_one_above_it_is_a_violation() -> None:
    story, _, lease, child, _ = family()
    wide = ('ticket.update {"ticket":["**"]}',)
    story.issue(story.ask(child, "req_3", detail={"allow": wide}), "lease_3", above=lease)
    story.issue(story.ask(child, "req_4"), "lease_4", above=lease, detail={"allow": ('db.drop {"table":["t"]}',)})
    assert broken(story) == [("I6", 7), ("I6", 9)]


@pytest.mark.invariant("I6")
@pytest.mark.case(42, 44)
def test_child_lease_must_hang_below_one_of_its_parent_run() -> None:
    story, _, lease, child, child_lease = family()
    allow = {"allow": child_lease.detail["allow"]}
    story.issue(story.ask(child, "req_3", detail=allow), "lease_3")
    story.issue(story.ask(child, "req_4", detail=allow), "lease_4", above=child_lease)
    story.issue(story.ask(child, "req_5", detail=allow), "lease_5", above=replace(lease, lease="lease_none"))
    story.issue(replace(story.entries[1], request="req_none"), "lease_6")
    assert broken(story) == [("I6", 7), ("I6", 9), ("I6", 11), ("I6", 12)]


@pytest.mark.invariant("I6")
@pytest.mark.requirement("L9")
@pytest.mark.parametrize(
    "fields",
    [
        {"attributes": {"ticket": ("X-1",)}},
        {"attributes": {"ticket": ("T-1", "X-1")}},
        {"attributes": {}},
        {"action": "ticket.close"},
        {"action": "ticket.erase"},
        {"parents": ()},
        {"parents": ("lease_1", "lease_none")},
        {"lease": "lease_none"},
        {"lease": "lease_1", "parents": ()},
        {"tenant": "globex"},
    ],
)
def test_call_that_a_link_does_not_grant_is_a_violation(fields: dict[str, object]) -> None:
    story, *_, lease = family()
    story.admit(lease, **fields)
    assert ("I6", 6) in broken(story)


@pytest.mark.invariant("I7")
@pytest.mark.requirement("P14")
@pytest.mark.case(72)
@pytest.mark.parametrize(
    ("end", "detail", "is_fine"),
    [
        (lambda story, call: None, {"idempotent": "declared"}, False),
        (lambda story, call: story.settle(call), {"idempotent": "declared"}, False),
        (lambda story, call: story.settle(call, "failed"), {}, False),
        (lambda story, call: story.settle(call, "failed"), {"idempotent": "declared"}, True),
        (lambda story, call: story.give_up(call), {}, False),
        (lambda story, call: story.give_up(call), {"idempotent": "declared"}, True),
        (lambda story, call: story.settle(call, "not_started"), {}, True),
    ],
)
def test_key_executes_once_but_for_idempotent_actions_that_did_not_get_through(
    end: Callable[[Story, Entry], object], detail: dict[str, object], is_fine: bool
) -> None:
    story, _, _, lease = one_run()
    end(story, story.admit(lease, key="k"))
    story.admit(lease, "adm_2", key="k", detail=detail)
    assert broken(story) == ([] if is_fine else [("I7", len(story.entries) - 1)])


@pytest.mark.invariant("I7")
def test_idempotent_retry_with_other_arguments_is_a_violation() -> None:
    story, _, _, lease = one_run()
    story.give_up(story.admit(lease, key="k"))
    story.admit(lease, "adm_2", key="k", arguments_digest="other", detail={"idempotent": "declared"})
    assert broken(story) == [("I7", 5)]


@pytest.mark.invariant("I7")
def test_key_belongs_to_its_run_and_action_and_reads_need_none() -> None:
    story, _, lease, _, child_lease = family()
    story.settle(story.admit(lease, key="k"))
    story.admit(child_lease, "adm_2", key="k")
    story.admit(lease, "adm_3", key="k", action="ticket.close")
    story.admit(lease, "adm_4", key="")
    story.admit(lease, "adm_5", key="")
    assert broken(story) == []


@pytest.mark.parametrize("outcome", ["", "admitted", "unknown", "perhaps"])
def test_settlement_in_no_known_way_is_no_history(outcome: str) -> None:
    story, _, _, lease = one_run()
    story.settle(story.admit(lease), outcome)
    with pytest.raises(VerificationError, match="entry 4 settles a call as"):
        check_history(story.entries)


@pytest.mark.parametrize("name", ["reserved", "expires_at", "approval"])
def test_entry_whose_detail_cannot_be_read_is_no_history(name: str) -> None:
    story, _, request, lease = one_run()
    bad = {"reserved": 7, "expires_at": "soon", "approval": 7}[name]
    if name == "expires_at":
        story.issue(request, "lease_2", detail={name: bad})
    else:
        story.admit(lease, detail={name: bad})
    with pytest.raises(VerificationError, match=rf"detail\.{name} of entry 3") as caught:
        check_history(story.entries)
    assert caught.value.index == 3


@pytest.mark.invariant("I10")
def test_things_of_another_tenant_are_not_there() -> None:
    story, run, request, lease = one_run()
    story.issue(request, "lease_2", tenant="globex")
    story.answer(request, tenant="globex")
    story.finish(run, tenant="globex")
    story.end_lease(lease, tenant="globex")
    story.settle(story.admit(lease), tenant="globex")
    assert {index for _, index in broken(story)} == {3, 4, 5, 6, 8}


@pytest.mark.invariant("I9")
@pytest.mark.case(96, 99)
def test_checkpoints_that_do_not_fit_the_ledger_are_violations() -> None:
    story, *_ = one_run()
    kept = [story.head(size) for size in range(5 - 1)]
    assert check_checkpoints(story.entries, kept) == []
    forked = Checkpoint(origin=ORIGIN, size=2, root=bytes(32))
    longer = Checkpoint(origin=ORIGIN, size=9, root=bytes(32))
    found = check_checkpoints(story.entries, [*kept, forked, longer])
    assert [(str(violation.invariant), violation.index) for violation in found] == [("I9", 2), ("I9", 3)]
