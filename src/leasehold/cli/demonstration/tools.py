"""The doors of the demo: what an agent can do to a repository, each action behind one guard. Called by its story.

Every function takes the capability of its own call and reports through it what it touched. None asks who is calling or
whether it may: that was decided before it runs.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from leasehold.cli.demonstration.files import Tree
from leasehold.cli.demonstration.git import Repository
from leasehold.cli.demonstration.trial import TestRunner
from leasehold.errors import InvalidError
from leasehold.guard import Capability, Guard
from leasehold.model.preview import Preview
from leasehold.token.digest import sha256_digest

__all__ = ["RepositoryTools"]


class RepositoryTools:
    """The actions of the tool `repo` on one repository. `change` is the file that an opened change is written to."""

    def __init__(self, guard: Guard, repository: Repository, tests: TestRunner, change: Path) -> None:
        self._repository = repository
        self._tree = Tree(repository.root)
        self._tests = tests
        self._change = change
        self.read = guard.action("read")(self._read)
        self.branch = guard.action("branch")(self._branch)
        self.edit = guard.action("edit")(self._edit)
        guard.preview("edit")(self._look)
        self.commit = guard.action("commit")(self._commit)
        self.test = guard.action("test")(self._test)
        self.open = guard.action("open")(self._open)
        self.push = guard.action("push")(self._push)

    def _read(self, capability: Capability, path: str) -> str:
        """Read a file."""
        capability.touched(path)
        return self._tree.read(path)

    def _branch(self, capability: Capability, branch: str) -> None:
        """Create a branch at the current commit and switch to it."""
        self._repository.run("check-ref-format", "--branch", branch)
        self._repository.run("switch", "--quiet", "--create", branch)
        capability.touched(f"branch {branch}")

    def _look(self, capability: Capability, path: str, old: str, new: str) -> Preview:
        """What an edit would change: the lines that it is about, and the file as it is."""
        capability.touched(path)
        text = self._tree.read(path)
        lines = [(number, line) for number, line in enumerate(text.splitlines(), start=1) if old and old in line]
        return Preview.of(
            {f"{path}, line {number}": (line.strip(), line.replace(old, new).strip()) for number, line in lines},
            objects=len(lines),
            undo="git revert",
            state=sha256_digest(text.encode()),
        )

    def _edit(self, capability: Capability, path: str, old: str, new: str) -> None:
        """Replace the one place where a text stands in a file."""
        text = self._tree.read(path)
        if not old or text.count(old) != 1:
            capability.no_effect()
            raise InvalidError(f"{old!r} stands {text.count(old)} times in {path}, not once")
        self._tree.replace(path, text.replace(old, new))
        capability.file(path)

    def _commit(self, capability: Capability, branch: str, message: str) -> str:
        """Commit what was edited on the current branch, and return the commit's id."""
        current = self._repository.run("symbolic-ref", "--short", "HEAD")
        if current != branch:
            capability.no_effect()
            raise InvalidError(f"the current branch is {current}, not {branch}")
        self._repository.run("commit", "--quiet", "--all", f"--message={message}")
        commit = self._repository.run("rev-parse", "HEAD")
        capability.touched(f"branch {branch}", f"commit {commit}")
        return commit

    def _test(self, capability: Capability, target: str) -> Iterator[str]:
        """Run the tests of one file, and yield what they print as it comes."""
        capability.touched(target)
        yield from self._tests.lines(target)

    def _open(self, capability: Capability, branch: str) -> str:
        """Open a change for review: all commits of a branch as one patch file. Return its name."""
        patch = self._repository.run("format-patch", "--stdout", f"{self._repository.base}..{branch}", "--")
        self._change.write_text(f"{patch}\n", encoding="utf-8")
        capability.touched(f"branch {branch}")
        capability.file(self._change.name)
        return self._change.name

    def _push(self, capability: Capability, remote: str) -> None:
        """Push the current branch to another repository."""
        self._repository.run("push", "--quiet", "--", remote, "HEAD")
        capability.contacted(remote)
