"""Break-glass: what two people agree to when the usual rules of a route stand in the way (requirement P16).

An opening is a document of its own type, signed by both. It lasts minutes, it is for one person, and it skips only the
rules that it lists; holds, tenants, keys, budgets and the ledger are none of them.
"""

from __future__ import annotations

from enum import StrEnum
from typing import NewType

import msgspec

from leasehold.errors import InvalidError
from leasehold.model.grant import check_action
from leasehold.model.ids import LeaseId, RequestId, RunId, check_id
from leasehold.model.text import check_identifier, check_unicode

__all__ = ["BREAK_GLASS", "BREAK_GLASS_ALARM", "MAX_MINUTES", "GlassId", "Opening", "Skippable", "glass_of_run"]

GlassId = NewType("GlassId", str)

BREAK_GLASS = "break-glass"
"""The agent of the run that an opening makes. No agent may bear this name."""

BREAK_GLASS_ALARM = "break_glass"
"""The alarm that stands in the entry of each opening, use, refusal and end."""

MAX_MINUTES = 15
_MAX_REASON = 2000


class Skippable(StrEnum):
    """The route rules that an opening may skip, if the policy lists them. There are no others."""

    APPROVE = "approve"
    HOURS = "hours"
    FREEZE = "freeze"
    AFTER = "after"


class Opening(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Who opens the glass, who confirms it, for what, for how long, past which rules, and why.

    `opened_at` is in Unix seconds; actions and rules are sorted, so that one opening has one spelling.

    Raises:
        InvalidError: a member cannot be what it claims to be, or one person is both.
    """

    glass_id: GlassId
    opener: str
    second: str
    tenant: str
    environment: str
    route: str
    actions: tuple[str, ...]
    skips: tuple[Skippable, ...]
    minutes: int
    reason: str
    opened_at: int

    def __post_init__(self) -> None:
        check_id(self.glass_id, "glass")
        for name in ("opener", "second", "tenant", "environment", "route"):
            check_identifier(getattr(self, name), name)
        if self.opener == self.second:
            raise InvalidError(f"{self.opener} cannot confirm their own break-glass; a second person has to")
        for action in self.actions:
            check_action(action)
        for name in ("actions", "skips"):
            given = getattr(self, name)
            if not given or list(given) != sorted(set(given)):
                raise InvalidError(f"break-glass names its {name}, each once and sorted")
        if type(self.minutes) is not int or not 1 <= self.minutes <= MAX_MINUTES:
            raise InvalidError(f"break-glass lasts 1 to {MAX_MINUTES} minutes")
        if not check_unicode(self.reason, "reason").strip() or len(self.reason) > _MAX_REASON:
            raise InvalidError(f"break-glass needs a reason of 1 to {_MAX_REASON} characters")
        if type(self.opened_at) is not int or not 0 <= self.opened_at <= 2**53 - 1:
            raise InvalidError("break-glass is opened at a whole number of Unix seconds")

    @property
    def ends_at(self) -> int:
        """The Unix second at which it is over."""
        return self.opened_at + 60 * self.minutes

    @property
    def run_id(self) -> RunId:
        """The run that its uses belong to."""
        return RunId(f"run_{self._ulid}")

    @property
    def request_id(self) -> RequestId:
        """The request that owns its budget."""
        return RequestId(f"req_{self._ulid}")

    @property
    def lease_id(self) -> LeaseId:
        """The lease that its uses are judged by."""
        return LeaseId(f"lease_{self._ulid}")

    @property
    def _ulid(self) -> str:
        return self.glass_id.partition("_")[2]


def glass_of_run(run_id: str) -> GlassId:
    """The opening that a break-glass run was made by."""
    return GlassId(f"glass_{run_id.partition('_')[2]}")
