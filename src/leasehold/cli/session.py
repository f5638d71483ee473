"""What every command that touches a state shares: its options, the open authority, and where its words go."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import click

from leasehold.assemble import open_authority, open_existing, read_policy
from leasehold.authority import Authority
from leasehold.authority.desk import Signatory
from leasehold.cli.output import show_json, show_table
from leasehold.cli.surroundings import Surroundings
from leasehold.config import (
    POLICY_NAME,
    StateFiles,
    is_database_url,
    is_there,
    open_state,
    read_key_ring,
    state_directory,
)
from leasehold.errors import ConfigError
from leasehold.model.plain import escape
from leasehold.model.text import check_identifier
from leasehold.store.observed import Watcher
from leasehold.token.keys import DocumentType

__all__ = ["Session", "with_session"]


@dataclass(frozen=True, kw_only=True)
class Session:
    """One command's view of the installation that it was pointed at.

    Attributes:
        policy_path: the policy file or folder.
        state: the state directory, or None for the user's own.
        url: the PostgreSQL database that was named in place of a directory, else empty.
        as_json: whether data is written as JSON.
        around: the process around it.
    """

    policy_path: Path
    state: Path | None
    as_json: bool
    around: Surroundings
    url: str = ""

    def directory(self) -> Path:
        """The state directory, which need not exist.

        Raises:
            ConfigError: the policy, which names it, cannot be read.
        """
        return self.state or state_directory(read_policy(self.policy_path).authority)

    def files(self) -> StateFiles:
        """The files of the state that exists.

        Raises:
            ConfigError: there is none yet, or others may enter it.
        """
        directory = self.directory()
        if not is_there(directory):
            raise ConfigError("there is no state here yet; a first run makes one", path=str(directory))
        return open_state(directory, self.url)

    @contextmanager
    def authority(self, *, sweep: bool = False, watcher: Watcher | None = None) -> Iterator[Authority]:
        """The open authority of this policy and state; with `sweep` it does its housekeeping in the background.

        `watcher` counts what its store does.

        Raises:
            ConfigError: the policy, a key file or the state directory cannot be used.
            StoreError: the database cannot be used.
        """
        state = self.url or self.directory()
        system = self.around.system
        with open_authority(self.policy_path, state=state, system=system, sweep=sweep, watcher=watcher) as authority:
            yield authority

    @contextmanager
    def authority_for_stops(self) -> Iterator[Authority]:
        """The same, but where the state is named by itself a policy file that cannot be read does not matter.

        Raises:
            ConfigError: nothing says where the state is, or a key file cannot be used.
            StoreError: the database cannot be used.
        """
        try:
            read_policy(self.policy_path)
        except ConfigError as error:
            if self.state is None:
                raise
            self.say(f"going on under the active policy, because the file cannot be read: {error}")
            with open_existing(self.state, system=self.around.system) as authority:
                yield authority
        else:
            with self.authority() as authority:
                yield authority

    def signatory(self, person: str, key: Path | None) -> Signatory:
        """A person with their key: the one in this state, or that of another file.

        Raises:
            ConfigError: the key file is missing, not private, or holds no key of a person.
        """
        check_identifier(person, "person")
        files = open_state(self.directory())
        path = key or files.person_key(person)
        if not is_there(path):
            meant = f"user:{person}"
            if ":" not in person and is_there(files.person_key(meant)):
                raise ConfigError(f"there is no key of {person} here; did you mean {meant}?", path=str(path))
            raise ConfigError(
                f"there is no key of {person} here; make one with: leasehold person add {person}", path=str(path)
            )
        ring = read_key_ring(path, DocumentType.ANSWER)
        return Signatory(person=person, key=ring.newest, same_account=True)

    def say(self, words: str) -> None:
        """A message for the person at the terminal."""
        click.echo(words, err=True)

    def give(self, value: object, lines: Iterable[str]) -> None:
        """Data: `value` as JSON where that was asked for, else the lines."""
        if self.as_json:
            show_json(value)
        else:
            for line in lines:
                click.echo(line)

    def give_fields(self, value: object, fields: Iterable[tuple[str, str]]) -> None:
        """Data as `name: text` lines. Hidden characters are made visible."""
        self.give(value, (f"{name}: {escape(text)}" for name, text in fields))

    def give_table(self, values: Sequence[object], titles: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
        """Data as a table; of an empty one only a word on stderr."""
        if self.as_json:
            show_json(values)
        elif rows:
            show_table(titles, rows, is_terminal=self.around.is_terminal, width=self.around.width)
        else:
            self.say("nothing found")


def with_session(function: Callable[..., None]) -> Callable[..., None]:
    """Give a command `--policy`, `--state` and `--json`, and a `Session` as its first argument."""

    @click.option(
        "--policy",
        "policy_path",
        type=click.Path(path_type=Path),
        default=Path(POLICY_NAME),
        envvar="LEASEHOLD_POLICY",
        show_default=True,
        show_envvar=True,
        help="The policy file or folder.",
    )
    @click.option(
        "--state",
        metavar="PATH",
        envvar="LEASEHOLD_STATE",
        show_envvar=True,
        help="The state directory, by default the user's own under the policy's authority name; or a postgresql: URL.",
    )
    @click.option("--json", "as_json", is_flag=True, help="Write data as JSON.")
    @click.pass_context
    @functools.wraps(function)
    def command(
        context: click.Context, /, *, policy_path: Path, state: str | None, as_json: bool, **rest: object
    ) -> None:
        around = context.find_object(Surroundings) or Surroundings.of_this_process()
        url = state if state is not None and is_database_url(state) else ""
        directory = Path(state) if state is not None and not url else None
        session = Session(policy_path=policy_path, state=directory, url=url, as_json=as_json, around=around)
        function(session, **rest)

    return command
