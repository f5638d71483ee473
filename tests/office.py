"""An authority with people behind the real server and the real pages, and short words for what its agents do."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from argon2 import PasswordHasher
from starlette.types import ASGIApp, Receive, Scope, Send

from leasehold.assemble import MEMORY, open_authority
from leasehold.authority.person_desk import PersonDesk
from leasehold.console.pages import console_pages
from leasehold.http.app import create_app
from leasehold.http.events import Streams
from leasehold.http.passwords import Passwords
from leasehold.http.site import Site
from leasehold.ledger.history import check_history
from leasehold.model.lease import HeldLease
from leasehold.model.request import Request
from leasehold.testing.clock import FrozenSystem
from served import Browser, served
from stage import ANA, BEN, EVA, KIM, POLICY, Stage, changed

__all__ = ["ANA", "BEN", "EVA", "KIM", "PASSWORD", "TEXT", "Office", "opened"]

PASSWORD = "correct horse battery"

TEXT = changed(
    'implies = ["ticket.update"] }',
    'implies = ["ticket.update"], undo = "reopen within 24 h", headline = "Close ticket {ticket_id}" }',
    POLICY,
)


class Office:
    """A stage with a front door. In memory, or with its database in a folder."""

    def __init__(self, folder: Path, *, is_on_disk: bool = False, text: str = TEXT) -> None:
        self._policy = folder / "leasehold.toml"
        self._policy.write_text(text, encoding="utf-8")
        self._state = folder / "state" if is_on_disk else MEMORY
        self._system = FrozenSystem()
        self.passwords = Passwords(PasswordHasher(time_cost=1, memory_cost=8, parallelism=1))
        self.port = 0
        self._open()

    def _open(self) -> None:
        authority = open_authority(self._policy, state=self._state, system=self._system, sweep=False)
        self.stage = Stage(authority=authority, system=self._system)
        self.streams = Streams(authority)

    def build(self, site: Site) -> ASGIApp:
        """The application, as `served` wants it."""
        self._site = site
        self._app = self._application()

        async def answer(scope: Scope, receive: Receive, send: Send) -> None:
            await self._app(scope, receive, send)

        return answer

    @property
    def application(self) -> ASGIApp:
        """The application as it is served now."""
        return self._app

    def _application(self) -> ASGIApp:
        return create_app(
            self.stage.authority, console_pages(), site=self._site, streams=self.streams, passwords=self.passwords
        )

    def restart(self) -> None:
        """Close everything and open it again from the disk, behind the same address: nothing in memory survives."""
        self.streams.close()
        self.stage.close()
        self._open()
        self._app = self._application()

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    # people

    def has_password(self, name: str) -> str:
        """Let somebody sign in; answers the id of their sign-in."""
        sign_ins = self.stage.authority.sign_ins
        known = sign_ins.of(name)
        if known:
            return known[0].sign_in
        return sign_ins.set_password(name, self.passwords.hash(PASSWORD, person=name), by="op")

    def viewer(self, name: str) -> PersonDesk:
        """What somebody sees who has signed in, without a page around it."""
        _, session = self.stage.authority.sign_ins.begin(name, self.has_password(name), address="here")
        return self.stage.authority.person_desk(session)

    def signed_in(self, name: str) -> Browser:
        """A client of somebody who has signed in, without a browser's looks."""
        self.has_password(name)
        client = Browser(self.port)
        token = client.get("/sign-in").token("/sign-in")
        reply = client.post("/sign-in", {"token": token, "next": "/", "person": name, "password": PASSWORD})
        assert reply.status == 303, reply.text
        return client

    # what agents do

    def lease(self, purpose: str = "answer T-1", reason: str = "customer asked", **allow: object) -> HeldLease:
        """A lease for everything that the desk does with tickets, in a run of its own."""
        run = self.stage.authority.start(
            agent="bot", route="desk", tenant="acme", environment="prod", requested_by=KIM, purpose=purpose
        )
        wanted = {f"ticket.{verb}": {"ticket": ["T-*"]} for verb in ("get", "update", "close", "erase")}
        return self.stage.authority.wait(self.stage.authority.request(run, wanted, reason=reason, **allow), 5)

    def asks(self, action: str = "ticket.close", *, lease: HeldLease | None = None, **arguments: object) -> Request:
        """A call that waits for people."""
        given = {"ticket_id": "T-1", **arguments}
        request_id = self.stage.ask(lease or self.lease(), action, key=f"key {given}"[:190], **given)
        return self.stage.authority.find_request(request_id)

    def state_of(self, request: Request) -> str:
        """Where a request stands in the database."""
        return self.stage.desk.request_row(request).state


@contextmanager
def opened(office: Office) -> Iterator[Office]:
    """Serve an office. Its ledger has to be whole afterwards."""
    with served(office.build) as port:
        office.port = port
        yield office
        office.streams.close()
    assert check_history(office.stage.entries()) == []
    office.stage.close()
