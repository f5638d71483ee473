"""Slack: posted once, rewritten when it is no longer so, link only, and nothing that an agent wrote is markup."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from governed import TWO, WIDER, propose
from leasehold.decide.proposals import PROPOSAL_SECONDS
from leasehold.model.notice import ChannelKind, Fact, Notice
from leasehold.model.proposal import PolicyVerdict
from leasehold.notices.channel import DeliveryError
from leasehold.notices.channels import Channels
from leasehold.notices.slack_message import MAX_TEXT, blocks
from notice_desk import CONSOLE, NoticeStage
from slack_server import TOKEN, Slack, slack_server
from stage import BEN, CLOSE, ERASE, EVA, policy


def rule(url: str, events: str = '["request.waiting"]', more: str = "") -> str:
    return f"""
[notices.desk]
kind = "slack"
url = "{url}"
channel = "C0123456"
events = {events}
tenants = ["acme"]
networks = ["127.0.0.0/8"]
console = "{CONSOLE}"
{more}
"""


@pytest.fixture
def slack() -> Iterator[Slack]:
    with slack_server() as slack:
        yield slack


def told_over(slack: Slack, events: str = '["request.waiting"]') -> NoticeStage:
    base = slack.receiver.url.removesuffix("/hook")
    return NoticeStage(rule(f"{base}/", events), {"desk": {"token": TOKEN}})


@pytest.fixture
def told(slack: Slack) -> Iterator[NoticeStage]:
    stage = told_over(slack)
    yield stage
    stage.close()


@pytest.mark.case(89)
def test_a_posted_copy_shows_the_card_with_a_link_and_no_button(told: NoticeStage, slack: Slack) -> None:
    request = told.ask_close("T-9")
    told.tell()
    (text,) = slack.texts()
    assert slack.titles() == ["A request waits for people"]
    for words in ("ticket.close ticket T-9 - acme / prod", "Answer by: 2026-05-06 12:10:00 UTC", "lead; 0 of 1"):
        assert words in text
    assert f"<{CONSOLE}/requests/{request}|Open>" in text
    (message,) = slack.messages.values()
    assert {block["type"] for block in message["blocks"]} <= {"header", "section"}, "nothing here can be pressed"
    assert (message["unfurl_links"], message["unfurl_media"], message["mrkdwn"]) == (False, False, False)


@pytest.mark.requirement("F2")
def test_every_posted_copy_is_rewritten_as_the_state_changes(told: NoticeStage, slack: Slack) -> None:
    """Also by events that the channel did not ask to be told of: a copy must not go on saying what is not so."""
    request = told.ask(told.lease(ERASE), "ticket.erase", key="k")
    told.tell()
    told.people.approve(request, BEN)
    told.tell()
    assert "lead; 1 of 2" in slack.texts()[0]
    assert "Approved by: user:ben" in slack.texts()[0]
    told.people.approve(request, EVA)
    told.tell()
    assert slack.titles() == ["Approved"]
    assert "Who may answer" not in slack.texts()[0]
    assert told.states() == [
        ("request.waiting", "delivered"),
        ("request.answered", "delivered"),
        ("request.decided", "delivered"),
    ]


def test_a_copy_says_denied_expired_or_withdrawn(told: NoticeStage, slack: Slack) -> None:
    denied, expired = told.ask_close("T-1"), told.ask_close("T-2")
    run = told.start()
    waiting = told.ask(told.lease(CLOSE, run=run), "ticket.close", "T-3", key="k")
    told.tell()
    told.people.deny(denied, BEN)
    told.authority.finish(run)
    told.pass_time(601)
    told.sweep()
    told.tell()
    assert slack.titles() == ["Denied", "Nobody answered in time", "Withdrawn"]
    assert expired in slack.texts()[1]
    assert waiting in slack.texts()[2], "a run that finishes takes what waits along, and the copy says so"


def test_a_decision_that_nobody_subscribed_to_is_not_posted_by_itself(slack: Slack) -> None:
    told = told_over(slack, '["stop.set"]')
    request = told.ask_close()
    told.people.approve(request, BEN)
    told.tell()
    assert slack.messages == {}
    told.close()


def test_a_request_that_was_answered_before_its_turn_came_is_never_posted_as_waiting(
    told: NoticeStage, slack: Slack
) -> None:
    told.people.approve(told.ask_close(), BEN)
    told.tell()
    assert slack.messages == {}
    assert told.states() == [("request.waiting", "overtaken"), ("request.decided", "overtaken")]


def test_a_hold_and_its_lifting_are_one_message_each_time(slack: Slack) -> None:
    told = told_over(slack, '["stop.set"]')
    for _ in range(2):
        told.hold("tool:ticket", tenant="acme")
        told.tell()
        told.lift("tool:ticket", tenant="acme")
        told.tell()
    assert slack.titles() == ["Hold lifted", "Hold lifted"]
    updates = [got.json["ts"] for got in slack.receiver.got if got.path == "/chat.update"]
    assert updates == sorted(set(updates)), "a hold that was over is left as it is"
    told.close()


@pytest.mark.case(83, 82)
def test_what_an_agent_wrote_is_last_quoted_and_neither_markup_mention_nor_link(
    told: NoticeStage, slack: Slack
) -> None:
    attack = "<!channel> <https://evil.example/x|Approve> *bold* @here http://evil.example `yes` \u202egnp.exe"
    run = told.start()
    request = told.authority.request(run, CLOSE, reason=attack)
    lease = told.authority.wait(request, 5)
    told.ask(lease, "ticket.close", key="k")
    told.tell()
    (message,) = slack.messages.values()
    last = message["blocks"][-1]["text"]
    assert last["type"] == "plain_text"
    assert last["text"].startswith("written by the agent, not checked: reason:\n&gt; ")
    assert "<" not in last["text"]
    assert "&lt;!channel&gt;" in last["text"]
    assert "evil.example" not in last["text"]
    assert "://" not in last["text"]
    assert "&lt;U+202E&gt;" in last["text"]
    kinds = {block["text"]["type"] for block in message["blocks"] if "evil" in json.dumps(block)}
    assert kinds == {"plain_text"}
    assert "evil" not in message["text"]


def long_notice(headline: str = "x", quote: str = "y", fact: str = "z") -> Notice:
    return Notice(
        notice_id="ntc_x",
        event="request.waiting",
        at=0,
        tenant="acme",
        title="A request waits for people",
        headline=headline,
        facts=(Fact("Does", fact),),
        quotes=(Fact("written by the agent", quote),),
        link="https://desk.example.com/requests/r",
    )


@pytest.mark.case(85)
@pytest.mark.parametrize("part", ["headline", "quote", "fact"])
def test_text_that_does_not_fit_is_left_out_whole_and_the_message_says_so(part: str) -> None:
    """Escaping makes text longer: what counts is what is sent."""
    shown = blocks(long_notice(**{part: "&" * (MAX_TEXT // 5 + 1)}))
    text = json.dumps(shown)
    assert "&amp;&amp;" not in text, "nothing is cut"
    assert "too long" in text
    assert "Open" in text
    assert "&amp;&amp;" in json.dumps(blocks(long_notice(**{part: "&" * 400})))


def test_without_a_console_the_command_is_shown(slack: Slack) -> None:
    base = slack.receiver.url.removesuffix("/hook")
    text = rule(base).replace(f'console = "{CONSOLE}"\n', "")
    told = NoticeStage(text, {"desk": {"token": TOKEN}})
    request = told.ask_close()
    told.tell()
    assert f"leasehold request inspect {request}" in slack.texts()[0]
    assert "|Open" not in slack.texts()[0]
    told.close()


@pytest.mark.parametrize(
    ("error", "state", "fault"),
    [
        ("not_in_channel", "waiting", "Slack said not_in_channel"),
        ("invalid_blocks", "given_up", "Slack said invalid_blocks"),
        ("<b>canary</b>", "waiting", "Slack said an error without a code"),
    ],
)
def test_an_error_of_slack_is_kept_by_its_code(
    told: NoticeStage, slack: Slack, error: str, state: str, fault: str
) -> None:
    slack.errors = [error]
    told.ask_close()
    told.tell()
    (row,) = told.deliveries()
    assert (row.state, row.fault) == (state, fault)


def test_a_rate_limit_is_respected_and_the_notice_arrives_once(told: NoticeStage, slack: Slack) -> None:
    slack.rate_limited = 1
    told.ask_close()
    told.tell()
    told.pass_time(29)
    assert told.tell() == 0
    told.pass_time(1)
    told.tell()
    assert len(slack.messages) == 1


def test_a_copy_that_somebody_deleted_needs_no_rewriting(told: NoticeStage, slack: Slack) -> None:
    request = told.ask_close()
    told.tell()
    slack.messages.clear()
    told.people.approve(request, BEN)
    told.tell()
    assert slack.messages == {}
    assert told.states()[-1] == ("request.decided", "delivered")


def test_an_update_that_fails_is_repeated_until_the_copy_is_true(told: NoticeStage, slack: Slack) -> None:
    request = told.ask_close()
    told.tell()
    told.people.approve(request, BEN)
    slack.errors = ["internal_error"]
    told.tell()
    assert slack.titles() == ["A request waits for people"]
    told.pass_time(5)
    told.tell()
    assert slack.titles() == ["Approved"]


def test_nobody_is_told_something_alone_over_a_channel_that_cannot(told: NoticeStage) -> None:
    with pytest.raises(DeliveryError, match="nobody can be told something alone over webhook"):
        Channels(told.given).whispering(ChannelKind.WEBHOOK)


@pytest.mark.parametrize("body", [b"<html>", b"[]", b'{"ok": "yes"}', b'{"ok": true, "ok": false}'])
def test_an_answer_that_is_not_slacks_is_a_failed_try(body: bytes) -> None:
    from receivers import http_receiver

    with http_receiver(lambda _: (200, {}, body)) as receiver:
        told = NoticeStage(rule(receiver.url), {"desk": {"token": TOKEN}})
        told.ask_close()
        told.tell()
        assert told.deliveries()[0].fault == "Slack's answer cannot be read"
        told.close()


@pytest.mark.case(101)
def test_the_token_stands_in_no_row_entry_or_log(
    told: NoticeStage, slack: Slack, caplog: pytest.LogCaptureFixture
) -> None:
    slack.errors = ["invalid_blocks"]
    told.ask_close()
    told.tell()
    everything = repr(told.deliveries()) + repr(told.entries()) + caplog.text
    assert "canary" not in everything
    told.given.secrets.clear()
    told.ask_close()
    told.tell()
    assert "has no token" in told.deliveries()[-1].fault


@pytest.mark.requirement("P7", "P15")
def test_a_copy_about_a_proposed_policy_says_what_became_of_it(slack: Slack) -> None:
    base = slack.receiver.url.removesuffix("/hook")
    channel = rule(f"{base}/", '["policy.proposed"]').replace('tenants = ["acme"]', 'tenants = ["*"]')
    old, wider = TWO + channel, WIDER + channel
    told = NoticeStage("", {"desk": {"token": TOKEN}}, text=old)
    for verdict, title in ((PolicyVerdict.REFUSE, "A proposed policy was refused"), (None, "Nobody answered")):
        propose(told, text=wider, replaces=old)
        told.tell()
        assert slack.titles()[-1] == "A policy that allows more than the one in force waits for a second person"
        if verdict is not None:
            proposals = told.authority.proposals
            proposals.answer(proposals.find(policy(wider).hash), verdict, told.people.signatory(BEN))
        else:
            told.pass_time(PROPOSAL_SECONDS)
            told.sweep()
        told.tell()
        assert slack.titles()[-1].startswith(title)
    told.close()
