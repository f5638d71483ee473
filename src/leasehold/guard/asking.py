"""What a guard says to its door: ask to be admitted, report how it went. Called by `leasehold.guard.call`.

An answer that was lost is asked for once more, always with the same admission id; a start that is too late or was given
up is reported as not started. What cannot be recorded is logged and stands as `unknown`, the safe side.
"""

from __future__ import annotations

import contextlib
import logging
from concurrent.futures import Future
from typing import Any

from leasehold.errors import Denied, UnavailableError
from leasehold.guard.open_call import OpenCall
from leasehold.guard.waiting import Waiting
from leasehold.model.call import Admission, Call, Outcome, OutcomeStatus
from leasehold.model.decision import Reason, deny
from leasehold.model.ids import AdmissionId
from leasehold.model.lease import Token
from leasehold.model.protocols import Door

__all__ = ["PREREQUISITE_WAIT_MS", "admitting", "report", "settling"]

PREREQUISITE_WAIT_MS = 3000
"""How long a guard waits in all for calls that have to be done first; less than any admission may take to start."""

_LOST = (UnavailableError, TimeoutError)
_NOT_STARTED = Outcome(status=OutcomeStatus.NOT_STARTED)


def admitting(door: Door, token: Token, call: Call) -> Waiting[OpenCall]:
    """Ask for leave to start one call, and return it started.

    Raises:
        Denied: the authority refuses, or its answer came too late to start (`Reason.NOT_STARTED_IN_TIME`).
        UnavailableError: no answer came, twice.
    """
    asked_ms, admission = yield from _asking_in_turn(door, token, call)
    seen = call.preview.preview if call.preview is not None else None
    opened = OpenCall(door, admission, call.arguments, asked_ms, seen)
    if opened.is_in_time:
        return opened
    yield from settling(door, call.admission_id, _NOT_STARTED)
    raise Denied(
        deny(
            Reason.NOT_STARTED_IN_TIME,
            f"the answer for {call.action} took longer than {admission.start_within_ms} ms; nothing was executed",
            check="started within start_within of asking",
            enough="make the same call again",
        )
    )


def _asking_in_turn(door: Door, token: Token, call: Call) -> Waiting[tuple[int, Admission]]:
    """Ask, and ask again each time that a call which has to be done first has ended; with when it was asked last."""
    give_up_ms = door.boot_milliseconds() + PREREQUISITE_WAIT_MS
    while True:
        asked_ms = door.boot_milliseconds()
        try:
            return asked_ms, (yield from _asking(door, token, call))
        except Denied as denied:
            left_ms = give_up_ms - door.boot_milliseconds()
            if denied.decision.reason is not Reason.PREREQUISITE_OPEN or left_ms <= 0:
                raise
            ended: bool = yield door.submit_settled(AdmissionId(denied.decision.admission_id), left_ms)
            if not ended:
                raise


def _asking(door: Door, token: Token, call: Call) -> Waiting[Admission]:
    try:
        return (yield from _ask_once(door, token, call))
    except _LOST:
        pass
    try:
        return (yield from _ask_once(door, token, call))
    except _LOST:
        _disown(door, call.admission_id)
        raise


def _ask_once(door: Door, token: Token, call: Call) -> Waiting[Admission]:
    future = door.submit_admit(token, call)
    try:
        admission: Admission = yield future
    except Exception:
        raise
    except BaseException:  # the caller was interrupted or cancelled while the question is still on its way
        future.add_done_callback(lambda late: _disown_late(door, call.admission_id, late))
        raise
    return admission


def _disown_late(door: Door, admission_id: AdmissionId, late: Future[Admission]) -> None:
    if late.exception() is None or isinstance(late.exception(), _LOST):
        _disown(door, admission_id)


def _disown(door: Door, admission_id: AdmissionId) -> None:
    """Should the call have been admitted all the same, say that it was not started; nobody can do more."""
    with contextlib.suppress(Exception):
        door.submit_settle(admission_id, _NOT_STARTED)


def settling(door: Door, admission_id: AdmissionId, outcome: Outcome) -> Waiting[None]:
    """Report how an admitted call went and wait until that is durable; a failure is logged, never raised."""
    try:
        try:
            yield from _settle_once(door, admission_id, outcome)
        except _LOST:
            yield from _settle_once(door, admission_id, outcome)
    except Exception as error:  # noqa: BLE001 - nothing may hide the result or the error of the function that ran
        _log(admission_id, error)


def _settle_once(door: Door, admission_id: AdmissionId, outcome: Outcome) -> Waiting[None]:
    future = door.submit_settle(admission_id, outcome)
    try:
        yield future
    except Exception:
        raise
    except BaseException:
        future.add_done_callback(lambda late: _log_failure(admission_id, late))
        raise


def report(door: Door, admission_id: AdmissionId, outcome: Outcome) -> None:
    """Report how an admitted call went without waiting for it; a failure is logged, never raised."""
    try:
        future = door.submit_settle(admission_id, outcome)
    except Exception as error:  # noqa: BLE001 - as in settling
        _log(admission_id, error)
    else:
        future.add_done_callback(lambda late: _log_failure(admission_id, late))


def _log_failure(admission_id: AdmissionId, late: Future[Any]) -> None:
    error = late.exception()
    if error is not None:
        _log(admission_id, error)


def _log(admission_id: AdmissionId, error: BaseException) -> None:
    logging.getLogger("leasehold.guard").error(
        "the outcome of %s was not recorded (%s: %s); it will stand as unknown, its charge stays",
        admission_id,
        type(error).__name__,
        error,
    )
