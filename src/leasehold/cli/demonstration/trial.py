"""Which tests of a repository the demo's child run may run, and how they are run. Called by workplace and tools.

The smallest test file is enough, one in `tests/` where there is such a folder. It runs with this Python, under pytest
where that is installed and unittest where not, in the clone, without the environment of whoever started the demo.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from importlib.util import find_spec
from pathlib import Path

from leasehold.cli.demonstration.files import Tree
from leasehold.cli.demonstration.git import Repository
from leasehold.errors import InvalidError
from leasehold.model.text import check_scalar_text

__all__ = ["TestRunner", "find_target"]

TEST_SECONDS = 50
_UNITTEST = re.compile(r"^(?:import|from) unittest\b", re.MULTILINE)


def find_target(repository: Repository) -> str | None:
    """The smallest test file of a repository that can be run here, those in `tests/` first, or None."""
    tree = Tree(repository.root)
    sizes = repository.tracked()
    named = [name for name in sizes if name.rpartition("/")[2].startswith("test_") and name.endswith(".py")]
    for name in sorted(named, key=lambda name: (not name.startswith("tests/"), sizes[name], name)):
        try:
            check_scalar_text(name, "file")
            text = tree.read(name)
        except InvalidError:
            continue
        if "def test" in text and (_has_pytest() or _UNITTEST.search(text)):
            return name
    return None


def _has_pytest() -> bool:
    return find_spec("pytest") is not None


class TestRunner:
    """Runs one test file of a repository in a process of its own, which never outlives the reading of its output."""

    __test__ = False  # the name is no test's

    def __init__(self, root: Path, environ: Mapping[str, str]) -> None:
        self._root = root
        self._environ = {
            "PATH": environ.get("PATH", os.defpath),
            "HOME": os.devnull,
            "LC_ALL": "C.UTF-8",
            "NO_COLOR": "1",
            "PYTHONDONTWRITEBYTECODE": "1",
            "PYTHONPATH": os.pathsep.join([str(root / "src"), str(root)]),
            "PYTHONUNBUFFERED": "1",
        }

    def lines(self, target: str) -> Iterator[str]:
        """Start the tests, then yield what they print, a line at a time, and at last `exit N`."""
        if _has_pytest():
            command = ["-m", "pytest", "-q", "-p", "no:cacheprovider", "--override-ini=addopts=", "--", target]
        else:
            command = ["-m", "unittest", target]
        process = subprocess.Popen(  # noqa: S603 - this very Python, arguments as a list
            [sys.executable, *command],
            cwd=self._root,
            env=self._environ,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
        )
        limit = threading.Timer(TEST_SECONDS, process.kill)
        limit.start()
        try:
            yield f"python {' '.join(command)}"
            for line in process.stdout or ():
                yield line.rstrip("\n")
            yield f"exit {process.wait()}"
        finally:
            limit.cancel()
            process.kill()
            process.wait()
            if process.stdout is not None:
                process.stdout.close()
