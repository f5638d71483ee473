"""Web and mail addresses, taken apart strictly: what is not in its one plain form is refused, nothing is decoded.

Read from the policy, used by the channels of `leasehold.notices`. Whether an address may be connected to is decided
when its name has been resolved (`leasehold.notices.reach`); here are the tricks of spelling (threat case 33):
user-info, backslashes, white space, fragments, IP addresses in octal, decimal, hexadecimal or short form, IPv6 zones.
"""

from __future__ import annotations

import re
from ipaddress import AddressValueError, IPv4Address, IPv6Address

import msgspec

from leasehold.errors import InvalidError
from leasehold.model.text import visible

__all__ = ["MAX_ADDRESS", "Endpoint", "check_mail_address", "parse_endpoint"]

MAX_ADDRESS = 2000
_ENDPOINT = re.compile(
    r"(?P<scheme>[a-z]+)://(?P<host>\[[0-9a-f:.]+\]|[A-Za-z0-9.-]+)(?::(?P<port>[1-9][0-9]{0,4}))?(?P<target>/[!-~]*)?"
)
_LABEL = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?")
_NUMERIC = re.compile(r"[0-9]+|0x[0-9a-f]*")
_MAIL = re.compile(r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+(?:\.[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+)*@(?P<host>[a-z0-9.-]+)")
_PORTS = {"https": 443, "http": 80, "smtps": 465, "smtp": 587}


class Endpoint(msgspec.Struct, frozen=True, kw_only=True):
    """Where to connect: scheme, host as a lower-case name or plain IP address, port, and path with query."""

    scheme: str
    host: str
    port: int
    target: str

    @property
    def authority(self) -> str:
        """Host and port as a Host header has them."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == _PORTS[self.scheme] else f"{host}:{self.port}"

    def __str__(self) -> str:
        return f"{self.scheme}://{self.authority}{self.target}"


def parse_endpoint(text: str, schemes: tuple[str, ...]) -> Endpoint:
    """Return the endpoint that a URL names.

    Raises:
        InvalidError: it is of none of these schemes, or not in the one plain form.
    """
    match = _ENDPOINT.fullmatch(text) if len(text) <= MAX_ADDRESS else None
    if match is None or match["scheme"] not in schemes:
        raise _wrong(text, f"write {' or '.join(f'{scheme}://' for scheme in schemes)} with a host, without user-info")
    target = match["target"] or ""
    if any(character in target for character in '\\#"<>^`{|}'):
        raise _wrong(text, "its path holds a character that has to be percent-encoded, or a fragment")
    port = int(match["port"]) if match["port"] else _PORTS[match["scheme"]]
    if port > 65535:
        raise _wrong(text, "there is no such port")
    return Endpoint(scheme=match["scheme"], host=_host(match["host"], text), port=port, target=target)


def check_mail_address(text: str) -> str:
    """Return a mail address if it is a plain one: `name@host`, ASCII, no quotes, no display name.

    Raises:
        InvalidError: it is not.
    """
    match = _MAIL.fullmatch(text) if len(text) <= 254 else None
    if match is None or len(text.partition("@")[0]) > 64:
        raise _wrong(text, "write name@host")
    _host(match["host"], text)
    return text


def _host(host: str, text: str) -> str:
    try:
        if host.startswith("["):
            address = IPv6Address(host[1:-1])
            if str(address) != host[1:-1]:
                raise _wrong(text, f"write the IPv6 address as [{address}]")
            return str(address)
        if _NUMERIC.fullmatch(host.rpartition(".")[2]):
            return str(IPv4Address(host))  # four decimal numbers, no leading zeros: the standard library is strict
    except AddressValueError:
        raise _wrong(text, "an IP address is written in full, in decimal") from None
    if len(host) > 253 or not all(_LABEL.fullmatch(label) for label in host.split(".")):
        raise _wrong(text, "the host is no lower-case DNS name; write an internationalised one in its xn-- form")
    return host


def _wrong(text: str, why: str) -> InvalidError:
    return InvalidError(f"{visible(text[:120])!r} is no address that can be used: {why}")
