"""A stored policy that many threads read for the first time at once, as the first callers of a process do."""

from __future__ import annotations

import subprocess
import sys

_READ = """
import sys, threading
sys.setswitchinterval(1e-6)
from leasehold.policy.document import Policy
value = Policy(version=1, authority="a").to_json()
barrier = threading.Barrier(8)
def read():
    barrier.wait()
    Policy.from_json(value)
threads = [threading.Thread(target=read) for _ in range(8)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
"""


def test_first_readers_of_a_policy_do_not_crash_the_interpreter() -> None:
    started = [subprocess.Popen([sys.executable, "-c", _READ]) for _ in range(8)]
    assert [process.wait(60) for process in started] == [0] * 8
