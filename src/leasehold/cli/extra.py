"""The extra `server`, which a command needs that may run without it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from leasehold.errors import ConfigError

__all__ = ["server_extra"]


@contextmanager
def server_extra() -> Iterator[None]:
    """Import what needs the extra in this block.

    Raises:
        ConfigError: it is not installed.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        raise ConfigError(f"the server is not installed ({error.name}); run: pip install 'leasehold[server]'") from None
