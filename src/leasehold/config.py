"""The only reader of environment and files: policy sources, the state directory, private files, the outside anchor.

Called by `leasehold.assemble` and the CLI. Private files are 0600, owned by this account and no links; they are written
beside their place, synced, and moved there, so that a crash leaves the old or the new one. POSIX only.
"""

from __future__ import annotations

import errno
import fcntl
import os
import stat
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated
from urllib.parse import quote

import msgspec

from leasehold.errors import ConfigError, InvalidError
from leasehold.model import canonical
from leasehold.model.instant import Instant
from leasehold.model.text import check_identifier
from leasehold.policy.load import Source
from leasehold.token.jwk import private_jwks, read_private_jwks
from leasehold.token.keys import DocumentType, KeyRing, SigningKey

__all__ = [
    "POLICY_NAME",
    "PROVIDER_SECRET",
    "Anchor",
    "StateFiles",
    "advance_anchor",
    "create_private",
    "ensure_key_ring",
    "ensure_secret",
    "environment_url",
    "is_database_url",
    "is_there",
    "open_state",
    "read_anchor",
    "read_database_url",
    "read_key_ring",
    "read_private",
    "read_secrets",
    "read_sources",
    "replace_private",
    "rotate_key_ring",
    "state_directory",
    "unfinished_restore",
    "weak_modes",
    "writable_policy",
    "write_secrets",
]

POLICY_NAME = "leasehold.toml"
MAX_FILE_BYTES = 1_048_576
SECRET_SIZE = 32
PROVIDER_SECRET = "secret"  # noqa: S105 - the name under which a provider's secret stands in its file


def read_sources(path: Path) -> tuple[Source, ...]:
    """Return the policy that stands in a file, or in a folder's `*.toml` files in order of their names.

    Raises:
        ConfigError: there is none, it cannot be read, is larger than 1 MiB, or is not UTF-8 (with the line).
    """
    files = _policy_files(path)
    if not files:
        raise ConfigError("this folder holds no *.toml file; write one with: leasehold init", path=str(path))
    return tuple(Source(str(file), _read_text(file)) for file in files)


def _policy_files(path: Path) -> Sequence[Path]:
    """The files of a folder; of what is no folder the path itself, which says when it is opened what is amiss."""
    try:
        return sorted(file for file in path.iterdir() if file.name.endswith(".toml"))
    except (FileNotFoundError, NotADirectoryError):
        return [path]
    except OSError as error:
        raise ConfigError(f"cannot be read: {error.strerror}", path=str(path)) from None


def writable_policy(path: Path) -> tuple[Path, ...]:
    """Return the files of a policy, and their folder if it has one, that other accounts can change.

    Raises:
        ConfigError: one of them is not there, or cannot be looked at.
    """
    try:
        return tuple(each for each in dict.fromkeys((path, *_policy_files(path))) if each.stat().st_mode & 0o022)
    except OSError as error:
        raise ConfigError(f"cannot be looked at: {error.strerror}", path=str(path)) from None


def _read_text(path: Path) -> str:
    try:
        with path.open("rb") as file:
            data = file.read(MAX_FILE_BYTES + 1)
    except FileNotFoundError:
        raise ConfigError(
            "there is no such file; name it with --policy, or write one with: leasehold init", path=str(path)
        ) from None
    except OSError as error:
        raise ConfigError(f"cannot be read: {error.strerror}", path=str(path)) from None
    if len(data) > MAX_FILE_BYTES:
        raise ConfigError(f"is larger than {MAX_FILE_BYTES} bytes", path=str(path))
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise ConfigError("is not UTF-8; save it as UTF-8 text", path=str(path), line=line) from None


def state_directory(authority: str, environ: Mapping[str, str] | None = None) -> Path:
    """Return where an authority's state belongs: `LEASEHOLD_STATE`, else below the XDG state folder.

    Where that variable names a database, keys and anchor still belong into the folder.

    Raises:
        ConfigError: the authority's name cannot name a folder, or there is no home.
    """
    values = os.environ if environ is None else environ
    explicit = values.get("LEASEHOLD_STATE", "")
    if explicit and not is_database_url(explicit):
        return Path(explicit)
    try:
        name = check_identifier(authority, "authority")
    except InvalidError as error:
        raise ConfigError(str(error)) from None
    if "/" in name:
        raise ConfigError(f"authority {name!r} holds '/', so it cannot name a folder; use '-' instead")
    base = values.get("XDG_STATE_HOME", "")
    if not base.startswith("/"):  # the XDG specification ignores relative paths
        home = values.get("HOME", "")
        if not home.startswith("/"):
            raise ConfigError("neither LEASEHOLD_STATE, XDG_STATE_HOME nor HOME says where state belongs; set one")
        base = f"{home}/.local/state"
    return Path(base) / "leasehold" / name


def is_database_url(text: str) -> bool:
    """Whether a text names a PostgreSQL database, not a folder."""
    return text.startswith(("postgresql://", "postgres://"))


def environment_url(environ: Mapping[str, str] | None = None) -> str:
    """Return the database that `LEASEHOLD_STATE` names, or an empty text if it names none."""
    given = (os.environ if environ is None else environ).get("LEASEHOLD_STATE", "")
    return given if is_database_url(given) else ""


@dataclass(frozen=True, slots=True)
class StateFiles:
    """The names of the files in one authority's state directory; `url` is a database that was named beside it."""

    directory: Path
    url: str = ""

    @property
    def database(self) -> Path:
        """The SQLite database."""
        return self.directory / "leasehold.db"

    @property
    def database_url(self) -> Path:
        """Where the database is, if it is on PostgreSQL: one line that may hold a password."""
        return self.directory / "database.url"

    @property
    def anchor(self) -> Path:
        """The epoch and last checkpoint, kept outside the database."""
        return self.directory / "anchor.json"

    @property
    def digest_key(self) -> Path:
        """The master key of keyed digests."""
        return self.directory / "digest.key"

    def key_ring(self, document_type: DocumentType) -> Path:
        """The private keys of one type of document."""
        return self.directory / f"{document_type}.keys.json"

    def channel_secrets(self, channel: str) -> Path:
        """What one notice channel must not tell: signing keys, tokens, passwords."""
        return self.directory / "notices" / f"{quote(channel, safe=':@')}.json"

    def provider_secret(self, provider: str) -> Path:
        """The secret of our client at a provider at which people sign in."""
        return self.directory / "providers" / f"{quote(provider, safe=':@')}.json"

    def person_key(self, person: str) -> Path:
        """The private key of one person, where the same account keeps it."""
        return self.directory / "people" / f"{quote(person, safe=':@')}.keys.json"


def open_state(directory: Path, url: str = "") -> StateFiles:
    """Return the files of a state directory, which is made with mode 0700 if it does not exist.

    Raises:
        ConfigError: it cannot be made, is no directory, belongs to another account, or others may enter it.
    """
    for folder in (directory, directory / "people"):
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            status = folder.stat()
        except OSError as error:
            raise ConfigError(f"cannot be used as a state directory: {error.strerror}", path=str(folder)) from None
        _check_private(status, folder, "700")
    return StateFiles(directory, url)


def read_database_url(files: StateFiles) -> str:
    """Return where the database is, if it is on PostgreSQL: as it was named, else as the state's private file says.

    Raises:
        ConfigError: the file is not private, or does not name one.
    """
    if files.url or not is_there(files.database_url):
        return files.url
    text = read_private(files.database_url).decode("utf-8", "replace").strip()
    if not is_database_url(text):
        raise ConfigError("does not hold a line that begins with postgresql://", path=str(files.database_url))
    return text


@contextmanager
def unfinished_restore(files: StateFiles) -> Iterator[Path]:
    """Where a backup is made ready before it becomes the database; one process at a time.

    Raises:
        ConfigError: the lock cannot be had.
    """
    path = files.directory / "leasehold.db.unfinished-restore"
    with _locked(path):
        yield path


def weak_modes(files: StateFiles) -> tuple[Path, ...]:
    """Return every path of the state that another account can read or write, for `doctor`.

    Raises:
        ConfigError: the directory cannot be listed.
    """
    try:
        paths = [files.directory, *sorted(files.directory.rglob("*"))]
        return tuple(path for path in paths if path.lstat().st_mode & 0o077 and not path.is_symlink())
    except OSError as error:
        raise ConfigError(f"cannot be listed: {error.strerror}", path=str(files.directory)) from None


def is_there(path: Path) -> bool:
    """Whether something has this name, a link included. What cannot be looked at is never taken for absent.

    `Path.exists` does take it for that from Python 3.14 on, and a locked state would look like a new one.

    Raises:
        ConfigError: nobody can tell, because a folder above it is closed to this account or its name will not do.
    """
    try:
        path.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError as error:
        raise ConfigError(f"cannot be looked at: {error.strerror}", path=str(path)) from None
    return True


def read_private(path: Path) -> bytes:
    """Return the bytes of a file that only this account can read.

    Raises:
        ConfigError: it is missing, a link, no regular file, of another account, larger than 1 MiB, or open to others.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            data = _read_checked(descriptor, path)
        finally:
            os.close(descriptor)
    except OSError as error:
        link = error.errno == errno.ELOOP
        why = "is a symbolic link, which is refused" if link else f"cannot be read: {error.strerror}"
        raise ConfigError(why, path=str(path)) from None
    if len(data) > MAX_FILE_BYTES:
        raise ConfigError(f"is larger than {MAX_FILE_BYTES} bytes", path=str(path))
    return data


def _read_checked(descriptor: int, path: Path) -> bytes:
    status = os.fstat(descriptor)
    if not stat.S_ISREG(status.st_mode):
        raise ConfigError("is not a regular file", path=str(path))
    _check_private(status, path, "600")
    with os.fdopen(descriptor, "rb", closefd=False) as file:
        return file.read(MAX_FILE_BYTES + 1)


def _check_private(status: os.stat_result, path: Path, mode: str) -> None:
    if status.st_uid != os.geteuid():
        raise ConfigError("belongs to another account", path=str(path))
    if status.st_mode & 0o077:
        raise ConfigError(f"others can read or change it; run: chmod {mode} {path}", path=str(path))


def read_secrets(path: Path) -> dict[str, str]:
    """Return the named secrets of a private file; nothing if there is no such file.

    Raises:
        ConfigError: the file is not private, or holds anything but texts by name.
    """
    if not is_there(path):
        return {}
    try:
        return msgspec.convert(canonical.decode(read_private(path)), dict[str, str])
    except (InvalidError, msgspec.ValidationError):
        raise ConfigError("does not hold secrets: an object of texts", path=str(path)) from None


def write_secrets(path: Path, secrets: Mapping[str, str]) -> None:
    """Write named secrets into a private file in a private folder, in the place of those that stood there.

    Raises:
        ConfigError: it cannot be written.
    """
    try:
        path.parent.mkdir(mode=0o700, exist_ok=True)
    except OSError as error:
        raise ConfigError(f"cannot be made: {error.strerror}", path=str(path.parent)) from None
    replace_private(path, canonical.encode(dict(secrets)) + b"\n")


def create_private(path: Path, data: bytes) -> bool:
    """Write a new file of mode 0600, whole and synced or not at all. False if one stands there already.

    Raises:
        ConfigError: it cannot be written.
    """
    with _written(path, data) as temporary:
        try:
            os.link(temporary, path)
        except FileExistsError:
            return False
    return True


def replace_private(path: Path, data: bytes) -> None:
    """Write a file of mode 0600 in the place of one that may stand there; a crash leaves the old or the new one.

    Raises:
        ConfigError: it cannot be written.
    """
    with _written(path, data) as temporary:
        temporary.replace(path)


@contextmanager
def _written(path: Path, data: bytes) -> Iterator[Path]:
    """A synced file beside `path`; gone afterwards unless it was moved, the folder synced."""
    try:
        descriptor, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(descriptor)
            yield Path(name)
        finally:
            with suppress(FileNotFoundError):
                os.unlink(name)
        _sync_folder(path.parent)
    except OSError as error:
        raise ConfigError(f"cannot be written: {error.strerror}", path=str(path)) from None


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Hold the lock that goes with a file: one writer, of any process and thread, at a time."""
    lock = path.with_name(f"{path.name}.lock")
    try:
        descriptor = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise ConfigError(f"cannot be locked: {error.strerror}", path=str(lock)) from None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def read_key_ring(path: Path, document_type: DocumentType) -> KeyRing:
    """Return the key ring of a private file.

    Raises:
        ConfigError: the file is not private, or holds no ring for this type of document.
    """
    try:
        return read_private_jwks(read_private(path), document_type)
    except InvalidError as error:
        raise ConfigError(str(error), path=str(path)) from None


def ensure_key_ring(path: Path, document_type: DocumentType, fresh: SigningKey) -> KeyRing:
    """Return the ring of the file; where there is none, write one of the `fresh` key first. Of two makers one wins.

    Raises:
        ConfigError: as `read_key_ring`, or it cannot be written.
    """
    if not is_there(path):
        create_private(path, private_jwks(KeyRing(document_type, (fresh,))).encode("ascii"))
    return read_key_ring(path, document_type)


def rotate_key_ring(
    path: Path, document_type: DocumentType, newest: SigningKey, *, now: Instant, retire_at: int | None = None
) -> KeyRing:
    """Put a new signing key into the ring of the file, retire the others (`KeyRing.rotate`), and return the ring.

    Raises:
        ConfigError: as `read_key_ring`, the key is in the ring already, or it cannot be written.
    """
    with _locked(path):
        try:
            ring = read_key_ring(path, document_type).rotate(newest, now=now, retire_at=retire_at)
        except InvalidError as error:
            raise ConfigError(str(error), path=str(path)) from None
        replace_private(path, private_jwks(ring).encode("ascii"))
    return ring


def ensure_secret(path: Path, fresh: bytes) -> bytes:
    """Return the 32 secret bytes of a private file; where there is none, write the `fresh` ones first.

    Raises:
        ConfigError: the file is not private, does not hold 64 hex digits, or cannot be written.
    """
    if not is_there(path):
        create_private(path, fresh.hex().encode("ascii") + b"\n")
    try:
        secret = bytes.fromhex(read_private(path).decode("ascii"))
    except ValueError:
        secret = b""
    if len(secret) != SECRET_SIZE:
        raise ConfigError(f"does not hold {SECRET_SIZE} bytes as hex digits", path=str(path))
    return secret


class Anchor(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a database may not be behind: the epoch, the ledger's size, its signed checkpoint as text."""

    epoch: Annotated[int, msgspec.Meta(ge=1, le=2**53 - 1)]
    size: Annotated[int, msgspec.Meta(ge=0, le=2**53 - 1)]
    checkpoint: str

    def is_ahead_of(self, other: Anchor) -> bool:
        """Whether this one is of a later epoch, or of a larger ledger in the same."""
        return (self.epoch, self.size) > (other.epoch, other.size)


canonical.prepare(Anchor)


def read_anchor(path: Path) -> Anchor | None:
    """Return the anchor, or None if there is none yet.

    Raises:
        ConfigError: the file is not private or is damaged. It is never taken for absent.
    """
    if not is_there(path):
        return None
    try:
        return msgspec.convert(canonical.decode(read_private(path)), Anchor)
    except (InvalidError, msgspec.ValidationError) as error:
        raise ConfigError(f"is damaged: {error}", path=str(path)) from None


def advance_anchor(path: Path, anchor: Anchor) -> bool:
    """Replace the anchor by a larger one, durably, under a file lock. False, and no change, if it is not larger.

    Raises:
        ConfigError: as `read_anchor`, or it cannot be written.
    """
    with _locked(path):
        standing = read_anchor(path)
        if standing is not None and not anchor.is_ahead_of(standing):
            return False
        replace_private(path, canonical.encode(msgspec.to_builtins(anchor)) + b"\n")
    return True
