"""A unix socket for programs of this machine under another account, as agents should have. Made by `leasehold serve`.

Whoever runs code under the authority's own account can read its keys, so agents belong under another one; this is how
they reach it without a port. That somebody can connect proves nothing: each request proves who asks, as over TCP.
"""

from __future__ import annotations

import os
import socket
import stat
from contextlib import suppress
from pathlib import Path

from leasehold.errors import ConfigError

__all__ = ["LocalSocket"]

_BACKLOG = 2048
_PROBE_SECONDS = 0.5


class LocalSocket:
    """A unix socket for programs of this machine under other accounts. Nobody can connect before its mode is set.

    Who may connect is decided by its mode and its folder's; that somebody can connect proves nothing to the authority.
    """

    def __init__(self, path: Path, mode: int) -> None:
        """Bind it; what a server that died left there is replaced.

        Raises:
            ConfigError: something else stands there, a server answers there, or the folder will not do.
        """
        self._path = path
        _check_folder(path.parent)
        _check_free(path)
        coming = path.with_name(f".{path.name}.{os.getpid()}")
        self.listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            with suppress(FileNotFoundError):
                coming.unlink()
            self.listener.bind(str(coming))
            coming.chmod(mode)
            self.listener.listen(_BACKLOG)
            coming.rename(path)
            self._made = path.stat().st_ino
        except OSError as error:
            self.listener.close()
            why = os.strerror(error.errno) if error.errno else str(error)
            raise ConfigError(f"cannot listen at {path}: {why}; name another with --socket", path=str(path)) from None

    def close(self) -> None:
        """Stop listening and take the path away, unless another server stands there by now."""
        self.listener.close()
        with suppress(FileNotFoundError):
            if self._path.lstat().st_ino == self._made:
                self._path.unlink()


def _check_folder(folder: Path) -> None:
    """Who may write there can put a socket of their own in the place of ours, and is shown every credential."""
    try:
        mode = folder.stat().st_mode
    except OSError as error:
        raise ConfigError(f"cannot be looked at: {error.strerror}", path=str(folder)) from None
    if mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise ConfigError(
            "others may write there, so they could take the place of the socket and be shown everybody's credentials; "
            "take that away (chmod go-w), or name another with --socket",
            path=str(folder),
        )


def _check_free(path: Path) -> None:
    try:
        if not stat.S_ISSOCK(path.lstat().st_mode):
            raise ConfigError("there is something that is no socket; name another with --socket", path=str(path))
    except FileNotFoundError:
        return
    except OSError as error:
        raise ConfigError(f"cannot be looked at: {error.strerror}", path=str(path)) from None
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(_PROBE_SECONDS)  # a queue that nobody empties would keep us for ever
        try:
            probe.connect(str(path))
        except ConnectionRefusedError:
            return
        except OSError as error:
            raise ConfigError(f"cannot be asked whether anybody answers: {error.strerror}", path=str(path)) from None
    raise ConfigError("a server answers there already; stop it, or name another with --socket", path=str(path))
