"""What a message in Slack looks like, in Block Kit: a notice, or a whole card with buttons. Pure.

Text goes out as plain text with Slack's three control characters escaped, so that nothing that an agent wrote becomes a
mention, a link, markup or a button (threat cases 83 and 89). Slack takes 3,000 characters in one place: what is longer
is left out as a whole, and the message says so; a card that is longer gets no buttons.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TypeAlias

from msgspec.structs import replace

from leasehold.model import canonical
from leasehold.model.card import Card, Footer
from leasehold.model.chat import chat_text
from leasehold.model.notice import ChatCard, Fact, Notice
from leasehold.model.plain import wrap
from leasehold.model.request import Verdict
from leasehold.model.sheet import Line, Origin, Sheet, lay_out, short_digest
from leasehold.notices.wording import unlinked

__all__ = ["ACTIONS", "MAX_TEXT", "MAX_WORDS", "WORDS", "blocks", "card_text", "escape_slack", "summary"]

MAX_TEXT = 3000
MAX_WORDS = 1000
"""How long the words of an answer may be."""
ACTIONS = {Verdict.APPROVE: "leasehold_approve", Verdict.DENY: "leasehold_deny"}
"""What Slack calls the buttons when it tells of one."""
WORDS = "leasehold_words"
_MAX_SUMMARY = 300
_QUOTE_WIDTH = 100

_Block: TypeAlias = dict[str, object]


def blocks(notice: Notice) -> list[_Block]:
    """The message: title, what it is about, a link; last, where they fit whole, words of people and agents.

    A card that may be answered here stands in it whole, agents' words included, and under everything else its buttons.
    """
    found: list[_Block] = [{"type": "header", "text": _plain(notice.title)}]
    found += _facts(notice) if notice.card is None else [{**_section(notice.card.text, ""), "expand": True}]
    if notice.link:
        found.append({"type": "section", "text": {"type": "mrkdwn", "text": f"<{escape_slack(notice.link)}|Open>"}})
    elif notice.command:
        found.append(_section(notice.command, ""))
    return [*found, *_quotes(notice), *(_buttons(notice.card) if notice.card is not None else ())]


def _facts(notice: Notice) -> Iterator[_Block]:
    if notice.headline:
        yield _section(notice.headline, "What is asked is too long for here; open it to read it whole.")
    for text in _lines(notice):
        yield _section(text, "One line is too long for here; open it to read it whole.")


def _quotes(notice: Notice) -> list[_Block]:
    quotes = [_quote(quote) for quote in notice.quotes]
    if all(len(escape_slack(text)) <= MAX_TEXT for text in quotes):
        return [_section(text, "") for text in quotes]
    return [_section("What was written with it is too long for here; open it to read it whole.", "")]


# a card that may be answered


def card_text(card: Card, footer: Footer) -> str:
    """The whole card as one text of a message, escaped for people; empty where it does not fit whole."""
    told = chat_text(_told(lay_out(card, footer)), MAX_TEXT)
    return told.text if told.is_whole and len(escape_slack(told.text)) <= MAX_TEXT else ""


def _told(sheet: Sheet) -> Sheet:
    """The sheet with nothing in it that a chat makes a link or a mention of."""
    sections = (
        replace(section, lines=tuple(map(_told_line, section.lines)), title=_unschemed(section.title))
        for section in sheet.sections
    )
    return replace(sheet, headline=_told_line(sheet.headline), sections=tuple(sections))


def _told_line(line: Line) -> Line:
    is_strangers = line.origin in (Origin.AGENT, Origin.TOOL, Origin.PERSON)
    return replace(line, label=_unschemed(line.label), text=(unlinked if is_strangers else _unschemed)(line.text))


def _unschemed(text: str) -> str:
    return text.replace("://", ":[//]")


def _buttons(card: ChatCard) -> list[_Block]:
    """Words, Deny, Approve. Each button names the channel, the request and the digest of the card above it."""
    value = canonical.encode({"card": card.digest, "channel": card.channel, "request": card.request}).decode()
    words = {
        "type": "input",
        "block_id": WORDS,
        "optional": True,
        "label": _plain("Words to the agent; a denial needs some"),
        "element": {"type": "plain_text_input", "action_id": WORDS, "multiline": True, "max_length": MAX_WORDS},
    }
    deny = {"type": "button", "action_id": ACTIONS[Verdict.DENY], "text": _plain("Deny"), "value": value}
    approve = {
        "type": "button",
        "action_id": ACTIONS[Verdict.APPROVE],
        "text": _plain("Approve"),
        "value": value,
        "confirm": {
            "title": _plain("Approve this?"),
            "text": _plain(f"{card.request}, card {short_digest(card.digest)}: all of what stands above."),
            "confirm": _plain("Approve"),
            "deny": _plain("Back"),
        },
    }
    return [words, {"type": "actions", "block_id": "answer", "elements": [deny, approve]}]


# parts


def _lines(notice: Notice) -> Sequence[str]:
    """The facts, as many in one block as fit."""
    texts: list[str] = []
    for fact in notice.facts:
        line = f"{fact.label}: {fact.text}"
        if texts and len(escape_slack(f"{texts[-1]}\n{line}")) <= MAX_TEXT:
            texts[-1] = f"{texts[-1]}\n{line}"
        else:
            texts.append(line)
    return texts


def _quote(quote: Fact) -> str:
    return "\n".join([f"{quote.label}:", *(f"> {line}" for line in wrap(quote.text, _QUOTE_WIDTH))])


def _section(text: str, instead: str) -> dict[str, object]:
    return {"type": "section", "text": _plain(text if len(escape_slack(text)) <= MAX_TEXT else instead)}


def _plain(text: str) -> dict[str, object]:
    return {"type": "plain_text", "text": escape_slack(text), "emoji": False}


def summary(notice: Notice) -> str:
    """What a phone shows of it: one short line."""
    whole = f"{notice.title}: {notice.headline}" if notice.headline else notice.title
    return escape_slack(whole if len(whole) <= _MAX_SUMMARY else notice.title)


def escape_slack(text: str) -> str:
    """Text in which Slack finds no control character."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
