"""Ships ledger entries to a log collector over HTTP, each at least once and in order.

    python ship.py POSITION-FILE https://collector.example.com/ingest

Runs `leasehold ledger read` from where the position file says, sends what is new as lines of JSON, and moves the
position once the collector has answered 2xx. Run it every minute, or in a loop; `index` in each line lets the
collector drop what it has seen. Needs nothing but Python and the `leasehold` command. `COLLECTOR_TOKEN` in the
environment is sent as a bearer token.

The position is the last index that was sent and the SHA-256 of its line. Where another entry stands there now, or none,
the ledger was put back from a backup, and some of what comes next has indexes that were used before: then this sends
nothing and says so each time it is run, until somebody removes the position file and tells the collector.
"""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import urllib.request
from pathlib import Path

MOST = 1000


def main(position_file: Path, url: str) -> None:
    """Send everything that is new."""
    while True:
        last, digest = position_file.read_text().split() if position_file.exists() else ("0", "")
        lines = read(int(last))
        if digest:
            if not lines or digest_of(lines[0]) != digest:
                sys.exit(f"entry {last} is not the one that was sent: the ledger was put back from a backup")
            del lines[0]
        if not lines:
            return
        send(url, lines)
        keep(position_file, f"{json.loads(lines[-1])['index']} {digest_of(lines[-1])}")


def read(position: int) -> list[bytes]:
    """The entries from an index on, a line each."""
    command = ["leasehold", "ledger", "read", "--from", str(position), "--limit", str(MOST)]
    return subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout.splitlines()


def digest_of(line: bytes) -> str:
    """The SHA-256 of a line in hex."""
    return hashlib.sha256(line).hexdigest()


def send(url: str, lines: list[bytes]) -> None:
    """Send lines, and raise unless the collector took them."""
    headers = {"Content-Type": "application/x-ndjson"}
    if token := os.environ.get("COLLECTOR_TOKEN"):
        headers["Authorization"] = f"Bearer {token}"
    request = urllib.request.Request(url, data=b"\n".join(lines) + b"\n", headers=headers)
    with urllib.request.urlopen(request, timeout=30) as response:
        response.read()


def keep(position_file: Path, position: str) -> None:
    """Write the position beside its place, and move it there."""
    fresh = position_file.with_name(position_file.name + ".new")
    with fresh.open("w") as file:
        file.write(f"{position}\n")
        file.flush()
        os.fsync(file.fileno())
    fresh.replace(position_file)


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
