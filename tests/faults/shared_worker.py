"""One of several authority processes over one database, as test_postgres_processes.py starts them.

`load SEED` admits and settles without end and writes a line for each answer, after it came; it is meant to be killed.
`try CALLERS` reads lines of `key token` pairs, makes as many callers admit them at once, and writes what each was told.
"""

from __future__ import annotations

import random
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from leasehold.assemble import open_authority
from leasehold.authority import Authority
from leasehold.errors import Denied, StoreError
from leasehold.model.call import Call, Outcome, OutcomeStatus
from leasehold.model.canonical import encode
from leasehold.model.scope import Scope

A = TypeVar("A")

_WORKERS = 6
_TRIES = 200
_pause = threading.Event()


def main(mode: str, policy: str, state: str, number: int) -> None:
    authority = _insist(lambda: open_authority(policy, state=state, sweep=False))
    if mode == "load":
        chances = [random.Random(number * 100 + i) for i in range(_WORKERS)]
        threads = [threading.Thread(target=_work, args=(authority, chance)) for chance in chances]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    else:
        with ThreadPoolExecutor(number) as pool:
            _say("ready")
            for line in sys.stdin:
                words = line.split()
                _say(*pool.map(lambda pair: _try(authority, *pair), zip(words[::2], words[1::2], strict=True)))
    authority.close()


def _work(authority: Authority, chance: random.Random) -> None:
    while True:
        run = _insist(
            lambda: authority.start(
                agent="bot", route="work", tenant="acme", environment="prod", requested_by="user:ana", purpose="load"
            )
        )
        _say("run", run.run_id)
        request = _insist(lambda: authority.request(run, {"ticket.update": {"ticket": ["T-*"]}}, reason="load"))  # noqa: B023 - called at once
        lease = _insist(lambda: authority.wait(request))  # noqa: B023 - called at once
        for number in range(chance.randrange(4, 12)):
            _call(authority, lease.token_for("ticket"), f"{number % 7}", chance)
        if chance.random() < 0.4:
            scope = Scope.parse(f"run:{run.run_id}")
            _insist(lambda: authority.desk.revoke(scope, by="chaos", reason="half-way"))  # noqa: B023 - called at once
            _say("revoked", run.run_id)


def _call(authority: Authority, token: str, key: str, chance: random.Random) -> None:
    door = authority.door("ticket", "prod")
    call = Call(
        action="ticket.update",
        arguments=encode({"ticket_id": f"T-{key}"}),
        admission_id=door.new_admission_id(),
        key=key,
    )
    try:
        admission = _insist(lambda: door.admit(token, call))
    except Denied:
        return
    _say("admitted", admission.admission_id, admission.run_id, key)
    status = chance.choice([OutcomeStatus.DONE, OutcomeStatus.DONE, OutcomeStatus.FAILED, OutcomeStatus.NOT_STARTED])
    outcome = Outcome(status=status, duration_micros=chance.randrange(1000))
    _insist(lambda: door.settle(admission.admission_id, outcome))
    _say("settled", admission.admission_id, status)


def _insist(ask: Callable[[], A]) -> A:
    """Ask again, with the same ids, while the server is away or a commit got no answer."""
    for _ in range(_TRIES):
        try:
            return ask()
        except StoreError:
            _pause.wait(0.05)
    raise AssertionError("the server never came back")


def _try(authority: Authority, key: str, token: str) -> str:
    door = authority.door("ticket", "prod")
    arguments = encode({"ticket_id": f"T-{key}"})
    call = Call(action="ticket.update", arguments=arguments, admission_id=door.new_admission_id(), key=key)
    try:
        door.admit(token, call)
    except Denied as denied:
        return str(denied.decision.reason)
    return "admitted"


def _say(*words: str) -> None:
    sys.stdout.write(" ".join(words) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4]))
