"""A run over HTTP with nothing but the standard library: what any language has to send, and in which order.

An agent host starts the run and draws a lease; the tool's guard asks before it acts and reports how it went. Each has a
credential of its own. `leasehold.connect` does all of this, with deadlines and resends.
"""

from __future__ import annotations

import json
import secrets
import time
import urllib.error
import urllib.request
from typing import Any

__all__ = ["Refused", "close_ticket", "new_admission_id", "send"]

_CROCKFORD = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"


class Refused(Exception):  # noqa: N818 - a refusal is an answer
    """A problem (RFC 9457); `problem` has its members."""

    def __init__(self, problem: dict[str, Any]) -> None:
        self.problem = problem
        super().__init__(problem["type"], problem.get("detail", ""))


def send(url: str, credential: str, method: str, path: str, body: object = None) -> Any:
    """Send one request and return its answer. To send it again, keep the key."""
    headers = {"Authorization": f"Bearer {credential}", "Idempotency-Key": secrets.token_urlsafe(16)}
    data = None
    if body is not None:
        headers["Content-Type"] = "application/json"
        data = json.dumps(body).encode()
    request = urllib.request.Request(url + path, data=data, headers=headers, method=method)
    try:
        with urllib.request.urlopen(request, timeout=90) as response:
            return json.load(response)
    except urllib.error.HTTPError as error:
        with error:
            raise Refused(json.load(error)) from None


def new_admission_id() -> str:
    """An admission id: `adm_` and a ULID, made anew for each try of a call."""
    number = (time.time_ns() // 1_000_000 << 80) | secrets.randbits(80)
    return "adm_" + "".join(_CROCKFORD[number >> shift & 31] for shift in range(125, -1, -5))


def close_ticket(url: str, launcher: str, guard: str, ticket: str) -> Any:
    """Start a run, get a lease for one ticket, update it behind the door, and return the receipt."""
    run = send(
        url,
        launcher,
        "POST",
        "/v1/runs",
        {
            "agent": "bot",
            "route": "desk",
            "tenant": "acme",
            "environment": "prod",
            "requested_by": "user:ana",
            "purpose": f"answer {ticket}",
        },
    )["run"]["run_id"]
    asked = send(
        url,
        launcher,
        "POST",
        f"/v1/runs/{run}/requests",
        {"attempt": 1, "allow": {"ticket.update": {"ticket": [ticket]}}, "reason": "customer asked"},
    )
    request = asked["request"]["request_id"]
    while asked["state"] == "pending":  # people decide; each question waits for up to 30 seconds
        asked = send(url, launcher, "GET", f"/v1/requests/{request}?wait=30")
    lease = send(url, launcher, "POST", f"/v1/requests/{request}/lease")

    call = {
        "action": "ticket.update",
        "arguments": {"ticket_id": ticket},
        "admission_id": new_admission_id(),
        "key": f"{ticket}:update",
    }
    admission = send(url, guard, "POST", "/v1/admissions", {"token": lease["tokens"]["ticket"], "call": call})
    # Here the tool does its work, once, within admission["start_within_ms"].
    outcome = {"status": "done", "touched": [ticket]}
    send(url, guard, "POST", f"/v1/admissions/{admission['admission_id']}/settle", outcome)
    return send(url, launcher, "POST", f"/v1/runs/{run}/finish", {"attempt": 1})
