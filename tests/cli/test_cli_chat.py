"""Answers in Slack as an operator meets them: the secret is a private file, and whatever is shown says who said it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from slack_sdk.signature import SignatureVerifier
from terminal import Terminal

from leasehold.authority import Authority
from leasehold.errors import Denied
from leasehold.model.request import RequestState, Verdict
from leasehold.notices.slack_press import Press
from slack_server import TOKEN, Slack, slack_server

SECRET = "8f742231b10e8888abcd99yyyzzz85a5"
GRANT = 'deploy.prod.release:create service=payments-api replicas:={\\"max\\":3}'


@pytest.fixture
def slack() -> Iterator[Slack]:
    with slack_server() as slack:
        yield slack


@pytest.fixture
def reviewed(terminal: Terminal, slack: Slack) -> Terminal:
    """A state whose channel takes answers, with its secrets in place."""
    terminal.policy.write_text(
        f"""{terminal.policy.read_text()}
[notices.desk]
kind = "slack"
url = "{slack.receiver.url.removesuffix("/hook")}"
channel = "C0123456"
events = ["request.waiting"]
tenants = ["acme"]
networks = ["127.0.0.0/8"]
reviewers = {{ "T024BE7LH/U0BEN" = "user:ben" }}
"""
    )
    terminal.people()
    terminal.run("notices", "secret", "desk", typing=f"{TOKEN}\n")
    terminal.run("notices", "secret", "desk", "--signing", typing=f"{SECRET}\n")
    return terminal


def press(authority: Authority, request: str) -> RequestState:
    """What Slack said, as the server passes it on."""
    body, stamp = b"payload=x", str(authority.engine.system.now().seconds)
    signature = SignatureVerifier(SECRET).generate_signature(timestamp=stamp, body=body)
    assert signature is not None
    delivery = authority.chat.hear(body, stamp, signature)
    pressed = Press(
        channel="desk",
        request=request,
        card=authority.find_request(request).card_digest,
        verdict=Verdict.APPROVE,
        words="",
        speaker="T024BE7LH/U0BEN",
        place="C0123456",
        user="U0BEN",
        reference="C0123456 1778068800.000000",
    )
    return authority.chat.answer(delivery, pressed).state


def test_an_answer_in_slack_is_shown_as_one_wherever_answers_are_shown(reviewed: Terminal) -> None:
    run = reviewed.start("ci/deploy", "staging")
    request = reviewed.ask(run, GRANT)
    with reviewed.authority() as authority:
        authority.outbox.run_once()
        assert press(authority, request) is RequestState.APPROVED
    assert "in the chat of desk" in reviewed.run("request", "inspect", request).output
    [answer] = reviewed.json("request", "inspect", request)["answers"]
    assert (answer["proof"]["proof"], answer["proof"]["speaker"]) == ("chat", "T024BE7LH/U0BEN")
    assert reviewed.line("lease", "draw", request)
    receipt = reviewed.folder / "receipt.json"
    reviewed.run("run", "finish", run, "--output", str(receipt))
    shown = reviewed.run("receipt", "inspect", str(receipt)).stdout
    assert "in the chat of desk by T024BE7LH/U0BEN, not signed" in shown
    assert "a chat that told the authority under its channel's secret" in shown


@pytest.mark.case(101)
def test_a_signing_secret_that_others_can_read_is_not_used(reviewed: Terminal) -> None:
    request = reviewed.ask(reviewed.start("ci/deploy", "staging"), GRANT)
    with reviewed.authority() as authority:
        authority.outbox.run_once()
        (reviewed.state / "notices" / "desk.json").chmod(0o640)
        with pytest.raises(Denied, match="not signed"):
            press(authority, request)
        (reviewed.state / "notices" / "desk.json").chmod(0o600)
        assert press(authority, request) is RequestState.APPROVED
