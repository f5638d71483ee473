"""Under which names this server answers. Made by `leasehold serve`; asked by the checks of hosts and origins.

A browser can be made to connect to a loopback server under any name (DNS rebinding, threat case 116), so a request is
answered only under a name that is listed here.
"""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import urlsplit

from leasehold.errors import InvalidError

__all__ = ["Site"]

_DEFAULT_PORTS = {"http": 80, "https": 443}


@dataclass(frozen=True, kw_only=True)
class Site:
    """The origin that is told to people, and every `Host` under which the server answers, lower-case, with its port."""

    origin: str
    hosts: tuple[str, ...]
    passkey_origin: str
    """Where passkeys can be used: they are bound to a name, which an address is not."""

    @classmethod
    def loopback(cls, port: int) -> Site:
        """A server for the people at this machine."""
        names = ("127.0.0.1", "localhost", "[::1]")
        return cls(
            origin=f"http://127.0.0.1:{port}",
            hosts=tuple(f"{name}:{port}" for name in names),
            passkey_origin=f"http://localhost:{port}",
        )

    @classmethod
    def public(cls, url: str) -> Site:
        """A server behind a proxy that ends TLS and passes the `Host` on.

        Raises:
            InvalidError: it is not https, or more than a host and a port.
        """
        try:
            parts = urlsplit(url)
            port = parts.port
        except ValueError:
            raise InvalidError(f"{url!r} is no address; one looks like https://lease.example.com") from None
        rest = (parts.path.strip("/"), parts.query, parts.fragment, parts.username, parts.password)
        if parts.scheme != "https" or not parts.hostname or any(rest):
            raise InvalidError(f"{url!r} will not do; a public address is https:// and a host, and nothing behind it")
        name = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
        if port in (None, _DEFAULT_PORTS["https"]):
            hosts: tuple[str, ...] = (name, f"{name}:443")
        else:
            hosts = (f"{name}:{port}",)
        origin = f"https://{hosts[0]}"
        return cls(origin=origin, hosts=hosts, passkey_origin=origin)

    @property
    def scheme(self) -> str:
        """`http` on loopback, else `https`."""
        return urlsplit(self.origin).scheme

    @property
    def passkey_host(self) -> str:
        """The name that passkeys are bound to (WebAuthn's relying party id)."""
        return urlsplit(self.passkey_origin).hostname or ""

    def is_host(self, host: str) -> bool:
        """Whether a `Host` header names this server."""
        return host.lower() in self.hosts

    def is_own_origin(self, origin: str, host: str) -> bool:
        """Whether an `Origin` header is that of a page which this server gave out under the same `Host`."""
        return self.is_host(host) and origin.lower() == f"{self.scheme}://{_shown(host.lower(), self.scheme)}"


def _shown(host: str, scheme: str) -> str:
    """A host as an origin shows it: without the scheme's own port (RFC 6454)."""
    return host.removesuffix(f":{_DEFAULT_PORTS[scheme]}")
