"""Forms: read strictly, and proven to come from a page that this session was shown.

A form's token is a MAC, under a secret that only the browser's cookie carries, over what the form is for and what it
is about. For a card that is its request and digest, so a token taken from one card is worth nothing on another.
"""

from __future__ import annotations

import asyncio
import hmac
from dataclasses import dataclass, field
from urllib.parse import parse_qsl

from starlette.requests import ClientDisconnect, Request

from leasehold.http.problems import ProblemError
from leasehold.token import base64url

__all__ = ["TOKEN_FIELD", "FormTokens", "about_card", "check_token", "read_body", "read_form", "read_lists"]

TOKEN_FIELD = "token"  # noqa: S105 - the field's name
MAX_FIELDS = 200
READ_SECONDS = 10

_CONTEXT = b"leasehold form v1"
_TYPES = frozenset({"application/x-www-form-urlencoded", "application/x-www-form-urlencoded;charset=utf-8"})


@dataclass(frozen=True)
class FormTokens:
    """The tokens of one browser's forms, under a secret that stands in its cookie."""

    secret: bytes = field(repr=False)

    def make(self, purpose: str, about: str = "") -> str:
        """The token of a form, for `<input type="hidden" name="token">`."""
        message = b"\0".join((_CONTEXT, purpose.encode(), about.encode()))
        return base64url.encode(hmac.digest(self.secret, message, "sha256"))

    def is_valid(self, token: str, purpose: str, about: str = "") -> bool:
        """Whether this is that form's token. Takes as long for a wrong one."""
        return hmac.compare_digest(token.encode(), self.make(purpose, about).encode())


def about_card(request_id: str, card_digest: str) -> str:
    """What a form on a card is about: this request, and exactly what was shown."""
    return f"{request_id} {card_digest}"


def check_token(request: Request, form: dict[str, str], purpose: str, about: str = "") -> None:
    """Return if the form carries the token that this session's page put into it.

    Raises:
        ProblemError: 403; it is missing, or of another session, purpose or thing.
    """
    tokens: FormTokens = request.state.tokens
    if not tokens.is_valid(form.get(TOKEN_FIELD, ""), purpose, about):
        raise ProblemError(
            403,
            "This page is out of date",
            "The form is not one that you were shown just now, or you have signed in again since. Nothing was done. "
            "Go back, load the page again, and look at it once more.",
        )


async def read_form(request: Request) -> dict[str, str]:
    """The fields of a posted form, each name once.

    Raises:
        ProblemError: 4xx; it is no URL-encoded form in UTF-8, or a name stands twice.
    """
    lists = await read_lists(request)
    if any(len(values) > 1 for values in lists.values()):
        raise _malformed("A field stands in it twice.")
    return {name: values[0] for name, values in lists.items()}


async def read_lists(request: Request) -> dict[str, tuple[str, ...]]:
    """The fields of a posted form whose names may repeat, in the order of the form.

    Raises:
        ProblemError: 4xx; it is no URL-encoded form in UTF-8.
    """
    types = request.headers.getlist("content-type")
    if len(types) != 1 or types[0].replace(" ", "").lower() not in _TYPES:
        raise ProblemError(415, "Not a form", "Only plain forms are taken here. Nothing was done.")
    body = await read_body(request)
    try:
        pairs = parse_qsl(
            body.decode("ascii"),
            keep_blank_values=True,
            strict_parsing=True,
            errors="strict",
            max_num_fields=MAX_FIELDS,
        )
    except ValueError:
        raise _malformed("It cannot be read.") from None
    found: dict[str, tuple[str, ...]] = {}
    for name, value in pairs:
        found[name] = (*found.get(name, ()), value)
    return found


async def read_body(request: Request) -> bytes:
    """The raw body, once it is there whole; the size was limited before.

    Raises:
        ProblemError: 408, it did not arrive in time; 400, its sender left in the middle of it.
    """
    try:
        async with asyncio.timeout(READ_SECONDS):
            return await request.body()
    except TimeoutError:
        raise ProblemError(408, "Too slow", "The form did not arrive in time. Nothing was done.") from None
    except ClientDisconnect:  # nobody hears it; but it is no fault of ours, and stands in no log as one
        raise ProblemError(400, "Not whole", "The form broke off. Nothing was done.") from None


def _malformed(words: str) -> ProblemError:
    return ProblemError(400, "Not a form of ours", f"{words} Nothing was done.")
