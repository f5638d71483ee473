"""A run's timeline as numbers to draw: lanes for it and each sub-agent, calls as bars, waits for people as outlines.

Drawn as inline SVG by `gantt.html`, on the run page and in printed receipts; the same stands beside it as a table.
Pure: entries in, coordinates out. Times are Unix milliseconds, coordinates the drawing's own units.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import msgspec

from leasehold.ledger import detail
from leasehold.ledger.call_record import CallRecord, call_records
from leasehold.ledger.entry import Entry, EntryKind

__all__ = ["MOST_DRAWN", "WIDTH", "Lane", "Mark", "Span", "Tick", "Timeline", "timeline"]

WIDTH = 960
_EDGE = 8
_HEAD = 20
_ROW = 20
_BAR = 14
_GAP = 12
_AXIS = 24
_SMALLEST = 5
_LETTER = 6.4
_MOST_TICKS = 8
MOST_DRAWN = 300
"""So many bars and marks of one lane are drawn, the newest; a browser has to stay quick with a run of any length."""
_STEPS = (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400, 43200, 86400)
_ENDS_OF_WAIT = (
    EntryKind.REQUEST_ANSWERED,
    EntryKind.REQUEST_EXPIRED,
    EntryKind.REQUEST_WITHDRAWN,
    EntryKind.REQUEST_LAPSED,
)
_DENIALS = (EntryKind.CALL_DENIED, EntryKind.LEASE_DENIED, EntryKind.REQUEST_DENIED, EntryKind.START_DENIED)
_STOPS = (EntryKind.REVOKED, EntryKind.HELD, EntryKind.LIFTED)


class Span(msgspec.Struct, frozen=True, kw_only=True):
    """A bar: a call, a wait for people, or the life of a lease. `label` fits into it, `title` is its whole story."""

    kind: str
    x: float
    y: float
    width: float
    height: float
    label: str
    title: str


class Mark(msgspec.Struct, frozen=True, kw_only=True):
    """Something that happened at one moment: an answer, a refusal, a stop, the end."""

    kind: str
    x: float
    y: float
    title: str


class Lane(msgspec.Struct, frozen=True, kw_only=True):
    """One run: the root first, then its sub-agents as they were started. `left_out` counts what is too old to draw."""

    label: str
    run_id: str
    y: float
    height: float
    spans: tuple[Span, ...]
    marks: tuple[Mark, ...]
    left_out: int = 0


class Tick(msgspec.Struct, frozen=True):
    """A line of the time axis, labelled with the time since the run began; the label stays within the drawing."""

    x: float
    label: str

    @property
    def label_x(self) -> float:
        """Where the label begins."""
        return min(self.x, WIDTH - len(self.label) * _LETTER)


class Timeline(msgspec.Struct, frozen=True, kw_only=True):
    """The whole drawing."""

    height: float
    lanes: tuple[Lane, ...]
    ticks: tuple[Tick, ...]
    width: int = WIDTH


class _Scale(msgspec.Struct, frozen=True):
    begin: int
    end: int

    def x(self, time_ms: int) -> float:
        share = (min(max(time_ms, self.begin), self.end) - self.begin) / (self.end - self.begin)
        return round(_EDGE + share * (WIDTH - 2 * _EDGE), 1)


class _Stretch(msgspec.Struct, frozen=True, kw_only=True):
    """A bar before it has its place."""

    kind: str
    begin: int
    end: int
    label: str
    title: str


def timeline(entries: Sequence[Entry], now_ms: int) -> Timeline:
    """The drawing of a run from its entries, oldest first; what goes on reaches up to now."""
    starts = [entry for entry in entries if entry.kind is EntryKind.RUN_STARTED]
    ends = [entry for entry in entries if entry.kind is EntryKind.RUN_FINISHED and entry.run == starts[0].run]
    last = max(entry.time_ms for entry in entries)
    scale = _Scale(starts[0].time_ms, max(last if ends else now_ms, last, starts[0].time_ms + 1000))
    lanes: list[Lane] = []
    y = float(_AXIS)
    for started in starts:
        own = [entry for entry in entries if _is_of(entry, started)]
        lane = _lane(started, own, scale, y)
        lanes.append(lane)
        y += lane.height + _GAP
    return Timeline(height=round(y, 1), lanes=tuple(lanes), ticks=tuple(_ticks(scale)))


def _is_of(entry: Entry, started: Entry) -> bool:
    """Whether an entry stands in the lane of a run; stops stand in the lane of the root."""
    if entry.kind in _STOPS:
        return not started.parent_run
    return (entry.parent_run if entry.kind is EntryKind.START_DENIED else entry.run) == started.run


def _lane(started: Entry, own: Sequence[Entry], scale: _Scale, y: float) -> Lane:
    spans: list[Span] = []
    rows: list[float] = []
    stretches = sorted((*_calls(own, scale.end), *_waits(own, scale.end)), key=lambda each: each.begin)
    for stretch in stretches[-MOST_DRAWN:]:
        x = scale.x(stretch.begin)
        width = max(_SMALLEST, round(scale.x(stretch.end) - x, 1))
        row = next((index for index, free in enumerate(rows) if free <= x), len(rows))
        rows[row:] = [x + width + 2, *rows[row + 1 :]]
        top = y + _HEAD + row * _ROW
        fits = len(stretch.label) * _LETTER + 8 < width
        label = stretch.label if fits else ""
        spans.append(Span(kind=stretch.kind, x=x, y=top, width=width, height=_BAR, label=label, title=stretch.title))
    moments = list(_moments(own))[-MOST_DRAWN:]
    marks = tuple(Mark(kind=kind, x=scale.x(at), y=y + _HEAD - 7, title=title) for kind, at, title in moments)
    height = _HEAD + max(1, len(rows)) * _ROW
    return Lane(
        label=started.agent,
        run_id=started.run,
        y=y,
        height=height,
        spans=(*list(_lives(own, scale, y + height - 4))[-MOST_DRAWN:], *spans),
        marks=marks,
        left_out=max(0, len(stretches) - MOST_DRAWN),
    )


def _calls(own: Iterable[Entry], end: int) -> Iterator[_Stretch]:
    for call in call_records(own).values():
        begin = call.admitted.time_ms
        yield _Stretch(
            kind=call.state,
            begin=begin,
            end=call.ended.time_ms if call.ended is not None else end,
            label=call.admitted.action,
            title=_call_title(call),
        )


def _call_title(call: CallRecord) -> str:
    values = ", ".join(
        f"{name} {'|'.join(map(str, several))}" for name, several in sorted(call.admitted.attributes.items())
    )
    return f"{call.admitted.action} {values}: {call.state}".replace(" :", ":")


def _waits(own: Sequence[Entry], end: int) -> Iterator[_Stretch]:
    """The times in which people were waited for."""
    for made in own:
        if made.kind is not EntryKind.REQUEST_MADE or made.outcome != "pending":
            continue
        over = [entry.time_ms for entry in own if entry.kind in _ENDS_OF_WAIT and entry.request == made.request]
        yield _Stretch(
            kind="waiting",
            begin=made.time_ms,
            end=max(over, default=end),
            label="waits for people",
            title=f"waits for people: {made.request}",
        )


def _lives(own: Sequence[Entry], scale: _Scale, y: float) -> Iterator[Span]:
    """How long each lease lived: thin lines under the calls."""
    for issued in own:
        if issued.kind is not EntryKind.LEASE_ISSUED or issued.decision == "deny":
            continue
        ended = [each.time_ms for each in own if each.kind is EntryKind.LEASE_ENDED and each.lease == issued.lease]
        x = scale.x(issued.time_ms)
        end = min([*ended, detail.number(issued, "expires_at") * 1000])
        width = max(_SMALLEST, round(scale.x(end) - x, 1))
        yield Span(kind="lease", x=x, y=y, width=width, height=3, label="", title=f"{issued.lease} lives")


def _moments(own: Iterable[Entry]) -> Iterator[tuple[str, int, str]]:
    for entry in own:
        at = entry.time_ms
        if entry.kind is EntryKind.REQUEST_ANSWERED and entry.decision != "deny":
            verdict = detail.text(entry, "verdict")
            yield ("approved" if verdict == "approve" else "denied", at, f"{verdict} by {entry.person}")
        elif entry.kind in _DENIALS or entry.decision == "deny":
            yield "denied", at, f"{entry.action or entry.kind}: refused, {entry.reason}"
        elif entry.kind in _STOPS:
            yield "stop", at, f"{entry.kind} {entry.scope} by {entry.person}"
        elif entry.kind is EntryKind.RUN_FINISHED:
            yield "end", at, f"finished: {entry.outcome}"


def _ticks(scale: _Scale) -> Iterator[Tick]:
    seconds = (scale.end - scale.begin) / 1000
    step = next((step for step in _STEPS if seconds / step <= _MOST_TICKS), _STEPS[-1])
    at = 0
    while at <= seconds:
        yield Tick(scale.x(scale.begin + at * 1000), _since(at))
        at += step


def _since(seconds: int) -> str:
    if seconds < 120:
        return f"{seconds} s"
    return f"{seconds // 60} min" if seconds < 7200 else f"{seconds / 3600:g} h"
