"""The one place that asks a person to confirm. Friction stands before a yes only, and grows with what it does."""

from __future__ import annotations

import re
from collections.abc import Sequence

import click

from leasehold.cli.cards import DIGEST_DIGITS, short_digest
from leasehold.cli.exits import ExitCode, Failure
from leasehold.cli.session import Session
from leasehold.errors import InvalidError

__all__ = ["CARD", "confirm"]

CARD = "the card that was seen (its line Card)"
_PREFIX = re.compile(r"[0-9a-f]+")


def confirm(
    session: Session, question: str, *, digest: str, given: str | None, words: Sequence[str] = (), seen: str = CARD
) -> None:
    """Return once a person, or a script that names what it saw, has said yes.

    Args:
        session: where to ask.
        question: what is about to happen.
        digest: of what was shown.
        given: hex digits that a script passed for it, or None; they stand in for every question.
        words: what a person has to type, each in turn, before the yes; for what cannot be taken back.
        seen: where a script finds those digits.

    Raises:
        InvalidError: the digits are too few or of something else, or nobody can be asked and none were given.
        Failure: the person said no.
    """
    if given is not None:
        _check_digits(digest, given)
        return
    if not session.around.is_interactive:
        raise InvalidError(
            f"nobody can be asked here, because stdin is no terminal; pass --digest with at least {DIGEST_DIGITS} hex "
            f"digits of {seen}"
        )
    for word in words:
        typed = click.prompt(f"type {word} to go on", default="", show_default=False, err=True)
        if typed != word:
            raise Failure("that is not what stands there; nothing was done", ExitCode.FAILED)
    if not click.confirm(f"{question} [{short_digest(digest)}]", default=False, err=True):
        raise Failure("nothing was done", ExitCode.FAILED)


def _check_digits(digest: str, given: str) -> None:
    digits = given.rpartition(":")[2]
    if len(digits) < DIGEST_DIGITS or not _PREFIX.fullmatch(digits):
        raise InvalidError(f"--digest takes at least {DIGEST_DIGITS} lower-case hex digits")
    if not digest.rpartition(":")[2].startswith(digits):
        raise InvalidError("this is not the digest of what stands here now; look at it again")
