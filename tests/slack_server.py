"""A server that speaks the methods of Slack's web API that Leasehold uses, in Slack's documented shapes.

It checks what Slack checks: the token, that the blocks are valid (by Slack's own library), that an updated message is
there. Source: https://docs.slack.dev/reference/methods/chat.postMessage, chat.update and chat.postEphemeral.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from slack_sdk.models.blocks import Block

from receivers import Got, Receiver, http_receiver

TOKEN = "xoxb-canary-42"


@dataclass
class Slack:
    """The messages that stand in the channel, by time stamp, and what went wrong on request."""

    receiver: Receiver
    messages: dict[str, dict[str, Any]] = field(default_factory=dict)
    whispers: list[tuple[str, str]] = field(default_factory=list)
    whispered: threading.Event = field(default_factory=threading.Event)
    errors: list[str] = field(default_factory=list)
    rate_limited: int = 0
    token: str = TOKEN

    def texts(self) -> list[str]:
        """Everything that a person can read of each message, oldest first."""
        return [json.dumps(message["blocks"]) for _, message in sorted(self.messages.items())]

    def buttons(self) -> list[dict[str, Any]]:
        """The buttons that can be pressed, in every message."""
        blocks = [block for message in self.messages.values() for block in message["blocks"]]
        return [element for block in blocks if block["type"] == "actions" for element in block["elements"]]

    def whisper(self) -> str:
        """The next thing that somebody alone was told."""
        assert self.whispered.wait(10)
        self.whispered.clear()
        return self.whispers[-1][1]

    def titles(self) -> list[str]:
        return [message["blocks"][0]["text"]["text"] for _, message in sorted(self.messages.items())]


@contextmanager
def slack_server() -> Iterator[Slack]:
    slack: Slack

    def handle(got: Got) -> tuple[int, Mapping[str, str], bytes]:
        if slack.rate_limited:
            slack.rate_limited -= 1
            return 429, {"retry-after": "30"}, b""
        answer = _answer(slack, got)
        return 200, {"content-type": "application/json; charset=utf-8"}, json.dumps(answer).encode()

    with http_receiver(handle) as receiver:
        slack = Slack(receiver)
        yield slack


def _answer(slack: Slack, got: Got) -> dict[str, object]:
    if got.headers.get("authorization") != f"Bearer {slack.token}":
        return {"ok": False, "error": "invalid_auth"}
    if not got.headers.get("content-type", "").startswith("application/json"):
        return {"ok": False, "error": "invalid_post_type"}
    if slack.errors:
        return {"ok": False, "error": slack.errors.pop(0)}
    body = got.json
    if not body.get("channel"):
        return {"ok": False, "error": "channel_not_found"}
    if got.path == "/chat.postEphemeral":
        slack.whispers.append((body["user"], body["text"]))
        slack.whispered.set()
        return {"ok": True, "message_ts": "1778068800.999999"}
    for block in Block.parse_all(body["blocks"]):
        block.validate_json()
    if any(len(_text(block)) > 3000 for block in body["blocks"]) or len(body["blocks"]) > 50:
        return {"ok": False, "error": "invalid_blocks"}
    if got.path == "/chat.postMessage":
        stamp = f"1778068800.{len(slack.messages):06d}"
    elif got.path == "/chat.update":
        stamp = body["ts"]
        if stamp not in slack.messages:
            return {"ok": False, "error": "message_not_found"}
    else:
        return {"ok": False, "error": "unknown_method"}
    slack.messages[stamp] = body
    return {"ok": True, "channel": "C0123456", "ts": stamp, "message": {"text": body["text"], "type": "message"}}


def _text(block: dict[str, Any]) -> str:
    return str(block.get("text", {}).get("text", ""))
