"""The Chromium of tests: Debian's, driven by Playwright, of which a process can have one at a time."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from playwright.sync_api import Browser

__all__ = ["NO_CHROMIUM", "chromium", "find_chromium"]

NO_CHROMIUM = (
    "NO CHROMIUM was found: nothing was tested in a browser. As root on Debian: apt-get install chromium; elsewhere "
    "put a `chromium` into the path"
)
_NAMES = ("chromium", "chromium-browser", "google-chrome")


def find_chromium() -> str | None:
    """Where the browser is, if there is one."""
    return next((path for path in map(shutil.which, _NAMES) if path), None)


@contextmanager
def chromium() -> Iterator[Browser]:
    """The browser. There has to be one."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=find_chromium(), args=["--no-sandbox"])
        yield browser
        browser.close()
