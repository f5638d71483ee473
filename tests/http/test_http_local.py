"""The unix socket: who gets to it, who is seen at its other end, and what becomes of a path that is taken."""

from __future__ import annotations

import http.client
import os
import socket
import stat
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp

from leasehold.errors import ConfigError
from leasehold.http.connections import Limits, Peer
from leasehold.http.local import LocalSocket
from leasehold.http.server import Wiring
from leasehold.http.site import Site
from served import Browser, wired

NOBODY = 65534
ASK = """
import json, os, socket, sys
os.setgroups([]), os.setgid(int(sys.argv[2])), os.setuid(int(sys.argv[2]))
connection = socket.socket(socket.AF_UNIX)
try:
    connection.connect(sys.argv[1])
except PermissionError:
    sys.exit("not permitted")
connection.sendall(b"GET /v1/who HTTP/1.1\\r\\nHost: local\\r\\nConnection: close\\r\\n\\r\\n")
answer = b""
while more := connection.recv(65536):
    answer += more
print(answer.partition(b"\\r\\n\\r\\n")[2].decode())
"""


def who(request: Request) -> Response:
    peer: Peer | None = request.state.peer
    assert peer is not None
    return JSONResponse({"user": peer.user_id, "group": peer.group_id, "process": peer.process_id})


def pages(site: Site) -> ASGIApp:
    return Starlette(routes=[Route("/", lambda request: PlainTextResponse("a page"))])


@contextmanager
def at_socket(path: Path, mode: int = 0o660) -> Iterator[int]:
    """A server with pages at a port and one endpoint at a socket; answers the port."""
    local = LocalSocket(path, mode)
    wiring = Wiring(limits=Limits(), local=Starlette(routes=[Route("/v1/who", who)]))
    try:
        with wired(pages, wiring, local.listener) as port:
            yield port
    finally:
        local.close()


class LocalConnection(http.client.HTTPConnection):
    """HTTP over a unix socket."""

    def __init__(self, path: Path) -> None:
        super().__init__("local", timeout=20)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.connect(str(self._path))


def ask(path: Path, target: str) -> http.client.HTTPResponse:
    with closing(LocalConnection(path)) as connection:
        connection.request("GET", target)
        reply = connection.getresponse()
        reply.read()
        return reply


def test_socket_answers_what_is_for_programs_and_the_port_what_is_for_people(tmp_path: Path) -> None:
    path = tmp_path / "leasehold.sock"
    with at_socket(path) as port:
        assert ask(path, "/v1/who").status == 200
        assert ask(path, "/").status == 404
        assert Browser(port).get("/").text == "a page"
        assert Browser(port).get("/v1/who").status == 404


def test_socket_has_its_mode_before_anybody_can_connect_and_is_gone_afterwards(tmp_path: Path) -> None:
    path = tmp_path / "leasehold.sock"
    with at_socket(path, 0o600):
        assert path.stat().st_mode & 0o777 == 0o600
        assert list(tmp_path.iterdir()) == [path]
    assert not path.exists()


def asked_as(user: int, path: Path) -> subprocess.CompletedProcess[str]:
    """Ask who is at the other end, as another account."""
    command = [sys.executable, "-I", "-c", ASK, str(path), str(user)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


needs_root = pytest.mark.skipif(
    os.geteuid() != 0, reason="NOT TESTED HERE: another account at the socket; only root can become one"
)


@needs_root
def test_another_account_gets_in_where_the_mode_lets_it_and_is_seen_as_what_it_is(tmp_path: Path) -> None:
    folder = _folder_for_all(tmp_path)
    path = folder / "leasehold.sock"
    with at_socket(path, 0o666):
        asked = asked_as(NOBODY, path)
    assert asked.returncode == 0, asked.stderr
    assert f'"user":{NOBODY}' in asked.stdout
    assert f'"group":{NOBODY}' in asked.stdout


@needs_root
def test_another_account_does_not_get_in_where_the_mode_keeps_it_out(tmp_path: Path) -> None:
    folder = _folder_for_all(tmp_path)
    path = folder / "leasehold.sock"
    with at_socket(path, 0o660):
        asked = asked_as(NOBODY, path)
    assert (asked.returncode, asked.stderr.strip()) == (1, "not permitted")


def _folder_for_all(folder: Path) -> Path:
    """Let every account pass through to a folder of a test."""
    for each in (folder, *folder.parents):
        if not each.stat().st_mode & stat.S_IXOTH:
            each.chmod(0o711)
    return folder


def test_account_is_the_one_that_connected(tmp_path: Path) -> None:
    path = tmp_path / "leasehold.sock"
    with at_socket(path), closing(LocalConnection(path)) as connection:
        connection.request("GET", "/v1/who")
        told = connection.getresponse().read().decode()
    assert f'"user":{os.geteuid()},"group":{os.getegid()},"process":{os.getpid()}' in told


# paths that are taken


def test_what_a_server_that_died_left_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "leasehold.sock"
    with closing(socket.socket(socket.AF_UNIX)) as dead:
        dead.bind(str(path))
    (tmp_path / f".leasehold.sock.{os.getpid()}").touch()
    with at_socket(path):
        assert ask(path, "/v1/who").status == 200


def test_socket_that_a_server_answers_at_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "leasehold.sock"
    with at_socket(path):
        with pytest.raises(ConfigError, match="answers there already"):
            LocalSocket(path, 0o660)
        assert ask(path, "/v1/who").status == 200


def test_file_that_is_no_socket_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "notes.txt"
    path.write_text("mine")
    with pytest.raises(ConfigError, match="no socket"):
        LocalSocket(path, 0o660)
    link = tmp_path / "link"
    link.symlink_to(path)
    with pytest.raises(ConfigError, match="no socket"):
        LocalSocket(link, 0o660)
    assert path.read_text() == "mine"


@pytest.mark.parametrize("mode", [0o777, 0o1777, 0o770, 0o720])
def test_folder_that_others_may_write_is_no_place_for_a_socket(tmp_path: Path, mode: int) -> None:
    """Not even a sticky one: while no server runs, whoever comes first is shown the credentials."""
    folder = tmp_path / "shared"
    folder.mkdir()
    folder.chmod(mode)
    with pytest.raises(ConfigError, match="others may write there"):
        LocalSocket(folder / "leasehold.sock", 0o660)
    assert list(folder.iterdir()) == []


def test_socket_whose_queue_nobody_empties_keeps_no_server_waiting(tmp_path: Path) -> None:
    path = tmp_path / "leasehold.sock"
    with socket.socket(socket.AF_UNIX) as listener, socket.socket(socket.AF_UNIX) as waiting:
        listener.bind(str(path))
        listener.listen(0)
        waiting.connect(str(path))
        with pytest.raises(ConfigError, match="cannot be asked"):
            LocalSocket(path, 0o660)


@pytest.mark.parametrize("name", ["nowhere/leasehold.sock", "x" * 200, "file/leasehold.sock"])
def test_path_that_will_not_do_is_a_plain_error(tmp_path: Path, name: str) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match=r"cannot"):
        LocalSocket(tmp_path / name, 0o660)


def test_socket_of_the_server_that_came_after_is_not_taken_away(tmp_path: Path) -> None:
    path = tmp_path / "leasehold.sock"
    old = LocalSocket(path, 0o660)
    old.listener.close()
    new = LocalSocket(path, 0o660)
    old.close()
    assert path.exists()
    new.close()
    new.close()
    assert not path.exists()
