"""From a Python call to canonical bytes, and from exactly those bytes to the values that the function runs on.

What is decided on, what is recorded and what runs are one thing: nothing that the caller still holds can change it in
between. Called by `leasehold.guard.functions` for every guarded function and by `Toolbox` for arguments from a model.
"""

from __future__ import annotations

import dataclasses
import inspect
import types
import typing
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

import msgspec

from leasehold.guard.encoding import check_annotation, describe, from_json
from leasehold.model import canonical
from leasehold.model.canonical import Json

__all__ = ["Binding", "CallValues", "bind_function"]

CallValues: TypeAlias = tuple[tuple[object, ...], dict[str, object]]
"""Positional and keyword arguments, as a function takes them."""

_UNFIT = (TypeError, ValueError, OverflowError, RecursionError, msgspec.ValidationError)


@dataclasses.dataclass(frozen=True)
class Binding:
    """What a function takes from its caller, capability and `self` left out.

    `types` are the resolved annotations of the named parameters; `extra` is the name of the `**` parameter, empty if
    there is none, and `extra_type` what its values are annotated as. `left_out` are the names that only the guard
    fills.
    """

    name: str
    signature: inspect.Signature
    types: Mapping[str, object]
    extra: str
    extra_type: object
    left_out: frozenset[str]

    @property
    def defaults(self) -> dict[str, object]:
        """The default values by parameter."""
        parameters = self.signature.parameters
        return {name: parameters[name].default for name in self.types if not _is_required(parameters[name])}

    def encode(self, args: Sequence[object], kwargs: Mapping[str, object]) -> bytes:
        """Return the canonical bytes of a call's arguments, defaults filled in.

        Raises:
            TypeError: they do not fit the signature or the annotations, or have no fixed encoding.
        """
        try:
            bound = self.signature.bind(*args, **kwargs)
        except TypeError as error:
            raise TypeError(f"{self.name}(): {error}") from None
        bound.apply_defaults()
        values = dict(bound.arguments)
        more: dict[str, object] = values.pop(self.extra, {})
        self._refuse(values.keys() & more.keys(), "is given twice")
        self._refuse(more.keys() & self.left_out, "is not the caller's to give")
        members = {name: self.proven(name, value) for name, value in (values | more).items()}
        try:
            return canonical.encode(members)
        except ValueError as error:
            raise TypeError(f"{self.name}(): {error}") from None

    def decode(self, data: bytes) -> CallValues:
        """Return the arguments that bytes made by `encode` stand for, each of its annotated type."""
        return self.read(typing.cast("dict[str, Json]", canonical.decode(data)))

    def read(self, members: Mapping[str, Json]) -> CallValues:
        """Return the arguments that a JSON object stands for, defaults filled in.

        Raises:
            TypeError: a member is unknown, missing, or not of its annotated type; the message says which and why.
        """
        if not self.extra:
            self._refuse(members.keys() - self.types.keys(), "is not one that it takes")
        self._refuse(members.keys() & self.left_out, "is not the caller's to give")
        self._refuse(self.types.keys() - members.keys() - self.defaults.keys(), "is missing")
        values = {name: self._read(name, members[name]) for name in self.types if name in members}
        if self.extra:
            more = members.keys() - self.types.keys()
            values[self.extra] = {name: self._read(name, members[name]) for name in sorted(more)}
        bound = inspect.BoundArguments(self.signature, OrderedDict(values))
        bound.apply_defaults()
        return bound.args, bound.kwargs

    def proven(self, name: str, value: object) -> Json:
        """Return the JSON of one argument, proven to be read back as the same value of the annotated type.

        Raises:
            TypeError: it is not.
        """
        try:
            written, kinds = describe(value)
            data = canonical.encode(written)
            again, kinds_again = describe(from_json(canonical.decode(data), self._type(name)))
            if kinds == kinds_again and canonical.encode(again) == data:
                return written
            reason = f"a value of type {type(value).__name__} is not what it is annotated as"
        except _UNFIT as error:
            reason = str(error)
        raise TypeError(f"{self.name}(): argument {name!r}: {reason}")

    def _read(self, name: str, member: Json) -> object:
        try:
            return from_json(member, self._type(name))
        except (msgspec.ValidationError, TypeError, ValueError) as error:
            raise TypeError(f"{self.name}(): argument {name!r}: {error}") from None

    def _type(self, name: str) -> object:
        return self.types.get(name, self.extra_type)

    def _refuse(self, names: typing.AbstractSet[str], why: str) -> None:
        for name in sorted(names):
            raise TypeError(f"{self.name}(): argument {name!r} {why}")


def bind_function(function: Callable[..., object], *, without: int) -> Binding:
    """Return the binding of a function, its first `without` parameters left out: `self` and the capability.

    Raises:
        TypeError: it takes `*args`, an annotation cannot be resolved or has no fixed encoding, or a default value does
            not fit its annotation.
    """
    name = getattr(function, "__qualname__", type(function).__qualname__).rpartition(".")[2]
    signature = inspect.signature(function)
    all_of_them = list(signature.parameters.values())
    left_out, parameters = all_of_them[:without], all_of_them[without:]
    resolved: dict[str, object] = {}
    extra = ""
    for parameter in parameters:
        if parameter.kind is inspect.Parameter.VAR_POSITIONAL:
            raise TypeError(f"{name}(): *{parameter.name} has no names to decide on; take a list instead")
        resolved[parameter.name] = _annotation(function, name, parameter)
        if parameter.kind is inspect.Parameter.VAR_KEYWORD:
            extra = parameter.name
    extra_type = resolved.pop(extra, Any)
    own_names = frozenset(one.name for one in left_out if one.kind is inspect.Parameter.POSITIONAL_OR_KEYWORD)
    binding = Binding(name, signature.replace(parameters=parameters), resolved, extra, extra_type, own_names)
    for parameter_name, default in binding.defaults.items():
        binding.proven(parameter_name, default)
    return binding


def _annotation(function: Callable[..., object], name: str, parameter: inspect.Parameter) -> object:
    """The resolved annotation of one parameter; a parameter without one takes plain JSON."""
    if parameter.annotation is inspect.Parameter.empty:
        return Any
    holder = types.SimpleNamespace(__annotations__={parameter.name: parameter.annotation})
    names = getattr(inspect.unwrap(function), "__globals__", {})
    try:
        hint = typing.get_type_hints(holder, globalns=names, include_extras=True)[parameter.name]
        check_annotation(hint)
    except (NameError, TypeError) as error:
        raise TypeError(f"{name}(): parameter {parameter.name!r}: {error}") from None
    return hint


def _is_required(parameter: inspect.Parameter) -> bool:
    return parameter.default is inspect.Parameter.empty
