"""Previews at the door: taken only from the read that was admitted for them, and met again when the call starts."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from msgspec.structs import replace

from leasehold.decide.bond import EditedFrom
from leasehold.decide.call_request import ProposedCall
from leasehold.decide.issue import refuse_draw
from leasehold.decide.previews import how_it_moved
from leasehold.decide.rows import CardRow
from leasehold.errors import Denied
from leasehold.ledger.entry import EntryKind
from leasehold.model.call import Call
from leasehold.model.card import Change
from leasehold.model.decision import Reason
from leasehold.model.ids import RequestId
from leasehold.model.instant import Instant
from leasehold.model.lease import HeldLease
from leasehold.model.preview import Preview, PreviewMade
from leasehold.policy.evaluate import need_for_call
from leasehold.testing.fixtures import memory_authority
from previewed import ERASES, PREVIEWED, erase_by_hand, fail, look_by_hand
from stage import BEN, CLOSE, ERASE, EVA, GET, Stage, changed, policy, reason_of

pytestmark = [pytest.mark.requirement("P10", "P11"), pytest.mark.case(78)]


@pytest.fixture
def stage() -> Iterator[Stage]:
    """A stage whose destructive action is previewed."""
    stage = Stage(PREVIEWED)
    yield stage
    stage.close()


def asked(stage: Stage, lease: HeldLease, call: Call) -> str:
    """The request that comes of a call."""
    with pytest.raises(Denied) as caught:
        stage.door().admit(lease.token_for("ticket"), call)
    assert caught.value.decision.reason is Reason.APPROVAL_NEEDED
    return caught.value.decision.request_id


def why_not(stage: Stage, lease: HeldLease, call: Call) -> Reason:
    return reason_of(lambda: stage.door().admit(lease.token_for("ticket"), call))


def test_a_call_without_preview_is_told_which_read_to_make_and_leaves_no_trace(stage: Stage) -> None:
    lease = stage.lease(ERASE)
    size = len(stage.entries())
    with pytest.raises(Denied) as caught:
        stage.door().admit(lease.token_for("ticket"), erase_by_hand(stage, None))
    assert caught.value.decision.preview == "ticket.look"
    assert len(stage.entries()) == size


def test_a_preview_counts_with_the_admission_that_made_it(stage: Stage) -> None:
    lease = stage.lease(ERASE)
    request = asked(stage, lease, erase_by_hand(stage, look_by_hand(stage, lease)))
    stage.people.approve(request, BEN, EVA)
    made = look_by_hand(stage, lease, done=False)  # its settle may still be on its way
    admission = stage.door().admit(lease.token_for("ticket"), erase_by_hand(stage, made))
    assert admission.approval == request
    entry = next(entry for entry in stage.entries(EntryKind.REQUEST_MADE) if entry.request == request)
    assert entry.detail["preview"]
    assert str(entry.detail["previewed_by"]).startswith("adm_")


def test_an_approved_call_is_not_started_without_a_fresh_preview(stage: Stage) -> None:
    lease = stage.lease(ERASE)
    made = look_by_hand(stage, lease)
    stage.people.approve(asked(stage, lease, erase_by_hand(stage, made)), BEN, EVA)
    assert why_not(stage, lease, erase_by_hand(stage, None)) is Reason.PREVIEW_NEEDED
    stage.pass_time(60)
    assert why_not(stage, lease, erase_by_hand(stage, made)) is Reason.PREVIEW_NEEDED  # made too long ago
    assert stage.denials() == ["preview_needed"]  # one that came, and did not count


def _of_another_ticket(stage: Stage, lease: HeldLease) -> PreviewMade:
    return look_by_hand(stage, lease, "T-2")


def _of_another_lease(stage: Stage, lease: HeldLease) -> PreviewMade:
    return look_by_hand(stage, stage.lease(ERASE))


def _of_another_read(stage: Stage, lease: HeldLease) -> PreviewMade:
    admitted = stage.admit(lease, "ticket.get")
    return PreviewMade(admission_id=admitted.admission_id, preview=Preview.of({}, state="v1"))


def _failed(stage: Stage, lease: HeldLease) -> PreviewMade:
    made = look_by_hand(stage, lease, done=False)
    fail(stage, made)
    return made


def _made_up(stage: Stage, lease: HeldLease) -> PreviewMade:
    return replace(look_by_hand(stage, lease), admission_id=stage.door().new_admission_id())


@pytest.mark.case(86)
@pytest.mark.parametrize("make", [_of_another_ticket, _of_another_lease, _of_another_read, _failed, _made_up])
def test_a_preview_that_was_not_made_for_this_call_is_refused_before_people_see_it(stage: Stage, make: object) -> None:
    lease = stage.lease(ERASE | GET)
    made = make(stage, lease)  # type: ignore[operator]  # one of the functions above
    assert why_not(stage, lease, erase_by_hand(stage, made)) is Reason.PREVIEW_NEEDED
    assert stage.desk.pending() == ()


def test_a_state_that_moved_takes_the_approval_back_and_asks_again(stage: Stage) -> None:
    lease = stage.lease(ERASE)
    first = asked(stage, lease, erase_by_hand(stage, look_by_hand(stage, lease)))
    stage.people.approve(first, BEN, EVA)
    with pytest.raises(Denied) as caught:
        stage.door().admit(lease.token_for("ticket"), erase_by_hand(stage, look_by_hand(stage, lease, state="v2")))
    again = caught.value.decision
    assert (again.reason, again.request_id != first) == (Reason.STATE_MOVED, True)
    lapsed = stage.entries(EntryKind.REQUEST_LAPSED)[0]
    assert (lapsed.request, lapsed.detail["why"]) == (first, "state_moved")
    (moved,) = stage.desk.card(stage.authority.find_request(again.request_id)).moved
    assert moved.name == "state"
    stage.people.approve(again.request_id, BEN, EVA)
    made = look_by_hand(stage, lease, state="v2")
    admission = stage.door().admit(lease.token_for("ticket"), erase_by_hand(stage, made))
    assert admission.approval == again.request_id


def test_how_it_moved_is_said_even_where_the_approved_card_is_erased() -> None:
    preview = Preview.of({"status": ("open", "erased")})
    assert how_it_moved(None, "hmac-sha256:1", preview, "hmac-sha256:2") == (
        Change("state", "hmac-sha256:1", "hmac-sha256:2"),
    )


@pytest.mark.case(79)
@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('headline = "Erase {ticket_id}"', 'headline = "Tidy up {ticket_id}"'),
        ('headline = "Erase {ticket_id}"', 'headline = "Erase {ticket_id}", undo = "from the backup"'),
        ('headline = "Erase {ticket_id}"', 'headline = "Erase {ticket_id}", timeout = "9s"'),
        ('headline = "Erase {ticket_id}"', 'headline = "Erase {ticket_id}", redact = ["why"], cost = { usd = "0.01" }'),
        ('approvers = ["lead"]', 'approvers = ["lead", "dba"]'),
    ],
)
def test_a_policy_that_says_something_else_takes_the_approval_back(stage: Stage, old: str, new: str) -> None:
    lease = stage.lease(ERASE)
    first = asked(stage, lease, erase_by_hand(stage, look_by_hand(stage, lease)))
    stage.people.approve(first, BEN, EVA)
    stage.accept(changed(old, new, PREVIEWED))
    with pytest.raises(Denied) as caught:
        stage.door().admit(lease.token_for("ticket"), erase_by_hand(stage, look_by_hand(stage, lease)))
    assert caught.value.decision.reason is Reason.TERMS_CHANGED
    stage.people.approve(caught.value.decision.request_id, BEN, EVA)
    stage.door().admit(lease.token_for("ticket"), erase_by_hand(stage, look_by_hand(stage, lease)))


@pytest.mark.case(79)
def test_a_policy_that_changes_elsewhere_takes_no_approval_back(stage: Stage) -> None:
    lease = stage.lease(ERASE)
    first = asked(stage, lease, erase_by_hand(stage, look_by_hand(stage, lease)))
    stage.people.approve(first, BEN, EVA)
    stage.accept(changed('folder = ["in/**"]', 'folder = ["in/a/**"]', PREVIEWED))
    made = look_by_hand(stage, lease)
    assert stage.door().admit(lease.token_for("ticket"), erase_by_hand(stage, made)).approval == first


@pytest.mark.case(79)
def test_a_policy_that_begins_or_ends_to_want_a_preview_takes_the_approval_back(stage: Stage) -> None:
    lease = stage.lease(ERASE)
    stage.people.approve(asked(stage, lease, erase_by_hand(stage, look_by_hand(stage, lease))), BEN, EVA)
    stage.accept(changed(', preview = "ticket.look"', "", PREVIEWED))
    with pytest.raises(Denied) as caught:
        stage.door().admit(lease.token_for("ticket"), erase_by_hand(stage, None))
    assert caught.value.decision.reason is Reason.TERMS_CHANGED
    stage.people.approve(caught.value.decision.request_id, BEN, EVA)
    stage.accept(PREVIEWED)
    made = look_by_hand(stage, lease)
    assert why_not(stage, lease, erase_by_hand(stage, made)) is Reason.TERMS_CHANGED


@pytest.mark.case(79)
def test_another_function_of_the_tool_is_another_call(stage: Stage) -> None:
    lease = stage.lease(ERASE)
    made = look_by_hand(stage, lease)
    first = asked(stage, lease, erase_by_hand(stage, made, schema="sha256:1"))
    stage.people.approve(first, BEN, EVA)
    assert asked(stage, lease, erase_by_hand(stage, made, schema="sha256:2")) != first
    assert stage.desk.card(stage.authority.find_request(first)).tool_schema == "sha256:1"


# the lease behind it


def test_a_lease_is_asked_for_with_the_preview_of_what_people_have_to_see(stage: Stage) -> None:
    request = stage.authority.request(stage.start(), {"ticket.erase": {"ticket": ["T-1", "T-2"]}}, reason="tidy")
    assert request.allow["ticket.look"].attributes == request.allow["ticket.erase"].attributes
    assert [line.action for line in stage.desk.card(request).lines] == ["ticket.erase", "ticket.look"]
    by_name = {"ticket.erase": {"ticket": ["T-1"]}, "ticket.look": {"ticket": ["T-2"]}}
    asked_for = stage.authority.request(stage.start(), by_name, reason="tidy")
    assert asked_for.allow["ticket.look"].attributes["ticket"].to_json() == ["T-2"]  # as it was asked for


def test_a_lease_of_what_nobody_has_to_see_gets_no_preview(stage: Stage) -> None:
    lease_wide = 'approve."ticket.erase" = "lease"\napprove."ticket.audit"'
    stage.accept(changed('approve."ticket.audit"', lease_wide, PREVIEWED))
    request = stage.authority.request(stage.start(), ERASE, reason="tidy")
    assert list(request.allow) == ["ticket.erase"]


BOTH = changed(
    'implies = ["ticket.update"] }\n"ticket.bulk"',
    'implies = ["ticket.update"], preview = "ticket.look" }\n"ticket.bulk"',
    changed('"ticket.close"] }', '"ticket.close", "ticket.look"] }', PREVIEWED),
)


@pytest.mark.parametrize(
    ("close", "erase", "look"),
    [
        (["T-1"], ["T-*"], ["T-*"]),
        (["T-*"], ["T-1"], ["T-*"]),
        (["T-1*"], ["T-12"], ["T-1*"]),
        (["T-1*"], ["T-*"], ["T-*"]),
        (["T-1*"], ["T-2"], ["T-1*"]),  # neither covers the other: the second is asked for by name, or not previewed
    ],
)
def test_two_actions_share_a_preview_as_far_as_one_grant_covers_both(
    stage: Stage, close: list[str], erase: list[str], look: list[str]
) -> None:
    stage.accept(BOTH)
    allow = {"ticket.close": {"ticket": close}, "ticket.erase": {"ticket": erase}}
    request = stage.authority.request(stage.start(), allow, reason="tidy")
    assert request.allow["ticket.look"].attributes["ticket"].to_json() == look


def test_a_child_gets_the_preview_only_where_it_is_delegated(stage: Stage) -> None:
    delegated = changed('"ticket.close"] }', '"ticket.close", "ticket.erase", "ticket.look"] }', PREVIEWED)
    stage.accept(delegated)
    parent = stage.lease(ERASE)
    child = stage.authority.request(stage.child(parent), {"ticket.erase": {"ticket": ["T-1"]}}, reason="tidy")
    assert set(child.allow) == {"ticket.erase", "ticket.look"}
    without = {"ticket.close": {"ticket": ["T-*"]}}
    assert set(stage.authority.request(stage.child(stage.lease(CLOSE)), without, reason="x").allow) == {"ticket.close"}


@pytest.mark.requirement("C1")
def test_an_escalation_of_a_previewed_call_leaves_room_for_both_looks(stage: Stage) -> None:
    run = stage.start()
    lease = stage.authority.escalate(run, "ticket.erase", {"ticket": ["T-1"]}, reason="tidy", timeout=5)
    request = asked(stage, lease, erase_by_hand(stage, look_by_hand(stage, lease)))
    stage.people.approve(request, BEN, EVA)
    made = look_by_hand(stage, lease)
    stage.settle(stage.door().admit(lease.token_for("ticket"), erase_by_hand(stage, made)))
    assert stage.spent(lease.lease.request_id) == (3_000_000, 0, 0)
    assert stage.refusal(lease, "ticket.look") is Reason.BUDGET


# the policy


def test_a_preview_is_read_from_the_policy() -> None:
    loaded = policy(PREVIEWED)
    assert loaded.action("ticket.erase").preview == "ticket.look"
    assert loaded.action("ticket.look").preview == ""


LOOK = '"ticket.look" = { effect = "read", args = { ticket = "ticket_id" } }'
REFUSED = {
    "unknown": ('preview = "ticket.look"', 'preview = "ticket.lok"', 'did you mean "ticket.look"?'),
    "no action": ('preview = "ticket.look"', 'preview = "look"', "is not tool.verb"),
    "another tool's": ('preview = "ticket.look"', 'preview = "mail.list"', "is of another tool"),
    "a write": (LOOK, LOOK.replace("read", "write"), "ticket.look is write; a preview reads and changes nothing"),
    "of a read": (
        '"ticket.get"     = { effect = "read",',
        '"ticket.get"     = { preview = "ticket.look", effect = "read",',
        "it changes nothing that could be previewed",
    ),
    "other arguments": (LOOK, LOOK.replace('"ticket_id"', '"id"'), "a preview is called with the same arguments"),
    "not allowed": ('\nallow."ticket.look" = { ticket = ["T-*"] }', "", "which route desk does not allow"),
    "denied": ('deny = ["mail.purge"]', 'deny = ["mail.purge", "ticket.look"]', "which route desk does not allow"),
    "narrower": (
        'allow."ticket.look" = { ticket = ["T-*"] }',
        'allow."ticket.look" = { ticket = ["T-1"] }',
        "ticket.erase allows more ticket than ticket.look",
    ),
    "not delegated": ('"ticket.close"] }', '"ticket.close", "ticket.erase"] }', "ticket.look, which is not delegated"),
    "not used": (
        'uses = ["mail.send", "mail.list"]',
        'uses = ["mail.send", "mail.list", "ticket.erase"]',
        "ticket.erase is previewed by ticket.look, which is not in uses",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_preview_that_could_never_be_made_is_refused_with_the_policy(name: str) -> None:
    old, new, message = REFUSED[name]
    with pytest.raises(Exception, match=r"leasehold\.toml") as caught:
        memory_authority(changed(old, new, PREVIEWED))
    assert message in str(caught.value)


def test_a_preview_need_not_be_allowed_where_nobody_is_ever_asked() -> None:
    text = changed(ERASES, ERASES.replace("} }", '}, preview = "ticket.look" }') + f"\n{LOOK}")
    stage = Stage(changed('approve."ticket.audit"', 'approve."ticket.erase" = "none"\napprove."ticket.audit"', text))
    stage.use(stage.lease(ERASE), "ticket.erase", key="a")
    stage.close()


def test_waiting_on_an_approval_that_counts_no_more_names_the_request_that_took_its_place(stage: Stage) -> None:
    lease = stage.lease(ERASE)
    first = asked(stage, lease, erase_by_hand(stage, look_by_hand(stage, lease)))
    stage.people.approve(first, BEN, EVA)
    with pytest.raises(Denied) as moved:
        stage.door().admit(lease.token_for("ticket"), erase_by_hand(stage, look_by_hand(stage, lease, state="v2")))
    row = stage.desk.request_row(stage.authority.find_request(first))
    assert row.used_by == moved.value.decision.request_id
    lapsed = refuse_draw(row, stage.authority.find_request(first))
    assert lapsed is not None
    assert (lapsed.reason, moved.value.decision.request_id in lapsed.message) == (Reason.APPROVAL_EXPIRED, True)


# the digest


CHANGES: dict[str, Callable[[ProposedCall], ProposedCall]] = {
    "action": lambda call: replace(call, action="ticket.look"),
    "lease request": lambda call: _with_lease(call, request_id="req_01JZ8Q5X0M3V7K2N9B4C6D8E0F"),
    "attempt": lambda call: _with_lease(call, attempt=2),
    "agent's reason": lambda call: _with_lease(call, reason="because"),
    "agent": lambda call: _with_run(call, agent="other"),
    "requester": lambda call: _with_run(call, requested_by="user:kim"),
    "run": lambda call: _with_run(call, run_id="run_01JZ8Q5X0M3V7K2N9B4C6D8E0F"),
    "environment": lambda call: _with_run(call, environment="staging"),
    "key": lambda call: replace(call, key="b"),
    "arguments digest": lambda call: replace(call, arguments_digest="hmac-sha256:00"),
    "call digest": lambda call: replace(call, call_digest="hmac-sha256:00"),
    "arguments": lambda call: replace(call, arguments={**call.arguments, "note": "x"}),
    "attributes": lambda call: replace(call, attributes={"ticket": ("T-2",)}),
    "tool schema": lambda call: replace(call, tool_schema="sha256:2"),
    "preview": lambda call: replace(call, preview=replace(call.preview, preview=Preview.of({}, state="v2"))),
    "rule": lambda call: replace(call, need=replace(call.need, rule="another rule")),
    "quorum": lambda call: replace(call, need=replace(call.need, quorum=3)),
    "approvers": lambda call: replace(call, need=replace(call.need, approvers=("dba",))),
    "effect": lambda call: replace(call, policy_document=policy(changed('"destructive"', '"write"', PREVIEWED))),
    "policy version": lambda call: replace(
        call, policy_document=policy(changed('folder = ["in/**"]', 'folder = ["in/a/**"]', PREVIEWED))
    ),
    "undo": lambda call: replace(
        call, policy_document=policy(changed('headline = "Erase', 'undo = "none", headline = "Erase', PREVIEWED))
    ),
    "editors": lambda call: replace(
        call, edited=EditedFrom(request_id=RequestId("req_01JZ8Q5X0M3V7K2N9B4C6D8E0F"), editors=(BEN,))
    ),
}


def _with_lease(call: ProposedCall, **members: object) -> ProposedCall:
    leaf = call.chain[-1]
    return replace(call, chain=(*call.chain[:-1], replace(leaf, lease=replace(leaf.lease, **members))))


def _with_run(call: ProposedCall, **members: object) -> ProposedCall:
    leaf = call.chain[-1]
    return replace(call, chain=(*call.chain[:-1], replace(leaf, run=replace(leaf.run, **members))))


@pytest.mark.case(74, 79)
@pytest.mark.requirement("P11")
@pytest.mark.parametrize("what", CHANGES)
def test_a_card_has_another_digest_if_any_one_thing_that_it_binds_is_another(stage: Stage, what: str) -> None:
    lease = stage.lease(ERASE)
    engine = stage.authority.engine
    chain = engine.chain("acme", lease.lease.lease_id)
    document = policy(PREVIEWED)
    call = ProposedCall(
        policy_document=document,
        digester=engine.digester("acme"),
        chain=chain,
        action="ticket.erase",
        attributes={"ticket": ("T-1",)},
        arguments={"ticket_id": "T-1"},
        key="a",
        need=need_for_call(document, "desk", "ticket.erase", [lease.lease.allow]),
        request_id=RequestId("req_01JZ8Q5X0M3V7K2N9B4C6D8E0G"),
        arguments_digest="hmac-sha256:11",
        call_digest="hmac-sha256:22",
        tool_schema="sha256:1",
        preview=look_by_hand(stage, lease),
    )
    route, now = document.routes["desk"], Instant(1_778_068_800_000)

    def digest(proposed: ProposedCall) -> str:
        (card,) = [row for row in proposed.ask(route, 7, now).rows if isinstance(row, CardRow)]
        return card.digest

    assert digest(call) == digest(replace(call, request_id=call.request_id))
    assert digest(CHANGES[what](call)) != digest(call)
