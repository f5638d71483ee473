"""The composition root: the only module that names a concrete store. `leasehold.open` and the CLI call it.

The first policy that a fresh state sees becomes active, and the authority says so; a changed file does nothing until
`leasehold policy accept`. State lives in the user's state directory under the policy's `authority` name.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from msgspec import structs

from leasehold.authority.embedded import Authority
from leasehold.authority.engine import Engine, Identity
from leasehold.authority.followed_ring import FollowedRing
from leasehold.authority.receipts import checkpoint_keys, sign_head
from leasehold.config import (
    POLICY_NAME,
    StateFiles,
    advance_anchor,
    ensure_key_ring,
    ensure_secret,
    environment_url,
    is_database_url,
    is_there,
    open_state,
    read_anchor,
    read_database_url,
    read_key_ring,
    read_secrets,
    read_sources,
    replace_private,
    state_directory,
    unfinished_restore,
)
from leasehold.config import Anchor as AnchorFile
from leasehold.errors import ConfigError, Denied, StoreError, VerificationError
from leasehold.ledger.checkpoint import SignedCheckpoint, open_checkpoint
from leasehold.model.decision import Reason
from leasehold.notices.channels import Channels
from leasehold.policy.document import Policy
from leasehold.policy.load import load_policy
from leasehold.store.observed import ObservedAnchor, ObservedStore, Watcher
from leasehold.store.protocol import Anchor, Reader, Store, TreeHead
from leasehold.store.sqlite import SqliteSettings, open_read_only, open_sqlite
from leasehold.store.sqlite_copies import back_up, check_database, overwrite_erased, put_in_place, remove_database
from leasehold.system import DatabaseTime, RealSystem, System
from leasehold.token.keys import DocumentType, KeyRing, SigningKey

if TYPE_CHECKING:
    from leasehold.store.postgres_check import Surroundings
    from leasehold.store.postgres_connection import PostgresPlace

__all__ = [
    "MEMORY",
    "CheckpointAnchor",
    "back_up_state",
    "check_state",
    "find_postgres",
    "find_surroundings",
    "has_database",
    "issuer_of",
    "move_to_postgres",
    "open_authority",
    "open_existing",
    "open_reader",
    "overwrite_erased_cards",
    "read_policy",
    "restore_state",
]

MEMORY = ":memory:"
_LOG = logging.getLogger("leasehold")


class CheckpointAnchor:
    """The epoch and last signed checkpoint in a file beside the database; what the store may not be behind."""

    def __init__(self, path: Path, origin: str, followed: FollowedRing) -> None:
        self._path = path
        self._origin = origin
        self._followed = followed

    def read(self) -> TreeHead | None:
        """The head that was kept last, its signature verified.

        Raises:
            LeaseholdError: the file is damaged, not private, or not signed by this authority.
        """
        kept = read_anchor(self._path)
        if kept is None:
            return None
        try:
            opened = self._open(kept.checkpoint.encode())
        except VerificationError as error:
            raise ConfigError(
                f"was not signed with the checkpoint keys here: {error}. Put the newest keys back; if they are lost, "
                "keep this file elsewhere and declare a restore with: leasehold db restore",
                path=str(self._path),
            ) from error
        return TreeHead(epoch=kept.epoch, size=opened.checkpoint.size, root=opened.checkpoint.root)

    def _open(self, note: bytes) -> SignedCheckpoint:
        try:
            return open_checkpoint(note, checkpoint_keys(self._origin, self._followed.ring))
        except VerificationError:
            if not self._followed.follow():  # another process may have rotated them a moment ago
                raise
        return open_checkpoint(note, checkpoint_keys(self._origin, self._followed.ring))

    def replace_if_larger(self, head: TreeHead) -> None:
        """Sign and keep a head durably, unless a larger one is kept already."""
        note = sign_head(self._origin, self._followed.signer(), head)
        advance_anchor(self._path, AnchorFile(epoch=head.epoch, size=head.size, checkpoint=note.decode()))


class ChannelSecrets:
    """The secrets of notice channels, from private files of the state directory; as `leasehold.notices` wants them."""

    def __init__(self, files: StateFiles) -> None:
        self._files = files

    def read(self, channel: str) -> Mapping[str, str]:
        """The secrets of a channel by name; empty if it has none.

        Raises:
            ConfigError: the file is not private, or damaged.
        """
        return read_secrets(self._files.channel_secrets(channel))


def issuer_of(checkpoints: KeyRing) -> str:
    """The authority's id: random, made with its first checkpoint key, which no rotation ever drops."""
    return f"urn:leasehold:{checkpoints.keys[0].kid}"


def read_policy(path: Path) -> Policy:
    """The policy in a file or folder.

    Raises:
        ConfigError: with file, line and the nearest known name.
    """
    return load_policy(read_sources(path))


def open_authority(
    policy_path: Path | str = POLICY_NAME,
    *,
    state: Path | str | None = None,
    system: System | None = None,
    sweep: bool = True,
    watcher: Watcher | None = None,
) -> Authority:
    """Open the embedded authority of a policy file or folder.

    `state` is a directory, `":memory:"` for a fresh state that dies with the process, a `postgresql://` URL for a
    database that other processes share (keys and anchor stay in the user's state directory), or None for the user's
    state directory. `sweep` runs the housekeeping, and tells people what the policy wants them told, in background
    threads. `watcher` counts what the store does.

    Raises:
        ConfigError: the policy, a key file or the state directory cannot be used.
        StoreError: the database cannot be used.
    """
    policy = read_policy(Path(policy_path))
    clock = system or RealSystem()
    if state == MEMORY:
        authority, place = _assemble_memory(clock, watcher), "in memory"
    else:
        files = _find_state(state, policy)
        authority, place = _assemble_files(files, clock, watcher), str(files.directory)
    try:
        _activate_first(authority, policy, place)
    except BaseException:
        authority.close()
        raise
    if sweep:
        authority.sweep.start()
        authority.outbox.start()
    return authority


def open_existing(directory: Path, *, system: System | None = None) -> Authority:
    """Open a state under the policy that is active in it, without reading any policy file.

    For stops: a mistake in a file must never keep an operator from ending something.

    Raises:
        ConfigError: there is no state, or a key file cannot be used.
        StoreError: the database cannot be used.
    """
    files = StateFiles(directory)
    if not is_there(files.database) and not read_database_url(files):
        raise ConfigError("there is no state here", path=str(directory))
    return _assemble_files(open_state(directory), system or RealSystem())


def _find_state(state: Path | str | None, policy: Policy) -> StateFiles:
    """The files of a state: of a directory, or of the user's own with a database that is named by its URL."""
    url = environment_url() if state is None else state if isinstance(state, str) and is_database_url(state) else ""
    directory = state_directory(policy.authority) if state is None or url else Path(state)
    return open_state(directory, url)


def _assemble_memory(system: System, watcher: Watcher | None) -> Authority:
    def ring(document_type: DocumentType) -> FollowedRing:
        return FollowedRing(KeyRing(document_type, (_fresh_key(system),)), system)

    checkpoints = ring(DocumentType.CHECKPOINT)
    issuer = issuer_of(checkpoints.ring)
    identity = Identity(
        issuer=issuer,
        lease_ring=ring(DocumentType.LEASE),
        receipt_ring=ring(DocumentType.RECEIPT),
        checkpoint_ring=checkpoints,
        digest_key=system.random_bytes(32),
    )
    store: Store = open_sqlite(MEMORY, clock=system, issuer=issuer, settings=SqliteSettings(watcher=watcher))
    return Authority(Engine(_watched(store, watcher), system, identity))


def _assemble_files(files: StateFiles, system: System, watcher: Watcher | None = None) -> Authority:
    if isinstance(system, RealSystem) and find_postgres(files) is not None:
        system = DatabaseTime(system)
    identity = _identity(files, system)
    anchor: Anchor = _anchor_of(files, identity)
    if watcher is not None:
        anchor = ObservedAnchor(anchor, watcher)
    store = _open_store(files, system, identity, anchor, watcher)
    return Authority(Engine(_watched(store, watcher), system, identity), Channels(ChannelSecrets(files)))


def _watched(store: Store, watcher: Watcher | None) -> Store:
    return store if watcher is None else ObservedStore(store, watcher)


def _open_store(
    files: StateFiles, system: System, identity: Identity, anchor: Anchor | None, watcher: Watcher | None = None
) -> Store:
    """The store of a state. On PostgreSQL the server's clock counts, unless the system is one of tests; a system that
    goes by the database's clock hears it.
    """
    place = find_postgres(files)
    if place is None:
        settings = SqliteSettings(watcher=watcher)
        return open_sqlite(files.database, clock=system, issuer=identity.issuer, anchor=anchor, settings=settings)
    from leasehold.store.postgres import PostgresSettings, open_postgres

    own = PostgresSettings(watcher=watcher)
    if isinstance(system, DatabaseTime):
        own = structs.replace(own, heard=system.hear)
    return open_postgres(
        place,
        writer=system.new_id("writer"),
        issuer=identity.issuer,
        clock=None if isinstance(system, RealSystem) else system,
        anchor=anchor,
        settings=own,
    )


def find_postgres(files: StateFiles) -> PostgresPlace | None:
    """Where the database of a state is, or None if it is the SQLite file among its files.

    Raises:
        ConfigError: the URL cannot be used, or psycopg is not installed.
    """
    url = read_database_url(files)
    return parse_postgres(url, may_hold_password=not files.url) if url else None


def parse_postgres(url: str, *, may_hold_password: bool = False) -> PostgresPlace:
    """Read a database's URL, which may hold a password only where it stands in a private file.

    Raises:
        ConfigError: as `find_postgres`.
    """
    try:
        from leasehold.store.postgres_connection import PostgresPlace
    except ImportError:
        raise ConfigError("PostgreSQL needs psycopg; install it with: pip install 'leasehold[postgres]'") from None
    return PostgresPlace.parse(url, may_hold_password=may_hold_password)


def open_reader(files: StateFiles) -> Reader:
    """Open the database of a state for reading alone.

    Raises:
        ConfigError: as `find_postgres`.
        StoreError: there is none, it is another program's, or newer than this program.
    """
    place = find_postgres(files)
    if place is None:
        return open_read_only(files.database)
    from leasehold.store.postgres import read_postgres

    return read_postgres(place)


def check_state(files: StateFiles) -> tuple[str, ...]:
    """Read all of a state's database and say what is wrong with it; empty if nothing is.

    Raises:
        StoreError: it cannot be opened at all.
    """
    place = find_postgres(files)
    if place is None:
        return check_database(files.database)
    from leasehold.store.postgres import check_postgres

    return check_postgres(place)


def find_surroundings(files: StateFiles) -> Surroundings | None:
    """What weakens a state's database from outside it; None for a file, which has this machine alone around it.

    Raises:
        StoreError: the server cannot be asked.
    """
    place = find_postgres(files)
    if place is None:
        return None
    from leasehold.store import postgres

    return postgres.find_surroundings(place)


def has_database(files: StateFiles) -> bool:
    """Whether a state has a database already.

    Raises:
        ConfigError: the state's files cannot be looked at.
        StoreError: the server that should hold it cannot be asked.
    """
    place = find_postgres(files)
    if place is None:
        return is_there(files.database)
    from leasehold.store.postgres import has_tables

    return has_tables(place)


def move_to_postgres(files: StateFiles, url: str, *, system: System | None = None) -> Mapping[str, int]:
    """Copy the SQLite database of a state into an empty one of PostgreSQL, which is the state's from then on.

    Keys, identity, epoch and anchor stay what they are. Answers how many rows each table has; the old file is moved
    aside, so that whoever has it open stops.

    Raises:
        ConfigError: the URL cannot be used, the state is on PostgreSQL already, or its files cannot be written.
        StoreError: either database cannot be used, or the target is not empty.
    """
    if read_database_url(files):
        raise ConfigError("this state is on PostgreSQL already", path=str(files.directory))
    place = parse_postgres(url)
    from leasehold.store.postgres_copy import copy_to_postgres

    clock = system or RealSystem()
    identity = _identity(files, clock)
    _open_store(files, clock, identity, _anchor_of(files, identity)).close()

    def take_over() -> None:
        replace_private(files.database_url, f"{url}\n".encode())
        aside = files.database.with_name(f"{files.database.name}.moved-{clock.now().seconds}")
        for suffix in ("-wal", "-shm", ""):
            standing = files.database.with_name(files.database.name + suffix)
            if is_there(standing):
                standing.rename(aside.with_name(aside.name + suffix))

    return copy_to_postgres(files.database, place, take_over)


def _anchor_of(files: StateFiles, identity: Identity) -> CheckpointAnchor:
    return CheckpointAnchor(files.anchor, identity.issuer, identity.checkpoint_ring)


def _identity(files: StateFiles, system: System) -> Identity:
    """The keys of a state directory, made if the state is new.

    Raises:
        ConfigError: a key file is missing beside a database that exists, is not private, or is damaged.
    """
    if is_there(files.anchor) or has_database(files):
        for path in (*map(files.key_ring, _RINGS), files.digest_key):
            if not is_there(path):
                raise ConfigError(
                    "this key file is missing, though the state exists; put it back from a backup", path=str(path)
                )

    def ring(document_type: DocumentType) -> FollowedRing:
        path = files.key_ring(document_type)
        standing = ensure_key_ring(path, document_type, _fresh_key(system))
        return FollowedRing(standing, system, lambda: read_key_ring(path, document_type))

    checkpoints = ring(DocumentType.CHECKPOINT)
    return Identity(
        issuer=issuer_of(checkpoints.ring),
        lease_ring=ring(DocumentType.LEASE),
        receipt_ring=ring(DocumentType.RECEIPT),
        checkpoint_ring=checkpoints,
        digest_key=ensure_secret(files.digest_key, system.random_bytes(32)),
    )


_RINGS = (DocumentType.LEASE, DocumentType.RECEIPT, DocumentType.CHECKPOINT)


def back_up_state(files: StateFiles, target: Path) -> None:
    """Copy the database of a state, as it is at one moment, into a new SQLite file of mode 0600; keys are not in it.

    Raises:
        StoreError: there is no database, it is damaged, or `target` exists; then there is no new file.
    """
    place = find_postgres(files)
    if place is None:
        back_up(files.database, target)
        return
    from leasehold.store.postgres_backup import back_up_postgres

    back_up_postgres(place, target)


def overwrite_erased_cards(files: StateFiles) -> bool:
    """Have the database let go of what erased cards held. False where somebody is still reading what was there."""
    place = find_postgres(files)
    if place is None:
        return overwrite_erased(files.database)
    from leasehold.store.postgres import vacuum_cards

    vacuum_cards(place)
    return True


def restore_state(
    state: Path | StateFiles, *, by: str, reason: str, source: Path | None = None, system: System | None = None
) -> int:
    """Take a backup into use: a new epoch voids every lease, request and run. Answers the new epoch.

    `source` is a backup; without one it is the database that was already put in its place. What stood there is kept
    aside: a SQLite file beside it, on PostgreSQL in a schema beside it. The backup becomes the state's database in one
    step, with the new epoch in it, so that whoever is killed leaves the old database or the new one.

    Nothing else opens a database that is behind its anchor.

    Raises:
        ConfigError: the keys or the anchor cannot be used.
        StoreError: the database or the backup cannot be used, or the backup is of another authority.
    """
    clock = system or RealSystem()
    files = open_state(state) if isinstance(state, Path) else state
    identity = _identity(files, clock)
    anchor = _anchor_of(files, identity)
    anchor.read()  # whoever cannot is told before anything is done

    def declare(store: Store) -> tuple[int, TreeHead]:
        """Begin the new epoch in an open database, and close it."""
        try:
            kept = anchor.read()
            known = max(kept.epoch if kept else 0, _standing_epoch(files, identity.issuer))
            if (found := store.queries.control().issuer) != identity.issuer:
                raise StoreError(f"this database is of the authority {found}, the keys here are of {identity.issuer}")
            authority = Authority(Engine(store, clock, identity))
            epoch = authority.desk.raise_epoch(by=by, reason=reason, at_least=known + 1)
            return epoch, authority.receipts.tree_head()
        finally:
            store.close()

    if source is None:
        epoch, head = declare(_open_store(files, clock, identity, None))
    else:
        with unfinished_restore(files) as prepared:
            remove_database(prepared)
            back_up(source, prepared)
            epoch, head = declare(open_sqlite(prepared, clock=clock, issuer=identity.issuer))
            _take_over(files, prepared, clock.now().seconds)
            remove_database(prepared)
    anchor.replace_if_larger(head)
    return epoch


def _standing_epoch(files: StateFiles, issuer: str) -> int:
    """The epoch of the database that a backup is about to replace, which another machine may have raised; 0 where there
    is none that can be read."""
    try:
        reader = open_reader(files)
    except StoreError:
        return 0
    try:
        control = reader.queries.control()
    except StoreError:
        return 0
    finally:
        reader.close()
    return control.epoch if control.issuer == issuer else 0


def _take_over(files: StateFiles, prepared: Path, seconds: int) -> None:
    """Make a closed SQLite database the one of a state, wherever that is, and keep what stood there aside."""
    place = find_postgres(files)
    if place is None:
        put_in_place(prepared, files.database, files.database.with_name(f"{files.database.name}.replaced-{seconds}"))
        return
    from leasehold.store.postgres_copy import copy_to_postgres

    copy_to_postgres(prepared, place, lambda: None, aside=f"leasehold_replaced_{seconds}")


def _activate_first(authority: Authority, policy: Policy, place: str) -> None:
    active = authority.engine.store.queries.control().policy
    if not active:
        try:
            authority.desk.accept_policy(policy, by="first policy of a fresh state", replaces="")
        except Denied as refusal:
            if refusal.decision.reason is not Reason.CONFLICT:
                raise
            active = authority.engine.active_policy().hash  # another process was first
    if not active:
        _LOG.warning("this state is new: %s; its policy is %s", place, policy.hash)
    elif active != policy.hash:
        _LOG.warning("the policy file differs from the active policy; it does nothing until: leasehold policy accept")


def _fresh_key(system: System) -> SigningKey:
    return SigningKey.generate(system.random_bytes(32), created_at=system.now().seconds)
