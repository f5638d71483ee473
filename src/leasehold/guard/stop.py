"""Ending in order when the process is told to stop. Called by programs that own their process, such as agent hosts."""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Iterator
from types import FrameType
from typing import NoReturn

__all__ = ["settle_on_sigterm"]


@contextlib.contextmanager
def settle_on_sigterm() -> Iterator[None]:
    """While inside, SIGTERM raises SystemExit(143) in the main thread, so that the running guarded call is settled.

    To be entered in the main thread; the earlier handler is put back on leaving. Calls in other threads settle if the
    program waits for them; a process that is killed outright leaves its calls `unknown`.

    Raises:
        ValueError: this is not the main thread.
    """
    before = signal.signal(signal.SIGTERM, _exit)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _exit(number: int, _frame: FrameType | None) -> NoReturn:
    raise SystemExit(128 + number)
