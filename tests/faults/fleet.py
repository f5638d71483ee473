"""Several authorities over one PostgreSQL database, as users run them: `leasehold serve`, each with a state directory.

Set up by the commands of docs/operations.md. A balancer that ends TLS stands in front of all; each also has a socket of
its own. Any of them can be killed and started again.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import ssl
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

import trustme
from balancer import Balancer
from click.testing import CliRunner

from leasehold.assemble import open_authority
from leasehold.authority import Authority
from leasehold.cli.program import program
from leasehold.cli.surroundings import Surroundings
from leasehold.client.desk import RemoteDesk, connect_desk, read_person_key
from leasehold.client.remote import RemoteAuthority, connect
from leasehold.config import create_private, open_state
from leasehold.system import RealSystem

__all__ = ["DOOR", "Fleet", "Machine"]

DOOR = "ticket-door"
_SECONDS_DIRECT = 1.0
"""After so long who asks one authority alone asks the next; who asks the balancer waits for whoever comes back."""

_SECONDS_BALANCED = 100.0


class Machine:
    """One authority: its state directory, its socket, and the process that runs there now."""

    def __init__(self, folder: Path, policy: Path, public_url: str) -> None:
        self.state = folder / "state"
        self.url = f"unix:{folder / 'socket'}"
        self.log = folder / "log"
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port = int(free.getsockname()[1])
        where = ("--port", str(self.port), "--public-url", public_url, "--socket", str(folder / "socket"))
        self._command = (sys.executable, "-X", "faulthandler", "-m", "leasehold", "serve", *where)
        self._environ = {**os.environ, "LEASEHOLD_POLICY": str(policy), "LEASEHOLD_STATE": str(self.state)}
        self._process: subprocess.Popen[str] | None = None

    def start(self) -> None:
        """Begin to start; who needs it up waits."""
        with self.log.open("a") as log:
            self._process = subprocess.Popen(
                self._command, stdout=subprocess.PIPE, stderr=log, text=True, env=self._environ
            )

    def wait_until_up(self) -> None:
        """Return once it says where it is."""
        assert self._process is not None
        assert self._process.stdout is not None
        assert self._process.stdout.readline().startswith("https://"), self.log.read_text()[-2000:]

    def kill(self) -> None:
        """End it at once, wherever it is."""
        self._end(signal.SIGKILL)

    def stop(self) -> int:
        """Ask it to end, and answer how it did."""
        return self._end(signal.SIGTERM)

    def _end(self, number: signal.Signals) -> int:
        if self._process is None:
            return 0
        with self._process as process:
            process.send_signal(number)
        return self._process.returncode


class Fleet:
    """The machines, the balancer, and what everybody needs who calls there."""

    def __init__(self, folder: Path, policy: str, database_url: str, *, machines: int) -> None:
        self._policy = folder / "leasehold.toml"
        self._policy.write_text(policy)
        self.certificates = trustme.CA()
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.certificates.issue_cert("localhost").configure_cert(context)
        self._balancer = Balancer(context)
        self.url = f"https://localhost:{self._balancer.port}"
        folders = [folder / f"machine-{number}" for number in range(machines)]
        for each in folders:
            each.mkdir()
        self.machines = [Machine(each, self._policy, self.url) for each in folders]
        self._first = self.machines[0].state
        create_private(open_state(self._first).database_url, database_url.encode())
        self.public = folder / "authority.pub"
        self._keys: dict[str, str] = {}

    def set_up(self, clients: Iterable[str], people: Iterable[str]) -> None:
        """Make the database, and what clients and people show there."""
        self.command("db", "migrate")
        for client in clients:
            self._keys[client] = self.command("client", "key", "add", client).strip()
        for person in people:
            self.command("person", "add", person)
        self.command("keys", "export", "--output", str(self.public))

    def command(self, *words: str) -> str:
        """What a command of an operator writes at the first machine."""
        environ = {"LEASEHOLD_POLICY": str(self._policy), "LEASEHOLD_STATE": str(self._first)}
        around = Surroundings(system=RealSystem())
        result = CliRunner().invoke(program, words, obj=around, env=environ)
        assert result.exit_code == 0, result.output
        return result.stdout

    def start(self) -> None:
        """Give every machine a copy of the state, and start all."""
        for machine in self.machines[1:]:
            shutil.copytree(self._first, machine.state)
        for machine in self.machines:
            machine.start()
        for machine in self.machines:
            machine.wait_until_up()
        self._balancer.serve([machine.port for machine in self.machines])

    def stop(self) -> list[int]:
        """Ask all to end, and answer how each did."""
        return [machine.stop() for machine in self.machines]

    def close(self) -> None:
        """Let nothing of it be left, whatever happened."""
        for machine in self.machines:
            machine.kill()
        self._balancer.close()

    def open(self) -> Authority:
        """The same database, opened by a program of this machine, as commands and auditors do."""
        return open_authority(self._policy, state=self._first, sweep=False)

    # what clients call

    def agents_at(self, place: Machine | None, client: str, seconds: float = 0) -> RemoteAuthority:
        """An agent host at one machine, or at whichever the balancer chooses; it stands at its tool's door as well."""
        return connect(
            self.url if place is None else place.url,
            self._keys[client],
            doors={"ticket": self._keys[DOOR]},
            trust=self.trust(),
            deadline_seconds=seconds or (_SECONDS_BALANCED if place is None else _SECONDS_DIRECT),
        )

    def desk_at(self, place: Machine, person: str, seconds: float = _SECONDS_DIRECT) -> RemoteDesk:
        """A person at one machine."""
        key = read_person_key(open_state(self._first).person_key(person))
        return connect_desk(
            place.url,
            person,
            key,
            authority=json.loads(self.public.read_text())["issuer"],
            deadline_seconds=seconds,
        )

    def trust(self) -> ssl.SSLContext:
        """Believes the balancer's certificate."""
        context = ssl.create_default_context()
        self.certificates.configure_trust(context)
        return context
