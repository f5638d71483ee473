"""One entry of `[issuers]` to one `IssuerRule`: whose tokens count here, for which audience, and where their keys are.

Called by `load`. Issuers stand in the policy because whoever is trusted to say who somebody is has to be accepted, not
only configured. Keys that are listed stand in the policy too: a file beside it could be changed unseen.
"""

from __future__ import annotations

from leasehold.policy.address_keys import check_issuer, check_plain_http, read_endpoint, read_networks
from leasehold.policy.document import DISCOVERY, LISTED, IssuerRule, PublicJwk
from leasehold.policy.reader import Table, show_path

__all__ = ["read_issuer"]

_KEYS = ("audience", "keys", "networks")
_MEMBERS = ("kty", "kid", "alg", "use", "crv", "n", "e", "x", "y")
_MAX_MEMBER = 2000


def read_issuer(name: str, table: Table) -> IssuerRule:
    """Return one issuer. Its name is never made canonical: with and without a last slash are two issuers.

    Raises:
        ConfigError: at the key at fault.
    """
    table.checked((), check_issuer, name)
    check_plain_http(table, (), name)
    table.close(_KEYS)
    table.need("audience")
    source, listed = _key_source(table)
    return IssuerRule(
        issuer=name, audience=table.text("audience"), keys=source, listed=listed, networks=read_networks(table)
    )


def _key_source(table: Table) -> tuple[str, tuple[PublicJwk, ...]]:
    value = table.value.get("keys", DISCOVERY)
    if value == DISCOVERY:
        return DISCOVERY, ()
    if isinstance(value, str):
        return read_endpoint(table, "keys", ("https", "http")), ()
    keys = tuple(sorted({_jwk(each) for each in table.array("keys")}))
    if not keys:
        raise table.fault(f"{show_path((*table.keys, 'keys'))} is empty, so no token could count", "keys")
    return LISTED, keys


def _jwk(table: Table) -> PublicJwk:
    """A public key with only the members of one: who copies a private key into a policy is told so here."""
    table.close(_MEMBERS)
    table.need("kty")
    for name, value in table.value.items():
        if not isinstance(value, str) or not 1 <= len(value) <= _MAX_MEMBER or not value.isprintable():
            raise table.fault(f"{show_path((*table.keys, name))} must be the text of a key set's member", name)
    return tuple((name, value) for name, value in sorted(table.value.items()) if isinstance(value, str))
