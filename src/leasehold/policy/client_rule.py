"""What a program may do that calls the authority over the network. Read by `client_table`, judged by `decide.clients`.

A client has one kind of right: to start runs, or to stand at one door. What people may do at the Desk is no client's.
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

__all__ = ["ANYTHING", "ClientRule", "DoorRight", "RunsRight", "WorkloadIdentity"]

ANYTHING = "*"
"""Stands alone in a list and means any."""


class RunsRight(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which runs a client may start and go on with."""

    agents: tuple[str, ...]
    routes: tuple[str, ...]
    tenants: tuple[str, ...]
    environments: tuple[str, ...]

    def failing(self, values: Mapping[str, str]) -> str | None:
        """The first of `agents`, `routes`, `tenants` and `environments` that does not name what is given for it."""
        for name in self.__struct_fields__:
            names = getattr(self, name)
            if names != (ANYTHING,) and values[name] not in names:
                return name
        return None


class DoorRight(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The one door at which a guard stands."""

    tool: str
    environment: str


class WorkloadIdentity(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """By which tokens a client is known without a secret of its own: their issuer, compared exactly, and claims."""

    issuer: str
    claims: dict[str, str]

    def matches(self, issuer: str, claims: Mapping[str, object]) -> bool:
        """Whether a verified token is this client's: every claim named here stands there as exactly this text."""
        return issuer == self.issuer and all(claims.get(name) == value for name, value in self.claims.items())

    def within(self, other: WorkloadIdentity) -> bool:
        """Whether each token that matches this one matches the other too."""
        return self.issuer == other.issuer and other.claims.items() <= self.claims.items()


class ClientRule(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One client by its name, with `runs` or `door`, one of them.

    `redirects` are the addresses, compared exactly, to which a browser goes back with what a person consented to.
    """

    name: str
    runs: RunsRight | None = None
    door: DoorRight | None = None
    identity: WorkloadIdentity | None = None
    redirects: tuple[str, ...] = ()
