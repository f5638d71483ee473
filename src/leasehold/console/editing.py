"""Edit, then let somebody else approve: the same action with other values, judged by policy anew.

The form has a field for each argument of a call, by its JSON type, and for each attribute of a lease. What a person
leaves alone is sent on exactly as the agent wrote it; hidden characters and long spaces stand written out in the
fields, and only what was changed is read back.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from enum import StrEnum

import msgspec
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import BaseRoute, Route

from leasehold.authority.person_desk import Waiting
from leasehold.console.drawing import draw_page, tokens_of, viewer_of
from leasehold.console.links import link
from leasehold.errors import Denied, InvalidError, NotFoundError
from leasehold.http.forms import about_card, check_token, read_form
from leasehold.http.problems import ProblemError
from leasehold.model.canonical import Json, decode, encode
from leasehold.model.decision import Decision
from leasehold.model.grant import OneOf
from leasehold.model.plain import escape
from leasehold.model.request import RequestKind

__all__ = ["EditField", "FieldKind", "edit_fields", "edit_routes", "read_edit"]

_LONG = 60
_SPACES = re.compile(r"<U\+0020 ×([1-9][0-9]{0,3})>")


class FieldKind(StrEnum):
    """How a value is typed in: words, several lines of words, one value a line, yes or no, or JSON."""

    WORDS = "words"
    TEXT = "text"
    LINES = "lines"
    SWITCH = "switch"
    JSON = "json"


class EditField(msgspec.Struct, frozen=True, kw_only=True):
    """One value that can be edited. `lines` are its text as it stands in the field; `group` the action it is of."""

    name: str
    group: str
    label: str
    kind: FieldKind
    lines: tuple[str, ...]

    @property
    def text(self) -> str:
        """The whole text of the field."""
        return "\n".join(self.lines)


def edit_fields(waiting: Waiting) -> tuple[EditField, ...]:
    """The fields of a request's form.

    Raises:
        InvalidError: its card is not kept, or the policy redacts an argument: what nobody sees nobody can edit.
    """
    if waiting.card is None:
        raise InvalidError("the card is not kept any more; nobody can edit what nobody sees")
    if waiting.request.kind is RequestKind.CALL:
        arguments = decode(waiting.card.exact_arguments.encode()) if waiting.card.exact_arguments else None
        if not isinstance(arguments, dict):
            raise InvalidError("the policy redacts an argument of this call; nobody can edit what nobody sees")
        action = next(iter(waiting.request.allow))
        return tuple(
            _field(f"v{index}", action, label, value) for index, (label, value) in enumerate(sorted(arguments.items()))
        )
    return tuple(_grant_fields(waiting))


def read_edit(waiting: Waiting, form: Mapping[str, str]) -> dict[str, Json] | dict[str, dict[str, object]]:
    """What a posted form asks for: of a call the arguments that were changed, of a lease all its grants.

    Raises:
        InvalidError: a value cannot be read; it names the field.
    """
    fields = edit_fields(waiting)
    if waiting.request.kind is RequestKind.CALL:
        changed = [field for field in fields if _typed(form, field) != field.text]
        return {field.label: _read(field, _typed(form, field)) for field in changed}
    grants: dict[str, dict[str, object]] = {}
    kept = {form.get(f"g{index}", "") for index in range(len(waiting.request.allow))}
    for action, grant in sorted(waiting.request.allow.items()):
        if action in kept:
            before = {name: constraint.to_json() for name, constraint in grant.attributes.items()}
            own = [field for field in fields if field.group == action and _typed(form, field) != field.text]
            grants[action] = {**before, **{field.label: _read(field, _typed(form, field)) for field in own}}
    return grants


def _grant_fields(waiting: Waiting) -> Iterator[EditField]:
    index = 0
    for action, grant in sorted(waiting.request.allow.items()):
        for name, constraint in sorted(grant.attributes.items()):
            value = constraint.to_json()
            is_words = isinstance(constraint, OneOf) and all(isinstance(each, str) for each in _listed(value))
            kind = FieldKind.LINES if is_words else FieldKind.JSON
            lines = _listed(value) if is_words else [encode(value).decode()]
            yield EditField(
                name=f"v{index}", group=action, label=name, kind=kind, lines=tuple(escape(str(each)) for each in lines)
            )
            index += 1


def _listed(value: object) -> list[object]:
    return value if isinstance(value, list) else [value]


def _field(name: str, group: str, label: str, value: Json) -> EditField:
    if isinstance(value, bool):
        kind, text = FieldKind.SWITCH, "yes" if value else "no"
    elif isinstance(value, str):
        kind, text = FieldKind.TEXT if "\n" in value or len(value) > _LONG else FieldKind.WORDS, value
    else:
        kind, text = FieldKind.JSON, encode(value).decode()
    return EditField(name=name, group=group, label=label, kind=kind, lines=tuple(map(escape, text.split("\n"))))


def _typed(form: Mapping[str, str], field: EditField) -> str:
    """What stands in a field now; browsers end lines with two characters."""
    return form.get(field.name, "").replace("\r\n", "\n")


def _read(field: EditField, text: str) -> Json:
    match field.kind:
        case FieldKind.SWITCH:
            if text not in ("yes", "no"):
                raise InvalidError(f"{field.label} is yes or no")
            return text == "yes"
        case FieldKind.WORDS | FieldKind.TEXT:
            return _with_spaces(text)
        case FieldKind.LINES:
            return [_with_spaces(line.strip()) for line in text.split("\n") if line.strip()]
        case FieldKind.JSON:
            try:
                return decode(text.encode())
            except InvalidError as error:
                raise InvalidError(f"{field.label} is no JSON: {error}") from None


def _with_spaces(text: str) -> str:
    """Runs of spaces, which the field writes out, as what they are."""
    return _SPACES.sub(lambda run: " " * int(run[1]), text)


def edit(request: Request) -> Response:
    """The form; the card itself where there is nothing to edit any more."""
    waiting = viewer_of(request).waiting(request.path_params["request_id"])
    if waiting.refusal is not None:
        return RedirectResponse(link("requests", waiting.request.request_id), status_code=303)
    return _show(request)


def _show(request: Request, *, told: str = "", typed: Mapping[str, str] | None = None, status: int = 200) -> Response:
    waiting = _waiting(request)
    about = about_card(waiting.request.request_id, waiting.request.card_digest)
    return draw_page(
        request,
        "edit.html",
        here="inbox",
        status=status,
        waiting=waiting,
        fields=edit_fields(waiting),
        actions=sorted(waiting.request.allow),
        is_lease=waiting.request.kind is RequestKind.LEASE,
        typed={name: value.replace("\r\n", "\n").split("\n") for name, value in (typed or {}).items()},
        kept=None if typed is None else {value for name, value in typed.items() if name.startswith("g")},
        words=(typed or {}).get("reason", ""),
        told=told,
        token=tokens_of(request).make("edit", about),
    )


def _waiting(request: Request) -> Waiting:
    """The request, as long as this person may edit it.

    Raises:
        ProblemError: 409; it does not wait for their word.
    """
    waiting = viewer_of(request).waiting(request.path_params["request_id"])
    if waiting.refusal is not None:
        raise ProblemError(409, "Too late to edit", f"It was not edited: {waiting.refusal.message}. Nothing was done.")
    return waiting


async def take_edit(request: Request) -> Response:
    """Put the edited request in the place of the one that waits."""
    form = await read_form(request)
    check_token(request, form, "edit", about_card(request.path_params["request_id"], form.get("digest", "")))
    return await run_in_threadpool(_take, request, form)


def _take(request: Request, form: Mapping[str, str]) -> Response:
    viewer, waiting = viewer_of(request), _waiting(request)
    if form.get("digest") != waiting.request.card_digest:
        raise NotFoundError("this is another card")
    request_id, words = waiting.request.request_id, form.get("reason", "").strip()
    try:
        values = read_edit(waiting, form)
        if waiting.request.kind is RequestKind.CALL:
            made = viewer.edit(request_id, arguments=values, reason=words)  # type: ignore[arg-type]  # JSON it is
        else:
            made = viewer.edit(request_id, allow=values, reason=words)  # type: ignore[arg-type]  # grants it is
    except InvalidError as error:
        return _show(request, told=f"{error}. Nothing was done.", typed=form, status=400)
    except Denied as denied:
        return _show(request, told=f"{_refused(denied.decision)} Nothing was done.", typed=form, status=409)
    return RedirectResponse(link("requests", made.request_id), status_code=303)


def _refused(decision: Decision) -> str:
    enough = f" Enough would be: {decision.enough}." if decision.enough else ""
    return f"Refused: {decision.message}.{enough}"


def edit_routes() -> list[BaseRoute]:
    """The pages of editing."""
    return [
        Route("/requests/{request_id}/edit", edit),
        Route("/requests/{request_id}/edit", take_edit, methods=["POST"]),
    ]
