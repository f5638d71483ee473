"""What the tests of the console share."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from functools import partial
from pathlib import Path

import pytest
from browsing import Visit, visit
from playwright.sync_api import Browser

from office import Office, opened


@pytest.fixture
def office(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Office]:
    """A fresh office: on disk where a browser looks at it, else in memory."""
    with opened(Office(tmp_path, is_on_disk="visits" in request.fixturenames)) as office:
        yield office


@pytest.fixture
def visits(browser: Browser, office: Office) -> Callable[..., AbstractContextManager[Visit]]:
    """Opens a fresh profile of the browser at the office."""
    return partial(visit, browser, office)
