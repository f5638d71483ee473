"""A receipt's summary as lines for people. Called by `receipt inspect` and `demo`. Every text is made visible."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

import msgspec

from leasehold.ledger.reading import (
    AmountTold,
    AnswerTold,
    AskedTold,
    CallTold,
    DenialTold,
    GrantedTold,
    GrantTable,
    SpendTold,
    StopTold,
    StoryTold,
    read_summary,
)
from leasehold.model.canonical import Json
from leasehold.model.plain import escape

__all__ = ["receipt_lines"]


def receipt_lines(predicate: Mapping[str, Json]) -> list[str]:
    """Return the summary as lines: the run, what it asked for and got, what it did, and how it ended.

    Raises:
        VerificationError: it is no summary of this version.
    """
    summary = read_summary(predicate)
    lines = [*_story(summary), *_stops(summary.stops)]
    for child in summary.children:
        lines += ["", "sub-agent", *_story(child)]
    words = ", ".join(f"{what}: {whose}" for what, whose in sorted(summary.asserted_by.items()))
    return [_escape_line(line) for line in (*lines, f"whose word: {words}")]


def _escape_line(line: str) -> str:
    """The line made visible, its own indent kept."""
    text = line.lstrip(" ")
    return " " * (len(line) - len(text)) + escape(text)


def _story(story: StoryTold) -> Iterator[str]:
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


def _grants(allow: GrantTable) -> list[str]:
    return [f"{action} {_attributes(attributes)}".rstrip() for action, attributes in sorted(allow.items())]


def _attributes(attributes: Mapping[str, object]) -> str:
    return " ".join(f"{name}={_compact(value)}" for name, value in sorted(attributes.items()))


def _compact(value: object) -> str:
    if isinstance(value, list):
        return "|".join(map(_compact, value))
    return value if isinstance(value, str) else msgspec.json.encode(value).decode()


def _amounts(amounts: Iterable[AmountTold]) -> str:
    return ", ".join(f"{entry.unit} {entry.amount}" for entry in amounts) or "nothing"


def _asked(asked: AskedTold) -> str:
    answers = "".join(f"; {_answer(answer)}" for answer in asked.answers)
    card = f"; card erased {asked.card_erased}" if asked.card_erased else ""
    return f"{asked.kind} {', '.join(_grants(asked.allow))}: {asked.state}{answers} ({asked.reason}){card}"


def _answer(answer: AnswerTold) -> str:
    marks = [
        mark
        for mark, holds in (
            (f"signed in by {answer.method}, not signed", answer.proof == "session"),
            ("signed with a passkey", answer.proof == "passkey"),
            (f"in the chat of {answer.channel} by {answer.speaker}, not signed", answer.proof == "chat"),
            ("same account", answer.same_account),
            ("own request", answer.own_request),
        )
        if holds
    ]
    words = [answer.words] if answer.words else []
    return f"{answer.verdict} by {answer.person}" + (f" [{', '.join((*marks, *words))}]" if marks or words else "")


def _granted(granted: GrantedTold) -> str:
    end = f"{granted.ended.why} at {granted.ended.at}" if granted.ended.why else f"until {granted.expires_at}"
    return f"{granted.lease} {', '.join(_grants(granted.allow))} by {', '.join(granted.approved_by)}; {end}"


def _used(call: CallTold) -> str:
    marks = [f"approved by {', '.join(call.approved_by)}"]
    marks += ["tool holds its own authority"] if call.tool_authority else []
    marks += [f"over its budget in {', '.join(call.overrun)}"] if call.overrun else []
    marks += [call.error] if call.error else []
    detail = f" [{'; '.join(marks)}]" if marks else ""
    return f"{call.at} {call.action} {_attributes(call.attributes)}: {call.outcome}, {_amounts(call.charged)}{detail}"


def _denial(denial: DenialTold) -> str:
    check = f" [{denial.check}]" if denial.check else ""
    return f"{denial.at} {denial.action or denial.kind}: {denial.reason}, {denial.message}{check}"


def _spend(spend: SpendTold) -> str:
    of = f" of {spend.budget}" if spend.budget else ""
    uncertain = f", of which uncertain {spend.uncertain}" if spend.uncertain != "0" else ""
    return f"{spend.unit} {spend.charged}{of}{uncertain}"


def _stops(stops: Iterable[StopTold]) -> Iterator[str]:
    yield from _section(
        "stopped",
        (
            f"{stop.at} {stop.kind} {stop.scope} by {stop.by}: {stop.reason}"
            + (f"; in flight {', '.join(stop.in_flight)}" if stop.in_flight else "")
            for stop in stops
        ),
    )
