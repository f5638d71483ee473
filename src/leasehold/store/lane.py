"""The lane: what has arrived is taken, decided and committed as one batch, and answered, one batch after the other.

Called by every store. A thread of its own runs the batches; a caller that waits anyway and finds nothing else at work
runs its step by itself, which spares two switches of threads. Measured: grouping what arrived while the last batch was
being synced is worth more than any choice of database, and knows no hot rows.
"""

from __future__ import annotations

import atexit
import logging
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from os import getpid
from queue import Empty, SimpleQueue
from threading import Lock, RLock, Thread, get_ident
from time import monotonic, sleep
from typing import Protocol, TypeAlias, TypeVar, cast

from leasehold.decide.facts import Step, StepAnswer
from leasehold.decide.probe import Probe
from leasehold.errors import StoreError, UnavailableError

__all__ = ["LARGEST_BATCH", "Backend", "FullError", "Lane", "RefusedError", "UnansweredError"]

LARGEST_BATCH = 256
LAST_ANSWERS_SECONDS = 2.0
"""How long a program that ends without closing its store waits for what was submitted: reports, above all."""

_YIELDS = 4
_TELL_SECONDS = 60.0
_LOG = logging.getLogger("leasehold.store")

A = TypeVar("A")
F = TypeVar("F", bound=StoreError)

_Answer: TypeAlias = StepAnswer[object] | Exception
_Submitted: TypeAlias = "tuple[Step[object], Future[StepAnswer[object]]]"


class FullError(UnavailableError):
    """The database has no room for what is to be written; nothing was executed. Caught by who counts what failed."""


class RefusedError(StoreError):
    """The database refused what one step wanted to read or write: a check, a damaged row. Nothing of it was persisted.

    Caught by the lane, which then tries the steps of the batch one by one.
    """


class UnansweredError(StoreError):
    """A commit got no answer, so that the batch may be in or not; the connection to the database can be made again.

    Caught by the lane, which goes on: the next batch loads what is there. Asking again under the same admission id
    tells what became of it.
    """

    def __init__(self, message: str, *, maybe_persisted: bool = True) -> None:
        super().__init__(message, maybe_persisted=maybe_persisted)


class Backend(Protocol):
    """What a database does for the lane. Called from one thread at a time, not always the same."""

    def run(self, steps: Sequence[Step[object]]) -> list[StepAnswer[object] | Exception]:
        """Lock the log, load, decide and apply the steps in order, commit once; an answer or an error for each.

        When it returns, everything is durable. When it raises, it has rolled back.

        Raises:
            UnavailableError: locked, full or read-only; nothing was persisted, and it may work later.
            UnansweredError: the batch may be persisted, and the next one will see what is; the store goes on.
            RefusedError, or any other Exception but a StoreError: one step's fault, perhaps; nothing was persisted.
            StoreError: this connection is not to be used any more; `maybe_persisted` tells whether the batch may be.
        """
        ...

    def rest(self) -> None:
        """Do what can wait until a batch was answered.

        Raises:
            StoreError: this connection is not to be used any more.
        """
        ...


class Lane:
    """The only writer of a log in this process.

    `committed` is called after each batch, from the thread that ran it; it must return at once and not raise. So must
    the callbacks of futures, and none of them may close the lane.

    An exception that strikes a thread from outside, such as KeyboardInterrupt, may end a batch that a caller runs by
    itself. It is rolled back unless it was committed, and nobody else has a part in it.
    """

    def __init__(self, backend: Backend, committed: Callable[[], None], *, largest_batch: int = LARGEST_BATCH) -> None:
        self._backend = backend
        self._committed = committed
        self._largest_batch = largest_batch
        self._arrived: SimpleQueue[_Submitted | None] = SimpleQueue()
        # Guards the three below, and that nothing is put behind the None that ends the queue. Collecting garbage inside
        # it may close a generator that submits its settlement from this very thread, so it can be entered again.
        self._gate = RLock()
        self._unanswered = 0
        self._refusal: StoreError | None = None
        self._is_closed = False
        self._turn = Lock()  # held by the thread that runs a batch or rests, which alone touches the backend and these:
        self._worker = 0  # its ident, 0 between turns
        self._broken: UnavailableError | None = None
        self._told: dict[type[StoreError], float] = {}
        self._last_batch = 0  # written by the lane's thread alone
        self._process = getpid()
        self._thread = Thread(target=self._main, name="leasehold-lane", daemon=True)
        self._thread.start()
        atexit.register(self._answer_last)

    def submit(self, step: Step[A]) -> Future[StepAnswer[A]]:
        """Hand a step to the lane. See `Store.submit`."""
        future: Future[StepAnswer[A]] = Future()
        with self._gate:
            refusal = self._refusal
            if refusal is None:
                self._unanswered += 1
                self._arrived.put(cast(_Submitted, (step, future)))
        if refusal is not None:
            future.set_exception(_copy(refusal))
        return future

    def carry_out(self, step: Step[A]) -> Future[StepAnswer[A]]:
        """Run a step in this thread if nothing else is at work, else hand it to the lane. See `Store.carry_out`."""
        if self._turn.locked() and self._worker == get_ident():
            inside: Future[StepAnswer[A]] = Future()
            inside.set_exception(UnavailableError("the store was asked from inside its own work, which cannot wait"))
            return inside
        if not self._finds_rest():
            return self.submit(step)
        future: Future[StepAnswer[A]] = Future()
        self._work([cast(_Submitted, (step, future))])
        return future

    def _finds_rest(self) -> bool:
        """Whether nothing is at work and nobody waits; whoever asks is at work then. A crowd, once seen, comes back."""
        with self._gate:
            is_resting = self._refusal is None and self._unanswered == 0 and self._last_batch <= 1
            self._unanswered += is_resting
        return is_resting

    def rest(self) -> None:
        """Have the backend do what can wait. The lane's thread does so after each of its batches; a caller that ran its
        own step goes on at once, so whoever makes the lane calls this from time to time.
        """
        with self._at_work():
            if self._broken is None:
                try:
                    self._backend.rest()
                except StoreError as error:
                    self._stop_taking(error)

    def stop(self, error: StoreError) -> None:
        """Execute nothing from here on but what is at work now; `error` says why, unless it has stopped before."""
        with self._turn:
            if self._broken is None:
                self._stop_taking(error)

    def close(self) -> None:
        """Take nothing more and answer what was submitted. Closing twice is harmless."""
        atexit.unregister(self._answer_last)
        with self._gate:
            if not self._is_closed:
                self._is_closed = True
                self._refusal = self._refusal or UnavailableError("the store is closed; open it again")
                self._arrived.put(None)
        self._thread.join()
        with self._turn:  # a caller may be running its own step, or be about to
            self._broken = self._broken or UnavailableError("the store is closed; open it again")

    def _answer_last(self) -> None:
        """At the end of a program that did not close its store. A child that was forked has no thread to wait for."""
        if self._unanswered and getpid() == self._process:
            with suppress(TimeoutError, KeyboardInterrupt):  # who wants to wait no longer need not
                self.submit(Probe()).exception(LAST_ANSWERS_SECONDS)  # whatever was submitted before is answered before

    def _main(self) -> None:
        while batch := self._take():
            self._work(batch)
            self.rest()

    def _work(self, batch: list[_Submitted]) -> None:
        """Run a batch in this thread, when it is its turn."""
        with self._at_work():
            self._answer(batch)

    @contextmanager
    def _at_work(self) -> Iterator[None]:
        """Touch the backend in this thread, when it is its turn. Whose turn it was before is no more to be known."""
        with self._turn:
            self._worker = get_ident()
            try:
                yield
            finally:
                self._worker = 0

    def _take(self) -> list[_Submitted]:
        """What has arrived, at least one step; nothing once the lane is closed and all is answered.

        Those who were just answered are about to ask again but need the interpreter to do so. Letting go of it a few
        times keeps their batch together; measured with 2 to 8 calling threads, that is worth 1.4 to 1.5 times.
        """
        batch: list[_Submitted] = []
        patience = _YIELDS
        while len(batch) < self._largest_batch:
            try:
                submitted = self._arrived.get(block=not batch)
            except Empty:
                if patience == 0 or len(batch) >= self._last_batch:
                    break
                patience -= 1
                sleep(0)
                continue
            if submitted is None:
                self._arrived.put(None)  # the end is met again once this batch is answered
                break
            if submitted[1].set_running_or_notify_cancel():
                batch.append(submitted)
            else:
                self._forget(1)
        self._last_batch = len(batch)
        return batch

    def _forget(self, steps: int) -> None:
        with self._gate:
            self._unanswered -= steps

    def _answer(self, batch: list[_Submitted]) -> None:
        try:
            answers = self._run([step for step, _ in batch])
        finally:
            self._forget(len(batch))
        for (_, future), answer in zip(batch, answers, strict=True):
            if isinstance(answer, Exception):
                future.set_exception(answer)
            else:
                future.set_result(answer)
        self._committed()

    def _run(self, steps: list[Step[object]]) -> list[_Answer]:
        """Run a batch; if the fault may be one step's, each alone, so that it fails without its neighbours."""
        try:
            return self._run_together(steps)
        except Exception as error:  # noqa: BLE001 - a fault in a step or a row must reach its future, not end the lane
            if len(steps) == 1:
                return [error]
        answers: list[_Answer] = []
        for step in steps:
            if answers and isinstance(answers[-1], UnavailableError):
                answers.append(_copy(answers[-1]))  # waiting for the lock once was enough
            else:
                answers.extend(self._run([step]))
        return answers

    def _run_together(self, steps: list[Step[object]]) -> list[_Answer]:
        """Run a batch. Whatever this raises is rolled back and may be the fault of one step."""
        if self._broken is not None:
            return [_copy(self._broken) for _ in steps]
        try:
            return self._backend.run(steps)
        except RefusedError:
            raise
        except (UnavailableError, UnansweredError) as error:
            self._tell(error)
            return [_copy(error) for _ in steps]
        except StoreError as error:
            self._stop_taking(error)
            return [_copy(error) for _ in steps]

    def _tell(self, error: StoreError) -> None:
        """Write down, once a minute for each kind, why a batch had no answer: who asked is told no more than that."""
        now = monotonic()
        if now - self._told.get(type(error), -_TELL_SECONDS) >= _TELL_SECONDS:
            self._told[type(error)] = now
            _LOG.warning("the database refuses what is asked of it: %s", error)

    def _stop_taking(self, error: StoreError) -> None:
        """Refuse everything from here on: what this connection writes can no longer be trusted to stay."""
        self._broken = UnavailableError(f"the store stopped and executes nothing until it is opened again: {error}")
        with self._gate:
            self._refusal = self._broken


def _copy(error: F) -> F:
    """An equal error of its own for each future: raising one adds to its traceback."""
    copy = type(error)(str(error), maybe_persisted=error.maybe_persisted)
    copy.__cause__ = error.__cause__
    return copy
