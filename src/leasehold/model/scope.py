"""What can be stopped, and how. A scope is written `kind:value`, or `all`. Called by decide, the desk and the CLI."""

from __future__ import annotations

from enum import StrEnum

import msgspec

from leasehold.errors import InvalidError
from leasehold.model.grant import check_action
from leasehold.model.ids import check_id
from leasehold.model.text import check_identifier

__all__ = ["Scope", "ScopeKind", "StopKind"]


class ScopeKind(StrEnum):
    """The closed list of things above a call."""

    LEASE = "lease"
    REQUEST = "request"
    RUN = "run"
    PERSON = "person"
    AGENT = "agent"
    TOOL = "tool"
    ACTION = "action"
    TENANT = "tenant"
    ENVIRONMENT = "environment"
    ROUTE = "route"
    ALL = "all"


class StopKind(StrEnum):
    """A revoke ends what was recorded so far, for good; a hold lets nothing start until it is lifted."""

    REVOKE = "revoke"
    HOLD = "hold"


_ID_PREFIX = {ScopeKind.LEASE: "lease", ScopeKind.REQUEST: "req", ScopeKind.RUN: "run"}


class Scope(msgspec.Struct, frozen=True, order=True):
    """One thing that can be stopped, such as `run:run_01JZ…` or `tool:deploy.prod`."""

    kind: ScopeKind
    value: str = ""

    def __post_init__(self) -> None:
        if self.kind is ScopeKind.ALL:
            if self.value:
                raise InvalidError("the scope 'all' takes no value")
        elif self.kind in _ID_PREFIX:
            check_id(self.value, _ID_PREFIX[self.kind])
        elif self.kind is ScopeKind.ACTION:
            check_action(self.value)
        else:
            check_identifier(self.value, f"{self.kind} scope")

    @classmethod
    def parse(cls, text: str) -> Scope:
        """Return the scope that an operator wrote.

        Raises:
            InvalidError: the kind is unknown or the value is not one of its kind.
        """
        kind, colon, value = text.partition(":")
        if kind not in list(ScopeKind) or (not value and (colon or kind != ScopeKind.ALL)):
            kinds = ", ".join(known for known in ScopeKind if known is not ScopeKind.ALL)
            raise InvalidError(f"{text!r} is no scope; write all, or one of these, ':' and a name: {kinds}")
        return cls(ScopeKind(kind), value)

    def __str__(self) -> str:
        return self.kind if self.kind is ScopeKind.ALL else f"{self.kind}:{self.value}"
