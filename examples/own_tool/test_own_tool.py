"""The example of docs/tools.md, run: a refusal in words, a deletion that two people see first, a receipt of both."""

from __future__ import annotations

import json
import shutil
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from customers import answer, count_customers, crm

import leasehold
from leasehold import ApprovalNeeded, Authority, HeldLease, Toolbox
from leasehold.model.run import RunAttempt
from leasehold.testing.fixtures import Approvers

NUMBERS = '{"ids": [1001, 1002]}'


@pytest.fixture
def authority() -> Iterator[Authority]:
    with leasehold.open(Path(__file__).with_name("leasehold.toml"), state=":memory:", sweep=False) as authority:
        yield authority


@pytest.fixture
def database(tmp_path: Path) -> str:
    path = tmp_path / "crm.db"
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE customer (id INTEGER PRIMARY KEY)")
        connection.executemany("INSERT INTO customer VALUES (?)", [(1,), (1001,), (1002,)])
    return str(path)


@pytest.fixture
def run(authority: Authority) -> RunAttempt:
    return authority.start(
        agent="cleaner",
        route="crm/cleanup",
        tenant="acme",
        environment="prod",
        requested_by="user:ana",
        purpose="remove what the load test left",
    )


@pytest.fixture
def tools(authority: Authority, database: str, run: RunAttempt) -> Toolbox:
    asked = {"crm.count": {}, "crm.delete": {"customer": {"min": 1000, "max": 1999}}}
    lease: HeldLease = authority.wait(authority.request(run, asked, reason="the load test is over"), 5)
    return Toolbox(lease, crm(authority, database))


def test_a_model_is_shown_both_tools_and_no_lease(tools: Toolbox) -> None:
    shown = {str(schema["name"]): schema["input_schema"] for schema in tools.schemas()}
    assert sorted(shown) == ["crm_count", "crm_delete"]
    assert "ids" in json.dumps(shown["crm_delete"])
    assert "lease" not in json.dumps(shown)


def test_a_row_outside_the_lease_stays_and_the_model_is_told_what_would_do(
    authority: Authority, tools: Toolbox, database: str
) -> None:
    told = answer(authority, tools, "crm_delete", '{"ids": [1, 1001]}', "call-1")
    assert told.startswith("refused: denied (out_of_range)")
    assert 'enough would be: customer in {"max": 1999, "min": 1000}' in told
    assert answer(authority, tools, "crm_delete", '{"ids": "all"}', "call-2").startswith("refused: ")
    assert answer(authority, tools, "crm_count", "{}", "call-3") == "3"
    assert count_customers(database) == 3


def asked(authority: Authority, tools: Toolbox) -> tuple[str, threading.Thread, list[str]]:
    """The id of what waits for people, and a loop that waits too, with what it tells the model then."""
    with pytest.raises(ApprovalNeeded) as needed:
        tools.call("crm_delete", NUMBERS, "call-1")
    told: list[str] = []
    loop = threading.Thread(target=lambda: told.append(answer(authority, tools, "crm_delete", NUMBERS, "call-1")))
    loop.start()
    return needed.value.request, loop, told


def test_rows_go_once_two_people_have_approved_exactly_these(
    authority: Authority, tools: Toolbox, database: str, run: RunAttempt
) -> None:
    request, loop, told = asked(authority, tools)
    Approvers(authority).approve(request, "user:ben", "user:eva")
    loop.join(60)
    assert told == ["2 deleted"]
    assert count_customers(database) == 1
    receipt = json.loads(authority.finish(run))
    assert receipt["payloadType"] == "application/vnd.in-toto+json"


def test_a_no_is_told_to_the_model(authority: Authority, tools: Toolbox, database: str) -> None:
    request, loop, told = asked(authority, tools)
    Approvers(authority).deny(request, "user:ben")
    loop.join(60)
    assert told[0].startswith("refused: denied (approval_denied)")
    assert count_customers(database) == 3


def test_the_host_shows_both_tools_refuses_and_writes_a_receipt(tmp_path: Path, database: str) -> None:
    for name in ("customers.py", "host.py", "leasehold.toml"):
        shutil.copy(Path(__file__).with_name(name), tmp_path)
    done = subprocess.run(
        [sys.executable, "host.py"],
        cwd=tmp_path,
        env={"LEASEHOLD_STATE": str(tmp_path / "state")},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    shown, told = done.stdout.splitlines()
    assert shown == "['crm_delete', 'crm_count']", done.stderr
    assert told.startswith("refused: denied (out_of_range)")
    assert json.loads((tmp_path / "run.intoto.jsonl").read_bytes())["signatures"]
    assert count_customers(database) == 3
