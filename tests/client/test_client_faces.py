"""The tests of the embedded authority's public behaviour, on its remote face: the same functions, another stage."""

from __future__ import annotations

import importlib.util
from contextlib import nullcontext
from pathlib import Path
from types import ModuleType

TESTS = Path(__file__).parent.parent
SHARED = (
    "adversary/test_adversary_door.py",
    "authority/test_authority_cancel.py",
    "authority/test_authority_door.py",
    "authority/test_authority_runs.py",
    "decide/test_decide_repeats.py",
    "decide/test_decide_settle.py",
)
EMBEDDED_ONLY = {
    "test_a_call_that_has_ended_itself_is_said_to_be_over_at_once": "reads what is told a moment later",
    "test_a_loop_that_is_closed_is_told_nothing": "reads what is told a moment later",
    "test_a_withdrawn_request_cannot_be_approved_or_drawn": "what was withdrawn may be withdrawn again",
    "test_an_authentic_lease_that_this_ledger_does_not_have_opens_nothing_and_is_counted": "keys are entries too",
    "test_an_embedded_door_looks_at_its_calls_with_no_client_to_ask_about": "a watch looks for a client",
    "test_only_the_door_that_admitted_may_settle": "to another client an admission looks like what never was",
    "test_the_end_of_a_call_is_told_by_the_commit_that_ends_it": "asks at another client's door",
    "test_what_cannot_be_waited_for_is_an_error": "a store that fails is asked again until the deadline",
}
"""What is not the same over the network, by test, and why."""


def _loaded(path: str) -> ModuleType:
    specification = importlib.util.spec_from_file_location(f"far_{Path(path).stem}", TESTS / path)
    assert specification is not None
    assert specification.loader is not None
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    vars(module).update(watching_nothing=nullcontext)  # a server looks until the poll of who has left is over
    return module


def _is_shared(name: str, value: object) -> bool:
    return name.startswith("test_") or type(value).__name__ == "FixtureFunctionDefinition"


for _path in SHARED:
    _module = vars(_loaded(_path))
    globals().update({name: value for name, value in _module.items() if _is_shared(name, value)})

for _name in EMBEDDED_ONLY:
    del globals()[_name]
