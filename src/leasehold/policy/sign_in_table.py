"""One entry of `[sign_in]` to one `SignInRule`: a provider at which people prove who they are. Called by `load`.

Its secret, if it has one, never stands here: it is a private file of the state directory.
"""

from __future__ import annotations

from leasehold.errors import InvalidError
from leasehold.policy.address_keys import check_issuer, check_plain_http, read_networks
from leasehold.policy.document import SignInRule, WhoComesIn
from leasehold.policy.reader import Table, show_path

__all__ = ["MAX_GROUPS_SECONDS", "read_sign_in"]

MAX_GROUPS_SECONDS = 24 * 3600
"""What groups said yesterday says nothing of today."""

_KEYS = (
    "issuer",
    "client_id",
    "scopes",
    "person",
    "people",
    "groups",
    "roles",
    "groups_for",
    "max_age",
    "secret",
    "networks",
)
_MAX_GROUPS = 100


def read_sign_in(name: str, table: Table) -> SignInRule:
    """Return one provider.

    Raises:
        ConfigError: at the key at fault.
    """
    table.checked_name((), name)
    if "/" in name:
        raise table.fault(f"{show_path(table.keys)}: the name of a provider stands in addresses, so it holds no '/'")
    table.need("issuer", "client_id", "person")
    table.close(_KEYS)
    issuer = table.checked(("issuer",), check_issuer, table.text("issuer"))
    check_plain_http(table, ("issuer",), issuer)
    people = table.choice("people", WhoComesIn) if "people" in table.value else WhoComesIn.KNOWN
    roles = _roles(table)
    if roles and "groups" not in table.value:
        raise table.fault(f'{show_path(table.keys)} needs "groups": the claim that lists them', "roles")
    if people is WhoComesIn.GROUPS and not roles:
        raise table.fault(f"{show_path(table.keys)} lets in whoever is in a group, and roles names none", "people")
    return SignInRule(
        name=name,
        issuer=issuer,
        client_id=table.text("client_id"),
        person=table.text("person"),
        scopes=table.names("scopes", _check_scope),
        people=people,
        groups=table.text("groups"),
        roles=roles,
        groups_seconds=_seconds(table, "groups_for", 8 * 3600),
        max_age_seconds=_seconds(table, "max_age", 12 * 3600),
        secret=table.flag("secret"),
        networks=read_networks(table),
    )


def _roles(table: Table) -> dict[str, tuple[str, ...]]:
    listed = table.table("roles")
    if len(listed.value) > _MAX_GROUPS:
        raise table.fault(f"{show_path(listed.keys)} names more than {_MAX_GROUPS} groups", "roles")
    found = {group: listed.names(group) for group in listed.value}
    for group, roles in found.items():
        if not roles or not 1 <= len(group) <= 200 or not group.isprintable():
            raise table.fault(f"{show_path((*listed.keys, group))} must name the roles of a group", "roles", group)
    return found


def _check_scope(text: str) -> str:
    if text in ("openid", "offline_access") or not text.isascii() or not text.isprintable() or set(text) & set(' "\\'):
        raise InvalidError(f"{text!r} is asked for anyway, or is no scope that is asked for here")
    return text


def _seconds(table: Table, key: str, default: int) -> int:
    seconds = table.seconds(key, default)
    if seconds > MAX_GROUPS_SECONDS:
        raise table.fault(f"{show_path((*table.keys, key))} is at most {MAX_GROUPS_SECONDS // 3600}h", key)
    return seconds
