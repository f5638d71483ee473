"""The extras `server` and `otel`, which a command needs that may run without them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from leasehold.errors import ConfigError

__all__ = ["otel_extra", "server_extra"]


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


@contextmanager
def otel_extra() -> Iterator[None]:
    """Import what needs OpenTelemetry in this block.

    Raises:
        ConfigError: it is not installed.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        raise ConfigError(f"traces need OpenTelemetry ({error.name}); run: pip install 'leasehold[otel]'") from None
