"""A real git repository, driven by git with nothing of the user's own configuration. Called by workplace and tools.

No hook, filter, signing key, global setting or `GIT_*` variable of the machine takes part, nothing asks at a terminal,
and no transport but plain files is open.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from leasehold.errors import LeaseholdError

__all__ = ["Git", "Repository", "clone", "create", "top_folder"]

GIT_SECONDS = 120
_SETTINGS = (
    "user.name=Leasehold demo agent",
    "user.email=agent@demo.invalid",
    "core.hooksPath=/dev/null",
    "core.fsmonitor=false",
    "core.autocrlf=false",
    "commit.gpgSign=false",
    "gc.auto=0",
    "maintenance.auto=false",
    "protocol.allow=never",
    "protocol.file.allow=always",
)


class Git:
    """The git program in an environment of its own."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._environ = {
            "PATH": environ.get("PATH", os.defpath),
            "HOME": os.devnull,
            "LC_ALL": "C",
            "GIT_CONFIG_NOSYSTEM": "1",
            "GIT_CONFIG_GLOBAL": os.devnull,
            "GIT_TERMINAL_PROMPT": "0",
        }

    def run(self, folder: Path, *arguments: str) -> str:
        """Run one command in a folder and return what it printed.

        Raises:
            LeaseholdError: git is missing, failed, or took too long.
        """
        settings = [word for setting in _SETTINGS for word in ("-c", setting)]
        try:
            done = subprocess.run(  # noqa: S603 - a fixed program, arguments as a list
                ["git", *settings, *arguments],  # noqa: S607 - git is found on the PATH, as everywhere
                cwd=folder,
                env=self._environ,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                timeout=GIT_SECONDS,
                check=False,
            )
        except FileNotFoundError:
            raise LeaseholdError("git is needed and was not found; install it") from None
        except subprocess.TimeoutExpired:
            raise LeaseholdError(f"git {arguments[0]} did not finish within {GIT_SECONDS} s") from None
        if done.returncode != 0:
            raise LeaseholdError(f"git {arguments[0]} failed: {done.stderr.decode(errors='replace').strip()}")
        return done.stdout.decode(errors="replace")


@dataclass(frozen=True)
class Repository:
    """A work tree. `base` is the commit that the work starts from, `origin` says in words where it came from."""

    root: Path
    base: str
    origin: str
    git: Git

    def run(self, *arguments: str) -> str:
        """Run one git command in it and return what it printed, the last line's end left out."""
        return self.git.run(self.root, *arguments).removesuffix("\n")

    def tracked(self) -> dict[str, int]:
        """The regular files of the first commit, with their sizes in bytes."""
        listed = self.run("ls-tree", "-r", "-l", "-z", self.base)
        sizes = {}
        for line in filter(None, listed.split("\0")):
            described, _, name = line.partition("\t")
            mode, _, _, size = described.split()
            if mode.startswith("100"):
                sizes[name] = int(size)
        return sizes


def top_folder(git: Git, folder: Path) -> Path | None:
    """The root of the checkout that a folder stands in, or None if it stands in none."""
    try:
        return Path(git.run(folder, "rev-parse", "--show-toplevel").removesuffix("\n"))
    except LeaseholdError:
        return None


def clone(git: Git, source: Path, target: Path) -> Repository:
    """Clone a local repository and forget where it came from, so that nothing can be sent back.

    Raises:
        LeaseholdError: it cannot be cloned, or has no commit.
    """
    git.run(target.parent, "clone", "--quiet", "--no-tags", "--template=", "--", str(source.absolute()), str(target))
    git.run(target, "remote", "remove", "origin")
    base = git.run(target, "rev-parse", "--verify", "HEAD^{commit}").strip()
    return Repository(target, base, f"a clone of {source} at {base[:8]}", git)


def create(git: Git, target: Path, files: Mapping[str, str], *, why: str = "") -> Repository:
    """Make a repository of these files, by name, with one commit. `why` says what kept a checkout from being used.

    Raises:
        LeaseholdError: git failed.
    """
    target.mkdir()
    git.run(target, "init", "--quiet", "--template=", "--initial-branch=main")
    for name, text in files.items():
        (target / name).write_text(text, encoding="utf-8")
    git.run(target, "add", "--", *files)
    git.run(target, "commit", "--quiet", "--message=Start a small project")
    base = git.run(target, "rev-parse", "HEAD").strip()
    origin = "a small project, made for this demo" + (f" (in this checkout, {why})" if why else "")
    return Repository(target, base, origin, git)
