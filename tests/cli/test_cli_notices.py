"""`leasehold notices`: channels are tried, their secrets set, and what was given up is tried again."""

from __future__ import annotations

import json
import stat
import threading
from collections.abc import Iterator

import pytest
from standardwebhooks import Webhook
from terminal import Terminal

from receivers import Receiver, http_receiver


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with http_receiver() as receiver:
        yield receiver


@pytest.fixture
def told(terminal: Terminal, receiver: Receiver) -> Terminal:
    """A state whose policy names a webhook, a mail server and a Slack channel."""
    terminal.policy.write_text(
        terminal.policy.read_text()
        + f"""
[notices.hook]
kind = "webhook"
url = "{receiver.url}"
events = ["stop.set"]
tenants = ["*"]
networks = ["127.0.0.0/8"]

[notices.chat]
kind = "slack"
channel = "C1"
events = ["request.waiting"]
tenants = ["acme"]

[notices.mail]
kind = "email"
url = "smtp://127.0.0.1:9"
to = ["ops@example.com"]
from = "leasehold@example.com"
events = ["request.waiting"]
tenants = ["acme"]
"""
    )
    return terminal


@pytest.mark.case(101)
def test_a_channel_is_given_its_key_and_tried(told: Terminal, receiver: Receiver) -> None:
    refused = told.run("notices", "test", "hook", code=1)
    assert "it did not arrive: the channel has no signing key" in refused.stderr
    made = told.run("notices", "secret", "hook", "--symmetric")
    key = made.stdout.strip()
    assert key.startswith("whsec_")
    path = told.state / "notices" / "hook.json"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert told.run("notices", "test", "hook").stdout == "status: delivered\n"
    (got,) = receiver.got
    assert got.json["type"] == "test"
    shared = Webhook(key)
    assert (
        shared.sign(got.headers["webhook-id"], _at(got.headers["webhook-timestamp"]), got.body.decode())
        in (got.headers["webhook-signature"])
    )


def _at(seconds: str) -> object:
    from datetime import UTC, datetime

    return datetime.fromtimestamp(int(seconds), UTC)


def test_a_new_key_may_stand_beside_the_old_one(told: Terminal, receiver: Receiver) -> None:
    told.run("notices", "secret", "hook", "--symmetric")
    added = told.json("notices", "secret", "hook", "--add")
    assert added["verify_with"].startswith("whpk_")
    told.run("notices", "test", "hook")
    versions = [part.split(",")[0] for part in receiver.got[0].headers["webhook-signature"].split(" ")]
    assert versions == ["v1a", "v1"]
    told.run("notices", "secret", "hook")
    told.run("notices", "test", "hook")
    assert receiver.got[1].headers["webhook-signature"].startswith("v1a,")
    assert " " not in receiver.got[1].headers["webhook-signature"]


def test_a_token_or_password_is_asked_for_and_not_shown(told: Terminal) -> None:
    result = told.run("notices", "secret", "chat", typing="xoxb-canary\n")
    assert "canary" not in result.output
    assert json.loads((told.state / "notices" / "chat.json").read_text()) == {"token": "xoxb-canary"}
    told.run("notices", "secret", "mail", typing="canary\n")
    assert json.loads((told.state / "notices" / "mail.json").read_text()) == {"password": "canary"}
    assert "are for webhooks" in told.run("notices", "secret", "mail", "--add", code=2).stderr


def test_a_signing_secret_stands_beside_the_token_and_answers_wait_for_it(told: Terminal) -> None:
    reviewers = '[notices.chat]\nreviewers = { "T024BE7LH/U0BEN" = "user:ben" }'
    told.policy.write_text(told.policy.read_text().replace("[notices.chat]", reviewers))
    assert "--signing is for Slack" in told.run("notices", "secret", "hook", "--signing", code=2).stderr
    told.run("notices", "secret", "chat", typing="xoxb-canary\n")
    assert "do not count before: leasehold notices secret chat --signing" in told.run("notices", "list").stderr
    codes = {entry["code"] for entry in told.json("doctor")["findings"]}
    assert "channel-without-signing-secret" in codes
    result = told.run("notices", "secret", "chat", "--signing", typing="canary\n")
    assert "canary" not in result.output
    path = told.state / "notices" / "chat.json"
    assert json.loads(path.read_text()) == {"token": "xoxb-canary", "signing_secret": "canary"}
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    told.run("notices", "secret", "chat", typing="xoxb-other\n")
    assert json.loads(path.read_text()) == {"token": "xoxb-other", "signing_secret": "canary"}
    assert "whose secret is here" in told.run("notices", "list").stderr
    assert "channel-without-signing-secret" not in {entry["code"] for entry in told.json("doctor")["findings"]}


def test_the_list_shows_what_became_of_each_notice_and_whether_secrets_are_there(
    told: Terminal, receiver: Receiver
) -> None:
    receiver.answers = [410, 204]
    told.run("notices", "secret", "hook")
    told.run("hold", "tool:ticket", "--reason", "look")
    empty = told.run("notices", "list")
    assert "nothing found" in empty.stderr
    assert "hook: webhook to http://127.0.0.1" in empty.stderr
    assert "whose secret is here" in empty.stderr
    assert "chat: slack to C1, without its secret: leasehold notices secret chat" in empty.stderr
    assert "mail: email to ops@example.com, which needs no secret" in empty.stderr
    assert told.run("notices", "retry").stdout == "tried: 1\n"
    (row,) = told.json("notices", "list", "--only", "given_up")
    assert (row["event"], row["about"], row["attempts"]) == ("stop.set", "hold tool:ticket", 1)
    assert row["fault"].startswith("the receiver answered 410")
    assert "given_up" in told.run("notices", "list").stdout
    again = told.json("notices", "retry", row["notice"])
    assert [found["state"] for found in again["retried"]] == ["delivered"]
    assert "is delivered" in told.run("notices", "retry", row["notice"], code=3).stderr
    assert "none of the newest" in told.run("notices", "retry", "ntc_x", code=1).stderr


def test_a_secret_that_others_can_read_is_named_and_not_used(told: Terminal) -> None:
    told.run("notices", "secret", "hook")
    (told.state / "notices" / "hook.json").chmod(0o644)
    assert "whose secret cannot be used" in told.run("notices", "list").stderr
    assert "it did not arrive" in told.run("notices", "test", "hook", code=1).stderr
    found = {entry["code"] for entry in told.json("doctor")["findings"]}
    assert "weak-mode" in found


def test_the_doctor_names_channels_without_a_secret_and_notices_that_did_not_arrive(
    told: Terminal, receiver: Receiver
) -> None:
    receiver.answers = [410]
    told.run("hold", "tool:mail", "--reason", "look")

    codes = missing, given_up = "channel-without-secret", "notices-given-up"

    def found() -> set[tuple[str, str]]:
        listed = told.json("doctor")["findings"]
        return {(entry["code"], entry["what"]) for entry in listed if entry["code"] in codes}

    assert found() == {(missing, f"the channel {name} has no secret here") for name in ("chat", "hook")}
    told.run("notices", "secret", "hook")
    told.run("notices", "secret", "chat", typing="xoxb-1\n")
    told.run("notices", "retry")
    assert found() == {(given_up, "given up in the last 7 days over hook: 1")}
    told.system.advance(seconds=8 * 86_400)
    assert found() == set()


def test_a_channel_that_is_not_in_the_policy_is_named(told: Terminal) -> None:
    assert "it has: chat, hook, mail" in told.run("notices", "test", "nobody", code=1).stderr
    assert "names no channel" in told.run("notices", "secret", "nobody", code=1).stderr


def test_a_policy_without_channels_says_where_to_read_on(terminal: Terminal) -> None:
    assert "docs/notices.md" in terminal.run("notices", "list").stderr
    assert terminal.run("notices", "retry").stdout == "tried: 0\n"


def test_a_folder_that_cannot_be_made_is_a_plain_error(told: Terminal) -> None:
    told.run("notices", "list")
    (told.state / "notices").write_text("")
    assert "cannot be" in told.run("notices", "secret", "hook", code=2).stderr


def test_a_channel_that_never_answers_is_said_to_be_silent(
    told: Terminal, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    never = threading.Event()
    monkeypatch.setattr("leasehold.authority.outbox._TRY_SECONDS", 0.3)
    receiver.answers = [lambda _: never.wait(30)]
    told.run("notices", "secret", "hook")
    assert "nothing came back in time" in told.run("notices", "test", "hook", code=1).stderr
    never.set()


@pytest.mark.parametrize("content", ["[]", '{"keys": 3}', "nonsense"])
def test_a_damaged_secret_is_said_to_be_damaged(told: Terminal, content: str) -> None:
    told.run("notices", "secret", "hook")
    (told.state / "notices" / "hook.json").write_text(content)
    assert "does not hold secrets" in told.run("notices", "list").stderr
