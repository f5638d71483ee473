"""The JSON Schema of what a guarded function takes from a model: everything but the capability. Called by `Toolbox`."""

from __future__ import annotations

import hashlib
from typing import cast

import msgspec

from leasehold.errors import InvalidError
from leasehold.guard.binding import Binding
from leasehold.guard.encoding import Model, to_json
from leasehold.model import canonical
from leasehold.model.canonical import Json

__all__ = ["input_schema", "schema_digest"]

_REFERENCE = "#/$defs/{name}"


def input_schema(binding: Binding) -> dict[str, Json]:
    """Return the schema (2020-12) of a function's arguments as one object that takes nothing unknown.

    Raises:
        InvalidError: two different types of the function's models have the same name.
    """
    annotations = [*binding.types.values(), *([binding.extra_type] if binding.extra else [])]
    schemas, components = msgspec.json.schema_components(
        annotations, schema_hook=_model_schema, ref_template=_REFERENCE
    )
    properties = dict(zip(binding.types, schemas, strict=False))
    for name, default in binding.defaults.items():
        properties[name] = {**properties[name], "default": to_json(default)}
    schema: dict[str, Json] = {
        "type": "object",
        "properties": cast("Json", properties),
        "required": [name for name in binding.types if name not in binding.defaults],
        "additionalProperties": cast("Json", schemas[-1]) if binding.extra else False,
    }
    definitions: dict[str, Json] = {}
    lifted = cast("dict[str, Json]", _lift(schema, definitions))
    for name, component in components.items():
        _define(definitions, name, _lift(cast("Json", component), definitions))
    return lifted | ({"$defs": definitions} if definitions else {})


def schema_digest(binding: Binding, description: str) -> str:
    """`sha256:` and the hex digest of what a function says of itself: people approve a call of this very function.

    Empty where it has no schema; then the arguments alone are bound.
    """
    try:
        said = canonical.encode({"description": description, "input_schema": input_schema(binding)})
    except Exception:  # noqa: BLE001 - a model's schema is made by code of its own, and none is needed to call it
        return ""
    return f"sha256:{hashlib.sha256(said).hexdigest()}"


def _model_schema(owner: type[Model]) -> dict[str, Json]:
    return owner.model_json_schema(ref_template="#/$defs/{model}")


def _lift(schema: Json, definitions: dict[str, Json]) -> Json:
    """The schema without the definitions that models carry inside it; they belong at the top, where references look."""
    if isinstance(schema, list):
        return [_lift(member, definitions) for member in schema]
    if not isinstance(schema, dict):
        return schema
    inner = schema.get("$defs")
    if isinstance(inner, dict):
        for name, definition in inner.items():
            _define(definitions, name, _lift(definition, definitions))
    return {name: _lift(member, definitions) for name, member in schema.items() if name != "$defs"}


def _define(definitions: dict[str, Json], name: str, definition: Json) -> None:
    if definitions.setdefault(name, definition) != definition:
        raise InvalidError(f"two different types are both called {name!r}; rename one, so that a schema can name them")
