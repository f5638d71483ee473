"""Where Slack tells that somebody pressed a button: the one path that is not for browsers, so each request is signed.

The signature is checked over the raw body before anything of it is read. Slack hears that it was received, whatever
becomes of it, within its three seconds; who pressed is told in Slack, by its own interface, never at an address that
came along.
"""

from __future__ import annotations

import logging

from starlette.background import BackgroundTask
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from leasehold.authority import Authority
from leasehold.authority.chat import ChatReview, Delivery
from leasehold.errors import Denied, InvalidError, LeaseholdError, NotFoundError
from leasehold.http.forms import read_body, read_form
from leasehold.http.gates import SLACK_PATH
from leasehold.http.problems import ProblemError
from leasehold.model.plain import escape
from leasehold.notices.slack_press import Press, read_press

__all__ = ["chat_routes"]

_LOG = logging.getLogger("leasehold.chat")
_STAMP, _SIGNATURE = "x-slack-request-timestamp", "x-slack-signature"


def chat_routes(authority: Authority) -> list[Route]:
    """The path for Slack. While the active policy lets nobody answer in a chat, it is not there."""
    return [Route(SLACK_PATH, _Endpoint(authority.chat).take, methods=["POST"])]


class _Endpoint:
    """Takes what Slack sends."""

    def __init__(self, chat: ChatReview) -> None:
        self._chat = chat

    async def take(self, request: Request) -> Response:
        """Handle one delivery."""
        if not await run_in_threadpool(self._chat.is_open):
            raise NotFoundError("nobody answers in a chat here")
        body = await read_body(request)
        stamp, signature = _only(request, _STAMP), _only(request, _SIGNATURE)
        delivery = await run_in_threadpool(self._chat.hear, body, stamp, signature)
        form = await read_form(request)
        if set(form) != {"payload"}:
            raise InvalidError("this is not what Slack sends")
        press = read_press(form["payload"])
        refused = await run_in_threadpool(_answer, self._chat, delivery, press)
        told = BackgroundTask(_whisper, self._chat, press, refused) if refused else None
        return Response(status_code=200, background=told)


def _only(request: Request, name: str) -> str:
    """A header that stands there once."""
    values = request.headers.getlist(name)
    if len(values) != 1:
        raise ProblemError(403, "Refused", "This is not signed. Nothing was done.")
    return values[0]


def _answer(chat: ChatReview, delivery: Delivery, press: Press) -> str:
    """Record the answer; answers what to tell the one who pressed, empty if it was recorded."""
    try:
        chat.answer(delivery, press)
    except Denied as denied:
        enough = f" What would be enough: {denied.decision.enough}." if denied.decision.enough else ""
        return f"Nothing was done: {denied.decision.message}.{enough}"
    except NotFoundError:
        return "Nothing was done: there is no such request here."
    return ""


async def _whisper(chat: ChatReview, press: Press, words: str) -> None:
    try:
        await chat.whisper(press, escape(words))
    except (LeaseholdError, TimeoutError) as error:
        _LOG.warning("who pressed a button over %s could not be told: %s", press.channel, error)
