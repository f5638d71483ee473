"""The one Chromium of a test run: Debian's, driven by Playwright, which can be started only once in a process.

Where there is none, the tests that need it are skipped with one loud line that says how to get it.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Browser

__all__ = ["chromium"]

MISSING = (
    "THE BROWSER TESTS WERE NOT RUN: there is no Chromium here. As root on Debian: apt-get install chromium; "
    "elsewhere put a `chromium` into the path."
)
_NAMES = ("chromium", "chromium-browser", "google-chrome")


@contextmanager
def chromium() -> Iterator[Browser]:
    """The browser, or a skipped test."""
    found = next((path for path in map(shutil.which, _NAMES) if path), None)
    if found is None:
        pytest.skip(MISSING)
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=found, args=["--no-sandbox"])
        yield browser
        browser.close()
