"""The third rung: a function that is admitted each time it is called. Made by `Guard.action` and `Guard.wrap`.

A guarded function takes a permit where its original takes the capability (or, wrapped, before everything else). Wrong
arguments are a TypeError before anybody is asked. Generators are admitted at their first `next` and settled when they
are exhausted, closed or dropped; a generator left early settles as failed with `GeneratorExit`.
"""

from __future__ import annotations

import dataclasses
import inspect
import itertools
import types
from collections.abc import AsyncGenerator, Callable, Generator, Iterator
from typing import Any, TypeAlias

from leasehold.guard.binding import Binding, bind_function
from leasehold.guard.call import GuardedCall
from leasehold.guard.cancelling import CancelWhenEnded, LiveWatch
from leasehold.guard.capability import Capability, capability_position
from leasehold.guard.permit import Claim, Permit, claim_of
from leasehold.guard.schema import schema_digest
from leasehold.model.grant import split_action

__all__ = ["ATTRIBUTE", "ActionFunction", "Invocation", "OpenCalls", "Run", "guard_function", "wrap_function"]

ATTRIBUTE = "__leasehold_action__"

OpenCalls: TypeAlias = Callable[[Claim, tuple[object, ...], bytes, str], GuardedCall]
"""Makes the guarded call of one action: claim, the values before the permit, canonical arguments, schema digest."""

_Open: TypeAlias = Callable[[Claim, tuple[object, ...], bytes], GuardedCall]

Run: TypeAlias = Callable[[Claim, tuple[object, ...], bytes], Any]
"""Runs one guarded function: claim, the values before the permit, canonical arguments."""


@dataclasses.dataclass(frozen=True)
class Invocation:
    """How the original function is run on decoded arguments."""

    function: Callable[..., Any]
    binding: Binding
    takes_capability: bool
    watch: LiveWatch | None = None

    def __call__(self, capability: Capability, before: tuple[object, ...], arguments: bytes) -> Any:
        """Run it on the values decoded from exactly these bytes."""
        args, kwargs = self.binding.decode(arguments)
        given = (*before, capability) if self.takes_capability else before
        return self.function(*given, *args, **kwargs)


@dataclasses.dataclass(frozen=True)
class ActionFunction:
    """What a guarded function says of itself: its action, its description, how to bind and how to run it.

    `before` counts what stands before the permit: 1 for a method, else 0. `run` takes a claim, the values before the
    permit, and canonical arguments, and answers what the function answers.
    """

    action: str
    description: str
    binding: Binding
    before: int
    run: Run


def guard_function(
    action: str, function: Callable[..., object], open_calls: OpenCalls, *, watch: LiveWatch | None = None
) -> Callable[..., object]:
    """Return the guarded form of a function whose first parameter, after `self`, is the capability.

    With `watch` it is cancelled when its lease or anything above it has ended.

    Raises:
        TypeError: it has no such parameter, its other parameters cannot be bound, or it cannot be cancelled.
    """
    if watch is not None and not inspect.iscoroutinefunction(function):
        raise TypeError(
            f"{action}: only an async function that is no generator can be cancelled; leave cancel out, and call "
            "capability.check() between its steps"
        )
    before = capability_position(function)
    binding = bind_function(function, without=before + 1)
    invoke = Invocation(function, binding, takes_capability=True, watch=watch)
    return _guarded(action, invoke, before, open_calls)


def wrap_function(action: str, function: Callable[..., object], open_calls: OpenCalls) -> Callable[..., object]:
    """Return the guarded form of a function that takes no capability: the permit comes before its own parameters.

    Raises:
        TypeError: its parameters cannot be bound.
    """
    binding = bind_function(function, without=0)
    return _guarded(action, Invocation(function, binding, takes_capability=False), 0, open_calls)


def _guarded(action: str, invoke: Invocation, before: int, open_calls: OpenCalls) -> Callable[..., object]:
    tool, name = split_action(action)[0], invoke.binding.name
    description = inspect.getdoc(invoke.function) or ""
    schema = schema_digest(invoke.binding, description)
    run = _runner(invoke)(invoke, lambda claim, above, arguments: open_calls(claim, above, arguments, schema))

    def begin(args: tuple[object, ...], kwargs: dict[str, object]) -> Any:
        if len(args) <= before:
            raise TypeError(f"{name}() needs a lease first: {name}(lease, ...) or {name}(lease.once(key), ...)")
        arguments = invoke.binding.encode(args[before + 1 :], kwargs)
        return run(claim_of(args[before], tool), args[:before], arguments)

    async def guarded_async(*args: object, **kwargs: object) -> object:
        return await begin(args, kwargs)

    def guarded(*args: object, **kwargs: object) -> object:
        return begin(args, kwargs)

    outside = guarded_async if inspect.iscoroutinefunction(invoke.function) else guarded
    described = ActionFunction(action, description, invoke.binding, before, run)
    _dress(outside, invoke, described)
    return outside


def _dress(outside: Callable[..., object], invoke: Invocation, described: ActionFunction) -> None:
    """Give it the original's name, text and signature, a permit in the capability's place; not the original."""
    for name in ("__module__", "__name__", "__qualname__", "__doc__"):
        if hasattr(invoke.function, name):
            setattr(outside, name, getattr(invoke.function, name))
    own = list(inspect.signature(invoke.function).parameters.values())
    above = [parameter.replace(kind=inspect.Parameter.POSITIONAL_ONLY) for parameter in own[: described.before]]
    taken = {parameter.name for parameter in own}
    name = own[described.before].name if invoke.takes_capability else next(n for n in _lease_names() if n not in taken)
    permit = inspect.Parameter(name, inspect.Parameter.POSITIONAL_ONLY, annotation=Permit)
    signature = invoke.binding.signature
    signature = signature.replace(parameters=[*above, permit, *signature.parameters.values()])
    setattr(outside, "__signature__", signature)  # noqa: B010 - PEP 362 names it; functions do not declare it
    setattr(outside, ATTRIBUTE, described)


def _lease_names() -> Iterator[str]:
    return ("lease" + "_" * count for count in itertools.count())


def _runner(invoke: Invocation) -> Callable[[Invocation, _Open], Run]:
    if inspect.isasyncgenfunction(invoke.function):
        return _run_async_generator
    if inspect.isgeneratorfunction(invoke.function):
        return _run_generator
    if inspect.iscoroutinefunction(invoke.function):
        return _run_coroutine
    return _run_plain


def _run_plain(invoke: Invocation, open_call: _Open) -> Run:
    def run(claim: Claim, before: tuple[object, ...], arguments: bytes) -> object:
        with open_call(claim, before, arguments) as capability:
            return _finished(capability, invoke(capability, before, arguments))

    return run


def _run_coroutine(invoke: Invocation, open_call: _Open) -> Run:
    async def run(claim: Claim, before: tuple[object, ...], arguments: bytes) -> object:
        async with open_call(claim, before, arguments) as capability:
            return _finished(capability, await _carried_out(invoke, capability, before, arguments))

    return run


async def _carried_out(
    invoke: Invocation, capability: Capability, before: tuple[object, ...], arguments: bytes
) -> object:
    if invoke.watch is None:
        return await invoke(capability, before, arguments)
    async with CancelWhenEnded(invoke.watch, capability.admission_id, capability.action):
        return await invoke(capability, before, arguments)


def _run_generator(invoke: Invocation, open_call: _Open) -> Run:
    def run(claim: Claim, before: tuple[object, ...], arguments: bytes) -> Generator[object, object, object]:
        with open_call(claim, before, arguments) as capability:
            return (yield from invoke(capability, before, arguments))

    return run


def _run_async_generator(invoke: Invocation, open_call: _Open) -> Run:
    async def run(claim: Claim, before: tuple[object, ...], arguments: bytes) -> AsyncGenerator[object, object]:
        async with open_call(claim, before, arguments) as capability:
            inner = invoke(capability, before, arguments)
            try:
                step = inner.__anext__()
                while True:
                    try:
                        value = await step
                    except StopAsyncIteration:
                        return
                    try:
                        sent = yield value
                    except GeneratorExit:
                        raise
                    except BaseException as error:  # noqa: BLE001 - thrown in by the consumer; the inner one gets it
                        step = inner.athrow(error)
                    else:
                        step = inner.asend(sent)
            finally:
                await inner.aclose()

    return run


def _finished(capability: Capability, result: object) -> object:
    """The result, its digest recorded. Work that is only promised would run outside its admission.

    Raises:
        TypeError: the result is an awaitable or a generator that has not run.
    """
    if inspect.isawaitable(result) or inspect.isgenerator(result) or inspect.isasyncgen(result):
        if isinstance(result, types.CoroutineType | types.GeneratorType):
            result.close()
        raise TypeError(f"{capability.action} returned a {type(result).__name__} that would run after the call is over")
    capability.returned(result)
    return result
