"""What an action function receives: the lease narrowed to this one call. The only source of authority (DESIGN §1).

Made by the guard when a call is admitted, dead when it settles. Tool code reads it, reports through it, narrows it and
hands it to sub-tools. Python cannot keep a program from its own memory: an object forged there names no open admission,
and the door refuses what is tried with it.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from types import MappingProxyType
from typing import NoReturn, Protocol, cast, runtime_checkable

from leasehold.errors import Denied, InvalidError
from leasehold.guard.open_call import OpenCall
from leasehold.guard.waiting import LoopAnswers, Waiting, wait, wait_async
from leasehold.model import canonical
from leasehold.model.call import ParentCall, check_key
from leasehold.model.canonical import Json
from leasehold.model.decision import Reason, deny
from leasehold.model.effect import Effect
from leasehold.model.grant import Attributes, Grant, Grants, OneOf
from leasehold.model.ids import AdmissionId, LeaseId, RunId
from leasehold.model.lease import Token
from leasehold.model.preview import Preview

__all__ = ["Capability", "LiveCheck", "capability_position", "issue_capability", "sub_call"]

_DATA = frozenset({"bool", "bytes", "dict", "float", "int", "list", "str", "tuple"})
_POSITIONAL = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)


@runtime_checkable
class LiveCheck(Protocol):
    """What a door may offer besides: the authority's own word on whether a call is still open."""

    def submit_check(self, admission_id: AdmissionId) -> Future[None]:
        """The Future raises `Denied` once anything above the call has ended or is held, with the reason for that."""
        ...


class Capability:
    """The authority for one call: who it is for, what it covers, and the way to report what was done with it.

    It cannot be constructed, subclassed, copied or pickled, and its attributes cannot be set.
    """

    __slots__ = ("_grant", "_key", "_opened", "_sub_grants")

    _opened: OpenCall
    _grant: Grant
    _sub_grants: Grants
    _key: str | None

    def __init__(self, *_args: object, **_kwargs: object) -> None:
        raise TypeError("a capability is given by a guard to the function that it admitted; it cannot be constructed")

    def __init_subclass__(cls, **_kwargs: object) -> NoReturn:
        raise TypeError("Capability cannot be subclassed")

    def __setattr__(self, name: str, value: object) -> NoReturn:
        raise TypeError("a capability cannot be changed; narrow() gives a narrower one")

    def __delattr__(self, name: str) -> NoReturn:
        raise TypeError("a capability cannot be changed; narrow() gives a narrower one")

    def __reduce__(self) -> NoReturn:
        raise TypeError("a capability cannot be copied or pickled; it lives and dies with its call")

    def __repr__(self) -> str:
        return f"<Capability {self.action} of {self.run_id} under {self.lease_id}>"

    @property
    def run_id(self) -> RunId:
        """The run on whose behalf the call is made."""
        return self._opened.admission.run_id

    @property
    def tenant(self) -> str:
        """The run's tenant; never from arguments (requirement P6)."""
        return self._opened.admission.tenant

    @property
    def environment(self) -> str:
        """The run's environment; never from arguments (requirement P6)."""
        return self._opened.admission.environment

    @property
    def agent(self) -> str:
        """The agent that makes the call."""
        return self._opened.admission.agent

    @property
    def requested_by(self) -> str:
        """The person whose run it is."""
        return self._opened.admission.requested_by

    @property
    def action(self) -> str:
        """The full name of the admitted action."""
        return self._opened.admission.action

    @property
    def effect(self) -> Effect:
        """What kind of change the operator declared the action to make."""
        return self._opened.admission.effect

    @property
    def lease_id(self) -> LeaseId:
        """The lease that the call was admitted under."""
        return self._opened.admission.lease_id

    @property
    def admission_id(self) -> AdmissionId:
        """The admission, by which the ledger knows the call."""
        return self._opened.admission.admission_id

    @property
    def key(self) -> str | None:
        """The idempotency key that the call was admitted with."""
        return self._opened.admission.key

    @property
    def attributes(self) -> Attributes:
        """The values that each attribute of the action may take: those of this call, or fewer after `narrow`."""
        constraints = self._grant.attributes.items()
        return MappingProxyType({name: entry.values for name, entry in constraints if isinstance(entry, OneOf)})

    @property
    def arguments(self) -> dict[str, Json]:
        """The arguments as they were decided on, read anew from their canonical bytes at each access."""
        return cast("dict[str, Json]", canonical.decode(self._opened.arguments))

    @property
    def seen(self) -> Preview | None:
        """What people saw and approved of this call, as the preview said it a moment ago; None if nobody had to.

        Its `state` is what a conditional write compares with, so that nothing can move in that moment either.
        """
        return self._opened.seen

    def narrow(self, /, *actions: str, **attributes: object) -> Capability:
        """Return a capability that covers less: fewer sub-actions, tighter attributes; never more.

        `actions` are the sub-actions that stay usable (all, where none is named). `attributes` tighten each grant that
        has them: a value, a list of values, or a table such as `{"max": 3}`.

        Raises:
            InvalidError: an action or attribute is not in it, or would become wider.
        """
        missing = sorted(set(actions) - self._sub_grants.keys() - {self.action})
        if missing:
            raise InvalidError(f"{missing[0]} is not in this capability; it holds {self._held()}")
        grants = [self._grant, *self._sub_grants.values()]
        unknown = sorted(name for name in attributes if not any(name in grant.attributes for grant in grants))
        if unknown:
            raise InvalidError(f"no action of this capability has an attribute {unknown[0]!r}")
        kept = {name: grant for name, grant in self._sub_grants.items() if not actions or name in actions}
        return _make(
            self._opened,
            _narrowed(self._grant, attributes),
            {name: _narrowed(grant, attributes) for name, grant in kept.items()},
            self._key,
        )

    def once(self, key: str) -> Capability:
        """The same capability with an idempotency key for one write that it is handed to (requirement P14).

        Raises:
            InvalidError: the key is none.
        """
        return _make(self._opened, self._grant, self._sub_grants, check_key(key))

    def touched(self, *resources: str) -> None:
        """Report resources that the call read or changed. As every report, it raises `Denied` once the call is over."""
        self._opened.note("touched", resources)

    def file(self, *paths: str) -> None:
        """Report files that the call changed."""
        self._opened.note("files", paths)

    def contacted(self, *systems: str) -> None:
        """Report external systems that the call spoke to."""
        self._opened.note("contacted", systems)

    def spent(self, **amounts: int | str) -> None:
        """Add to the actual cost, by unit: `spent(usd="0.02")`. Whole numbers or decimal strings, never floats.

        Raises:
            InvalidError: an amount is none, or the unit is `calls` or `tool_seconds`, which the guard counts itself.
        """
        self._opened.spend(dict(amounts))

    def no_effect(self) -> None:
        """Give the tool's word that nothing was changed. It counts only if the call then fails."""
        self._opened.report_no_effect()

    def returned(self, result: object) -> None:
        """Record the digest of a result's canonical encoding, never the result. Decorated functions need not."""
        self._opened.returned(result)

    def check(self) -> None:
        """Return while the call is open: by the local clock, and by the authority's word where the door offers it.

        Raises:
            Denied: with `Reason.ENDED` once the call has settled or its time is over; with the reason of what stands
                above it once that has ended or is held.
        """
        wait(self._checking())

    async def check_async(self) -> None:
        """As `check`, the event loop free while the authority is asked."""
        await wait_async(self._checking(), LoopAnswers())

    def _checking(self) -> Waiting[None]:
        self._opened.check()
        door = self._opened.door
        if isinstance(door, LiveCheck):
            yield door.submit_check(self.admission_id)

    def _held(self) -> str:
        return ", ".join(sorted({self.action, *self._sub_grants}))


def _narrowed(grant: Grant, attributes: Mapping[str, object]) -> Grant:
    return grant.narrow({name: value for name, value in attributes.items() if name in grant.attributes})


def _make(opened: OpenCall, grant: Grant, sub_grants: Grants, key: str | None) -> Capability:
    capability = object.__new__(Capability)
    for name, value in (("_opened", opened), ("_grant", grant), ("_sub_grants", dict(sub_grants)), ("_key", key)):
        object.__setattr__(capability, name, value)
    return capability


def issue_capability(opened: OpenCall) -> Capability:
    """The capability of an admitted call. For guards."""
    return _make(opened, opened.admission.grant, opened.admission.sub_grants, None)


def sub_call(capability: Capability, tool: str) -> tuple[Token, ParentCall, str | None]:
    """What a guard presents when it is handed a capability: the token for its tool, the parent link, and the key.

    Raises:
        Denied: the call on whose behalf it would be is over, or does not use this tool.
    """
    opened = capability._opened
    opened.check()
    token = opened.admission.tokens.get(tool)
    if token is None:
        raise Denied(
            deny(
                Reason.NOT_GRANTED,
                f"{capability.action} does not use {tool}, or its lease grants nothing there",
                rule=f"actions.{capability.action}.uses",
                check=f"{tool} in {sorted(opened.admission.tokens)}",
            )
        )
    return token, ParentCall(admission_id=capability.admission_id, allow=dict(capability._sub_grants)), capability._key


def capability_position(function: Callable[..., object]) -> int:
    """Where a function takes the capability: 0, or 1 where `self` stands before it; by annotation, else by position.

    Raises:
        TypeError: it takes none there.
    """
    if isinstance(function, staticmethod | classmethod):
        raise TypeError(
            f"put the guard's decorator below @{type(function).__name__}, so that it sees the function itself"
        )
    parameters = list(inspect.signature(function).parameters.values())
    marked = [index for index, parameter in enumerate(parameters) if _is_capability(parameter.annotation)]
    position = marked[0] if marked else int(bool(parameters) and parameters[0].name in ("self", "cls"))
    found = parameters[position : position + 1]
    if position > 1 or not found or found[0].kind not in _POSITIONAL or _is_data(found[0].annotation):
        raise TypeError(f"{function.__qualname__}() must take the capability as its first parameter, after self")
    return position


def _is_data(annotation: object) -> bool:
    """Whether a parameter is said to be something that arguments are, so that a capability cannot be meant."""
    return (annotation if isinstance(annotation, str) else getattr(annotation, "__name__", "")) in _DATA


def _is_capability(annotation: object) -> bool:
    if isinstance(annotation, str):
        return annotation.strip("\"'").rpartition(".")[2] == Capability.__name__
    return annotation is Capability
