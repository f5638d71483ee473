"""From a question of the model to bytes and back: one endpoint of the table, its body, its answer, its exceptions.

Used by the remote faces. What an authority answered is read leniently (new members may come), but it has to be an
answer to what was asked; anything else is `UnavailableError`, because nothing may be done on it.
"""

from __future__ import annotations

import asyncio
import math
import re
from base64 import b64decode
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from functools import partial
from typing import Any, TypeVar
from urllib.parse import urlencode

import msgspec

from leasehold.client.connection import Reply
from leasehold.client.place import Place
from leasehold.client.transport import Credential, Question, Transport
from leasehold.client.worker import Worker
from leasehold.errors import InvalidError, LeaseholdError, UnavailableError
from leasehold.model.api import MAX_WAIT_SECONDS
from leasehold.model.endpoints import ENDPOINTS, EndpointName
from leasehold.model.problem import PROBLEM_MEDIA_TYPE, Problem, error_of
from leasehold.system import System

__all__ = ["Api", "Line"]

A = TypeVar("A", bound=msgspec.Struct)

_MAX_ANSWER_BYTES = 8_388_608
_MAX_RECEIPT_BYTES = 67_108_864
_RECEIPTS = frozenset({EndpointName.FINISH, EndpointName.RECEIPT})
_ONCE = frozenset({EndpointName.ANSWER, EndpointName.REVOKE, EndpointName.HOLD, EndpointName.LIFT})
"""What a person does, who looks before they do it again; everything else is the same when it is asked again."""
_ENCODER = msgspec.json.Encoder(order="sorted")
_DECODERS: Mapping[EndpointName, msgspec.json.Decoder[Any]] = {
    name: msgspec.json.Decoder(endpoint.answer) for name, endpoint in ENDPOINTS.items() if not endpoint.is_stream
}
_PROBLEM = msgspec.json.Decoder(Problem)


class _Subject(msgspec.Struct):
    name: str


class _Statement(msgspec.Struct):
    subject: list[_Subject]


class _Envelope(msgspec.Struct):
    payload: str


_ID = re.compile(r"[A-Za-z0-9_]{1,64}")


class Line:
    """The thread and the connections to one place. A process that was forked starts with new ones.

    `seconds` bound each question. The transport belongs to the loop that the thread runs.
    """

    def __init__(self, place: Place, system: System, seconds: float) -> None:
        self.place = place
        self.system = system
        self.seconds = seconds
        self.worker = Worker(f"leasehold-client {place.name}")
        self._transport: Transport | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._abandoned: list[Transport | None] = []  # of the process that this one was forked from; never touched

    def as_caller(self, credential: Credential) -> Api:
        """The authority there as this caller sees it, over these connections."""
        return Api(self, credential)

    def transport(self) -> Transport:
        """The connections of the loop that runs here."""
        loop = asyncio.get_running_loop()
        if self._transport is None or self._loop is not loop:
            self._abandoned.append(self._transport)
            self._transport, self._loop = Transport(self.place, partial(_jitter, self.system)), loop
            self.worker.finish_with(self._transport.close)
        return self._transport

    def close(self) -> None:
        """Let reports arrive, end what else is under way, and let the connections go."""
        self.worker.close()


def _jitter(system: System) -> float:
    return int.from_bytes(system.random_bytes(2), "big") / 65_536


class Api:
    """One authority as one caller. Threads, tasks and event loops may share it."""

    def __init__(self, line: Line, credential: Credential) -> None:
        self._line = line
        self._credential = credential
        self.system = line.system
        self.place = line.place

    def submit(self, make: Callable[[], Any], *, is_report: bool = False) -> Future[Any]:
        """Run a coroutine that asks, or reports, and answer its Future."""
        return self._line.worker.submit(make, is_report=is_report)

    def close(self) -> None:
        """Let reports arrive, end what else is under way, of all callers, and let the connections go."""
        self._line.close()

    def new_key(self) -> str:
        """A fresh `Idempotency-Key`: made once for each thing that is asked, and kept for every try of it."""
        return self.system.random_bytes(16).hex()

    async def ask(
        self,
        name: EndpointName,
        *ids: str,
        body: msgspec.Struct | None = None,
        key: str | None = None,
        wait_ms: int = 0,
        query: Mapping[str, str] | None = None,
    ) -> Any:
        """Ask one endpoint; on the client's own loop. `ids` fill its path, `wait_ms` is how long it may hold back.

        Raises:
            LeaseholdError: what the authority answered, as it would be raised embedded.
            UnavailableError: it did not answer, or not what can be an answer.
        """
        seconds = min(math.ceil(wait_ms / 1000), MAX_WAIT_SECONDS)
        asked = dict(query or {}) | ({"wait": str(seconds)} if seconds > 0 else {})
        given = {field: value for field, value in asked.items() if value}
        target = _filled(ENDPOINTS[name].path, ids) + (f"?{urlencode(given)}" if given else "")
        reply = await self._reply(name, target, body, key, seconds)
        try:
            return _DECODERS[name].decode(reply.body)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError, InvalidError):
            raise UnavailableError(
                f"{self.place}: what came back is no answer to {name}; nothing may be started", maybe_persisted=True
            ) from None

    async def receipt(self, name: EndpointName, run_id: str, body: msgspec.Struct | None = None) -> bytes:
        """A receipt, byte for byte; that it is one of this run, not that it is true: who reads it verifies it.

        Raises:
            LeaseholdError, UnavailableError: as `ask`.
        """
        target = _filled(ENDPOINTS[name].path, (run_id,))
        receipt = bytes((await self._reply(name, target, body, None, 0)).body)
        if run_id not in _subjects(receipt):
            raise UnavailableError(f"{self.place}: what came back is no receipt of {run_id}", maybe_persisted=True)
        return receipt

    async def _reply(
        self, name: EndpointName, target: str, body: msgspec.Struct | None, key: str | None, wait: int
    ) -> Reply:
        reply = await self._line.transport().ask(
            Question(
                method=ENDPOINTS[name].method,
                credential=self._credential,
                target=target,
                headers=(("Idempotency-Key", key),) if key is not None else (),
                body=_ENCODER.encode(body) if body is not None else b"",
                seconds=self._line.seconds + wait,
                max_answer=_MAX_RECEIPT_BYTES if name in _RECEIPTS else _MAX_ANSWER_BYTES,
                waits=wait > 0,
                may_repeat=name not in _ONCE,
            )
        )
        if reply.status != 200:
            raise _error(reply, self.place)
        return reply


def _subjects(receipt: bytes) -> frozenset[str]:
    """What a receipt (an in-toto statement in a DSSE envelope) says that it is about; nothing where it is none."""
    try:
        envelope = msgspec.json.decode(receipt, type=_Envelope)
        statement = msgspec.json.decode(b64decode(envelope.payload, validate=True), type=_Statement)
    except (ValueError, RecursionError):  # msgspec's and base64's errors, and those of UTF-8, are of this kind
        return frozenset()
    return frozenset(subject.name for subject in statement.subject)


def _filled(path: str, ids: tuple[str, ...]) -> str:
    """The path with its ids; an id that is none never becomes a path."""
    rest = iter(ids)
    filled = []
    for part in path.split("/"):
        one = next(rest) if part.startswith("{") else part
        if part.startswith("{") and not _ID.fullmatch(one):
            raise InvalidError(f"{one[:80]!r} is no id")
        filled.append(one)
    return "/".join(filled)


def _error(reply: Reply, place: Place) -> LeaseholdError:
    """The exception that an answer stands for; of one that an authority would not give, that it is not there."""
    kind = reply.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind == PROBLEM_MEDIA_TYPE and reply.status >= 400:
        try:
            problem = _PROBLEM.decode(reply.body)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError, InvalidError):
            pass
        else:
            return error_of(problem)
    if 300 <= reply.status < 400:
        return UnavailableError(f"{place} answers {reply.status}, a redirect, which is never followed")
    return UnavailableError(f"{place} answers {reply.status} as no authority does; is this its address?")
