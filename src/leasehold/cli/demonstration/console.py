"""The console on the demo's own data: offered at its end, or opened at once. Called by `leasehold.cli.demo`.

The approver of the story gets a password, made for this demo alone. Needs the extra `server`; the demo runs without.
"""

from __future__ import annotations

import base64
import os
import shlex
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path

import click

from leasehold.assemble import open_authority
from leasehold.authority import Authority
from leasehold.cli.demonstration.narration import Narrator
from leasehold.cli.demonstration.policy import APPROVER
from leasehold.cli.demonstration.workplace import Workplace
from leasehold.cli.extra import server_extra
from leasehold.errors import ConfigError
from leasehold.system import System

__all__ = ["give_password", "offer_console", "open_console", "own_command"]

_PASSWORD_BYTES = 10


def own_command(environ: Mapping[str, str]) -> str:
    """How a person calls this program from another folder: by its name, where the shell would find this very one."""
    own = Path(sys.executable).with_name("leasehold")
    found = shutil.which("leasehold", path=environ.get("PATH", ""))
    return "leasehold" if not own.exists() or (found and Path(found).samefile(own)) else shlex.quote(str(own))


def give_password(authority: Authority) -> str:
    """Let the approver sign in, and answer the password; empty where the server is not installed."""
    try:
        with server_extra():
            from leasehold.http.passwords import Passwords
    except ConfigError:
        return ""
    drawn = base64.b32encode(authority.engine.system.random_bytes(_PASSWORD_BYTES)).decode().lower()
    password = "-".join(drawn[start : start + 4] for start in range(0, len(drawn), 4))
    hashed = Passwords().hash(password, person=APPROVER)
    authority.sign_ins.set_password(APPROVER, hashed, by="demo")
    return password


def offer_console(narrator: Narrator, workplace: Workplace, password: str) -> None:
    """Say how to look at all of it in a browser."""
    narrator.plain()
    if not password:
        narrator.plain("In a browser, with the extra `server`: pip install 'leasehold[server]'")
        return
    narrator.plain("In a browser:")
    narrator.listed("command", f"{own_command(os.environ)} serve --policy {workplace.policy} --state {workplace.state}")
    narrator.listed("sign in as", f"{APPROVER}, password {password}")


def open_console(workplace: Workplace, system: System) -> None:
    """Serve the console until a signal says to stop.

    Raises:
        ConfigError: the server is not installed.
    """
    with server_extra():
        from leasehold.cli.serving import Listening, Serving
    with open_authority(workplace.policy, state=workplace.state, system=system) as authority:
        serving = Serving(authority, Listening())
        click.echo(f"serving {serving.site.origin} until Ctrl-C")
        serving.run()
