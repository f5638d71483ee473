"""The parameters of an OAuth request, read strictly: each once, empty as if left out (RFC 6749, section 3.2)."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec
from starlette.requests import Request

from leasehold.http.forms import read_lists
from leasehold.http.oauth.answers import OAuthError

__all__ = ["Params", "read_params"]

_LONGEST = 16_384


class Params(msgspec.Struct, frozen=True):
    """What was sent, by name."""

    values: Mapping[str, str]

    def get(self, name: str) -> str:
        """One parameter, empty where it was left out."""
        return self.values.get(name, "")

    def need(self, name: str) -> str:
        """One parameter that has to be there.

        Raises:
            OAuthError: it was left out.
        """
        if not self.get(name):
            raise OAuthError("invalid_request", f"the parameter {name} is missing")
        return self.values[name]

    def choose(self, name: str, *accepted: str, default: str = "") -> str:
        """One parameter of a closed list.

        Raises:
            OAuthError: it is another.
        """
        found = self.get(name) or default
        if found not in accepted:
            raise OAuthError("invalid_request", f"{name} has to be {' or '.join(accepted)}")
        return found


async def read_params(request: Request) -> Params:
    """The parameters in the body of a request.

    Raises:
        OAuthError: a name stands twice, or a value is too long.
        ProblemError: 4xx; it is no form.
    """
    return checked(await read_lists(request))


def checked(lists: Mapping[str, tuple[str, ...]]) -> Params:
    """The same of what was read already.

    Raises:
        OAuthError: a name stands twice, or a value is too long.
    """
    for name, values in lists.items():
        if len(values) > 1:
            raise OAuthError("invalid_request", f"the parameter {name} stands twice")
        if len(values[0]) > _LONGEST:
            raise OAuthError("invalid_request", f"the parameter {name} has more than {_LONGEST} characters")
    return Params({name: values[0] for name, values in lists.items() if values[0]})
