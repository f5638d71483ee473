"""Temporary write access to a ticketing system: the program as it is run, and what its access does not survive."""

from __future__ import annotations

import base64
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from ticketing import POLICY, Tickets, TicketTool, ask

import leasehold
from leasehold import Authority, Denied
from leasehold.authority.desk import Signatory
from leasehold.model.decision import Reason
from leasehold.model.lease import HeldLease
from leasehold.model.request import RequestState, Verdict
from leasehold.testing.clock import FrozenSystem
from leasehold.token.keys import SigningKey

TICKET = "T-18421"


@pytest.fixture
def system() -> FrozenSystem:
    return FrozenSystem()


@pytest.fixture
def tickets(tmp_path: Path) -> Tickets:
    tickets = Tickets(tmp_path / "tickets.db")
    tickets.create(TICKET, "T-18422")
    return tickets


@pytest.fixture
def authority(tmp_path: Path, system: FrozenSystem) -> Iterator[Authority]:
    with leasehold.open(POLICY, state=tmp_path / "state", system=system, sweep=False) as authority:
        yield authority


def answer(authority: Authority, request_id: str, verdict: Verdict) -> None:
    key = SigningKey.generate(authority.engine.system.random_bytes(32))
    authority.desk.add_person("user:ben", key.public(), by="test")
    request = authority.find_request(request_id)
    authority.desk.answer(request, verdict, Signatory(person="user:ben", key=key))


def granted(authority: Authority, tool: TicketTool) -> HeldLease:
    _, request_id = ask(authority, tool)
    answer(authority, request_id, Verdict.APPROVE)
    return authority.wait(request_id, timeout=60)


@pytest.mark.requirement("L14", "F1", "C1")
def test_the_program_gives_access_to_one_ticket_until_it_is_closed(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, str(POLICY.with_name("ticketing.py")), str(tmp_path)],
        env={"PATH": os.environ["PATH"], "HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[1].startswith("asked for write access: req_")
    assert lines[1].endswith(" pending")
    assert lines[3] == "approved by user:ben for 300 s"
    assert lines[4].startswith("another ticket: denied (out_of_range)")
    assert lines[5].startswith("a note after the close: denied (completed)")
    assert lines[6].startswith("the same lease again: denied (budget)")
    assert Tickets(tmp_path / "tickets.db").read(TICKET) == {
        "id": TICKET,
        "status": "open",
        "notes": "fixed in 2.4.1\n",
    }
    receipt = json.loads(base64.b64decode(json.loads((tmp_path / "receipt.json").read_bytes())["payload"]))["predicate"]
    assert [call["action"] for call in receipt["used"]] == [
        "ticket.read",
        "ticket.note",
        "ticket.close",
        "ticket.reopen",
    ]
    assert [call["reason"] for call in receipt["denied"]["listed"]] == ["out_of_range", "completed", "budget"]


@pytest.mark.requirement("L14", "L3")
def test_write_access_is_over_after_five_minutes_whoever_is_still_running(
    authority: Authority, system: FrozenSystem, tickets: Tickets
) -> None:
    tool = TicketTool(authority, tickets)
    lease = granted(authority, tool)
    system.advance(seconds=299)
    tool.note(lease.once("in time"), TICKET, "in time")
    system.advance(seconds=1)
    with pytest.raises(Denied) as denied:
        tool.note(lease.once("late"), TICKET, "late")
    assert denied.value.decision.reason is Reason.EXPIRED
    assert tickets.read(TICKET)["notes"] == "in time\n"


@pytest.mark.requirement("C1")
def test_a_sixty_second_escalation_is_one_operation_and_leaves_nothing_behind(
    authority: Authority, system: FrozenSystem, tickets: Tickets
) -> None:
    tool = TicketTool(authority, tickets)
    run_id, _ = ask(authority, tool)
    run = authority.run(run_id)
    used = authority.escalate(run, "ticket.reopen", {"ticket": [TICKET]}, reason="it is back", seconds=60)
    tool.reopen(used.once("reopen"), TICKET)
    unused = authority.escalate(run, "ticket.reopen", {"ticket": [TICKET]}, reason="and again", seconds=60)
    for lease, reason in ((used, Reason.BUDGET), (unused, Reason.EXPIRED)):
        system.advance(seconds=60 if lease is unused else 0)
        with pytest.raises(Denied) as denied:
            tool.reopen(lease.once("more"), TICKET)
        assert denied.value.decision.reason is reason


@pytest.mark.requirement("F1")
def test_a_request_survives_restarts_and_is_answered_and_used_later(
    tmp_path: Path, system: FrozenSystem, tickets: Tickets
) -> None:
    def opened() -> Authority:
        return leasehold.open(POLICY, state=tmp_path / "state", system=system, sweep=False)

    with opened() as authority:
        run_id, request_id = ask(authority, TicketTool(authority, tickets))
    system.advance(seconds=500)
    with opened() as authority:
        assert authority.runs.request_state(authority.find_request(request_id)) is RequestState.PENDING
        answer(authority, request_id, Verdict.APPROVE)
    system.advance(seconds=300)
    with opened() as authority:
        assert authority.runs.request_state(authority.find_request(request_id)) is RequestState.APPROVED
        lease = authority.wait(request_id, timeout=60)
        TicketTool(authority, tickets).note(lease.once("note"), TICKET, "still approved")
        assert lease.lease.run_id == run_id
    assert tickets.read(TICKET)["notes"] == "still approved\n"


@pytest.mark.requirement("F1", "P4")
def test_nobody_answering_is_a_time_out_and_a_no_is_a_no(
    authority: Authority, system: FrozenSystem, tickets: Tickets
) -> None:
    tool = TicketTool(authority, tickets)
    _, unanswered = ask(authority, tool)
    _, refused = ask(authority, tool)
    answer(authority, refused, Verdict.DENY)
    system.advance(seconds=601)
    authority.sweep.run_once()
    for request_id, reason in ((unanswered, Reason.APPROVAL_EXPIRED), (refused, Reason.APPROVAL_DENIED)):
        with pytest.raises(Denied) as denied:
            authority.wait(request_id, timeout=60)
        assert denied.value.decision.reason is reason
