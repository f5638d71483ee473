"""The page on running an authority does what it says: its commands work on both databases, its messages exist."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest

from leasehold.assemble import back_up_state, open_authority, restore_state
from leasehold.config import create_private, open_state
from leasehold.ledger.entry import EntryKind
from leasehold.system import RealSystem
from leasehold.testing.clock import FrozenSystem
from postgres_server import PostgresServer
from receivers import http_receiver
from stage import AUDIT, POLICY, UPDATE, Stage

ROOT = Path(__file__).parent.parent
PAGE = (ROOT / "docs/operations.md").read_text()
DAYS_PAST = 120
BLOCKS = re.findall(r"<!-- run( postgres)? -->\n```console\n(.*?)```", PAGE, re.DOTALL)


def lines(*, on_postgres: bool) -> list[str]:
    """The commands of the page in their order; those for several machines need a server."""
    wanted = [text for only, text in BLOCKS if on_postgres or not only]
    return [line[2:] for text in wanted for line in text.splitlines() if line.startswith("$ ")]


def long_ago() -> FrozenSystem:
    """A clock that shows a time that is past for the commands: they go by the real one."""
    system = FrozenSystem()
    system.jump(seconds=RealSystem().now().seconds - DAYS_PAST * 86_400 - system.now().seconds)
    return system


def finish_a_run(folder: Path) -> None:
    """A run with cards that ended long ago."""
    system = long_ago()
    with open_authority(folder / "leasehold.toml", state=folder / "state", system=system, sweep=False) as authority:
        stage = Stage(authority=authority, system=system)
        run = stage.start()
        stage.lease(UPDATE, run=run)
        stage.lease(AUDIT, run=run)
        authority.finish(run)


@pytest.fixture(params=["sqlite", "postgres"])
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def test_the_commands_of_the_page_work_one_after_the_other(
    kind: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    (tmp_path / "leasehold.toml").write_text(POLICY)
    shutil.copy(ROOT / "examples/siem/ship.py", tmp_path)
    environ = {
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "HOME": str(tmp_path),
        "LEASEHOLD_POLICY": "leasehold.toml",
        "LEASEHOLD_STATE": "state",
        "NO_COLOR": "1",
    }
    files = open_state(tmp_path / "state")
    if kind == "postgres":
        server: PostgresServer = request.getfixturevalue("postgres_server")
        environ["DATABASE_URL"] = server.url(server.fresh())
        create_private(files.database_url, environ["DATABASE_URL"].encode())
    finish_a_run(tmp_path)
    with http_receiver() as receiver:
        environ["COLLECTOR_URL"] = receiver.url
        script = "\n".join(["set -euo pipefail", "umask 077", *lines(on_postgres=kind == "postgres")])
        done = subprocess.run(
            ["bash", "-c", script], cwd=tmp_path, env=environ, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
        shipped = [json.loads(line) for got in receiver.got for line in got.body.splitlines()]
    assert [entry["index"] for entry in shipped] == list(range(len(shipped)))
    kinds = {entry["kind"] for entry in shipped}
    assert {EntryKind.EPOCH_RAISED, EntryKind.REVOCATIONS_CONFIRMED, EntryKind.CARD_ERASED} <= kinds
    assert "the database is whole" in done.stdout
    assert "cards erased: 2" in done.stdout


def test_the_shipper_moves_on_only_once_the_collector_has_taken_it(tmp_path: Path) -> None:
    (tmp_path / "leasehold.toml").write_text(POLICY)
    finish_a_run(tmp_path)
    environ = {
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "LEASEHOLD_POLICY": "leasehold.toml",
        "LEASEHOLD_STATE": "state",
        "COLLECTOR_TOKEN": "t-1",
    }
    command = [sys.executable, str(ROOT / "examples/siem/ship.py"), "position"]
    with http_receiver() as receiver:
        receiver.answers = [503, 204]
        codes = [
            subprocess.run(
                [*command, receiver.url], cwd=tmp_path, env=environ, capture_output=True, check=False
            ).returncode
            for _ in range(3)
        ]
        assert codes == [1, 0, 0]
        first, second = receiver.got  # the third time there was nothing new
        assert first.body == second.body
        assert {name.lower(): text for name, text in second.headers.items()}["authorization"] == "Bearer t-1"
        files, sent = open_state(tmp_path / "state"), len(receiver.got)
        assert int((tmp_path / "position").read_text().split()[0]) == len(second.body.splitlines()) - 1
        back_up_state(files, tmp_path / "before.db")
        finish_a_run(tmp_path)
        run = partial(
            subprocess.run, [*command, receiver.url], cwd=tmp_path, env=environ, capture_output=True, text=True
        )
        assert run().returncode == 0
        assert len(receiver.got) == sent + 1
        restore_state(files, by="op", reason="disk lost", source=tmp_path / "before.db", system=long_ago())
        for _ in range(2):  # whether the ledger still ends before the last entry that was sent, or has outgrown it
            refused = run()
            assert (refused.returncode, len(receiver.got)) == (1, sent + 1)
            assert "put back from a backup" in refused.stderr
            finish_a_run(tmp_path)
            finish_a_run(tmp_path)


def test_every_message_of_the_table_of_failures_is_one_that_the_program_says() -> None:
    table = PAGE.partition("## What failures say")[2]
    messages = re.findall(r"^\| `(.+?)` \|", table, re.MULTILINE)
    assert len(messages) >= 25
    source = "".join(path.read_text() for path in sorted((ROOT / "src").glob("**/*.py")))
    joined = re.sub(r'"\s*\n\s*f?"', "", source)
    assert [message for message in messages if message not in joined] == []


def test_every_kind_of_entry_that_the_page_names_exists() -> None:
    named = re.search(r"Alarms to set: (.*?)What people", PAGE, re.DOTALL)
    assert named is not None
    kinds = {word for word in re.findall(r"`([a-z_]+\.[a-z_]+)`", named[1]) if not word.startswith("detail.")}
    assert kinds <= {str(kind) for kind in EntryKind}
