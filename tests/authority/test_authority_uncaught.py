"""A refusal that a script does not catch: the last line of the traceback says what to do next."""

from __future__ import annotations

import subprocess
import sys
import traceback
from collections.abc import Callable
from pathlib import Path

import pytest

from leasehold.errors import ApprovalNeeded, Denied, Edited
from leasehold.model.decision import Reason, deny
from stage import BEN, CLOSE, POLICY, Stage

SCRIPT = """\
import leasehold
from leasehold.testing.fixtures import memory_authority

authority = memory_authority(open("leasehold.toml").read())
guard = leasehold.Guard("ticket", authority, environment="prod")

@guard.action("close")
def close(capability, ticket_id):
    pass

run = authority.start(
    agent="bot", route="desk", tenant="acme", environment="prod", requested_by="user:kim", purpose="tidy up"
)
lease = authority.wait(authority.request(run, {"ticket.close": {"ticket": ["T-*"]}}, reason="old"), 5)
close(lease.once("k"), ticket_id="T-1")
"""


def last_line(act: Callable[[], object]) -> str:
    """The last line of what Python prints of an error that nobody caught."""
    try:
        act()
    except Denied as error:
        return "".join(traceback.format_exception(error)).rstrip("\n").splitlines()[-1]
    raise AssertionError("nothing was refused")


def test_needed_approval_names_the_command_and_the_wait(stage: Stage) -> None:
    lease = stage.lease(CLOSE)
    with pytest.raises(ApprovalNeeded) as needed:
        stage.admit(lease, "ticket.close", key="k")
    request = needed.value.request
    assert last_line(lambda: stage.admit(lease, "ticket.close", key="k")) == (
        f"next: have a person answer it (leasehold request approve {request} --as PERSON), wait for them "
        f'(authority.wait("{request}")), then make the same call again'
    )


def test_refusal_says_what_would_be_enough(stage: Stage) -> None:
    assert "enough would be: a lease with ticket.close" in last_line(
        lambda: stage.admit(stage.lease(), "ticket.close", key="k")
    )


def test_edit_says_where_its_arguments_are(stage: Stage) -> None:
    lease = stage.lease(CLOSE)
    asked = stage.authority.find_request(stage.ask(lease, "ticket.close", key="k"))
    stage.desk.edit(asked, stage.people.signatory(BEN), arguments={"ticket_id": "T-2"}, reason="that one")
    assert last_line(lambda: stage.admit(lease, "ticket.close", key="k")) == (
        "next: make the call with the .arguments of this error"
    )
    of_a_lease = Edited(deny(Reason.EDITED, "people edited it"), "req_1", None)
    assert of_a_lease.__notes__ == ['next: authority.wait("req_1")']


def test_script_ends_with_it(tmp_path: Path) -> None:
    (tmp_path / "leasehold.toml").write_text(POLICY)
    (tmp_path / "agent.py").write_text(SCRIPT)
    done = subprocess.run([sys.executable, "agent.py"], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    last = done.stderr.rstrip("\n").splitlines()[-1]
    assert last.startswith("next: have a person answer it (leasehold request approve req_")
