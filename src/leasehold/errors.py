"""The one tree of exceptions, split by who has to act. Every layer raises them; callers catch them.

A class exists only because somebody catches it. Each carries its evidence in attributes; the message says what
happened, why, and what to do next.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from leasehold.model.decision import Decision

__all__ = [
    "ApprovalNeeded",
    "ConfigError",
    "Denied",
    "Edited",
    "InvalidError",
    "LeaseholdError",
    "NotFoundError",
    "StoreError",
    "TokenError",
    "TransitionError",
    "UnavailableError",
    "VerificationError",
]


class LeaseholdError(Exception):
    """The root of everything that Leasehold raises on purpose."""


class InvalidError(LeaseholdError, ValueError):
    """A value that the caller passed cannot be what it claims to be (a name, a grant, an amount, a document)."""


class ConfigError(LeaseholdError):
    """A file that the operator wrote cannot be used.

    Attributes:
        path: the file, as it was named.
        line: the 1-based line, or None where the whole file is meant.
    """

    def __init__(self, message: str, *, path: str = "", line: int | None = None) -> None:
        self.path = path
        self.line = line
        place = f"{path}:{line}: " if path and line is not None else f"{path}: " if path else ""
        super().__init__(place + message)


class NotFoundError(LeaseholdError):
    """No such run, request, lease or person in the tenants that the caller may see."""


class StoreError(LeaseholdError):
    """The database cannot be used: missing, locked, full, newer than this program, damaged, or rolled back.

    Attributes:
        maybe_persisted: whether the change that was asked for may stand in the database all the same. False: it
            certainly does not. True: ask again under the same id once the store is open again.
    """

    def __init__(self, message: str, *, maybe_persisted: bool = False) -> None:
        self.maybe_persisted = maybe_persisted
        super().__init__(message)


class UnavailableError(StoreError):
    """The authority cannot answer right now; nothing was executed. Trying again is safe."""


class TokenError(LeaseholdError):
    """Bytes that are not the authentic document, mostly a lease, that is taken here.

    Attributes:
        code: which check failed, one word from a closed list (`leasehold.token.codes`).
    """

    def __init__(self, code: str, message: str) -> None:
        self.code = code
        super().__init__(message)


class VerificationError(LeaseholdError):
    """A ledger, checkpoint or receipt does not prove what it claims.

    Attributes:
        index: the first ledger index that is wrong, or None where no single entry is at fault.
    """

    def __init__(self, message: str, *, index: int | None = None) -> None:
        self.index = index
        super().__init__(message)


class TransitionError(LeaseholdError):
    """A life cycle was asked for a step that its table does not have: a fault in Leasehold, never in its user."""


class Denied(LeaseholdError):  # noqa: N818 - the one name the design reserves: a denial is an answer, not a fault
    """The call, request or answer was refused; nothing was executed and nothing was charged.

    Attributes:
        decision: the whole decision: reason, rule, failed check, and what would be enough.
    """

    def __init__(self, decision: Decision) -> None:
        self.decision = decision
        super().__init__(decision.describe())


class Edited(Denied):
    """People edited what was asked for. Go on with what it is now: it needs their word too.

    Attributes:
        request: id of the request that took its place; of a lease, wait on it.
        arguments: of a call its arguments now, to make it with; None of a lease, or where its card was erased.
    """

    def __init__(self, decision: Decision, request: str, arguments: str | None) -> None:
        self.request = request
        self._arguments = arguments
        super().__init__(decision)
        if arguments is not None:
            self.args = (f"{decision.describe()}; its arguments are now {arguments}",)
        step = "make the call with the .arguments of this error" if arguments else f'authority.wait("{request}")'
        self.add_note(f"next: {step}")

    @property
    def arguments(self) -> dict[str, Any] | None:
        """The arguments, read anew at each access."""
        return None if self._arguments is None else dict(json.loads(self._arguments))


class ApprovalNeeded(Denied):
    """A person has to decide first. Wait on `request`, then make the same call again.

    Attributes:
        request: id of the pending request.
    """

    def __init__(self, decision: Decision, request: str) -> None:
        self.request = request
        super().__init__(decision)
        self.add_note(
            f"next: have a person answer it (leasehold request approve {request} --as PERSON), "
            f'wait for them (authority.wait("{request}")), then make the same call again'
        )
