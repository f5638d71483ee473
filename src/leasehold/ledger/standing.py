"""Where a run, request, lease, call or account stands, as `leasehold.ledger.replay` works it out of entries.

The values are mutable and belong to the replay that made them; the rules of the history checker only read them.
"""

from __future__ import annotations

import msgspec

from leasehold.ledger.entry import Entry
from leasehold.model.call import CallState
from leasehold.model.grant import Grants

__all__ = ["Account", "CallPast", "LeasePast", "RequestPast", "RunPast"]


class RunPast(msgspec.Struct, kw_only=True):
    """A run as the entries so far leave it."""

    started: Entry
    expires_at: int
    attempt: int = 1
    is_finished: bool = False


class RequestPast(msgspec.Struct, kw_only=True):
    """A request. `answers` are the approvals by person; `used_by` the admission that uses a call request, if any;
    `ending` the admission that is ending a lease request, if any."""

    made: Entry
    allow: Grants
    state: str
    answers: dict[str, Entry]
    used_by: str = ""
    ending: str = ""


class LeasePast(msgspec.Struct, kw_only=True):
    """A lease."""

    issued: Entry
    allow: Grants
    expires_at: int
    is_ended: bool = False


class CallPast(msgspec.Struct, kw_only=True):
    """A call. `above` maps each scope over it to the index at which what the scope covers was recorded; `is_told` says
    that its guard came back after it was concluded to be unknown."""

    admitted: Entry
    reserved: dict[str, int]
    accounts: tuple[str, ...]
    above: dict[str, int]
    state: CallState = CallState.ADMITTED
    is_told: bool = False


class Account(msgspec.Struct, kw_only=True):
    """One unit of a run or request, in millionths."""

    limit: int = 0
    reserved: int = 0
    spent: int = 0

    @property
    def room(self) -> int:
        """What can still be reserved."""
        return max(0, self.limit - self.reserved - self.spent)
