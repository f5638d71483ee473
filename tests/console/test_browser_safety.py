"""What a browser will not do on these pages: run what agents wrote, answer for another site, stand in a frame."""

from __future__ import annotations

import http.server
import json
import re
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from urllib.parse import urljoin, urlsplit

import pytest
from browsing import Visit
from playwright.sync_api import Error, Page, expect

from glass import TABLE, signatory, wish
from governed import governed, propose
from leasehold.errors import Denied, InvalidError
from leasehold.model.call import OutcomeStatus
from leasehold.model.lease import HeldLease
from leasehold.model.request import Request
from leasehold.model.scope import Scope
from office import ANA, BEN, EVA, KIM, TEXT, Office
from stage import Stage, changed
from unsafe import unsafe_paths

Visits = Callable[..., AbstractContextManager[Visit]]

CORPUS = (
    "<script>pwned()</script>",
    "<img src=x onerror=pwned()>",
    '"><svg onload=pwned()>',
    "' autofocus onfocus='pwned()' x='",
    "</title></style></textarea></script><svg/onload=pwned()>",
    "<iframe srcdoc='<script>parent.pwned()</script>'></iframe>",
    "<a href='javascript:pwned()'>click</a>",
    "[click](javascript:pwned())",
    "{{ ''.__class__ }}{% set x = pwned() %}",
    "<form action=/answers><button autofocus>Approve</button></form><meta http-equiv=refresh content='0;url=/stops'>",
    "<base href='//evil.example'><link rel=stylesheet href='//evil.example/x.css'>",
    "<div hx-post=/stops hx-trigger=load>x</div><!-- ",
    "\u202e<script>pwned()</script>\u2066 \u0007 \u200b \U000e0041",
    "<details open ontoggle=pwned()><style>@import '//evil.example'</style>",
)


def fill(office: Office, payloads: Sequence[str]) -> list[Request]:
    """A run that writes payloads wherever an agent can write, and waits for people with each of them."""
    everything = " ".join(payloads)
    lease = office.lease(purpose=everything, reason=everything, tried=tuple(payloads))
    for payload in payloads:
        _call(office.stage, lease, payload)
    return [
        office.asks(lease=lease, note=payload, other={payload: [payload]}, **{payload: "name"}) for payload in payloads
    ]


def fill_by_people(office: Office) -> None:
    """The same wherever people write what others read: in a policy, in what they ask for, in what they think of it."""
    two = governed(changed('"user:ana" = ["lead"]', '"user:ana" = ["lead", "oncall"]', TEXT)) + TABLE
    office.stage.accept(two)
    spans = ", ".join(
        f"{{ from = 2020-01-{day:02}T00:00:00Z, until = 2020-01-{day + 1:02}T00:00:00Z, reason = {json.dumps(text)} }}"
        for day, text in enumerate(CORPUS[:6], start=1)
    )
    wider = changed("calls = 20", "calls = 21", changed("deny = ", f"freeze = [{spans}]\ndeny = ", two))
    propose(office.stage, text=wider, replaces=two)
    signatory(office.stage, ANA)
    office.has_password(BEN)
    for payload in CORPUS:
        office.stage.system.advance(seconds=100)  # so often and no oftener may a person try
        ana = office.viewer(ANA).glass
        held = ana.propose(ana.draft(wish(reason=payload)))
        office.viewer(BEN).glass.confirm(held.glass_id)
        office.viewer(ANA).glass.close(held.glass_id)
        office.viewer(EVA).glass.review(held.glass_id, payload)
    ana.propose(ana.draft(wish(reason=" ".join(CORPUS))))
    ana.propose(ana.draft(wish(second=EVA, reason=" ".join(CORPUS))))


def _call(stage: Stage, lease: HeldLease, payload: str) -> None:
    """A call that reports a payload in everything that a tool can report, and one that is refused for it."""
    try:
        admission = stage.admit(lease, "ticket.get", f"T-{payload}")
    except (Denied, InvalidError):  # what a prefix or the rules of values do not let through
        admission = stage.admit(lease, "ticket.get")
    told = (payload,)
    stage.settle(
        admission, OutcomeStatus.FAILED, touched=told, files=told, contacted=told, error=payload, result_digest=""
    )
    with pytest.raises((Denied, InvalidError)):
        stage.admit(lease, "ticket.update", f"X-{payload}", key="k")


def crawl(page: Page, address: str) -> Iterator[str]:
    """Every page that can be reached by links, opened one after the other."""
    seen, waiting = set(), ["/"]
    while waiting:
        path = waiting.pop()
        if path in seen or path.endswith((".html", ".jsonl")) or path.startswith(("/ledger?", "/ledger/", "/policy?")):
            continue
        seen.add(path)
        page.goto(address + path)
        for href in page.eval_on_selector_all("a[href]", "links => links.map(link => link.getAttribute('href'))"):
            found = urlsplit(urljoin(address + path, href))
            assert found.netloc == urlsplit(address).netloc, f"{path} links to {href}"
            waiting.append(found.path + (f"?{found.query}" if found.query else ""))
        yield path


@pytest.mark.case(82, 83, 113)
@pytest.mark.requirement("F3")
def test_nothing_that_agents_write_is_executed_on_any_page(office: Office, visits: Visits, tmp_path: Path) -> None:
    fill_by_people(office)
    requests = [request for group in (CORPUS[:5], CORPUS[5:10], CORPUS[10:]) for request in fill(office, group)]
    office.stage.people.deny(requests[0], EVA)
    office.stage.desk.hold(Scope.parse("tool:mail"), by=EVA, reason=CORPUS[1])
    office.stage.desk.revoke(Scope.parse(f"run:{requests[-1].run_id}"), by=EVA, reason=CORPUS[2])
    executed: list[str] = []
    with visits() as visit:
        visit.context.expose_binding("pwned", lambda source: executed.append(source["page"].url))
        page = visit.sign_in(EVA)
        page.on("dialog", lambda dialog: executed.append(dialog.message))
        opened = list(crawl(page, office.address))
        for request in requests:
            page.goto(f"{office.address}/requests/{request.request_id}?whole=1")
            expect(page.locator("script:not([src^='/static/'])")).to_have_count(0)
            expect(page.locator("iframe, base, meta[http-equiv], [onload], [onerror], [onfocus]")).to_have_count(0)
        for run_id in {request.run_id for request in requests}:
            kept = tmp_path / "receipt.html"
            with page.expect_download() as download:
                page.goto(f"{office.address}/runs/{run_id}/receipt")
                page.get_by_role("link", name="Keep as one file").click()
            download.value.save_as(kept)
            page.goto(kept.as_uri())
            expect(page.get_by_role("heading", name="Verify it")).to_be_visible()
            expect(page.locator("script")).to_have_count(0)
    assert {path.split("/")[1] for path in opened} >= {
        "requests",
        "runs",
        "leases",
        "ledger",
        "policy",
        "stops",
        "break-glass",
    }
    assert any(path.startswith("/policy/proposals/sha256:") for path in opened)
    assert sum(path.startswith("/break-glass/glass_") for path in opened) == len(CORPUS) + 2
    assert len(opened) > 2 * len(CORPUS)
    assert executed == []


def test_browser_complains_of_what_slips_through(office: Office, visits: Visits) -> None:
    with visits() as visit:
        page = visit.sign_in(BEN)
        with pytest.raises(Error, match="TrustedHTML"):
            page.evaluate("document.body.innerHTML = '<img src=x onerror=pwned()>'")
        page.evaluate("document.body.append(Object.assign(document.createElement('img'), {src: 'data:image/png;,'}))")
        page.wait_for_function("document.images.length === 1")
        page.evaluate("new Promise(resolve => requestAnimationFrame(resolve))")
        assert any("Content Security Policy" in complaint for complaint in visit.complaints)
        visit.complaints.clear()


def test_hidden_and_bidirectional_characters_stand_as_code_points(office: Office, visits: Visits) -> None:
    request = office.asks(note="safe\u202eexe.fdp\u200b", other="p\u0440od")
    with visits() as visit:
        visit.sign_in(BEN)
        page = visit.look(request)
        expect(page.locator(".code-point").filter(has_text="<U+202E>")).to_be_visible()
        expect(page.get_by_text("U+0440 CYRILLIC SMALL LETTER ER").first).to_be_visible()
        assert "\u202e" not in page.content()


@contextmanager
def another_site(page: str) -> Iterator[str]:
    """A page of somebody else, at another port of this machine: the same site to a browser, another origin."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "text/html; charset=utf-8")
            self.end_headers()
            self.wfile.write(page.encode())

        def log_message(self, *args: object) -> None:
            """Nothing."""

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}/"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@pytest.mark.case(113)
def test_form_of_another_origin_answers_nothing_though_the_browser_sends_the_cookie(
    office: Office, visits: Visits
) -> None:
    request = office.asks()
    with visits() as visit:
        visit.sign_in(BEN)
        page = visit.look(request)
        visit.time_passes(5)
        names = ("token", "digest", "sight")  # even with everything that the real form holds
        stolen = {name: page.locator(f"form.decide input[name={name}]").input_value() for name in names}
        fields = "".join(f'<input type="hidden" name="{name}" value="{value}">' for name, value in stolen.items())
        action = f"{office.address}/requests/{request.request_id}/answer"
        fields += '<input type="hidden" name="verdict" value="approve"><button>win</button>'
        form = f'<form method="post" action="{action}">{fields}</form>'
        with another_site(form) as address:
            page.goto(address)
            with page.expect_navigation() as gone:
                page.get_by_role("button", name="win").click()
            answered = gone.value
            assert answered is not None
            assert answered.status == 403
            assert "__Host-leasehold" in str(answered.request.all_headers().get("cookie"))
    assert office.state_of(request) == "pending"


@pytest.mark.case(114)
def test_no_form_of_another_origin_changes_anything_whichever_route_it_is_sent_to(
    office: Office, visits: Visits
) -> None:
    request = office.asks()
    paths = [re.sub(r"\{\w+(:\w+)?\}", request.request_id, path) for _, path in unsafe_paths(office.application)]
    hidden = "".join(
        f'<input type="hidden" name="{name}" value="{value}">'
        for name, value in (("verdict", "approve"), ("deed", "hold"), ("scope", "all"), ("reason", "x"), ("words", "x"))
    )
    forms = "".join(
        f'<form method="post" action="{office.address}{path}">{hidden}<button>{path}</button></form>' for path in paths
    )
    assert len(paths) >= 16
    with visits() as visit, another_site(forms) as address:
        page = visit.sign_in(BEN)
        before = office.stage.entries()
        for path in paths:
            page.goto(address)
            with page.expect_navigation() as gone:
                page.get_by_role("button", name=path, exact=True).click()
            answered = gone.value
            assert answered is not None
            assert (path, answered.status) == (path, 403)
        page.goto(office.address)
        expect(page.get_by_role("button", name="Sign out")).to_be_visible()
        assert office.stage.entries() == before


@pytest.mark.case(115)
def test_page_cannot_be_framed(office: Office, visits: Visits) -> None:
    with visits() as visit, another_site(f'<iframe src="{office.address}/"></iframe>') as address:
        page = visit.sign_in(BEN)
        page.goto(address)
        page.wait_for_function("frames.length === 1")
        frame = page.frames[1]
        frame.wait_for_load_state()
        assert "Inbox" not in frame.content()
        assert any("frame" in complaint.lower() for complaint in visit.complaints)
        visit.complaints.clear()


def test_session_that_is_over_shows_the_door_and_answers_nothing(office: Office, visits: Visits) -> None:
    request = office.asks()
    with visits() as visit:
        visit.sign_in(BEN)
        with visit.page.expect_response("**/events/requests/*"):
            page = visit.look(request)
        visit.context.clear_cookies()
        page.get_by_role("button", name="Deny").click()
        expect(page.get_by_role("heading", level=1)).to_have_text("Sign in first")
        page.get_by_role("link", name="Go on").click()
        expect(page.get_by_role("heading", name="Sign in")).to_be_visible()
    assert office.state_of(request) == "pending"


def test_page_that_is_open_elsewhere_shows_the_door_after_signing_out(office: Office, visits: Visits) -> None:
    with visits() as visit:
        page = visit.sign_in(BEN)
        other = visit.context.new_page()
        other.goto(office.address + "/runs")
        other.get_by_role("button", name="Sign out").click()
        expect(page.get_by_role("heading", name="Sign in")).to_be_visible()


def test_wrong_password_is_refused_in_words(office: Office, visits: Visits) -> None:
    office.has_password(KIM)
    with visits() as visit:
        page = visit.open("/requests/somewhere")
        page.get_by_label("Person").fill(KIM)
        page.get_by_label("Password").fill("wrong")
        page.get_by_role("button", name="Sign in").click()
        expect(page.get_by_role("alert")).to_contain_text("not the right person and password")
