"""E-mail, to a real SMTP server: TLS, plain text, a link to look at, and no way to put a header in."""

from __future__ import annotations

import socket
from email.message import EmailMessage, Message

import pytest

from leasehold.decide.rows import DeliveryRow
from leasehold.model.notice import ChannelKind, Fact, Notice
from leasehold.notices.mail import MailChannel, message
from leasehold.policy.load import Source, load_policy
from mail_server import PASSWORD, mail_server, mail_trust
from notice_desk import CONSOLE, NoticeStage
from stage import CLOSE, POLICY


def rule(url: str, to: str = '["ops@example.com", "lead@example.com"]', more: str = "") -> str:
    return f"""
[notices.mail]
kind = "email"
url = "{url}"
to = {to}
from = "leasehold@example.com"
events = ["request.waiting", "request.decided", "notice.failed"]
tenants = ["acme"]
networks = ["127.0.0.0/8", "::1/128"]
console = "{CONSOLE}"
{more}
"""


def tell(notices: str, *, trusted: bool = True, reason: str = "asked") -> DeliveryRow:
    """Let one waiting request be told by mail; answers what became of the notice."""
    told = NoticeStage(notices, {"mail": {"password": PASSWORD}})
    channel = MailChannel(told.given, trust=mail_trust() if trusted else None)
    told = NoticeStage(notices, {"mail": {"password": PASSWORD}}, {ChannelKind.EMAIL: channel})
    channel._secrets = told.given
    run = told.start()
    request = told.authority.request(run, CLOSE, reason=reason)
    told.ask(told.authority.wait(request, 5), "ticket.close", key="k")
    told.tell()
    (row,) = told.deliveries()
    assert "canary" not in repr(row)
    told.close()
    return row


def body(mail: Message) -> str:
    assert isinstance(mail, EmailMessage)
    return str(mail.get_content())


def test_a_mail_says_what_waits_and_leads_to_the_console() -> None:
    with mail_server() as server:
        row = tell(rule(f"smtp://localhost:{server.port}"))
    assert (row.state, row.fault) == ("delivered", "")
    (mail,), (envelope,) = server.mails, server.envelopes
    assert mail["Subject"].strip() == "[leasehold] A request waits for people: ticket.close ticket T-1 - acme / prod"
    assert envelope.rcpt_tos == ["lead@example.com", "ops@example.com"]
    assert envelope.mail_from == mail["From"] == "leasehold@example.com"
    assert mail["Message-ID"] == f"<{row.delivery_id}@example.com>"
    assert mail["Auto-Submitted"] == "auto-generated"
    assert mail.get_content_type() == "text/plain"
    text = body(mail)
    assert f"Look at it: {CONSOLE}/requests/req_" in text
    assert text.count("://") == 1, "the one link is to look, never to answer"
    assert "Answer by: 2026-05-06 12:10:00 UTC" in text
    assert "Nothing can be answered by mail." in text


@pytest.mark.parametrize("wrapped", [False, True])
def test_mail_travels_under_tls_with_the_password_and_the_servers_name_is_proven(*, wrapped: bool) -> None:
    with mail_server(wrapped=wrapped) as server:
        scheme = "smtps" if wrapped else "smtp"
        row = tell(rule(f"{scheme}://localhost:{server.port}", more='user = "leasehold"'))
        assert (row.state, row.fault) == ("delivered", "")
        assert wrapped or server.encrypted == [True]
        assert server.logins == [(b"leasehold", PASSWORD.encode())]
    with mail_server(wrapped=wrapped, name="evil.example.com") as server:
        row = tell(rule(f"{scheme}://localhost:{server.port}"))
        assert (row.state, row.fault) == ("waiting", "the mail server's certificate was not accepted")
        assert server.mails == []


@pytest.mark.case(101)
def test_a_password_is_never_sent_without_tls() -> None:
    with mail_server(tls=False) as server:
        row = tell(rule(f"smtp://localhost:{server.port}", more='user = "leasehold"'))
    assert row.state == "waiting"
    assert "does not speak SMTP with TLS" in row.fault
    assert (server.mails, server.logins) == ([], [])


def test_without_a_password_a_server_on_this_machine_may_do_without_tls() -> None:
    with mail_server(tls=False) as server:
        assert tell(rule(f"smtp://localhost:{server.port}")).state == "delivered"
    assert server.encrypted == [False]


@pytest.mark.parametrize(
    ("answer", "state", "fault"),
    [
        ("451 try later", "waiting", "the mail server answered 451"),
        ("554 canary says no", "given_up", "the mail server answered 554"),
    ],
)
def test_what_the_server_answers_decides_what_becomes_of_the_mail(answer: str, state: str, fault: str) -> None:
    with mail_server() as server:
        server.refuse_data = answer
        row = tell(rule(f"smtp://localhost:{server.port}"))
    assert (row.state, row.fault) == (state, fault)


@pytest.mark.parametrize(
    ("refused", "state", "fault"),
    [
        ({"ops@example.com": "550 who"}, "given_up", "the mail server refused 1 of 2 recipients"),
        (
            {"ops@example.com": "550 who", "lead@example.com": "550 who"},
            "given_up",
            "the mail server refused every recipient",
        ),
        (
            {"ops@example.com": "450 busy", "lead@example.com": "550 who"},
            "waiting",
            "the mail server refused every recipient",
        ),
    ],
)
def test_recipients_that_the_server_refuses_alarm(refused: dict[str, str], state: str, fault: str) -> None:
    with mail_server() as server:
        server.refuse_recipients = refused
        row = tell(rule(f"smtp://localhost:{server.port}"))
    assert (row.state, row.fault) == (state, fault)


def test_a_wrong_password_can_be_put_right_before_the_mail_is_given_up() -> None:
    with mail_server() as server:
        text = rule(f"smtp://localhost:{server.port}", more='user = "leasehold"')
        told = NoticeStage(text, {"mail": {"password": "wrong"}})
        channel = MailChannel(told.given, trust=mail_trust())
        told.authority.outbox._post._channels._made[ChannelKind.EMAIL] = channel
        told.ask_close()
        told.tell()
        assert told.deliveries()[0].fault == "the mail server answered 535"
        told.given.secrets["mail"]["password"] = PASSWORD
        told.pass_time(5)
        told.tell()
        assert told.deliveries()[0].state == "delivered"
        told.given.secrets.clear()
        told.ask_close()
        told.tell()
        assert "has no password" in told.deliveries()[-1].fault
        told.close()


def test_a_server_that_is_not_there_or_no_mail_server_is_a_failed_try() -> None:
    with socket.socket() as closed:  # bound while it is asked, so that nobody else listens there
        closed.bind(("127.0.0.1", 0))
        row = tell(rule(f"smtp://localhost:{closed.getsockname()[1]}"))
    assert (row.state, row.fault) == ("waiting", "the mail server cannot be reached")
    with mail_server(wrapped=True) as server:
        row = tell(rule(f"smtps://localhost:{server.port}"), trusted=False)
    assert row.fault == "the mail server's certificate was not accepted"


@pytest.mark.case(82, 83)
def test_an_agents_words_are_quoted_last_and_can_neither_be_a_link_nor_a_header() -> None:
    attack = "look: http://evil.example/approve?id=1 or www.evil.example or a@evil.example\u202e"
    with mail_server() as server:
        row = tell(rule(f"smtp://localhost:{server.port}"), reason=attack)
    assert row.state == "delivered"
    (mail,) = server.mails
    text = body(mail)
    quoted = text[text.index("written by the agent, not checked: reason:") :]
    assert "evil.example" not in text
    assert "evil[.]example" in quoted
    assert "a[@]evil" in quoted
    assert "<U+202E>" in quoted
    assert all(line.startswith((">", "Nothing", "written", "")) for line in quoted.splitlines())


@pytest.mark.parametrize("poison", ["x\nBcc: mallory@example.com", "x\r\nBcc: mallory@example.com", "x\r\r\n\n"])
def test_a_line_break_in_what_becomes_a_header_is_refused(poison: str) -> None:
    """Everything was escaped before; the library refuses what would come through all the same."""
    text = POLICY + rule("smtp://localhost:25")
    mail_rule = load_policy([Source("test", text)]).notices["mail"]
    notice = Notice(notice_id="ntc_1", event="test", at=0, tenant="", title=poison)
    with pytest.raises(ValueError, match=r"linefeed|newline|carriage"):
        message(mail_rule, notice, 0)


def test_a_long_headline_stands_in_the_body_and_not_in_the_subject() -> None:
    mail_rule = load_policy([Source("test", POLICY + rule("smtp://localhost:25"))]).notices["mail"]
    notice = Notice(
        notice_id="ntc_1",
        event="request.waiting",
        at=0,
        tenant="acme",
        title="A request waits for people",
        headline="x" * 400,
        facts=(Fact("Does", "y" * 300),),
        command="leasehold request inspect req_1",
    )
    mail = message(mail_rule, notice, 0)
    assert mail["Subject"] == "[leasehold] A request waits for people"
    assert mail.get_content().count("x") >= 400
    assert "At a terminal: leasehold request inspect req_1" in mail.get_content()
    assert max(len(line) for line in mail.as_bytes().splitlines()) < 998
