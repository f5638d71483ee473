"""A process that is meant to be killed while it tells people: it holds what it is told to hold, and delivers.

Started by test_notice_kill.py as `python notice_worker.py POLICY STATE`. It says `held` once the hold is committed.
"""

from __future__ import annotations

import sys
import threading

from leasehold.assemble import open_authority
from leasehold.model.scope import Scope


def main(policy: str, state: str) -> None:
    authority = open_authority(policy, state=state)
    authority.desk.hold(Scope.parse("tool:ticket"), by="op", reason="look")
    sys.stdout.write("held\n")
    sys.stdout.flush()
    threading.Event().wait()


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])
