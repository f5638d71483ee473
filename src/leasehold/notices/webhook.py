"""Webhooks to the Standard Webhooks scheme: a thin signed payload with a link, for programs that tell people.

Signed with `v1` (HMAC-SHA256, `whsec_…`) and with `v1a` (Ed25519, `whsk_…`, verified with `whpk_…`), one signature for
each key that the channel has, so that keys can be rotated. The id is the notice's own and the same at every try.
Specification: https://github.com/standard-webhooks/standard-webhooks, version 1.0.0.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import ssl
from collections.abc import Iterable
from datetime import UTC, datetime

import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from leasehold.errors import InvalidError
from leasehold.model.address import parse_endpoint
from leasehold.model.notice import Notice
from leasehold.notices.channel import DeliveryError, Secrets
from leasehold.notices.reach import Resolve, resolve_name
from leasehold.notices.wire import Reply, post
from leasehold.policy.document import NoticeRule

__all__ = ["MAX_PAYLOAD_BYTES", "WebhookChannel", "WebhookKey", "payload", "verifying_key"]

MAX_PAYLOAD_BYTES = 20_000
_GONE = 410
_ASKS_TO_WAIT = frozenset({429, 503})
_LONGEST_WAIT_SECONDS = 6 * 3600


class WebhookKey:
    """One signing key of a channel, symmetric or not.

    Raises:
        InvalidError: the text is no `whsec_` of 24 to 64 bytes and no `whsk_` of 32 or 64 bytes, in base64.
    """

    def __init__(self, text: str) -> None:
        prefix, _, encoded = text.partition("_")
        try:
            key = base64.b64decode(encoded, validate=True)
        except (binascii.Error, ValueError):
            key = b""
        self._symmetric: bytes | None = None
        self._private: Ed25519PrivateKey | None = None
        if prefix == "whsec" and 24 <= len(key) <= 64:
            self._symmetric = key
        elif prefix == "whsk" and len(key) in (32, 64):  # some libraries write the public half behind the private one
            self._private = Ed25519PrivateKey.from_private_bytes(key[:32])
            if len(key) == 64 and self._private.public_key().public_bytes_raw() != key[32:]:
                raise InvalidError("a whsk_ key is damaged: its public half is another key's")
        else:
            raise InvalidError("a signing key is whsec_ and 24 to 64 bytes, or whsk_ and 32 bytes, in base64")

    def sign(self, signed: bytes) -> str:
        """The signature with its version, as the header lists it."""
        if self._private is not None:
            return f"v1a,{base64.b64encode(self._private.sign(signed)).decode()}"
        mac = hmac.new(self._symmetric or b"", signed, hashlib.sha256).digest()
        return f"v1,{base64.b64encode(mac).decode()}"

    @property
    def public(self) -> str:
        """The `whpk_…` that verifies its signatures; empty for a symmetric key, which is its own."""
        if self._private is None:
            return ""
        return f"whpk_{base64.b64encode(self._private.public_key().public_bytes_raw()).decode()}"


def verifying_key(text: str) -> str:
    """What the receiver of a signing key's messages needs: the key itself, or its public half."""
    return WebhookKey(text).public or text


class WebhookChannel:
    """Sends notices to a URL. `trust` says which certificates count; by default the system's."""

    def __init__(
        self, secrets: Secrets, *, resolve: Resolve = resolve_name, trust: ssl.SSLContext | None = None
    ) -> None:
        self._secrets = secrets
        self._resolve = resolve
        self._trust = trust

    async def send(self, rule: NoticeRule, notice: Notice, *, at: int, reference: str = "") -> str:  # noqa: ARG002 - a message that was sent cannot be rewritten
        """Send a notice. See `Channel.send`."""
        keys = [WebhookKey(text) for text in self._secrets.read(rule.name).get("keys", "").split()]
        if not keys:
            raise DeliveryError("the channel has no signing key; make one with: leasehold notices secret")
        body = payload(notice)
        signed = b".".join((notice.notice_id.encode(), str(at).encode(), body))
        reply = await post(
            parse_endpoint(rule.url, ("https", "http")),
            body,
            {
                "content-type": "application/json",
                "user-agent": "leasehold",
                "accept-encoding": "identity",
                "webhook-id": notice.notice_id,
                "webhook-timestamp": str(at),
                "webhook-signature": " ".join(_signatures(keys, signed)),
            },
            networks=rule.networks,
            resolve=self._resolve,
            trust=self._trust,
        )
        judge_status(reply)
        return ""


def _signatures(keys: Iterable[WebhookKey], signed: bytes) -> list[str]:
    return [key.sign(signed) for key in keys]


def payload(notice: Notice) -> bytes:
    """The body: what happened and where to look, in the scheme's own three members. No argument leaves this way.

    Raises:
        DeliveryError: it would be too large for receivers.
    """
    about = {
        "notice": notice.notice_id,
        "title": notice.title,
        "tenant": notice.tenant,
        "environment": notice.environment,
        "run": notice.run,
        "request": notice.request,
        "scope": notice.scope,
        "state": notice.state,
        "is_over": notice.is_over,
        "link": notice.link,
    }
    moment = datetime.fromtimestamp(notice.at, UTC).isoformat().replace("+00:00", "Z")
    data = {name: value for name, value in about.items() if value != ""}
    body = msgspec.json.encode({"type": notice.event, "timestamp": moment, "data": data})
    if len(body) > MAX_PAYLOAD_BYTES:
        raise DeliveryError("the notice is too large for a webhook", may_repeat=False)
    return body


def judge_status(reply: Reply) -> None:
    """Return if the receiver took the notice.

    Raises:
        DeliveryError: it did not; 410 says for good, a redirect is never followed.
    """
    if 200 <= reply.status < 300:
        return
    if 300 <= reply.status < 400:
        raise DeliveryError(f"the receiver answered {reply.status}, a redirect, which is not followed")
    if reply.status == _GONE:
        raise DeliveryError("the receiver answered 410: it is gone for good", may_repeat=False)
    after = reply.headers.get("retry-after", "") if reply.status in _ASKS_TO_WAIT else ""
    seconds = min(int(after), _LONGEST_WAIT_SECONDS) if after.isascii() and after.isdigit() and len(after) < 9 else 0
    raise DeliveryError(f"the receiver answered {reply.status}", after_seconds=seconds)
