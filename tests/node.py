"""Programs in JavaScript: where node and its modules are. `make test` installs the modules by their lock files."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import pytest

__all__ = ["HANDOFF", "NO_NODE", "PEERS", "find_node", "lines_of", "run_script"]

ROOT = Path(__file__).parent.parent
HANDOFF = ROOT / "examples/handoff"
PEERS = ROOT / "tests/peers"
NO_NODE = (
    "NO NODE with its modules was found (`make test` installs them where npm is): no program in JavaScript was asked "
    "what it thinks of our tokens"
)


def find_node() -> str | None:
    """Where node is, if its modules are there too."""
    node = shutil.which("node")
    modules = (HANDOFF / "node_modules/jose", PEERS / "node_modules/oauth4webapi", PEERS / "node_modules/oidc-provider")
    return node if node and all(module.is_dir() for module in modules) else None


def run_script(script: Path, *arguments: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
    """What a script said and how it ended."""
    node = find_node()
    if node is None:
        pytest.skip(NO_NODE)
    return subprocess.run(
        [node, "--no-warnings", str(script), *arguments],  # of Ed25519, which older versions call an experiment
        input=stdin,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def lines_of(done: subprocess.CompletedProcess[str]) -> list[dict[str, object]]:
    """The JSON lines that a script printed; it has to have ended well."""
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]
