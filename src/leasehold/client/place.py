"""Where an authority is, taken apart strictly: https, http on this machine, or a unix socket. Called by `connect`."""

from __future__ import annotations

import ssl
from dataclasses import dataclass

from leasehold.errors import InvalidError
from leasehold.model.address import parse_endpoint
from leasehold.model.text import visible

__all__ = ["Place", "find_place"]

_UNIX = "unix:"
_LOOPBACK = {"127.0.0.1": "127.0.0.1", "::1": "::1", "localhost": "127.0.0.1"}


@dataclass(frozen=True, kw_only=True)
class Place:
    """An address to connect to. `name` is what a Host header says; of a unix socket only `socket_path` counts."""

    name: str
    host: str = ""
    port: int = 0
    socket_path: str = ""
    trust: ssl.SSLContext | None = None

    def __str__(self) -> str:
        if self.socket_path:
            return _UNIX + self.socket_path
        return f"{'http' if self.trust is None else 'https'}://{self.name}"


def find_place(url: str, trust: ssl.SSLContext | None = None) -> Place:
    """Return the place that a URL names. `trust` says which certificates count; by default the system's.

    Raises:
        InvalidError: it is plain http to another machine, has a path, or `trust` would not verify the server.
    """
    if url.startswith(_UNIX):
        path = url.removeprefix(_UNIX)
        if not path.startswith("/") or "\0" in path:
            raise InvalidError(f"{visible(url[:120])!r}: write unix: and the absolute path of the socket")
        return Place(name="localhost", socket_path=path)
    endpoint = parse_endpoint(url, ("https", "http"))
    if endpoint.target not in ("", "/"):
        raise InvalidError(
            f"{visible(url[:120])!r}: an authority's address is a host and a port, and nothing behind it"
        )
    if endpoint.scheme == "http":
        if endpoint.host not in _LOOPBACK:
            raise InvalidError(f"credentials must not travel in the clear; write https://{endpoint.host}")
        return Place(name=endpoint.authority, host=_LOOPBACK[endpoint.host], port=endpoint.port)
    return Place(name=endpoint.authority, host=endpoint.host, port=endpoint.port, trust=_checked(trust))


def _checked(trust: ssl.SSLContext | None) -> ssl.SSLContext:
    context = trust or ssl.create_default_context()
    if context.verify_mode is not ssl.CERT_REQUIRED or not context.check_hostname:
        raise InvalidError(
            "this TLS context does not verify who the server is; use ssl.create_default_context(cafile=…)"
        )
    return context
