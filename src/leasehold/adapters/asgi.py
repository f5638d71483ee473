"""One HTTP endpoint behind a guard, as ASGI: the lease comes in `Authorization`, the answer goes when it is settled.

Which action the endpoint is, its author says; path parameters are those that the router found. For a Starlette route:
`Route("/tickets/{ticket_id}/close", close, methods=["POST"], middleware=[Middleware(Leased, guard, "close")])`. A whole
service is guarded by `leasehold.adapters.service`, routes of FastAPI by `leasehold.adapters.fastapi`.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Sequence

from leasehold.adapters.answering import Challenge, RequestError, answer_of
from leasehold.adapters.messages import App, Message, Receive, Scope, Send
from leasehold.adapters.reading import MAX_BODY_BYTES, Body, GoneError, read_credentials, read_request
from leasehold.errors import InvalidError, LeaseholdError
from leasehold.guard import Capability, Guard
from leasehold.guard.call import GuardedCall
from leasehold.model.grant import check_action, split_action

__all__ = ["CAPABILITY", "Body", "Leased", "Terms", "capability_of"]

CAPABILITY = "leasehold.capability"
"""Where in the scope a handler finds its capability."""


_ORIGIN = re.compile(r"https?://[a-z0-9.-]+(?::[0-9]{1,5})?|https?://\[[0-9a-f:]+\](?::[0-9]{1,5})?")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Terms:
    """What an endpoint takes: which query parameters become arguments, what its body is, how large it may be.

    `metadata` is the URL of the service's protected-resource metadata (RFC 9728), told to who comes without a lease.
    `origin` (`https://tickets.example`) is under what callers know the service: with it tokens that are bound to a key
    are taken too, with a proof for the address of the request (DPoP, RFC 9449).
    """

    query: Sequence[str] = ()
    body: Body = Body.JSON
    max_body_bytes: int = MAX_BODY_BYTES
    metadata: str = ""
    origin: str = ""

    def __post_init__(self) -> None:
        if not 0 <= self.max_body_bytes <= MAX_BODY_BYTES:
            raise InvalidError(f"max_body_bytes is at most {MAX_BODY_BYTES}, which is what a call's arguments may take")
        if any(character in self.metadata for character in '"\\\r\n') or not self.metadata.isascii():
            raise InvalidError("metadata is a URL")
        if self.origin and not _ORIGIN.fullmatch(self.origin):
            raise InvalidError("an origin is a scheme, a host and perhaps a port, such as https://tickets.example")


_USUAL = Terms()


class Leased:
    """Admits each request as one call of one action, then lets the application inside handle it.

    The application reads the very arguments that were decided on, finds its capability by `capability_of(scope)`, and
    never sees the lease. The call is settled when the application hands over the last piece of its answer, and the
    piece goes out when that is recorded: done below status 400, else failed; failed where it raises. Of an answer
    that broke off nobody knows what was done: the call stands as `unknown`, its charge stays. What runs after the
    answer (a background task) has no capability any more.
    """

    def __init__(self, app: App, guard: Guard, verb: str, *, terms: Terms = _USUAL) -> None:
        if split_action(check_action(f"{guard.tool}.{verb}")) != (guard.tool, verb):
            raise InvalidError(f"a verb has no dot; {verb!r} is not one action of the tool {guard.tool}")
        self._app = app
        self._guard = guard
        self._verb = verb
        self._terms = terms
        self._challenge = Challenge(realm=guard.tool, metadata=terms.metadata, takes_proofs=bool(terms.origin))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        if scope["type"] != "http":
            raise RuntimeError(f"a lease guards HTTP requests; this is {scope['type']}")
        try:
            exchange, inside = await self._admitted(scope, receive, send)
        except GoneError:
            return
        except (LeaseholdError, RequestError) as error:
            await answer_of(error, self._challenge, f"{self._guard.tool}.{self._verb}").send(send)
            return
        await _carry_out(self._app, inside, exchange)

    async def _admitted(self, scope: Scope, receive: Receive, send: Send) -> tuple[_Exchange, Scope]:
        """Read the request, ask the authority, and return what the application inside is to see."""
        presented = read_credentials(scope, self._terms.origin)
        terms = self._terms
        asked = await read_request(
            scope, receive, body=terms.body, query=terms.query, max_body_bytes=terms.max_body_bytes
        )
        try:
            call = self._guard.call(
                presented.permit, self._verb, asked.arguments, key=presented.key, trace_id=presented.trace_id
            )
        except TypeError as error:
            raise RequestError(400, "bad_arguments", str(error)) from None
        capability = await call.__aenter__()
        inside = {**scope, "headers": list(asked.headers), CAPABILITY: capability}
        return _Exchange(call, receive, send, asked.body), inside


def capability_of(scope: Scope) -> Capability:
    """The capability of the call that a handler carries out; of Starlette pass `request.scope`.

    Raises:
        RuntimeError: this endpoint is not guarded, so nothing may be done in it.
    """
    capability = scope.get(CAPABILITY)
    if not isinstance(capability, Capability):
        raise RuntimeError(f"{scope.get('path', 'this endpoint')} is not behind a guard; nothing was done")
    return capability


class _AnsweredError(Exception):
    """The application answered with a status of 400 or more. Only its name goes into the ledger."""


async def _carry_out(app: App, scope: Scope, exchange: _Exchange) -> None:
    try:
        await app(scope, exchange.receive, exchange.send)
    except Exception as error:
        await exchange.end(None if exchange.is_broken else error)
        raise
    except BaseException:  # cancelled: how far it came, nobody knows
        await exchange.end(None)
        raise
    await exchange.end(None)


class _Exchange:
    """One request that was read already, and one answer on its way out. Owned by the task of its request."""

    def __init__(self, call: GuardedCall, receive: Receive, send: Send, body: bytes) -> None:
        self._call = call
        self._receive = receive
        self._send = send
        self._body: bytes | None = body
        self._status = 0
        self._is_over = False
        self.is_broken = False

    async def receive(self) -> Message:
        """The body, once; after that what the server says, which is that the caller left."""
        if self._body is not None:
            body, self._body = self._body, None
            return {"type": "http.request", "body": body, "more_body": False}
        message = await self._receive()
        self.is_broken = self.is_broken or message["type"] == "http.disconnect"
        return message

    async def send(self, message: Message) -> None:
        """Pass a piece of the answer on; before the last one goes, the call is settled."""
        if message["type"] == "http.response.start":
            self._status = message["status"]
        elif _is_last(message) and not self._is_over:
            await self._settle(_AnsweredError() if self._status >= 400 else None)
        try:
            await self._send(message)
        except OSError:
            self.is_broken = True
            raise

    async def end(self, error: Exception | None) -> None:
        """Close a call whose answer has not come to its end: failed with an error, else nobody knows."""
        if self._is_over:
            return
        if error is not None:
            await self._settle(error)
        else:
            self._call.leave_unknown()

    async def _settle(self, error: Exception | None) -> None:
        self._is_over = True
        await self._call.__aexit__(type(error) if error else None, error, None)


def _is_last(message: Message) -> bool:
    if message["type"] == "http.response.body":
        return not message.get("more_body", False)
    return bool(message["type"] == "http.response.pathsend")
