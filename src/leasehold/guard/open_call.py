"""One admitted call from its start to its settle: what the tool reports of it, and whether it is still open.

Made by `leasehold.guard.call`, reached by tool code through its `Capability`. Any thread of the tool may report.
"""

from __future__ import annotations

import hashlib
from threading import Lock

from leasehold.errors import Denied, InvalidError
from leasehold.guard.encoding import to_json
from leasehold.model import canonical
from leasehold.model.budget import CALLS, CHILDREN, MAX_AMOUNT, TOOL_SECONDS, amounts_from_json, check_amounts
from leasehold.model.call import MAX_REPORT_BYTES, Admission, Outcome, OutcomeStatus
from leasehold.model.decision import Reason, deny
from leasehold.model.preview import Preview
from leasehold.model.protocols import Door
from leasehold.model.text import MAX_NAME, MAX_VALUE, visible

__all__ = ["Notes", "OpenCall"]

_MAX_NOTE_BYTES = (MAX_REPORT_BYTES - 1024) // 3
"""Of one of three lists, as JSON; what is left of an outcome is for a digest and the name of an error."""


class Notes:
    """Names that a tool reports, each once, in order, hidden characters made visible. Locked by its call.

    They are kept up to a size that a ledger entry can hold; after that they are only counted.
    """

    def __init__(self) -> None:
        self._names: dict[str, None] = {}
        self._bytes = 0
        self._more = 0

    def add(self, name: str) -> None:
        """Take one name, cut to the length of an attribute value."""
        shown = visible(name)[:MAX_VALUE]
        size = len(canonical.encode(shown)) + 1
        if shown in self._names:
            return
        if self._bytes + size > _MAX_NOTE_BYTES:
            self._more += 1
            return
        self._names[shown] = None
        self._bytes += size

    @property
    def listed(self) -> tuple[str, ...]:
        """The names, and how many more there were."""
        return (*self._names, *((f"and {self._more} more",) if self._more else ()))


class OpenCall:
    """The admission, the exact arguments, what people saw of it, and what was reported so far.

    `_lock` guards all that changes.
    """

    def __init__(
        self, door: Door, admission: Admission, arguments: bytes, asked_ms: int, seen: Preview | None = None
    ) -> None:
        self.door = door
        self.admission = admission
        self.arguments = arguments
        self.seen = seen
        self._asked_ms = asked_ms
        self._started_ms = door.boot_milliseconds()
        self._lock = Lock()
        self._settled = False
        self._notes = {"touched": Notes(), "files": Notes(), "contacted": Notes()}
        self._cost: dict[str, int] = {}
        self._result_digest = ""
        self._no_effect = False

    @property
    def is_in_time(self) -> bool:
        """Whether it may still start: less than `start_within_ms` have passed since before the guard asked."""
        return self._started_ms < self._asked_ms + self.admission.start_within_ms

    def check(self) -> None:
        """Return while the call is open by this machine's own boot-time clock.

        Raises:
            Denied: with `Reason.ENDED`: it has settled, or its time is over.
        """
        with self._lock:
            self._check()

    def note(self, list_name: str, names: tuple[str, ...]) -> None:
        """Take names for one of the lists of the outcome: touched, files, contacted.

        Raises:
            Denied: the call is over, so that nobody would read it.
        """
        with self._lock:
            self._check()
            for name in names:
                self._notes[list_name].add(name)

    def spend(self, amounts: dict[str, object]) -> None:
        """Add to what the call cost, unit by unit; whole numbers or decimal strings.

        Raises:
            InvalidError: an amount is no amount, there are too many units, or the unit is one that is measured already.
            Denied: the call is over.
        """
        micros = amounts_from_json(amounts, "spent")
        if counted := {CALLS, TOOL_SECONDS, CHILDREN} & micros.keys():
            raise InvalidError(f"{', '.join(sorted(counted))}: that is counted already; report other units")
        with self._lock:
            self._check()
            summed = {unit: min(self._cost.get(unit, 0) + amount, MAX_AMOUNT) for unit, amount in micros.items()}
            check_amounts(self._cost | summed, "spent")
            self._cost |= summed

    def report_no_effect(self) -> None:
        """Take the tool's word that nothing was changed, should the call fail.

        Raises:
            Denied: the call is over.
        """
        with self._lock:
            self._check()
            self._no_effect = True

    def returned(self, result: object) -> None:
        """Record the digest of the result's canonical encoding; a result without one has no digest."""
        digest = _digest(result)
        with self._lock:
            self._result_digest = digest

    def settle(self, error: BaseException | None) -> Outcome:
        """Close the call for good and return how it went. Only the class of an error is told, never its text."""
        elapsed_ms = self.door.boot_milliseconds() - self._started_ms
        with self._lock:
            self._settled = True
            return Outcome(
                status=OutcomeStatus.DONE if error is None else OutcomeStatus.FAILED,
                duration_micros=max(0, elapsed_ms) * 1000,
                cost=dict(self._cost),
                result_digest=self._result_digest if error is None else "",
                error="" if error is None else visible(type(error).__name__)[:MAX_NAME],
                no_effect=self._no_effect and error is not None,
                **{list_name: notes.listed for list_name, notes in self._notes.items()},
            )

    def _check(self) -> None:
        if self._settled:
            raise Denied(
                deny(Reason.ENDED, f"{self.admission.admission_id} has settled", check="the call is still open")
            )
        within = self.admission.finish_within_ms
        if within is not None and self.door.boot_milliseconds() >= self._asked_ms + within:
            raise Denied(
                deny(
                    Reason.ENDED,
                    f"{self.admission.admission_id} had {within} ms and they are over",
                    check="the time to finish is not over",
                    enough="a longer timeout of the action, or smaller calls",
                )
            )


def _digest(result: object) -> str:
    """SHA-256 in hex of the canonical encoding; empty where the value has none."""
    try:
        return hashlib.sha256(canonical.encode(to_json(result))).hexdigest()
    except Exception:  # noqa: BLE001 - a result may run any code of its own while it is read; the call went well
        return ""
