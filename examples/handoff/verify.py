"""Verifies a lease of Leasehold where Leasehold is not installed: at another team's door, with public keys alone.

That proves what was granted, not that it still is, so it is for reads; a write is admitted at the issuer.

    python verify.py JWKS ISSUER AUDIENCE ENVIRONMENT < token        JWKS is a file
"""

from __future__ import annotations

import base64
import json
import re
import sys
import time
import unicodedata
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path

from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import KeySet

SKEW_SECONDS = 2  # how far the issuer's clock may be ahead; nothing is added to the end of a lease
MAX_LIFE_SECONDS = 900
GRANT_TYPE = "urn:leasehold:grant:1"
# The last character's spare bits are zero.
TOKEN = re.compile(r"[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]{85}[AQgw]")
DECIMAL = re.compile(r"-?(?:0|[1-9][0-9]{0,14})(?:\.[0-9]{1,6})?")
LARGEST = 2**53 - 1


class RefusedError(Exception):
    """This token opens nothing here; the message says why."""


def is_text(value: object) -> bool:
    return isinstance(value, str) and "\0" not in value


def is_texts(value: object) -> bool:
    return isinstance(value, list) and all(map(is_text, value))


def is_integer(value: object) -> bool:
    return type(value) is int and abs(value) <= LARGEST


def is_count(value: object) -> bool:
    return type(value) is int and 0 <= value <= LARGEST


def is_ordinal(value: object) -> bool:
    return is_count(value) and value != 0


def is_id(prefix: str) -> Callable[[object], bool]:
    pattern = re.compile(rf"{prefix}_[0-9A-HJKMNP-TV-Z]{{26}}")
    return lambda value: isinstance(value, str) and pattern.fullmatch(value) is not None


# Every claim of a lease; there are no others but `cnf`, and none has a default.
CLAIMS: dict[str, Callable[[object], bool]] = {
    **dict.fromkeys(("aud", "client_id", "environment", "iss", "policy", "reason", "requested_by"), is_text),
    **dict.fromkeys(("route", "tenant"), is_text),
    **dict.fromkeys(("approved_by", "deny", "ends_on", "parents"), is_texts),
    **dict.fromkeys(("exp", "iat", "nbf", "delegation_depth"), is_count),
    **dict.fromkeys(("attempt", "epoch"), is_ordinal),
    "authorization_details": lambda value: isinstance(value, list),
    "budget": lambda value: isinstance(value, dict),
    "receipt": lambda value: isinstance(value, bool),
    "jti": is_id("lease"),
    "request_id": is_id("req"),
    "sub": is_id("run"),
}


@dataclass(frozen=True)
class Door:
    """Where the token is presented: whose leases it takes, under which name, and what it serves."""

    keys: KeySet
    issuer: str
    audience: str
    environment: str


def demand(holds: bool, why: str) -> None:
    if not holds:
        raise RefusedError(why)


def canonical(value: object) -> str:
    """The one spelling of a JSON document of texts and integers (RFC 8785), as base64url."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return base64.urlsafe_b64encode(text.encode("utf-8")).rstrip(b"=").decode("ascii")


def verify_lease(token: str, door: Door, *, now: float | None = None, holder: str | None = None) -> dict[str, object]:
    """Return what the issuer said, for this door; `now` is in Unix seconds.

    `holder` is the thumbprint of a key that the presenter has just proven to hold (RFC 9449); a bound token is worth
    nothing without it.

    Raises:
        RefusedError: this door must not serve it.
    """
    demand(len(token) <= 8192 and TOKEN.fullmatch(token) is not None, "this is no token in its one spelling")
    try:
        decoded = jwt.decode(token, door.keys, algorithms=["Ed25519"])
        header, claims = decoded.header, dict(decoded.claims)
        head, body, _ = token.split(".")
        closed = {"alg": "Ed25519", "kid": header.get("kid"), "typ": "at+jwt"}
        demand(head == canonical(closed), "no header of a lease")
        demand(body == canonical(claims), "the claims are not in their one spelling")
    except (JoseError, ValueError, RecursionError) as error:
        raise RefusedError(str(error)) from None
    cnf = claims.pop("cnf", None)
    demand(claims.keys() == CLAIMS.keys(), "these are not the claims of a lease")
    for name, is_valid in CLAIMS.items():
        demand(is_valid(claims[name]), f"no claim of a lease: {name}")
    demand(all(map(is_id("lease"), claims["parents"])), "parents are leases")
    for name in ("issuer", "audience", "environment"):
        demand(claims[{"issuer": "iss", "audience": "aud"}.get(name, name)] == getattr(door, name), f"another {name}")
    check_times(claims, time.time() if now is None else now)
    demand(cnf is None or (holder is not None and cnf == {"jkt": holder}), "it is bound to a key")
    demand(bool(claims["authorization_details"]), "it grants nothing")
    for detail in claims["authorization_details"]:
        check_grant(detail, door.audience)
    return claims


def check_times(claims: Mapping[str, int], now: float) -> None:
    demand(now < claims["exp"], "it has ended")
    demand(now >= claims["iat"] - SKEW_SECONDS and claims["nbf"] == claims["iat"], "it has not begun")
    demand(0 < claims["exp"] - claims["iat"] <= MAX_LIFE_SECONDS, "no lease lives that long")


def check_grant(detail: dict[str, object], audience: str) -> None:
    demand(isinstance(detail, dict) and detail.keys() == {"type", "actions", "constraints"}, "no grant")
    demand(detail["type"] == GRANT_TYPE, "a grant of a kind that this program does not know")
    actions, constraints = detail["actions"], detail["constraints"]
    demand(is_texts(actions) and len(actions) == 1 and isinstance(constraints, dict), "no grant")
    demand(actions[0].rpartition(".")[0] == audience, "a grant of another door")
    known = (is_choices(value) if isinstance(value, list) else is_table(value) for value in constraints.values())
    demand(all(known), "a constraint of a kind that this program does not know")


def is_choices(values: list[object]) -> bool:
    return bool(values) and all(
        isinstance(value, bool)
        or is_integer(value)
        or (is_text(value) and (value == "**" or "*" not in re.sub(r"(?<=/)\*\*$|\*$", "", value)))
        for value in values
    )


def is_table(value: object) -> bool:
    if not isinstance(value, dict):
        return False
    if value.keys() == {"max_length"}:
        return is_ordinal(value["max_length"])
    return bool(value) and value.keys() <= {"min", "max"} and all(number(bound) is not None for bound in value.values())


def number(value: object) -> Decimal | None:
    if is_integer(value) or (isinstance(value, str) and DECIMAL.fullmatch(value)):
        return Decimal(value)
    return None


def allows(claims: Mapping[str, object], action: str, attributes: Mapping[str, object]) -> bool:
    """Whether verified claims grant one call. `attributes` has every attribute of the action, one value each."""
    for detail in claims["authorization_details"]:
        if detail["actions"] == [action]:
            granted = detail["constraints"]
            return granted.keys() == attributes.keys() and all(
                is_plain(value) and covers(granted[name], value) for name, value in attributes.items()
            )
    return False


def is_plain(value: object) -> bool:
    """Text that means one thing everywhere: a prefix must not be left by way of `..`."""
    if not isinstance(value, str):
        return isinstance(value, bool) or is_integer(value)
    if value in {"", ".", ".."} or value != value.strip() or not unicodedata.is_normalized("NFC", value):
        return False
    if re.search(r"[\\;*]|%[0-9A-Fa-f]{2}|[^\S ]", value) or any(unicodedata.category(c)[0] == "C" for c in value):
        return False
    return "/" not in value or not any(part in {"", ".", ".."} for part in value.split("/"))


def covers(constraint: list[object] | dict[str, object], value: object) -> bool:
    if isinstance(constraint, list):
        return any(is_chosen(choice, value) for choice in constraint)
    if "max_length" in constraint:
        return isinstance(value, str) and len(value) <= constraint["max_length"]
    bounds, given = [number(constraint.get(name)) for name in ("min", "max")], number(value)
    kind = type(constraint.get("max", constraint.get("min")))
    if type(value) is not kind or given is None:
        return False
    return (bounds[0] is None or bounds[0] <= given) and (bounds[1] is None or given <= bounds[1])


def is_chosen(choice: object, value: object) -> bool:
    if choice == "**":
        return True
    if not isinstance(choice, str) or not choice.endswith("*"):
        return type(choice) is type(value) and choice == value
    start = choice.rstrip("*")
    inside = isinstance(value, str) and value.startswith(start)
    return inside and (choice.endswith("**") or "/" not in value[len(start) :])


def main(jwks: str, issuer: str, audience: str, environment: str) -> int:
    keys = KeySet.import_key_set(json.loads(Path(jwks).read_text(encoding="utf-8")))
    try:
        claims = verify_lease(sys.stdin.read().removesuffix("\n"), Door(keys, issuer, audience, environment))
    except RefusedError as error:
        print(f"refused: {error}", file=sys.stderr)
        return 3
    print(json.dumps(claims, indent=2, ensure_ascii=False))
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
