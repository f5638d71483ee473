"""What a guard needs of an authority, embedded or remote: the protocol Door (DESIGN §2). Taken by `leasehold.guard`.

Whatever asks the authority answers a Future, so that sync and async guards share one core. Failures arrive in it as the
exceptions of `leasehold.errors`, a refusal as `Denied`.
"""

from __future__ import annotations

from concurrent.futures import Future
from typing import Protocol

from leasehold.model.call import Admission, Call, Outcome, Settlement
from leasehold.model.ids import AdmissionId

__all__ = ["Door"]


class Door(Protocol):
    """What a guard may ask, authenticated as one tool in one environment."""

    @property
    def tool(self) -> str:
        """The tool's id."""
        ...

    @property
    def environment(self) -> str:
        """The environment that it serves."""
        ...

    def new_admission_id(self) -> AdmissionId:
        """A fresh random id for one try of one call."""
        ...

    def boot_milliseconds(self) -> int:
        """The boot-time clock that `start_within_ms` counts on; it does not stop while the machine sleeps."""
        ...

    def submit_admit(self, token: str, call: Call) -> Future[Admission]:
        """Ask for leave to start one call. The Future raises `Denied` or `ApprovalNeeded` where it is refused."""
        ...

    def submit_settle(self, admission_id: AdmissionId, outcome: Outcome) -> Future[Settlement]:
        """Report how an admitted call went. Sending the same outcome again answers the same."""
        ...

    def submit_settled(self, admission_id: AdmissionId, within_ms: int) -> Future[bool]:
        """Wait for the end of another call: true once it is not open any more, false when so many ms have passed."""
        ...
