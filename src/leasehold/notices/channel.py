"""What a channel is: it sends one notice, once, and says how that went. Implemented by the files beside this one.

The outbox repeats, counts and gives up; a channel does none of that. What a receiver answers is never passed on as it
is: faults are Leasehold's own words, because they stand in the ledger (threat case 101).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol, runtime_checkable

from leasehold.errors import LeaseholdError
from leasehold.model.notice import Notice
from leasehold.policy.document import NoticeRule

__all__ = ["Channel", "DeliveryError", "Secrets", "Whispering"]


class DeliveryError(LeaseholdError):
    """A try that failed.

    Attributes:
        may_repeat: whether another try could go better.
        after_seconds: how long the receiver asked to be left alone; 0 where it did not say.
    """

    def __init__(self, message: str, *, may_repeat: bool = True, after_seconds: int = 0) -> None:
        self.may_repeat = may_repeat
        self.after_seconds = after_seconds
        super().__init__(message)


class Secrets(Protocol):
    """Where the secrets of channels are. Assembled from private files of the state directory."""

    def read(self, channel: str) -> Mapping[str, str]:
        """The secrets of a channel by name, such as `token`; empty if it has none.

        Raises:
            ConfigError: they are there and cannot be used.
        """
        ...


@runtime_checkable
class Whispering(Protocol):
    """A channel that can say something to one of its users alone."""

    async def whisper(self, rule: NoticeRule, place: str, user: str, text: str) -> None:
        """Say it to a user, at the place where they are.

        Raises:
            DeliveryError: it did not arrive.
        """
        ...


class Channel(Protocol):
    """One way to reach people."""

    async def send(self, rule: NoticeRule, notice: Notice, *, at: int, reference: str = "") -> str:
        """Send a notice at a Unix time, or rewrite the copy that `reference` names; answers the copy's reference.

        Channels that cannot rewrite answer the empty text and send what they are given.

        Raises:
            DeliveryError: it did not arrive, or nobody can tell.
        """
        ...
