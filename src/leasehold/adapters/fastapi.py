"""Guarded routes of FastAPI: the dependency says which action a route is and brings the capability.

    router = APIRouter(route_class=LeasedRoute)

    @router.post("/tickets/{ticket_id}/close")
    async def close(ticket_id: str, capability: Annotated[Capability, Depends(LeasedAction(guard, "close"))]): ...

The route, not the dependency, stands before everything else: it reads the body, asks the authority, and settles when
the answer is complete. The dependency outside such a route refuses to go on. Needs the extra `fastapi`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from typing import Any

from fastapi import Request
from fastapi.dependencies.models import Dependant
from fastapi.routing import APIRoute
from fastapi.security.base import SecurityBase
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from leasehold.adapters.asgi import Leased, Terms, capability_of
from leasehold.adapters.messages import Receive, Scope, Send
from leasehold.guard import Capability, Guard

__all__ = ["LeasedAction", "LeasedRoute"]

_USUAL = Terms()


class LeasedAction:
    """The action that a route is. As a dependency it answers the capability of the call that was admitted.

    Query parameters of the route are declared by its signature; the other terms are given here.
    """

    def __init__(self, guard: Guard, verb: str, *, terms: Terms = _USUAL) -> None:
        self.guard = guard
        self.verb = verb
        self.terms = terms

    def __call__(self, request: Request) -> Capability:
        """The capability, put there by the route. Called by FastAPI."""
        return capability_of(request.scope)


class LeasedRoute(APIRoute):
    """A route that is one action. Without exactly one `LeasedAction` it cannot be defined.

    What decides stands in the path, the query or the JSON body: a route that reads headers or cookies by its signature
    cannot be defined either, because nobody would have decided on them; forms and files are refused when they come.
    """

    def __init__(self, path: str, endpoint: Callable[..., Any], **options: Any) -> None:
        super().__init__(path, endpoint, **options)
        found = [part.call for part in _parts(self.dependant) if isinstance(part.call, LeasedAction)]
        if len(found) != 1:
            raise TypeError(f"{path}: a LeasedRoute needs one Depends(LeasedAction(guard, verb)); it has {len(found)}")
        for part in _parts(self.dependant):
            _check(path, part)
        parameters = [parameter for part in _parts(self.dependant) for parameter in part.query_params]
        names = sorted({_name(parameter.field_info, parameter.alias) for parameter in parameters})
        terms = dataclasses.replace(found[0].terms, query=tuple(names))
        self._leased = Leased(super().handle, found[0].guard, found[0].verb, terms=terms)

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle a request that the router found this route for."""
        if self.methods and scope["method"] not in self.methods:
            await super().handle(scope, receive, send)  # 405
        else:
            await self._leased(scope, receive, send)


def _parts(dependant: Dependant) -> Iterator[Dependant]:
    yield dependant
    for part in dependant.dependencies:
        yield from _parts(part)


def _check(path: str, part: Dependant) -> None:
    unseen = [parameter.alias for parameter in (*part.header_params, *part.cookie_params)]
    unseen += [part.call.scheme_name] if isinstance(part.call, SecurityBase) else []
    if unseen:
        raise TypeError(f"{path}: {unseen[0]} is no part of what is decided on; take it from path, query or JSON")
    models = [parameter for parameter in part.query_params if _is_model(parameter.field_info.annotation)]
    if models:
        raise TypeError(f"{path}: declare the query parameters of {models[0].alias} one by one")


def _name(field: FieldInfo, alias: str) -> str:
    """Under which name FastAPI reads a parameter."""
    return field.validation_alias if isinstance(field.validation_alias, str) else alias


def _is_model(annotation: object) -> bool:
    return isinstance(annotation, type) and issubclass(annotation, BaseModel)
