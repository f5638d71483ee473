"""A card laid out for reading: sections of labelled lines in one order, for the terminal, the console and chat alike.

Pure. Every text is escaped and whole here, with a word about each character that could deceive; who wrote it stands
beside it, and what agents wrote comes last (requirements L10, B6, P10, F3; threat cases 82 to 86). A renderer that
has less room asks `Line.clip`: what is left out stands at the end and is counted, and nobody may say yes to a card
before they opened it.
"""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from enum import StrEnum

import msgspec

from leasehold.model.card import Card, CardLine, Change, Footer
from leasehold.model.effect import ApprovalMode, Effect
from leasehold.model.plain import escape, hidden_words, script_words
from leasehold.model.request import RequestKind
from leasehold.model.text import has_mixed_scripts
from leasehold.model.times import show_duration, show_time

__all__ = ["DIGEST_DIGITS", "Clipped", "Line", "Origin", "Section", "SectionName", "Sheet", "lay_out", "short_digest"]

DIGEST_DIGITS = 8


class Origin(StrEnum):
    """Whose word a line is. Renderers label the tool's and the agent's."""

    POLICY = "policy"
    RUN = "run"
    LEDGER = "ledger"
    TOOL = "tool"
    PERSON = "person"
    AGENT = "agent"


class SectionName(StrEnum):
    """The parts of a sheet, in the order in which they are read."""

    ASKED = "asked"
    CHANGES = "changes"
    REACH = "reach"
    ACTION = "action"
    ARGUMENTS = "arguments"
    LIMITS = "limits"
    PEOPLE = "people"
    HISTORY = "history"
    WORDS = "words"


class Clipped(msgspec.Struct, frozen=True):
    """The beginning of a text, and how many characters of it are left out behind that."""

    text: str
    hidden: int


class Line(msgspec.Struct, frozen=True, kw_only=True):
    """One labelled value, escaped and whole. `warnings` say what in it could deceive; `is_loud` what matters most."""

    label: str
    text: str
    origin: Origin = Origin.POLICY
    is_loud: bool = False
    warnings: tuple[str, ...] = ()

    def clip(self, limit: int) -> Clipped:
        """The first `limit` characters and how many follow; never cut in the middle."""
        return Clipped(self.text[:limit], max(0, len(self.text) - limit))


class Section(msgspec.Struct, frozen=True, kw_only=True):
    """Lines that belong together, under a title of their own where there is one."""

    name: SectionName
    lines: tuple[Line, ...]
    title: str = ""
    is_loud: bool = False


class Sheet(msgspec.Struct, frozen=True, kw_only=True):
    """A whole card, laid out. `is_destructive` asks renderers for more friction."""

    headline: Line
    sections: tuple[Section, ...]
    is_destructive: bool

    @property
    def lines(self) -> tuple[Line, ...]:
        """Every line, headline first."""
        return (self.headline, *(line for section in self.sections for line in section.lines))

    def clipped(self, limit: int) -> tuple[Line, ...]:
        """The lines that do not fit into `limit` characters: each has to be opened before a yes counts."""
        return tuple(line for line in self.lines if line.clip(limit).hidden)


def short_digest(digest: str) -> str:
    """The first hex digits of a digest, as people compare them."""
    return digest.rpartition(":")[2][:DIGEST_DIGITS]


def lay_out(card: Card, footer: Footer | None = None) -> Sheet:
    """Return the sheet of a card; `footer` adds how it stands with the answers."""
    sections = (
        Section(name=SectionName.ASKED, lines=(_asked(card),)),
        *_changes(card),
        _reach(card),
        *(_action(card, line) for line in card.lines),
        *_arguments(card),
        Section(name=SectionName.LIMITS, lines=tuple(_limits(card))),
        Section(name=SectionName.PEOPLE, lines=tuple(_people(card, footer))),
        *_history(card),
        Section(name=SectionName.WORDS, title="written by the agent, not checked:", lines=tuple(_agent_words(card))),
    )
    return Sheet(headline=_line("", card.headline), sections=sections, is_destructive=_is_destructive(card))


def _line(label: str, text: str, *, origin: Origin = Origin.POLICY, is_loud: bool = False) -> Line:
    return Line(
        label=escape(label),
        text=escape(text),
        origin=origin,
        is_loud=is_loud,
        warnings=_warnings(f"{label} {text}", is_prose=origin in (Origin.AGENT, Origin.PERSON)),
    )


def _warnings(raw: str, *, is_prose: bool) -> tuple[str, ...]:
    """What could deceive. Prose may be in any script, names and targets may not without a word about it."""
    scripts = "" if is_prose and not has_mixed_scripts(raw) else script_words(raw)
    return tuple(words for words in (hidden_words(raw), scripts) if words)


def _asked(card: Card) -> Line:
    what = "a lease" if card.kind == RequestKind.LEASE else "exactly this call, once"
    return _line("Asked for", f"{what}; {_effects(card.lines)}", is_loud=_is_destructive(card))


def _is_destructive(card: Card) -> bool:
    return any(line.effect == Effect.DESTRUCTIVE for line in card.lines)


def _effects(lines: Sequence[CardLine]) -> str:
    counts = Counter(line.effect for line in lines)
    return ", ".join(f"{counts[effect]} {effect}" for effect in reversed(Effect) if counts[effect])


def _changes(card: Card) -> Iterator[Section]:
    """What the call changes, what moved since it was approved before, and what a person edited."""
    if card.moved:
        yield _table("moved since it was approved: approved, now", card.moved, Origin.TOOL, is_loud=True)
    if card.edits or card.editors:
        title = f"edited by {', '.join(card.editors)}; was asked for, is asked for now"
        yield _table(title, card.edits, Origin.PERSON, is_loud=True)
    if card.preview:
        rows = [row for change in card.changes for row in _rows(change, Origin.TOOL)]
        if card.unchanged_hidden:
            rows.append(_line("", f"+ {card.unchanged_hidden} unchanged hidden", origin=Origin.TOOL))
        if not rows:
            rows.append(_line("", "nothing", origin=Origin.TOOL))
        yield Section(name=SectionName.CHANGES, title="what changes, as the tool says", lines=tuple(rows))


def _table(title: str, changes: Iterable[Change], origin: Origin, *, is_loud: bool) -> Section:
    rows = tuple(row for change in changes for row in _rows(change, origin))
    return Section(name=SectionName.CHANGES, title=escape(title), lines=rows, is_loud=is_loud)


def _rows(change: Change, origin: Origin) -> Iterator[Line]:
    """One line of what it was and what it is; two where a value has an arrow of its own."""
    if change.is_change and any(map(_has_arrow, (change.before, change.after))):
        yield _row(f"{change.name}, before", change.before, origin)
        yield _row(f"{change.name}, after", change.after, origin)
        return
    words = f"{change.before} -> {change.after}" if change.is_change else f"{change.after} (unchanged)"
    yield _row(change.name, words, origin)


def _row(name: str, words: str, origin: Origin) -> Line:
    names = _warnings(f"{name} {words}", is_prose=False)
    return Line(label=escape(name), text=escape(words), origin=origin, warnings=names)


def _has_arrow(text: str) -> bool:
    return "->" in text or "=>" in text or any("ARROW" in unicodedata.name(character, "") for character in text)


def _reach(card: Card) -> Section:
    """The blast radius: how many objects, where, what else is set off, and what it can cost."""
    objects = str(card.objects) if card.objects else "not known beforehand: whatever fits what is allowed"
    lines = [
        _line("Objects", objects, origin=Origin.TOOL if card.preview else Origin.POLICY, is_loud=not card.objects),
        _line("Where", f"{card.tenant} / {card.environment}", origin=Origin.RUN),
    ]
    lines += [_line("Sets off", effect, origin=Origin.TOOL) for effect in card.external]
    if card.cost:
        lines.append(_line("Costs at most", ", ".join(f"{unit} {amount}" for unit, amount in card.cost.items())))
    return Section(name=SectionName.REACH, lines=tuple(lines))


def _action(card: Card, line: CardLine) -> Section:
    is_destructive = line.effect == Effect.DESTRUCTIVE
    lines = [_line(name, value, origin=Origin.RUN) for name, value in line.attributes.items()]
    if line.effect != Effect.READ:
        lines.append(_line("undo", line.undo or "none is declared", is_loud=is_destructive and not line.undo))
        if card.preview_undo:
            lines.append(_line("undo, tool", card.preview_undo, origin=Origin.TOOL))
    lines.append(_line("approval", _approval_words(card, line)))
    title = escape(f"{line.action}  {line.effect.upper()}")
    return Section(name=SectionName.ACTION, title=title, lines=tuple(lines), is_loud=is_destructive)


def _approval_words(card: Card, line: CardLine) -> str:
    if card.kind == RequestKind.CALL:
        return "this card, used once"
    return {
        ApprovalMode.NONE: "none is needed",
        ApprovalMode.LEASE: "this card, once for the whole lease",
        ApprovalMode.CALL: "asked again for each call",
    }[ApprovalMode(line.approval)]


def _arguments(card: Card) -> Iterator[Section]:
    if card.arguments:
        lines = [_line(name, value, origin=Origin.RUN) for name, value in card.arguments.items()]
        lines.append(_line("digest", short_digest(card.arguments_digest)))
        yield Section(name=SectionName.ARGUMENTS, title="with these arguments", lines=tuple(lines))


def _limits(card: Card) -> Iterator[Line]:
    """The badge that is issued: what stays forbidden, how much, how long."""
    yield _line("NOT ALLOWED", ", ".join(card.not_allowed) or "nothing is named; whatever is not above is refused")
    if card.budget:
        yield _line("Budget", ", ".join(f"{unit} {amount}" for unit, amount in card.budget.items()))
    if card.ttl_seconds:
        until = f"renewed no later than {show_time(card.window_until)}"
        yield _line("Expires", f"each lease after {show_duration(card.ttl_seconds)}; {until}")
    else:
        yield _line("Expires", f"used once, before {show_time(card.window_until)}")
    if card.ends_on:
        yield _line("Ends on", ", ".join(card.ends_on))
    yield _line("Sub-agents", card.delegation)
    yield _line("Receipt", "signed, when the run ends" if card.receipt else "none")
    if card.key:
        yield _line("Key", card.key, origin=Origin.RUN)
    if card.tool_schema:
        yield _line("Tool", f"{card.tool}, its function as of {short_digest(card.tool_schema)}")


def _people(card: Card, footer: Footer | None) -> Iterator[Line]:
    yield _line("Agent", f"{card.agent}, {card.run_id}, attempt {card.attempt}", origin=Origin.RUN)
    yield _line("For", f"{card.requested_by} ({card.requester_proof})", origin=Origin.RUN)
    yield _line("Route", card.route)
    yield _line("Approvers", _approver_words(card, footer))
    if footer is not None and footer.may_approve:
        yield _line("May approve", ", ".join(footer.may_approve))
    if card.requester_may_approve:
        yield _line("", "people may confirm their own writes here", is_loud=True)
    if card.edited_from:
        yield _line("Edited from", f"{card.edited_from}; who edited may not approve")
    if card.rule:
        yield _line("Rule", card.rule)
    yield _line("Policy", short_digest(card.policy))
    yield _line("Answer by", show_time(card.answer_by))
    yield _line("Request", card.request_id)
    if footer is not None:
        yield _line("Card", short_digest(footer.card_digest))


def _approver_words(card: Card, footer: Footer | None) -> str:
    if not card.quorum:
        return "nobody has to agree"
    approved = footer.approved_by if footer is not None else ()
    given = f" ({', '.join(approved)})" if approved else ""
    return f"{', '.join(card.approvers)}: {len(approved)} of {card.quorum} so far{given}"


def _history(card: Card) -> Iterator[Section]:
    if card.facts:
        lines = tuple(_line("", fact, origin=Origin.LEDGER) for fact in card.facts)
        yield Section(name=SectionName.HISTORY, title="what the run did so far, from the ledger", lines=lines)


def _agent_words(card: Card) -> Iterator[Line]:
    yield _line("purpose of the run", card.purpose, origin=Origin.AGENT)
    if card.reason:
        yield _line("reason", card.reason, origin=Origin.AGENT)
    for tried in card.tried:
        yield _line("already tried", tried, origin=Origin.AGENT)
