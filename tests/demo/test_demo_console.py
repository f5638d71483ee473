"""The console that `leasehold demo` offers at its end, on what the demo made."""

from __future__ import annotations

import re
import shlex
import signal
import subprocess
import sys
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from test_demo import command, environment

from leasehold.cli.demonstration.console import give_password, own_command
from leasehold.testing.fixtures import memory_authority
from served import Browser
from stage import POLICY


def test_console_of_the_demo_lets_its_approver_in_with_the_password_that_was_printed(tmp_path: Path) -> None:
    process = subprocess.Popen(
        command(tmp_path / "demo", "--console"),
        cwd=tmp_path,
        env=environment(tmp_path),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert process.stdout is not None
    shown = ""
    for line in process.stdout:
        shown += line
        if line.startswith("serving "):
            break
    password = re.search(r"user:ben, password ([a-z2-7-]+)", " ".join(shown.split()))
    address = re.search(r"serving (\S+) until", shown)
    assert password is not None, shown
    assert address is not None, shown
    port = urlsplit(address[1]).port
    assert port is not None
    client = Browser(port)
    token = client.get("/sign-in").token("/sign-in")
    form = {"token": token, "next": "/runs", "person": "user:ben", "password": password[1]}
    assert client.post("/sign-in", form).location == "/runs"
    runs = client.get("/runs").text
    assert "updater" in runs
    assert "test-runner" in runs
    run = re.search(r'href="(/runs/run_[^"]+)"', runs)
    assert run is not None
    assert "Verify it" in client.get(f"{run[1]}/receipt").text
    process.send_signal(signal.SIGINT)
    assert process.wait(60) == 0, process.stdout.read()
    process.stdout.close()


def test_demo_without_the_server_gives_no_password(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "argon2", None)
    monkeypatch.delitem(sys.modules, "leasehold.http.passwords", raising=False)
    with memory_authority(POLICY) as authority:
        assert give_password(authority) == ""


def test_commands_that_the_demo_prints_can_be_called_from_any_folder(tmp_path: Path) -> None:
    own = Path(sys.executable).with_name("leasehold")
    assert own_command({"PATH": str(own.parent)}) == "leasehold"
    assert own_command({"PATH": str(tmp_path)}) == shlex.quote(str(own))
    other = tmp_path / "leasehold"
    other.write_text("#!/bin/sh\n")
    other.chmod(0o755)
    assert own_command({"PATH": str(tmp_path)}) == shlex.quote(str(own))
