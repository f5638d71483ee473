"""A process that is meant to be killed: it admits and settles as fast as it can and says what was answered.

Started by test_kill.py as `python kill_worker.py POLICY STATE SEED`. Each line on stdout was written only after the
authority's answer came: `run`, `admitted` with id and key, `settled` with id, `revoked` with a run.
"""

from __future__ import annotations

import random
import sys
import threading

from leasehold.assemble import open_authority
from leasehold.authority import Authority
from leasehold.errors import Denied
from leasehold.model.call import Call, Outcome, OutcomeStatus
from leasehold.model.canonical import encode
from leasehold.model.scope import Scope

_WORKERS = 8


def main(policy: str, state: str, seed: int) -> None:
    authority = open_authority(policy, state=state)
    threads = [threading.Thread(target=_work, args=(authority, random.Random(seed * 100 + i))) for i in range(_WORKERS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def _work(authority: Authority, chance: random.Random) -> None:
    """Runs without end, each with a small budget, some revoked half-way; the parent ends it."""
    while True:
        run = authority.start(
            agent="bot", route="work", tenant="acme", environment="prod", requested_by="user:ana", purpose="load"
        )
        _say("run", run.run_id)
        request = authority.request(run, {"ticket.update": {"ticket": ["T-*"]}}, reason="load")
        lease = authority.wait(request)
        for number in range(chance.randrange(4, 12)):
            if not _call(authority, lease.token_for("ticket"), f"{number % 7}", chance):
                break
        if chance.random() < 0.3:
            authority.desk.revoke(Scope.parse(f"run:{run.run_id}"), by="chaos", reason="half-way")
            _say("revoked", run.run_id)


def _call(authority: Authority, token: str, key: str, chance: random.Random) -> bool:
    door = authority.door("ticket", "prod")
    arguments = encode({"ticket_id": f"T-{key}"})
    call = Call(action="ticket.update", arguments=arguments, admission_id=door.new_admission_id(), key=key)
    try:
        admission = door.admit(token, call)
    except Denied as refusal:
        return str(refusal.decision.reason) == "already_done"
    _say("admitted", admission.admission_id, admission.run_id, key)
    status = chance.choice([OutcomeStatus.DONE, OutcomeStatus.DONE, OutcomeStatus.FAILED, OutcomeStatus.NOT_STARTED])
    door.settle(admission.admission_id, Outcome(status=status, duration_micros=chance.randrange(1000)))
    _say("settled", admission.admission_id, status)
    return True


def _say(*words: str) -> None:
    sys.stdout.write(" ".join(words) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]))
