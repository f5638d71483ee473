"""An agent that is meant to be killed on its way through an approval. Started by test_approval_kill.py.

It reads a command a line from stdin (tab-separated), does each in a fresh child process, and says `pid N` first and
`over` at the end. A child that was told to stop at a place says `at PLACE` there and sleeps until it is killed. What
the tool did stands in a file outside: one line for each time that it really ran.

    ask ROUTE TICKET...                      a run, and a request: for the lease on `whole`, for each call on `each`
    go REQUEST TICKET PLACE                  take it up again from the request alone, and make the call
    loop                                     ask, approve and call, ticket after ticket, until it is killed
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path

from leasehold.assemble import open_authority
from leasehold.authority import Authority
from leasehold.errors import ApprovalNeeded, Denied, Edited
from leasehold.guard import Capability, Guard
from leasehold.model.lease import HeldLease
from leasehold.testing.fixtures import Approvers

_WAIT_SECONDS = 20


class Agent:
    """One life of it."""

    def __init__(self, authority: Authority, effects: Path, place: str = "") -> None:
        self._authority = authority
        self._effects = effects
        self._place = place
        guard = Guard("ticket", authority, environment="prod")
        self._close = guard.action("close")(self._tool)

    def _tool(self, capability: Capability, ticket_id: str, note: str) -> None:
        """What must never be done twice."""
        self._stop("begun")
        with self._effects.open("a") as file:
            file.write(f"{ticket_id} {note}\n")
            file.flush()
            os.fsync(file.fileno())
        self._stop("done")

    def ask(self, route: str, *tickets: str) -> None:
        """Ask for what people have to agree to, and say the requests."""
        run = self._authority.start(
            agent="bot", route=route, tenant="acme", environment="prod", requested_by="user:kim", purpose="tidy up"
        )
        request = self._authority.request(run, {"ticket.close": {"ticket": ["T-*"]}}, reason="they are old")
        if route == "whole":
            _say("asked", request.request_id)
            return
        lease = self._authority.wait(request, _WAIT_SECONDS)
        for ticket in tickets:
            _say("asked", self._needed(lease, ticket))

    def _needed(self, lease: HeldLease, ticket: str) -> str:
        try:
            self._call(lease, ticket, "old")
        except ApprovalNeeded as needed:
            return str(needed.request)
        raise AssertionError("nobody was asked")

    def go(self, request: str, ticket: str) -> None:
        """Go on where an earlier life was killed: wait for people, and make the call with the key that it has."""
        lease = self._authority.wait(request, _WAIT_SECONDS)
        self._stop("drawn")
        try:
            self._call(lease, ticket, "old")
        except Edited as edited:
            arguments = edited.arguments
            assert arguments is not None
            self._call(lease, arguments["ticket_id"], arguments["note"])
        self._stop("settled")

    def loop(self) -> None:
        """Ask, have it approved, call; each by itself."""
        people = Approvers(self._authority)
        for number in range(1000):
            ticket = f"T-{os.getpid()}-{number}"
            run = self._authority.start(
                agent="bot", route="each", tenant="acme", environment="prod", requested_by="user:kim", purpose="tidy up"
            )
            request = self._authority.request(run, {"ticket.close": {"ticket": ["T-*"]}}, reason="they are old")
            lease = self._authority.wait(request, _WAIT_SECONDS)
            asked = self._needed(lease, ticket)
            _say("asked", asked, ticket)
            people.approve(asked, "user:ben")
            _say("approved", asked, ticket)
            self._call(lease, ticket, "old")
            _say("executed", asked, ticket)

    def _call(self, lease: HeldLease, ticket: str, note: str) -> None:
        self._close(lease.once(f"close {ticket}"), ticket_id=ticket, note=note)

    def _stop(self, place: str) -> None:
        if place == self._place:
            _say("at", place)
            signal.pause()


def _life(policy: str, state: str, effects: Path, words: list[str]) -> None:
    """One command, in a process of its own."""
    _say("pid", str(os.getpid()))
    authority = open_authority(policy, state=state)
    try:
        match words:
            case ["ask", route, *tickets]:
                Agent(authority, effects).ask(route, *tickets)
            case ["go", request, ticket, place]:
                Agent(authority, effects, place).go(request, ticket)
                _say("executed", request, ticket)
            case ["loop"]:
                Agent(authority, effects).loop()
    except Denied as refusal:
        _say("refused", str(refusal.decision.reason))
    authority.close()


def _in_a_child(act: Callable[[], None]) -> None:
    child = os.fork()
    if child == 0:
        status = 1
        try:
            act()
            status = 0
        finally:
            os._exit(status)
    os.waitpid(child, 0)


def _say(*words: str) -> None:
    sys.stdout.write("\t".join(words) + "\n")
    sys.stdout.flush()


def main(policy: str, state: str, effects: str) -> None:
    for line in sys.stdin:
        words = line.rstrip("\n").split("\t")
        _in_a_child(lambda words=words: _life(policy, state, Path(effects), words))  # type: ignore[misc]
        _say("over")


if __name__ == "__main__":
    main(*sys.argv[1:])
