"""What a tool says a call would change, before people are asked. Made by preview functions, bounded here, then shown.

It is the tool's word, so it is bounded, labelled as the tool's wherever it is shown, and escaped by whoever shows it.
What was approved is what was seen: a call whose fresh preview differs at all is asked about again (threat case 78).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import msgspec

from leasehold.errors import InvalidError
from leasehold.model.canonical import Json, encode, text_of
from leasehold.model.card import UNCHANGED_SHOWN, Change
from leasehold.model.ids import AdmissionId, check_id
from leasehold.model.text import check_unicode

__all__ = ["Preview", "PreviewMade", "differences", "preview_bytes", "shown_changes"]

MAX_CHANGES = 200
MAX_EFFECTS = 20
MAX_TEXT = 2048
MAX_BYTES = 65_536
MAX_OBJECTS = 2**53 - 1


class Preview(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What one call would change: rows before and after, how many objects, what else it sets off, how to undo it.

    `state` is any text that changes whenever what the call works on does: a version, an etag, a commit. Leave out of
    all of it what differs from one look to the next although nothing moved, such as the time of day.
    """

    changes: tuple[Change, ...] = ()
    objects: int = 1
    external: tuple[str, ...] = ()
    undo: str = ""
    state: str = ""

    def __post_init__(self) -> None:
        if len(self.changes) > MAX_CHANGES or len(self.external) > MAX_EFFECTS:
            raise InvalidError(f"a preview has at most {MAX_CHANGES} rows and {MAX_EFFECTS} external effects")
        if not 0 <= self.objects <= MAX_OBJECTS:
            raise InvalidError("a preview counts from 0 objects upwards")
        if len({change.name for change in self.changes}) < len(self.changes):
            raise InvalidError("two rows of a preview have the same name")
        texts = [text for change in self.changes for text in (change.name, change.before, change.after)]
        for text in (*texts, *self.external, self.undo, self.state):
            if len(check_unicode(text, "a preview")) > MAX_TEXT:
                raise InvalidError(
                    f"a text of a preview has at most {MAX_TEXT} characters; give the digest of a longer one"
                )
        if len(preview_bytes(self)) > MAX_BYTES:
            raise InvalidError(f"a preview has at most {MAX_BYTES} bytes; say what matters and count the rest")

    @classmethod
    def of(
        cls,
        changes: Mapping[str, tuple[Json, Json]],
        *,
        objects: int = 1,
        external: Iterable[str] = (),
        undo: str = "",
        state: str = "",
    ) -> Preview:
        """A preview of plain values: `Preview.of({"status": ("open", "closed")}, state=ticket.etag)`.

        Raises:
            InvalidError: it is too large, or a value is no JSON.
        """
        rows = tuple(Change(name, text_of(before), text_of(after)) for name, (before, after) in changes.items())
        return cls(changes=rows, objects=objects, external=tuple(external), undo=undo, state=state)


class PreviewMade(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A preview with the admission of the read that made it: the authority takes no other."""

    admission_id: AdmissionId
    preview: Preview

    def __post_init__(self) -> None:
        check_id(self.admission_id, "adm")


def preview_bytes(preview: Preview) -> bytes:
    """The canonical bytes that the digest of a preview covers: all of it, also what a card only counts."""
    return encode(msgspec.to_builtins(preview))


def shown_changes(preview: Preview) -> tuple[tuple[Change, ...], int]:
    """The rows that a card shows, every changed one and a few of those that stay, and how many it only counts."""
    stay = [change.name for change in preview.changes if not change.is_change]
    hidden = set(stay[UNCHANGED_SHOWN:])
    return tuple(change for change in preview.changes if change.name not in hidden), len(hidden)


def differences(approved: Preview, now: Preview) -> tuple[Change, ...]:
    """What differs between two previews, name by name, as approved and as it is now."""
    before, after = _described(approved), _described(now)
    names = dict.fromkeys((*before, *after))
    found = [Change(name, before.get(name, "-"), after.get(name, "-")) for name in names]
    return tuple(change for change in found if change.is_change)


def _described(preview: Preview) -> dict[str, str]:
    rows = {change.name: f"{change.before} -> {change.after}" for change in preview.changes}
    words = {"number of objects": str(preview.objects), "undo": preview.undo, "state": preview.state}
    return {**rows, "sets off": ", ".join(preview.external), **words}
