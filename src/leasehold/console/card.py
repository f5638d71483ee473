"""The card: what is asked, on one phone screen, and the form that answers it.

The order is fixed (notes on cards): headline, what changes, blast radius, undo, the badge with what stays forbidden,
then the agent's own words, then the small print. Deny stands first and is preselected. What is too long for a card is
cut, and then Approve leads to the whole first. Everything that a person must not be hurried past is held by the server.
"""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from leasehold.authority.person_desk import Waiting
from leasehold.console.inbox import strongest_effect
from leasehold.console.live import fingerprint
from leasehold.console.sight import FINAL_WAIT_MS, WAIT_MS
from leasehold.console.told import CLIP_CHARACTERS, Told, tell_line
from leasehold.decide.approvals import answers_of
from leasehold.model.card import Card, Footer
from leasehold.model.decision import Reason
from leasehold.model.effect import Effect
from leasehold.model.instant import Instant
from leasehold.model.request import Answer, RequestKind, RequestState
from leasehold.model.sheet import Line, Origin, Section, SectionName, Sheet, lay_out

__all__ = ["CardPage", "Field", "Part", "card_page", "is_final", "state_of"]

_ON_TOP = (SectionName.CHANGES, SectionName.ARGUMENTS, SectionName.REACH, SectionName.ACTION)
_TITLES = {
    SectionName.ARGUMENTS: "What is asked, word for word",
    SectionName.REACH: "How far it reaches",
    SectionName.LIMITS: "The badge",
}
_SMALL = frozenset({"Sub-agents", "Receipt", "Key", "Tool"})
"""Limits that stand in the small print, so that the card stays on one screen."""


class Field(msgspec.Struct, frozen=True, kw_only=True):
    """One named value of the card, with whose word it is."""

    label: str
    value: Told
    origin: Origin
    is_loud: bool


class Part(msgspec.Struct, frozen=True, kw_only=True):
    """Fields that belong together."""

    name: SectionName
    title: str
    fields: tuple[Field, ...]
    is_loud: bool = False


class CardPage(msgspec.Struct, frozen=True, kw_only=True):
    """A card as it is drawn, apart from the time that is left.

    `state` is the request's as of now, `successor` what it was edited to. `not_mine` says why this person cannot
    answer, `lacks` what their approval needs besides the session as it is. `is_clipped` says that something is cut,
    `is_final` that something asked for cannot be undone. `small` is the small print.
    """

    request_id: str
    run_id: str
    digest: str
    state: str
    answers: tuple[Answer, ...]
    approvals: tuple[str, ...]
    quorum: int
    not_mine: str
    lacks: Reason | None
    answer_by: int
    asked: str
    successor: str = ""
    headline: Told | None = None
    effect: str = ""
    parts: tuple[Part, ...] = ()
    words: tuple[Field, ...] = ()
    small: tuple[Field, ...] = ()
    is_clipped: bool = False
    is_final: bool = False

    @property
    def is_open(self) -> bool:
        """Whether it waits for an answer."""
        return self.state == RequestState.PENDING

    @property
    def wait_ms(self) -> int:
        """How long it has to have been shown before an approval counts."""
        return FINAL_WAIT_MS if self.is_final else WAIT_MS

    @property
    def shown(self) -> str:
        """The fingerprint of everything that it shows and that can change: equal cards may be answered alike."""
        return fingerprint((self.digest, self.state, self.answers, self.not_mine))


def card_page(waiting: Waiting, now: Instant, *, is_whole: bool) -> CardPage:
    """The card of a request as it stands now; `is_whole` where nothing is to be cut."""
    page = CardPage(
        request_id=waiting.request.request_id,
        run_id=waiting.run.run_id,
        digest=waiting.request.card_digest,
        state=state_of(waiting, now),
        answers=answers_of(waiting.row),
        approvals=waiting.approvals,
        quorum=len(waiting.approvals) + waiting.missing,
        not_mine=waiting.refusal.message if waiting.refusal is not None else "",
        lacks=waiting.proof.reason if waiting.proof is not None else None,
        answer_by=waiting.request.answer_by,
        asked="exactly this call, once" if waiting.request.kind is RequestKind.CALL else "a lease",
        successor=waiting.row.used_by if waiting.row.state == RequestState.SUPERSEDED else "",
    )
    return page if waiting.card is None else _with_sheet(page, waiting.card, waiting, is_whole=is_whole)


def state_of(waiting: Waiting, now: Instant) -> str:
    """Where the request stands, also where no sweep has written it down yet. A time-out is no denial."""
    row = waiting.row
    if row.revoked:
        return "revoked"
    is_late = row.state == RequestState.PENDING and now.reached(row.answer_by)
    return RequestState.EXPIRED if is_late else row.state


def is_final(card: Card) -> bool:
    """Whether something that the card asks for, other than reading, cannot be undone as far as the policy says."""
    return any(line.effect != Effect.READ and not line.undo for line in card.lines)


def _with_sheet(page: CardPage, card: Card, waiting: Waiting, *, is_whole: bool) -> CardPage:
    sheet = lay_out(card, _footer(page, waiting))

    def field(line: Line) -> Field:
        value = tell_line(line, is_whole=is_whole)
        return Field(label=line.label, value=value, origin=line.origin, is_loud=line.is_loud)

    return msgspec.structs.replace(
        page,
        headline=tell_line(sheet.headline, is_whole=is_whole),
        effect=strongest_effect(card),
        parts=tuple(
            Part(
                name=part.name,
                title=_TITLES.get(part.name, part.title),
                fields=tuple(map(field, part.lines)),
                is_loud=part.is_loud,
            )
            for part in _parts(sheet)
        ),
        words=tuple(field(line) for line in sorted(_lines(sheet, SectionName.WORDS), key=_is_background)),
        small=tuple(map(field, _small_print(sheet))),
        is_clipped=not is_whole and bool(sheet.clipped(CLIP_CHARACTERS)),
        is_final=is_final(card),
    )


def _footer(page: CardPage, waiting: Waiting) -> Footer:
    """How it stands with the answers."""
    return Footer(
        state=RequestState(waiting.row.state),
        answer_by=page.answer_by,
        card_digest=page.digest,
        quorum=page.quorum,
        approved_by=page.approvals,
    )


def _parts(sheet: Sheet) -> Iterator[Section]:
    """The sections of the card proper, in the order in which they are read, without what stands elsewhere on it."""
    said = {line.text for line in _lines(sheet, SectionName.ARGUMENTS)}
    for name in (*_ON_TOP, SectionName.LIMITS, SectionName.HISTORY):
        for section in sheet.sections:
            if section.name is name:
                kept = [line for line in section.lines if not _is_elsewhere(name, line, said)]
                yield msgspec.structs.replace(section, lines=tuple(kept))


def _is_elsewhere(name: SectionName, line: Line, said: set[str]) -> bool:
    """Whether a line stands in the small print, or says of a call what its arguments say word for word.

    What agents gave a name is told by its origin, never by that name: an argument may be called `digest`.
    """
    match name:
        case SectionName.ACTION if said:
            return line.text in said if line.origin is Origin.RUN else line.label == "approval"
        case SectionName.ARGUMENTS:
            return line.origin is not Origin.RUN
        case SectionName.LIMITS:
            return line.label in _SMALL
        case _:
            return False


def _is_background(line: Line) -> bool:
    """Whether words are not the reason itself, which stands first."""
    return line.label != "reason"


def _small_print(sheet: Sheet) -> tuple[Line, ...]:
    digest = (line for line in _lines(sheet, SectionName.ARGUMENTS) if line.origin is not Origin.RUN)
    limits = (line for line in _lines(sheet, SectionName.LIMITS) if line.label in _SMALL)
    return (*digest, *limits, *_lines(sheet, SectionName.PEOPLE))


def _lines(sheet: Sheet, name: SectionName) -> tuple[Line, ...]:
    return tuple(line for section in sheet.sections if section.name is name for line in section.lines)
