"""The tests' own PostgreSQL starts wherever the project lies, also where nobody but root may enter."""

from __future__ import annotations

from pathlib import Path

import pytest

from postgres_server import find_programs, running


def test_server_starts_though_its_programs_lie_in_a_folder_that_is_closed_to_its_account(tmp_path: Path) -> None:
    programs = find_programs()
    if programs is None:
        pytest.skip("there is no PostgreSQL here; the end of the run says so")
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    (closed / "packages").symlink_to(programs.parents[2])
    with running(closed / "packages" / programs.relative_to(programs.parents[2])) as server:
        assert server.execute("SELECT 1") == [(1,)]
