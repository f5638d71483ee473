"""A process is killed between sending a notice and writing that down: the next sends it again, under the same id."""

from __future__ import annotations

import subprocess
import sys
import threading
from pathlib import Path

import pytest

from leasehold.assemble import open_authority
from leasehold.config import open_state, write_secrets
from leasehold.decide.notices import CLAIM_MS
from leasehold.system import RealSystem
from leasehold.testing.clock import FrozenSystem
from receivers import http_receiver

POLICY = """
version = 1
authority = "chaos"
[notices.hook]
kind = "webhook"
url = "{url}"
events = ["stop.set"]
tenants = ["*"]
networks = ["127.0.0.0/8"]
"""


@pytest.mark.case(90)
def test_a_notice_that_was_sent_and_not_written_down_is_sent_again_under_its_id(tmp_path: Path) -> None:
    arrived, never = threading.Event(), threading.Event()
    policy, state = tmp_path / "leasehold.toml", tmp_path / "state"

    def hang(_: object) -> None:
        arrived.set()
        never.wait(60)

    with http_receiver() as receiver:
        receiver.answers = [hang, 204]
        policy.write_text(POLICY.format(url=receiver.url))
        write_secrets(open_state(state).channel_secrets("hook"), {"keys": "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"})
        command = [sys.executable, str(Path(__file__).with_name("notice_worker.py")), str(policy), str(state)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as worker:
            assert worker.stdout is not None
            assert worker.stdout.readline() == "held\n"
            assert arrived.wait(60)
            worker.kill()
        never.set()
        late = FrozenSystem(seconds=RealSystem().now().seconds + CLAIM_MS // 1000 + 60)
        with open_authority(policy, state=state, system=late, sweep=False) as authority:
            assert authority.outbox.run_once() == 1
            (row,) = authority.engine.store.queries.deliveries([""])
    assert (row.state, row.attempts) == ("delivered", 2)
    assert [got.headers["webhook-id"] for got in receiver.got] == [row.delivery_id] * 2
