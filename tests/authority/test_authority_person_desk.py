"""What one signed-in person sees and may do, and what is not found for them."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from leasehold.authority.person_desk import PersonDesk
from leasehold.errors import InvalidError, NotFoundError
from leasehold.ledger.entry import EntryKind
from leasehold.model.call import OutcomeStatus
from leasehold.model.decision import Reason
from leasehold.model.request import RequestState, Verdict
from leasehold.model.scope import Scope
from leasehold.policy.document import Power
from leasehold.store.queries import LedgerQuery
from meddling import raw
from stage import ANA, AUDIT, BEN, ERASE, EVA, GET, KIM, UPDATE, Stage, changed, reason_of

HASH = "$argon2id$v=19$m=8,t=1,p=1$c2FsdHNhbHQ$aGFzaA"
LIZ, MAX = "user:liz", "user:max"

TWO_DESKS = changed(
    '"user:kim" = ["watcher"]',
    '"user:kim" = ["watcher"]\n"user:liz" = ["globex-op"]\n"user:max" = ["solo-lead"]',
    changed(
        "[actions]",
        'globex-op = { can = ["revoke", "hold", "lift", "query"], tenants = ["globex"] }\n\n[actions]',
        changed('approvers = ["requester"]', 'approvers = ["solo-lead"]'),
    ),
)


@pytest.fixture
def stage() -> Iterator[Stage]:
    made = Stage(TWO_DESKS)
    yield made
    made.close()


def desk_of(stage: Stage, person: str) -> PersonDesk:
    """The desk of somebody who has just signed in."""
    sign_ins = stage.authority.sign_ins
    known = sign_ins.of(person)
    used = known[0].sign_in if known else sign_ins.set_password(person, HASH, by="op")
    return stage.authority.person_desk(sign_ins.begin(person, used, address="")[1])


def missing(act: Callable[[], object]) -> bool:
    """Whether something is not found."""
    try:
        act()
    except NotFoundError:
        return True
    return False


# seeing


@pytest.mark.invariant("I10")
@pytest.mark.requirement("F3")
def test_each_sees_their_tenants_their_routes_and_what_was_started_for_them(stage: Stage) -> None:
    acme, globex = stage.start(), stage.start(tenant="globex")
    solo = stage.start(route="solo", by=MAX)
    staging = stage.start(route="staging", environment="staging")
    everything = {run.run_id for run in (acme, globex, solo, staging)}
    seen = {
        EVA: everything,
        KIM: {acme.run_id, solo.run_id, staging.run_id},
        LIZ: {globex.run_id},
        BEN: {acme.run_id, globex.run_id},
        MAX: {solo.run_id},
        ANA: {acme.run_id, globex.run_id, staging.run_id},
        "user:nobody": set(),
    }
    for person, runs in seen.items():
        desk = desk_of(stage, person)
        assert {row.run_id for row in desk.runs()} == runs, person
        for run in (acme, globex, solo, staging):
            assert missing(lambda desk=desk, run=run: desk.run(run.run_id)) == (run.run_id not in runs)
            assert missing(lambda desk=desk, run=run: desk.receipt(run.run_id)) == (run.run_id not in runs)


@pytest.mark.invariant("I10")
def test_leases_requests_and_cards_of_others_are_not_found(stage: Stage) -> None:
    acme, globex = stage.lease(AUDIT), stage.lease(AUDIT, run=stage.start(tenant="globex"))
    asked = [stage.ask(acme, "ticket.audit"), stage.ask(globex, "ticket.audit", "T-2")]
    for person, place in ((KIM, 0), (LIZ, 1)):
        desk = desk_of(stage, person)
        mine, theirs = asked[place], asked[1 - place]
        held, other = (acme, globex)[place].lease.lease_id, (acme, globex)[1 - place].lease.lease_id
        assert [waiting.request.request_id for waiting in desk.inbox()] == [mine]
        assert desk.card(mine).request_id == mine
        assert desk.waiting(mine).card == desk.card(mine)
        assert [row.lease_id for row in desk.leases()] == [held]
        assert desk.lease_status(held).status == "active"
        for act in (
            lambda desk=desk, theirs=theirs: desk.card(theirs),
            lambda desk=desk, theirs=theirs: desk.waiting(theirs),
            lambda desk=desk, theirs=theirs: desk.answer(theirs, Verdict.DENY, card_digest="sha256:" + "0" * 64),
            lambda desk=desk, other=other: desk.lease_status(other),
            lambda desk=desk, other=other: desk.hold(Scope.parse(f"lease:{other}"), reason="x"),
            lambda desk=desk, theirs=theirs: desk.revoke(Scope.parse(f"request:{theirs}"), reason="x"),
            lambda desk=desk, theirs=theirs: desk.lift(Scope.parse(f"request:{theirs}"), reason="x"),
        ):
            assert missing(act)
        with pytest.raises(InvalidError):
            desk.card(held)
    assert not stage.entries(EntryKind.HELD)


@pytest.mark.invariant("I10")
def test_ledger_is_searched_where_a_role_can_query(stage: Stage) -> None:
    stage.start()
    stage.start(tenant="globex")

    def tenants(person: str, asked: tuple[str, ...] | None = None) -> set[str]:
        return {entry.tenant for entry in desk_of(stage, person).search(LedgerQuery(tenants=asked))}

    assert tenants(EVA) == {"", "acme", "globex"}
    assert tenants(KIM) == {"acme"}
    assert tenants(LIZ) == {"globex"}
    assert tenants(LIZ, ("acme", "")) == set()
    assert tenants(BEN) == set()


def test_list_goes_on_where_the_page_before_ended(stage: Stage) -> None:
    runs = [stage.start(tenant="globex" if place % 2 else "acme").run_id for place in range(230)]
    desk = desk_of(stage, LIZ)
    mine = [run for place, run in enumerate(runs) if place % 2][::-1]
    first = desk.runs(limit=110)
    assert [row.run_id for row in first] == mine[:110]
    assert [row.run_id for row in desk.runs(before=first[-1].recorded, limit=110)] == mine[110:]


def test_run_shows_what_it_asked_for_holds_and_started(stage: Stage) -> None:
    run = stage.start()
    lease = stage.lease(GET | UPDATE, run=run, delegation_depth=1)
    child = stage.child(lease)
    open_call = stage.admit(lease, "ticket.update", key="a")
    detail = desk_of(stage, KIM).run(run.run_id)
    assert (detail.run, detail.parent) == (run.run, None)
    assert [row.run_id for row in detail.children] == [child.run_id]
    assert [row.lease_id for row in detail.leases] == [lease.lease.lease_id]
    assert len(detail.requests) == 1
    assert detail.entries[0].kind is EntryKind.RUN_STARTED
    assert {entry.run for entry in detail.entries} == {run.run_id, child.run_id}
    below = desk_of(stage, KIM).run(child.run_id)
    assert below.parent is not None
    assert below.parent.run_id == run.run_id
    assert below.accounts == detail.accounts
    assert [call.admission_id for call in desk_of(stage, KIM).open_calls()] == [open_call.admission_id]
    assert desk_of(stage, LIZ).open_calls() == ()
    raw(stage.authority.engine.store).execute("UPDATE calls SET body = X'78'")
    assert desk_of(stage, KIM).open_calls() == ()


def test_policy_is_shown_as_far_as_it_concerns_one(stage: Stage) -> None:
    def routes(person: str) -> set[str]:
        shown = desk_of(stage, person).policy()
        assert shown.hash == stage.authority.engine.active_policy().hash
        return set(shown.document.routes)

    stage.start()
    stage.start(tenant="globex")
    assert routes(EVA) == {"desk", "solo", "staging"}
    assert routes(LIZ) == {"desk"}
    assert routes(BEN) == {"desk"}
    assert routes(MAX) == {"solo"}
    assert routes(ANA) == {"desk"}
    assert routes("user:nobody") == set()
    stage.accept(
        changed(
            'tenants = ["acme"], environments = ["staging"]', 'tenants = ["*"], environments = ["staging"]', TWO_DESKS
        )
    )
    assert routes(LIZ) == {"desk", "staging"}


def test_of_a_channels_reviewers_those_are_shown_who_concern_one(stage: Stage) -> None:
    stage.start()
    stage.start(tenant="globex")
    channel = """
[notices.chat]
kind = "slack"
channel = "C1"
events = ["request.waiting"]
tenants = ["acme"]
reviewers = { "T024BE7LH/U0BEN" = "user:ben", "T024BE7LH/U0ZOE" = "user:zoe" }
"""
    stage.accept(TWO_DESKS + channel)
    assert desk_of(stage, KIM).policy().document.notices["chat"].reviewers == {"T024BE7LH/U0BEN": BEN}
    assert desk_of(stage, LIZ).policy().document.notices == {}


def test_powers_are_those_of_the_roles(stage: Stage) -> None:
    held = {held.power: held.tenants for held in desk_of(stage, LIZ).powers()}
    assert held == dict.fromkeys(set(Power) - {Power.POLICY}, ("globex",))
    assert [(held.power, held.tenants) for held in desk_of(stage, KIM).powers()] == [(Power.QUERY, ("acme",))]
    assert desk_of(stage, BEN).powers() == ()
    assert desk_of(stage, EVA).may(Power.LIFT, "")
    assert not desk_of(stage, LIZ).may(Power.LIFT, "")
    assert desk_of(stage, LIZ).now() == stage.system.now()


# answering


@pytest.mark.requirement("F3", "P12")
def test_inbox_says_who_may_answer_and_who_has(stage: Stage) -> None:
    request = stage.ask(stage.lease(ERASE), "ticket.erase", key="a")

    def refused(person: str) -> Reason | None:
        [waiting] = desk_of(stage, person).inbox()
        assert waiting.request.request_id == request
        return waiting.refusal.reason if waiting.refusal is not None else None

    assert refused(BEN) is None
    assert refused(KIM) is Reason.NOT_ENTITLED
    assert refused(ANA) is Reason.OWN_REQUEST
    ben = desk_of(stage, BEN)
    answered = ben.answer(request, Verdict.APPROVE, card_digest=ben.waiting(request).row.card_digest, reason="fine")
    assert (answered.state, answered.approvals_missing) == (RequestState.PENDING, 1)
    assert refused(BEN) is Reason.NOT_PENDING
    assert (ben.waiting(request).approvals, ben.waiting(request).missing) == ((BEN,), 1)
    stage.authority.sign_ins.remove(BEN, ben.session.sign_in, by="op")
    assert desk_of(stage, EVA).waiting(request).approvals == ()


def test_request_that_is_over_or_late_is_shown_and_not_answered(stage: Stage) -> None:
    request = stage.ask(stage.lease(AUDIT), "ticket.audit")
    stage.pass_time(601)
    waiting = desk_of(stage, BEN).waiting(request)
    assert waiting.refusal is not None
    assert "expired" in waiting.refusal.message
    stage.sweep()
    assert desk_of(stage, BEN).inbox() == ()
    assert "expired" in str(desk_of(stage, BEN).waiting(request).refusal)
    digest = waiting.row.card_digest
    assert reason_of(lambda: desk_of(stage, BEN).answer(request, Verdict.APPROVE, card_digest=digest)) is (
        Reason.NOT_PENDING
    )


@pytest.mark.case(88)
def test_request_whose_card_was_erased_shows_none(stage: Stage) -> None:
    request = stage.ask(stage.lease(AUDIT), "ticket.audit")
    raw(stage.authority.engine.store).execute("DELETE FROM cards")
    desk = desk_of(stage, BEN)
    assert desk.waiting(request).card is None
    assert missing(lambda: desk.card(request))


# stopping


@pytest.mark.requirement("P8")
@pytest.mark.invariant("I10")
def test_stops_need_the_power_in_their_tenant(stage: Stage) -> None:
    lease = stage.lease(UPDATE, run=stage.start(tenant="globex"))
    run, bot = Scope.parse(f"run:{lease.lease.run_id}"), Scope.parse("agent:bot")
    liz, kim, ben = desk_of(stage, LIZ), desk_of(stage, KIM), desk_of(stage, BEN)
    for act in (
        lambda: kim.hold(bot, reason="x", tenant="acme"),
        lambda: liz.hold(bot, reason="x", tenant="acme"),
        lambda: liz.hold(bot, reason="x"),
        lambda: liz.revoke(Scope.parse("tenant:acme"), reason="x"),
        lambda: liz.revoke(Scope.parse("all"), reason="x"),
        lambda: ben.hold(run, reason="x"),
        lambda: ben.revoke(run, reason="x"),
    ):
        assert reason_of(act) is Reason.NOT_ENTITLED
    assert not stage.entries(EntryKind.HELD)
    assert not stage.entries(EntryKind.REVOKED)
    admitted = stage.admit(lease, "ticket.update", key="a")
    stopped = liz.hold(bot, reason="look", tenant="globex")
    assert [call.admission_id for call in stopped.in_flight] == [admitted.admission_id]
    assert stage.refusal(lease, "ticket.update", key="b") is Reason.HELD
    assert [(row.scope, row.by, row.is_active) for row in liz.stops()] == [("agent:bot", LIZ, 1)]
    assert kim.stops() == kim.standing() == ()
    assert ben.stops() == ben.standing() == ()
    assert [(stop.scope, stop.by) for stop in liz.standing()] == [("agent:bot", LIZ)]
    assert reason_of(lambda: kim.lift(bot, reason="x", tenant="globex")) is Reason.NOT_ENTITLED
    liz.lift(bot, reason="fine", tenant="globex")
    stage.settle(admitted, OutcomeStatus.DONE)
    liz.revoke(run, reason="enough")
    assert stage.refusal(lease, "ticket.update", key="c") is Reason.REVOKED
    assert [(entry.person, entry.tenant) for entry in stage.entries(EntryKind.REVOKED)] == [(LIZ, "globex")]


@pytest.mark.invariant("I10")
def test_stops_over_a_tenant_in_which_nothing_ever_ran_are_seen_by_those_who_query_there(stage: Stage) -> None:
    liz, kim, eva = desk_of(stage, LIZ), desk_of(stage, KIM), desk_of(stage, EVA)
    liz.hold(Scope.parse("agent:bot"), reason="look", tenant="globex")
    (held,) = stage.entries(EntryKind.HELD)
    for desk in (liz, eva):
        assert [row.scope for row in desk.stops()] == [stop.scope for stop in desk.standing()] == ["agent:bot"]
        assert held in desk.search(LedgerQuery(tenants=None))
        assert desk.entry(held.index) == held
    assert kim.stops() == kim.standing() == ()
    assert missing(lambda: kim.entry(held.index))
    assert held not in kim.search(LedgerQuery(tenants=None))
    liz.lift(Scope.parse("agent:bot"), reason="fine", tenant="globex")
    assert liz.standing() == ()


def test_role_that_was_taken_away_stops_nothing_any_more(stage: Stage) -> None:
    liz = desk_of(stage, LIZ)
    stage.start(tenant="globex")
    stage.accept(changed('"user:liz" = ["globex-op"]', '"user:liz" = []', TWO_DESKS))
    assert reason_of(lambda: liz.hold(Scope.parse("agent:bot"), reason="x", tenant="globex")) is Reason.NOT_ENTITLED
    assert liz.runs() == ()


def test_session_that_is_over_acts_no_more(stage: Stage) -> None:
    eva = desk_of(stage, EVA)
    request = stage.ask(stage.lease(AUDIT), "ticket.audit")
    digest = eva.waiting(request).row.card_digest
    stage.authority.sign_ins.remove(EVA, eva.session.sign_in, by="op")
    for act in (
        lambda: eva.answer(request, Verdict.APPROVE, card_digest=digest),
        lambda: eva.hold(Scope.parse("all"), reason="x"),
        lambda: eva.lift(Scope.parse("all"), reason="x"),
    ):
        assert reason_of(act) is Reason.NOT_SIGNED_IN
    assert eva.person == EVA
