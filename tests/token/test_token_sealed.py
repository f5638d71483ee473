"""Notes under a MAC: what was handed out comes back as it was, or not at all."""

from __future__ import annotations

import msgspec
import pytest

from leasehold.errors import InvalidError
from leasehold.token import base64url
from leasehold.token.sealed import open_note, seal_note

KEY = bytes(range(32))


class Note(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    about: str
    until: int


class Other(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    about: str


def test_a_note_comes_back_as_it_was() -> None:
    note = Note("é \U0001f680", 7)
    assert open_note(seal_note(note, KEY), Note, KEY) == note


@pytest.mark.case(5, 6)
def test_a_note_that_was_changed_or_is_of_another_key_or_kind_is_none() -> None:
    text = seal_note(Note("a", 1), KEY)
    body, _, mac = text.partition(".")
    foreign = base64url.encode(b'{"about":"b","until":1}')
    for wrong in ("", ".", body, f"{body}.", f"{foreign}.{mac}", f"{text}=", f"{text}.", text[:-1]):
        with pytest.raises(InvalidError):
            open_note(wrong, Note, KEY)
    long = seal_note(Note("a" * 5000, 1), KEY)
    for other in (f"é.{mac}", long):
        with pytest.raises(InvalidError, match="no note of ours"):
            open_note(other, Note, KEY)
    with pytest.raises(InvalidError):
        open_note(text, Note, bytes(32))
    with pytest.raises(InvalidError, match="another kind"):
        open_note(text, Other, KEY)
