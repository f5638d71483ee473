"""Each guard on what people say taken away, one at a time, as in `mutants`."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import replace

from explorer.mutants import Mutant, Patch, gone, rows_as, together, wrapped
from explorer.people_worlds import (
    BY_PASSKEY,
    CHATTED,
    CHATTED_OF_THE_WORST,
    EDITED_ANEW,
    EDITED_CALL,
    GOVERNED,
    MISEDITED,
    PREVIEWED,
    QUESTIONS,
    SHOWN_ANOTHER,
    SIGNED_IN,
    TWO_USERS,
    WORN_OUT,
)
from leasehold.decide import admit, answer, approvals, call_approval, chat, edit, govern, proposals, request, voices
from leasehold.decide.chat import Heard
from leasehold.decide.edit import EditCall, Editor
from leasehold.decide.proposals import POLICY_MOVED, AnswerProposal
from leasehold.decide.rows import SeenRow
from leasehold.model.request import Verdict


def _vouched(module: object) -> Patch:
    """Whatever vouches for an answer is taken to be the person's."""
    return lambda patch: patch.setattr(module, "is_answer_vouched", lambda *_: True)


def _by_voucher(patch: pytest.MonkeyPatch) -> None:
    """Count what vouched, not who."""

    def counted(facts: Any, policy: Any, row: Any, **_: object) -> tuple[str, ...]:
        given = [each for each in approvals.answers_of(row) if each.verdict is Verdict.APPROVE]
        return tuple(sorted({each.vouched_by for each in given}))

    for module in (approvals, answer, call_approval):
        patch.setattr(module, "approvers_of", counted)


def _unlimited(module: object) -> Patch:
    """A run may ask people as often as it likes, one question at a time."""
    return lambda patch: patch.setattr(module, "DENIALS_LISTED", 10**9)


def _editors_forgotten(patch: pytest.MonkeyPatch) -> None:
    original = approvals.refuse_person

    def lenient(policy: Any, person: str, **named: Any) -> Any:
        return original(policy, person, **{**named, "editors": ()})

    for module in (approvals, answer):
        patch.setattr(module, "refuse_person", lenient)


PEOPLE_MUTANTS = (
    # chats
    Mutant("a chat speaks for whomever it names", _vouched(answer), (CHATTED,), ("I4",)),
    Mutant("a user whom nobody names any more still speaks", _vouched(approvals), (CHATTED,), ("I4",)),
    Mutant(
        "a chat is heard again",
        rows_as(Heard, lambda row: None if isinstance(row, SeenRow) else row),
        (CHATTED,),
        ("I4",),
    ),
    Mutant("a chat is heard too late", gone(chat, "refuse_late"), (CHATTED,), ("I5",)),
    Mutant("what is destructive is answered in a chat", gone(answer, "refuse_proof"), (CHATTED_OF_THE_WORST,), ("I4",)),
    Mutant("two users of one person are two people", _by_voucher, (TWO_USERS,), ("I4",)),
    Mutant(
        "who was removed goes on in the chat",
        together(gone(voices, "_refuse_unknown"), _vouched(answer)),
        (TWO_USERS,),
        ("I4",),
    ),
    # sign-ins
    Mutant("a session that is over speaks", gone(voices, "refuse_session"), (SIGNED_IN,), ("I4",)),
    Mutant("a sign-in that was taken away vouches", _vouched(approvals), (SIGNED_IN,), ("I4",)),
    Mutant("what is destructive needs no passkey", gone(answer, "refuse_proof"), (BY_PASSKEY,), ("I4",)),
    # edits
    Mutant("who edited approves", _editors_forgotten, (EDITED_CALL,), ("I4",)),
    Mutant("who edited is forgotten", gone(call_approval, "edited_into"), (EDITED_ANEW,), ("I4",)),
    Mutant(
        "what was edited still waits",
        wrapped(Editor, "supersede", lambda changes, *_: replace(changes, rows=())),
        (EDITED_CALL,),
        ("I8",),
    ),
    Mutant("an edit reaches further than the lease", gone(EditCall, "_refuse_scope"), (MISEDITED,), ("I6",)),
    Mutant("the requester edits", gone(edit, "refuse_person"), (MISEDITED,), ("I4",)),
    # previews
    Mutant("what moved is not looked at", gone(call_approval, "_what_changed"), (PREVIEWED,), ("I4",)),
    Mutant("the preview of another call will do", gone(call_approval, "refuse_preview"), (SHOWN_ANOTHER,), ("I4",)),
    Mutant("nobody needs a preview", gone(call_approval, "_refuse_unseen"), (PREVIEWED,), ("I4",)),
    # questions
    Mutant("calls ask without end", gone(admit, "refuse_many_pending"), (QUESTIONS,), ("I2",)),
    Mutant("runs ask without end", gone(request, "refuse_many_pending"), (QUESTIONS,), ("I2",)),
    Mutant("calls ask on and on", _unlimited(admit), (WORN_OUT,), ("I2",)),
    Mutant("runs ask on and on", _unlimited(request), (WORN_OUT,), ("I2",)),
    # policies
    Mutant("who proposed confirms", gone(AnswerProposal, "_refuse_own"), (GOVERNED,), ("I4",)),
    Mutant("a removed proposer counts", gone(AnswerProposal, "_refuse_proposer"), (GOVERNED,), ("I4",)),
    Mutant("who has no say confirms", gone(proposals, "_refuse_powerless"), (GOVERNED,), ("I4",)),
    Mutant(
        "a stale proposal is confirmed",
        wrapped(AnswerProposal, "_refuse", lambda given, *_: None if given is POLICY_MOVED else given),
        (GOVERNED,),
        ("I4",),
    ),
    Mutant(
        "one person widens", lambda patch: patch.setattr(govern, "widened_keys", lambda *_: ()), (GOVERNED,), ("I4",)
    ),
)
