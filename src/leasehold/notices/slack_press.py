"""What Slack tells when somebody presses a button: whether Slack said it, and what it says. Pure.

Called by `leasehold.authority.chat`. Slack signs the raw body with its time stamp (its scheme v0, HMAC-SHA256 under the
app's signing secret); nothing of a body is read before that was checked.
"""

from __future__ import annotations

import hashlib
import hmac
import re

import msgspec

from leasehold.errors import InvalidError
from leasehold.model import canonical
from leasehold.model.proof import check_speaker
from leasehold.model.request import Verdict
from leasehold.notices import slack_message
from leasehold.notices.slack_message import ACTIONS, MAX_WORDS

__all__ = ["Press", "delivery_digest", "is_signed", "read_press", "read_stamp"]

_MAX_PAYLOAD = 65_536
_STAMP = re.compile(r"[1-9][0-9]{0,11}")
_VERDICTS = {action: verdict for verdict, action in ACTIONS.items()}


class Press(msgspec.Struct, frozen=True, kw_only=True):
    """One button that was pressed. What it is on: notice channel, request, digest of the card, verdict.

    `speaker` is the user as policies name them, `place` and `user` are where and to whom to reply, `reference` is the
    message that the button stands in, as the outbox keeps it.
    """

    channel: str
    request: str
    card: str
    verdict: Verdict
    words: str
    speaker: str
    place: str
    user: str
    reference: str


def read_stamp(text: str) -> int:
    """The time stamp of a delivery, in Unix seconds.

    Raises:
        InvalidError: it is none, or written in a way that others could read differently.
    """
    if not _STAMP.fullmatch(text):
        raise InvalidError("this is no time stamp")
    return int(text)


def is_signed(secret: str, stamp: int, body: bytes, signature: str) -> bool:
    """Whether this is Slack's signature of a body under a secret. Takes as long for a wrong one."""
    made = "v0=" + hmac.digest(secret.encode(), _signed(stamp, body), "sha256").hex()
    return hmac.compare_digest(made.encode(), signature.encode("utf-8", "surrogateescape"))


def delivery_digest(stamp: int, body: bytes) -> str:
    """The name of a delivery: the digest of exactly what Slack signed."""
    return f"sha256:{hashlib.sha256(_signed(stamp, body)).hexdigest()}"


def _signed(stamp: int, body: bytes) -> bytes:
    return b"v0:%d:%s" % (stamp, body)


def read_press(payload: str) -> Press:
    """Read what Slack says of one press of one of our buttons in a message. It may say more than is read.

    Raises:
        InvalidError: it is about something else, or two readers could take it differently.
    """
    match canonical.decode(payload.encode(), max_bytes=_MAX_PAYLOAD):
        case {
            "type": "block_actions",
            "user": {"id": str(user), "team_id": str(team)},
            "container": {"type": "message", "channel_id": str(place), "message_ts": str(stamp)},
            "actions": [{"type": "button", "action_id": str(action), "value": str(value)}],
            **rest,
        } if action in _VERDICTS:
            channel, request, card = _read_value(value)
            return Press(
                channel=channel,
                request=request,
                card=card,
                verdict=_VERDICTS[action],
                words=_read_words(rest.get("state")),
                speaker=check_speaker(f"{team}/{user}"),
                place=place,
                user=user,
                reference=f"{place} {stamp}",
            )
    raise InvalidError("this is no press of a button of ours")


def _read_value(text: str) -> tuple[str, str, str]:
    match canonical.decode(text.encode()):
        case {"card": str(card), "channel": str(channel), "request": str(request), **rest} if not rest:
            return channel, request, card
    raise InvalidError("this is no value of a button of ours")


def _read_words(state: object) -> str:
    """What stands in the field beside the buttons."""
    match state:
        case {"values": {slack_message.WORDS: {slack_message.WORDS: {"value": str(words)}}}}:
            words = words.strip()
        case _:
            words = ""
    if len(words) > MAX_WORDS:
        raise InvalidError(f"words have at most {MAX_WORDS} characters")
    return words
