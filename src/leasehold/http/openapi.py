"""The OpenAPI 3.1 document of the API, made from the table of endpoints and the very types that validate.

Served at `/v1/openapi.json` and kept in docs/openapi.json; a test holds the two together.
"""

from __future__ import annotations

import inspect
import json
import sys
from collections.abc import Mapping
from importlib.metadata import version
from typing import Any

import msgspec

from leasehold.model.api import EventLine
from leasehold.model.endpoints import ENDPOINTS, ApiScope, Endpoint
from leasehold.model.problem import PROBLEM_MEDIA_TYPE, STATUSES, Problem, status_of

__all__ = ["openapi_document"]

_REFS = "#/components/schemas/{name}"
_COMMON = ("invalid", "unauthenticated", "denied", "not_found", "unavailable")
_OF_BODIES = ("too_large", "unsupported_media_type")
_SECURITY: Mapping[ApiScope, str] = {ApiScope.RUNS: "client", ApiScope.DOOR: "client", ApiScope.DESK: "person"}


def openapi_document() -> bytes:
    """The document as JSON, the same bytes each time."""
    shapes = dict.fromkeys(
        shape for each in ENDPOINTS.values() for shape in (each.body, each.answer, each.query) if shape is not None
    )
    types = [*shapes, Problem]
    schemas, components = msgspec.json.schema_components(types, ref_template=_REFS)
    for described in (each for each in components.values() if "description" in each):
        # They are docstrings, whose lines Python leaves indented as in the source before 3.13.
        described["description"] = inspect.cleandoc(described["description"])
    named = dict(zip(types, schemas, strict=True))
    paths: dict[str, dict[str, Any]] = {}
    for each in ENDPOINTS.values():
        paths.setdefault(each.path, {})[each.method.lower()] = _operation(each, named, components)
    document = {
        "openapi": "3.1.0",
        "jsonSchemaDialect": "https://spec.openapis.org/oas/3.1/dialect/base",
        "info": {
            "title": "Leasehold",
            "version": version("leasehold"),
            "summary": "Capability leases for AI agents: Runs for agent hosts, Door for guards, Desk for people.",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": "/"}],
        "paths": paths,
        "components": {"schemas": components, "securitySchemes": _schemes()},
    }
    return json.dumps(document, indent=1, sort_keys=True, ensure_ascii=False).encode() + b"\n"


def _schemes() -> dict[str, Any]:
    return {
        "client": {
            "type": "http",
            "scheme": "bearer",
            "description": "An API key `lhk_...` of a client of the policy, or a token of an issuer that it trusts.",
        },
        "person": {
            "type": "http",
            "scheme": "bearer",
            "bearerFormat": "leasehold-person+jwt",
            "description": "A JWT that the person's own key signed for exactly this request; it counts once.",
        },
    }


def _operation(each: Endpoint, named: Mapping[Any, Any], components: Mapping[str, Any]) -> dict[str, Any]:
    operation: dict[str, Any] = {
        "operationId": str(each.name),
        "summary": each.summary,
        "tags": [str(scope) for scope in each.scopes],
        "security": [{name: []} for name in dict.fromkeys(_SECURITY[scope] for scope in each.scopes)],
        "parameters": [*_path_parameters(each), *_query_parameters(each, named, components), *_headers(each)],
        "responses": {"200": _success(each, named), **_problems(each)},
    }
    if each.body is not None:
        operation["requestBody"] = {"required": True, "content": {"application/json": {"schema": named[each.body]}}}
    return operation


def _path_parameters(each: Endpoint) -> list[dict[str, Any]]:
    names = [segment[1:-1] for segment in each.path.split("/") if segment.startswith("{")]
    return [{"name": name, "in": "path", "required": True, "schema": {"type": "string"}} for name in names]


def _query_parameters(each: Endpoint, named: Mapping[Any, Any], components: Mapping[str, Any]) -> list[dict[str, Any]]:
    if each.query is None:
        return []
    schema = components[named[each.query]["$ref"].rpartition("/")[2]]
    return [{"name": name, "in": "query", "schema": part} for name, part in schema["properties"].items()]


def _headers(each: Endpoint) -> list[dict[str, Any]]:
    if not each.is_keyed:
        return []
    schema = {"type": "string", "pattern": "^[!-~]{1,200}$"}
    words = "The caller's own random name for this request; the same key and body answer the same again."
    return [{"name": "Idempotency-Key", "in": "header", "required": True, "schema": schema, "description": words}]


def _success(each: Endpoint, named: Mapping[Any, Any]) -> dict[str, Any]:
    if each.is_stream:
        words = f"Server-sent events; the data of each is JSON, {EventLine.__name__}."
        return {"description": words, "content": {"text/event-stream": {"schema": {"type": "string"}}}}
    return {"description": each.summary, "content": {"application/json": {"schema": named[each.answer]}}}


def _problems(each: Endpoint) -> dict[str, Any]:
    """Each status once, with the codes that may come under it."""
    codes: dict[int, list[str]] = {}
    for code in (*_COMMON, *(_OF_BODIES if each.body is not None else ()), *(["conflict"] if each.is_keyed else [])):
        codes.setdefault(STATUSES[code][0], []).append(code)
    for reason in each.reasons:
        codes.setdefault(status_of(reason), []).append(str(reason))
    if each.is_stream or (each.query is not None and "wait" in each.query.__struct_fields__):
        codes.setdefault(STATUSES["too_many"][0], []).append("too_many")
    content = {PROBLEM_MEDIA_TYPE: {"schema": {"$ref": _REFS.format(name=Problem.__name__)}}}
    return {
        str(status): {"description": ", ".join(dict.fromkeys(found)), "content": content}
        for status, found in sorted(codes.items())
    }


if __name__ == "__main__":
    sys.stdout.buffer.write(openapi_document())
