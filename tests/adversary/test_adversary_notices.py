"""What leaves the house in a notice: no secret of a channel, no argument that the policy redacts."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator

import pytest

from leasehold.errors import ApprovalNeeded
from leasehold.model.notice import ChannelKind
from leasehold.notices.mail import MailChannel
from mail_server import mail_server, mail_trust
from notice_desk import NoticeStage, webhook_rule
from receivers import Receiver, http_receiver
from slack_server import Slack, slack_server
from stage import BEN, changed

CANARY = "canary-7f3a9c"
REDACTED = changed(
    '"ticket.close"   = { effect = "write", args = { ticket = "ticket_id" }, implies = ["ticket.update"] }',
    '"ticket.close"   = { effect = "write", args = { ticket = "ticket_id" }, implies = ["ticket.update"], '
    'redact = ["password"], headline = "Close {ticket_id} with {password}" }',
)


@pytest.fixture
def receivers() -> Iterator[tuple[Receiver, Slack]]:
    with http_receiver() as hook, slack_server() as slack:
        yield hook, slack


@pytest.mark.case(101, 83)
def test_neither_secrets_of_channels_nor_redacted_arguments_leave_in_notices_rows_entries_or_logs(
    receivers: tuple[Receiver, Slack], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    hook, slack = receivers
    with mail_server() as server:
        told = _told(hook, slack, server.port)
        hook.answers = [500, 410]
        lease = told.lease({"ticket.close": {"ticket": ["T-*"]}})
        try:
            told.admit(lease, "ticket.close", ticket_id="T-1", password=CANARY, key="k")
        except ApprovalNeeded as needed:
            request = needed.request
        for _ in range(3):
            told.tell()
            told.pass_time(30)
        told.people.approve(request, BEN)
        told.tell()
        sent = [got.body.decode() + json.dumps(got.headers) for got in hook.got]
        sent += [json.dumps(message) for message in slack.messages.values()]
        sent += [mail.as_string() for mail in server.mails]
        kept = repr(told.deliveries()) + repr(told.entries()) + caplog.text
        assert len(sent) >= 3
        assert slack.messages
        assert server.mails
        for text in (*sent, kept):
            assert CANARY not in text
        assert all("redacted by policy" in text for text in (*map(json.dumps, slack.messages.values()),))
        told.close()


def _told(hook: Receiver, slack: Slack, mail_port: int) -> NoticeStage:
    rules = webhook_rule(hook.url)
    rules += f"""
[notices.desk]
kind = "slack"
url = "{slack.receiver.url.removesuffix("/hook")}"
channel = "C1"
events = ["request.waiting"]
tenants = ["acme"]
networks = ["127.0.0.0/8"]

[notices.mail]
kind = "email"
url = "smtp://localhost:{mail_port}"
to = ["ops@example.com"]
from = "leasehold@example.com"
user = "leasehold"
events = ["request.waiting", "request.decided"]
tenants = ["acme"]
networks = ["127.0.0.0/8", "::1/128"]
"""
    secrets = {
        "hook": {"keys": "whsec_" + "Q0FOQVJZ" * 4},
        "desk": {"token": f"xoxb-{CANARY}"},
        "mail": {"password": CANARY},
    }
    slack.token = f"xoxb-{CANARY}"
    made = NoticeStage(rules, secrets, text=REDACTED)
    channel = MailChannel(made.given, trust=mail_trust())
    made.authority.outbox._channels._made[ChannelKind.EMAIL] = channel
    return made
