"""The page on which a person lets a program ask in their name, drawn for `leasehold.http.oauth.consent`.

It shows the same sheet as a card does, in the same order, and says twice that asking is no approval.
"""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response

from leasehold.console.card import Field
from leasehold.console.drawing import draw_page
from leasehold.console.told import tell_line
from leasehold.http.oauth.consent import ConsentView
from leasehold.http.oauth.metadata import AUTHORIZE
from leasehold.model.sheet import Line, SectionName, lay_out

__all__ = ["consent_page"]

_ELSEWHERE = frozenset({SectionName.ASKED, SectionName.PEOPLE, SectionName.WORDS})


def consent_page(request: Request, view: ConsentView) -> Response:
    """What a program asks for in this person's name, and the form that lets it."""
    sheet = lay_out(view.rehearsed.card)
    parts = [section for section in sheet.sections if section.name not in _ELSEWHERE]
    words = [line for section in sheet.sections if section.name is SectionName.WORDS for line in section.lines]
    return draw_page(
        request,
        "consent.html",
        here="inbox",
        view=view,
        action=AUTHORIZE,
        headline=tell_line(sheet.headline, is_whole=True),
        card=view.rehearsed.card,
        parts=[(part.title, [_field(line) for line in part.lines]) for part in parts],
        words=[_field(line) for line in words],
    )


def _field(line: Line) -> Field:
    value = tell_line(line, is_whole=True)
    return Field(label=line.label, value=value, origin=line.origin, is_loud=line.is_loud)
