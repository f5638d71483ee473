"""Typed reading of an entry's `detail`, the part whose members differ by kind. For receipts and the history checker.

A member that is absent reads as empty; one of another type than here is no entry that Leasehold wrote. What is read:

run.started        purpose, requester; expires_at (Unix seconds); budget (of a root run: every unit, `children` too)
run.finished       denials (all that was refused, entry or not, and every question to people)
request.made       kind, reason; allow; budget; for a call: lease_request
request.answered   verdict, words, same_account; own_request where the requester confirms their own; proof: `key` (with
                   key, public_key, signature), `passkey` (with sign_in, public_key and the three parts of a WebAuthn
                   assertion), `session` (with sign_in, method; authenticated_at in Unix seconds) or `chat` (with
                   channel, speaker, delivery; signed_at in Unix seconds)
lease.issued       allow, deny; expires_at; reason; approval (mode now in force) and quorum
call.admitted      reserved; approval and quorum; implies, ending; idempotent, tool_authority, parent_call, call_id
call.settled       touched, files, contacted, overrun; result_digest, error, no_effect; late evidence has the same
stop.*             reason; in_flight (admission ids of the open calls that it reaches)
person.offboarded  by, reason; in_flight; revoked_at (index of the revoke); access (removed, or none); roles
clock.confirmed    confirmed_ms
break_glass.*      glass; opened: alarm, second, actions, skips, minutes, reason, opened_at, expires_at, token (with
                   what both said), opener_key and second_key (hex) where keys signed; proposed: the same without
                   the token, answer_by, and a proof as an answer has; declined, lapsed: second;
                   closed: alarm, review_by; reviewed: words; a call of one has alarm, skipped, signature
any denial         message, check, rule
"""

from __future__ import annotations

import re

from leasehold.errors import InvalidError, VerificationError
from leasehold.ledger.entry import Entry
from leasehold.model import canonical
from leasehold.model.grant import Grants, grants_from_json

__all__ = ["amounts", "grants", "number", "text", "texts", "vouched_by"]

_AMOUNT = re.compile(r"([a-z][a-z0-9_]{0,31})=(0|[1-9][0-9]{0,15})")


def text(entry: Entry, name: str) -> str:
    """The member `name` as text; empty where it is absent.

    Raises:
        VerificationError: it is a number or a list.
    """
    value = entry.detail.get(name, "")
    if isinstance(value, str):
        return value
    raise _wrong(entry, name, "text")


def vouched_by(entry: Entry) -> str:
    """What vouched for the person of an answer: a key's thumbprint, a sign-in's id, a user of a chat."""
    return text(entry, "key") or text(entry, "sign_in") or text(entry, "speaker")


def number(entry: Entry, name: str) -> int:
    """The member `name` as an integer; 0 where it is absent.

    Raises:
        VerificationError: it is text or a list.
    """
    value = entry.detail.get(name, 0)
    if isinstance(value, int):
        return value
    raise _wrong(entry, name, "a number")


def texts(entry: Entry, name: str) -> tuple[str, ...]:
    """The member `name` as a list of texts; empty where it is absent.

    Raises:
        VerificationError: it is a single text or a number.
    """
    value = entry.detail.get(name, ())
    if isinstance(value, tuple):
        return value
    raise _wrong(entry, name, "a list")


def amounts(entry: Entry, name: str) -> dict[str, int]:
    """The amounts that `name` lists as `unit=millionths`, sorted by unit.

    Raises:
        VerificationError: a line is not such a pair, or a unit stands twice.
    """
    pairs = [_AMOUNT.fullmatch(line) for line in texts(entry, name)]
    read = {pair[1]: int(pair[2]) for pair in pairs if pair is not None}
    if len(read) != len(pairs):
        raise _wrong(entry, name, "a list of unit=millionths, each unit once")
    return dict(sorted(read.items()))


def grants(entry: Entry, name: str) -> Grants:
    """The grants that `name` lists, one line an action: its name, a space, its constraints as JSON.

    Raises:
        VerificationError: a line is no grant, or an action stands twice.
    """
    lines = [line.partition(" ") for line in texts(entry, name)]
    try:
        read = {action: canonical.decode(constraints.encode()) for action, _, constraints in lines}
        if len(read) == len(lines):
            return grants_from_json(read, name)
    except InvalidError as error:
        raise _wrong(entry, name, f"a list of grants ({error})") from None
    raise _wrong(entry, name, "a list of grants, each action once")


def _wrong(entry: Entry, name: str, expected: str) -> VerificationError:
    return VerificationError(
        f"detail.{name} of entry {entry.index} ({entry.kind}) is not {expected}", index=entry.index
    )
