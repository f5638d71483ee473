"""`leasehold serve`: the pages on which people decide, served by this process together with the housekeeping."""

from __future__ import annotations

from ipaddress import ip_address

import click

from leasehold.cli.extra import server_extra
from leasehold.cli.session import Session, with_session
from leasehold.errors import ConfigError

__all__ = ["serve"]

_LOOPBACK = ("127.0.0.1", "::1")


@click.command("serve")
@with_session
@click.option("--host", default="127.0.0.1", show_default=True, help="The address to listen at.")
@click.option("--port", default=8470, show_default=True, type=click.IntRange(0, 65_535), help="The port; 0 takes any.")
@click.option("--public-url", help="https://… under which a proxy that ends TLS passes requests on.")
@click.option("--proxy", "proxies", multiple=True, help="An address of that proxy, if not of this machine.")
def serve(session: Session, host: str, port: int, public_url: str | None, proxies: tuple[str, ...]) -> None:
    """Let people decide in a browser, until SIGTERM or Ctrl-C.

    Only this machine is served, unless a proxy in front ends TLS: then say with --public-url under which address. Give
    people a password first: leasehold person password PERSON.
    """
    with server_extra():
        from leasehold.cli.serving import Serving
    if public_url is None and not _is_loopback(host):
        raise ConfigError(
            f"{host} is not only this machine, and passwords must not travel in the clear; put a proxy with TLS in "
            "front and name its address: --public-url https://lease.example.com"
        )
    with session.authority(sweep=True) as authority:
        trusted = (*_LOOPBACK, *proxies) if public_url is not None else ()
        serving = Serving(authority, host, port, public_url, trusted)
        if not any(authority.sign_ins.of(row.person) for row in authority.desk.people()):
            session.say("nobody can sign in yet; run: leasehold person password PERSON")
        if authority.chat.is_open():
            session.say(f"interactivity address of the Slack app: {serving.chat_url}")
        session.give({"url": serving.site.origin}, [serving.site.origin])
        serving.run()


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
