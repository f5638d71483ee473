"""`[notices]`: channels are part of what has to be accepted, and every way to write one wrong is refused by name."""

from __future__ import annotations

import pytest
from policy_worlds import EXAMPLE

from leasehold.errors import ConfigError
from leasehold.model.notice import NoticeEvent
from leasehold.policy.diff import diff
from leasehold.policy.document import Policy
from leasehold.policy.load import Source, load_policy

HOOK = """
[notices.hook]
kind = "webhook"
url = "https://hooks.example.com/leasehold"
events = ["stop.set", "request.waiting"]
tenants = ["*"]
"""
MAIL = """
[notices.mail]
kind = "email"
url = "smtps://mail.example.com"
to = ["ops@example.com"]
from = "leasehold@example.com"
events = ["alarm"]
tenants = ["acme"]
"""
CHAT = """
[notices.chat]
kind = "slack"
channel = "C024BE91L"
events = ["request.waiting"]
tenants = ["acme"]
console = "https://desk.example.com/x/"
"""


REVIEWED = CHAT + 'reviewers = { "T024BE7LH/U061F7AUR" = "user:ben" }\n'


def load(text: str) -> Policy:
    return load_policy([Source("leasehold.toml", EXAMPLE + text)])


def test_channels_are_read_and_stored_with_the_policy() -> None:
    policy = load(HOOK + MAIL + CHAT)
    hook, mail, chat = (policy.notices[name] for name in ("hook", "mail", "chat"))
    assert hook.events == (NoticeEvent.REQUEST_WAITING, NoticeEvent.STOP_SET)
    assert (mail.sender, mail.to, mail.user) == ("leasehold@example.com", ("ops@example.com",), "")
    assert (chat.url, chat.to, chat.console) == ("https://slack.com/api/", ("C024BE91L",), "https://desk.example.com/x")
    assert Policy.from_json(policy.to_json()) == policy
    assert policy.hash != load("").hash


def test_who_may_answer_in_a_chat_is_an_explicit_table() -> None:
    policy = load(REVIEWED)
    assert policy.reviewer("chat", "T024BE7LH/U061F7AUR") == "user:ben"
    assert policy.reviewer("chat", "T024BE7LH/U0OTHER") == policy.reviewer("hook", "T024BE7LH/U061F7AUR") == ""
    assert Policy.from_json(policy.to_json()) == policy
    assert load(CHAT).notices["chat"].reviewers == {}


@pytest.mark.parametrize("event", NoticeEvent)
def test_every_event_can_be_asked_for(event: NoticeEvent) -> None:
    assert load(HOOK.replace('"stop.set", "request.waiting"', f'"{event}"')).notices["hook"].events == (event,)


def test_whom_a_channel_is_for() -> None:
    everywhere, acme = load(HOOK).notices["hook"], load(MAIL).notices["mail"]
    assert [everywhere.is_for(tenant) for tenant in ("", "acme", "globex")] == [True, True, True]
    assert [acme.is_for(tenant) for tenant in ("", "acme", "globex")] == [False, True, False]


@pytest.mark.case(20)
@pytest.mark.parametrize(
    ("text", "old", "new", "message"),
    [
        (HOOK, 'kind = "webhook"', 'kind = "webhok"', 'did you mean "webhook"'),
        (HOOK, 'kind = "webhook"\n', "", 'needs "kind"'),
        (HOOK, "tenants = ", "tenant = ", 'needs "tenants"'),
        (HOOK, '["*"]', "[]", "for nobody"),
        (HOOK, 'url = "https://hooks.example.com/leasehold"\n', "", 'needs "url"'),
        (HOOK, '"https://hooks.example.com/leasehold"', "3", "an address in quotes"),
        (HOOK, "https://hooks", "http://hooks", "only for a receiver on this machine"),
        (HOOK, "https://hooks", "https://user@hooks", "no address that can be used"),
        (HOOK, "stop.set", "stop.sett", 'unknown event "stop.sett"; did you mean "stop.set"'),
        (HOOK, '["stop.set", "request.waiting"]', "[]", "names nothing"),
        (HOOK, 'tenants = ["*"]', 'tenants = ["*"]\nchannel = "C1"', 'unknown key "channel"'),
        (HOOK, 'tenants = ["*"]', 'tenants = ["*"]\nsecret = "x"', 'unknown key "secret"'),
        (HOOK, 'tenants = ["*"]', 'tenants = ["*"]\nnetworks = ["10.0.0.1/8"]', "no network"),
        (HOOK, 'tenants = ["*"]', 'tenants = ["*"]\nnetworks = ["0.0.0.0/0"]', "no network"),
        (HOOK, 'tenants = ["*"]', 'tenants = ["*"]\nnetworks = ["here"]', "no network"),
        (HOOK, 'tenants = ["*"]', 'tenants = ["*"]\nconsole = "https://x.example/?y"', "without a query"),
        (HOOK, 'tenants = ["*"]', 'tenants = ["*"]\nconsole = "javascript:alert(1)"', "no address that can be used"),
        (HOOK, "[notices.hook]", '[notices."a/b"]', "holds no '/'"),
        (MAIL, 'to = ["ops@example.com"]\n', "", 'needs "to"'),
        (MAIL, '["ops@example.com"]', "[]", "names nobody"),
        (MAIL, "ops@example.com", "ops@example.com, x@y.z", "no address that can be used"),
        (MAIL, 'from = "leasehold@example.com"\n', "", 'needs "from"'),
        (MAIL, "leasehold@example.com", "Leasehold <x@example.com>", "no address that can be used"),
        (MAIL, "smtps://", "https://", "write smtps:// or smtp://"),
        (CHAT, 'channel = "C024BE91L"\n', "", 'needs "channel"'),
        (CHAT, "C024BE91L", "#general", "is not a name"),
        (REVIEWED, '{ "T024BE7LH/U061F7AUR" = "user:ben" }', "{}", "names nobody; leave it out"),
        (REVIEWED, '{ "T024BE7LH/U061F7AUR" = "user:ben" }', '["U061F7AUR"]', "must be a table"),
        (REVIEWED, "T024BE7LH/U061F7AUR", "U061F7AUR", "no user of Slack; write the ids"),
        (REVIEWED, "T024BE7LH/U061F7AUR", "ben@example.com", "no user of Slack"),
        (REVIEWED, "T024BE7LH/U061F7AUR", "T024BE7LH/u061f7aur", "no user of Slack"),
        (REVIEWED, '"user:ben"', "3", "a name in quotes"),
        (REVIEWED, '"user:ben"', '"user ben"', "is not a name"),
        (HOOK, 'tenants = ["*"]', 'tenants = ["*"]\nreviewers = { "T024BE7LH/U061F7AUR" = "user:ben" }', "unknown key"),
        (
            REVIEWED + REVIEWED.replace("notices.chat", "notices.other"),
            'other]\nkind = "slack"\nchannel = "C024BE91L"\nevents = ["request.waiting"]\ntenants = ["acme"]\n'
            'console = "https://desk.example.com/x/"\nreviewers = { "T024BE7LH/U061F7AUR" = "user:ben" }',
            'other]\nkind = "slack"\nchannel = "C024BE91L"\nevents = ["request.waiting"]\ntenants = ["acme"]\n'
            'reviewers = { "T024BE7LH/U061F7AUR" = "user:eva" }',
            "one user of a chat is one person",
        ),
    ],
)
def test_a_channel_that_is_written_wrong_is_refused_with_its_line(text: str, old: str, new: str, message: str) -> None:
    assert old in text
    with pytest.raises(ConfigError, match=message.replace("(", "\\(").replace("[", "\\[")) as refused:
        load(text.replace(old, new, 1))
    assert refused.value.line is not None
    assert refused.value.line > len(EXAMPLE.splitlines())


@pytest.mark.case(81)
@pytest.mark.requirement("P7")
@pytest.mark.parametrize(
    ("old", "new", "widens"),
    [
        (HOOK, "", True),
        ("", HOOK, False),
        (HOOK, HOOK.replace("hooks.example.com", "evil.example"), True),
        (HOOK, HOOK.replace('"stop.set", ', ""), True),
        (HOOK, HOOK.replace('"stop.set", ', '"stop.set", "alarm", '), False),
        (HOOK, HOOK.replace('["*"]', '["acme"]'), True),
        (HOOK, HOOK + 'networks = ["10.0.0.0/8"]\n', True),
        (CHAT, CHAT.replace("C024BE91L", "C1"), True),
        (CHAT, CHAT.replace("desk.example.com", "evil.example"), True),
        (MAIL, MAIL.replace("ops@", "me@"), True),
        ("", REVIEWED, True),
        (CHAT, REVIEWED, True),
        (REVIEWED, REVIEWED.replace("user:ben", "user:eva"), True),
        (REVIEWED, REVIEWED.replace("U061F7AUR", "U0OTHER"), True),
        (REVIEWED, CHAT, False),
    ],
)
def test_a_channel_that_falls_silent_or_leads_elsewhere_widens(old: str, new: str, *, widens: bool) -> None:
    changes = diff(load(old), load(new))
    assert changes
    assert any(change.widens for change in changes) is widens
