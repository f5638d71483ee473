"""Which 32 bytes may be an Ed25519 public key (RFC 8032). Called by `leasehold.token.keys` wherever a key comes in.

The cryptography library checks signatures strictly (S below the group order, R compared as bytes) but takes any public
key, also one under which every message has a valid signature. So keys are judged once, when they are imported.
"""

from __future__ import annotations

from leasehold.errors import InvalidError

__all__ = ["PUBLIC_KEY_SIZE", "SMALL_ORDER_Y", "check_public_key"]

PUBLIC_KEY_SIZE = 32

_PRIME = 2**255 - 19
_D = -121665 * pow(121666, -1, _PRIME) % _PRIME

SMALL_ORDER_Y = frozenset(
    {
        0,  # order 4; the all-zero key
        1,  # the neutral element
        _PRIME - 1,  # order 2
        0x05FC536D880238B13933C6D305ACDFD5F098EFF289F4C345B027B2C28F95E826,  # order 8
        0x7A03AC9277FDC74EC6CC392CFA53202A0F67100D760B3CBA4FD84D3D706A17C7,  # order 8
    }
)
"""The y coordinates of the eight points whose order divides 8; each stands for both signs of x."""


def check_public_key(raw: bytes) -> bytes:
    """Return `raw` if it is the one encoding of a curve point that is fit to verify with.

    Raises:
        InvalidError: wrong length, y not below 2**255-19, small order (the all-zero key is one), or not on the curve.
    """
    if len(raw) != PUBLIC_KEY_SIZE:
        raise InvalidError(f"an Ed25519 public key has {PUBLIC_KEY_SIZE} bytes, not {len(raw)}")
    y = int.from_bytes(raw, "little") & (2**255 - 1)
    if y >= _PRIME:
        raise InvalidError("this Ed25519 public key is not canonically encoded")
    if y in SMALL_ORDER_Y:
        raise InvalidError("this Ed25519 public key has small order: every message would have a valid signature")
    x_squared = (y * y - 1) * pow(_D * y * y + 1, -1, _PRIME) % _PRIME
    if pow(x_squared, (_PRIME - 1) // 2, _PRIME) != 1:
        raise InvalidError("this Ed25519 public key is not a point of the curve")
    return raw
