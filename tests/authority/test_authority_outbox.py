"""The outbox: what is worth a notice is told once to each channel that asks for it, and nothing depends on it."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable, Iterator

import pytest
from msgspec.structs import replace

from leasehold.authority import Authority
from leasehold.authority import outbox as outbox_module
from leasehold.decide.lifecycles import DeliveryEvent
from leasehold.decide.notices import CLAIM_MS, MAX_ATTEMPTS, BeginDelivery, EndDelivery, Enqueue
from leasehold.decide.rows import CursorRow, DeliveryRow
from leasehold.errors import ConfigError, Denied, StoreError
from leasehold.ledger.entry import EntryKind
from leasehold.ledger.history import check_history
from leasehold.model.call import OutcomeStatus
from leasehold.model.notice import ChannelKind, Notice
from leasehold.model.proposal import PolicyVerdict
from leasehold.model.request import RequestState
from leasehold.notices.channel import DeliveryError
from leasehold.notices.channels import Channels
from leasehold.policy.document import NoticeRule
from meddling import raw
from notice_desk import NoticeStage, webhook_rule
from stage import BEN, CLOSE, EVA, POLICY, Stage, changed, policy

ALL = (
    '["request.waiting", "request.answered", "request.decided", "request.closed", "stop.set", "stop.lifted", '
    '"breaker", "break_glass", "policy.proposed", "policy.widened", "budget.low", "notice.failed", "alarm"]'
)


WIDER = POLICY.replace('approve."ticket.audit"  = "call"', 'approve."ticket.audit"  = "none"')


class Carrier:
    """A channel in the test's own hands: it keeps what it is given, or does what `acts` say first."""

    def __init__(self) -> None:
        self.sent: list[tuple[NoticeRule, Notice, int, str]] = []
        self.acts: list[Callable[[], object]] = []
        self.arrived = threading.Event()

    async def send(self, rule: NoticeRule, notice: Notice, *, at: int, reference: str = "") -> str:
        if self.acts:
            done = self.acts.pop(0)()
            if asyncio.iscoroutine(done):
                await done
        self.sent.append((rule, notice, at, reference))
        self.arrived.set()
        return ""

    @property
    def events(self) -> list[tuple[str, str]]:
        return [(rule.name, notice.event) for rule, notice, _, _ in self.sent]

    @property
    def notices(self) -> list[Notice]:
        return [notice for _, notice, _, _ in self.sent]


def fail(*, times: int = 1, may_repeat: bool = True) -> list[Callable[[], object]]:
    def act() -> object:
        raise DeliveryError("the receiver answered 500", may_repeat=may_repeat)

    return [act] * times


@pytest.fixture
def carrier() -> Carrier:
    return Carrier()


@pytest.fixture
def told(carrier: Carrier) -> Iterator[NoticeStage]:
    stage = stage_of(carrier, webhook_rule("http://127.0.0.1:9/", events=ALL))
    yield stage
    assert check_history(stage.entries()) == []
    stage.close()


def stage_of(carrier: Carrier, notices: str) -> NoticeStage:
    return NoticeStage(notices, made=dict.fromkeys(ChannelKind, carrier))


# what is told


def test_stops_and_their_lifting_are_told_with_who_and_why(told: NoticeStage, carrier: Carrier) -> None:
    told.hold("tool:ticket")
    told.lift("tool:ticket")
    told.revoke("agent:bot", tenant="acme")
    told.tell()
    assert [notice.event for notice in carrier.notices] == ["stop.set", "stop.lifted", "stop.set"]
    held, lifted, revoked = carrier.notices
    assert (held.title, held.scope) == ("Held: nothing starts", "tool:ticket")
    assert (lifted.title, lifted.is_over) == ("Hold lifted", True)
    assert (revoked.title, revoked.tenant) == ("Revoked", "acme")
    assert [(quote.label, quote.text) for quote in revoked.quotes] == [("written by op", "leak")]


def test_a_person_who_is_let_go_is_told_once_as_the_revoke_that_it_is(told: NoticeStage, carrier: Carrier) -> None:
    told.desk.offboard("user:kim", by="op", reason="left")
    told.tell()
    assert [(notice.event, notice.scope) for notice in carrier.notices] == [("stop.set", "person:user:kim")]


def test_only_requests_that_wait_for_people_are_told(told: NoticeStage, carrier: Carrier) -> None:
    told.use(told.lease(), "ticket.update", key="k")
    assert told.tell() == 0
    assert carrier.sent == []


def test_a_policy_that_allows_more_alarms_over_the_channels_that_it_would_silence() -> None:
    carrier = Carrier()
    both = webhook_rule("http://127.0.0.1:9/", events=ALL) + webhook_rule("http://127.0.0.1:8/", "other", ALL)
    told = stage_of(carrier, both)
    told.tell()
    told.desk.accept_policy(policy(), by="mallory", widened=["notices: hook is gone"])
    told.hold("tool:ticket")
    told.tell()
    assert carrier.events == [("hook", "policy.widened"), ("other", "policy.widened")]
    facts = {(fact.label, fact.text) for fact in carrier.notices[0].facts}
    assert facts >= {("Accepted by", "mallory"), ("Wider now", "notices: hook is gone")}
    told.close()


def test_a_channel_that_is_redirected_is_told_of_it_at_its_old_address() -> None:
    carrier = Carrier()
    told = stage_of(carrier, webhook_rule("http://127.0.0.1:9/", events=ALL))
    elsewhere = policy(POLICY + webhook_rule("http://127.0.0.1:8/", events=ALL))
    told.desk.accept_policy(elsewhere, by="mallory", widened=["notices.hook.url"])
    told.hold("tool:ticket")
    told.tell()
    assert [(rule.url, notice.event) for rule, notice, _, _ in carrier.sent] == [
        ("http://127.0.0.1:9/", "policy.widened"),
        ("http://127.0.0.1:8/", "stop.set"),
    ]
    told.close()


def test_a_long_list_of_widenings_says_how_many_more_there_are(told: NoticeStage, carrier: Carrier) -> None:
    other = policy(WIDER + webhook_rule("http://127.0.0.1:9/", events=ALL))
    told.desk.accept_policy(other, by="eva", widened=[f"line {number}" for number in range(25)])
    told.tell()
    lines = [fact.text for fact in carrier.notices[0].facts if fact.label == "Wider now"]
    assert (len(lines), lines[-1]) == (21, "and 5 more: leasehold ledger query")


def test_a_channel_that_begins_is_told_what_happens_from_then_on() -> None:
    carrier = Carrier()
    told = stage_of(carrier, "")
    told.hold("tool:mail")
    assert told.tell() == 0
    told.desk.accept_policy(policy(WIDER + webhook_rule("http://127.0.0.1:9/", events=ALL)), by="eva", widened=["x"])
    told.hold("tool:ticket")
    told.tell()
    assert [(notice.event, notice.scope) for notice in carrier.notices] == [
        ("policy.widened", ""),
        ("stop.set", "tool:ticket"),
    ]
    told.close()


@pytest.mark.parametrize("begins", [True, False])
def test_a_policy_that_takes_two_people_is_told_when_it_is_proposed_and_when_it_counts(
    carrier: Carrier, *, begins: bool
) -> None:
    two = changed("[people]", '[policy]\naccept = "two"\n\n[people]')
    two = changed('"user:ben" = ["lead", "dba"]', '"user:ben" = ["lead", "dba", "governor"]', two)
    two = changed(
        '"user:eva" = ["lead", "dba", "operator"]', '"user:eva" = ["lead", "dba", "operator", "governor"]', two
    )
    two = changed("[roles]", '[roles]\ngovernor = { can = ["policy"], tenants = ["*"] }', two)
    channel = webhook_rule("http://127.0.0.1:9/", events=ALL)
    before = two if begins else two + channel
    told = NoticeStage("", made=dict.fromkeys(ChannelKind, carrier), text=before)
    new = policy(changed("calls = 20", "calls = 21", two) + channel)
    told.authority.proposals.propose(new, policy(before), told.people.signatory(EVA))
    proposal = told.authority.proposals.find(new.hash)
    told.authority.proposals.answer(proposal, PolicyVerdict.CONFIRM, told.people.signatory(BEN))
    told.tell()
    assert [str(notice.event) for notice in carrier.notices] == (
        ["policy.widened"] if begins else ["policy.proposed", "policy.widened"]
    )
    told.close()


def test_between_two_policies_with_channels_nothing_is_told_and_afterwards_all_of_it_again() -> None:
    carrier = Carrier()
    channel = POLICY + webhook_rule("http://127.0.0.1:9/", events=ALL)
    told = stage_of(carrier, webhook_rule("http://127.0.0.1:9/", events=ALL))
    told.accept(POLICY)
    for number in range(5):
        told.hold(f"tool:a{number}")
        told.tell()
    told.accept(channel)
    told.hold("tool:ticket")
    told.tell()
    told_of = [(notice.event, notice.scope) for notice in carrier.notices]
    assert told_of == [("policy.widened", ""), ("stop.set", "tool:ticket")], "that it falls silent is the last word"
    told.close()


def test_what_a_silent_policy_left_unread_is_not_lost_when_nobody_read_in_between() -> None:
    """The first policy's own channel hears that it was silenced, though nobody delivered before the third policy."""
    carrier = Carrier()
    told = stage_of(carrier, webhook_rule("http://127.0.0.1:9/", events=ALL))
    told.hold("tool:before")
    told.desk.accept_policy(policy(), by="mallory", widened=["x"])
    told.hold("tool:between")
    told.accept(POLICY + webhook_rule("http://127.0.0.1:8/", "new", ALL))
    told.hold("tool:after")
    told.tell()
    assert {(rule.name, notice.event, notice.scope) for rule, notice, _, _ in carrier.sent} == {
        ("hook", "policy.widened", ""),
        ("new", "stop.set", "tool:after"),
    }, "of the channel that is gone, only the acceptance is told; what was before it was overtaken"
    told.close()


@pytest.mark.invariant("I10")
def test_a_channel_of_one_tenant_hears_of_that_tenant_alone() -> None:
    carrier = Carrier()
    told = stage_of(carrier, webhook_rule("http://127.0.0.1:9/", events=ALL, tenants='["acme"]'))
    told.hold("tool:ticket", tenant="globex")
    told.hold("tool:ticket")
    told.hold("tool:ticket", tenant="acme")
    told.tell()
    assert [notice.tenant for notice in carrier.notices] == ["acme"]
    told.close()


@pytest.mark.requirement("P13")
def test_a_budget_at_80_percent_is_told_once_for_each_account_and_unit(told: NoticeStage, carrier: Carrier) -> None:
    run = told.start()
    lease = told.lease({"ticket.pay": {"ticket": ["T-*"]}}, run=run)
    for number in range(2):
        told.use(lease, "ticket.pay", key=f"k{number}")
        told.tell()
    accounts = {(notice.facts[0].text, notice.facts[1].text) for notice in carrier.notices}
    assert accounts == {("0.8 of 1 usd", lease.lease.request_id), ("0.8 of 1 usd", run.run_id)}
    told.use(told.lease(run=run), "ticket.update", key="k9")
    told.tell()
    assert len(carrier.sent) == 2, "it is told once"


def test_only_the_channel_that_asks_for_budgets_is_told_of_them() -> None:
    carrier = Carrier()
    both = webhook_rule("http://127.0.0.1:9/", events='["budget.low"]') + webhook_rule("http://127.0.0.1:8/", "other")
    told = stage_of(carrier, both)
    lease = told.lease({"ticket.pay": {"ticket": ["T-*"]}})
    for number in range(2):
        told.use(lease, "ticket.pay", key=f"k{number}")
    told.tell()
    assert set(carrier.events) == {("hook", "budget.low")}
    told.close()


def test_an_overrun_alarms(told: NoticeStage, carrier: Carrier) -> None:
    lease = told.lease({"ticket.pay": {"ticket": ["T-*"]}})
    told.settle(told.admit(lease, "ticket.pay", key="k"), cost={"usd": 700_000})
    told.tell()
    alarm = next(notice for notice in carrier.notices if notice.event == "alarm")
    assert {(fact.label, fact.text) for fact in alarm.facts} >= {
        ("Over its reservation", "usd"),
        ("Action", "ticket.pay"),
    }


def test_a_call_whose_admission_is_gone_moves_no_budget(told: NoticeStage, carrier: Carrier) -> None:
    told.use(told.lease({"ticket.pay": {"ticket": ["T-*"]}}), "ticket.pay", key="k")
    connection = raw(told.authority.engine.store)
    connection.execute("DELETE FROM calls")
    told.tell()
    assert carrier.sent == []


def test_a_card_that_was_erased_is_said_to_be_gone(told: NoticeStage, carrier: Carrier) -> None:
    request = told.ask_close()
    connection = raw(told.authority.engine.store)
    connection.execute("UPDATE cards SET body = x''")
    told.tell()
    notice = carrier.notices[-1]
    assert notice.request == request
    assert ("Card", "it is not kept any more") in [(fact.label, fact.text) for fact in notice.facts]


@pytest.mark.case(88)
def test_a_receiver_that_comes_back_late_hears_what_is_so_and_no_stale_request(
    told: NoticeStage, carrier: Carrier
) -> None:
    carrier.acts = fail()
    request = told.ask_close()
    told.tell()
    told.people.deny(request, BEN)
    told.pass_time(3600)
    told.tell()
    assert [notice.event for notice in carrier.notices] == ["request.decided"]
    assert told.states() == [("request.waiting", "overtaken"), ("request.decided", "delivered")]


@pytest.mark.case(88)
def test_a_request_that_nobody_can_answer_any_more_is_not_announced(told: NoticeStage, carrier: Carrier) -> None:
    expired = told.ask_close("T-1")
    told.pass_time(601)
    told.tell()
    assert carrier.sent == []
    told.sweep()
    revoked = told.ask_close("T-2")
    told.revoke(f"request:{revoked}")
    told.tell()
    assert [(notice.event, notice.request) for notice in carrier.notices] == [
        ("request.closed", expired),
        ("stop.set", revoked),
    ]


def test_a_run_that_finishes_tells_of_each_request_that_it_took_along(told: NoticeStage, carrier: Carrier) -> None:
    run = told.start()
    lease = told.lease(CLOSE, run=run)
    first, second = (told.ask(lease, "ticket.close", ticket, key=ticket) for ticket in ("T-1", "T-2"))
    told.authority.runs.withdraw(told.authority.find_request(first))
    told.tell()
    told.authority.finish(run)
    told.tell()
    ends = [notice.request for notice in carrier.notices if notice.event == "request.closed"]
    assert ends == [first, second], "one that was withdrawn before is not told of twice"


def test_a_long_ledger_is_read_in_slices_and_the_cursor_kept(
    told: NoticeStage, carrier: Carrier, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("leasehold.authority.noticing.MAX_LISTED", 10)
    monkeypatch.setattr("leasehold.authority.noticing._SAVE_EVERY", 20)
    lease = told.lease()
    for number in range(18):
        told.use(lease, "ticket.update", key=f"k{number}")
    told.hold("tool:mail")
    told.tell()
    assert [notice.event for notice in carrier.notices][-1] == "stop.set"
    assert cursor(told) == told.authority.engine.store.queries.control().size


def cursor(told: Stage) -> int:
    connection = raw(told.authority.engine.store)
    return int(connection.execute("SELECT position FROM cursors").get)


# how it is delivered


def test_a_failed_try_is_repeated_ever_later_and_given_up_with_an_alarm(told: NoticeStage, carrier: Carrier) -> None:
    carrier.acts = fail(times=MAX_ATTEMPTS)
    told.hold("tool:ticket")
    waits: list[int] = []
    while (told.states("") and told.deliveries("")[0].state == "waiting") or not told.deliveries(""):
        before = told.deliveries("")
        if before:
            waits.append(before[0].due_ms - int(told.system.now()))
            told.system.advance(milliseconds=max(0, before[0].due_ms - int(told.system.now())))
        told.tell()
    (row,) = [row for row in told.deliveries("") if row.event == "stop.set"]
    assert (row.state, row.attempts, row.fault) == ("given_up", MAX_ATTEMPTS, "the receiver answered 500")
    assert len(waits) == MAX_ATTEMPTS - 1
    for number, wait in enumerate(waits):
        longest = min(6 * 3_600_000, 5000 * 4**number)
        assert longest / 2 <= wait <= longest
    (alarm,) = told.entries(EntryKind.NOTICE_FAILED)
    assert alarm.detail == {
        "alarm": "notice",
        "channel": "hook",
        "event": "stop.set",
        "notice": row.delivery_id,
        "about": row.entry,
        "attempts": MAX_ATTEMPTS,
        "fault": "the receiver answered 500",
    }


def test_that_a_channel_fails_is_told_over_the_others_once_a_day_and_never_round_in_circles() -> None:
    carrier = Carrier()
    both = webhook_rule("http://127.0.0.1:9/", events=ALL) + webhook_rule("http://127.0.0.1:8/", "other", ALL)
    told = stage_of(carrier, both)

    def dead(rule_name: str) -> None:
        raise DeliveryError(f"{rule_name} is dead", may_repeat=False)

    original = carrier.send

    async def send(rule: NoticeRule, notice: Notice, *, at: int, reference: str = "") -> str:
        if rule.name == "hook":
            dead(rule.name)
        return await original(rule, notice, at=at, reference=reference)

    carrier.send = send  # type: ignore[method-assign]
    for number in range(3):
        told.hold(f"tool:a{number}")
        told.tell()
        told.tell()
    failed = [notice for notice in carrier.notices if notice.event == "notice.failed"]
    assert [fact.text for fact in failed[0].facts][:3] == ["hook", "stop.set", "hook is dead"]
    assert len(failed) == 1
    told.pass_time(86_400)
    told.hold("tool:late")
    told.tell()
    told.tell()
    assert len([notice for notice in carrier.notices if notice.event == "notice.failed"]) == 2
    assert len(told.entries(EntryKind.NOTICE_FAILED)) == 4, "the ledger has each of them"
    told.close()


def test_two_channels_that_are_both_dead_come_to_rest() -> None:
    carrier = Carrier()
    both = webhook_rule("http://127.0.0.1:9/", events=ALL) + webhook_rule("http://127.0.0.1:8/", "other", ALL)
    told = stage_of(carrier, both)
    carrier.acts = fail(times=50, may_repeat=False)
    told.hold("tool:ticket")
    for _ in range(5):
        told.tell()
    assert [entry.detail["event"] for entry in told.entries(EntryKind.NOTICE_FAILED)] == [
        "stop.set",
        "stop.set",
        "notice.failed",
        "notice.failed",
    ]
    told.close()


def test_what_was_given_up_can_be_tried_again_and_nothing_else(told: NoticeStage, carrier: Carrier) -> None:
    carrier.acts = fail(may_repeat=False)
    told.hold("tool:ticket")
    told.tell()
    (row,) = told.deliveries("")
    again = told.authority.outbox.retry(row)
    assert (again.state, again.attempts) == ("waiting", 0)
    told.tell()
    assert told.deliveries("")[0].state == "delivered"
    with pytest.raises(Denied, match="is delivered"):
        told.authority.outbox.retry(row)
    with pytest.raises(Denied, match="no notice here"):
        told.authority.outbox.retry(replace(row, delivery_id="ntc_x"))


def test_two_processes_never_both_own_one_notice(told: NoticeStage, carrier: Carrier) -> None:
    other = Authority(told.authority.engine, Channels(told.given, dict.fromkeys(ChannelKind, carrier)))
    told.hold("tool:ticket")
    carrier.acts = [lambda: asyncio.to_thread(other.outbox.run_once)]
    told.tell()
    assert [notice.event for notice in carrier.notices] == ["stop.set"]
    assert other.outbox.run_once() == 0


@pytest.mark.parametrize("persisted", [False, True])
def test_a_notice_whose_delivery_could_not_be_written_down_is_sent_again_under_the_same_id(
    told: NoticeStage, carrier: Carrier, *, persisted: bool
) -> None:
    """The disk is full, or the process dies, between sending and recording."""
    store = told.meddle()
    told.hold("tool:ticket")
    store.lose(EndDelivery, persisted=persisted)
    with pytest.raises(StoreError):
        told.tell()
    assert told.tell() == 0, "the claim still holds"
    told.system.advance(milliseconds=CLAIM_MS)
    told.tell()
    assert len(carrier.sent) == (1 if persisted else 2)
    assert len({notice.notice_id for notice in carrier.notices}) == 1
    assert [row.state for row in told.deliveries("")] == ["delivered"]


@pytest.mark.parametrize("persisted", [False, True])
def test_a_notice_whose_entry_was_read_and_not_written_down_is_told_once(
    told: NoticeStage, carrier: Carrier, *, persisted: bool
) -> None:
    store = told.meddle()
    told.hold("tool:ticket")
    store.lose(Enqueue, persisted=persisted)
    with pytest.raises(StoreError):
        told.tell()
    told.tell()
    assert len(carrier.sent) == 1


def test_a_claim_that_is_void_ends_nothing(told: NoticeStage, carrier: Carrier) -> None:
    carrier.acts = fail()
    told.hold("tool:ticket")
    told.tell()
    (row,) = told.deliveries("")
    engine = told.authority.engine
    for claim in ("", "somebody else's"):
        late = EndDelivery(tenant="", delivery_id=row.delivery_id, claim=claim or "x", event=DeliveryEvent.DELIVER)
        assert engine.ask(lambda _, late=late: late) is None
    assert engine.ask(lambda _: BeginDelivery(tenant="", delivery_id=row.delivery_id, claim="y")) is None
    assert engine.ask(lambda _: BeginDelivery(tenant="", delivery_id="ntc_x", claim="y")) is None
    assert told.deliveries("") == (row,)


def test_another_process_that_moved_the_cursor_first_has_put_the_same_down(told: NoticeStage) -> None:
    told.hold("tool:ticket")
    told.tell()
    stale = Enqueue(base=0, position=1, policy_there=None)
    assert told.authority.engine.ask(lambda _: stale) is False


def test_the_cursor_is_parked_only_where_the_ledger_ends() -> None:
    """What is accepted after the reading and before the step would else be jumped over."""
    told = stage_of(Carrier(), webhook_rule("http://127.0.0.1:9/", events=ALL))
    told.accept(POLICY)
    told.hold("tool:later")
    engine = told.authority.engine
    early = Enqueue(base=0, position=engine.store.queries.control().size - 1, policy_there=engine.active_policy())
    assert engine.ask(lambda _: early) is True
    assert not parked(told)
    told.tell()
    assert parked(told)
    told.close()


def parked(told: Stage) -> bool:
    connection = raw(told.authority.engine.store)
    return bool(connection.execute("SELECT is_parked FROM cursors").get)


@pytest.mark.invariant("I10")
def test_a_channel_that_lost_a_tenant_is_told_nothing_more_of_it(told: NoticeStage, carrier: Carrier) -> None:
    carrier.acts = fail()
    told.hold("tool:ticket", tenant="acme")
    told.tell()
    told.accept(POLICY + webhook_rule("http://127.0.0.1:9/", events='["stop.set"]', tenants='["globex"]'))
    told.pass_time(60)
    told.tell()
    assert [notice for notice in carrier.notices if notice.tenant] == []
    assert told.states() == [("stop.set", "overtaken")]


def test_a_copy_that_is_being_posted_just_now_is_rewritten_afterwards() -> None:
    carrier = Carrier()
    told = stage_of(
        carrier,
        '[notices.desk]\nkind = "slack"\nchannel = "C1"\nevents = ["request.waiting"]\ntenants = ["*"]\n',
    )
    other = Authority(told.authority.engine, Channels(told.given, dict.fromkeys(ChannelKind, carrier)))
    request = told.ask_close()
    tried: list[int] = []

    def decide_meanwhile() -> object:
        told.people.approve(request, BEN)
        return asyncio.to_thread(lambda: tried.append(other.outbox.run_once()))

    carrier.acts = [decide_meanwhile]
    original = carrier.send

    async def send(rule: NoticeRule, notice: Notice, *, at: int, reference: str = "") -> str:
        await original(rule, notice, at=at, reference=reference)
        return "C1 1.1"

    carrier.send = send  # type: ignore[method-assign]
    told.tell()
    assert tried == [0], "the other process leaves it until the copy stands"
    told.tell()
    assert [(notice.event, reference) for _, notice, _, reference in carrier.sent] == [
        ("request.waiting", ""),
        ("request.decided", "C1 1.1"),
    ]
    told.close()


@pytest.mark.case(101)
def test_an_error_inside_a_channel_is_named_by_its_type_alone(told: NoticeStage, carrier: Carrier) -> None:
    def act() -> object:
        raise RuntimeError("token canary-77")

    carrier.acts = [act]
    told.hold("tool:ticket")
    told.tell()
    (row,) = told.deliveries("")
    assert (row.state, row.fault) == ("waiting", "an error inside the channel (RuntimeError)")


def test_a_secret_that_cannot_be_read_is_a_failed_try(told: NoticeStage, carrier: Carrier) -> None:
    def act() -> object:
        raise ConfigError("others can read it", path="/state/notices/hook.json")

    carrier.acts = [act]
    told.hold("tool:ticket")
    told.tell()
    assert told.deliveries("")[0].fault == "the channel's secret cannot be used; see: leasehold notices list"


def test_a_receiver_that_never_answers_is_a_failed_try(
    told: NoticeStage, carrier: Carrier, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("leasehold.authority.outbox._TRY_SECONDS", 0.01)
    carrier.acts = [lambda: asyncio.Event().wait()]
    told.hold("tool:ticket")
    told.tell()
    assert told.deliveries("")[0].fault.startswith("nothing came back within")


def test_a_channel_that_was_taken_out_of_the_policy_is_told_nothing_more(told: NoticeStage, carrier: Carrier) -> None:
    carrier.acts = fail()
    told.hold("tool:ticket")
    told.tell()
    told.accept(POLICY)
    told.pass_time(60)
    told.tell()
    assert [notice.event for notice in carrier.notices] == ["policy.widened"], "but that it was taken out"
    assert told.states("") == [("stop.set", "overtaken"), ("policy.widened", "delivered")]


def test_what_a_channel_needs_and_is_not_installed_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "leasehold.notices.webhook", None)
    told = NoticeStage(webhook_rule("http://127.0.0.1:9/", events=ALL))
    told.hold("tool:ticket")
    told.tell()
    assert "leasehold[notices]" in told.deliveries("")[0].fault
    told.close()


def test_an_authority_in_memory_has_no_secrets_of_channels() -> None:
    stage = Stage(POLICY + webhook_rule("http://127.0.0.1:9/", events=ALL))
    stage.hold("tool:ticket")
    stage.authority.outbox.run_once()
    (row,) = stage.authority.engine.store.queries.deliveries([""])
    assert "no signing key" in row.fault
    stage.close()


# nothing depends on it


@pytest.mark.requirement("F1")
def test_a_dead_receiver_neither_approves_nor_denies_nor_delays(told: NoticeStage, carrier: Carrier) -> None:
    carrier.acts = fail(times=100, may_repeat=False)
    lease = told.lease(CLOSE)
    request = told.ask(lease, "ticket.close", key="k")
    told.tell()
    assert told.desk.request_row(told.authority.find_request(request)).state == RequestState.PENDING
    told.people.approve(request, BEN)
    told.tell()
    assert told.settle(told.admit(lease, "ticket.close", key="k")).state == OutcomeStatus.DONE


# the thread


def test_the_thread_is_woken_by_a_commit_and_delivers(told: NoticeStage, carrier: Carrier) -> None:
    told.authority.outbox.start()
    told.hold("tool:ticket")
    assert carrier.arrived.wait(30)
    told.authority.outbox.close()
    assert carrier.events == [("hook", "stop.set")]
    told.authority.outbox.close()


def test_a_slow_channel_delays_only_itself_and_closing_does_not_wait_for_it() -> None:
    carrier = Carrier()
    both = webhook_rule("http://127.0.0.1:9/", events=ALL) + webhook_rule("http://127.0.0.1:8/", "other", ALL)
    told = stage_of(carrier, both)
    slow_began, hung = threading.Event(), asyncio.Event()
    original = carrier.send

    async def send(rule: NoticeRule, notice: Notice, *, at: int, reference: str = "") -> str:
        if rule.name == "hook":
            slow_began.set()
            await hung.wait()
        return await original(rule, notice, at=at, reference=reference)

    carrier.send = send  # type: ignore[method-assign]
    told.authority.outbox.start()
    told.hold("tool:ticket")
    assert slow_began.wait(30)
    assert carrier.arrived.wait(30)
    told.hold("tool:mail")
    told.authority.outbox.close()
    assert {rule for rule, _ in carrier.events} == {"other"}
    (waiting,) = [row for row in told.deliveries("") if row.channel == "hook" and row.claim]
    assert waiting.state == "waiting", "what was being sent is sent again once its claim has run out"
    told.close()


def test_the_thread_begins_to_listen_when_a_policy_names_a_channel(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("leasehold.authority.outbox._SILENT_SECONDS", 0.01)
    carrier = Carrier()
    told = stage_of(carrier, "")
    told.authority.outbox.start()
    told.desk.accept_policy(policy(WIDER + webhook_rule("http://127.0.0.1:9/", events=ALL)), by="eva", widened=["x"])
    assert carrier.arrived.wait(30)
    carrier.arrived.clear()
    told.desk.accept_policy(policy(), by="eva", widened=["x"])
    assert carrier.arrived.wait(30)
    told.authority.outbox.close()
    assert [event for _, event in carrier.events] == ["policy.widened", "policy.widened"]
    told.close()


def test_a_commit_while_the_thread_reads_is_not_missed(
    told: NoticeStage, carrier: Carrier, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was recorded after the reading and before the sleep wakes it again; else it would be told much later."""
    enqueue = outbox_module._enqueue
    held = threading.Event()

    async def slow(*parts: object) -> bool:
        is_silent = await enqueue(*parts)  # type: ignore[arg-type]
        if not held.is_set():
            held.set()
            await asyncio.to_thread(told.hold, "tool:ticket")
        return is_silent

    monkeypatch.setattr(outbox_module, "_enqueue", slow)
    told.authority.outbox.start()
    assert carrier.arrived.wait(20)
    told.authority.outbox.close()


@pytest.fixture
def pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """How long the thread meant to sleep after each look."""
    work, seconds = outbox_module._Worker._work, list[float]()

    async def recorded(worker: outbox_module._Worker) -> float:
        seconds.append(await work(worker))
        return seconds[-1]

    monkeypatch.setattr(outbox_module._Worker, "_work", recorded)
    return seconds


def test_the_thread_sleeps_while_there_is_nothing_to_do_and_ends_when_it_is_closed(
    told: NoticeStage, pauses: list[float]
) -> None:
    told.authority.outbox.start()
    until(lambda: bool(pauses))
    told.authority.outbox.close()
    assert pauses == [30.0]


def test_the_thread_tries_again_when_the_time_has_come(
    told: NoticeStage, carrier: Carrier, monkeypatch: pytest.MonkeyPatch, pauses: list[float]
) -> None:
    monkeypatch.setattr("leasehold.authority.outbox._PAUSE_SECONDS", 0.01)
    carrier.acts = fail()
    told.hold("tool:mail")
    told.hold("tool:ticket")
    told.authority.outbox.start()
    until(lambda: len(carrier.sent) == 1 and 2.5 <= pauses[-1] <= 5)
    told.pass_time(5)
    told.hold("tool:x")
    until(lambda: len(carrier.sent) == 3)
    told.authority.outbox.close()
    assert [notice.scope for notice in carrier.notices] == ["tool:ticket", "tool:mail", "tool:x"]


def test_a_receiver_that_is_down_is_not_asked_about_each_notice(told: NoticeStage, carrier: Carrier) -> None:
    carrier.acts = fail()
    for number in range(5):
        told.hold(f"tool:a{number}")
    assert told.tell() == 1
    assert told.tell() == 4
    told.pass_time(5)
    assert told.tell() == 1


def test_a_notice_that_somebody_else_took_meanwhile_is_left_alone(told: NoticeStage, carrier: Carrier) -> None:
    told.hold("tool:ticket")
    told.tell()
    (row,) = told.deliveries("")
    assert asyncio.run(told.authority.outbox._post.deliver_all([replace(row, state="waiting")])) == 0
    assert len(carrier.sent) == 1


def test_a_channel_that_does_not_ask_for_budgets_has_none_looked_at(carrier: Carrier) -> None:
    told = stage_of(carrier, webhook_rule("http://127.0.0.1:9/", events='["alarm"]'))
    told.use(told.lease({"ticket.pay": {"ticket": ["T-*"]}}), "ticket.pay", key="k")
    assert told.tell() == 0
    told.close()


@pytest.mark.parametrize("fault", [StoreError("the disk is gone"), RuntimeError("a fault of ours")])
def test_the_thread_outlives_every_fault(
    told: NoticeStage,
    carrier: Carrier,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    fault: Exception,
) -> None:
    caplog.set_level(logging.WARNING, logger="leasehold.notices")
    monkeypatch.setattr("leasehold.authority.outbox._FAULT_SECONDS", 0.01)
    outbox = told.authority.outbox
    failing = [fault, fault]
    taking_up = outbox._reader.take_up

    def take_up() -> CursorRow | None:
        if failing:
            raise failing.pop()
        return taking_up()

    monkeypatch.setattr(outbox._reader, "take_up", take_up)
    trying = outbox._post._try

    async def broken(row: DeliveryRow) -> EndDelivery:
        monkeypatch.setattr(outbox._post, "_try", trying)
        raise fault

    monkeypatch.setattr(outbox._post, "_try", broken)
    told.hold("tool:ticket")
    outbox.start()
    until(lambda: "notices over hook could not be delivered" in caplog.text)
    told.system.advance(milliseconds=CLAIM_MS)
    told.hold("tool:mail")
    until(lambda: len(carrier.sent) == 2)
    outbox.close()


def until(is_so: Callable[[], bool]) -> None:
    """Wait for what another thread does; there is nothing to be woken by."""
    waiting = threading.Event()
    for _ in range(3000):
        if is_so():
            return
        waiting.wait(0.01)
    raise AssertionError("it did not come to be so")
