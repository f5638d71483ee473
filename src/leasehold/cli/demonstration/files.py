"""Files of one folder, opened by descriptor from its root down. Called by the demo's repository tools.

A name is walked one segment at a time and no segment may be a link, so what was allowed is what is opened, also while
somebody swaps folders for links in between (threat case 32). Git's own folder is out of reach.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from leasehold.errors import InvalidError

__all__ = ["Tree"]

MAX_FILE_BYTES = 1_048_576

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_CREATE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_LINKS = (errno.ELOOP, errno.ENOTDIR)


class Tree:
    """A folder whose regular files can be read and replaced by their names below it."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def read(self, name: str) -> str:
        """Return the text of a file, UTF-8, at most 1 MiB.

        Raises:
            InvalidError: the name leads out of the folder or over a link, or there is no such text file.
        """
        with _explained(name), self._folder_of(name) as (folder, last), _opened(last, folder) as file:
            return _read_text(file, name)

    def replace(self, name: str, text: str) -> None:
        """Put another text in the place of a file's, whole or not at all, its mode kept.

        A new file takes the name, so that another name for the same file (a hard link) keeps the old text.

        Raises:
            InvalidError: as `read`.
        """
        with _explained(name), self._folder_of(name) as (folder, last):
            with _opened(last, folder) as file:
                _read_text(file, name)
                mode = stat.S_IMODE(os.fstat(file).st_mode)
            beside = f".{last}.new"
            written = os.open(beside, _CREATE, mode, dir_fd=folder)
            try:
                with os.fdopen(written, "wb") as new:
                    new.write(text.encode())
                    os.fchmod(written, mode)
                os.replace(beside, last, src_dir_fd=folder, dst_dir_fd=folder)
            except BaseException:
                os.unlink(beside, dir_fd=folder)
                raise

    @contextmanager
    def _folder_of(self, name: str) -> Iterator[tuple[int, str]]:
        """The open folder that a name stands in, and its last segment."""
        *above, last = _segments(name)
        folder = os.open(self._root, _FOLDER)
        try:
            for segment in above:
                below = os.open(segment, _FOLDER, dir_fd=folder)
                os.close(folder)
                folder = below
            yield folder, last
        finally:
            os.close(folder)


def _segments(name: str) -> list[str]:
    segments = name.split("/")
    if "\0" in name or any(segment in ("", ".", "..") for segment in segments):
        raise InvalidError(f"{name!r} is not the name of a file below this folder")
    if any(segment.lower() == ".git" for segment in segments):
        raise InvalidError(f"{name!r} belongs to git itself")
    return segments


@contextmanager
def _opened(name: str, folder: int) -> Iterator[int]:
    descriptor = os.open(name, _READ, dir_fd=folder)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _read_text(descriptor: int, name: str) -> str:
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        raise InvalidError(f"{name!r} is not a regular file")
    with os.fdopen(descriptor, "rb", closefd=False) as file:
        data = file.read(MAX_FILE_BYTES + 1)
    if len(data) > MAX_FILE_BYTES:
        raise InvalidError(f"{name!r} is larger than {MAX_FILE_BYTES} bytes")
    return data.decode()


@contextmanager
def _explained(name: str) -> Iterator[None]:
    """Say what the operating system found, in words about the name that was asked for."""
    try:
        yield
    except UnicodeDecodeError:
        raise InvalidError(f"{name!r} is not UTF-8 text") from None
    except OSError as error:
        why = (
            "leads over a link, which is never followed"
            if error.errno in _LINKS
            else f"cannot be used: {error.strerror}"
        )
        raise InvalidError(f"{name!r} {why}") from None
