"""Show before asking: the tool's own preview of a call, run as an admitted read of its own. Called by guarded calls.

The authority says when a preview is wanted. The guard then has the preview admitted under the same lease, runs it,
settles it, and asks about the call again with what it said; it judges nothing of it.
"""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Callable
from typing import Any

from msgspec.structs import replace

from leasehold.errors import Denied
from leasehold.guard.asking import admitting, report
from leasehold.guard.binding import Binding, bind_function
from leasehold.guard.capability import Capability, capability_position, issue_capability
from leasehold.guard.open_call import OpenCall
from leasehold.guard.waiting import Waiting
from leasehold.model.call import Call
from leasehold.model.decision import Reason
from leasehold.model.lease import Token
from leasehold.model.preview import Preview, PreviewMade
from leasehold.model.protocols import Door

__all__ = ["PreviewFunction", "admitting_shown", "preview_function"]


@dataclasses.dataclass(frozen=True)
class PreviewFunction:
    """What says of one action what a call of it would change."""

    function: Callable[..., Any]
    binding: Binding

    def __call__(self, capability: Capability, before: tuple[object, ...], arguments: bytes) -> Any:
        """Run it on the values decoded from the very bytes that the call was asked for with."""
        args, kwargs = self.binding.decode(arguments)
        return self.function(*before, capability, *args, **kwargs)


def preview_function(function: Callable[..., Any]) -> PreviewFunction:
    """The preview that a function makes; its first parameter, after `self`, is the capability.

    Raises:
        TypeError: it has no such parameter, or its other parameters cannot be bound.
    """
    return PreviewFunction(function, bind_function(function, without=capability_position(function) + 1))


def admitting_shown(
    door: Door, token: Token, call: Call, preview: PreviewFunction | None, before: tuple[object, ...]
) -> Waiting[OpenCall]:
    """Ask for leave to start one call; where people are to see first what it would change, show it and ask again.

    Raises:
        Denied: as `admitting`; with `Reason.PREVIEW_NEEDED` where there is no function that could show it.
        TypeError: the preview function answers no `Preview`, or does not take the arguments of the action.
    """
    try:
        return (yield from admitting(door, token, call))
    except Denied as denied:
        wanted = denied.decision.preview
        if denied.decision.reason is not Reason.PREVIEW_NEEDED or not wanted or preview is None:
            raise
    made = yield from _making(door, token, replace(call, action=wanted, key=None), preview, before)
    return (yield from admitting(door, token, replace(call, admission_id=door.new_admission_id(), preview=made)))


def _making(
    door: Door, token: Token, question: Call, preview: PreviewFunction, before: tuple[object, ...]
) -> Waiting[PreviewMade]:
    """Run a preview as an admitted read of its own, and answer what it said."""
    question = replace(question, admission_id=door.new_admission_id(), tool_schema="")
    opened = yield from admitting(door, token, question)
    try:
        said = preview(issue_capability(opened), before, question.arguments)
        if inspect.isawaitable(said):
            said = yield said
        if not isinstance(said, Preview):
            raise TypeError(f"a preview function answers a Preview, not a {type(said).__name__}")
    except BaseException as error:
        report(door, question.admission_id, opened.settle(error))
        raise
    opened.returned(said)
    report(door, question.admission_id, opened.settle(None))
    return PreviewMade(admission_id=question.admission_id, preview=said)
