"""The second rung: one guarded call as a `with` block, sync or async. Made by `Guard`; the third stands on it."""

from __future__ import annotations

from types import TracebackType

from leasehold.guard.asking import report, settling
from leasehold.guard.capability import Capability, issue_capability
from leasehold.guard.open_call import OpenCall
from leasehold.guard.previewing import PreviewFunction, admitting_shown
from leasehold.guard.waiting import LoopAnswers, Waiting, wait, wait_async
from leasehold.model.call import Call
from leasehold.model.effect import Effect
from leasehold.model.lease import Token
from leasehold.model.protocols import Door

__all__ = ["GuardedCall"]


class GuardedCall:
    """Admitted on entry, settled on exit, whatever happens in between; what was raised inside goes on unchanged.

    Where people are to see first what the call would change, `preview` says so, with the values `before` its own.

    The settle of a write is waited for, that of a read is not. If a settle fails, that is logged under
    `leasehold.guard` and the call will stand as `unknown`; the result or error of the block is never hidden by it.
    A block left by GeneratorExit never waits either: it may run while Python collects garbage, in any thread.
    """

    def __init__(
        self,
        door: Door,
        answers: LoopAnswers,
        token: Token,
        call: Call,
        preview: PreviewFunction | None = None,
        before: tuple[object, ...] = (),
    ) -> None:
        self._door = door
        self._answers = answers
        self._token = token
        self._call = call
        self._preview = preview
        self._before = before
        self._opened: OpenCall | None = None
        self._is_used = False
        self._is_left = False

    def __enter__(self) -> Capability:
        return wait(self._entering())

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        wait(self._leaving(error))

    async def __aenter__(self) -> Capability:
        return await wait_async(self._entering(), self._answers)

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await wait_async(self._leaving(error), self._answers)

    def leave_unknown(self) -> None:
        """Close the call here and report nothing: nobody saw how it ended, so it stands as `unknown`, charge and all.

        For adapters whose answer broke off. Leaving the block after that reports nothing either.
        """
        if self._opened is None:
            raise RuntimeError("this guard.call() was never entered")
        self._opened.settle(None)
        self._is_left = True

    def _entering(self) -> Waiting[Capability]:
        if self._is_used:
            raise RuntimeError("one guard.call() is one call; make another for the next")
        self._is_used = True
        self._opened = yield from admitting_shown(self._door, self._token, self._call, self._preview, self._before)
        return issue_capability(self._opened)

    def _leaving(self, error: BaseException | None) -> Waiting[None]:
        opened = self._opened
        if opened is None:
            raise RuntimeError("this guard.call() was never entered")
        if self._is_left:
            return
        admission_id, outcome = opened.admission.admission_id, opened.settle(error)
        if opened.admission.effect is Effect.READ or isinstance(error, GeneratorExit):
            report(self._door, admission_id, outcome)
        else:
            yield from settling(self._door, admission_id, outcome)
