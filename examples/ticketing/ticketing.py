"""Temporary write access to a ticketing system, over a real SQLite file and a real embedded authority.

An agent may read tickets at once. To write it asks for access to one ticket; the request waits for a support lead, also
while the agent's process is gone; the access ends when the ticket is closed. Run it: python ticketing.py [FOLDER]
"""

from __future__ import annotations

import sqlite3
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import leasehold
from leasehold import Authority, Capability, Denied, Guard
from leasehold.authority.desk import Signatory
from leasehold.model.request import Verdict
from leasehold.token.keys import SigningKey

POLICY = Path(__file__).with_name("leasehold.toml")


class Tickets:
    """The ticketing system: one SQLite file. It knows nothing of agents or leases."""

    def __init__(self, path: Path) -> None:
        self._path = path

    @contextmanager
    def _database(self) -> Iterator[sqlite3.Connection]:
        with closing(sqlite3.connect(self._path)) as database, database:
            yield database

    def create(self, *ticket_ids: str) -> None:
        """Start with these tickets, open and without notes."""
        with self._database() as database:
            database.execute("CREATE TABLE ticket (id TEXT PRIMARY KEY, status TEXT NOT NULL, notes TEXT NOT NULL)")
            database.executemany("INSERT INTO ticket VALUES (?, 'open', '')", [(each,) for each in ticket_ids])

    def read(self, ticket_id: str) -> dict[str, str]:
        """One ticket."""
        with self._database() as database:
            row = database.execute("SELECT id, status, notes FROM ticket WHERE id = ?", (ticket_id,)).fetchone()
        return dict(zip(("id", "status", "notes"), row, strict=True))

    def note(self, ticket_id: str, text: str) -> None:
        """Add a line to a ticket."""
        with self._database() as database:
            database.execute("UPDATE ticket SET notes = notes || ? || char(10) WHERE id = ?", (text, ticket_id))

    def set_status(self, ticket_id: str, status: str) -> None:
        """Open or close a ticket."""
        with self._database() as database:
            database.execute("UPDATE ticket SET status = ? WHERE id = ?", (status, ticket_id))


class TicketTool:
    """The ticketing system behind a guard: each call is admitted, or nothing happens."""

    def __init__(self, authority: Authority, tickets: Tickets) -> None:
        guard = Guard("ticket", authority, environment="prod")
        self._tickets = tickets
        self.read = guard.action("read")(self._read)
        self.note = guard.action("note")(self._note)
        self.close = guard.action("close")(self._close)
        self.reopen = guard.action("reopen")(self._reopen)

    def _read(self, capability: Capability, ticket_id: str) -> dict[str, str]:
        capability.touched(ticket_id)
        return self._tickets.read(ticket_id)

    def _note(self, capability: Capability, ticket_id: str, text: str) -> None:
        self._tickets.note(ticket_id, text)
        capability.touched(ticket_id)

    def _close(self, capability: Capability, ticket_id: str) -> None:
        self._tickets.set_status(ticket_id, "closed")
        capability.touched(ticket_id)

    def _reopen(self, capability: Capability, ticket_id: str) -> None:
        self._tickets.set_status(ticket_id, "open")
        capability.touched(ticket_id)


def ask(authority: Authority, tool: TicketTool) -> tuple[str, str]:
    """The agent's first process: read the ticket, ask for write access to it, and go. Returns run and request id."""
    run = authority.start(
        agent="support-bot",
        route="support/close",
        tenant="acme",
        environment="prod",
        requested_by="user:ana",
        purpose="answer ticket T-18421",
    )
    reading = authority.wait(authority.request(run, {"ticket.read": {"ticket": ["T-18421"]}}, reason="see what it is"))
    print("read:", tool.read(reading, "T-18421"))
    asked = authority.request(
        run,
        {"ticket.note": {"ticket": ["T-18421"]}, "ticket.close": {"ticket": ["T-18421"]}},
        reason="the customer confirmed the fix",
    )
    print("asked for write access:", asked.request_id, authority.runs.request_state(asked))
    return run.run_id, asked.request_id


def approve(authority: Authority, request_id: str) -> None:
    """The support lead's side: look at the card, sign an answer. Here the key is made on the spot."""
    system = authority.engine.system
    key = SigningKey.generate(system.random_bytes(32), created_at=system.now().seconds)
    authority.desk.add_person("user:ben", key.public(), by="example")
    request = authority.find_request(request_id)
    print("user:ben reads:", authority.desk.card(request).headline)
    authority.desk.answer(request, Verdict.APPROVE, Signatory(person="user:ben", key=key))


def work(authority: Authority, tool: TicketTool, run_id: str, request_id: str) -> bytes:
    """The agent's second process: take the run up again, write, close, and finish. Returns the receipt."""
    run = authority.run(run_id)
    lease = authority.wait(request_id, timeout=60)
    print("approved by", *lease.lease.approved_by, "for", lease.lease.expires_at - lease.lease.issued_at, "s")
    tool.note(lease.once("note-1"), "T-18421", "fixed in 2.4.1")
    show_refusal("another ticket", lambda: tool.note(lease.once("note-2"), "T-18422", "fixed as well"))
    tool.close(lease.once("close"), "T-18421")
    show_refusal("a note after the close", lambda: tool.note(lease.once("note-3"), "T-18421", "one more thing"))

    # The customer writes again: one line asks for one operation, and leaves nothing behind.
    once = authority.escalate(run, "ticket.reopen", {"ticket": ["T-18421"]}, reason="it is back", seconds=60)
    tool.reopen(once.once("reopen"), "T-18421")
    show_refusal("the same lease again", lambda: tool.reopen(once.once("again"), "T-18421"))
    return authority.finish(run)


def show_refusal(what: str, call: Callable[[], object]) -> None:
    """Make a call that is refused, and print why."""
    try:
        call()
    except Denied as denied:
        print(f"{what}: {denied}")
    else:
        raise SystemExit(f"{what}: this ought to have been refused")


def main(folder: Path) -> None:
    """Play it once in a folder."""
    tickets = Tickets(folder / "tickets.db")
    tickets.create("T-18421", "T-18422")
    with leasehold.open(POLICY, state=folder / "state") as authority:
        run_id, request_id = ask(authority, TicketTool(authority, tickets))
    with leasehold.open(POLICY, state=folder / "state") as authority:  # hours and restarts later
        approve(authority, request_id)
    with leasehold.open(POLICY, state=folder / "state") as authority:
        receipt = work(authority, TicketTool(authority, tickets), run_id, request_id)
    (folder / "receipt.json").write_bytes(receipt)
    print("now:", tickets.read("T-18421"), tickets.read("T-18422"))
    print("the receipt stands in", folder / "receipt.json")


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(tempfile.mkdtemp(prefix="ticketing-")))
