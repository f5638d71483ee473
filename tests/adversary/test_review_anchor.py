"""What stands outside the database is not got rid of by deleting it."""

from __future__ import annotations

from pathlib import Path

import pytest

from leasehold.assemble import open_authority, restore_state
from leasehold.config import StateFiles
from leasehold.errors import StoreError
from leasehold.testing.clock import FrozenSystem
from stage import POLICY


@pytest.mark.invariant("I8")
@pytest.mark.requirement("L12")
@pytest.mark.case(62, 96)
def test_a_database_with_entries_is_refused_once_its_anchor_is_gone(tmp_path: Path) -> None:
    path, state, system = tmp_path / "leasehold.toml", tmp_path / "state", FrozenSystem()
    path.write_text(POLICY, encoding="utf-8")
    open_authority(path, state=state, system=system, sweep=False).close()
    StateFiles(state).anchor.unlink()
    with pytest.raises(StoreError, match="db restore"):
        open_authority(path, state=state, system=system, sweep=False)
    assert not StateFiles(state).anchor.exists()
    assert restore_state(state, by="op", reason="the anchor was lost", system=system) == 2
    open_authority(path, state=state, system=system, sweep=False).close()
