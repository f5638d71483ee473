"""Which tests of the authority are run on PostgreSQL too, and the authority that they then get.

`tests/conftest.py` runs each of them twice. Every stage that such a test makes has a database of its own on the server
of the session, gone again afterwards. What is tested is the same; only where the state stands is another place.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

import stage
from leasehold.assemble import open_authority
from leasehold.authority import Authority
from leasehold.config import create_private, open_state
from leasehold.system import System
from leasehold.testing.clock import FrozenSystem
from postgres_server import PostgresServer

MODULES = frozenset(
    {
        "test_adversary_door",
        "test_authority_amendments",
        "test_authority_batches",
        "test_authority_both_databases",
        "test_authority_cancel",
        "test_authority_clients",
        "test_authority_desk",
        "test_authority_door",
        "test_authority_glass_desk",
        "test_authority_governing",
        "test_authority_person_desk",
        "test_authority_proposals",
        "test_authority_receipts",
        "test_authority_runs",
        "test_authority_standing",
        "test_authority_tokens",
        "test_authority_waiting",
        "test_decide_delegation",
        "test_decide_repeats",
        "test_decide_settle",
        "test_decide_stop",
    }
)
SQLITE_ONLY = {
    "test_a_child_whose_parents_leases_are_gone_gets_none": "deletes rows of the file",
    "test_guard_of_batches_that_is_taken_away_is_missed": "asks which tests notice, and these run on both",
    "test_request_whose_card_was_erased_shows_none": "deletes rows of the file",
    "test_run_shows_what_it_asked_for_holds_and_started": "damages rows of the file",
}
"""What is asked of SQLite alone, by test, and why."""


def is_on_both(module: str, test: str) -> bool:
    """Whether a test is run on PostgreSQL too."""
    return module in MODULES and test not in SQLITE_ONLY


@contextmanager
def stages_on(server: PostgresServer, folder: Path) -> Iterator[None]:
    """While the block lasts, every stage that is made keeps its state on the server."""
    made: list[str] = []

    def postgres_authority(policy_text: str, *, system: System | None = None) -> Authority:
        name = server.fresh()
        made.append(name)
        here = folder / name
        here.mkdir()
        policy = here / "leasehold.toml"
        policy.write_text(policy_text, encoding="utf-8")
        files = open_state(here / "state")
        create_private(files.database_url, server.url(name).encode())
        return open_authority(policy, state=files.directory, system=system or FrozenSystem(), sweep=False)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(stage, "memory_authority", postgres_authority)
        yield
    for name in made:
        server.execute(f'DROP DATABASE "{name}" WITH (FORCE)')
