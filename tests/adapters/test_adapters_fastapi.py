"""Guarded routes of FastAPI, on a real server: the dependency declares, the route guards.

Annotations are evaluated here, because FastAPI cannot look up names of a function around its handlers.
"""

from collections.abc import Iterator
from typing import Annotated, Any

import pytest
from desk_service import Caller, outcomes, running
from fastapi import APIRouter, Body, Cookie, Depends, FastAPI, Header, HTTPException, Query, Security
from fastapi.responses import StreamingResponse
from fastapi.security import APIKeyHeader
from pydantic import BaseModel

from leasehold.adapters.asgi import Terms
from leasehold.adapters.fastapi import LeasedAction, LeasedRoute
from leasehold.guard import Capability, Guard
from stage import Stage


class Note(BaseModel):
    """What is written on a ticket."""

    text: str
    lines: int = 1


class Service:
    """A FastAPI application with guarded routes in an included router, as a larger one would have them."""

    def __init__(self, guard: Guard) -> None:
        self.done: list[tuple[Any, ...]] = []
        self.app = FastAPI()
        self.app.include_router(self._router(guard), prefix="/v1")
        forgotten = LeasedAction(guard, "update")

        @self.app.post("/forgotten/{ticket_id}")
        async def forgotten_route(ticket_id: str, capability: Annotated[Capability, Depends(forgotten)]) -> None:
            self.done.append((ticket_id,))

    def _router(self, guard: Guard) -> APIRouter:
        router = APIRouter(route_class=LeasedRoute)
        get, update = LeasedAction(guard, "get"), LeasedAction(guard, "update", terms=Terms(max_body_bytes=100))

        @router.get("/tickets/{ticket_id}")
        def read(
            ticket_id: str,
            capability: Annotated[Capability, Depends(get)],
            fields: Annotated[str, Query(alias="shown", validation_alias="fields")] = "",
        ) -> dict[str, Any]:
            self.done.append((ticket_id, fields))
            return capability.arguments

        @router.post("/tickets/{ticket_id}/update")
        async def update_ticket(
            ticket_id: str, note: Note, capability: Annotated[Capability, Depends(update)]
        ) -> dict[str, Any]:
            self.done.append((ticket_id, note.text, note.lines))
            if note.text == "missing":
                raise HTTPException(404)
            return capability.arguments

        @router.post("/tickets/{ticket_id}/tag", dependencies=[Depends(update)])
        async def tag(ticket_id: str, label: Annotated[str, Body(embed=True)]) -> StreamingResponse:
            self.done.append((ticket_id, label))
            return StreamingResponse(iter([b"one ", b"two"]))

        return router


@pytest.fixture
def service(stage: Stage) -> Service:
    return Service(Guard("ticket", stage.authority, environment="prod"))


@pytest.fixture
def caller(stage: Stage, service: Service) -> Iterator[Caller]:
    with running(service.app) as port:
        yield Caller(port, stage.lease({"ticket.get": {"ticket": ["T-*"]}, "ticket.update": {"ticket": ["T-*"]}}))


@pytest.mark.requirement("B5")
def test_route_is_its_action_and_its_handler_gets_the_capability(
    stage: Stage, service: Service, caller: Caller
) -> None:
    answer = caller.send("POST", "/v1/tickets/T-1/update", {"text": "fixed"}, key="k1")

    assert (answer.status, answer.json) == (200, {"ticket_id": "T-1", "text": "fixed"})
    assert service.done == [("T-1", "fixed", 1)]
    assert outcomes(stage) == ["done"]


def test_route_refuses_before_anything_of_it_runs(service: Service, caller: Caller) -> None:
    bare = Caller(caller.port)

    assert bare.send("POST", "/v1/tickets/T-1/update", {"text": 1}, key="k1").status == 401
    assert caller.send("POST", "/v1/tickets/X-1/update", {"text": "x"}, key="k2").json["reason"] == "out_of_range"
    assert caller.send("POST", "/v1/tickets/T-1/update", {"text": "x" * 200}, key="k3").status == 413
    assert caller.send("POST", "/v1/tickets/T-1/update", {"text": "x", "ticket_id": "T-2"}, key="k4").status == 400
    assert caller.send("DELETE", "/v1/tickets/T-1/update").status == 405
    assert service.done == []


@pytest.mark.case(13)
def test_body_that_fastapi_would_read_otherwise_is_refused(service: Service, caller: Caller) -> None:
    answer = caller.send(
        "POST",
        "/v1/tickets/T-1/update",
        b'{"text":"shown","text":"done"}',
        key="k1",
        headers=(("Content-Type", "application/json"),),
    )

    assert answer.status == 400
    assert service.done == []


def test_query_parameters_of_the_signature_are_arguments_and_others_are_refused(
    service: Service, caller: Caller
) -> None:
    assert caller.send("GET", "/v1/tickets/T-1?fields=all").json == {"ticket_id": "T-1", "fields": "all"}
    assert caller.send("GET", "/v1/tickets/T-1?other=1").status == 400
    assert caller.send("GET", "/v1/tickets/T-1?shown=all").status == 400  # FastAPI reads it under the other name
    assert service.done == [("T-1", "all")]


def test_error_answer_and_refused_body_have_failed_and_stream_is_done(stage: Stage, caller: Caller) -> None:
    assert caller.send("POST", "/v1/tickets/T-1/update", {"text": "missing"}, key="k1").status == 404
    assert caller.send("POST", "/v1/tickets/T-1/update", {"text": 7}, key="k2").status == 422
    assert caller.send("POST", "/v1/tickets/T-1/tag", {"label": "x"}, key="k3").body == b"one two"
    assert outcomes(stage) == ["failed", "failed", "done"]


def test_dependency_outside_a_leased_route_runs_nothing(stage: Stage, service: Service, caller: Caller) -> None:
    assert caller.send("POST", "/forgotten/T-1", {}, key="k1").status == 500
    assert service.done == []


def test_leased_route_without_its_action_cannot_be_defined(stage: Stage) -> None:
    router = APIRouter(route_class=LeasedRoute)
    guard = Guard("ticket", stage.authority, environment="prod")
    both = [Depends(LeasedAction(guard, "get")), Depends(LeasedAction(guard, "update"))]

    async def handler() -> None:
        """Does nothing."""

    with pytest.raises(TypeError, match="it has 0"):
        router.get("/x")(handler)
    with pytest.raises(TypeError, match="it has 2"):
        router.get("/x", dependencies=both)(handler)


@pytest.mark.requirement("P6")
def test_route_that_reads_what_nobody_decides_on_cannot_be_defined(stage: Stage) -> None:
    router = APIRouter(route_class=LeasedRoute)
    guard = Guard("ticket", stage.authority, environment="prod")
    declared = [Depends(LeasedAction(guard, "update"))]

    async def header(x_ticket: Annotated[str, Header()]) -> None: ...
    async def cookie(ticket: Annotated[str, Cookie()]) -> None: ...
    async def query(note: Annotated[Note, Query()]) -> None: ...
    async def below(found: Annotated[None, Depends(header)]) -> None: ...
    async def scheme(
        key: Annotated[str, Security(APIKeyHeader(name="X-Ticket", scheme_name="ticket-key"))],
    ) -> None: ...

    refused = ((header, "x-ticket"), (cookie, "ticket"), (query, "one by one"), (scheme, "ticket-key"))
    for handler, words in refused:
        with pytest.raises(TypeError, match=words):
            router.post("/x", dependencies=declared)(handler)
    with pytest.raises(TypeError, match="x-ticket"):
        router.post("/x", dependencies=declared)(below)


def test_document_of_the_service_does_not_show_the_capability(service: Service) -> None:
    document = str(service.app.openapi())

    assert "/v1/tickets/{ticket_id}/update" in document
    assert "capability" not in document.lower()
