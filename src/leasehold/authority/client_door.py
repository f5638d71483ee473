"""The door of one client of the policy, whose guard asks over the network. Made per request by the server.

Every step goes behind the client's proof and its right to this door (`leasehold.decide.clients`). Calls that another
client's guard was admitted for look like what never was.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from leasehold.authority.clients import check_client
from leasehold.authority.door import EmbeddedDoor
from leasehold.authority.engine import Engine, refusal_error
from leasehold.authority.forgeries import ForgeryCounter
from leasehold.authority.waiting import Waiters
from leasehold.decide.clients import ClientVoice, ForDoor, refuse_door_of
from leasehold.decide.facts import Step
from leasehold.policy.client_rule import DoorRight
from leasehold.policy.document import Policy

__all__ = ["ClientDoor"]

A = TypeVar("A")


class ClientDoor(EmbeddedDoor):
    """The tool and environment that a client has a right to; `voice` is what proves which client asks."""

    def __init__(
        self, engine: Engine, forgeries: ForgeryCounter, waiters: Waiters, voice: ClientVoice, right: DoorRight
    ) -> None:
        super().__init__(engine, right.tool, right.environment, forgeries, waiters, client=voice.client)
        self._voice = voice
        self._right = right

    def _behind(
        self, build: Callable[[Policy], Step[A]], admitted_by: str | None = None
    ) -> Callable[[Policy], Step[A]]:
        voice, right = self._voice, self._right
        return lambda policy: ForDoor(
            step=build(policy), policy_document=policy, voice=voice, door=right, admitted_by=admitted_by
        )

    def _check_asker(self) -> None:
        policy = check_client(self._engine, self._voice)
        if (refusal := refuse_door_of(policy, self._voice.client, self._right)) is not None:
            raise refusal_error(refusal)
