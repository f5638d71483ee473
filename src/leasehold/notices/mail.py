"""E-mail over SMTP with TLS: plain text and a link to look at, never one that answers: programs follow links in mail.

Headers are made by the standard library, which refuses line breaks in them. The Message-ID is the notice's own, so that
a mail that was sent twice is one to every program that knows it.
"""

from __future__ import annotations

import asyncio
import hashlib
import socket
import ssl
from datetime import UTC, datetime
from email.message import EmailMessage
from email.policy import SMTP as SMTP_POLICY
from email.utils import format_datetime
from ipaddress import ip_address

import aiosmtplib

from leasehold.model.address import Endpoint, parse_endpoint
from leasehold.model.notice import Notice
from leasehold.model.plain import wrap
from leasehold.notices.channel import DeliveryError, Secrets
from leasehold.notices.reach import Resolve, allowed_address, resolve_name
from leasehold.policy.document import NoticeRule

__all__ = ["MailChannel", "message"]

_STEP_SECONDS = 10.0
_MAX_SUBJECT = 150
_WIDTH = 76
_AUTHENTICATION_FAILED = 535


class MailChannel:
    """Sends mail through one server. `trust` says which certificates count; by default the system's."""

    def __init__(
        self, secrets: Secrets, *, resolve: Resolve = resolve_name, trust: ssl.SSLContext | None = None
    ) -> None:
        self._secrets = secrets
        self._resolve = resolve
        self._trust = trust

    async def send(self, rule: NoticeRule, notice: Notice, *, at: int, reference: str = "") -> str:  # noqa: ARG002 - mail that was sent cannot be rewritten
        """Send a notice. See `Channel.send`."""
        password = self._secrets.read(rule.name).get("password", "")
        if rule.user and not password:
            raise DeliveryError("the channel has no password; give it one with: leasehold notices secret")
        endpoint = parse_endpoint(rule.url, ("smtps", "smtp"))
        address = await allowed_address(endpoint, rule.networks, self._resolve)
        try:
            client = await self._connect(endpoint, address, needs_tls=bool(rule.user))
            transport = client.transport
            try:
                if rule.user:
                    await client.login(rule.user, password)
                refused, _ = await client.send_message(message(rule, notice, at))
                await client.quit()
            finally:
                client.close()
                if isinstance(transport, asyncio.WriteTransport):
                    transport.abort()  # a server that does not say farewell must not keep the connection
        except aiosmtplib.SMTPException as error:
            raise _failed(error) from None
        except OSError as error:
            is_tls = isinstance(error, ssl.SSLError)
            why = "the mail server's certificate was not accepted" if is_tls else "the mail server cannot be reached"
            raise DeliveryError(why) from None
        if refused:
            words = f"the mail server refused {len(refused)} of {len(rule.to)} recipients"
            raise DeliveryError(words, may_repeat=False)
        return ""

    async def _connect(self, endpoint: Endpoint, address: str, *, needs_tls: bool) -> aiosmtplib.SMTP:
        """A client at the address that was checked; without TLS only on this machine, and never with a password."""
        is_local = ip_address(address).is_loopback
        is_wrapped = endpoint.scheme == "smtps"
        client = aiosmtplib.SMTP(
            hostname=endpoint.host,
            sock=await _open_socket(address, endpoint.port),
            use_tls=is_wrapped,
            start_tls=False if is_wrapped else None if is_local and not needs_tls else True,
            tls_context=self._trust or ssl.create_default_context(),
            timeout=_STEP_SECONDS,
        )
        await client.connect()
        return client


async def _open_socket(address: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    opened = socket.socket(family, socket.SOCK_STREAM)
    opened.setblocking(False)
    try:
        await asyncio.get_running_loop().sock_connect(opened, (address, port))
    except BaseException:
        opened.close()
        raise
    return opened


def _failed(error: aiosmtplib.SMTPException) -> DeliveryError:
    """The server's code and nothing of its text."""
    if isinstance(error, aiosmtplib.SMTPRecipientsRefused):
        codes = [refusal.code for refusal in error.recipients]
        return DeliveryError("the mail server refused every recipient", may_repeat=not all(c >= 500 for c in codes))
    if isinstance(error, aiosmtplib.SMTPResponseException):
        is_final = 500 <= error.code < 600 and error.code != _AUTHENTICATION_FAILED
        return DeliveryError(f"the mail server answered {error.code}", may_repeat=not is_final)
    if isinstance(error.__cause__, ssl.SSLError):
        return DeliveryError("the mail server's certificate was not accepted")
    return DeliveryError("the mail server cannot be reached, or does not speak SMTP with TLS")


def message(rule: NoticeRule, notice: Notice, at: int) -> EmailMessage:
    """The mail of a notice."""
    domain = rule.sender.rpartition("@")[2]
    thread = hashlib.sha256((notice.request or notice.scope or notice.notice_id).encode()).hexdigest()[:32]
    mail = EmailMessage(policy=SMTP_POLICY)
    mail["From"] = rule.sender
    mail["To"] = ", ".join(rule.to)
    mail["Subject"] = _subject(notice)
    mail["Date"] = format_datetime(datetime.fromtimestamp(at, UTC))
    mail["Message-ID"] = f"<{notice.notice_id}@{domain}>"
    mail["References"] = f"<{thread}@{domain}>"
    mail["Auto-Submitted"] = "auto-generated"
    mail.set_content(_text(notice))
    return mail


def _subject(notice: Notice) -> str:
    whole = f"[leasehold] {notice.title}: {notice.headline}" if notice.headline else f"[leasehold] {notice.title}"
    return whole if len(whole) <= _MAX_SUBJECT else f"[leasehold] {notice.title}"


def _text(notice: Notice) -> str:
    lines = [notice.title, *wrap(notice.headline, _WIDTH), ""] if notice.headline else [notice.title, ""]
    for fact in notice.facts:
        lines += wrap(f"{fact.label}: {fact.text}", _WIDTH)
    if notice.link:
        lines += ["", f"Look at it: {notice.link}"]
    if notice.command:
        lines += ["", f"At a terminal: {notice.command}"]
    for quote in notice.quotes:
        lines += ["", f"{quote.label}:", *(f"> {line}" for line in wrap(quote.text, _WIDTH - 2))]
    return "\n".join([*lines, "", "Nothing can be answered by mail.", ""])
