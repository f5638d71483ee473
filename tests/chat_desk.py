"""A channel of Slack in which people answer: the outbox on one side, a real server on the other, Slack in between.

What Slack sends is in its documented shape (https://docs.slack.dev/reference/interaction-payloads/block_actions-payload)
and signed by Slack's own library.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlencode

from argon2 import PasswordHasher
from slack_sdk.signature import SignatureVerifier
from starlette.types import ASGIApp

from leasehold.console.pages import console_pages
from leasehold.http.app import create_app
from leasehold.http.gates import SLACK_PATH
from leasehold.http.passwords import Passwords
from leasehold.http.site import Site
from leasehold.model.request import RequestState
from notice_desk import CONSOLE, NoticeStage
from served import Browser, Reply, served
from slack_server import TOKEN, Slack, slack_server
from stage import BEN, EVA, POLICY

SECRET = "8f742231b10e8888abcd99yyyzzz85a5"
TEAM, BENS, BENS_OTHER, EVAS, ANAS, STRANGER = "T024BE7LH", "U0BEN", "U0BEN2", "U0EVA", "U0ANA", "U0MALLORY"
REVIEWERS = f"""{{ "{TEAM}/{BENS}" = "user:ben", "{TEAM}/{BENS_OTHER}" = "user:ben", "{TEAM}/{EVAS}" = "user:eva",
"{TEAM}/{ANAS}" = "user:ana" }}""".replace("\n", " ")


def reviewed_rule(url: str, name: str = "desk", reviewers: str = REVIEWERS, tenants: str = '["acme"]') -> str:
    """A channel of the policy in which people may answer."""
    return f"""
[notices.{name}]
kind = "slack"
url = "{url}"
channel = "C0123456"
events = ["request.waiting"]
tenants = {tenants}
networks = ["127.0.0.0/8"]
console = "{CONSOLE}"
{f"reviewers = {reviewers}" if reviewers else ""}
"""


class ChatDesk:
    """An authority that posts to Slack and hears of it."""

    def __init__(self, slack: Slack, text: str = POLICY, rules: str = "") -> None:
        self.slack = slack
        self.base = slack.receiver.url.removesuffix("/hook")
        secrets = {"token": TOKEN, "signing_secret": SECRET}
        self.stage = NoticeStage(rules or reviewed_rule(self.base), {"desk": secrets}, text=text)
        for person in (BEN, EVA):
            self.stage.people.signatory(person)
        self.port = 0

    def build(self, site: Site) -> ASGIApp:
        """The application, as `served` wants it."""
        cheap = Passwords(PasswordHasher(time_cost=1, memory_cost=8, parallelism=1))  # nobody signs in here
        return create_app(self.stage.authority, console_pages(), site=site, passwords=cheap)

    def asked(self, ticket: str = "T-1", action: str = "ticket.audit") -> str:
        """A request that waits and was told."""
        request = self.stage.ask(self.stage.lease({action: {"ticket": ["T-*"]}}), action, ticket, key="k")
        self.stage.tell()
        return request

    def state(self, request: str) -> RequestState:
        return RequestState(self.stage.desk.request_row(self.stage.authority.find_request(request)).state)

    # what Slack does

    def payload(self, verdict: str = "approve", user: str = BENS, team: str = TEAM, words: str = "") -> dict[str, Any]:
        """What Slack says when somebody presses a button of the newest message."""
        stamp, message = sorted(self.slack.messages.items())[-1]
        buttons = {button["action_id"]: button for button in self.slack.buttons()}
        button = buttons.get(f"leasehold_{verdict}") or self.forged_button(verdict)
        return {
            "type": "block_actions",
            "user": {"id": user, "username": "someone", "name": "someone", "team_id": team},
            "api_app_id": "A02",
            "token": "verification-token",
            "container": {
                "type": "message",
                "message_ts": stamp,
                "channel_id": "C0123456",
                "is_ephemeral": False,
            },
            "trigger_id": "12321423423.333649436676.d8c1bb837935619ccad0f624c448ffb3",
            "team": {"id": team, "domain": "acme"},
            "enterprise": None,
            "is_enterprise_install": False,
            "channel": {"id": "C0123456", "name": "approvals"},
            "message": {"type": "message", "ts": stamp, "text": message["text"], "blocks": message["blocks"]},
            "state": {
                "values": {"leasehold_words": {"leasehold_words": {"type": "plain_text_input", "value": words or None}}}
            },
            "response_url": "https://hooks.slack.com/actions/AABA1ABCD/1232321423432/D09sSasdasdAS9091209",
            "actions": [{**button, "block_id": "answer", "action_ts": f"{self.now}.000100"}],
        }

    def forged_button(self, verdict: str) -> dict[str, Any]:
        """A button that was never posted, for the newest request that waits."""
        request = self.stage.desk.pending()[-1]
        value = {"card": request.card_digest, "channel": "desk", "request": request.request_id}
        return {"type": "button", "action_id": f"leasehold_{verdict}", "value": json.dumps(value)}

    @property
    def now(self) -> int:
        return self.stage.system.now().seconds

    def signed(self, body: bytes, *, secret: str = SECRET, at: int | None = None) -> dict[str, str]:
        """The headers with which Slack sends a body."""
        stamp = str(self.now if at is None else at)
        signature = SignatureVerifier(secret).generate_signature(timestamp=stamp, body=body)
        assert signature is not None
        return {"X-Slack-Request-Timestamp": stamp, "X-Slack-Signature": signature}

    def deliver(self, body: bytes, headers: Mapping[str, str]) -> Reply:
        """Send something to where Slack sends it."""
        usual = {"Content-Type": "application/x-www-form-urlencoded"}
        return Browser(self.port).send("POST", SLACK_PATH, body, {**usual, **headers})

    def send(self, payload: Mapping[str, Any]) -> Reply:
        """Send a payload as Slack does."""
        body = form_body(payload)
        return self.deliver(body, self.signed(body))

    def press(self, verdict: str = "approve", user: str = BENS, *, team: str = TEAM, words: str = "") -> Reply:
        """Somebody presses a button of the newest message."""
        return self.send(self.payload(verdict, user, team, words))

    def told(self, verdict: str = "approve", user: str = BENS, *, team: str = TEAM, words: str = "") -> str:
        """Somebody presses a button, and it does nothing; answers what Slack shows them alone."""
        assert self.press(verdict, user, team=team, words=words).status == 200
        return self.slack.whisper()


def form_body(payload: Mapping[str, Any]) -> bytes:
    """A payload in the form in which Slack sends it."""
    return urlencode({"payload": json.dumps(payload)}).encode()


@contextmanager
def chat_desk(text: str = POLICY, rules: str = "") -> Iterator[ChatDesk]:
    """A desk behind a server of its own."""
    with slack_server() as slack:
        desk = ChatDesk(slack, text, rules)
        with served(desk.build) as port:
            desk.port = port
            yield desk
        desk.stage.close()
