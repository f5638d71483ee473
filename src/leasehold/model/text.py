"""What a name may hold, and how text from strangers is shown. Called wherever text enters or is shown.

Nothing is ever normalised: text that is not already in its one form is refused (threat cases 19, 24-30).
"""

from __future__ import annotations

import re
import unicodedata

from leasehold.errors import InvalidError

__all__ = [
    "MAX_NAME",
    "MAX_VALUE",
    "check_identifier",
    "check_scalar_text",
    "check_text",
    "check_unicode",
    "has_mixed_scripts",
    "visible",
]

MAX_NAME = 200
MAX_VALUE = 2048

_IDENTIFIER = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:@/+-]*")
_ENCODED = re.compile(r"%[0-9A-Fa-f]{2}")
# Blank-looking characters that Unicode does not class as separators or format characters (threat case 82).
_FILLERS = frozenset("\u115f\u1160\u3164\uffa0\u2800")
_HIDDEN_CATEGORIES = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})


def _is_hidden(character: str) -> bool:
    """Whether a reader could miss this character: control, format, bidi, zero width, filler, unassigned."""
    if character in _FILLERS or 0xFE00 <= ord(character) <= 0xFE0F or 0xE0100 <= ord(character) <= 0xE01EF:
        return True
    if character in "\u034f\u17b4\u17b5":
        return True
    category = unicodedata.category(character)
    return category in _HIDDEN_CATEGORIES or (category == "Zs" and character != " ")


def check_identifier(text: str, what: str) -> str:
    """Return `text` if it is a plain ASCII name of 1 to 200 characters without empty, `.` or `..` segments.

    Raises:
        InvalidError: it is not; the message names `what` and shows the text with hidden characters visible.
    """
    if not isinstance(text, str) or len(text) > MAX_NAME or not _IDENTIFIER.fullmatch(text):
        raise InvalidError(
            f"{what} {visible(str(text)[:80])!r} is not a name: use 1 to {MAX_NAME} of A-Z a-z 0-9 . _ : @ / + -, "
            "starting with a letter or digit"
        )
    _check_segments(text, what)
    return text


def check_unicode(text: str, what: str) -> str:
    """Return `text` if every character of it can be written: no lone surrogate.

    Raises:
        InvalidError: one stands in it.
    """
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        raise InvalidError(f"{what} holds a lone surrogate, which is no Unicode text") from None
    return text


def check_scalar_text(text: str, what: str) -> str:
    """Return `text` if it may be an attribute value: visible NFC text, no path tricks, no pattern character.

    Raises:
        InvalidError: with the reason.
    """
    check_text(text, what)
    if not text or len(text) > MAX_VALUE:
        raise InvalidError(f"{what} must have 1 to {MAX_VALUE} characters, not {len(text)}")
    if "*" in text:
        raise InvalidError(f"{what} {text!r} holds '*', which is kept for patterns")
    _check_segments(text, what)
    return text


def check_text(text: str, what: str) -> str:
    """Return `text` if it is NFC and every character of it can be seen."""
    if text != text.strip(" "):
        raise InvalidError(f"{what} {visible(text[:80])!r} begins or ends with a space")
    if text.isascii() and text.isprintable():
        return text
    for character in text:
        if _is_hidden(character):
            raise InvalidError(f"{what} holds the hidden character U+{ord(character):04X}")
    if not unicodedata.is_normalized("NFC", text):
        raise InvalidError(f"{what} {visible(text[:80])!r} is not in Unicode normal form C; send it composed")
    return text


def _check_segments(text: str, what: str) -> None:
    if "\\" in text or ";" in text or _ENCODED.search(text):
        raise InvalidError(f"{what} {visible(text[:80])!r} holds a backslash, ';' or a percent-encoded character")
    if text in {".", ".."}:
        raise InvalidError(f"{what} must not be {text!r}")
    if "/" in text and any(segment in {"", ".", ".."} for segment in text.split("/")):
        raise InvalidError(f"{what} {visible(text[:80])!r} has an empty, '.' or '..' path segment")


def visible(text: str, *, keep_newlines: bool = False) -> str:
    """Return `text` with each hidden character written as `<U+XXXX>`, so that a person sees that it is there."""
    return "".join(
        character if (keep_newlines and character == "\n") or not _is_hidden(character) else f"<U+{ord(character):04X}>"
        for character in text
    )


def has_mixed_scripts(text: str) -> bool:
    """Whether letters of more than one script stand in one word, the mark of a look-alike name (threat case 84)."""
    for word in re.findall(r"\w+", text):
        scripts = {unicodedata.name(character, "?").split()[0] for character in word if character.isalpha()}
        if len(scripts) > 1:
            return True
    return False
