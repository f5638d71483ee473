"""What becomes of reports when a program just ends: each part here is a program of its own that closes nothing."""

from __future__ import annotations

import gc
import socket
import ssl
import subprocess
import sys
import threading
from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import pytest
import trustme
from scripted import answer, read_request, says, scripted

from leasehold.client import worker
from leasehold.client.remote import connect
from leasehold.errors import UnavailableError
from leasehold.model.call import Outcome, OutcomeStatus

PROGRAM = """\
import os, ssl, sys, threading
from leasehold.client import worker
from leasehold.client.remote import connect
from leasehold.model.call import Outcome, OutcomeStatus

url, worker.LAST_REPORTS_SECONDS = sys.argv[1], float(sys.argv[2])
trust = ssl.create_default_context(cafile=sys.argv[3]) if url.startswith("https") else None
door = connect(url, "key", trust=trust).door("ticket", "prod")
door.submit_settle("adm_1", Outcome(status=OutcomeStatus.DONE))
"""

ENDINGS = {
    "at its last line": ("", 0, ""),
    "by an error": ("raise ValueError('of its own')", 1, "ValueError: of its own"),
    "with a child that was forked": ("if os.fork(): os.wait()", 0, ""),
    "while others wait": (
        "door.watch('adm_2', print)\n"
        "threading.Thread(target=door.submit_settled('adm_2', 60_000).result, daemon=True).start()\n"
        "sys.exit(3)",
        3,
        "",
    ),
}
"""How a program goes on, its exit code, and the last thing that it says on stderr."""


def ended(url: str, ending: str = "", seconds: float = 60, authority: Path | None = None) -> tuple[int, str]:
    """Run the program to its end: its exit code, and what stands on stderr."""
    command = [sys.executable, "-W", "ignore", "-c", PROGRAM + ending, url, str(seconds), str(authority)]
    program = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    return program.returncode, program.stderr


class Busy:
    """Tells the first report to come again, by when the program has ended; hears each that comes after."""

    def __init__(self) -> None:
        self.reports = 0

    def __call__(self, connection: socket.socket) -> None:
        if b"/v1/admissions/adm_1/settle" in read_request(connection):
            self.reports += 1
            connection.sendall(answer(b"{}") if self.reports > 1 else answer(b"", "503 Service Unavailable"))


@pytest.mark.parametrize(("ending", "code", "said"), ENDINGS.values(), ids=ENDINGS)
def test_report_on_its_way_arrives_though_the_program_ends(ending: str, code: int, said: str) -> None:
    busy = Busy()
    with scripted(busy) as server:
        returned, stderr = ended(f"http://127.0.0.1:{server.port}", ending)
    assert (returned, busy.reports) == (code, 2)
    assert stderr.strip().splitlines()[-1:] == [said][: len(said)]
    assert stderr.count("Traceback") == bool(said)


def test_report_arrives_over_a_connection_whose_address_is_looked_up_when_no_thread_may_start(tmp_path: Path) -> None:
    certificates, busy = trustme.CA(), Busy()
    certificates.cert_pem.write_to_path(tmp_path / "ca.pem")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    certificates.issue_cert("localhost").configure_cert(context)
    with scripted(busy, context=context) as server:
        assert ended(f"https://localhost:{server.port}", authority=tmp_path / "ca.pem") == (0, "")
    assert busy.reports == 2


def test_thread_of_a_client_that_was_not_closed_ends_when_nobody_has_the_client() -> None:
    with scripted(says(answer(b"{}"))) as server:
        client = connect(f"http://127.0.0.1:{server.port}", "key")
        with pytest.raises(UnavailableError, match="is no answer"):
            client.run("run_1")
        (thread,) = (each for each in threading.enumerate() if each.name.endswith(f":{server.port}"))
        del client
        gc.collect()
        thread.join(60)
        assert not thread.is_alive()


@pytest.mark.parametrize("is_over", [True, False], ids=["has been closed", "is being closed"])
def test_question_that_meets_a_client_while_it_is_closed_is_answered(
    is_over: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between a look at whether it is open and the question's arrival; nobody would begin it any more."""
    arriving, release = threading.Event(), threading.Event()

    class Slow(deque[object]):
        def append(self, item: object) -> None:
            if threading.current_thread().name == "late":
                arriving.set()
                release.wait(60)
            super().append(item)

    monkeypatch.setattr(worker, "LAST_REPORTS_SECONDS", 0.05 if is_over else 60)
    with socket.create_server(("127.0.0.1", 0)) as silent, ThreadPoolExecutor(2) as pool:
        client = connect(f"http://127.0.0.1:{silent.getsockname()[1]}", "key", deadline_seconds=1)
        inner = client.door("ticket", "prod")._api._line.worker
        inner._arrived = Slow()
        report = client.door("ticket", "prod").submit_settle("adm_1", Outcome(status=OutcomeStatus.DONE))
        asked: list[Future[object]] = []
        late = threading.Thread(target=lambda: asked.append(client.runs.submit_resume("run_1")), name="late")
        late.start()
        assert arriving.wait(60)
        closing = pool.submit(client.close)
        if is_over:
            closing.result(60)
        else:
            for _ in range(3):  # until the closing has begun on the loop
                turned = threading.Event()
                while not inner._is_closed:
                    threading.Event().wait(0.001)
                inner._loop.call_soon_threadsafe(turned.set)
                assert turned.wait(60)
        release.set()
        late.join(60)
        with pytest.raises(UnavailableError, match="closed; nothing was asked"):
            asked[0].result(60)
        assert isinstance(report.exception(60), UnavailableError)
        closing.result(60)


def test_program_ends_though_its_report_never_arrives() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        assert ended(f"http://127.0.0.1:{silent.getsockname()[1]}", seconds=0.05) == (0, "")
