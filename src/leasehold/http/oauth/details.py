"""What a client asks for, read from `scope` and `authorization_details` (RFC 9396). Pure; called by the token endpoint.

A detail of the type of grants is one grant, exactly as tokens carry it; at most one detail says for which run. A scope
can name a route and nothing else: then everything that the route offers is asked for.
"""

from __future__ import annotations

from typing import Annotated, TypeVar

import msgspec

from leasehold.errors import InvalidError
from leasehold.http.oauth import metadata
from leasehold.http.oauth.answers import OAuthError
from leasehold.http.oauth.params import Params
from leasehold.model import canonical
from leasehold.token import codec

__all__ = ["Asked", "RunAsked", "read_asked", "scope_of"]

_SCOPE = "lease:"
_Name = Annotated[str, msgspec.Meta(max_length=200)]
_Words = Annotated[str, msgspec.Meta(max_length=2000)]


class RunAsked(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """For whom and where. What is left out is what the client may start, where that is one thing."""

    type: str = metadata.RUN_TYPE
    route: _Name = ""
    agent: _Name = ""
    tenant: _Name = ""
    environment: _Name = ""
    requested_by: _Name = ""
    purpose: _Words = ""
    reason: _Words = ""
    ttl_seconds: Annotated[int, msgspec.Meta(ge=0, le=900)] = 0


class _Grant(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    type: str
    actions: tuple[_Name]
    constraints: dict[str, list[str | int | bool] | dict[str, str | int]] = {}


class Asked(msgspec.Struct, frozen=True, kw_only=True):
    """What a client asks for. `allow` is None where it asks for all that the route offers."""

    run: RunAsked
    allow: dict[str, dict[str, object]] | None


canonical.prepare(RunAsked, _Grant)

_Detail = TypeVar("_Detail", RunAsked, _Grant)


def read_asked(params: Params) -> Asked:
    """What the parameters ask for.

    Raises:
        OAuthError: a detail is of an unknown type or shape, two say the same, or the scope names no route.
    """
    run: RunAsked | None = None
    allow: dict[str, dict[str, object]] = {}
    for detail in _details(params.get("authorization_details")):
        match detail.get("type"):
            case metadata.RUN_TYPE if run is None:
                run = _convert(detail, RunAsked)
            case codec.GRANT_TYPE:
                grant = _convert(detail, _Grant)
                (action,) = grant.actions
                if action in allow:
                    raise _refused(f"{action} stands in two details")
                allow[action] = dict(grant.constraints)
            case _:
                raise _refused(f"the types of details are {codec.GRANT_TYPE} and, once, {metadata.RUN_TYPE}")
    return Asked(run=_on_route(run or RunAsked(), params.get("scope")), allow=allow or None)


def scope_of(route: str) -> str:
    """The scope that stands for a route."""
    return _SCOPE + route


def _on_route(run: RunAsked, scope: str) -> RunAsked:
    if not scope:
        return run
    route = scope.removeprefix(_SCOPE)
    if not scope.startswith(_SCOPE) or not route or " " in scope:
        raise OAuthError("invalid_scope", "a scope is lease: and the name of one route")
    if run.route not in ("", route):
        raise OAuthError("invalid_scope", f"the scope names another route than the detail: {route}, {run.route}")
    return msgspec.structs.replace(run, route=route)


def _details(text: str) -> list[dict[str, canonical.Json]]:
    if not text:
        return []
    try:
        found = canonical.decode(text.encode())
    except (InvalidError, UnicodeEncodeError) as error:
        raise _refused(f"authorization_details cannot be read: {error}") from None
    if not isinstance(found, list) or not found or len(found) > 64:
        raise _refused("authorization_details is a list of 1 to 64 objects")
    details = [detail for detail in found if isinstance(detail, dict)]
    if len(details) != len(found):
        raise _refused("authorization_details is a list of objects")
    return details


def _convert(detail: dict[str, canonical.Json], shape: type[_Detail]) -> _Detail:
    try:
        return msgspec.convert(detail, shape)
    except msgspec.ValidationError as error:
        raise _refused(f"a detail cannot be read: {error}") from None


def _refused(words: str) -> OAuthError:
    return OAuthError("invalid_authorization_details", words)
