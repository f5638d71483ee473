"""What a client makes of servers that lie, break off, or are not who they should be: it refuses and tells no secret."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import re
import socket
import ssl
import subprocess
import sys
import threading
from base64 import b64encode
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from itertools import chain, repeat
from pathlib import Path
from typing import Any

import msgspec
import pytest
import trustme
from scripted import Act, Scripted, answer, closes, read_request, says, scripted

import leasehold
from leasehold.client import transport
from leasehold.client.credentials import Bearer
from leasehold.client.place import find_place
from leasehold.client.remote import RemoteAuthority, connect
from leasehold.errors import ConfigError, Denied, InvalidError, LeaseholdError, NotFoundError, UnavailableError
from leasehold.model.api import AdmissionAnswer, RunAnswer
from leasehold.model.call import CallState
from leasehold.model.decision import Reason, deny
from leasehold.model.ids import AdmissionId
from leasehold.model.problem import PROBLEM_MEDIA_TYPE, Problem
from leasehold.model.run import Run

SECRET = "lhk_k1_this-is-the-secret"
RUN_ID = "run_01JZ8Q5X0M3V7K2N9B4C6D8E0F"
OTHER_RUN = "run_01JZ8Q5X0M3V7K2N9B4C6D8E0G"
OTHER_ID = "adm_01JZ8Q5X0M3V7K2N9B4C6D8E0G"


CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"


def run_answer(run_id: str = RUN_ID, **changed: str) -> bytes:
    named = {"tenant": "acme", "environment": "prod", "agent": "bot", "requested_by": "user:ana", "route": "desk"}
    run = Run(run_id=run_id, purpose="x", started_at=1, expires_at=2, policy="", **{**named, **changed})  # type: ignore[arg-type]
    return msgspec.json.encode(RunAnswer(run=run, attempt=1, state="open"))


def client(server: Scripted, seconds: float = 5.0, **options: Any) -> RemoteAuthority:
    return connect(f"http://127.0.0.1:{server.port}", SECRET, deadline_seconds=seconds, **options)


def failure(act: Act, seconds: float = 5.0, ask: Callable[[RemoteAuthority], object] | None = None) -> UnavailableError:
    """How a question fails at a server that acts like this."""
    with scripted(act) as server, client(server, seconds) as authority, pytest.raises(UnavailableError) as raised:
        (ask or (lambda far: far.run(RUN_ID)))(authority)
    assert SECRET not in str(raised.value)
    return raised.value


def test_answer_that_is_one_is_taken() -> None:
    with scripted(says(answer(run_answer()))) as server, client(server) as authority:
        assert authority.run(RUN_ID).run_id == RUN_ID


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("http://lease.example.com", "in the clear"),
        ("http://127.0.0.1.example.com", "in the clear"),
        ("http://10.0.0.1:8470", "in the clear"),
        ("ftp://lease.example.com", "https"),
        ("https://user:pw@lease.example.com", "user-info"),
        ("https://lease.example.com/v1", "nothing behind it"),
        ("https://LEASE.example.com", "lower-case"),
        ("unix:relative/socket", "absolute"),
        ("https://lease.example.com#x", "address"),
    ],
)
def test_address_that_would_show_the_credential_to_others_is_refused(url: str, words: str) -> None:
    with pytest.raises(InvalidError, match=words):
        connect(url, SECRET)


@pytest.mark.parametrize("credential", ["", "two words", "line\r\nX-Other: 1", "é", "x" * 20_000])
def test_credential_that_cannot_stand_in_a_header_is_refused_and_not_shown(credential: str) -> None:
    with pytest.raises(InvalidError) as raised:
        connect("https://lease.example.com", credential)
    assert not credential or credential not in str(raised.value)


def test_tls_context_that_does_not_verify_is_refused() -> None:
    lax = ssl.create_default_context()
    lax.check_hostname = False
    with pytest.raises(InvalidError, match="does not verify"):
        connect("https://lease.example.com", SECRET, trust=lax)
    lax.verify_mode = ssl.CERT_NONE
    with pytest.raises(InvalidError, match="does not verify"):
        connect("https://lease.example.com", SECRET, trust=lax)


def test_deadline_is_between_nothing_and_five_minutes() -> None:
    for seconds in (0, -1, 301):
        with pytest.raises(InvalidError):
            connect("https://lease.example.com", SECRET, deadline_seconds=seconds)


@pytest.fixture
def certificates() -> trustme.CA:
    return trustme.CA()


def _context(authority: trustme.CA, *names: str) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(*names).configure_cert(context)
    return context


def _trust(authority: trustme.CA) -> ssl.SSLContext:
    context = ssl.create_default_context()
    authority.configure_trust(context)
    return context


def test_server_with_a_certificate_of_its_name_is_believed(certificates: trustme.CA) -> None:
    served = _context(certificates, "localhost")
    with (
        scripted(says(answer(run_answer())), context=served) as server,
        connect(f"https://localhost:{server.port}", SECRET, trust=_trust(certificates)) as authority,
    ):
        assert authority.run(RUN_ID).attempt == 1


@contextmanager
def deaf(port: int) -> Iterator[str]:
    """An address of this machine at which connecting never ends, as at a machine that was switched off."""
    with ExitStack() as held:
        listener = held.enter_context(socket.create_server(("127.0.0.2", port), backlog=0))
        address = listener.getsockname()
        for _ in range(8):  # more than it lets wait to be accepted; what comes then is dropped
            waiting = held.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex(address)
        yield address[0]


@pytest.mark.parametrize("first", ["refuses", "is switched off"])
def test_of_several_authorities_under_one_name_one_that_is_gone_is_passed_over(
    first: str, certificates: trustme.CA, monkeypatch: pytest.MonkeyPatch
) -> None:
    served = _context(certificates, "localhost")
    acts = says(answer(run_answer()))
    with scripted(acts, context=served) as server, ExitStack() as held:
        gone = held.enter_context(deaf(server.port)) if first == "is switched off" else "127.0.0.3"

        def resolved(*_: object, **__: object) -> list[object]:
            kind = (socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP, "")
            return [(*kind, (address, server.port)) for address in (gone, "127.0.0.1")]

        monkeypatch.setattr(socket, "getaddrinfo", resolved)
        url = f"https://localhost:{server.port}"
        with connect(url, SECRET, trust=_trust(certificates), deadline_seconds=5) as authority:
            assert authority.run(RUN_ID).attempt == 1


@pytest.mark.parametrize("kind", ["another name", "another issuer"])
def test_server_that_cannot_prove_its_name_is_told_nothing(certificates: trustme.CA, kind: str) -> None:
    heard: list[bytes] = []

    def listen(connection: socket.socket) -> None:
        heard.append(connection.recv(1000))

    name = "localhost" if kind == "another issuer" else "other.example"
    issuer = trustme.CA() if kind == "another issuer" else certificates
    with (
        scripted(listen, context=_context(issuer, name)) as server,
        connect(f"https://localhost:{server.port}", SECRET, trust=_trust(certificates)) as authority,
        pytest.raises(UnavailableError, match="certificate verify failed") as raised,
    ):
        authority.run(RUN_ID)
    assert raised.value.maybe_persisted is False
    assert b"".join(heard) == b""


@pytest.mark.parametrize("status", ["301 Moved Permanently", "302 Found", "307 Temporary Redirect", "308 Permanent"])
def test_redirect_is_never_followed(status: str) -> None:
    with scripted(says(answer(run_answer()))) as other:
        elsewhere = f"Location: http://127.0.0.1:{other.port}/v1/runs/{RUN_ID}"
        error = failure(says(answer(b"{}", status, elsewhere)))
        assert "redirect" in str(error)
        assert other.connections == 0


@pytest.mark.parametrize(
    "pieces",
    [
        (b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\n",),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 9999999999999999999999999\r\n\r\n",),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", *(b"100000\r\n" + b"x" * 0x100000 + b"\r\n",) * 10),
        (b"HTTP/1.1 200 OK\r\n", *(b"X-Header: " + b"x" * 1_000_000 + b"\r\n",) * 10),
        (b"HTTP/1.1 200 OK\r\n", *(b"X-Header: " + b"x" * 1_000 + b"\r\n",) * 700),
        (CHUNKED + b"2\r\n{}\r\n0\r\n", *(b"X-Trailer: " + b"x" * 1_000 + b"\r\n",) * 700),
        (CHUNKED, *(b"1;" + b"x" * 1_000_000 + b"\r\n \r\n",) * 20),
    ],
    ids=["length", "no number", "chunks", "head", "many headers", "trailers", "extensions"],
)
def test_answer_without_a_measure_is_refused_before_it_is_read(pieces: tuple[bytes, ...]) -> None:
    assert "large" in str(failure(says(*pieces))) or "HTTP/1.1" in str(failure(says(*pieces)))


@pytest.mark.parametrize(
    "data",
    [
        b"SSH-2.0-OpenSSH_9.6\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\n{}",
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: Upgrade\r\n\r\n",
        b"HTTP/1.1 100 Continue\r\n\r\n" * 20,
        answer(b"[]"),
        answer(b'{"run": 1}'),
        answer(b"\xff"),
        answer(b"[" * 100_000),
        answer(b"", "204 No Content"),
        answer(b"<html>", "404 Not Found", kind="text/html"),
        answer(b"{}", "404 Not Found", kind=PROBLEM_MEDIA_TYPE),
    ],
)
def test_what_is_no_answer_of_an_authority_is_refused_at_once(data: bytes) -> None:
    with scripted(says(data)) as server, client(server) as authority:
        with pytest.raises(UnavailableError):
            authority.run(RUN_ID)
        assert server.connections == 1


def test_answer_to_another_question_is_refused() -> None:
    started = says(answer(run_answer(tenant="globex")))

    def start(far: RemoteAuthority) -> object:
        named = {"agent": "bot", "route": "desk", "environment": "prod", "requested_by": "user:ana"}
        return far.start(purpose="x", tenant="acme", **named)

    looked = says(
        answer(msgspec.json.encode(AdmissionAnswer(admission_id=AdmissionId(OTHER_ID), state=CallState.DONE)))
    )
    own = AdmissionId(OTHER_ID[:-1] + "H")

    def look(far: RemoteAuthority) -> object:
        return far.door("ticket", "prod").submit_check(own).result()

    def settled(far: RemoteAuthority) -> object:
        return far.door("ticket", "prod").submit_settled(own, 0).result()

    assert "another question" in str(failure(says(answer(run_answer(OTHER_RUN)))))
    assert "another question" in str(failure(started, ask=start))
    assert "another question" in str(failure(looked, ask=look))
    assert "another question" in str(failure(looked, ask=settled))


@pytest.mark.parametrize(
    "body",
    [
        b"<html>sign in to this network</html>",
        b"{}",
        b'{"payload":"e30="}',
        b'{"payload":"x!"}',
        json.dumps({"payload": b64encode(b'{"subject":[{"name":"' + OTHER_RUN.encode() + b'"}]}').decode()}).encode(),
    ],
)
def test_receipt_of_another_run_is_none(body: bytes) -> None:
    error = failure(says(answer(body)), ask=lambda far: far.runs.submit_receipt(RUN_ID).result())
    assert "no receipt of" in str(error)


def test_server_that_says_nothing_is_given_up_at_the_deadline() -> None:
    gone = threading.Event()

    def silent(connection: socket.socket) -> None:
        read_request(connection)
        gone.wait(20)

    try:
        with scripted(silent) as server, client(server, 0.3) as authority:
            with pytest.raises(UnavailableError) as raised:
                authority.run(RUN_ID)
            gone.set()
    finally:
        gone.set()
    assert raised.value.maybe_persisted is True


def test_server_that_drips_is_given_up_at_the_deadline() -> None:
    stop = threading.Event()

    def drip(connection: socket.socket) -> None:
        read_request(connection)
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n")
        while not stop.wait(0.02):
            connection.sendall(b" ")

    with scripted(drip) as server, client(server, 0.3) as authority:
        with pytest.raises(UnavailableError):
            authority.run(RUN_ID)
        stop.set()


def test_nobody_there_is_unavailable_and_nothing_was_done() -> None:
    with socket.socket() as closed:  # bound while it is asked, so that nobody else listens there
        closed.bind(("127.0.0.1", 0))
        port = closed.getsockname()[1]
        with (
            connect(f"http://127.0.0.1:{port}", SECRET, deadline_seconds=0.3) as authority,
            pytest.raises(UnavailableError, match="nothing may be started") as raised,
        ):
            authority.run(RUN_ID)
    assert str(port) in str(raised.value)


def test_answer_that_was_lost_is_asked_for_again_with_the_same_key() -> None:
    requests: list[bytes] = []

    def lose(connection: socket.socket) -> None:
        requests.append(read_request(connection))

    def tell(connection: socket.socket) -> None:
        requests.append(read_request(connection))
        connection.sendall(answer(run_answer()))

    def cut(connection: socket.socket) -> None:
        requests.append(read_request(connection))
        connection.sendall(answer(run_answer())[:-5])

    def busy(connection: socket.socket) -> None:
        requests.append(read_request(connection))
        connection.sendall(answer(b"", "503 Service Unavailable", kind="text/plain"))

    with scripted(lose, cut, busy, tell) as server, client(server) as authority:
        assert authority.start(agent="bot", purpose="x").run_id == RUN_ID
    keys = {line for request in requests for line in request.split(b"\r\n") if line.startswith(b"Idempotency-Key")}
    assert (len(requests), len(keys)) == (4, 1)
    assert len(set(requests)) == 1


def test_who_could_not_answer_is_told_apart_from_a_proxy_that_had_nobody_to_ask() -> None:
    problem = Problem.of_code("unavailable", "the database cannot be reached; nothing was executed\x1b[2J")
    own = answer(msgspec.json.encode(problem), "503 X", kind=PROBLEM_MEDIA_TYPE)
    broken = answer(b"{", "503 X", kind=PROBLEM_MEDIA_TYPE)
    proxy = answer(b"<h1>503</h1>", "503 Service Unavailable", kind="text/html")
    for reply, words in (
        (own, r"it answers 503, 'the database cannot be reached; nothing was executed<U\+001B>\[2J'; nothing may"),
        (broken, "it answers 503, and what says so is no authority; nothing may"),
        (proxy, "it answers 503, and what says so is no authority; nothing may"),
    ):
        with scripted(says(reply)) as server, client(server, 0.2) as authority:
            with pytest.raises(UnavailableError, match="it answers 503") as raised:
                authority.run(RUN_ID)
            assert re.search(words, str(raised.value)), str(raised.value)


def test_problem_of_the_authority_is_the_exception_that_it_stands_for() -> None:
    for problem, kind in (
        (Problem.of_code("not_found", "gone"), NotFoundError),
        (Problem.of_code("invalid", "no"), InvalidError),
        (Problem.of_code("unauthenticated", "who"), UnavailableError),
    ):
        reply = answer(msgspec.json.encode(problem), f"{problem.status} X", kind=PROBLEM_MEDIA_TYPE)
        with scripted(says(reply)) as server, client(server) as authority, pytest.raises(kind):
            authority.run(RUN_ID)


def test_callback_that_would_wait_for_its_own_thread_is_told_so() -> None:
    told: list[BaseException | None] = []
    is_listening, heard = threading.Event(), threading.Event()

    def answer_late(connection: socket.socket) -> None:
        assert is_listening.wait(10)  # a callback that comes after the answer is called by who adds it
        says(answer(run_answer()))(connection)

    def ask(_: object) -> None:
        try:
            authority.run(RUN_ID)
        except RuntimeError as error:
            told.append(error)
        heard.set()

    prompt = says(answer(run_answer()))
    with scripted(prompt, answer_late, prompt) as server, client(server) as authority:
        first = authority.runs.submit_resume(RUN_ID)
        assert first.result().run_id == RUN_ID
        authority.runs.submit_resume(RUN_ID).add_done_callback(ask)
        is_listening.set()
        assert heard.wait(10)
        assert authority.run(RUN_ID).run_id == RUN_ID
    assert "callback" in str(told)


def test_proxy_of_the_environment_is_never_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NO_PROXY", raising=False)
    with scripted(says(answer(run_answer(OTHER_RUN)))) as proxy, scripted(says(answer(run_answer()))) as server:
        for name in ("HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "ALL_PROXY", "all_proxy"):
            monkeypatch.setenv(name, f"http://127.0.0.1:{proxy.port}")
        with client(server) as authority:
            assert authority.run(RUN_ID).run_id == RUN_ID
        assert proxy.connections == 0


def test_id_that_is_none_never_becomes_a_path() -> None:
    with scripted(closes) as server, client(server) as authority:
        for odd in ("../desk/stops", "run_1?wait=9", "run 1", "", "run_1\r\nX: y"):
            with pytest.raises(InvalidError):
                authority.run(odd)
        assert server.connections == 0


def test_connections_are_used_again_and_what_came_unasked_ends_them() -> None:
    served: list[int] = []

    def twice(connection: socket.socket) -> None:
        for number in range(2):
            read_request(connection)
            served.append(number)
            connection.sendall(answer(run_answer()))
        read_request(connection)

    def poisons(more: bytes) -> Act:
        def act(connection: socket.socket) -> None:
            read_request(connection)
            connection.sendall(answer(run_answer()) + more)
            read_request(connection)

        return act

    with scripted(twice) as server, client(server) as authority:
        authority.run(RUN_ID)
        authority.run(RUN_ID)
        assert (served, server.connections) == ([0, 1], 1)
    for more in (answer(run_answer(OTHER_RUN)), b"HTTP/1.1 200 OK\r\nX-Half: ", b"H"):
        with scripted(poisons(more)) as server, client(server) as authority:
            for _ in range(5):
                assert authority.run(RUN_ID).run_id == RUN_ID
            assert server.connections == 5


@pytest.mark.requirement("P18")
def test_credential_stands_in_no_log_error_or_repr(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    texts = [repr(Bearer(SECRET)), repr(Bearer(lambda: SECRET))]
    with scripted(says(answer(SECRET.encode(), "418 No", kind="text/plain"))) as server, client(server) as authority:
        texts += [repr(authority), repr(authority.door("ticket", "prod")), str(vars(authority.runs))]
        with pytest.raises(LeaseholdError) as raised:
            authority.run(RUN_ID)
    error: BaseException | None = raised.value
    while error is not None:
        texts += [str(error), repr(error)]
        error = error.__cause__ or error.__context__
    assert SECRET not in "".join(texts) + caplog.text


def test_credential_of_the_moment_is_asked_for_with_every_request() -> None:
    shown: list[bytes] = []
    tokens = chain(["first"], repeat("second"))  # asked again where the connection was closed in this very moment

    def act(connection: socket.socket) -> None:
        shown.append(read_request(connection))
        connection.sendall(answer(run_answer()))

    with scripted(act) as server, connect(f"http://127.0.0.1:{server.port}", lambda: next(tokens)) as authority:
        authority.run(RUN_ID)
        authority.run(RUN_ID)
    assert [b"Bearer first" in shown[0], b"Bearer second" in shown[1]] == [True, True]


def test_unix_socket_is_an_address(tmp_path: Path) -> None:
    path = str(tmp_path / "authority.sock")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(path)
        listener.listen()

        def serve() -> None:
            connection, _ = listener.accept()
            with connection:
                read_request(connection)
                connection.sendall(answer(run_answer()))

        thread = threading.Thread(target=serve)
        thread.start()
        with connect(f"unix:{path}", SECRET) as authority:
            assert authority.run(RUN_ID).run_id == RUN_ID
        thread.join()


def test_who_waits_for_a_turn_with_others_has_its_time_from_its_turn_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transport, "MAX_WAITING", 1)

    def slow(connection: socket.socket) -> None:
        read_request(connection)
        threading.Event().wait(0.15)
        connection.sendall(answer(b"{}"))

    async def ask_all(port: int) -> list[int]:
        shared = transport.Transport(find_place(f"http://127.0.0.1:{port}"), lambda: 0.0)
        question = transport.Question(
            method="GET", target="/", credential=Bearer(SECRET), seconds=1.0, max_answer=10, waits=True
        )
        replies = await asyncio.gather(*(shared.ask(question) for _ in range(8)))
        shared.close()
        await asyncio.sleep(0)
        return [reply.status for reply in replies]

    with scripted(slow) as server:
        assert asyncio.run(ask_all(server.port)) == [200] * 8  # together they take longer than each may


def test_closed_client_asks_nothing_and_ends_what_waits() -> None:
    release = threading.Event()

    def hold(connection: socket.socket) -> None:
        read_request(connection)
        release.wait(20)

    with scripted(hold) as server:
        authority = client(server)
        waiting = authority.runs.submit_resume(RUN_ID)
        while server.connections == 0:
            os.sched_yield()
        authority.close()
        release.set()
        assert isinstance(waiting.exception(10), UnavailableError)
        with pytest.raises(UnavailableError, match="closed"):
            authority.run(RUN_ID)
        authority.close()


def test_process_that_was_forked_has_connections_of_its_own_whoever_asks_first() -> None:
    program = (
        "import os, sys, leasehold\n"
        "from concurrent.futures import ThreadPoolExecutor\n"
        "authority = leasehold.connect(sys.argv[1], 'lhk_a_b')\n"
        "print(authority.run(sys.argv[2]).attempt, flush=True)\n"
        "child = os.fork()\n"
        "if child == 0:\n"
        "    with ThreadPoolExecutor(8) as threads:\n"
        "        print(*threads.map(lambda _: authority.run(sys.argv[2]).attempt, range(8)), flush=True)\n"
        "    authority.close()\n"
        "    os._exit(0)\n"
        "assert os.waitpid(child, 0)[1] == 0\n"
        "print(authority.run(sys.argv[2]).attempt)\n"
        "authority.close()\n"
    )
    with _keeping() as server:
        done = subprocess.run(
            [sys.executable, "-c", program, f"http://127.0.0.1:{server.port}", RUN_ID],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
    assert (done.stdout, done.returncode) == ("1\n1 1 1 1 1 1 1 1\n1\n", 0), done.stderr


class _Keeping:
    """A server that keeps connections, each in a thread of its own."""

    def __init__(self) -> None:
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.threads = [threading.Thread(target=self._accept)]
        self.threads[0].start()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return
            self.threads.append(threading.Thread(target=self._serve, args=(connection,)))
            self.threads[-1].start()

    @staticmethod
    def _serve(connection: socket.socket) -> None:
        with connection:
            try:
                while True:
                    read_request(connection)
                    connection.sendall(answer(run_answer()))
            except OSError:
                return


@contextmanager
def _keeping() -> Iterator[_Keeping]:
    server = _Keeping()
    try:
        yield server
    finally:
        server.listener.shutdown(socket.SHUT_RDWR)
        server.listener.close()
        for thread in server.threads:
            thread.join()


def test_without_the_extra_it_is_said_what_to_install() -> None:
    program = (
        "import sys\nsys.modules['httptools'] = None\nimport leasehold, leasehold.aio\n"
        "from leasehold.errors import ConfigError\n"
        "try:\n    leasehold.connect('https://lease.example.com', 'k')\n"
        "except ConfigError as error:\n    print(error)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True)
    assert "pip install 'leasehold[client]'" in done.stdout


def test_denial_over_the_network_is_the_same_denial() -> None:
    decision = deny(Reason.NOT_GRANTED, "no", rule="r", check="c", enough="e")
    reply = answer(msgspec.json.encode(Problem.of_decision(decision)), "403 Forbidden", kind=PROBLEM_MEDIA_TYPE)
    with scripted(says(reply)) as server, client(server) as authority, pytest.raises(Denied) as raised:
        authority.run(RUN_ID)
    assert raised.value.decision == decision
    assert leasehold.Denied is Denied
    assert ConfigError is leasehold.ConfigError


def test_who_is_a_host_and_a_door_shows_each_its_own_credential() -> None:
    shown: list[bytes] = []

    def act(connection: socket.socket) -> None:
        shown.append(read_request(connection))
        connection.sendall(answer(b"{}", "418 No"))

    with (
        scripted(act) as server,
        connect(f"http://127.0.0.1:{server.port}", "host-key", doors={"ticket": "door-key"}) as authority,
    ):
        for ask in (
            lambda: authority.run(RUN_ID),
            lambda: authority.door("ticket", "prod").submit_check(AdmissionId(OTHER_ID)).result(),
            lambda: authority.door("mail", "prod").submit_check(AdmissionId(OTHER_ID)).result(),
        ):
            with pytest.raises(UnavailableError):
                ask()
    assert [b"host-key" in each for each in shown] == [True, False, True]
    assert [b"door-key" in each for each in shown] == [False, True, False]
