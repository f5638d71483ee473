"""What tests of guarded tools share: an authority in memory with a clock to turn, and people who can answer.

Called by test suites, of this project and of tools that stand behind it. Every part is the real one but the clock and
the random source, so that what passes here passes at a real door.
"""

from __future__ import annotations

import hashlib
import tempfile
from pathlib import Path

from leasehold.assemble import MEMORY, open_authority
from leasehold.authority import Authority
from leasehold.authority.desk import Signatory
from leasehold.decide.answer import Answered
from leasehold.model.request import Request, Verdict
from leasehold.system import System
from leasehold.testing.clock import FrozenSystem
from leasehold.token.keys import SigningKey

__all__ = ["Approvers", "key_of_person", "memory_authority"]


def memory_authority(policy_text: str, *, system: System | None = None) -> Authority:
    """Return a fresh authority in memory under the policy of a `leasehold.toml`, given as text.

    Nothing happens in the background: turn the clock of the `FrozenSystem` that you pass, and call `sweep.run_once()`
    where you want ends written down. Close it, or use it in a `with` statement.

    Raises:
        ConfigError: the policy cannot be used; the line is that of the text.
    """
    with tempfile.TemporaryDirectory(prefix="leasehold-") as folder:
        path = Path(folder) / "leasehold.toml"
        path.write_text(policy_text, encoding="utf-8")
        return open_authority(path, state=MEMORY, system=system or FrozenSystem(), sweep=False)


def key_of_person(person: str) -> SigningKey:
    """The key of a person of tests: it follows from the name, so it is secret to nobody."""
    return SigningKey.generate(hashlib.sha256(f"leasehold test person {person}".encode()).digest())


class Approvers:
    """People who answer requests at the desk. A person's key is added when they first speak."""

    def __init__(self, authority: Authority) -> None:
        self._authority = authority

    def signatory(self, person: str) -> Signatory:
        """The person, with their key in hand and known to the authority."""
        key = key_of_person(person)
        self._authority.desk.add_person(person, key.public(), by="test")
        return Signatory(person=person, key=key)

    def approve(self, request: Request | str, *people: str) -> Answered:
        """Have people approve a request, in this order; answers where it stands after the last of them.

        Raises:
            Denied: somebody's word does not count, or the request is not pending any more.
        """
        return self._answer(request, Verdict.APPROVE, people)

    def deny(self, request: Request | str, *people: str) -> Answered:
        """Have people deny a request.

        Raises:
            Denied: somebody's word does not count, or the request is not pending any more.
        """
        return self._answer(request, Verdict.DENY, people)

    def _answer(self, request: Request | str, verdict: Verdict, people: tuple[str, ...]) -> Answered:
        asked = self._authority.find_request(request) if isinstance(request, str) else request
        answers = [self._authority.desk.answer(asked, verdict, self.signatory(person)) for person in people]
        return answers[-1]
