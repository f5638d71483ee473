"""Which addresses may be connected to, and connecting to exactly those. Called by every channel (threat case 33).

A name is resolved once; every address that it has must be allowed, and the connection goes to one that was checked, so
that a second answer of the name server changes nothing. Addresses that lead inwards are refused unless the policy lists
their network: private, loopback, link-local, shared, reserved, multicast, and those that carry another address inside
(mapped, NAT64, 6to4, Teredo).
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable, Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import TypeAlias

from leasehold.model.address import Endpoint
from leasehold.notices.channel import DeliveryError

__all__ = ["Resolve", "allowed_address", "is_reachable", "resolve_name"]

IpAddress: TypeAlias = IPv4Address | IPv6Address
Resolve: TypeAlias = Callable[[str, int], Awaitable[Sequence[str]]]
"""From a host name and port to every IP address that it has."""

_NAT64 = IPv6Network("64:ff9b::/96")
_REFUSED = tuple(
    map(
        ip_network,
        (
            "2001::/32",  # Teredo
            "2002::/16",  # 6to4
            "64:ff9b:1::/48",  # NAT64 of one's own network
            "::/96",  # IPv4-compatible, unspecified, loopback
            "fec0::/10",  # site-local
            "192.88.99.0/24",  # 6to4 relays
            "168.63.129.16/32",  # a cloud's own control plane on a public address
        ),
    )
)


async def resolve_name(host: str, port: int) -> Sequence[str]:
    """Ask the system's resolver.

    Raises:
        DeliveryError: the name has no address.
    """
    loop = asyncio.get_running_loop()
    try:
        found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except OSError:
        raise DeliveryError("the receiver's name cannot be resolved") from None
    return [str(place[0]) for *_, place in found]


def is_reachable(address: IpAddress, networks: Sequence[IPv4Network | IPv6Network]) -> bool:
    """Whether an address may be connected to: it is public, or in a network that the policy lists."""
    if any(address.version == network.version and address in network for network in networks):
        return True
    if isinstance(address, IPv6Address):
        inner = address.ipv4_mapped or (IPv4Address(int(address) & 0xFFFFFFFF) if address in _NAT64 else None)
        if inner is not None:
            return is_reachable(inner, networks)
    if any(address.version == network.version and address in network for network in _REFUSED):
        return False
    return address.is_global and not address.is_multicast and not address.is_reserved


async def allowed_address(endpoint: Endpoint, networks: Sequence[str], resolve: Resolve) -> str:
    """The IP address to connect to for an endpoint.

    Raises:
        DeliveryError: an address of it may not be connected to, or it has none.
    """
    listed = [ip_network(network) for network in networks]
    answers = await resolve(endpoint.host, endpoint.port)
    try:
        addresses = [ip_address(answer) for answer in answers]
    except ValueError:
        raise DeliveryError("the receiver's name resolves to something that is no address") from None
    if not addresses:
        raise DeliveryError("the receiver's name cannot be resolved")
    if not all(is_reachable(address, listed) for address in addresses):
        raise DeliveryError(
            "the receiver is at an address that is not public; if that is meant, list it under networks",
            may_repeat=False,
        )
    if endpoint.scheme == "http" and not all(address.is_loopback for address in addresses):
        raise DeliveryError("http is only for a receiver on this machine; use https", may_repeat=False)
    return str(addresses[0])
