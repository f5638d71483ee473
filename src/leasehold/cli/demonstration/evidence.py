"""What a run leaves for auditors, and another process that believes nothing else. Called by `leasehold.cli.demo`.

Receipt, ledger and public keys are exported as files; then a `leasehold` command of its own, without state, policy or
configuration, verifies each from the files alone.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

from leasehold.authority import Authority
from leasehold.cli.demonstration.narration import Narrator
from leasehold.cli.files import write_output
from leasehold.cli.public_keys import public_keys_of, write_public_keys
from leasehold.errors import LeaseholdError
from leasehold.model.run import RunAttempt

__all__ = ["KEYS", "LEDGER", "RECEIPT", "export", "verify"]

RECEIPT = "receipt.json"
LEDGER = "ledger.jsonl"
KEYS = "authority.pub"
VERIFY_SECONDS = 60


def export(authority: Authority, run: RunAttempt, folder: Path) -> None:
    """Finish a run and write its receipt, the whole ledger and the public keys into a folder."""
    write_output(folder / RECEIPT, [authority.finish(run), b"\n"])
    write_output(folder / LEDGER, authority.receipts.export())
    write_output(folder / KEYS, [write_public_keys(public_keys_of(authority.engine.identity))])


def verify(folder: Path, environ: Mapping[str, str], narrator: Narrator) -> None:
    """Have a process of its own verify receipt and ledger from the files in a folder, and tell what it says.

    Raises:
        LeaseholdError: it found that something does not hold.
    """
    for command in (
        ["receipt", "verify", RECEIPT, "--key", KEYS, "--ledger", LEDGER],
        ["ledger", "verify", LEDGER, "--key", KEYS, "--history"],
    ):
        narrator.says("auditor", f"leasehold {' '.join(command)}")
        narrator.quote(_run(command, folder, environ))


def _run(command: list[str], folder: Path, environ: Mapping[str, str]) -> Iterator[str]:
    """The lines that a command prints in a folder, with nothing in its environment that names a state or a policy."""
    kept = {name: environ[name] for name in ("PATH", "PYTHONPATH") if name in environ}
    done = subprocess.run(  # noqa: S603 - this very Python, arguments as a list
        [sys.executable, "-m", "leasehold", *command],
        cwd=folder,
        env={**kept, "HOME": os.devnull, "LC_ALL": "C.UTF-8", "NO_COLOR": "1"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=VERIFY_SECONDS,
        check=False,
    )
    if done.returncode != 0:
        raise LeaseholdError(f"leasehold {' '.join(command)} ended with {done.returncode}: {done.stderr.strip()}")
    yield from done.stdout.splitlines()
