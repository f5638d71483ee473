"""Guarded functions for a loop of raw tool calls: schemas for the model, and its calls carried out under a lease.

Called by agent hosts without a framework; adapters are built on it. The model names a tool and gives arguments as JSON;
it never sees the lease, and nothing it writes reaches a schema.
"""

from __future__ import annotations

import copy
import dataclasses
import inspect
import re
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import cast

from leasehold.errors import Denied, Edited, InvalidError
from leasehold.guard.functions import ATTRIBUTE, ActionFunction
from leasehold.guard.permit import claim_of
from leasehold.guard.schema import input_schema
from leasehold.model import canonical
from leasehold.model.canonical import Json
from leasehold.model.decision import Reason, deny
from leasehold.model.grant import split_action
from leasehold.model.lease import HeldLease
from leasehold.model.text import visible

__all__ = ["Toolbox"]

_MAX_TOOL_NAME = 64


@dataclasses.dataclass(frozen=True)
class _Tool:
    """One guarded function under the name that a model knows it by; `before` is the object of a bound method."""

    action: ActionFunction
    before: tuple[object, ...]
    schema: dict[str, Json]


class Toolbox:
    """A lease and the guarded functions that may be called under it.

    A model knows a tool by its full action name with `_` for every character that providers refuse: `ticket_close`.

    Raises:
        InvalidError: a function is not guarded, or two have the same name for a model, or a name is too long.
    """

    def __init__(self, lease: HeldLease, functions: Iterable[Callable[..., object]]) -> None:
        self._lease = lease
        self._edited: dict[tuple[str, bytes], str] = {}  # the key of each call that people edited, by what it is now
        self._tools: dict[str, _Tool] = {}
        for function in functions:
            tool = _tool(function)
            name = cast("str", tool.schema["name"])
            if name in self._tools:
                raise InvalidError(f"{self._tools[name].action.action} and {tool.action.action} are both called {name}")
            self._tools[name] = tool

    def schemas(self) -> list[dict[str, Json]]:
        """The tools that the lease names, each with `name`, `description` and `input_schema` (JSON Schema 2020-12).

        A tool that is not shown may still be called; the door then refuses it, and the ledger says so.
        """
        return [
            copy.deepcopy(tool.schema) for tool in self._tools.values() if tool.action.action in self._lease.lease.allow
        ]

    def call(
        self, name: str, arguments_json: str | Mapping[str, object], call_id: str, *, key: str | None = None
    ) -> object:
        """Carry out one call that a model asked for, and return what the function returns.

        Of a coroutine function that is an awaitable, of a generator a generator. `call_id` is the provider's id of the
        tool call; unless `key` is given, the idempotency key is made of it, so that the same tool call, handled twice,
        writes once. Where people edited the call, `Edited` says so in words for the model; made as it is now, under
        whatever `call_id`, it is the call that they edited it to.

        Raises:
            InvalidError: the arguments are not one strict JSON object, or do not fit the function.
            Denied: there is no such tool, or the call was refused.
        """
        tool = self._tools.get(name)
        if tool is None:
            shown = visible(name[:80])
            raise Denied(
                deny(
                    Reason.UNKNOWN_ACTION,
                    f"there is no tool {shown!r}",
                    check=f"one of {', '.join(sorted(self._tools))}",
                )
            )
        binding = tool.action.binding
        try:
            arguments = binding.encode(*binding.read(_read_object(arguments_json)))
        except TypeError as error:
            raise InvalidError(str(error)) from None
        if not call_id:
            raise InvalidError("the provider's id of the tool call is needed; a repeat is known by it")
        key = self._edited.get((name, arguments), f"{name}:{call_id}") if key is None else key
        claim = claim_of(self._lease.once(key), split_action(tool.action.action)[0])
        claim = dataclasses.replace(claim, call_id=call_id)
        try:
            answer = tool.action.run(claim, tool.before, arguments)
        except Edited as edited:
            self._remember(name, edited, key)
            raise
        return self._noticing(name, answer, key) if inspect.isawaitable(answer) else answer

    async def _noticing(self, name: str, answer: Awaitable[object], key: str) -> object:
        """An awaited call, with the same memory of what people made of it."""
        try:
            return await answer
        except Edited as edited:
            self._remember(name, edited, key)
            raise

    def _remember(self, name: str, edited: Edited, key: str) -> None:
        """The same call stays the same call: it keeps its key when the model makes it as people edited it."""
        if edited.arguments is not None:
            self._edited[name, canonical.encode(edited.arguments)] = key


def _tool(function: Callable[..., object]) -> _Tool:
    action = getattr(function, ATTRIBUTE, None)
    if not isinstance(action, ActionFunction):
        raise InvalidError(f"{function!r} is not guarded; decorate it with @guard.action or use guard.wrap")
    before = (getattr(function, "__self__", None),) if action.before else ()
    if before == (None,):
        raise InvalidError(f"{action.action} is a method; give the bound one, such as tickets.close")
    name = re.sub(r"[^A-Za-z0-9_-]", "_", action.action)
    if len(name) > _MAX_TOOL_NAME:
        raise InvalidError(f"{action.action} is too long for a model: {_MAX_TOOL_NAME} characters are allowed")
    schema: dict[str, Json] = {
        "name": name,
        "description": action.description,
        "input_schema": input_schema(action.binding),
    }
    return _Tool(action, before, schema)


def _read_object(arguments: str | Mapping[str, object]) -> Mapping[str, Json]:
    """The members of strict JSON text, or of a mapping that is written and read back as one.

    Raises:
        InvalidError: it is no object, or two readers could take it differently.
    """
    try:
        data = arguments.encode() if isinstance(arguments, str) else canonical.encode(dict(arguments))
    except UnicodeEncodeError:
        raise InvalidError("these arguments hold a lone surrogate") from None
    members = canonical.decode(data)
    if not isinstance(members, dict):
        raise InvalidError("the arguments of a tool are one JSON object")
    return members
