"""Passwords: hashed with argon2id, and verified in the same time whether the person is known or not.

Called by the sign-in page and by `leasehold person password`. Only the hash is ever stored; of a password typed nothing
stays, and nothing of it is ever shown or logged.
"""

from __future__ import annotations

import unicodedata

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from leasehold.errors import InvalidError

__all__ = ["MAX_PASSWORD_BYTES", "MIN_PASSWORD_CHARACTERS", "Passwords"]

MIN_PASSWORD_CHARACTERS = 12
MAX_PASSWORD_BYTES = 1024

_NOBODYS = "the password of nobody at all"


class Passwords:
    """Hashes and verifies. `hasher` has the costs; by default those that RFC 9106 recommends for little memory."""

    def __init__(self, hasher: PasswordHasher | None = None) -> None:
        self._hasher = hasher or PasswordHasher()
        self._nobodys = self._hasher.hash(_NOBODYS)

    def hash(self, password: str, *, person: str) -> str:
        """The hash of a new password.

        Raises:
            InvalidError: it is too short or too long, or the person's own name.
        """
        prepared = _prepare(password)
        if len(prepared) < MIN_PASSWORD_CHARACTERS:
            raise InvalidError(f"a password has at least {MIN_PASSWORD_CHARACTERS} characters; a few words will do")
        if len(prepared.encode()) > MAX_PASSWORD_BYTES:
            raise InvalidError(f"a password has at most {MAX_PASSWORD_BYTES} bytes")
        if prepared.casefold() in (person.casefold(), person.partition(":")[2].casefold()):
            raise InvalidError("a password is not the name of its person")
        return self._hasher.hash(prepared)

    def is_right(self, stored: str | None, password: str) -> bool:
        """Whether this is the password behind a stored hash. None for a person without one takes as long and is not."""
        prepared = _prepare(password)
        if len(prepared.encode()) > MAX_PASSWORD_BYTES:
            prepared, stored = "", None
        try:
            self._hasher.verify(stored or self._nobodys, prepared)
        except (VerificationError, InvalidHashError):
            return False
        return stored is not None

    def is_outdated(self, stored: str) -> bool:
        """Whether a hash was made at other costs than are used now."""
        return self._hasher.check_needs_rehash(stored)


def _prepare(password: str) -> str:
    """One spelling of what was typed, whatever the keyboard composed it of (RFC 8265: NFC, one kind of space)."""
    spaced = "".join(" " if unicodedata.category(character) == "Zs" else character for character in password)
    return unicodedata.normalize("NFC", spaced)
