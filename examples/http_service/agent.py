"""An agent's host that calls the service beside it: `python agent.py PORT` in this folder, while it runs.

The model says what is to be done; the lease and the key are put in here, where it cannot see them.
"""

import json
import sys
import urllib.error
import urllib.request

import leasehold

PORT = int(sys.argv[1])


def call(path: str, body: dict[str, str], token: str, key: str) -> tuple[int, dict[str, object]]:
    """One call of the service: its status and what it answered."""
    request = urllib.request.Request(
        f"http://127.0.0.1:{PORT}{path}",
        data=json.dumps(body).encode(),
        headers={"Authorization": f"Bearer {token}", "Content-Type": "application/json", "Idempotency-Key": key},
    )
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        with error:
            return error.code, json.load(error)


with leasehold.open("leasehold.toml", sweep=False) as authority:
    run = authority.start(
        agent="support-bot",
        route="support/close",
        tenant="acme",
        environment="prod",
        requested_by="user:ana",
        purpose="answer ticket T-1",
    )
    asked = {"ticket.note": {"ticket": ["T-1"]}, "ticket.close": {"ticket": ["T-1"]}}
    lease = authority.wait(authority.request(run, asked, reason="the customer wrote"), timeout=60)
    token = lease.token_for("ticket")
    for path, body, key in (
        ("/tickets/T-1/notes", {"text": "on it"}, "note-1"),
        ("/tickets/T-1/notes", {"text": "on it"}, "note-1"),
        ("/tickets/T-2/notes", {"text": "on it"}, "note-2"),
        ("/tickets/T-1/close", {}, "close-1"),
    ):
        status, answer = call(path, body, token, key)
        print(path, status, answer.get("reason", answer))
    authority.finish(run)
