"""What a client shows an authority, and only that: in a header of a verified connection. Never in a text of ours."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TYPE_CHECKING, TypeAlias

from leasehold.errors import InvalidError

if TYPE_CHECKING:
    from leasehold.client.transport import Question

__all__ = ["Bearer", "Given", "bearer"]

_TOKEN = re.compile(r"[!-~]{1,16384}")


class Bearer:
    """A key or token, or a function that answers the one of the moment, such as a workload's own token from its file.

    The function is called for every request, on the client's thread, so it must be quick.
    """

    def __init__(self, token: str | Callable[[], str]) -> None:
        self._token = token
        if isinstance(token, str):
            _check(token)

    def __repr__(self) -> str:
        return "<Bearer: a secret>"

    def authorize(self, question: Question) -> str:  # noqa: ARG002 - others sign the question
        """The value of `Authorization`."""
        return f"Bearer {_check(self._token if isinstance(self._token, str) else self._token())}"


Given: TypeAlias = "str | Callable[[], str] | Bearer"
"""How a caller may give a key or token."""


def bearer(given: Given) -> Bearer:
    """The credential that a caller means."""
    return given if isinstance(given, Bearer) else Bearer(given)


def _check(token: str) -> str:
    """Return a token that can stand in a header; the message of a refusal does not show it."""
    if not isinstance(token, str) or not _TOKEN.fullmatch(token):
        raise InvalidError("a credential is 1 to 16384 visible ASCII characters, without spaces or line ends")
    return token
