"""One entry of `[clients]` to one `ClientRule`: a program that may call over the network. Called by `load`."""

from __future__ import annotations

from urllib.parse import urlsplit

from leasehold.errors import InvalidError
from leasehold.model.text import check_identifier
from leasehold.policy.client_rule import ClientRule, DoorRight, RunsRight, WorkloadIdentity
from leasehold.policy.reader import Table, show_path
from leasehold.policy.route_table import read_audience

__all__ = ["read_client"]

_MAX_CLAIMS = 16
_LOOPBACK = ("127.0.0.1", "::1")


def read_client(name: str, table: Table) -> ClientRule:
    """Return one client.

    Raises:
        ConfigError: at the key at fault.
    """
    table.checked_name((), name)
    table.close(("runs", "door", "identity", "redirects"))
    if ("runs" in table.value) == ("door" in table.value):
        raise table.fault(
            f"{show_path(table.keys)} needs either runs or door: a program starts runs or stands at a door, never both"
        )
    return ClientRule(
        name=name,
        runs=_runs(table.table("runs")) if "runs" in table.value else None,
        door=_door(table.table("door")) if "door" in table.value else None,
        identity=_identity(table.table("identity")) if "identity" in table.value else None,
        redirects=_redirects(table) if "redirects" in table.value else (),
    )


def _runs(table: Table) -> RunsRight:
    table.close(RunsRight.__struct_fields__)
    return RunsRight(
        agents=read_audience(table, "agents"),
        routes=read_audience(table, "routes"),
        tenants=read_audience(table, "tenants"),
        environments=read_audience(table, "environments"),
    )


def _door(table: Table) -> DoorRight:
    table.close(DoorRight.__struct_fields__)
    table.need("tool", "environment")
    return DoorRight(tool=table.name("tool"), environment=table.name("environment"))


def _identity(table: Table) -> WorkloadIdentity:
    table.close(WorkloadIdentity.__struct_fields__)
    table.need("issuer", "claims")
    claims = table.table("claims")
    if not 1 <= len(claims.value) <= _MAX_CLAIMS:
        raise table.fault(
            f"{show_path(claims.keys)} names {len(claims.value)} claims; 1 to {_MAX_CLAIMS} are needed, else every "
            "token of that issuer would do",
            "claims",
        )
    return WorkloadIdentity(issuer=table.text("issuer"), claims={name: _claim(claims, name) for name in claims.value})


def _claim(table: Table, name: str) -> str:
    table.checked((name,), lambda text: check_identifier(text, "a claim's name"), name)
    return table.text(name)


def _redirects(table: Table) -> tuple[str, ...]:
    if "door" in table.value:
        raise table.fault(f"{show_path(table.keys)} is a door, and no person consents to one", "redirects")
    return table.names("redirects", _address)


def _address(text: str) -> str:
    """An address that a browser may be sent back to: https, or a program on the person's own machine."""
    try:
        parts = urlsplit(text)
        host = parts.hostname
    except ValueError:
        host = None
    is_safe = host is not None and (parts.scheme == "https" or (parts.scheme == "http" and host in _LOOPBACK))
    if not is_safe or parts.fragment or "@" in parts.netloc or not text.isascii() or not text.isprintable():
        raise InvalidError(f"{text[:80]!r} will not do; an address is https://…, or http:// at 127.0.0.1 or [::1]")
    return text
