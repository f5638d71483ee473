"""Keys of a policy that say where this server connects to: addresses, and the networks that may be private.

Called by the readers of channels, issuers and sign-ins. Whether an address may be connected to is decided when its name
has been resolved (`leasehold.notices.reach`).
"""

from __future__ import annotations

from ipaddress import ip_network

from leasehold.errors import InvalidError
from leasehold.model.address import MAX_ADDRESS, parse_endpoint
from leasehold.policy.reader import Table, show_path

__all__ = ["check_issuer", "check_plain_http", "read_endpoint", "read_networks"]


def read_endpoint(table: Table, key: str, schemes: tuple[str, ...]) -> str:
    """The address that stands at a key, as it is written.

    Raises:
        ConfigError: it is none of these schemes, not in the one plain form, or in the clear to another machine.
    """
    value = table.value[key]
    if not isinstance(value, str) or not 1 <= len(value) <= MAX_ADDRESS:
        raise table.fault(f"{show_path((*table.keys, key))} must be an address in quotes", key)
    check_plain_http(table, (key,), table.checked((key,), lambda text: str(parse_endpoint(text, schemes)), value))
    return value


def check_plain_http(table: Table, keys: tuple[str, ...], address: str) -> None:
    """Refuse an address without TLS, unless the table lists the networks that it may be at."""
    if address.startswith("http:") and "networks" not in table.value:
        raise table.fault(
            f"{show_path((*table.keys, *keys))}: http is only for a receiver on this machine, which networks has to "
            "list",
            *keys,
        )


def check_issuer(text: str) -> str:
    """Return the name of an issuer, if it is an address without query: kept and compared as it is written.

    Raises:
        InvalidError: it is not.
    """
    if "?" in text:
        raise InvalidError("the name of an issuer is an address without a query")
    parse_endpoint(text, ("https", "http"))
    return text


def read_networks(table: Table) -> tuple[str, ...]:
    """The networks, not public ones, that the receiver may be in.

    Raises:
        ConfigError: one is no network, or all there is.
    """
    return table.names("networks", _check_network)


def _check_network(text: str) -> str:
    try:
        network = ip_network(text)
    except ValueError:
        network = None
    if network is None or str(network) != text or network.prefixlen == 0:
        raise InvalidError(f'{text!r} is no network of addresses; write one such as "10.2.0.0/16" or "127.0.0.0/8"')
    return text
