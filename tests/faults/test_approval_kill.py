"""An agent is killed -9 between proposal, approval and execution, and taken up again: one execution or none, never two.

Real processes over a real state on disk; what the tool did is counted in a file outside. People answer meanwhile, in a
process of their own.
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from leasehold.assemble import open_authority
from leasehold.authority import Authority
from leasehold.authority.batches import Item
from leasehold.ledger.entry import Entry, EntryKind, decode_entry
from leasehold.ledger.history import check_history
from leasehold.model.request import Verdict
from leasehold.testing.fixtures import Approvers

pytestmark = [
    pytest.mark.case(77, 90),
    pytest.mark.invariant("I4", "I7", "I8"),
    pytest.mark.skipif(not hasattr(os, "fork"), reason="the worker makes its lives with fork"),
]

POLICY = """
version = 1
authority = "chaos"
[people]
"user:ben" = ["lead"]
"user:eva" = ["lead"]
[actions]
"ticket.close" = { effect = "write", args = { ticket = "ticket_id" } }
[routes.each]
for = { agents = ["bot"], tenants = ["acme"], environments = ["prod"] }
allow."ticket.close" = { ticket = ["T-*"] }
approve."ticket.close" = "call"
approvers = ["lead"]
budget = { calls = 9 }
[routes.whole]
for = { agents = ["bot"], tenants = ["acme"], environments = ["prod"] }
allow."ticket.close" = { ticket = ["T-*"] }
approve."ticket.close" = "lease"
approvers = ["lead"]
budget = { calls = 9 }
"""
PLACES = ("drawn", "begun", "done", "settled")
EXECUTIONS = {"drawn": 1, "begun": 0, "done": 1, "settled": 1}
"""How often the tool has run after the agent was killed at a place and taken up again: of a call that had begun nobody
knows whether it was done, so it is not made again."""


@dataclass
class Lives:
    """The agent's process, which makes a child for each life of the agent, and the state that they share."""

    folder: Path
    process: subprocess.Popen[str]

    def live(self, *words: str, kill_after: int = 0) -> list[list[str]]:
        """One life: what it said until it ended, was killed where it stopped, or had said so many lines."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write("\t".join(words) + "\n")
        self.process.stdin.flush()
        said: list[list[str]] = []
        pid = 0
        while line := self.process.stdout.readline():
            spoken = line.rstrip("\n").split("\t")
            if spoken == ["over"]:
                return said
            if spoken[0] == "pid":
                pid = int(spoken[1])
                continue
            said.append(spoken)
            if spoken[0] == "at" or len(said) == kill_after:
                os.kill(pid, signal.SIGKILL)
        raise AssertionError("the worker ended by itself")

    def asked(self, *words: str) -> list[str]:
        """What an agent asked for; it is gone once it has."""
        return [said[1] for said in self.live("ask", *words) if said[0] == "asked"]

    def people(self) -> Authority:
        """The state, opened by people while no agent lives."""
        return open_authority(self.folder / "leasehold.toml", state=self.folder / "state", sweep=False)

    def executions(self) -> Counter[str]:
        """How often the tool really ran, by ticket and note."""
        effects = self.folder / "effects"
        return Counter(effects.read_text().splitlines() if effects.exists() else ())

    def entries(self) -> list[Entry]:
        """The whole ledger. Whatever was killed when, it breaks no invariant."""
        with self.people() as authority:
            lines = authority.engine.store.queries.ledger(0, 10**6)
        entries = [decode_entry(line.body) for line in lines]
        assert check_history(entries) == []
        return entries


@pytest.fixture
def lives(tmp_path: Path) -> Iterator[Lives]:
    policy = tmp_path / "leasehold.toml"
    policy.write_text(POLICY)
    worker = str(Path(__file__).with_name("approval_worker.py"))
    command = [sys.executable, worker, str(policy), str(tmp_path / "state"), str(tmp_path / "effects")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        made = Lives(folder=tmp_path, process=process)
        yield made
        assert process.stdin is not None
        process.stdin.close()
    made.entries()


def admissions(entries: list[Entry]) -> int:
    return sum(entry.kind is EntryKind.CALL_ADMITTED for entry in entries)


def is_final(said: list[list[str]]) -> bool:
    """Whether the last word of a life is that it was done, or why it is not done again."""
    return said[-1][0] == "executed" or said[-1][1] in ("already_done", "in_flight", "outcome_unknown")


@pytest.mark.parametrize("route", ["each", "whole"])
@pytest.mark.parametrize("place", PLACES)
def test_agent_killed_before_and_after_the_approval_acts_once_or_not_at_all(
    lives: Lives, route: str, place: str
) -> None:
    [request] = lives.asked(route, "T-1")  # dies between proposal and approval
    with lives.people() as authority:
        Approvers(authority).approve(request, "user:ben")
    killed = lives.live("go", request, "T-1", place)
    assert killed == [["at", place]]
    again = [lives.live("go", request, "T-1", "nowhere") for _ in range(2)]
    assert all(map(is_final, again)), again
    assert sum(lives.executions().values()) == EXECUTIONS[place]
    assert admissions(lives.entries()) == 1


def test_denied_or_unanswered_request_starts_nothing_after_a_restart(lives: Lives) -> None:
    denied, waiting = lives.asked("each", "T-1", "T-2")
    with lives.people() as authority:
        Approvers(authority).deny(denied, "user:ben")
    assert lives.live("go", denied, "T-1", "nowhere")[-1] == ["refused", "approval_denied"]
    with lives.people() as authority:
        row = authority.desk.request_row(authority.find_request(waiting))
    assert row.state == "pending"
    assert lives.executions() == Counter()


@pytest.mark.parametrize("place", ["begun", "done"])
def test_edited_call_is_made_as_it_was_edited_once_or_not_at_all(lives: Lives, place: str) -> None:
    [request] = lives.asked("each", "T-1")
    with lives.people() as authority:
        people = Approvers(authority)
        edited = authority.desk.edit(
            authority.find_request(request), people.signatory("user:ben"), arguments={"note": "older"}, reason="say so"
        )
        people.approve(edited, "user:eva")
    with_old_arguments = lives.live("go", edited.request_id, "T-1", place)
    assert with_old_arguments == [["at", place]]
    again = [lives.live("go", edited.request_id, "T-1", "nowhere")[-1] for _ in range(2)]
    assert again == [["refused", "conflict"]] * 2  # the key that it remembers was used for the edited call
    assert lives.executions() == (Counter({"T-1 older": 1}) if place == "done" else Counter())
    assert admissions(lives.entries()) == 1


@pytest.mark.parametrize("place", ["begun", "done"])
def test_each_of_a_batch_is_done_once_or_not_at_all(lives: Lives, place: str) -> None:
    requests = lives.asked("each", "T-1", "T-2", "T-3")
    with lives.people() as authority:
        found = [authority.find_request(request) for request in requests]
        items = [Item(request_id=each.request_id, card_digest=each.card_digest) for each in found]
        signatory = Approvers(authority).signatory("user:ben")
        results = authority.desk.answer_many(items, Verdict.APPROVE, signatory)
        assert [str(result.state) for result in results] == ["approved"] * 3
    for number, request in enumerate(requests, start=1):
        lives.live("go", request, f"T-{number}", place if number == 2 else "nowhere")
    for number, request in enumerate(requests, start=1):
        assert is_final(lives.live("go", request, f"T-{number}", "nowhere"))
    done = lives.executions()
    assert set(done.values()) == {1}
    assert set(done) == {"T-1 old", "T-3 old"} | ({"T-2 old"} if place == "done" else set())
    assert admissions(lives.entries()) == 3


@pytest.mark.parametrize("seed", range(6))
def test_killed_anywhere_on_its_way_it_never_acts_twice(lives: Lives, seed: int) -> None:
    chance = random.Random(seed)
    begun: dict[str, str] = {}
    told: set[str] = set()
    for _ in range(3):
        for said in lives.live("loop", kill_after=chance.randrange(1, 14)):
            begun[said[2]] = said[1]
            told |= {said[2]} if said[0] == "executed" else set()
    with lives.people() as authority:
        people = Approvers(authority)
        for request in begun.values():
            if authority.desk.request_row(authority.find_request(request)).state == "pending":
                people.approve(request, "user:eva")
    for ticket, request in begun.items():
        assert is_final(lives.live("go", request, ticket, "nowhere"))
    done = lives.executions()
    assert set(done.values()) <= {1}
    assert {f"{ticket} old" for ticket in told} <= set(done)
    assert set(done) <= {f"{ticket} old" for ticket in begun}
