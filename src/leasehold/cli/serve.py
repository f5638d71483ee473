"""`leasehold serve`: the pages on which people decide, served by this process together with the housekeeping."""

from __future__ import annotations

import re
from collections.abc import Sequence
from contextlib import ExitStack, closing
from functools import partial
from pathlib import Path

import click

from leasehold.cli.extra import server_extra
from leasehold.cli.output import show_json_line
from leasehold.cli.session import Session, with_session
from leasehold.config import PROVIDER_SECRET, read_key_ring, read_secrets
from leasehold.errors import ConfigError
from leasehold.token.keys import DocumentType

__all__ = ["believed_proxies", "serve"]

_LOOPBACK = ("127.0.0.1", "::1")
_LAST_PORT = 65_535


@click.command("serve")
@with_session
@click.option("--host", default="127.0.0.1", show_default=True, help="The address to listen at.")
@click.option("--port", default=8470, show_default=True, type=click.IntRange(0, 65_535), help="The port; 0 takes any.")
@click.option("--public-url", help="https://… under which a proxy that ends TLS passes requests on.")
@click.option(
    "--proxy", "proxies", multiple=True, help="An address of that proxy, if not here; no other is believed then."
)
@click.option("--metrics", metavar="HOST:PORT", help="Show figures to Prometheus at a listener of their own.")
@click.option(
    "--socket",
    "socket_path",
    type=click.Path(path_type=Path),
    help="A unix socket for programs of this machine under another account.",
)
@click.option("--socket-mode", default="660", show_default=True, help="Who may connect to it.")
@click.option(
    "--log",
    "log_format",
    default="text",
    show_default=True,
    type=click.Choice(["text", "json"]),
    help="How lines are written, on stdout too.",
)
@click.option("--traces", is_flag=True, help="Send spans by OpenTelemetry, to where OTEL_* variables say.")
def serve(
    session: Session,
    *,
    host: str,
    port: int,
    public_url: str | None,
    proxies: tuple[str, ...],
    metrics: str | None,
    socket_path: Path | None,
    socket_mode: str,
    log_format: str,
    traces: bool,
) -> None:
    """Let people decide in a browser, until SIGTERM or Ctrl-C.

    Only this machine is served, unless a proxy in front ends TLS: then say with --public-url under which address. Give
    people a password first: leasehold person password PERSON.
    """
    with server_extra():
        from leasehold.cli.serving import Instruments, Listening, Serving, is_loopback, logged
    if public_url is None and not is_loopback(host):
        raise ConfigError(
            f"{host} is not only this machine, and passwords must not travel in the clear; put a proxy with TLS in "
            "front and name its address: --public-url https://lease.example.com"
        )
    listening = Listening(
        host=host,
        port=port,
        public_url=public_url,
        proxies=believed_proxies(public_url, proxies),
        metrics=_address(metrics) if metrics is not None else None,
        socket=socket_path,
        socket_mode=_mode(socket_mode),
    )
    with logged(log_format), ExitStack() as held:
        instruments = Instruments(
            session.around.system, log_format, has_metrics=listening.metrics is not None, has_traces=traces
        )
        held.enter_context(closing(instruments))
        authority = held.enter_context(session.authority(sweep=True, watcher=instruments.watcher))
        serving = Serving(authority, listening, instruments, partial(_read_keys, session), partial(_secret, session))
        serving.say_what_matters()
        if log_format == "json":
            show_json_line(serving.addresses)
        else:
            session.give(serving.addresses, [serving.addresses["url"]])
        serving.run()


def believed_proxies(public_url: str | None, proxies: Sequence[str]) -> Sequence[str]:
    """Whose word on where a request came from counts: the named proxies', or those of this machine.

    Where the proxy is elsewhere, what connects from this machine is some program here, agents among them.
    """
    return () if public_url is None else proxies or _LOOPBACK


def _secret(session: Session, provider: str) -> str:
    return read_secrets(session.files().provider_secret(provider)).get(PROVIDER_SECRET, "")


def _address(text: str) -> tuple[str, int]:
    host, _, port = text.rpartition(":")
    if not host or not port.isdecimal() or int(port) > _LAST_PORT:
        raise ConfigError(f"{text!r} is no address to listen at; one looks like 127.0.0.1:9470 or [::1]:9470")
    return host.removeprefix("[").removesuffix("]"), int(port)


def _mode(text: str) -> int:
    if not re.fullmatch("[0-7]{3}", text):
        raise ConfigError(f"{text!r} is no mode of a socket; one looks like 660 or 600")
    return int(text, 8)


def _read_keys(session: Session) -> None:
    files = session.files()
    for document_type in (DocumentType.LEASE, DocumentType.RECEIPT, DocumentType.CHECKPOINT):
        read_key_ring(files.key_ring(document_type), document_type)
