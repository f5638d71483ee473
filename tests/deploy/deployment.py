"""The deployment files as they are read by who runs them, and the program that they start, in as small a cage here."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parent.parent.parent
DEPLOY = ROOT / "deploy"


@dataclass(frozen=True)
class Instruction:
    """One instruction of a container file: its word, and the rest on one line."""

    word: str
    rest: str

    @property
    def words(self) -> list[str]:
        """The words of an instruction in exec form."""
        words = json.loads(self.rest)
        assert isinstance(words, list)
        return words


def container_stages() -> list[list[Instruction]]:
    """The stages of the container file, each from its FROM on; what stands before the first is left out."""
    lines = [line for line in (DEPLOY / "Containerfile").read_text().splitlines() if not line.startswith("#")]
    logical = re.sub(r"\\\n\s*", "", "\n".join(lines)).splitlines()
    stages: list[list[Instruction]] = []
    for line in logical:
        word, _, rest = line.partition(" ")
        if word == "FROM":
            stages.append([])
        if stages and word:
            stages[-1].append(Instruction(word, rest.strip()))
    return stages


def compose() -> dict[str, Any]:
    """The compose file, merged."""
    found = yaml.safe_load((DEPLOY / "compose/compose.yaml").read_text())
    assert isinstance(found, dict)
    return found


def manifests() -> dict[str, dict[str, Any]]:
    """The manifests that the kustomization lists, by kind, each as the cluster would get it: with names and images."""
    folder = DEPLOY / "kubernetes"
    listed = yaml.safe_load((folder / "kustomization.yaml").read_text())
    found = {}
    for name in listed["resources"]:
        document = yaml.safe_load((folder / name).read_text())
        found[document["kind"]] = document
    return found


def installed(folder: Path) -> Path:
    """A wheel of this project in an environment of its own, the other packages those of the tests; its `leasehold`."""
    wheels, environment = folder / "wheels", folder / "environment"
    built = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(wheels)]
    _run(built, cwd=ROOT)
    _run([sys.executable, "-m", "venv", str(environment)])
    packages = Path(sysconfig.get_path("purelib", vars={"base": str(environment), "platbase": str(environment)}))
    (wheel,) = wheels.glob("*.whl")
    install = [str(environment / "bin/python"), "-m", "pip", "install", "--disable-pip-version-check"]
    _run([*install, "--no-deps", "--no-index", str(wheel)])
    # A path in a .pth is searched last and its own .pth files are not read: the editable project stays out.
    (packages / "others.pth").write_text(sysconfig.get_path("purelib"))
    return environment / "bin/leasehold"


def _run(command: Sequence[str], cwd: Path | None = None) -> None:
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def caged(command: Sequence[str], writable: Sequence[Path]) -> list[str]:
    """The command with a read-only root and hardly a capability, where this machine lets us.

    `writable` are the only folders that it may write in.
    """
    if not can_cage():
        return list(command)
    script = "mount --make-rprivate / && mount --bind / / && "
    script += "".join(f"mount --bind {path} {path} && " for path in writable)
    script += "mount -o remount,bind,ro / && exec setpriv --no-new-privs --inh-caps=-all "
    script += "--bounding-set=-all,+dac_override -- "  # the socket of the tests' database is another account's
    return ["unshare", "--mount", "sh", "-c", script + '"$@"', "sh", *command]


def can_cage() -> bool:
    """Whether this account may make a mount namespace with a read-only root."""
    if os.geteuid() != 0 or not (shutil.which("unshare") and shutil.which("setpriv")):
        return False
    trial = "mount --make-rprivate / && mount --bind / / && mount -o remount,bind,ro /"
    return subprocess.run(["unshare", "--mount", "sh", "-c", trial], capture_output=True, check=False).returncode == 0


def clean(environment: Mapping[str, str]) -> dict[str, str]:
    """An environment that holds nothing of the tests' own."""
    return {"PATH": "/usr/bin:/bin", "LANG": "C.UTF-8", **environment}
