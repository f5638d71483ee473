"""A ticket service in FastAPI whose every route takes a lease: `python service.py PORT` in this folder.

The routes say which action they are. Nothing else of the service knows of leases, and none of it ever sees one.
"""

import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated

import uvicorn
from fastapi import APIRouter, Body, Depends, FastAPI

import leasehold
from leasehold import Capability, Guard
from leasehold.adapters.fastapi import LeasedAction, LeasedRoute

authority = leasehold.open("leasehold.toml")
guard = Guard("ticket", authority, environment="prod")
router = APIRouter(route_class=LeasedRoute)
notes: dict[str, list[str]] = {}


@router.get("/tickets/{ticket_id}", dependencies=[Depends(LeasedAction(guard, "read"))])
async def read(ticket_id: str) -> list[str]:
    """What stands on a ticket."""
    return notes.get(ticket_id, [])


@router.post("/tickets/{ticket_id}/notes")
async def note(
    ticket_id: str,
    text: Annotated[str, Body(embed=True)],
    capability: Annotated[Capability, Depends(LeasedAction(guard, "note"))],
) -> dict[str, int]:
    """Write on a ticket."""
    notes.setdefault(ticket_id, []).append(text)
    capability.touched(f"ticket/{ticket_id}")  # goes into the receipt
    return {"notes": len(notes[ticket_id])}


@router.post("/tickets/{ticket_id}/close", dependencies=[Depends(LeasedAction(guard, "close"))])
async def close(ticket_id: str) -> dict[str, str]:
    """Close a ticket: a person has to agree to this very call."""
    return {"closed": ticket_id}


@asynccontextmanager
async def lifespan(_: FastAPI) -> AsyncIterator[None]:
    """Let the authority's files go when the service ends."""
    with authority:
        yield


app = FastAPI(lifespan=lifespan)
app.include_router(router)

if __name__ == "__main__":
    uvicorn.run(app, host="127.0.0.1", port=int(sys.argv[1]), log_level="warning")
