"""Runs: the list, and the page of one: timeline, leases and what each hop lost, spend, what was never used."""

from __future__ import annotations

import msgspec
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from leasehold.authority.person_desk import RunDetail
from leasehold.console.drawing import draw_page, viewer_of
from leasehold.console.gantt import Timeline, timeline
from leasehold.console.hops import Hop, lease_hops
from leasehold.console.live import fingerprint
from leasehold.console.paging import page_before
from leasehold.decide.lifecycles import RunState
from leasehold.decide.rows import AccountRow, RequestRow, RunRow
from leasehold.http.events import event_stream
from leasehold.ledger.entry import Entry
from leasehold.ledger.lines import EntryLine, entry_line
from leasehold.ledger.reading import SummaryTold, read_summary
from leasehold.ledger.summary import summarise
from leasehold.model.instant import Instant
from leasehold.model.run import Run
from leasehold.policy.document import Policy

__all__ = ["Account", "RunLine", "RunPage", "run_page", "run_routes", "run_state"]

PAGE = 50
MOST_LISTED = 500
"""So many entries of a run stand on its page, the newest; the ledger has them all."""


class RunLine(msgspec.Struct, frozen=True):
    """A run in the list."""

    row: RunRow
    state: str


class Account(msgspec.Struct, frozen=True, kw_only=True):
    """What may be spent of one unit and was, in millionths, with each part's share of the limit in percent."""

    row: AccountRow
    settled: float
    reserved: float
    unknown: float

    @property
    def left(self) -> int:
        """What can still be reserved."""
        row = self.row
        return max(0, row.limit - row.settled - row.reserved - row.unknown)


class RunPage(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that is known of one run."""

    run: Run
    row: RunRow
    state: str
    parent: RunRow | None
    children: tuple[RunRow, ...]
    requests: tuple[RequestRow, ...]
    accounts: tuple[Account, ...]
    timeline: Timeline
    hops: tuple[Hop, ...]
    summary: SummaryTold
    entries: tuple[EntryLine, ...]
    left_out: int


def run_state(row: RunRow, now: Instant) -> str:
    """Where a run stands, also where no sweep has written it down yet."""
    if row.state != RunState.OPEN:
        return row.state
    if row.revoked or row.held:
        return "revoked" if row.revoked else "held"
    return "expired" if now.reached(row.expires_at) else row.state


def run_page(found: RunDetail, policy: Policy, now: Instant) -> RunPage:
    """The page of a run from what the desk knows of it. `policy` is the active one."""
    route = policy.route(found.run.route)
    is_root = not found.run.ancestors
    offered = route.allow if route is not None and is_root and found.run.policy == policy.hash else {}
    return RunPage(
        run=found.run,
        row=found.row,
        state=run_state(found.row, now),
        parent=found.parent,
        children=found.children,
        requests=found.requests,
        accounts=tuple(map(_account, found.accounts)),
        timeline=timeline(found.entries, int(now)),
        hops=lease_hops(found.entries, offered),
        summary=read_summary(summarise(found.entries)),
        entries=tuple(map(entry_line, found.entries[-MOST_LISTED:])),
        left_out=max(0, len(found.entries) - MOST_LISTED),
    )


def _account(row: AccountRow) -> Account:
    limit = max(row.limit, row.settled + row.reserved + row.unknown, 1)
    settled, reserved, unknown = (round(100 * part / limit, 2) for part in (row.settled, row.reserved, row.unknown))
    return Account(row=row, settled=settled, reserved=reserved, unknown=unknown)


def runs(request: Request) -> Response:
    """The list, the newest first."""
    viewer, before = viewer_of(request), page_before(request)
    now, found = viewer.now(), viewer.runs(before=before, limit=PAGE)
    return draw_page(
        request,
        "runs.html",
        here="runs",
        lines=[RunLine(row, run_state(row, now)) for row in found],
        older=found[-1].recorded if len(found) == PAGE else None,
        is_first=before is None,
    )


def run(request: Request) -> Response:
    """One run."""
    viewer = viewer_of(request)
    found = viewer.run(request.path_params["run_id"])
    page = run_page(found, viewer.policy().document, viewer.now())
    return draw_page(request, "run.html", here="runs", page=page, shown=_shown(found))


async def run_events(request: Request) -> Response:
    """Tells the browser when something happened in the run."""
    viewer, run_id = viewer_of(request), request.path_params["run_id"]
    await run_in_threadpool(viewer.run, run_id)
    return event_stream(request, lambda: _shown(viewer.run(run_id)))


def _shown(found: RunDetail) -> str:
    """Equal as long as nothing happened: every change of a run leaves an entry, but for a hold of it."""
    last: Entry = found.entries[-1]
    return fingerprint((last.index, found.row.held, found.row.revoked))


def run_routes() -> list[BaseRoute]:
    """The pages of runs."""
    return [
        Route("/runs", runs),
        Route("/runs/{run_id}", run),
        Route("/events/runs/{run_id}", run_events),
    ]
