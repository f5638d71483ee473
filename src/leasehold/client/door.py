"""The tool's door of an authority elsewhere. A guard stands at it as at the embedded one.

Which tool and environment it is, its credential says; what is named here has to be the same, or the authority refuses.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from leasehold.errors import Denied, LeaseholdError, NotFoundError, UnavailableError
from leasehold.model.api import AdmissionAnswer, AdmitBody
from leasehold.model.call import Admission, Call, CallState, Outcome, Settlement
from leasehold.model.canonical import decode_canonical
from leasehold.model.decision import Decision, Reason, deny
from leasehold.model.endpoints import EndpointName
from leasehold.model.ids import AdmissionId
from leasehold.model.text import check_identifier

if TYPE_CHECKING:
    from leasehold.client.api import Api

__all__ = ["RemoteDoor"]

_LOOK_MS = 20_000
"""How long one look at a call that is watched is held back by the authority."""

_PAUSE_SECONDS = 0.5

_REPORT_SECONDS = 1.0
"""How long a question waits for reports of the same lease that are on their way; its own answer must not be late."""

_MOST_ADMISSIONS = 4096
"""Of how many admissions that nobody has reported yet the lease is known."""


class RemoteDoor:
    """One tool in one environment, over HTTP. Threads, tasks and event loops may share it."""

    def __init__(self, api: Api, tool: str, environment: str) -> None:
        self._api = api
        self._tool = check_identifier(tool, "tool")
        self._environment = check_identifier(environment, "environment")
        self._reports = _Reports()  # the client's own loop's

    @property
    def tool(self) -> str:
        """The tool's id."""
        return self._tool

    @property
    def environment(self) -> str:
        """The environment that it serves."""
        return self._environment

    def new_admission_id(self) -> AdmissionId:
        """A fresh random id for one try of one call."""
        return AdmissionId(self._api.system.new_id("adm"))

    def boot_milliseconds(self) -> int:
        """This machine's clock that `start_within_ms` counts on: from before the authority was asked."""
        return self._api.system.boot_milliseconds()

    def admit(self, token: str, call: Call) -> Admission:
        """Ask for leave to start one call, and wait for it.

        Raises:
            Denied: the call may not start; nothing was charged.
            ApprovalNeeded: people have to decide first.
            InvalidError: the arguments are not canonical JSON.
            UnavailableError: the authority did not answer; nothing may be started.
        """
        return self.submit_admit(token, call).result()

    def settle(self, admission_id: AdmissionId, outcome: Outcome) -> Settlement:
        """Report how an admitted call went, and wait until that is durable."""
        return self.submit_settle(admission_id, outcome).result()

    def submit_admit(self, token: str, call: Call) -> Future[Admission]:
        """Ask for leave to start one call. The Future raises what `admit` raises."""
        try:
            decode_canonical(call.arguments)
            body = AdmitBody.of_call(token, call)
        except LeaseholdError as error:
            failed: Future[Admission] = Future()
            failed.set_exception(error)
            return failed
        return self._api.submit(lambda: self._admit(body, call))

    def submit_settle(self, admission_id: AdmissionId, outcome: Outcome) -> Future[Settlement]:
        """Report how an admitted call went. Sending the same outcome again answers the same."""
        return self._api.submit(lambda: self._settle(admission_id, outcome), is_report=True)

    def submit_settled(self, admission_id: AdmissionId, within_ms: int) -> Future[bool]:
        """Wait for the end of another call: true once it is not open any more, false when so many ms have passed."""
        until_ms = self.boot_milliseconds() + within_ms
        return self._api.submit(lambda: self._settled(admission_id, until_ms))

    def submit_check(self, admission_id: AdmissionId) -> Future[None]:
        """Whether a call under way may go on: the Future raises `Denied` once its lease or anything above it ended."""
        return self._api.submit(lambda: self._check(admission_id))

    def watch(self, admission_id: AdmissionId, ended: Callable[[Decision], None]) -> Callable[[], None]:
        """Have `ended` called once, from another thread, when a call or anything above it has ended.

        Returns what stops watching. While the authority cannot be reached nothing is ended on a guess. Where it refuses
        to tell, because this client counts no more or the call is none of its own, nobody could end it later: it ends.
        """
        watching: Future[None] = self._api.submit(lambda: self._watch(admission_id, ended))
        return lambda: _cancel(watching)

    async def _admit(self, body: AdmitBody, call: Call) -> Admission:
        await self._reports.arrived(body.token)
        admission: Admission = await self._api.ask(EndpointName.ADMIT, body=body)
        asked = (call.admission_id, call.action, self._environment)
        self._compare((admission.admission_id, admission.action, admission.environment) == asked)
        self._reports.expect(admission.admission_id, body.token)
        return admission

    async def _settle(self, admission_id: AdmissionId, outcome: Outcome) -> Settlement:
        with self._reports.under_way(admission_id):
            settlement: Settlement = await self._api.ask(EndpointName.SETTLE, admission_id, body=outcome)
        return settlement

    async def _settled(self, admission_id: AdmissionId, until_ms: int) -> bool:
        while True:
            left_ms = until_ms - self.boot_milliseconds()
            answer = await self._look(admission_id, max(0, left_ms))
            if answer.state is not CallState.ADMITTED:
                return True
            if left_ms <= 0:
                return False

    async def _check(self, admission_id: AdmissionId) -> None:
        answer = await self._look(admission_id, 0)
        if answer.refusal is not None:
            raise Denied(answer.refusal)

    async def _watch(self, admission_id: AdmissionId, ended: Callable[[Decision], None]) -> None:
        while True:
            try:
                answer = await self._look(admission_id, _LOOK_MS)
            except UnavailableError:
                await asyncio.sleep(_PAUSE_SECONDS)
                continue
            except Denied as denied:
                ended(denied.decision)
                return
            except NotFoundError as error:
                ended(deny(Reason.NOT_FOUND, str(error)))
                return
            if answer.end is not None:
                ended(answer.end)
                return
            await asyncio.sleep(_PAUSE_SECONDS)

    async def _look(self, admission_id: AdmissionId, wait_ms: int) -> AdmissionAnswer:
        answer: AdmissionAnswer = await self._api.ask(EndpointName.ADMISSION, admission_id, wait_ms=wait_ms)
        self._compare(answer.admission_id == admission_id)
        return answer

    def _compare(self, is_answer: bool) -> None:
        if not is_answer:
            raise UnavailableError(
                f"{self._api.place} answered another question than was asked; nothing may be started",
                maybe_persisted=True,
            )


def _cancel(watching: Future[None]) -> None:
    watching.cancel()


class _Reports:
    """Which reports are on their way, by the lease of their call.

    Two requests on two connections may overtake each other. The next call of a lease would then be judged while what
    the one before did not use still counts as spent, and be refused for a budget that has room. Embedded, the lane
    keeps the order; here the question waits.
    """

    def __init__(self) -> None:
        self._tokens: dict[AdmissionId, str] = {}
        self._tasks: dict[str, set[asyncio.Task[Any]]] = {}

    def expect(self, admission_id: AdmissionId, token: str) -> None:
        """This call of the lease will be reported."""
        self._tokens[admission_id] = token
        if len(self._tokens) > _MOST_ADMISSIONS:
            del self._tokens[next(iter(self._tokens))]

    @contextmanager
    def under_way(self, admission_id: AdmissionId) -> Iterator[None]:
        """The task that runs here is the report of the call, until the block ends."""
        token, task = self._tokens.pop(admission_id, None), asyncio.current_task()
        if token is None or task is None:
            yield
            return
        tasks = self._tasks.setdefault(token, set())
        tasks.add(task)
        try:
            yield
        finally:
            tasks.discard(task)
            if not tasks and self._tasks.get(token) is tasks:
                del self._tasks[token]

    async def arrived(self, token: str) -> None:
        """Wait for the reports of this lease that are on their way, however they end, but not for long."""
        loop = asyncio.get_running_loop()
        tasks = [task for task in self._tasks.get(token, ()) if task.get_loop() is loop]  # a fork leaves others behind
        if tasks:
            await asyncio.wait(tasks, timeout=_REPORT_SECONDS)
