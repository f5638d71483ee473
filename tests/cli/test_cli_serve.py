"""`leasehold serve` and the passwords that it needs, as an operator runs them."""

from __future__ import annotations

import gzip
import http.client
import http.server
import json
import os
import signal
import socket
import subprocess
import sys
import threading
from contextlib import closing
from pathlib import Path
from typing import ClassVar
from urllib.parse import urlencode

import pytest
from terminal import Terminal

from leasehold.cli.serve import believed_proxies
from leasehold.ledger.entry import EntryKind, decode_entry
from leasehold.model.request import Verdict

PASSWORD = "correct horse battery"


def serve(folder: Path, *words: str, **more: str) -> subprocess.Popen[str]:
    """The real program, in a process of its own."""
    environ = {
        **os.environ,
        "LEASEHOLD_POLICY": str(folder / "leasehold.toml"),
        "LEASEHOLD_STATE": str(folder / "state"),
        **more,
    }
    command = [sys.executable, "-m", "leasehold", "serve", *words]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environ)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_server_says_where_it_is_answers_there_and_ends_cleanly(tmp_path: Path, number: signal.Signals) -> None:
    Terminal(tmp_path)
    process = serve(tmp_path, "--port", "0")
    assert process.stdout is not None
    try:
        url = process.stdout.readline().strip()
        assert url.startswith("http://127.0.0.1:")
        port = int(url.rpartition(":")[2])
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
        connection.request("GET", "/sign-in")
        reply = connection.getresponse()
        assert reply.status == 200
        assert "server" not in {name.lower() for name, _ in reply.getheaders()}
        assert b"Sign in" in reply.read()
        connection.close()
        process.send_signal(number)
        out, errors = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == 0, errors
    assert out == ""
    assert "leasehold person password" in errors
    logged = [line.partition(" info ")[2] for line in errors.splitlines() if " info " in line and " GET " not in line]
    assert logged == [f"serving at {url}", "stopping: what is under way is answered first", "stopped"]
    assert "Traceback" not in errors


def test_program_gets_a_token_from_the_server_as_it_is_run(tmp_path: Path) -> None:
    terminal = Terminal(tmp_path)
    right = 'runs = { agents = ["bot"], routes = ["support"], tenants = ["acme"], environments = ["prod"] }'
    terminal.policy.write_text(f'{terminal.policy.read_text()}\n[clients."launcher"]\n{right}\n')
    key = terminal.json("client", "key", "add", "launcher", "--days", "365")["key"]
    run = {"type": "urn:leasehold:run:1", "requested_by": "user:ana", "purpose": "answer T-1"}
    grant = {"type": "urn:leasehold:grant:1", "actions": ["ticket.get"], "constraints": {"ticket": ["T-1"]}}
    form = {
        "grant_type": "client_credentials",
        "client_id": "launcher",
        "client_secret": key,
        "authorization_details": json.dumps([run, grant]),
    }
    process = serve(tmp_path, "--port", "0")
    assert process.stdout is not None
    try:
        url = process.stdout.readline().strip()
        connection = http.client.HTTPConnection(url.removeprefix("http://"), timeout=20)
        connection.request("GET", "/.well-known/oauth-authorization-server")
        metadata = json.loads(connection.getresponse().read())
        assert metadata["issuer"] == url
        headers = {"Content-Type": "application/x-www-form-urlencoded"}
        connection.request("POST", metadata["token_endpoint"].removeprefix(url), urlencode(form), headers)
        answer = json.loads(connection.getresponse().read())
        connection.request("GET", "/.well-known/authzen-configuration")
        assert json.loads(connection.getresponse().read())["policy_decision_point"] == url
        connection.close()
        process.send_signal(signal.SIGTERM)
        _, errors = process.communicate(timeout=60)
    finally:
        process.kill()
    assert (answer.get("audience"), answer.get("token_type")) == ("ticket", "Bearer"), answer
    assert "Traceback" not in errors


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1", "lease.example.com"])
def test_other_machines_are_served_only_behind_tls(terminal: Terminal, host: str) -> None:
    result = terminal.run("serve", "--host", host, code=2)
    assert "--public-url https://" in result.stderr


@pytest.mark.parametrize("url", ["http://lease.example.com", "https://lease.example.com/console", "lease.example.com"])
def test_public_address_is_https_and_a_host(terminal: Terminal, url: str) -> None:
    assert "https://" in terminal.run("serve", "--port", "0", "--public-url", url, code=2).stderr


def test_port_that_is_taken_is_a_plain_error(terminal: Terminal) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        refused = terminal.run("serve", "--port", port, code=2).stderr
        assert f"cannot listen at 127.0.0.1 port {port}: Address already in use; name another with --port" in refused


def test_server_that_is_not_installed_says_how(terminal: Terminal, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "leasehold.cli.serving", raising=False)
    monkeypatch.setitem(sys.modules, "uvicorn", None)
    monkeypatch.delitem(sys.modules, "leasehold.http.server", raising=False)
    assert "leasehold[server]" in terminal.run("serve", code=2).stderr


def sign_in_through(port: int, host: str) -> int:
    """Sign in as a proxy passes it on, with the address that it saw; answers the status."""
    usual = {"Host": host, "X-Forwarded-For": "203.0.113.9", "Sec-Fetch-Site": "same-origin"}
    with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=20)) as connection:
        connection.request("GET", "/sign-in", headers=usual)
        page = connection.getresponse()
        cookie = page.headers["Set-Cookie"].partition(";")[0]
        token = page.read().decode().partition('name="token" value="')[2].partition('"')[0]
        form = {"token": token, "person": "user:ben", "password": PASSWORD, "next": "/"}
        sent = {**usual, "Cookie": cookie, "Content-Type": "application/x-www-form-urlencoded"}
        connection.request("POST", "/sign-in", urlencode(form), sent)
        return connection.getresponse().status


@pytest.mark.parametrize(
    ("words", "host", "address"),
    [
        (("--public-url", "https://lease.example.com"), "lease.example.com", "203.0.113.9"),
        ((), "", "127.0.0.1"),
    ],
)
def test_address_is_the_proxys_word_only_behind_a_proxy(
    terminal: Terminal, tmp_path: Path, words: tuple[str, ...], host: str, address: str
) -> None:
    terminal.run("person", "password", "user:ben", typing=f"{PASSWORD}\n{PASSWORD}\n")
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    process = serve(tmp_path, "--port", str(port), *words)
    assert process.stdout is not None
    try:
        url = process.stdout.readline().strip()
        assert url == (f"https://{host}" if host else f"http://127.0.0.1:{port}")
        assert sign_in_through(port, host or f"127.0.0.1:{port}") == 303
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=60)
    finally:
        process.kill()
    with terminal.authority() as authority:
        bodies = [line.body for line in authority.engine.store.queries.ledger(0, 100)]
    [signed_in] = [entry for entry in map(decode_entry, bodies) if entry.kind is EntryKind.SIGNED_IN]
    assert (signed_in.person, signed_in.detail["address"]) == ("user:ben", address)


def test_named_proxy_is_believed_and_then_no_program_of_this_machine() -> None:
    loopback = ("127.0.0.1", "::1")
    assert believed_proxies(None, ("192.0.2.1",)) == ()
    assert tuple(believed_proxies("https://lease.example.com", ())) == loopback
    assert tuple(believed_proxies("https://lease.example.com", ("192.0.2.1",))) == ("192.0.2.1",)
    assert tuple(believed_proxies("https://lease.example.com", ("192.0.2.1", "::1"))) == ("192.0.2.1", "::1")


# passwords


@pytest.mark.requirement("F3")
def test_password_is_typed_twice_and_only_its_hash_is_kept(terminal: Terminal) -> None:
    result = terminal.run("person", "password", "user:ben", typing=f"{PASSWORD}\n{PASSWORD}\n")
    assert "sign-in: signin_" in result.stdout
    assert PASSWORD not in result.output
    [ben] = terminal.json("person", "list")
    assert (ben["person"], ben["key_id"], [known["method"] for known in ben["sign_ins"]]) == (
        "user:ben",
        "none",
        ["password"],
    )
    assert "password" in terminal.run("person", "list").stdout
    with terminal.authority() as authority:
        [known] = authority.sign_ins.of("user:ben")
        assert known.secret.startswith("$argon2id$")
        bodies = [line.body for line in authority.engine.store.queries.ledger(0, 100)]
    entries = [decode_entry(body) for body in bodies]
    [added] = [entry for entry in entries if entry.kind is EntryKind.SIGN_IN_ADDED]
    assert added.person == "user:ben"
    assert b"argon2" not in b"".join(bodies)


def test_password_that_was_typed_differently_or_too_short_changes_nothing(terminal: Terminal) -> None:
    terminal.run("person", "password", "user:ben", typing=f"{PASSWORD}\nanother\n", code=1)
    assert "12 characters" in terminal.run("person", "password", "user:ben", typing="short\nshort\n", code=2).stderr
    assert terminal.json("person", "list") == []


def test_password_is_asked_for_at_a_terminal_alone(terminal: Terminal) -> None:
    assert "terminal" in terminal.run("person", "password", "user:ben", code=2).stderr


def test_person_without_a_role_is_told_that_they_have_none(terminal: Terminal) -> None:
    result = terminal.run("person", "password", "user:new", typing=f"{PASSWORD}\n{PASSWORD}\n")
    assert "no role" in result.stderr


def test_answer_of_somebody_signed_in_is_shown_as_one(terminal: Terminal) -> None:
    terminal.run("person", "password", "user:ben", typing=f"{PASSWORD}\n{PASSWORD}\n")
    run = terminal.start("ci/deploy", "staging")
    request = terminal.ask(run, 'deploy.prod.release:create service=payments-api replicas:={\\"max\\":3}')
    with terminal.authority() as authority:
        [known] = authority.sign_ins.of("user:ben")
        who = authority.sign_ins.begin("user:ben", known.sign_in, address="")[1]
        desk = authority.person_desk(who)
        desk.answer(request, Verdict.APPROVE, card_digest=desk.waiting(request).row.card_digest)
    assert "approve by user:ben" in terminal.run("request", "inspect", request).output
    assert "signed in by password" in terminal.run("request", "inspect", request).output
    [answer] = terminal.json("request", "inspect", request)["answers"]
    assert answer["proof"]["proof"] == "session"
    lease = terminal.line("lease", "draw", request)
    assert lease
    terminal.run("run", "finish", run, "--output", str(terminal.folder / "receipt.json"))
    shown = terminal.run("receipt", "inspect", str(terminal.folder / "receipt.json")).stdout
    assert "signed in by password, not signed" in shown
    assert "nothing was signed" in shown


def lines_until_stopped(process: subprocess.Popen[str]) -> list[str]:
    """Stop the server; what it wrote on stderr, line by line."""
    process.send_signal(signal.SIGTERM)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 0, errors
    return errors.splitlines()


def answer(url: str, path: str) -> tuple[int, str]:
    """What is answered at a path of the server at a URL."""
    host, _, port = url.removeprefix("http://").partition("/")[0].rpartition(":")
    with closing(http.client.HTTPConnection(host, int(port), timeout=20)) as connection:
        connection.request("GET", path)
        reply = connection.getresponse()
        return reply.status, reply.read().decode()


def test_server_tells_its_health_writes_json_lines_and_shows_figures_at_their_own_address(tmp_path: Path) -> None:
    Terminal(tmp_path)
    process = serve(tmp_path, "--port", "0", "--log", "json", "--metrics", "127.0.0.1:0", "--json")
    assert process.stdout is not None
    try:
        said = json.loads(process.stdout.readline())
        url, metrics = said["url"], said["metrics"]
        assert answer(url, "/healthz") == (200, "ok\n")
        assert answer(url, "/readyz") == (200, "ok\n")
        assert answer(url, "/sign-in?next=/secret")[0] == 200
        assert answer(url, "/metrics")[0] == 303
        status, shown = answer(metrics, "/metrics")
        assert status == 200
        assert "leasehold_ledger_entries 1.0" in shown
        assert 'leasehold_http_requests_total{method="GET",route="/sign-in",status="200"} 1.0' in shown
        assert "leasehold_checkpoint_entries" in shown
        assert answer(metrics, "/sign-in")[0] == 404
        lines = lines_until_stopped(process)
    finally:
        process.kill()
    told = [json.loads(line) for line in lines]
    begun = [line["message"].partition(" ")[0] for line in told[:3]]
    assert begun == ["this", "nobody", "serving"]
    assert (told[2]["url"], told[2]["metrics"]) == (url, metrics)
    requests = [line for line in told if line["logger"] == "leasehold.requests"]
    assert [(line["route"], line["status"]) for line in requests] == [("/sign-in", 200), ("unmatched", 303)]
    assert "secret" not in "".join(lines)


@pytest.mark.parametrize("address", ["9470", "127.0.0.1", ":9470", "127.0.0.1:99999", "127.0.0.1:http"])
def test_address_of_figures_is_a_host_and_a_port(terminal: Terminal, address: str) -> None:
    assert "127.0.0.1:9470" in terminal.run("serve", "--port", "0", "--metrics", address, code=2).stderr


def test_address_of_figures_that_is_taken_names_its_option(terminal: Terminal) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        assert "--metrics" in terminal.run("serve", "--port", "0", "--metrics", address, code=2).stderr


def test_figures_for_other_machines_are_said_to_be_readable_by_them(tmp_path: Path) -> None:
    Terminal(tmp_path)
    process = serve(tmp_path, "--port", "0", "--metrics", "0.0.0.0:0")
    assert process.stdout is not None
    try:
        assert answer(process.stdout.readline().strip(), "/healthz")[0] == 200
        lines = lines_until_stopped(process)
    finally:
        process.kill()
    assert any("whoever reaches http://0.0.0.0:" in line for line in lines)


class Collector(http.server.BaseHTTPRequestHandler):
    """A tracing backend that keeps what it is sent."""

    got: ClassVar[list[tuple[str, bytes]]] = []

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if self.headers["Content-Encoding"] == "gzip":
            body = gzip.decompress(body)
        self.got.append((self.path, body))
        self.send_response(200)
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the library's signature
        """Say nothing."""


def test_log_in_json_says_in_json_why_nothing_is_served(tmp_path: Path) -> None:
    terminal = Terminal(tmp_path)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        words = ("--port", "0", "--log", "json", "--metrics", f"127.0.0.1:{taken.getsockname()[1]}")
        process = serve(tmp_path, *words)
        out, errors = process.communicate(timeout=60)
        plain = terminal.run("serve", *words, code=2)
    assert (process.returncode, out) == (2, "")
    told = [json.loads(line) for line in errors.splitlines()]
    assert [line["level"] for line in told] == ["warning", "error"]
    assert told[0]["message"].startswith("this state is new: ")
    assert "--metrics" in told[1]["message"]
    assert [json.loads(line)["message"] for line in plain.stderr.splitlines()] == [told[1]["message"]]


def test_spans_are_sent_where_the_environment_says_and_the_last_ones_before_the_end(tmp_path: Path) -> None:
    Terminal(tmp_path)
    with http.server.HTTPServer(("127.0.0.1", 0), Collector) as backend:
        thread = threading.Thread(target=backend.serve_forever)
        thread.start()
        endpoint = f"http://127.0.0.1:{backend.server_port}"
        process = serve(tmp_path, "--port", "0", "--traces", OTEL_EXPORTER_OTLP_ENDPOINT=endpoint)
        assert process.stdout is not None
        try:
            assert answer(process.stdout.readline().strip(), "/sign-in?next=/secret")[0] == 200
            lines_until_stopped(process)
        finally:
            process.kill()
            backend.shutdown()
            thread.join()
    assert {path for path, _ in Collector.got} == {"/v1/traces"}
    sent = b"".join(body for _, body in Collector.got)
    assert b"GET /sign-in" in sent
    assert b"leasehold" in sent
    assert b"secret" not in sent


def test_traces_without_opentelemetry_say_how_to_install_it(
    terminal: Terminal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delitem(sys.modules, "leasehold.http.traces", raising=False)
    monkeypatch.setitem(sys.modules, "opentelemetry.sdk.trace", None)
    assert "leasehold[otel]" in terminal.run("serve", "--port", "0", "--traces", code=2).stderr


def asked_locally(path: Path, target: str, **headers: str) -> tuple[int, str]:
    """What is answered at a unix socket."""
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(20)
        connection.connect(str(path))
        connection.sendall(f"GET {target} HTTP/1.1\r\nHost: local\r\n{lines}Connection: close\r\n\r\n".encode())
        answered = b"".join(iter(lambda: connection.recv(65_536), b"")).decode()
    head, _, body = answered.partition("\r\n\r\n")
    return int(head.split()[1]), body


def test_socket_answers_programs_that_prove_who_they_are_and_no_browser(tmp_path: Path) -> None:
    Terminal(tmp_path)
    path = tmp_path / "leasehold.sock"
    process = serve(tmp_path, "--port", "0", "--socket", str(path), "--socket-mode", "600", "--log", "json")
    assert process.stdout is not None
    try:
        said = json.loads(process.stdout.readline())
        assert said["socket"] == str(path)
        assert answer(said["url"], "/healthz")[0] == 200
        assert path.stat().st_mode & 0o777 == 0o600
        assert asked_locally(path, "/healthz") == (200, "ok\n")
        assert asked_locally(path, "/v1/openapi.json")[0] == 200
        assert asked_locally(path, "/v1/runs/run_01KQYJHGG01FFCBNPE7B6V8Y34")[0] == 401
        assert asked_locally(path, "/sign-in")[0] == 404
        lines = lines_until_stopped(process)
    finally:
        process.kill()
    told = [json.loads(line) for line in lines]
    requests = [line for line in told if line["logger"] == "leasehold.requests"]
    assert {line["user_id"] for line in requests} == {os.geteuid()}
    assert [(line["route"], line["status"]) for line in requests] == [
        ("/v1/openapi.json", 200),
        ("/v1/runs/{run_id}", 401),
        ("unmatched", 404),
    ]
    assert not path.exists()


@pytest.mark.parametrize("mode", ["rw", "0660", "888", ""])
def test_mode_of_the_socket_is_three_octal_digits(terminal: Terminal, tmp_path: Path, mode: str) -> None:
    path = str(tmp_path / "leasehold.sock")
    told = terminal.run("serve", "--port", "0", "--socket", path, "--socket-mode", mode, code=2).stderr
    assert "660" in told


def test_socket_that_stands_in_the_way_is_a_plain_error(terminal: Terminal, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    told = terminal.run("serve", "--port", "0", "--socket", str(tmp_path / "file"), code=2).stderr
    assert "no socket" in told
