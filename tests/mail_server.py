"""A mail server on this machine for the tests of notices: aiosmtpd, told what to take and what to refuse."""

from __future__ import annotations

import email
import socket
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from email.message import Message
from email.policy import default as email_policy

import trustme
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session

PASSWORD = "canary-7f3a9c"


@dataclass
class Server:
    """A mail server: what it took, and what it answers instead of taking it."""

    mails: list[Message] = field(default_factory=list)
    envelopes: list[Envelope] = field(default_factory=list)
    refuse_data: str = ""
    refuse_recipients: dict[str, str] = field(default_factory=dict)
    encrypted: list[bool] = field(default_factory=list)
    logins: list[tuple[bytes, bytes]] = field(default_factory=list)
    port: int = 0

    async def handle_RCPT(  # noqa: N802 - aiosmtpd's name
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        if address in self.refuse_recipients:
            return self.refuse_recipients[address]
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:  # noqa: N802 - the same
        if self.refuse_data:
            return self.refuse_data
        assert isinstance(envelope.content, bytes)
        self.mails.append(email.message_from_bytes(envelope.content, policy=email_policy))
        self.envelopes.append(envelope)
        self.encrypted.append(session.ssl is not None)
        return "250 OK"

    def authenticate(
        self, server: SMTP, session: Session, envelope: Envelope, mechanism: str, data: LoginPassword
    ) -> AuthResult:
        self.logins.append((data.login, data.password))
        return AuthResult(success=data.password == PASSWORD.encode(), handled=False)


AUTHORITY = trustme.CA()


def mail_trust() -> ssl.SSLContext:
    context = ssl.create_default_context()
    AUTHORITY.configure_trust(context)
    return context


def server_trust(name: str = "localhost") -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    AUTHORITY.issue_cert(name).configure_cert(context)
    return context


@contextmanager
def mail_server(*, wrapped: bool = False, tls: bool = True, name: str = "localhost") -> Iterator[Server]:
    """A server on this machine, with TLS from the first byte if it is `wrapped`, else by STARTTLS if `tls` says so."""
    server = Server()
    options: dict[str, object] = {"authenticator": server.authenticate, "auth_require_tls": True}
    if wrapped:
        options = {"ssl_context": server_trust(name), "auth_require_tls": False, "authenticator": server.authenticate}
    elif tls:
        options["tls_context"] = server_trust(name)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        server.port = probe.getsockname()[1]
    controller = Controller(server, hostname="127.0.0.1", port=server.port, ready_timeout=60, **options)
    controller.start()
    try:
        yield server
    finally:
        controller.stop()
