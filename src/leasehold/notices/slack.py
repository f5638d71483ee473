"""Slack, over its web API: posted once, rewritten when what it says is no longer so. What a message looks like is made
in `slack_message`.
"""

from __future__ import annotations

import re
import ssl
from collections.abc import Mapping

import msgspec

from leasehold.errors import InvalidError
from leasehold.model import canonical
from leasehold.model.address import parse_endpoint
from leasehold.model.canonical import Json
from leasehold.model.notice import Notice
from leasehold.notices.channel import DeliveryError, Secrets
from leasehold.notices.reach import Resolve, resolve_name
from leasehold.notices.slack_message import blocks, escape_slack, summary
from leasehold.notices.webhook import judge_status
from leasehold.notices.wire import Reply, post
from leasehold.policy.document import NoticeRule

__all__ = ["SlackChannel"]

_CODE = re.compile(r"[a-z_]{1,64}")
_HOPELESS = frozenset(
    {
        "invalid_blocks",
        "invalid_blocks_format",
        "msg_blocks_too_long",
        "msg_too_long",
        "no_text",
        "cant_update_message",
        "edit_window_closed",
    }
)
_DELETED = "message_not_found"


class SlackChannel:
    """Posts to a Slack channel with a bot's token. `trust` says which certificates count; by default the system's."""

    def __init__(
        self, secrets: Secrets, *, resolve: Resolve = resolve_name, trust: ssl.SSLContext | None = None
    ) -> None:
        self._secrets = secrets
        self._resolve = resolve
        self._trust = trust

    async def send(self, rule: NoticeRule, notice: Notice, *, at: int, reference: str = "") -> str:  # noqa: ARG002 - Slack stamps its messages itself
        """Post a notice, or rewrite a copy; a reference is the channel's id and the message's time stamp."""
        channel, _, stamp = reference.partition(" ")
        message: dict[str, object] = {
            "channel": channel or rule.to[0],
            "text": summary(notice),
            "blocks": blocks(notice),
            "parse": "none",
        }
        if reference:
            answer = await self._ask(rule, "chat.update", {**message, "ts": stamp})
            if answer.get("error") != _DELETED:  # somebody deleted the copy: then nothing untrue stands there
                _judge(answer)
            return reference
        quiet = {"mrkdwn": False, "unfurl_links": False, "unfurl_media": False}
        answer = await self._ask(rule, "chat.postMessage", {**message, **quiet})
        _judge(answer)
        return f"{answer.get('channel', '')} {answer.get('ts', '')}"

    async def whisper(self, rule: NoticeRule, place: str, user: str, text: str) -> None:
        """Say something to one user in a channel of Slack, which only they see.

        Raises:
            DeliveryError: it did not arrive.
        """
        message = {"channel": place, "user": user, "text": escape_slack(text), "parse": "none"}
        _judge(await self._ask(rule, "chat.postEphemeral", message))

    async def _ask(self, rule: NoticeRule, method: str, body: Mapping[str, object]) -> Mapping[str, Json]:
        token = self._secrets.read(rule.name).get("token", "")
        if not token:
            raise DeliveryError("the channel has no token; give it one with: leasehold notices secret")
        reply = await post(
            parse_endpoint(f"{rule.url.rstrip('/')}/{method}", ("https", "http")),
            msgspec.json.encode(body),
            {
                "content-type": "application/json; charset=utf-8",
                "authorization": f"Bearer {token}",
                "user-agent": "leasehold",
                "accept-encoding": "identity",
            },
            networks=rule.networks,
            resolve=self._resolve,
            trust=self._trust,
        )
        judge_status(reply)
        return _answer(reply)


def _answer(reply: Reply) -> Mapping[str, Json]:
    try:
        value = canonical.decode(reply.body)
    except InvalidError:
        value = None
    if not isinstance(value, dict) or not isinstance(value.get("ok"), bool):
        raise DeliveryError("Slack's answer cannot be read")
    return value


def _judge(answer: Mapping[str, Json]) -> None:
    """Return if Slack did it.

    Raises:
        DeliveryError: it did not, with Slack's own error code and nothing else of its answer.
    """
    if answer["ok"] is True:
        return
    error = answer.get("error")
    code = error if isinstance(error, str) and _CODE.fullmatch(error) else "an error without a code"
    raise DeliveryError(f"Slack said {code}", may_repeat=code not in _HOPELESS)
