"""Slack, by Block Kit over its web API: posted once, rewritten when what it says is no longer so. Link only.

Text goes out as plain text with Slack's three control characters escaped, so that nothing that an agent wrote becomes a
mention, a link or markup (threat cases 83 and 89). Slack takes 3,000 characters in one place: what is longer is left
out as a whole, and the message says so.
"""

from __future__ import annotations

import re
import ssl
from collections.abc import Mapping, Sequence

import msgspec

from leasehold.errors import InvalidError
from leasehold.model import canonical
from leasehold.model.address import parse_endpoint
from leasehold.model.canonical import Json
from leasehold.model.notice import Fact, Notice
from leasehold.model.plain import wrap
from leasehold.notices.channel import DeliveryError, Secrets
from leasehold.notices.reach import Resolve, resolve_name
from leasehold.notices.webhook import judge_status
from leasehold.notices.wire import Reply, post
from leasehold.policy.document import NoticeRule

__all__ = ["MAX_TEXT", "SlackChannel", "blocks"]

MAX_TEXT = 3000
_MAX_SUMMARY = 300
_QUOTE_WIDTH = 100
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
            "text": _summary(notice),
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


def blocks(notice: Notice) -> list[dict[str, object]]:
    """The message: title, what it is about, facts, a link; last, where they fit whole, words of people and agents."""
    found: list[dict[str, object]] = [{"type": "header", "text": _plain(notice.title)}]
    if notice.headline:
        found.append(_section(notice.headline, "What is asked is too long for here; open it to read it whole."))
    found += [_section(text, "One line is too long for here; open it to read it whole.") for text in _lines(notice)]
    if notice.link:
        found.append({"type": "section", "text": {"type": "mrkdwn", "text": f"<{_escape(notice.link)}|Open>"}})
    elif notice.command:
        found.append(_section(notice.command, ""))
    quotes = [_quote(quote) for quote in notice.quotes]
    if all(len(_escape(text)) <= MAX_TEXT for text in quotes):
        return [*found, *(_section(text, "") for text in quotes)]
    return [*found, _section("What was written with it is too long for here; open it to read it whole.", "")]


def _lines(notice: Notice) -> Sequence[str]:
    """The facts, as many in one block as fit."""
    texts: list[str] = []
    for fact in notice.facts:
        line = f"{fact.label}: {fact.text}"
        if texts and len(_escape(f"{texts[-1]}\n{line}")) <= MAX_TEXT:
            texts[-1] = f"{texts[-1]}\n{line}"
        else:
            texts.append(line)
    return texts


def _quote(quote: Fact) -> str:
    return "\n".join([f"{quote.label}:", *(f"> {line}" for line in wrap(quote.text, _QUOTE_WIDTH))])


def _section(text: str, instead: str) -> dict[str, object]:
    return {"type": "section", "text": _plain(text if len(_escape(text)) <= MAX_TEXT else instead)}


def _plain(text: str) -> dict[str, object]:
    return {"type": "plain_text", "text": _escape(text), "emoji": False}


def _summary(notice: Notice) -> str:
    """What a phone shows of it: one short line."""
    whole = f"{notice.title}: {notice.headline}" if notice.headline else notice.title
    return _escape(whole if len(whole) <= _MAX_SUMMARY else notice.title)


def _escape(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
