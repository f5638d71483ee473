"""The ledger search: conditions in the address, so that what was found can be sent to somebody else."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from leasehold.console.drawing import draw_page, viewer_of
from leasehold.console.paging import page_before, read_index
from leasehold.errors import InvalidError
from leasehold.ledger.lines import entry_line
from leasehold.model.instant import Instant
from leasehold.model.times import parse_time
from leasehold.policy.document import Power
from leasehold.store.queries import LedgerQuery

__all__ = ["CONDITIONS", "Condition", "ledger_routes", "read_query"]

PAGE = 100
_LONGEST = 300


class Condition(msgspec.Struct, frozen=True):
    """A field of the search form."""

    name: str
    label: str
    hint: str = ""


CONDITIONS = (
    Condition("person", "Whose run", "user:ana"),
    Condition("agent", "Agent"),
    Condition("run", "Run", "run_…"),
    Condition("lease", "Lease", "lease_…"),
    Condition("action", "Action", "ticket.close"),
    Condition("attribute", "Attribute", "ticket=T-18421"),
    Condition("tenant", "Tenant"),
    Condition("capability", "Capability", "sha256:…"),
    Condition("key", "Key"),
    Condition("since", "Since", "today, 2h, 2026-05-06"),
    Condition("until", "Until", "2026-05-06T12:00:00Z"),
)
DECISIONS = ("", "allow", "deny")


def read_query(asked: Mapping[str, str], now: Instant, before: int | None) -> LedgerQuery:
    """The query that an address asks for.

    Raises:
        InvalidError: a condition is none.
    """
    for name, value in asked.items():
        if len(value) > _LONGEST:
            raise InvalidError(f"{name} has more than {_LONGEST} characters")
    decision = asked.get("decision", "")
    if decision not in DECISIONS:
        raise InvalidError("decision is allow or deny")
    since, until, tenant = asked.get("since", ""), asked.get("until", ""), asked.get("tenant", "")
    return LedgerQuery(
        tenants=(tenant,) if tenant else None,
        person=asked.get("person", ""),
        agent=asked.get("agent", ""),
        run=asked.get("run", ""),
        lease=asked.get("lease", ""),
        capability=asked.get("capability", ""),
        action=asked.get("action", ""),
        attribute=_attribute(asked.get("attribute", "")),
        key=asked.get("key", ""),
        decision=decision,
        since=parse_time(since, now) if since else None,
        until=parse_time(until, now) if until else None,
        before=before,
        limit=PAGE,
    )


def _attribute(text: str) -> tuple[str, str | int] | None:
    """`name=value`, or `name:=3` for a whole number, as at the command line."""
    if not text:
        return None
    name, equals, value = text.partition("=")
    if not equals or not name.strip(":"):
        raise InvalidError("attribute is a name, '=' and a value, such as ticket=T-18421; write rows:=3 for a number")
    if not name.endswith(":"):
        return name, value
    if not (value.removeprefix("-").isascii() and value.removeprefix("-").isdigit() and len(value) <= 16):
        raise InvalidError("after ':=' stands a whole number")
    return name[:-1], int(value)


def ledger(request: Request) -> Response:
    """What meets every condition, the newest first."""
    names = {condition.name for condition in CONDITIONS} | {"decision"}
    asked = {name: value.strip() for name, value in request.query_params.items() if name in names}
    viewer, before = viewer_of(request), page_before(request)
    found = viewer.search(read_query(asked, viewer.now(), before))
    return draw_page(
        request,
        "ledger.html",
        here="ledger",
        conditions=CONDITIONS,
        decisions=DECISIONS,
        asked=asked,
        lines=[entry_line(entry) for entry in found],
        older=found[-1].index if len(found) == PAGE else None,
        is_first=before is None,
        may_query=any(held.power is Power.QUERY for held in viewer.powers()),
    )


def entry(request: Request) -> Response:
    """One entry, whole, with the way to its neighbours."""
    index = read_index(request.path_params["index"], "an entry has an index")
    found = viewer_of(request).entry(index)
    return draw_page(request, "entry.html", here="ledger", entry=found)


def ledger_routes() -> list[BaseRoute]:
    """The pages of the ledger."""
    return [Route("/ledger", ledger), Route("/ledger/{index}", entry)]
