"""Which tests of the authority are run on PostgreSQL too, and the authority that they then get.

`tests/conftest.py` runs each of them twice. Every stage that such a test makes has a database of its own on the server
of the session, gone again afterwards. What is tested is the same; only where the state stands is another place.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

import notice_desk
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
TESTS = {
    "test_authority_glass": {
        "test_two_people_open_it_and_everybody_can_hear_it",
        "test_an_opening_is_for_now_and_for_once",
        "test_it_ends_loudly_and_another_person_reviews_it",
    },
    "test_authority_load": {
        "test_requests_are_counted_by_rule_and_by_person_with_the_median_seconds_to_decision",
        "test_what_was_asked_before_the_window_is_left_out_with_its_answers",
    },
    "test_authority_outbox": {
        "test_another_process_that_moved_the_cursor_first_has_put_the_same_down",
        "test_a_budget_at_80_percent_is_told_once_for_each_account_and_unit",
        "test_a_claim_that_is_void_ends_nothing",
        "test_a_failed_try_is_repeated_ever_later_and_given_up_with_an_alarm",
        "test_a_receiver_that_comes_back_late_hears_what_is_so_and_no_stale_request",
        "test_the_thread_is_woken_by_a_commit_and_delivers",
        "test_two_processes_never_both_own_one_notice",
        "test_what_a_silent_policy_left_unread_is_not_lost_when_nobody_read_in_between",
    },
    "test_authority_rehearsal": {
        "test_a_rehearsal_sees_what_is_committed_and_what_it_did_itself_and_writes_nothing",
        "test_every_index_can_be_looked_into",
        "test_the_first_lease_of_a_request_is_drawn_once",
    },
    "test_http_api": {
        "test_a_run_from_start_to_receipt",
        "test_admission_sent_again_is_the_same_and_charged_once",
        "test_people_decide_while_the_host_waits",
        "test_same_request_sent_again_is_answered_the_same",
        "test_stream_tells_of_stops_and_of_decided_requests",
    },
    "test_http_api_desk": {"test_entries_and_inbox_come_in_pages", "test_person_reads_a_card_and_answers_it"},
    "test_http_chat": {
        "test_a_delivery_that_comes_again_changes_nothing_even_if_it_changed_nothing_before",
        "test_another_process_over_the_same_database_does_not_hear_it_again",
    },
    "test_http_sign_in": {
        "test_session_that_nobody_uses_for_half_an_hour_is_over",
        "test_who_fails_waits_longer_each_time_even_for_the_right_password",
        "test_who_signs_in_is_known_until_they_sign_out",
    },
    "test_oauth_codes": {
        "test_a_code_that_comes_twice_ends_what_came_of_it",
        "test_a_person_lets_a_program_ask_in_their_name_and_it_gets_one_token",
    },
    "test_oauth_proofs": {
        "test_a_code_asked_for_with_a_key_is_redeemed_by_its_holder_alone",
        "test_a_proof_counts_once_whoever_sends_it_and_whichever_process_takes_it",
    },
}
"""What of other modules is asked of both: what is remembered in tables of its own, shared by processes, or listed."""

SQLITE_ONLY = {
    "test_a_child_whose_parents_leases_are_gone_gets_none": "deletes rows of the file",
    "test_guard_of_batches_that_is_taken_away_is_missed": "asks which tests notice, and these run on both",
    "test_request_whose_card_was_erased_shows_none": "deletes rows of the file",
    "test_run_shows_what_it_asked_for_holds_and_started": "damages rows of the file",
}
"""What is asked of SQLite alone, by test, and why."""


def is_on_both(module: str, test: str) -> bool:
    """Whether a test is run on PostgreSQL too."""
    return test not in SQLITE_ONLY and (module in MODULES or test in TESTS.get(module, ()))


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
        for module in (stage, notice_desk):
            patch.setattr(module, "memory_authority", postgres_authority)
        yield
    for name in made:
        server.execute(f'DROP DATABASE "{name}" WITH (FORCE)')
