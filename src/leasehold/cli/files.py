"""Public files that a command reads or writes where its user says. Private ones go through `leasehold.config`."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import click

from leasehold.errors import ConfigError

__all__ = ["MAX_INPUT_BYTES", "read_input", "read_lines", "write_output"]

MAX_INPUT_BYTES = 67_108_864


def read_input(path: Path) -> bytes:
    """Return the bytes of a file.

    Raises:
        ConfigError: it cannot be read, or is larger than 64 MiB.
    """
    try:
        with path.open("rb") as file:
            data = file.read(MAX_INPUT_BYTES + 1)
    except OSError as error:
        raise ConfigError(f"cannot be read: {error.strerror}", path=str(path)) from None
    if len(data) > MAX_INPUT_BYTES:
        raise ConfigError(f"is larger than {MAX_INPUT_BYTES} bytes", path=str(path))
    return data


def read_lines(path: Path, limit: int) -> Iterable[bytes]:
    """Yield the lines of a file with their newlines; one that is longer than `limit` bytes comes in pieces.

    Raises:
        ConfigError: it cannot be read.
    """
    try:
        with path.open("rb") as file:
            while line := file.readline(limit):
                yield line
    except OSError as error:
        raise ConfigError(f"cannot be read: {error.strerror}", path=str(path)) from None


def write_output(path: Path | None, pieces: Iterable[bytes]) -> None:
    """Write bytes to a new file, or to stdout where there is no path. A file that stands there is never replaced.

    Raises:
        ConfigError: it stands there already, or cannot be written.
    """
    if path is None:
        for piece in pieces:
            click.echo(piece, nl=False)
        return
    try:
        with path.open("xb") as file:
            try:
                file.writelines(pieces)
            except BaseException:
                path.unlink()  # half a file would look like a whole one
                raise
    except FileExistsError:
        raise ConfigError("stands there already; name another file", path=str(path)) from None
    except OSError as error:
        raise ConfigError(f"cannot be written: {error.strerror}", path=str(path)) from None
