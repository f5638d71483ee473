"""A receipt's summary as lines for people. Called by `receipt inspect` and `demo`. Every text is made visible."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import msgspec

from leasehold.cli.plain import escape
from leasehold.errors import VerificationError
from leasehold.model.canonical import Json

__all__ = ["receipt_lines"]

_Grants = dict[str, dict[str, Any]]


class _Member(msgspec.Struct, frozen=True, rename="camel"):
    """A member of the summary: only what is shown of it."""


class _Amount(_Member, frozen=True):
    amount: str
    unit: str


class _Run(_Member, frozen=True):
    agent: str
    attempts: int
    environment: str
    policy: str
    purpose: str
    requested_by: str
    requester_proof: str
    route: str
    run: str
    started_at: str
    tenant: str


class _End(_Member, frozen=True):
    at: str
    why: str


class _Answer(_Member, frozen=True):
    person: str
    verdict: str
    same_account: bool
    own_request: bool
    words: str


class _Asked(_Member, frozen=True):
    allow: _Grants
    answers: list[_Answer]
    kind: str
    reason: str
    request: str
    state: str


class _Granted(_Member, frozen=True):
    allow: _Grants
    approved_by: list[str]
    ended: _End
    expires_at: str
    lease: str


class _Call(_Member, frozen=True):
    action: str
    admission: str
    approved_by: list[str]
    at: str
    attributes: dict[str, list[str | int | bool]]
    charged: list[_Amount]
    error: str
    outcome: str
    overrun: list[str]
    tool_authority: bool


class _Denial(_Member, frozen=True):
    action: str
    at: str
    check: str
    kind: str
    message: str
    reason: str


class _Denied(_Member, frozen=True):
    listed: list[_Denial]
    more: int


class _Spend(_Member, frozen=True):
    charged: str
    uncertain: str
    unit: str
    budget: str = ""


class _Narrower(_Member, frozen=True):
    allow: _Grants
    budget: list[_Amount]


class _Stop(_Member, frozen=True):
    at: str
    by: str
    in_flight: list[str]
    kind: str
    reason: str
    scope: str


class _Story(_Member, frozen=True):
    asked: list[_Asked]
    contacted: list[str]
    denied: _Denied
    ended: _End
    files: list[str]
    granted: list[_Granted]
    in_flight: list[str]
    narrower: _Narrower
    never_used: list[str]
    resources: list[str]
    run: _Run
    spend: list[_Spend]
    unknown: list[str]
    used: list[_Call]


class _Summary(_Story, frozen=True):
    asserted_by: dict[str, str]
    children: list[_Story]
    stops: list[_Stop]


def receipt_lines(predicate: Mapping[str, Json]) -> list[str]:
    """Return the summary as lines: the run, what it asked for and got, what it did, and how it ended.

    Raises:
        VerificationError: it is no summary of this version.
    """
    try:
        summary = msgspec.convert(predicate, _Summary)
    except msgspec.ValidationError as error:
        raise VerificationError(f"this receipt's summary cannot be read: {error}") from None
    lines = [*_story(summary), *_stops(summary.stops)]
    for child in summary.children:
        lines += ["", "sub-agent", *_story(child)]
    words = ", ".join(f"{what}: {whose}" for what, whose in sorted(summary.asserted_by.items()))
    return [_escape_line(line) for line in (*lines, f"whose word: {words}")]


def _escape_line(line: str) -> str:
    """The line made visible, its own indent kept."""
    text = line.lstrip(" ")
    return " " * (len(line) - len(text)) + escape(text)


def _story(story: _Story) -> Iterator[str]:
    run = story.run
    yield f"run: {run.run}, {run.attempts} attempt(s)"
    yield f"agent: {run.agent} for {run.requested_by} ({run.requester_proof})"
    yield f"where: {run.tenant} / {run.environment}, route {run.route}"
    yield f"purpose: {run.purpose}"
    yield f"from {run.started_at} to {story.ended.at or 'now'}: {story.ended.why or 'still open'}"
    yield from _section("asked", map(_asked, story.asked))
    yield from _section("granted", map(_granted, story.granted))
    yield from _section("used", map(_used, story.used))
    more = [f"{story.denied.more} more past the denial budget"] if story.denied.more else []
    yield from _section("denied", [*map(_denial, story.denied.listed), *more])
    yield from _section("never used", story.never_used)
    yield from _section("in flight", story.in_flight)
    yield from _section("outcome unknown", story.unknown)
    yield from _section("resources", story.resources)
    yield from _section("files", story.files)
    yield from _section("contacted", story.contacted)
    yield from _section("spent", map(_spend, story.spend))
    yield from _section("a narrower lease would have been enough", _grants(story.narrower.allow))


def _section(title: str, lines: Iterable[str]) -> Iterator[str]:
    listed = list(lines)
    if listed:
        yield f"{title}:"
        yield from (f"  {line}" for line in listed)


def _grants(allow: _Grants) -> list[str]:
    return [f"{action} {_attributes(attributes)}".rstrip() for action, attributes in sorted(allow.items())]


def _attributes(attributes: Mapping[str, object]) -> str:
    return " ".join(f"{name}={_compact(value)}" for name, value in sorted(attributes.items()))


def _compact(value: object) -> str:
    if isinstance(value, list):
        return "|".join(map(_compact, value))
    return value if isinstance(value, str) else msgspec.json.encode(value).decode()


def _amounts(amounts: Iterable[_Amount]) -> str:
    return ", ".join(f"{entry.unit} {entry.amount}" for entry in amounts) or "nothing"


def _asked(asked: _Asked) -> str:
    answers = "".join(f"; {_answer(answer)}" for answer in asked.answers)
    return f"{asked.kind} {', '.join(_grants(asked.allow))}: {asked.state}{answers} ({asked.reason})"


def _answer(answer: _Answer) -> str:
    marks = [
        mark for mark, holds in (("same account", answer.same_account), ("own request", answer.own_request)) if holds
    ]
    words = [answer.words] if answer.words else []
    return f"{answer.verdict} by {answer.person}" + (f" [{', '.join((*marks, *words))}]" if marks or words else "")


def _granted(granted: _Granted) -> str:
    end = f"{granted.ended.why} at {granted.ended.at}" if granted.ended.why else f"until {granted.expires_at}"
    return f"{granted.lease} {', '.join(_grants(granted.allow))} by {', '.join(granted.approved_by)}; {end}"


def _used(call: _Call) -> str:
    marks = [f"approved by {', '.join(call.approved_by)}"]
    marks += ["tool holds its own authority"] if call.tool_authority else []
    marks += [f"over its budget in {', '.join(call.overrun)}"] if call.overrun else []
    marks += [call.error] if call.error else []
    detail = f" [{'; '.join(marks)}]" if marks else ""
    return f"{call.at} {call.action} {_attributes(call.attributes)}: {call.outcome}, {_amounts(call.charged)}{detail}"


def _denial(denial: _Denial) -> str:
    check = f" [{denial.check}]" if denial.check else ""
    return f"{denial.at} {denial.action or denial.kind}: {denial.reason}, {denial.message}{check}"


def _spend(spend: _Spend) -> str:
    of = f" of {spend.budget}" if spend.budget else ""
    uncertain = f", of which uncertain {spend.uncertain}" if spend.uncertain != "0" else ""
    return f"{spend.unit} {spend.charged}{of}{uncertain}"


def _stops(stops: Iterable[_Stop]) -> Iterator[str]:
    yield from _section(
        "stopped",
        (
            f"{stop.at} {stop.kind} {stop.scope} by {stop.by}: {stop.reason}"
            + (f"; in flight {', '.join(stop.in_flight)}" if stop.in_flight else "")
            for stop in stops
        ),
    )
