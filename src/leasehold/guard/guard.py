"""The guard of one tool in one environment: three rungs on one door (DESIGN §9).

Rung one is the door itself (`authority.door(tool, environment)`). Rung two is `with guard.call(...)`, rung three
`@guard.action(...)`. Tenant and environment are never taken from arguments: the environment is fixed here, the tenant
comes with the run.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from functools import partial
from typing import Concatenate, ParamSpec, Protocol, TypeVar, cast, overload

from leasehold.errors import InvalidError
from leasehold.guard.call import GuardedCall
from leasehold.guard.cancelling import LiveWatch
from leasehold.guard.capability import Capability
from leasehold.guard.encoding import to_json
from leasehold.guard.functions import guard_function, wrap_function
from leasehold.guard.permit import Claim, Permit, claim_of
from leasehold.guard.previewing import PreviewFunction, preview_function
from leasehold.guard.waiting import LoopAnswers
from leasehold.model import canonical
from leasehold.model.call import Call
from leasehold.model.grant import check_action
from leasehold.model.protocols import Door

__all__ = ["Decorator", "Doors", "Guard"]

P = ParamSpec("P")
R_co = TypeVar("R_co", covariant=True)
S = TypeVar("S")
F = TypeVar("F", bound=Callable[..., object])


class Doors(Protocol):
    """Whoever hands out doors: an embedded authority, or a client of one."""

    def door(self, tool: str, environment: str) -> Door:
        """The door of one tool in one environment."""
        ...


class Decorator(Protocol):
    """Turns a function of (capability, ...) into one of (lease, ...); of a method, the parameter after `self`."""

    @overload
    def __call__(  # type: ignore[overload-overlap]  # a method whose self is itself a capability is none
        self, function: Callable[Concatenate[Capability, P], R_co], /
    ) -> Callable[Concatenate[Permit, P], R_co]: ...

    @overload
    def __call__(
        self, function: Callable[Concatenate[S, Capability, P], R_co], /
    ) -> Callable[Concatenate[S, Permit, P], R_co]: ...


class Guard:
    """Stands at one tool: binds arguments, asks to be admitted, runs, settles. Safe to share between threads and tasks.

    `authority` is anything with `door(tool, environment)`.
    """

    def __init__(self, tool: str, authority: Doors, *, environment: str) -> None:
        self._tool = tool
        self._environment = environment
        self._door = authority.door(tool, environment)
        self._answers = LoopAnswers()
        self._previews: dict[str, PreviewFunction] = {}  # filled while the tool's module is loaded

    @property
    def tool(self) -> str:
        """The tool's id."""
        return self._tool

    @property
    def environment(self) -> str:
        """The one environment that the tool serves."""
        return self._environment

    def action(self, verb: str, *, cancel: bool = False) -> Decorator:
        """Decorate the function that carries out `verb`; it is admitted each time it is called.

        The first parameter after `self` receives the capability; callers pass a lease, `lease.once(key)`, a token, or
        their own capability in its place. It may be a function, a coroutine function, a generator or a method.

        With `cancel` a coroutine function is cancelled while it runs, as soon as its lease or anything above it has
        ended: revoked, expired, finished, a newer attempt. Its caller gets `Denied` with `Reason.ENDED`, and the call
        is settled as failed. A hold cancels nothing; a function that catches the cancellation and returns is done.
        Nothing can cancel a function that is not async: let it call `capability.check()` between its steps.

        Raises:
            InvalidError: the verb has a dot or is no name, or the door cannot tell when a call has ended.
            TypeError: the function takes no capability, takes `*args`, cannot be cancelled, or an annotation has no
                fixed encoding.
        """
        action = self._action(verb)
        watch = self._watch(action) if cancel else None

        def decorate(function: Callable[..., object]) -> Callable[..., object]:
            return guard_function(action, function, partial(self._open, action), watch=watch)

        return cast("Decorator", decorate)

    def preview(self, verb: str) -> Callable[[F], F]:
        """Decorate the function that says what a call of `verb` would change; it is returned as it is.

        It takes what the action function takes, capability first, and answers a `Preview`. Where the policy declares
        the action's `preview`, it is run, admitted and charged as that read, before people are asked and again before
        the call starts. An async one can preview async calls only.

        Raises:
            InvalidError: the verb is no name, or has a preview already.
            TypeError: the function takes no capability, takes `*args`, or an annotation has no fixed encoding.
        """
        action = self._action(verb)
        if action in self._previews:
            raise InvalidError(f"{action} has a preview already")

        def decorate(function: F) -> F:
            self._previews[action] = preview_function(function)
            return function

        return decorate

    def wrap(self, verb: str, function: Callable[P, R_co]) -> Callable[Concatenate[Permit, P], R_co]:
        """Return `function`, which cannot take a capability, guarded as `verb`; the lease comes before its arguments.

        The ledger and the receipt say of each of its calls that the tool holds its own authority.

        Raises:
            InvalidError, TypeError: as `action`.
        """
        action = self._action(verb)
        guarded = wrap_function(action, function, partial(self._open, action, tool_authority=True))
        return cast("Callable[Concatenate[Permit, P], R_co]", guarded)

    def call(
        self,
        permit: Permit,
        verb: str,
        arguments: Mapping[str, object],
        *,
        key: str | None = None,
        call_id: str = "",
        trace_id: str = "",
    ) -> GuardedCall:
        """Return one guarded call, for `with` or `async with`; inside stands the capability. For adapters and relays.

        Run the tool on `capability.arguments`, which is what was decided on. `key` goes before a key of the permit.

        Raises:
            TypeError: an argument has no fixed encoding, or the permit is none.
            InvalidError: a key or id is none.
            Denied: the permit holds nothing for this tool.
        """
        action = self._action(verb)
        try:
            encoded = canonical.encode(to_json(dict(arguments)))
        except (InvalidError, RecursionError) as error:
            raise TypeError(f"{action}: {error}") from None
        claim = claim_of(permit, self._tool)
        claim = dataclasses.replace(claim, key=claim.key if key is None else key, call_id=call_id)
        return self._open(action, claim, (), encoded, trace_id=trace_id)

    def _open(
        self,
        action: str,
        claim: Claim,
        before: tuple[object, ...],
        arguments: bytes,
        schema: str = "",
        *,
        trace_id: str = "",
        tool_authority: bool = False,
    ) -> GuardedCall:
        call = Call(
            action=action,
            arguments=arguments,
            admission_id=self._door.new_admission_id(),
            key=claim.key,
            call_id=claim.call_id,
            trace_id=trace_id,
            parent=claim.parent,
            tool_authority=tool_authority,
            tool_schema=schema,
            holder_proof=claim.proof,
        )
        return GuardedCall(self._door, self._answers, claim.token, call, self._previews.get(action), before)

    def _watch(self, action: str) -> LiveWatch:
        if isinstance(self._door, LiveWatch):
            return self._door
        raise InvalidError(f"this door cannot tell when a call has ended, so {action} cannot be cancelled")

    def _action(self, verb: str) -> str:
        if "." in verb:
            raise InvalidError(f"a verb has no dot; {verb!r} is not one action of the tool {self._tool}")
        return check_action(f"{self._tool}.{verb}")
