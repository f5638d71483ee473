"""Forms as a client without a browser fills them in: hidden fields as the page gave them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from html import unescape
from urllib.parse import urlencode

from leasehold.model.request import Request
from office import Office
from served import Browser, Reply

__all__ = ["answer", "approve", "fields", "items", "send"]


def _hidden(reply: Reply, action: str) -> list[tuple[str, str]]:
    forms = re.findall(r"<form.*?</form>", reply.text, re.DOTALL)
    form = next(form for form in forms if f'action="{action}"' in form)
    found = re.findall(r'<input type="hidden" name="([a-z]+)" value="([^"]*)">', form)
    return [(name, unescape(value)) for name, value in found]


def fields(reply: Reply, action: str) -> dict[str, str]:
    """The hidden fields of the form that posts to `action`."""
    return dict(_hidden(reply, action))


def items(reply: Reply) -> list[str]:
    """The frozen requests of a batch."""
    return [value for name, value in _hidden(reply, "/answers") if name == "item"]


def send(client: Browser, form: dict[str, str], frozen: Sequence[str]) -> Reply:
    """Answer a batch."""
    pairs = [(name, value) for name, value in form.items() if name != "item"]
    return client.post("/answers", urlencode([*pairs, *(("item", item) for item in frozen)]).encode())


def answer(client: Browser, request: Request, verdict: str, *, seen: Reply | None = None, **more: str) -> Reply:
    """Fill the form of a card in and send it."""
    action = f"/requests/{request.request_id}/answer"
    page = seen or client.get(f"/requests/{request.request_id}")
    return client.post(action, {**fields(page, action), "verdict": verdict, **more})


def approve(office: Office, client: Browser, request: Request, seconds: int = 1) -> Reply:
    """Look at a card for so long, then approve it."""
    seen = client.get(f"/requests/{request.request_id}")
    office.stage.pass_time(seconds)
    return answer(client, request, "approve", seen=seen)
