"""Distinct types for things that must not mix. Ids are made by `leasehold.system`, checked wherever they come in."""

from __future__ import annotations

import re
from typing import NewType

from leasehold.errors import InvalidError

__all__ = ["AdmissionId", "LeaseId", "RequestId", "RunId", "check_id"]

RunId = NewType("RunId", str)
RequestId = NewType("RequestId", str)
LeaseId = NewType("LeaseId", str)
AdmissionId = NewType("AdmissionId", str)

_ID = re.compile(r"([a-z]{2,10})_[0-9A-HJKMNP-TV-Z]{26}")
_WORDS = {"adm": "admission", "req": "request"}
"""Prefixes that are no words, spelled out for people."""


def check_id(text: str, prefix: str) -> str:
    """Return `text` if it is an id of this kind: the prefix, `_`, and a ULID.

    Raises:
        InvalidError: it is not.
    """
    match = _ID.fullmatch(text) if isinstance(text, str) else None
    if match is None or match[1] != prefix:
        kind = _WORDS.get(prefix, prefix)
        raise InvalidError(f"{str(text)[:60]!r} is no {kind} id; one looks like {prefix}_01JZ8Q5X0M3V7K2N9B4C6D8E0F")
    return text
