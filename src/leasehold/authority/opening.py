"""Whether a text is a break-glass that was opened here, and what a proposed one says.

Asked by doors, of which those of people use it and others refuse it; by the desk of people and by the sweep.
"""

from __future__ import annotations

import msgspec

from leasehold.authority.engine import Engine
from leasehold.decide.glass_wish import GlassWish, decode_wish, wish_id
from leasehold.decide.rows import GlassRow
from leasehold.errors import LeaseholdError, NotFoundError, StoreError, TokenError
from leasehold.token.codes import TokenCode
from leasehold.token.glass import GlassToken, VouchedGlass, parse_glass

__all__ = ["read_opening", "read_wish"]


def read_opening(engine: Engine, text: str) -> GlassToken | VouchedGlass:
    """The opening that stands in the ledger with exactly this text; what it holds was verified when it was opened.

    Raises:
        TokenError: it is no such text, or was never opened here.
    """
    token = parse_glass(text)
    stored = engine.store.queries.document(token.opening.tenant, token.opening.glass_id)
    if stored != text.encode():
        raise TokenError(TokenCode.SIGNATURE, "this break-glass was not opened here")
    return token


def read_wish(engine: Engine, row: GlassRow) -> GlassWish:
    """What somebody proposed in the console, by its row.

    Raises:
        NotFoundError: it was not proposed there.
        StoreError: what is kept of it is damaged.
    """
    body = engine.store.queries.document(row.tenant, wish_id(row.glass_id))
    if body is None:
        raise NotFoundError(f"{row.glass_id} was not proposed in the console")
    try:
        return decode_wish(body)
    except (msgspec.MsgspecError, LeaseholdError) as error:
        raise StoreError(f"{row.glass_id}: what was proposed is damaged; run: leasehold db check: {error}") from error
