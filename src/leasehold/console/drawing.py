"""Templates to pages. The one place where text becomes HTML: made plain first, escaped after, without exception.

Called by every page. The environment escapes by itself and refuses undefined names; `finalize` makes each text that a
template writes plain, so that no template can forget it. Nothing in the console marks a text as safe; a test looks.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from functools import cache
from typing import cast

import msgspec
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup
from starlette.requests import Request
from starlette.responses import HTMLResponse

from leasehold.authority.person_desk import PersonDesk
from leasehold.console.links import link
from leasehold.console.told import tell
from leasehold.decide.rows import GlassRow
from leasehold.http.forms import FormTokens
from leasehold.http.sign_in import SIGN_OUT
from leasehold.ledger.entry import Entry
from leasehold.model.budget import format_amount
from leasehold.model.instant import Instant
from leasehold.model.plain import escape
from leasehold.model.scope import StopKind
from leasehold.model.times import show_countdown, show_duration, show_time

__all__ = ["Chrome", "draw", "draw_page", "environment", "tokens_of", "viewer_of"]

_DIGEST_DIGITS = 8


class Chrome(msgspec.Struct, frozen=True, kw_only=True):
    """What stands around every page of a signed-in person. `here` is the part of the console that they are in.

    `glasses` are those that are open now, `has_glass` whether there is anything of break-glass for this person.
    """

    person: str
    here: str
    waiting: int
    held: int
    proposed: int
    glasses: tuple[GlassRow, ...]
    glasses_waiting: int
    has_glass: bool
    sign_out_token: str


@cache
def environment() -> Environment:
    """The console's templates."""
    made = Environment(
        loader=PackageLoader("leasehold.console", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=_plain,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters |= {
        "amount": format_amount,
        "countdown": show_countdown,
        "duration": show_duration,
        "iso": _iso,
        "left": _seconds_until,
        "members": _members,
        "short": _short,
        "tell": tell,
        "time": show_time,
    }
    made.globals["link"] = link
    return made


def draw(template: str, values: Mapping[str, object]) -> str:
    """One template with its values."""
    return environment().get_template(template).render(values)


def draw_page(request: Request, template: str, *, here: str, status: int = 200, **values: object) -> HTMLResponse:
    """A whole page for the person who asks; `here` names its part of the console."""
    viewer = viewer_of(request)
    glass = viewer.glass.glance()
    chrome = Chrome(
        person=viewer.person,
        here=here,
        waiting=sum(each.refusal is None for each in viewer.inbox()),
        glasses=glass.open,
        glasses_waiting=len(glass.waiting),
        has_glass=glass.is_known or bool(viewer.glass.openable()),
        proposed=sum(row.person != viewer.person for row in viewer.governing.open()),
        held=sum(stop.kind is StopKind.HOLD for stop in viewer.standing()),
        sign_out_token=tokens_of(request).make(SIGN_OUT),
    )
    return HTMLResponse(draw(template, {"chrome": chrome, "now": viewer.now(), **values}), status_code=status)


def viewer_of(request: Request) -> PersonDesk:
    """What the person who asks may see and do."""
    return cast(PersonDesk, request.state.viewer)


def tokens_of(request: Request) -> FormTokens:
    """The tokens of forms that their browser is shown."""
    return cast(FormTokens, request.state.tokens)


def _seconds_until(deadline: int, now: Instant) -> int:
    """Whole seconds left, rounded up, never less than zero."""
    return max(0, -(-now.milliseconds_until(deadline) // 1000))


def _plain(value: object) -> object:
    """What a template writes, with nothing hidden in it. Markup is what other templates have made."""
    return escape(value) if isinstance(value, str) and not isinstance(value, Markup) else value


def _iso(seconds: int) -> str:
    """A Unix time as the `datetime` of a `<time>` element."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _members(entry: Entry) -> list[tuple[str, str]]:
    """What an entry holds, each member as text."""
    value: dict[str, object] = msgspec.to_builtins(entry)
    return [
        (name, member if isinstance(member, str) else msgspec.json.encode(member, order="sorted").decode())
        for name, member in value.items()
    ]


def _short(digest: str) -> str:
    """The first hex digits of a digest, as people compare them."""
    return digest.rpartition(":")[2][:_DIGEST_DIGITS]
