"""What AuthZEN says over the wire (Authorization API 1.0), typed. Pure; called by the handlers.

Members that nobody knows are ignored, as the specification wants; those that are known are of their type. A batch's
members stand in for those that its items leave out.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Annotated, Any, TypeAlias, TypeVar

import msgspec

from leasehold.errors import InvalidError
from leasehold.model import canonical

__all__ = ["MAX_ITEMS", "AccessRequest", "Action", "Batch", "Entity", "Evaluation", "Semantic", "convert", "read_body"]

MAX_ITEMS = 100

_Name = Annotated[str, msgspec.Meta(min_length=1, max_length=2048)]
_Object: TypeAlias = dict[str, Any]


class Entity(msgspec.Struct, frozen=True, kw_only=True):
    """A subject or a resource."""

    type: _Name
    id: _Name
    properties: _Object = {}


class Action(msgspec.Struct, frozen=True, kw_only=True):
    """What is to be done."""

    name: _Name
    properties: _Object = {}


class Evaluation(msgspec.Struct, frozen=True, kw_only=True):
    """One question."""

    subject: Entity
    action: Action
    resource: Entity
    context: _Object = {}


class Denial(msgspec.Struct, frozen=True, kw_only=True):
    """What a refusal said that people can lift; handed back as it came."""

    binding_token: str


class AccessRequest(Evaluation, frozen=True, kw_only=True):
    """A question that people are to be asked about."""

    denial: Denial


class Semantic(StrEnum):
    """When a batch stops."""

    EXECUTE_ALL = "execute_all"
    DENY_ON_FIRST_DENY = "deny_on_first_deny"
    PERMIT_ON_FIRST_PERMIT = "permit_on_first_permit"


class _Options(msgspec.Struct, frozen=True, kw_only=True):
    evaluations_semantic: Semantic = Semantic.EXECUTE_ALL


class Batch(msgspec.Struct, frozen=True, kw_only=True):
    """Several questions, each complete."""

    items: tuple[Evaluation, ...]
    semantic: Semantic
    is_single: bool

    @classmethod
    def read(cls, body: Mapping[str, canonical.Json]) -> Batch:
        """The questions of a body; one without `evaluations` is one question.

        Raises:
            InvalidError: one is not complete, or there are too many.
        """
        options = convert(body.get("options", {}), _Options)
        listed = body.get("evaluations")
        if listed is None or listed == []:
            return cls(items=(convert(body, Evaluation),), semantic=options.evaluations_semantic, is_single=True)
        if not isinstance(listed, list) or len(listed) > MAX_ITEMS:
            raise InvalidError(f"evaluations is a list of at most {MAX_ITEMS}")
        usual = {name: body[name] for name in ("subject", "action", "resource", "context") if name in body}
        items = tuple(convert(usual | item if isinstance(item, dict) else item, Evaluation) for item in listed)
        return cls(items=items, semantic=options.evaluations_semantic, is_single=False)


canonical.prepare(Evaluation, AccessRequest, _Options)

_Shape = TypeVar("_Shape", bound=msgspec.Struct)


def convert(value: object, shape: type[_Shape]) -> _Shape:
    """The value as one of these documents.

    Raises:
        InvalidError: it is none.
    """
    try:
        return msgspec.convert(value, shape)
    except msgspec.ValidationError as error:
        raise InvalidError(f"this is no such request: {error}") from None


def read_body(body: bytes) -> dict[str, canonical.Json]:
    """The JSON object of a body.

    Raises:
        InvalidError: it is none, or two readers could take it differently.
    """
    found = canonical.decode(body)
    if not isinstance(found, dict):
        raise InvalidError("a request is a JSON object")
    return found
