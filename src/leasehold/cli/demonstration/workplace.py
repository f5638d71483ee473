"""Where the demo happens: one folder with a real repository, a policy, and a fresh authority. Called by `cli.demo`.

Everything is made for this one demo and stays when it is over, for whoever wants to look.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from leasehold.authority import Authority
from leasehold.authority.desk import Signatory
from leasehold.cli.demonstration.dependency import Update, find_update
from leasehold.cli.demonstration.files import Tree
from leasehold.cli.demonstration.git import Git, Repository, clone, create, top_folder
from leasehold.cli.demonstration.policy import APPROVER, CHANGE, POLICY
from leasehold.cli.demonstration.trial import find_target
from leasehold.config import POLICY_NAME, ensure_key_ring, open_state
from leasehold.errors import ConfigError, InvalidError, LeaseholdError
from leasehold.token.keys import SEED_SIZE, DocumentType, SigningKey

__all__ = ["PROJECT", "Workplace", "add_approver", "prepare"]

PROJECT = "pyproject.toml"

_SMALL_PROJECT = {
    PROJECT: """\
[project]
name = "greeting"
version = "1.0.0"
dependencies = ["click>=8.0"]
""",
    "greeting.py": '''\
"""Says hello."""


def greet(name):
    """Return a greeting for a name; the world's, if there is none."""
    return f"Hello, {name.strip() or 'world'}!"
''',
    "test_greeting.py": """\
import unittest

from greeting import greet


class GreetingTest(unittest.TestCase):
    def test_a_name_is_greeted(self):
        self.assertEqual(greet("Ana"), "Hello, Ana!")

    def test_no_name_greets_the_world(self):
        self.assertEqual(greet(" "), "Hello, world!")
""",
}


@dataclass(frozen=True, kw_only=True)
class Workplace:
    """The folder of one demo: the repository, the update it can take, and the test file that can be run."""

    folder: Path
    repository: Repository
    update: Update
    target: str

    @property
    def policy(self) -> Path:
        """The policy file."""
        return self.folder / POLICY_NAME

    @property
    def state(self) -> Path:
        """The authority's state: its database, its keys, its anchor."""
        return self.folder / "state"

    @property
    def change(self) -> Path:
        """Where an opened change is written to."""
        return self.folder / CHANGE

    @property
    def evidence(self) -> Path:
        """The folder of what is exported for auditors."""
        return self.folder / "evidence"


def prepare(keep: Path | None, source: Path | None, environ: Mapping[str, str]) -> Workplace:
    """Make the folder, with a clone of `source`, or else of the checkout that the current folder stands in.

    Where neither is given, or that checkout has no dependency to raise or no test to run, a small project is made.

    Raises:
        ConfigError: `keep` is in use, or `source` is no repository that the agent could work on.
        LeaseholdError: git is missing or failed.
    """
    folder = _fresh_folder(keep)
    git = Git(environ)
    if source is not None:
        root = top_folder(git, source)
        found = _try_clone(git, folder, root) if root is not None else "it is no git repository"
        if isinstance(found, str):
            raise ConfigError(f"the demo cannot work on this: {found}", path=str(source))
    else:
        checkout = top_folder(git, Path.cwd())
        found = _try_clone(git, folder, checkout) if checkout is not None else ""
        if isinstance(found, str):
            found = _describe(folder, create(git, folder / "small-project", _SMALL_PROJECT, why=found))
    if isinstance(found, str):
        raise LeaseholdError(f"the small project is of no use: {found}")
    found.policy.write_text(POLICY, encoding="utf-8")
    found.evidence.mkdir()
    return found


def add_approver(authority: Authority, workplace: Workplace) -> Signatory:
    """Make a key file for the person who approves, record its public half, and return the person with the key."""
    system = authority.engine.system
    fresh = SigningKey.generate(system.random_bytes(SEED_SIZE), created_at=system.now().seconds)
    path = open_state(workplace.state).person_key(APPROVER)
    key = ensure_key_ring(path, DocumentType.ANSWER, fresh).newest
    authority.desk.add_person(APPROVER, key.public(), by="leasehold demo")
    return Signatory(person=APPROVER, key=key, same_account=True)


def _fresh_folder(keep: Path | None) -> Path:
    if keep is None:
        return Path(tempfile.mkdtemp(prefix="leasehold-demo-"))
    try:
        keep.mkdir(parents=True, exist_ok=True)
        if any(keep.iterdir()):
            raise ConfigError("is not empty; name a new folder", path=str(keep))
    except OSError as error:
        raise ConfigError(f"cannot be used: {error.strerror}", path=str(keep)) from None
    return keep.absolute()


def _try_clone(git: Git, folder: Path, source: Path) -> Workplace | str:
    """The workplace over a clone, or why the agent cannot work there."""
    target = folder / "repository"
    try:
        found = _describe(folder, clone(git, source, target))
    except LeaseholdError as error:
        found = str(error)
    if isinstance(found, str):
        shutil.rmtree(target, ignore_errors=True)
    return found


def _describe(folder: Path, repository: Repository) -> Workplace | str:
    try:
        update = find_update(Tree(repository.root).read(PROJECT), _installed)
    except InvalidError as error:
        return str(error)
    if update is None:
        return f"{PROJECT} has no dependency of the form name>=version"
    target = find_target(repository)
    if target is None:
        return "no file test_*.py can be run here"
    return Workplace(folder=folder, repository=repository, update=update, target=target)


def _installed(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None
