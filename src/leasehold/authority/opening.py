"""Whether a text is a break-glass that was opened here. Asked by doors: those of people use it, others refuse it."""

from __future__ import annotations

from leasehold.authority.engine import Engine
from leasehold.errors import TokenError
from leasehold.token.codes import TokenCode
from leasehold.token.glass import GlassToken

__all__ = ["read_opening"]


def read_opening(engine: Engine, text: str) -> GlassToken:
    """The opening that stands in the ledger with exactly this text; its signatures were verified when it was opened.

    Raises:
        TokenError: it is no such text, or was never opened here.
    """
    token = GlassToken.parse(text)
    stored = engine.store.queries.document(token.opening.tenant, token.opening.glass_id)
    if stored != text.encode():
        raise TokenError(TokenCode.SIGNATURE, "this break-glass was not opened here")
    return token
