"""What the container runs, run here: an installed wheel, another folder, a read-only root, the very commands."""

from __future__ import annotations

import http.client
import json
import re
import shutil
import signal
import socket
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest
from deployment import DEPLOY, caged, can_cage, clean, compose, container_stages, installed

from postgres_server import PostgresServer


@dataclass(frozen=True)
class Machine:
    """Where the commands of the files run: their paths are below `folder` here, all others cannot be written."""

    folder: Path
    program: Path
    url: str

    @property
    def environment(self) -> dict[str, str]:
        """The variables of the compose file, each with the value that it has here."""
        here = {
            "LEASEHOLD_POLICY": str(self.folder / "leasehold.toml"),
            "LEASEHOLD_STATE": self.url,
            "XDG_STATE_HOME": str(self.folder / "state"),
            "PGPASSFILE": str(self.folder / "pgpass"),
        }
        assert compose()["services"]["authority"]["environment"].keys() == here.keys()
        (set_in_image,) = [each.rest for each in container_stages()[-1] if each.word == "ENV"]
        image = dict(re.findall(r"(\S+)=(\S+)", set_in_image))
        return clean({name: value for name, value in image.items() if name.startswith(("HOME", "PYTHON"))} | here)

    def command(self, words: list[str]) -> list[str]:
        return caged([str(self.program), *words], [self.folder / "state", self.folder / "tmp"])

    def run(self, *words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            self.command(list(words)),
            env=self.environment,
            cwd=self.folder / "state",
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return installed(tmp_path_factory.mktemp("wheel"))


@pytest.fixture
def machine(tmp_path: Path, program: Path, postgres_server: PostgresServer) -> Machine:
    shutil.copy(DEPLOY / "compose/policy/leasehold.toml", tmp_path / "leasehold.toml")
    for name in ("state", "tmp"):
        (tmp_path / name).mkdir(mode=0o700)
    (tmp_path / "pgpass").touch(mode=0o600)
    return Machine(tmp_path, program, postgres_server.url(postgres_server.fresh()))


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as free:
        return int(free.getsockname()[1])


def get(port: int, path: str, host: str = "") -> tuple[int, bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    try:
        connection.request("GET", path, headers={"Host": host} if host else {})
        reply = connection.getresponse()
        return reply.status, reply.read()
    finally:
        connection.close()


def test_the_wheel_is_what_runs_and_it_can_write_nowhere_else(machine: Machine) -> None:
    where = machine.run("--version")
    assert where.returncode == 0, where.stderr
    script = "import leasehold; print(leasehold.__file__); open('/var/tmp/leasehold-was-here', 'w')"
    python = caged([str(machine.program.parent / "python"), "-c", script], [machine.folder / "state"])
    done = subprocess.run(python, env=machine.environment, capture_output=True, text=True, check=False)
    assert str(machine.program.parent.parent) in done.stdout
    if can_cage():
        assert "Read-only file system" in done.stderr
    else:
        Path("/var/tmp/leasehold-was-here").unlink()


@pytest.mark.requirement("L14")
def test_the_commands_of_the_compose_file_migrate_and_serve_until_they_are_told_to_stop(machine: Machine) -> None:
    services = compose()["services"]
    migrated = machine.run(*services["migrate"]["command"])
    assert migrated.returncode == 0, migrated.stderr

    port, figures = free_port(), free_port()
    here = {"--port=8470": f"--port={port}", "--metrics=0.0.0.0:9470": f"--metrics=127.0.0.1:{figures}"}
    words = [here.get(word, word) for word in services["authority"]["command"]]
    words = ["--public-url=https://lease.example.com" if word.startswith("--public-url=") else word for word in words]
    process = subprocess.Popen(
        machine.command(words),
        env=machine.environment,
        cwd=machine.folder / "state",
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        assert json.loads(process.stdout.readline())["url"] == "https://lease.example.com"
        assert get(port, "/healthz") == (200, b"ok\n")
        assert get(port, "/readyz") == (200, b"ok\n")
        assert get(port, "/sign-in", "lease.example.com")[0] == 200
        assert get(port, "/sign-in", "other.example.com")[0] == 421
        assert get(figures, "/metrics")[0] == 200
        check = health_check(port)
        assert subprocess.run(check, env=machine.environment, check=False).returncode == 0
        process.send_signal(signal.SIGTERM)
        _, errors = process.communicate(timeout=60)
    finally:
        process.kill()
        process.wait()
    assert process.returncode == 0, errors
    lines = [json.loads(line) for line in errors.splitlines()]
    assert any(line.get("route") == "/sign-in" for line in lines)
    assert subprocess.run(check, env=machine.environment, capture_output=True, check=False).returncode == 1


def health_check(port: int) -> list[str]:
    """The image's own check, asking this port."""
    (rest,) = [each.rest for each in container_stages()[-1] if each.word == "HEALTHCHECK"]
    words: list[str] = json.loads(rest.partition("CMD ")[2])
    assert words == compose()["services"]["authority"]["healthcheck"]["test"][1:]
    return [shutil.which("python3") or "python3", *(word.replace("8470", str(port)) for word in words[1:])]


def test_without_a_public_address_the_image_serves_nobody_but_itself(machine: Machine) -> None:
    refused = machine.run("serve", "--host=0.0.0.0")
    assert refused.returncode == 2
    assert "--public-url" in refused.stderr
