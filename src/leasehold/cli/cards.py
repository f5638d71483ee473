"""A card as text for a terminal: everything its digest covers, in an order that can be read in ten seconds.

Called by `request` and `demo`. Pure. Every value is escaped and wrapped, none is shortened; what agents wrote stands
last, quoted and labelled (requirements L10, B6, P10, F3).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import click

from leasehold.model.card import Card, CardLine
from leasehold.model.effect import ApprovalMode, Effect
from leasehold.model.plain import escape, hidden_words, script_words, wrap
from leasehold.model.request import RequestKind
from leasehold.model.text import has_mixed_scripts
from leasehold.model.times import show_duration, show_time

__all__ = ["DIGEST_DIGITS", "render_card", "short_digest"]

DIGEST_DIGITS = 8
_LABEL = 13
_SMALLEST_WIDTH = 40


def render_card(
    card: Card, *, width: int = 80, colour: bool = False, digest: str = "", approved_by: Sequence[str] = ()
) -> str:
    """Return the card as lines of at most `width` columns (40 at least), each ended by a newline.

    `digest` is the card's own, of which the first hex digits are shown; `approved_by` who has approved so far.
    """
    sheet = _Sheet(max(width, _SMALLEST_WIDTH), colour=colour)
    _head(sheet, card)
    _actions(sheet, card)
    _limits(sheet, card)
    _people(sheet, card, digest, approved_by)
    _agent_words(sheet, card)
    return sheet.text()


def short_digest(digest: str) -> str:
    """The first hex digits of a digest, as people compare them."""
    return digest.rpartition(":")[2][:DIGEST_DIGITS]


class _Sheet:
    """Lines under way. Owned by one call of `render_card`."""

    def __init__(self, width: int, *, colour: bool) -> None:
        self._width = width
        self._colour = colour
        self._lines: list[str] = []

    def text(self) -> str:
        return "".join(f"{line}\n" for line in self._lines)

    def rule(self) -> None:
        self._lines.append("─" * self._width)

    def title(self, text: str) -> None:
        """The sentence that matters most, with its warnings."""
        self._add(text, "", "", bold=True)
        self._warn(text, "")

    def heading(self, text: str, *, loud: bool = False) -> None:
        self._add(text, "", "", bold=True, red=loud)

    def field(self, label: str, text: str, *, indent: int = 0, loud: bool = False) -> None:
        """One named value, wrapped under itself, with its warnings."""
        first = " " * indent + escape(label).ljust(_LABEL - indent) + " "
        self._add(text, first, " " * len(first) if len(first) <= self._width // 2 else " " * (indent + 2), red=loud)
        self._warn(label + " " + text, " " * (indent + 2))

    def quote(self, text: str) -> None:
        """Words of an agent, each line marked."""
        self._add(text, "  | ", "  | ")
        self._warn(text, "  | ", names_something=False)

    def _warn(self, raw: str, indent: str, *, names_something: bool = True) -> None:
        """Say what could deceive. Prose may be in any script, names and targets may not without a word about it."""
        scripts = script_words(raw) if names_something or has_mixed_scripts(raw) else ""
        for words in (hidden_words(raw), scripts):
            if words:
                self._add(f"! {words}", indent, indent + "  ", red=True)

    def _add(self, raw: str, first: str, rest: str, *, bold: bool = False, red: bool = False) -> None:
        """Escape, wrap and mark. A label that leaves no room gets a line of its own."""
        text = escape(raw)
        if len(first) > self._width // 2:
            self._lines += wrap(first.rstrip(), self._width)
            first = rest
        indents = [first]
        for line in wrap(text, self._width - max(len(first), len(rest))):
            self._lines.append(indents.pop() + self._styled(line, bold=bold, red=red))
            indents.append(rest)

    def _styled(self, line: str, *, bold: bool, red: bool) -> str:
        if not self._colour or not (bold or red):
            return line
        return click.style(line, bold=bold or None, fg="red" if red else None)


def _head(sheet: _Sheet, card: Card) -> None:
    sheet.rule()
    sheet.title(card.headline)
    what = "a lease" if card.kind == RequestKind.LEASE else "exactly this call, once"
    sheet.field("Asked for", f"{what}; {_effects(card.lines)}", loud=_is_destructive(card))
    sheet.rule()


def _is_destructive(card: Card) -> bool:
    return any(line.effect == Effect.DESTRUCTIVE for line in card.lines)


def _effects(lines: Sequence[CardLine]) -> str:
    counts = Counter(line.effect for line in lines)
    return ", ".join(f"{counts[effect]} {effect}" for effect in reversed(Effect) if counts[effect])


def _actions(sheet: _Sheet, card: Card) -> None:
    for line in card.lines:
        is_destructive = line.effect == Effect.DESTRUCTIVE
        sheet.heading(f"{line.action}  {line.effect.upper()}", loud=is_destructive)
        for name, value in line.attributes.items():
            sheet.field(name, value, indent=2)
        if line.effect != Effect.READ:
            sheet.field("undo", line.undo or "none is declared", indent=2, loud=is_destructive and not line.undo)
        sheet.field("approval", _approval_words(card, line), indent=2)
    if card.arguments:
        sheet.heading("with these arguments")
        for name, value in card.arguments.items():
            sheet.field(name, value, indent=2)
        sheet.field("digest", short_digest(card.arguments_digest), indent=2)
    sheet.field("NOT ALLOWED", ", ".join(card.not_allowed) or "nothing is named; whatever is not above is refused")


def _approval_words(card: Card, line: CardLine) -> str:
    if card.kind == RequestKind.CALL:
        return "this card, used once"
    return {
        ApprovalMode.NONE: "none is needed",
        ApprovalMode.LEASE: "this card, once for the whole lease",
        ApprovalMode.CALL: "asked again for each call",
    }[ApprovalMode(line.approval)]


def _limits(sheet: _Sheet, card: Card) -> None:
    if card.budget:
        sheet.field("Budget", ", ".join(f"{unit} {amount}" for unit, amount in card.budget.items()))
    if card.ttl_seconds:
        until = f"renewed no later than {show_time(card.window_until)}"
        sheet.field("Expires", f"each lease after {show_duration(card.ttl_seconds)}; {until}")
    else:
        sheet.field("Expires", f"used once, before {show_time(card.window_until)}")
    if card.ends_on:
        sheet.field("Ends on", ", ".join(card.ends_on))
    sheet.field("Sub-agents", card.delegation)
    sheet.field("Receipt", "signed, when the run ends" if card.receipt else "none")
    if card.key:
        sheet.field("Key", card.key)


def _people(sheet: _Sheet, card: Card, digest: str, approved_by: Sequence[str]) -> None:
    sheet.rule()
    sheet.field("Agent", f"{card.agent}, {card.run_id}, attempt {card.attempt}")
    sheet.field("For", f"{card.requested_by} ({card.requester_proof}), {card.tenant} / {card.environment}")
    sheet.field("Route", card.route)
    given = f" ({', '.join(approved_by)})" if approved_by else ""
    who = f"{', '.join(card.approvers)}: {len(approved_by)} of {card.quorum} so far{given}"
    sheet.field("Approvers", who if card.quorum else "nobody has to agree")
    if card.requester_may_approve:
        sheet.field("", "people may confirm their own writes here", loud=True)
    if card.rule:
        sheet.field("Rule", card.rule)
    sheet.field("Policy", short_digest(card.policy))
    sheet.field("Answer by", show_time(card.answer_by))
    sheet.field("Request", card.request_id)
    if digest:
        sheet.field("Card", short_digest(digest))


def _agent_words(sheet: _Sheet, card: Card) -> None:
    sheet.rule()
    sheet.heading("written by the agent, not checked:")
    sheet.quote(f"purpose of the run: {card.purpose}")
    if card.reason:
        sheet.quote(f"reason: {card.reason}")
    for tried in card.tried:
        sheet.quote(f"already tried: {tried}")
